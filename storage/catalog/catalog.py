"""The catalog: SQL tables for queries and queues, derived from the record in the object store.

The record (videos, openings, commits) is the truth; the catalog answers quickly, and can be thrown away:
see :meth:`Catalog.rebuild`. Only leases and run times live here alone, and no result depends on them.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import alembic.command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, delete, func, select, text, update

from storage.catalog import derive, leases
from storage.catalog.database import Database
from storage.catalog.leases import Lease
from storage.catalog.tables import (
    DERIVED,
    Base,
    LeaseRow,
    MaskletRow,
    StageRow,
    StageRunRow,
)
from storage.commits import Commit, RoundOpening, chain, list_rounds
from storage.errors import CatalogDamaged, CatalogError
from storage.objects import ObjectStore
from storage.videos.library import VideoLibrary
from storage.videos.video import Video

__all__ = ["Catalog"]

_ALEMBIC = threading.Lock()  # Alembic keeps the running migration in a global of its own
_MIGRATIONS = Path(__file__).parent.parent / "migrations"


class Catalog:
    """The catalog at an SQLAlchemy URL (``postgresql+psycopg://…``, ``sqlite:///path``) or SQLite path."""

    def __init__(self, url: str | Path) -> None:
        self._database = Database(url)

    @property
    def url(self) -> str:
        """The URL, its password hidden."""
        return self._database.name

    def close(self) -> None:
        """Closes every connection to the database."""
        self._database.close()

    # -- schema ---------------------------------------------------------------------------------------------

    def migrate(self) -> None:
        """Brings the tables up to date; safe to call from many processes at once.

        Raises CatalogError if the database was made by a newer version of the engine.
        """
        if self._database.file is not None:
            self._database.file.parent.mkdir(parents=True, exist_ok=True)
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        scripts = ScriptDirectory.from_config(config)
        with self._database.migrating() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
            known = {script.revision for script in scripts.walk_revisions()}
            if current is not None and current not in known:
                raise CatalogError(
                    f"the catalog {self.url} was made by a newer engine (schema {current}); upgrade "
                    "this one, or rebuild a catalog elsewhere from the commits ('engine doctor --rebuild')"
                )
            if current != scripts.get_current_head():
                config.attributes["connection"] = connection
                with _ALEMBIC:
                    alembic.command.upgrade(config, "head")

    # -- derived tables -------------------------------------------------------------------------------------

    def record_video(self, video: Video) -> None:
        """Inserts or updates a video."""
        with self._database.writing() as connection:
            derive.record_video(self._database, connection, video)

    def record_round(self, opening: RoundOpening) -> None:
        """Inserts a round as open; changes nothing if it is known."""
        with self._database.writing() as connection:
            derive.record_round(self._database, connection, opening)

    def apply_commit(self, store: ObjectStore, commit: Commit) -> bool:
        """Derives the rows of a commit in one transaction; False if it was applied before."""
        with self._database.writing() as connection:
            return derive.apply_commit(self._database, connection, store, commit)

    def rebuild(self, store: ObjectStore) -> Path | None:
        """Wipes the derived tables and fills them from the record, in one transaction.

        A damaged SQLite file is first moved aside; its new path is returned then, else None.
        """
        aside = self._move_damaged_aside()
        self.migrate()
        with self._database.writing() as connection:
            for table in DERIVED:
                connection.execute(delete(table))
            for video in VideoLibrary(store).iter_videos():
                derive.record_video(self._database, connection, video)
            for opening in list_rounds(store):
                derive.record_round(self._database, connection, opening)
            for commit in chain(store):
                derive.apply_commit(self._database, connection, store, commit)
        return aside

    def snapshot(self) -> dict[str, list[dict[str, Any]]]:
        """Every row of every derived table, by table name and in the order of the keys: for comparing."""
        with self._database.reading() as connection:
            return {str(table.__tablename__): _all_rows(connection, table) for table in DERIVED}

    def rows(self, table: str, **equal: Any) -> list[dict[str, Any]]:
        """Rows of a table by name whose columns equal the given values, in the order of the keys."""
        model = _table(table)
        conditions = [_column(model, name) == value for name, value in equal.items()]
        with self._database.reading() as connection:
            return _all_rows(connection, model, conditions)

    def count_masklets(self, round_id: str | None = None) -> dict[str, int]:
        """Number of masklets by state, of one round or of all."""
        query = select(MaskletRow.state, func.count()).group_by(MaskletRow.state)
        if round_id is not None:
            query = query.where(MaskletRow.round_id == round_id)
        with self._database.reading() as connection:
            return dict(connection.execute(query).tuples().all())

    # -- live tables ----------------------------------------------------------------------------------------

    def lease(self, round_id: str, stage: str, shard: int, owner: str, ttl_s: float) -> Lease | None:
        """Takes the lease of a shard, or takes it over if it has expired; None if another holds it."""
        return leases.acquire(self._database, round_id, stage, shard, owner=owner, ttl_s=ttl_s)

    def leases(self) -> list[dict[str, Any]]:
        """Leases with ``remaining_s``, the seconds they still last (negative: expired)."""
        with self._database.reading() as connection:
            now = float(connection.execute(select(self._database.now())).scalar_one())
            rows = _all_rows(connection, LeaseRow)
        return [row | {"remaining_s": row.pop("expires_at") - now} for row in rows]

    def break_lease(self, round_id: str, stage: str, shard: int, *, owner: str) -> bool:
        """Removes the lease of a shard if `owner` holds it, because that worker is known to be dead."""
        key = (LeaseRow.round_id == round_id, LeaseRow.stage == stage, LeaseRow.shard == shard)
        with self._database.writing() as connection:
            return connection.execute(delete(LeaseRow).where(*key, LeaseRow.owner == owner)).rowcount > 0

    def drop_expired_leases(self) -> int:
        """Removes leases whose time is over; returns how many."""
        with self._database.writing() as connection:
            return connection.execute(
                delete(LeaseRow).where(LeaseRow.expires_at < self._database.now())
            ).rowcount

    def start_stage_run(self, round_id: str, stage: str, owner: str) -> int:
        """Notes that a run of a stage begins now; returns its id for :meth:`finish_stage_run`."""
        with self._database.writing() as connection:
            now = connection.execute(select(self._database.now())).scalar_one()
            row = {"round_id": round_id, "stage": stage, "owner": owner, "state": "running", "message": ""}
            insert = self._database.insert(StageRunRow).values(**row, started_at=float(now))
            return int(connection.execute(insert.returning(StageRunRow.run_id)).scalar_one())

    def finish_stage_run(self, run_id: int, state: str, message: str = "") -> None:
        """Notes that a run ended now: done, waiting or failed."""
        with self._database.writing() as connection:
            now = connection.execute(select(self._database.now())).scalar_one()
            values = {"state": state, "message": message, "finished_at": float(now)}
            connection.execute(update(StageRunRow).where(StageRunRow.run_id == run_id).values(values))

    def stage_runs(self, round_id: str | None = None) -> list[dict[str, Any]]:
        """Runs in the order of their beginning, times in seconds since 1970."""
        conditions = [] if round_id is None else [StageRunRow.round_id == round_id]
        with self._database.reading() as connection:
            return _all_rows(connection, StageRunRow, conditions)

    def stage_seconds(self, round_id: str) -> dict[str, float]:
        """Measured seconds by stage of a round, all runs of it together."""
        seconds: dict[str, float] = {}
        for run in self.stage_runs(round_id):
            if run["finished_at"] is not None:
                spent = run["finished_at"] - run["started_at"]
                seconds[run["stage"]] = seconds.get(run["stage"], 0.0) + spent
        return seconds

    # -- damage ---------------------------------------------------------------------------------------------

    def check(self) -> str | None:
        """What is wrong with the database and what to do about it, or None."""
        try:
            self._check()
        except CatalogError as error:
            return str(error)
        return None

    def _check(self) -> None:
        with self._database.reading() as connection:
            connection.execute(select(func.count()).select_from(StageRow))
            if self._database.kind == "sqlite":
                found = connection.execute(text("PRAGMA quick_check(1)")).scalar()
                if found != "ok":
                    raise self._database.damaged(str(found))

    def _is_damaged(self) -> bool:
        try:
            self._check()
        except CatalogDamaged:
            return True
        except CatalogError:
            return False
        return False

    def _move_damaged_aside(self) -> Path | None:
        file = self._database.file
        if file is None or not file.exists() or not self._is_damaged():
            return None
        self._database.close()
        aside = file.with_name(f"{file.name}.damaged-{uuid.uuid4().hex[:8]}")
        file.replace(aside)
        for suffix in ("-wal", "-shm"):
            file.with_name(file.name + suffix).unlink(missing_ok=True)
        return aside


def _all_rows(
    connection: Connection, table: type[Base], conditions: Sequence[Any] = ()
) -> list[dict[str, Any]]:
    query = select(table.__table__).where(*conditions).order_by(*table.__table__.primary_key)
    return [dict(row) for row in connection.execute(query).mappings()]


def _table(name: str) -> type[Base]:
    every: tuple[type[Base], ...] = (*DERIVED, LeaseRow, StageRunRow)
    tables = {str(table.__tablename__): table for table in every}
    if name not in tables:
        raise CatalogError(f"the catalog has no table {name!r}; it has {', '.join(tables)}")
    return tables[name]


def _column(table: type[Base], name: str) -> Any:
    if name not in table.__table__.columns:
        raise CatalogError(f"{table.__tablename__} has no column {name!r}")
    return table.__table__.columns[name]
