"""The data set between rounds: reading its latest version and the masks its rows point at."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence

from engine.home import EngineHome
from engine.stages.base import Row, StageContext, read_parts
from storage.commits import list_rounds, read_commit
from storage.manifests import read_manifest
from storage.masks import Rle
from storage.objects import ObjectStore


def previous_dataset(context: StageContext) -> list[Row]:
    """Rows of the data set version of the last round closed before this one; none before the first."""
    return latest_dataset(context.home, before=context.round.number)


def latest_dataset(home: EngineHome, *, before: int | None = None) -> list[Row]:
    """Rows of the data set of the newest closed round (with a number below `before`); none if there is none."""
    for opening in reversed(list_rounds(home.store)):
        closed = read_commit(home.store, opening.round_id, "close") is not None
        if closed and (before is None or opening.number < before):
            commit = read_commit(home.store, opening.round_id, "dataset")
            return list(read_parts(home, commit.files if commit else (), "dataset").to_pylist())
    return []


def rows_digest(rows: Sequence[Row]) -> str:
    """SHA-256 of data set rows, in hexadecimal: equal rows in equal order give equal digits."""
    text = json.dumps([dict(row) for row in rows], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


class MaskReader:
    """Reads masklets' masks from the manifests the data set points at, each file once."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._files: dict[str, dict[tuple[str, int], dict[int, Rle]]] = {}

    def masks(self, row: Row) -> dict[int, Rle]:
        """Masks of a data set row by source frame. `row` needs masks_key, masklet_id and revision."""
        key = row["masks_key"]
        if key not in self._files:
            self._files[key] = _masks_by_revision(self._store, key)
        return self._files[key][row["masklet_id"], row["revision"]]


def _masks_by_revision(store: ObjectStore, key: str) -> dict[tuple[str, int], dict[int, Rle]]:
    """Masks by (masklet, revision); a manifest of automatic masklets holds revision 0 only."""
    found: dict[tuple[str, int], dict[int, Rle]] = {}
    for row in _rows(store, key):
        masklet = found.setdefault((row["masklet_id"], row.get("revision", 0)), {})
        masklet[row["frame"]] = Rle(row["height"], row["width"], row["counts"])
    return found


def _rows(store: ObjectStore, key: str) -> Iterator[Row]:
    table = read_manifest(store, key)
    wanted = [
        name
        for name in ("masklet_id", "revision", "frame", "height", "width", "counts")
        if name in table.column_names
    ]
    for batch in table.select(wanted).to_batches():
        yield from batch.to_pylist()
