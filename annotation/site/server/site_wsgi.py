"""Label Studio for gunicorn, with a more patient SQLite; read inside Label Studio's environment.

As it comes, a second writer gives up after 5 s, and at once where a transaction read before it wrote ("database is
locked"). Writers that queue from their first statement on, and a log that readers do not wait for, end that. It is said
here because Label Studio's settings module cannot be extended: it reads itself through Django before it is complete.
"""

from __future__ import annotations

from django.conf import settings
from django.db import connections
from label_studio.core.wsgi import application

__all__ = ["application"]

if settings.DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    settings.DATABASES["default"]["OPTIONS"] = {
        "timeout": 30,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
    connections.close_all()
