"""Leases: the right to work on one shard of a stage until a moment that can be put off.

A worker that dies simply stops renewing; after its time another may take over. A lease never protects the
record (put-if-absent does): it only saves two workers from doing the same work.
"""

from __future__ import annotations

import uuid
from types import TracebackType
from typing import Any, Self

from sqlalchemy import ColumnElement, Float, delete, literal, select, update

from storage.catalog.database import Database
from storage.catalog.tables import LeaseRow
from storage.errors import CatalogError, LeaseLost

__all__ = ["Lease", "acquire"]


class Lease:
    """A held lease; as a context manager it is released at the end. :meth:`renew` is safe to call often."""

    def __init__(
        self, database: Database, key: tuple[str, str, int], owner: str, token: str, ttl_s: float
    ) -> None:
        self.round_id, self.stage, self.shard = key
        self.owner = owner
        self._database, self._token, self._ttl_s = database, token, ttl_s

    def renew(self, ttl_s: float | None = None) -> None:
        """Puts the end off to ``ttl_s`` seconds from now (default: as acquired).

        Raises LeaseLost if the lease has expired and was taken by another, or was released.
        """
        expires = _in(self._database, self._ttl_s if ttl_s is None else ttl_s)
        with self._database.writing() as connection:
            found = connection.execute(update(LeaseRow).where(*self._mine()).values(expires_at=expires))
        if found.rowcount != 1:
            raise LeaseLost(f"{self.owner} lost the lease of {self.round_id}/{self.stage} shard {self.shard}")

    def release(self) -> None:
        """Gives the lease back; no error if it is lost already."""
        with self._database.writing() as connection:
            connection.execute(delete(LeaseRow).where(*self._mine()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _mine(self) -> tuple[Any, ...]:
        return (
            LeaseRow.round_id == self.round_id,
            LeaseRow.stage == self.stage,
            LeaseRow.shard == self.shard,
            LeaseRow.token == self._token,
        )


def acquire(
    database: Database, round_id: str, stage: str, shard: int, *, owner: str, ttl_s: float
) -> Lease | None:
    """One atomic statement inserts the lease or takes over an expired one; None if another holds it."""
    if ttl_s <= 0:
        raise CatalogError(f"a lease must last longer than 0 s, not {ttl_s}")
    token = uuid.uuid4().hex
    insert = database.insert(LeaseRow).values(
        round_id=round_id,
        stage=stage,
        shard=shard,
        owner=owner,
        token=token,
        expires_at=_in(database, ttl_s),
    )
    statement = insert.on_conflict_do_update(
        index_elements=["round_id", "stage", "shard"],
        set_={name: insert.excluded[name] for name in ("owner", "token", "expires_at")},
        where=LeaseRow.expires_at < _in(database, 0.0),
    )
    key = (LeaseRow.round_id == round_id, LeaseRow.stage == stage, LeaseRow.shard == shard)
    with database.writing() as connection:
        connection.execute(statement)
        holder = connection.execute(select(LeaseRow.token).where(*key)).scalar_one()
    return Lease(database, (round_id, stage, shard), owner, token, ttl_s) if holder == token else None


def _in(database: Database, seconds: float) -> ColumnElement[float]:
    """SQL for a moment so many seconds from now."""
    return database.now() + literal(seconds, Float)
