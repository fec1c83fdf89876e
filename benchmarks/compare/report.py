"""Results as tables: for the terminal, and for the page on speed."""

from __future__ import annotations

import os
import platform
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.compare.rows import SIDES, Job, Row
from benchmarks.compare.runner import Results
from storage.masks import Rle, iou_matrix

__all__ = ["Line", "lines", "machine", "markdown", "stage_table", "value_of", "write_page"]

_BLOCK = re.compile(r"(<!-- measured: (\w+) -->\n).*?(<!-- end measured -->)", re.DOTALL)

Result = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table."""

    row: Row
    values: Mapping[str, float]  # side → median seconds, or peak MiB
    agreement: float | None  # lowest IoU of any mask of ours with the same one of another side

    @property
    def ratio(self) -> float | None:
        """Official ÷ ours: above 1 ours is the better."""
        if "official" not in self.values or "ours" not in self.values:
            return None
        return self.values["official"] / self.values["ours"]


def lines(rows: Sequence[Row], results: Results, template: Job) -> list[Line]:
    """A line for every row of which something was measured."""
    found = []
    for row in rows:
        of_row = _of_row(row, results, template)
        if of_row:
            values = {side: value_of(row, result) for side, result in of_row.items()}
            found.append(Line(row, values, _agreement(of_row)))
        if of_row and row.unit == "memory":
            found.append(_growth(row, of_row))
    return found


def _growth(row: Row, of_row: Mapping[str, Result]) -> Line:
    """A second line about memory: what came on top of Python, torch and the weights."""
    values = {side: result["peak_mib"] - result["loaded_mib"] for side, result in of_row.items()}
    title = f"{row.title}, above the loaded network"
    return Line(replace(row, title=title, reach=None, stretch=None), values, None)


def _of_row(row: Row, results: Results, template: Job) -> dict[str, Result]:
    found = {side: results.get(replace(template, row=row, side=side)) for side in row.sides}
    return {side: result for side, result in found.items() if result is not None}


def value_of(row: Row, result: Result) -> float:
    """The number that stands in the table: the median of the repeats, or the peak."""
    if row.unit == "memory":
        return float(result["peak_mib"])
    return float(statistics.median(sample[row.unit] for sample in result["samples"]))


def _agreement(of_row: Mapping[str, Result]) -> float | None:
    """Lowest IoU between ours and any other side; None when there is nothing to compare."""
    if "ours" not in of_row:
        return None
    ours = _masks(of_row["ours"])
    others = [_masks(result) for side, result in of_row.items() if side != "ours"]
    pairs = [agreement(ours, other) for other in others if ours or other]
    return min(pairs, default=None)


def agreement(ours: Mapping[str, Rle], theirs: Mapping[str, Rle]) -> float:
    """Lowest IoU of masks of the same name; of sets without names, each mask with the nearest of the other set."""
    if any(name.startswith("any/") for name in (*ours, *theirs)):
        table = iou_matrix(list(ours.values()), list(theirs.values()))
        return float(min(table.max(axis=0).min(), table.max(axis=1).min())) if table.size else 0.0
    if ours.keys() != theirs.keys():
        return 0.0
    return min(float(iou_matrix([ours[name]], [theirs[name]])[0, 0]) for name in ours)


def _masks(result: Result) -> dict[str, Rle]:
    return {name: Rle.from_coco(value) for name, value in result["masks"].items()}


# --- tables


def markdown(found: Sequence[Line]) -> str:
    """The comparison as a table of a page."""
    head = ["what", "unit", *SIDES, "official ÷ ours", "asked: reach, stretch", "lowest IoU"]
    body = [cells(line) for line in found]
    return "\n".join(_row(cell) for cell in ([head, ["---"] * len(head), *body]))


def cells(line: Line) -> list[str]:
    """The cells of a line, as text."""
    unit = {"cpu": "s CPU", "wall": "s wall", "memory": "MiB"}[line.row.unit]
    values = [_number(line.values.get(side), line.row.unit) for side in SIDES]
    asked = ", ".join(f"{goal:g}×" for goal in (line.row.reach, line.row.stretch) if goal is not None)
    ratio = "" if line.ratio is None else f"{line.ratio:.3g}×"
    return [line.row.title, unit, *values, ratio, asked, _iou(line.agreement)]


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if unit == "memory" or value >= 100 else f"{value:.3g}"


def _iou(value: float | None) -> str:
    return "" if value is None else f"{value:.5f}"


def stage_table(rows: Sequence[Row], results: Results, template: Job) -> str:
    """Where the time of tracked frames goes: CPU seconds by stage, medians."""
    body = [cell for row in rows if row.task == "track" for cell in _stage_cells(row, results, template)]
    if not body:
        return ""
    head = ["row", "side", *_stages(rows, results, template), "rest"]
    return "\n".join(_row(cell) for cell in [head, ["---"] * len(head), *body])


def _stages(rows: Sequence[Row], results: Results, template: Job) -> list[str]:
    tracked = (_of_row(row, results, template) for row in rows if row.task == "track")
    first = next(result for of_row in tracked for result in of_row.values())
    return list(first["samples"][0]["stages"])


def _stage_cells(row: Row, results: Results, template: Job) -> Iterator[list[str]]:
    for side, result in _of_row(row, results, template).items():
        samples = result["samples"]
        middle = {
            name: statistics.median(sample["stages"][name] for sample in samples)
            for name in samples[0]["stages"]
        }
        rest = statistics.median(sample["cpu"] for sample in samples) - sum(middle.values())
        yield [row.title, side, *(f"{seconds:.3g}" for seconds in (*middle.values(), max(rest, 0.0)))]


def notes(rows: Sequence[Row], results: Results, template: Job) -> str:
    """What else was noted, and how much memory each process held before and at most."""
    found = []
    for row in rows:
        for side, result in _of_row(row, results, template).items():
            extra = "".join(f"; {name}: {value:,.3g}" for name, value in result["notes"].items())
            memory = (
                f"{result['loaded_mib']:,.0f} MiB with the network loaded, {result['peak_mib']:,.0f} at most"
            )
            found.append(f"- {row.title}, {side}: {memory}{extra}")
    return "\n".join(found)


def _row(values: Sequence[str]) -> str:
    return "| " + " | ".join(values) + " |"


def machine(results: Results, rows: Sequence[Row], template: Job) -> str:
    """The machine, the day and the versions, in a sentence."""
    versions: dict[str, str] = {}
    for row in rows:
        for result in _of_row(row, results, template).values():
            versions |= result["versions"]
    packages = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    cores = os.cpu_count() or 1
    return f"{processor()}, {cores} cores, {platform.system()}; {packages}; {date.today():%-d %B %Y}."


def processor() -> str:
    """The processor's name as the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = re.findall(r"^model name\s*: (.*)$", info.read_text(encoding="utf-8"), re.MULTILINE)
        if names:
            return str(names[0])
    return platform.processor() or platform.machine()


def write_page(page: Path, blocks: Mapping[str, str]) -> None:
    """Put the blocks between `<!-- measured: NAME -->` and `<!-- end measured -->` of a page; others stay."""

    def block(found: re.Match[str]) -> str:
        return f"{found[1]}{blocks[found[2]].strip()}\n{found[3]}" if found[2] in blocks else found[0]

    page.write_text(_BLOCK.sub(block, page.read_text(encoding="utf-8")), encoding="utf-8")
