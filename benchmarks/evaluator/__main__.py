"""Prints a line a row: milliseconds of CPU a scored mask, ours and the released tool's, on one thread.

The tool is not on the package index; a copy of its repository and two packages it needs are enough:

    git clone --depth 1 https://github.com/facebookresearch/sam2 build/sam2
    pip install scikit-image tqdm
    python -m benchmarks.evaluator --official build/sam2/sav_dataset

Both sides run in this process, in turn; a row's numbers are the least of its repeats. Any J or F that differs by
more than 1e-9 ends the run. Without `--official` ours are timed alone.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import PIL

from benchmarks.compare.report import processor, write_page
from benchmarks.evaluator.drawn import (
    SIDES_PX,
    Mask,
    Masklets,
    drawn,
    released,
    write_folders,
    write_pictures,
)
from benchmarks.evaluator.sides import Official, Scores, our_arrays, our_folders, our_runs
from storage.masks import encode

TOLERANCE = 1e-9
_PAGE_COLUMNS = ("masks", "from", "ours", "official", "official ÷ ours", "largest difference")

Side = Callable[[], Scores]
Writer = Callable[[Mapping[str, Sequence[Mask]], Path], None]


@dataclass(frozen=True)
class Row:
    """What is scored, from where, by both; `masks` of the truth are scored."""

    title: str
    source: str
    masks: int
    ours: Side
    official: Side | None


@dataclass(frozen=True)
class Line:
    """Milliseconds of CPU a mask, and the largest difference of any J or F in points."""

    row: Row
    ours_ms: float
    official_ms: float | None
    difference: float | None

    def cells(self) -> list[str]:
        """The line as cells of a table."""
        if self.official_ms is None or self.difference is None:
            return [self.row.title, self.row.source, f"{self.ours_ms:.2f} ms", "", "", ""]
        ratio = f"{self.official_ms / self.ours_ms:.1f}×"
        times = f"{self.ours_ms:.2f} ms", f"{self.official_ms:.2f} ms"
        return [self.row.title, self.row.source, *times, ratio, f"{self.difference:.0e}"]


def rows(folder: Path, official: Official | None, sav: Path | None, *, frames: int) -> Iterator[Row]:
    """Rows of drawn masks at two sizes and of a released file, if there is one."""
    sides = [SIDES_PX["small"], SIDES_PX["medium"], SIDES_PX["large"]]
    sets = [
        ("480p, small", drawn(480, 854, sides[:1], frames=frames)),
        ("480p, medium", drawn(480, 854, sides[1:2], frames=frames)),
        ("480p, large", drawn(480, 854, sides[2:], frames=frames)),
        ("480p, three objects", drawn(480, 854, [24, 64, 120], frames=frames)),
        ("1080p, three sizes", drawn(1080, 1920, sides, frames=max(4, frames // 3))),
    ]
    if sav is not None:
        sets.append((f"SA-V, {sav.stem}", released(sav, every=4)))
    for title, masklets in sets:
        yield from _folder_rows(folder / title, title, masklets, official)
        yield from _memory_rows(title, masklets, official)


def _folder_rows(folder: Path, title: str, masklets: Masklets, official: Official | None) -> Iterator[Row]:
    trees: dict[str, Writer] = {
        "palette PNG an object": partial(write_folders, bits=8),
        "1-bit PNG an object": partial(write_folders, bits=1),
    }
    if len(masklets.truth) > 1:
        trees["palette PNG of all"] = write_pictures
    for name, write in trees.items():
        truth, guess = folder / name / "truth", folder / name / "prediction"
        write(masklets.truth, truth)
        write(masklets.prediction, guess)
        theirs = None if official is None else partial(official.folders, truth, guess)
        yield Row(title, name, masklets.count, partial(our_folders, truth, guess), theirs)


def _memory_rows(title: str, masklets: Masklets, official: Official | None) -> Iterator[Row]:
    theirs = None if official is None else partial(official.arrays, masklets)
    yield Row(title, "arrays in memory", masklets.count, partial(our_arrays, masklets), theirs)
    prediction, truth = (
        {name: [encode(mask) for mask in masks] for name, masks in side.items()}
        for side in (masklets.prediction, masklets.truth)
    )
    yield Row(title, "run lengths in memory", masklets.count, partial(our_runs, prediction, truth), theirs)


def measure(row: Row, *, repeats: int) -> Line:
    """Both sides in turn, `repeats` times. SystemExit when a number differs."""
    ours, theirs = [], []
    difference = None
    for _ in range(repeats):
        seconds, found = _timed(row.ours)
        ours.append(seconds)
        if row.official is not None:
            seconds, expected = _timed(row.official)
            theirs.append(seconds)
            difference = _difference(row, found, expected)
    scale = 1000 / row.masks
    return Line(row, min(ours) * scale, min(theirs) * scale if theirs else None, difference)


def _difference(row: Row, ours: Scores, official: Scores) -> float:
    if ours.keys() != official.keys():
        raise SystemExit(f"{row.title}, {row.source}: objects {sorted(ours)} and {sorted(official)}")
    worst = max(abs(a - b) for key in ours for a, b in zip(ours[key], official[key], strict=True))
    if worst > TOLERANCE:
        raise SystemExit(f"{row.title}, {row.source}: a score differs by {worst}")
    return worst


def _timed(side: Side) -> tuple[float, Scores]:
    start = time.process_time()
    scores = side()
    return time.process_time() - start, scores


def main() -> None:
    """Measures all rows; writes a page if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--official", type=Path, help="sav_dataset of a copy of facebookresearch/sam2")
    parser.add_argument("--sav", type=Path, help="an SA-V file of masklets, for a row of real ones")
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--write", type=Path, help="the page that gets the table")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    official = None if options.official is None else Official(options.official)
    table = []
    with tempfile.TemporaryDirectory() as folder:
        for row in rows(Path(folder), official, options.sav, frames=options.frames):
            table.append(measure(row, repeats=options.repeats).cells())
            print(" | ".join(table[-1]), flush=True)
    if options.write is not None:
        lines = [_PAGE_COLUMNS, ["---"] * len(_PAGE_COLUMNS), *table]
        text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        versions = f"numpy {np.__version__}, OpenCV {cv2.__version__}, Pillow {PIL.__version__}"
        write_page(options.write, {"evaluator": f"{processor()}; {versions}.\n\n{text}"})


if __name__ == "__main__":
    main()
