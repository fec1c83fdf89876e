"""`engine ingest`: which paths are videos, what their metadata says, what became of them."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import track

from engine.cli.show import print_json, print_table
from engine.errors import SettingsError
from engine.home import EngineHome
from storage.videos import EVALUATION_SPLITS, TIES, IngestOutcome

if TYPE_CHECKING:
    from engine.samples import Sample

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"})
VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"})
"""Files looked for in a folder that is named to be ingested."""

METADATA_COLUMNS = ("path", "group", "split")
"""Columns the metadata must have; `TIES` may be there too, and empty cells say nothing."""
SPLITS = ("train", *EVALUATION_SPLITS)


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of one source."""

    name: str
    outcome: IngestOutcome

    def detail(self) -> str:
        """The reason it was skipped, or what was taken."""
        video = self.outcome.video
        if video is None:
            return self.outcome.reason
        taken = f"{video.frame_count} frames {video.width}x{video.height}, {len(video.annotated_frames)} annotated"
        return "; ".join(part for part in (taken, self.outcome.reason) if part)

    def to_json(self) -> dict[str, str]:
        """Plain JSON values."""
        video = self.outcome.video
        return {
            "name": self.name,
            "result": self.outcome.status,
            "video_id": video.video_id if video else "",
            "split": video.split if video else "",
            "group": video.group if video else "",
            "detail": self.detail(),
        }


def ingest_paths(
    home: EngineHome, paths: Sequence[Path], *, split: str, group: str, metadata: Path | None
) -> list[Ingested]:
    """Take in every video under `paths`; one that cannot be read is reported and the others go in.

    Evaluation videos come first: of videos that belong together and are to be on both sides, these stay.
    """
    known = _read_metadata(metadata) if metadata else {}

    def wanted(source: Path) -> str:
        return known.get(source.name, {}).get("split") or split

    sources = sorted(
        (source for path in paths for source in _sources(path)),
        key=lambda source: wanted(source) not in EVALUATION_SPLITS,
    )
    taken = []
    for source in track(sources, description="Ingesting", transient=True, disable=len(sources) < 2):
        row = known.get(source.name, {})
        outcome = home.library.ingest(
            source,
            annotate_fps=home.settings.ingest.annotate_fps,
            split=wanted(source),
            group=row.get("group") or group or None,
            extra={what: row[what] for what in TIES if row.get(what)},
        )
        taken.append(_record(home, str(source), outcome))
    return taken


def ingest_sample(home: EngineHome, *, windows: int) -> list[Ingested]:
    """Take in the sample cell movies with their reference masks."""
    from engine.samples import load_samples

    return [
        _ingest_one_sample(home, sample) for sample in load_samples(home.path / "samples", windows=windows)
    ]


def show_outcomes(ingested: Sequence[Ingested], *, as_json: bool) -> None:
    """What was taken, what was there already, what was skipped and why."""
    if as_json:
        print_json([one.to_json() for one in ingested])
    else:
        print_table(
            ("video", "result", "detail"), [(one.name, one.outcome.status, one.detail()) for one in ingested]
        )


def _ingest_one_sample(home: EngineHome, sample: Sample) -> Ingested:
    outcome = home.library.ingest_array(
        sample.frames,
        name=sample.name,
        fps=sample.fps,
        split=sample.split,
        group=sample.group,
        extra=dict(sample.extra),
    )
    if outcome.video is not None and not home.references.has(outcome.video.video_id):
        home.references.write(outcome.video.video_id, sample.reference)
    return _record(home, sample.name, outcome)


def _record(home: EngineHome, name: str, outcome: IngestOutcome) -> Ingested:
    if outcome.video is not None:
        home.catalog.record_video(outcome.video)
    return Ingested(name, outcome)


def _sources(path: Path) -> Iterator[Path]:
    """A file or image folder as it is; a folder of videos as its videos."""
    if path.is_dir() and not _is_image_folder(path):
        found = sorted(child for child in path.rglob("*") if child.suffix.lower() in VIDEO_SUFFIXES)
        yield from found or [path]
    else:
        yield path


def _is_image_folder(path: Path) -> bool:
    return any(child.suffix.lower() in IMAGE_SUFFIXES for child in path.iterdir())


def _read_metadata(path: Path) -> dict[str, dict[str, str]]:
    """Rows of the CSV by file name; SettingsError for a missing file or column."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = [name for name in METADATA_COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise SettingsError(
                    f"{path} lacks the column {missing[0]!r}; it needs {', '.join(METADATA_COLUMNS)}."
                )
            rows = {Path(row["path"]).name: row for row in reader}
    except OSError as error:
        raise SettingsError(f"Cannot read {path}: {error.strerror}.") from error
    for name, row in rows.items():
        if row["split"] and row["split"] not in SPLITS:
            raise SettingsError(f"{path}: the split of {name} is {row['split']!r}; use {', '.join(SPLITS)}.")
    return rows
