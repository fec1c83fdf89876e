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
from storage.videos import VideoLibrary


def _export_sav(library: VideoLibrary, masklets: Iterator[ExportMasklet], out: Path) -> int:
    return export_sav(library, masklets, out, video_frames=True)


FORMATS: Mapping[str, Callable[[VideoLibrary, Iterator[ExportMasklet], Path], int]] = MappingProxyType(
    {"sav": _export_sav, "davis": export_davis}
)
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
    return FORMATS[form](home.library, _masklets(home, rows), out)


def _masklets(home: EngineHome, rows: list[Row]) -> Iterator[ExportMasklet]:
    reader, scores = MaskReader(home.store), _Stabilities(home)
    for row in rows:
        yield ExportMasklet(
            video=home.library.get(row["video_id"]),
            object_id=row["object_id"],
            masklet_id=row["masklet_id"],
            origin=row["origin"],
            masks=reader.masks(row),
            edited_frames=row["edited_frames"],
            stability=scores.of(row) if row["origin"] == "auto" else None,
        )


class _Stabilities:
    """Stability scores of automatic masklets, read once a round."""

    def __init__(self, home: EngineHome) -> None:
        self._home = home
        self._rounds: dict[str, dict[str, dict[int, float]]] = {}

    def of(self, row: Row) -> dict[int, float]:
        """Stability by source frame of an automatic masklet of the data set."""
        round_id = row["round_id"]
        if round_id not in self._rounds:
            self._rounds[round_id] = self._read(round_id)
        return self._rounds[round_id][row["masklet_id"]]

    def _read(self, round_id: str) -> dict[str, dict[int, float]]:
        commit = read_commit(self._home.store, round_id, "auto")
        table = read_parts(self._home, commit.files if commit else (), "auto_masklets")
        found: dict[str, dict[int, float]] = {}
        for row in table.select(["masklet_id", "frame", "stability"]).to_pylist():
            found.setdefault(row["masklet_id"], {})[row["frame"]] = row["stability"]
        return found
