"""From commits to rows: the one place that says what a commit means for the derived tables.

The live engine and a rebuild both go through :func:`apply_commit`, so they cannot disagree. Files are
understood by their schema name; two things are read from summaries: ``checkpoint_hash`` of a commit that
holds a ``*.safetensors`` file (default: the file's SHA-256), and ``checkpoint_hash_end`` of the ``close``
commit, the weights with which the next round starts (default: those with which this one started).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from storage.catalog.database import Database
from storage.catalog.tables import (
    CheckpointRow,
    MaskletRow,
    MetricRow,
    RoundRow,
    StageRow,
    VerdictRow,
    VideoRow,
)
from storage.commits import Commit, RoundOpening
from storage.manifests import FileRef, iter_manifest
from storage.objects import ObjectStore
from storage.videos.video import Video

__all__ = ["apply_commit", "record_round", "record_video"]

_STATE_OF_VERDICT = MappingProxyType(
    {"satisfactory": "accepted", "unsatisfactory": "unsatisfactory", "rejected": "rejected"}
)
_STRICTEST_LAST = ("satisfactory", "unsatisfactory", "rejected")
_BATCH = 1000


def record_video(database: Database, connection: Connection, video: Video) -> None:
    """Inserts or updates a video's row."""
    names = ("video_id", "name", "kind", "source", "split", "group", "height", "width", "frame_count", "fps")
    row = {name: getattr(video, name) for name in names}
    row |= {"annotated_count": len(video.annotated_frames), "duration_s": video.duration_s}
    connection.execute(database.upsert(VideoRow), [row])


def record_round(database: Database, connection: Connection, opening: RoundOpening) -> None:
    """Inserts a round's row as open; a round that is known stays as it is."""
    names = ("round_id", "number", "phase", "seed", "settings_hash", "code_version", "created_by")
    row = {name: getattr(opening, name) for name in names}
    row |= {"state": "open", "checkpoint_hash_start": opening.checkpoint_hash, "checkpoint_hash_end": None}
    connection.execute(database.upsert(RoundRow, keep=("state", "checkpoint_hash_end")), [row])


def apply_commit(database: Database, connection: Connection, store: ObjectStore, commit: Commit) -> bool:
    """Derives every row that a commit implies; False (and nothing done) if it was applied before."""
    key = (StageRow.round_id == commit.round_id, StageRow.stage == commit.stage)
    if connection.execute(select(StageRow.commit_hash).where(*key)).scalar() == commit.hash:
        return False
    for schema, derive in _DERIVE.items():
        for ref in commit.files:
            if ref.schema == schema:
                derive(database, connection, store, commit, ref)
    for ref in commit.files:
        if ref.key.endswith(".safetensors"):
            _record_checkpoint(database, connection, commit, ref)
    if commit.stage == "close":
        _close_round(connection, commit)
    row: dict[str, Any] = {"round_id": commit.round_id, "stage": commit.stage, "state": "committed"}
    row |= {"commit_hash": commit.hash, "summary": dict(commit.summary)}
    connection.execute(database.upsert(StageRow), [row])
    return True


def _plan(
    database: Database, connection: Connection, store: ObjectStore, commit: Commit, ref: FileRef
) -> None:
    columns = ("masklet_id", "video_id", "object_id", "round_id", "phase")
    rows = (
        row | {"origin": "manual", "state": "planned", "revision": 0, "in_dataset": False}
        for row in _rows(store, ref, columns)
    )
    _execute(connection, database.upsert(MaskletRow, keep=("revision", "in_dataset")), rows)


def _annotations(
    database: Database, connection: Connection, store: ObjectStore, commit: Commit, ref: FileRef
) -> None:
    columns = ("masklet_id", "revision", "video_id", "object_id", "origin", "phase")
    rows = (
        row | {"round_id": commit.round_id, "state": "annotated", "in_dataset": False}
        for row in _distinct(_rows(store, ref, columns))
    )
    _execute(connection, database.upsert(MaskletRow, keep=("in_dataset", "round_id", "phase")), rows)


def _auto_masklets(
    database: Database, connection: Connection, store: ObjectStore, commit: Commit, ref: FileRef
) -> None:
    phase = connection.execute(select(RoundRow.phase).where(RoundRow.round_id == commit.round_id)).scalar()
    fixed = {"round_id": commit.round_id, "phase": phase or 0, "origin": "auto", "state": "annotated"}
    rows = (
        row | fixed | {"revision": 0, "in_dataset": False}
        for row in _distinct(_rows(store, ref, ("masklet_id", "video_id", "object_id")))
    )
    _execute(connection, database.upsert(MaskletRow, keep=("in_dataset",)), rows)


