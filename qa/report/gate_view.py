"""The gate's comparisons in a picture and a table, and what people decided by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from qa.report import formats
from qa.report.data import RoundReportData, RunReportData
from qa.report.plots import LegendEntry, Plot
from qa.report.svg import drawing, element, ticks
from qa.report.table import Cell, Column, Table, badge, code

WIDTH, LEFT, RIGHT = 480.0, 150.0, 16.0
ROW_PX, TOP_PX, AXIS_PX = 26.0, 10.0, 40.0

COLOURS: Mapping[str, str] = {
    "passed": "var(--good)",
    "may be chance": "var(--fair)",
    "failed": "var(--poor)",
}
_KINDS = {"passed": "good", "may be chance": "fair", "failed": "poor"}

Row = dict[str, Any]


def gate_plots(data: RoundReportData) -> list[Plot]:
    """The intervals of the gate's comparisons: a picture in points of J&F and one in seconds; none without them."""
    rows = _rows(data)
    titles = {
        False: ("The gate: challenger minus champion, J&F", "points of J&F (more is better)"),
        True: ("The gate: a simulated annotator's time per masklet", "seconds (less is better)"),
    }
    pictures = []
    for timed, (title, axis) in titles.items():
        shown = [row for row in rows if _is_timed(row) is timed]
        if shown:
            pictures.append(_intervals(shown, title=title, axis=axis))
    return pictures


def gate_criteria_table(data: RoundReportData) -> Table:
    """Every comparison of the gate: difference, interval, what is allowed, and the verdict."""
    columns = (
        Column("Set", numeric=False),
        Column("Compared with", numeric=False),
        Column("Protocol", numeric=False),
        Column("Measure", numeric=False),
        Column("Difference"),
        Column("Interval"),
        Column("Allowed"),
        Column("Objects"),
        Column("Verdict", numeric=False),
    )
    return Table(columns, tuple(_cells(row) for row in _rows(data)))


def decisions_table(run: RunReportData) -> Table:
    """Promotions and rollbacks by hand, oldest first."""
    columns = tuple(
        Column(name, numeric=False)
        for name in ("When", "Who", "What", "In use before", "In use since", "Why", "The gate had said")
    )
    return Table(columns, tuple(_decision_cells(one) for one in run.decisions))


def _decision_cells(one: Mapping[str, str]) -> tuple[Cell, ...]:
    hashes = (code(formats.short_hash(one[name])) for name in ("previous", "checkpoint_hash"))
    what = badge("promoted" if one["action"] == "promote" else "rolled back", "plain")
    return (
        one["at"][:16].replace("T", " "),
        one["by"],
        what,
        *hashes,
        one["reason"],
        one["gate"] or "nothing",
    )


def _rows(data: RoundReportData) -> list[Row]:
    """The gate's rows, the evaluation set first."""
    rows = [{str(name): value for name, value in row.items()} for row in data.gate_rows.to_dict("records")]
    return sorted(
        rows, key=lambda row: (_is_floor(row), _suite(row) != "", _is_timed(row), str(row["protocol"]))
    )


def _suite(row: Row) -> str:
    return row["suite"] if isinstance(row["suite"], str) else ""


def _is_floor(row: Row) -> bool:
    """Whether it is compared with the home's first weights."""
    return str(row["role"]) == "floor"


def _is_timed(row: Row) -> bool:
    return row["seconds"] is not None and row["seconds"] == row["seconds"]


def _delta(row: Row) -> float:
    return float(row["seconds"] if _is_timed(row) else row["jf"])


def _state(row: Row) -> str:
    """Passed, failed, or either one by chance."""
    verdict = str(row["verdict"])
    return "may be chance" if "chance" in verdict else verdict


def _cells(row: Row) -> tuple[Cell, ...]:
    digits = 1 if _is_timed(row) else 2
    sign = "+" if _is_timed(row) else "−"
    unit = " s" if _is_timed(row) else ""
    interval = _bounds(row, digits, unit)
    return (
        _suite(row) or "evaluation",
        "first weights" if _is_floor(row) else "weights in use",
        str(row["protocol"]),
        "annotator's time" if _is_timed(row) else "J&F",
        formats.signed(_delta(row), digits) + unit,
        interval,
        f"{sign}{formats.number(row['allowed'], digits)}{unit}" if row["allowed"] else "0",
        formats.count(row["frames"]),
        badge(str(row["verdict"]), _KINDS[_state(row)]),
    )


def _has_interval(row: Row) -> bool:
    """Whether there were enough objects for one."""
    return row["low"] is not None and row["low"] == row["low"]


def _bounds(row: Row, digits: int, unit: str) -> str:
    if not _has_interval(row):
        return "none: too few objects"
    return f"{formats.signed(row['low'], digits)} to {formats.signed(row['high'], digits)}{unit}"


def _reach(row: Row) -> tuple[float, float]:
    """From where to where a comparison's line goes; where it has no interval, its dot alone."""
    return (row["low"], row["high"]) if _has_interval(row) else (_delta(row), _delta(row))


def _intervals(rows: Sequence[Row], *, title: str, axis: str) -> Plot:
    """A line from low to high and a dot a comparison, over an axis with its zero marked."""
    ends = [_reach(row) for row in rows]
    marks = ticks(min(0.0, *(low for low, _ in ends)), max(0.0, *(high for _, high in ends)), wanted=5)
    span = marks[-1] - marks[0]
    height = TOP_PX + ROW_PX * len(rows) + AXIS_PX

    def x(value: float) -> float:
        return LEFT + (value - marks[0]) / span * (WIDTH - LEFT - RIGHT)

    floor = TOP_PX + ROW_PX * len(rows)
    grid = [_tick(x(mark), mark, floor) for mark in marks]
    label = element(
        "text", axis, x=(LEFT + WIDTH - RIGHT) / 2, y=height - 6, class_="axis", text_anchor="middle"
    )
    drawn = [
        _interval(row, x(low), x(_delta(row)), x(high), TOP_PX + ROW_PX * (place + 0.5))
        for place, (row, (low, high)) in enumerate(zip(rows, ends, strict=True))
    ]
    svg = drawing(*grid, label, *drawn, width=WIDTH, height=height, label=title)
    states = [state for state in COLOURS if any(_state(row) == state for row in rows)]
    return Plot(title, svg, tuple(LegendEntry(state, COLOURS[state], "points") for state in states))


def _tick(x: float, value: float, floor: float) -> Markup:
    line = element("line", x1=x, x2=x, y1=TOP_PX, y2=floor, class_="grid" if value else "base")
    return line + element("text", f"{value:g}", x=x, y=floor + 16, class_="tick", text_anchor="middle")


def _interval(row: Row, low: float, middle: float, high: float, y: float) -> Markup:
    colour = COLOURS[_state(row)]
    where = "since start" if _is_floor(row) else _suite(row)
    name = f"{row['protocol']}, {where}" if where else str(row["protocol"])
    tip = element("title", f"{name}: {_delta(row):+.2f} ({_bounds(row, 2, '')})")
    return Markup("").join(
        [
            element("text", name, x=LEFT - 10, y=y + 4, class_="tick strong", text_anchor="end"),
            element("line", x1=low, x2=high, y1=y, y2=y, class_="line", style=f"stroke:{colour}"),
            element(
                "circle", tip, cx=middle, cy=y, r=4.5, class_="dot", style=f"stroke:{colour};fill:{colour}"
            ),
        ]
    )
