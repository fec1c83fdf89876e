"""What a stage of a round is, and what it may see.

A stage does its work in shards (each leased, finished once) and then finishes: it either commits its files or says
that it waits for people. It sees the round's opening, the commits of earlier stages and rounds, and human hand-ins;
never the clock, so that a killed and resumed round ends with the same hashes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import pyarrow as pa

from engine.errors import RoundError
from engine.home import EngineHome
from engine.phases import Phase, phase
from engine.settings import Settings
from storage.commits import Commit, RoundOpening, list_rounds, read_commit
from storage.manifests import FileRef, read_manifest, rows_to_table, write_manifest

STAGE_NAMES = (
    "plan",
    "prelabel",
    "annotate",
    "verify",
    "auto",
    "dataset",
    "retrain",
    "evaluate",
    "close",
)
"""Stages of every round, in order. One that a phase does not use commits an empty manifest."""

Row = dict[str, Any]
Summary = dict[str, int | float | str]


@dataclass(frozen=True, slots=True)
class Finished:
    """The stage's files are written; commit them."""

    files: tuple[FileRef, ...]
    summary: Summary


@dataclass(frozen=True, slots=True)
class Waiting:
    """People have work to do; come back later."""

    message: str


@dataclass(frozen=True)
class StageContext:
    """What a stage of one round may see and where it writes."""

    home: EngineHome
    round: RoundOpening
    stage: str

    @cached_property
    def settings(self) -> Settings:
        """The settings the round was opened with; where things are stored comes from the home."""
        return Settings(**self.round.settings, storage=self.home.settings.storage)

    @property
    def phase(self) -> Phase:
        """The round's phase."""
        return phase(self.round.phase)

    def commit(self, stage: str) -> Commit:
        """An earlier stage's commit of this round; RoundError if it is missing."""
        commit = read_commit(self.home.store, self.round.round_id, stage)
        if commit is None:
            raise RoundError(
                f"Round {self.round.round_id}: stage {stage} has no commit. Run `engine doctor`."
            )
        return commit

    def table(self, stage: str, schema: str) -> pa.Table:
        """All parts of a manifest of an earlier stage of this round, in order."""
        return read_parts(self.home, self.commit(stage).files, schema)

    def rows(self, stage: str, schema: str) -> list[Row]:
        """`table` as dictionaries."""
        return list(self.table(stage, schema).to_pylist())

    def read(self, files: Sequence[FileRef], schema: str, *, columns: list[str] | None = None) -> list[Row]:
        """Rows of all files of that schema among `files`."""
        table = read_parts(self.home, files, schema)
        return list((table.select(columns) if columns else table).to_pylist())

    def write(self, schema: str, rows: Sequence[Mapping[str, Any]], *, part: int | None = None) -> FileRef:
        """Write one manifest file of this stage, named after its schema; shards number their parts."""
        prefix = f"rounds/{self.round.round_id}/{self.stage}"
        name = schema if part is None else f"{schema}-{part:05d}"
        return write_manifest(
            self.home.store, prefix, name, rows_to_table(schema, [dict(row) for row in rows]), schema
        )

    def earlier_rounds(self) -> Iterator[tuple[RoundOpening, Commit]]:
        """Closed rounds before this one with their close commits, oldest first."""
        for opening in list_rounds(self.home.store):
            if opening.number >= self.round.number:
                continue
            commit = read_commit(self.home.store, opening.round_id, "close")
            if commit is not None:
                yield opening, commit


class Stage(Protocol):
    """One step of a round."""

    @property
    def name(self) -> str:
        """The stage's name, one of STAGE_NAMES."""
        ...

    def shard_count(self, context: StageContext) -> int:
        """How many shards there are; the same at every call in one round."""
        ...

    def run_shard(self, context: StageContext, shard: int) -> tuple[FileRef, ...]:
        """Do one shard's work and return the files it wrote."""
        ...

    def finish(self, context: StageContext, shards: Mapping[int, tuple[FileRef, ...]]) -> Finished | Waiting:
        """Bring the shards together, or say that people are at work."""
        ...


class Unsharded:
    """A stage whose work is all in its finish: people's work, or bookkeeping."""

    name: str

    def shard_count(self, context: StageContext) -> int:
        """None."""
        return 0

    def run_shard(self, context: StageContext, shard: int) -> tuple[FileRef, ...]:
        """There is none to run; ValueError."""
        raise ValueError(f"stage {self.name} has no shard {shard}")


def read_parts(home: EngineHome, files: Sequence[FileRef], schema: str) -> pa.Table:
    """All files of that schema among `files`, concatenated in order; an empty table if there are none."""
    tables = [read_manifest(home.store, ref) for ref in files if ref.schema == schema]
    return pa.concat_tables(tables) if tables else rows_to_table(schema, [])


def in_shard_order(shards: Mapping[int, tuple[FileRef, ...]]) -> tuple[FileRef, ...]:
    """The files of all shards, by shard number."""
    return tuple(ref for number in sorted(shards) for ref in shards[number])


def group(items: Sequence[str], size: int) -> list[list[str]]:
    """Cut `items` into consecutive groups of at most `size`."""
    return [list(items[start : start + size]) for start in range(0, len(items), size)]
