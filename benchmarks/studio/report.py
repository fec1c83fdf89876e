"""Figures as tables: for the terminal, and for the page on the site's speed."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.studio.carrying import CarryRow
    from benchmarks.studio.clicks import ClickRow
    from benchmarks.studio.crowd import Outcome

__all__ = [
    "CARRY_HEAD",
    "CLICK_HEAD",
    "CROWD_HEAD",
    "CarryFigures",
    "ClickFigures",
    "CrowdFigures",
    "percentile",
    "table",
    "write_blocks",
]

Cells = Sequence[str]

CLICK_HEAD = (
    *("frames", "clicks", "page ready s", "click → mask p50 s", "p95 s", "worst s", "first s"),
    *("at the server p50 s", "p95 s", "network alone p50 s", "load"),
)
CARRY_HEAD = (
    *("frames", "times", "Enter → last mask p50 s", "worst s", "at the server p50 s"),
    *("network alone s", "beyond it, worst s", "load"),
)
CROWD_HEAD = (
    *("asked", "everybody clicks", "clicks", "p50 s", "p95 s", "worst s", "errors", "turned away"),
    *("on another object", "other mask than alone", "load"),
)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all does not exceed (nearest rank)."""
    if not values:
        raise ValueError("there is no percentile of nothing")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def write_blocks(page: Path, blocks: Mapping[str, str]) -> None:
    """Put each block between `<!-- measured: NAME -->` and `<!-- end measured -->` of a page; others stay."""
    text = page.read_text(encoding="utf-8")
    for name, block in blocks.items():
        between = re.compile(rf"(<!-- measured: {name} -->\n).*?(<!-- end measured -->)", re.DOTALL)
        text = between.sub(lambda found, block=block: f"{found[1]}{block}\n{found[2]}", text)
    page.write_text(text, encoding="utf-8")


def table(head: Cells, rows: Sequence[Cells]) -> str:
    """A table of a page."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows))


@dataclass(frozen=True, slots=True)
class ClickFigures:
    """Clicks on one clip in the page."""

    frames: int
    opened_s: float
    rows: Sequence[ClickRow]

    def cells(self) -> Cells:
        """One line; the very first click after opening is told apart, but counted."""
        painted = [row.wait.painted_s for row in self.rows if row.wait.painted_s is not None]
        server = [row.server_s for row in self.rows]
        figures = (
            self.opened_s,
            percentile(painted, 0.5),
            percentile(painted, 0.95),
            max(painted),
            painted[0],
            percentile(server, 0.5),
            percentile(server, 0.95),
            statistics.median(row.model_s for row in self.rows),
        )
        return [
            str(self.frames),
            str(len(painted)),
            *map(_seconds, figures),
            _load([row.load for row in self.rows]),
        ]


@dataclass(frozen=True, slots=True)
class CarryFigures:
    """`p` on one clip, several times on clips of their own."""

    frames: int
    alone_s: float
    rows: Sequence[CarryRow]

    def cells(self) -> Cells:
        """One line."""
        painted = [row.wait.painted_s or math.nan for row in self.rows]
        figures = (
            statistics.median(painted),
            max(painted),
            statistics.median(row.server_s for row in self.rows),
            self.alone_s,
            max(painted) - self.alone_s,
        )
        return [
            str(self.frames),
            str(len(painted)),
            *map(_seconds, figures),
            _load([row.load for row in self.rows]),
        ]


@dataclass(frozen=True, slots=True)
class CrowdFigures:
    """Eight people at once by one door."""

    door: str
    beat: str
    outcome: Outcome
    load: float

    def cells(self) -> Cells:
        """One line."""
        waits, outcome = self.outcome.seconds, self.outcome
        figures = percentile(waits, 0.5), percentile(waits, 0.95), max(waits)
        counts = len(outcome.errors), outcome.turned_away, outcome.strayed, outcome.different
        return [
            self.door,
            self.beat,
            str(len(waits)),
            *map(_seconds, figures),
            *map(str, counts),
            f"{self.load:.1f}",
        ]


def _seconds(value: float) -> str:
    return f"{value:.2f}"


def _load(loads: Sequence[float]) -> str:
    low, high = min(loads), max(loads)
    return f"{low:.1f}" if high - low < 0.1 else f"{low:.1f}–{high:.1f}"
