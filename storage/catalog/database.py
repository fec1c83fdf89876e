"""The connection to SQLite or PostgreSQL, and the statements that differ between them.

SQLite runs in WAL mode with real transactions: one that will write takes the write lock at its start, so that
two processes wait for each other instead of failing half-way.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Float,
    NullPool,
    create_engine,
    event,
    literal_column,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from storage.catalog.tables import Base
from storage.errors import CatalogDamaged, CatalogError

__all__ = ["Database"]

_BUSY_MS = 30_000
_WAL_PAUSE_S = 0.01
_CLOCK = {
    "sqlite": "(julianday('now') - 2440587.5) * 86400.0",
    "postgresql": "extract(epoch from clock_timestamp())",
}
_MIGRATION_LOCK = 0x5A4D32  # any number, the same for every process


class Database:
    """One catalog database. ``url``: an SQLAlchemy URL, or the path of an SQLite file."""

    def __init__(self, url: str | Path) -> None:
        text_url = f"sqlite:///{url}" if "://" not in str(url) else str(url)
        try:
            self.url = make_url(text_url)
            self.kind = self.url.get_backend_name()
            if self.kind not in _CLOCK:
                raise CatalogError(f"the catalog runs on SQLite or PostgreSQL, not on {self.kind}")
            self.engine = self._engine()
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
            raise CatalogError(f"cannot use the database URL {text_url.split('@')[-1]!r}: {error}") from error

    @property
    def name(self) -> str:
        """The URL without its password."""
        return self.url.render_as_string(hide_password=True)

    @property
    def file(self) -> Path | None:
        """The SQLite file, or None if there is none."""
        path = self.url.database
        return Path(path) if self.kind == "sqlite" and path and path != ":memory:" else None

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A consistent view; never blocks writers."""
        with self._explained(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction: committed at the end, rolled back on any exception."""
        writer = self.engine.execution_options(writes=True)
        with self._explained(), writer.begin() as connection:
            yield connection

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """A transaction that no other process migrates in at the same time."""
        with self.writing() as connection:
            if self.kind == "postgresql":
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
            yield connection

    def now(self) -> ColumnElement[float]:
        """SQL for the database's clock in seconds since 1970: one clock for all machines."""
        return literal_column(_CLOCK[self.kind], Float(53))

    def upsert(self, table: type[Base], *, keep: Sequence[str] = ()) -> Any:
        """INSERT that updates the row if its primary key exists; columns of ``keep`` then stay."""
        statement, keys = self.insert(table), [column.name for column in table.__table__.primary_key]
        changed = {
            column.name: statement.excluded[column.name]
            for column in table.__table__.columns
            if column.name not in keys and column.name not in keep
        }
        return statement.on_conflict_do_update(index_elements=keys, set_=changed)

    def insert(self, table: type[Base]) -> Any:
        """The dialect's INSERT, which knows ON CONFLICT."""
        return sqlite.insert(table) if self.kind == "sqlite" else postgresql.insert(table)

    def damaged(self, reason: str) -> CatalogDamaged:
        """The error for a file that is no database (any more)."""
        advice = "rebuild it from the commits with 'engine doctor --rebuild'"
        return CatalogDamaged(f"the catalog {self.name} is damaged ({reason}): {advice}")

    def close(self) -> None:
        """Closes every connection."""
        self.engine.dispose()

    def _engine(self) -> Engine:
        # no pool: a home is opened for a moment by many short tasks, none of which should leave a connection behind
        if self.kind != "sqlite":
            return create_engine(self.url, poolclass=NullPool)
        engine = create_engine(self.url, poolclass=NullPool, connect_args={"timeout": _BUSY_MS / 1000})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise self._explain(error) from error
        except SQLAlchemyError as error:
            raise CatalogError(f"the catalog {self.name} failed: {error}") from error

    def _explain(self, error: DBAPIError) -> CatalogError:
        reason = str(error.orig).strip().split("\n")[0]
        if "malformed" in reason or "not a database" in reason:
            return self.damaged(reason)
        if "no such table" in reason or "does not exist" in reason:
            advice = "its tables are missing; run 'engine doctor --rebuild'"
        elif "locked" in reason:
            advice = f"another process held it for over {_BUSY_MS // 1000} s; run the command again"
        elif "unable to open" in reason or "readonly" in reason:
            advice = "check that its folder exists and is writable"
        else:
            advice = "check that the database server runs and the URL is right"
        return CatalogError(f"the catalog {self.name} failed ({reason}): {advice}")


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver must not open transactions of its own
    for pragma in (f"busy_timeout={_BUSY_MS}", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
    _write_ahead(connection)


def _write_ahead(connection: Any) -> None:
    """Set WAL mode. SQLite does not wait for its turn here when others open a new file too; so this does."""
    deadline = time.monotonic() + _BUSY_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(_WAL_PAUSE_S)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
