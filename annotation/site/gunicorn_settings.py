"""How gunicorn serves Label Studio; read inside Label Studio's environment.

A click holds a thread until the model has answered, and a page asks for all its frames at once, hence many threads.
"""

from __future__ import annotations

worker_class = "gthread"
timeout = 180
graceful_timeout = 10
keepalive = 30
control_socket_disable = True  # it would lie in the user's home, one for all sites

PATIENT_SQLITE = {
    "timeout": 30,
    "transaction_mode": "IMMEDIATE",
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
}
"""As it comes, a second writer gives up after 5 s, and at once where a transaction read before it wrote ("database is
locked"). Writers that queue from their first statement on, and a log that readers do not wait for, end that."""


def post_worker_init(worker: object) -> None:
    """Make SQLite patient before the first request comes.

    Label Studio has no setting for it, nor can its settings be extended: they read themselves before they are complete.
    """
    from django.conf import settings
    from django.db import connections

    if settings.DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
        settings.DATABASES["default"]["OPTIONS"] = PATIENT_SQLITE
        connections.close_all()