def _verdicts(
    database: Database, connection: Connection, store: ObjectStore, commit: Commit, ref: FileRef
) -> None:
    """Keeps every verdict; most verdicts on the last revision give the state, ties the strictest."""
    columns = ("masklet_id", "revision", "verifier", "desk", "verdict", "reason")
    rows = (row | {"round_id": commit.round_id} for row in _rows(store, ref, columns))
    _execute(connection, database.upsert(VerdictRow), rows)
    statement = (
        update(MaskletRow)
        .where(MaskletRow.masklet_id == bindparam("the_masklet"), MaskletRow.revision <= bindparam("judged"))
        .values(state=bindparam("new_state"))
    )
    _execute(connection, statement, _states(_rows(store, ref, ("masklet_id", "revision", "verdict"))))


def _states(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """State of each judged masklet; rows come sorted by masklet and revision."""
    for masklet_id, judged in groupby(rows, key=lambda row: row["masklet_id"]):
        revisions = [(row["revision"], row["verdict"]) for row in judged]
        last = max(revision for revision, _ in revisions)
        votes = Counter(verdict for revision, verdict in revisions if revision == last)
        winner = max(votes, key=lambda verdict: (votes[verdict], _STRICTEST_LAST.index(verdict)))
        yield {"the_masklet": masklet_id, "judged": last, "new_state": _STATE_OF_VERDICT[winner]}


def _dataset(
    database: Database, connection: Connection, store: ObjectStore, commit: Commit, ref: FileRef
) -> None:
    """A data set manifest is a whole version: what it does not list is no longer in the data set."""
    connection.execute(update(MaskletRow).values(in_dataset=False))
    columns = ("masklet_id", "revision", "video_id", "object_id", "round_id", "phase", "origin")
    rows = (row | {"state": "accepted", "in_dataset": True} for row in _rows(store, ref, columns))
    _execute(connection, database.upsert(MaskletRow, keep=("round_id", "phase", "origin")), rows)


def _metrics(
    database: Database, connection: Connection, store: ObjectStore, commit: Commit, ref: FileRef
) -> None:
    """Scores on the frozen evaluation set; what else a metrics manifest holds stays there."""
    columns = tuple(column.name for column in MetricRow.__table__.columns)
    rows = (
        {name: row[name] for name in columns}
        for row in _rows(store, ref, (*columns, "suite"))
        if row["suite"] is None and row["role"] != "gate"
    )
    _execute(connection, database.upsert(MetricRow), rows)


def _record_checkpoint(database: Database, connection: Connection, commit: Commit, ref: FileRef) -> None:
    row: dict[str, Any] = {"hash": str(commit.summary.get("checkpoint_hash", ref.sha256)), "key": ref.key}
    row |= {"round_id": commit.round_id, "parent_hash": commit.checkpoint_hash, "promoted": False}
    connection.execute(database.upsert(CheckpointRow, keep=("promoted",)), [row])


def _close_round(connection: Connection, commit: Commit) -> None:
    """Closes the round and promotes the checkpoint that the next one starts with, if this round made it."""
    end = str(commit.summary.get("checkpoint_hash_end", commit.checkpoint_hash))
    this_round = RoundRow.round_id == commit.round_id
    connection.execute(update(RoundRow).where(this_round).values(state="closed", checkpoint_hash_end=end))
    made_here = (CheckpointRow.hash == end, CheckpointRow.round_id == commit.round_id)
    connection.execute(update(CheckpointRow).where(*made_here).values(promoted=True))


_Derive = Callable[[Database, Connection, ObjectStore, Commit, FileRef], None]

_DERIVE: Mapping[str, _Derive] = MappingProxyType(
    {  # in the order of a masklet's life, for commits that hold several of these
        "plan": _plan,
        "auto_masklets": _auto_masklets,
        "annotations": _annotations,
        "verdicts": _verdicts,
        "dataset": _dataset,
        "metrics": _metrics,
    }
)


def _rows(store: ObjectStore, ref: FileRef, columns: tuple[str, ...] | None) -> Iterator[dict[str, Any]]:
    for batch in iter_manifest(store, ref, columns=columns):
        yield from batch.to_pylist()


def _distinct(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Rows without the repetitions that frames of one masklet and revision make."""
    for _, same in groupby(rows, key=lambda row: (row["masklet_id"], row.get("revision"))):
        yield next(same)


def _execute(connection: Connection, statement: Any, rows: Iterable[dict[str, Any]]) -> None:
    """Executes a statement for many rows, some at a time."""
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _BATCH:
            connection.execute(statement, batch)
            batch = []
    if batch:
        connection.execute(statement, batch)
