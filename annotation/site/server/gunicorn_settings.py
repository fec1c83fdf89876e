"""How gunicorn serves Label Studio; read inside Label Studio's environment.

A click holds a thread until the model has answered, and a page asks for all its frames at once, hence many threads.
"""

from __future__ import annotations

worker_class = "gthread"
timeout = 180
graceful_timeout = 10
keepalive = 30
control_socket_disable = True  # it would lie in the user's home, one for all sites
