"""Exporting the newest version of the data set in the formats of the field."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from engine.dataset import MaskReader, latest_dataset
from engine.errors import RoundError, SettingsError
from engine.home import EngineHome
from engine.stages.base import Row, read_parts
from storage.commits import read_commit
from storage.exports import ExportMasklet, export_davis, export_sav

FORMATS: Mapping[str, Callable[..., object]] = MappingProxyType({"sav": export_sav, "davis": export_davis})
"""Writers by format name."""


def export_dataset(home: EngineHome, form: str, out: Path) -> int:
    """Write every accepted masklet to `out` in that format; returns how many there were.

    Raises SettingsError for an unknown format, RoundError where nothing has been accepted yet.
    """
    if form not in FORMATS:
        raise SettingsError(f"Format {form!r} is not known; choose one of {', '.join(FORMATS)}.")
    rows = latest_dataset(home)
    if not rows:
        raise RoundError("The data set is empty: no round has accepted a masklet yet. See `engine status`.")
    FORMATS[form](home.library, list(_masklets(home, rows)), out)
    return len(rows)


def _masklets(home: EngineHome, rows: list[Row]) -> Iterator[ExportMasklet]:
    reader = MaskReader(home.store)
    for row in rows:
        yield ExportMasklet(
            video=home.library.get(row["video_id"]),
            object_id=row["object_id"],
            masklet_id=row["masklet_id"],
            origin=row["origin"],
            masks=reader.masks(row),
            edited_frames=row["edited_frames"],
            stability=_stability(home, row) if row["origin"] == "auto" else None,
        )


def _stability(home: EngineHome, row: Row) -> dict[int, float]:
    """Stability of an automatic masklet by source frame, from the round that mined it."""
    commit = read_commit(home.store, row["round_id"], "auto")
    table = read_parts(home, commit.files if commit else (), "auto_masklets")
    return {
        found["frame"]: found["stability"]
        for found in table.select(["masklet_id", "frame", "stability"]).to_pylist()
        if found["masklet_id"] == row["masklet_id"]
    }
