"""The paper's phase table with our own numbers beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qa.report import formats
from qa.report.measures import BUCKETS, PhaseMeasures
from qa.report.paper import PAPER, PaperPhase
from qa.report.svg import element
from qa.report.table import Cell, Column, Table

_Ours = Callable[[PhaseMeasures], str]
_Paper = Callable[[PaperPhase], str]


def phase_table(measures: Sequence[PhaseMeasures]) -> Table:
    """The paper's table 1 with our own numbers beside it, a pair of columns a phase."""
    rows = [_phase_row(name, ours, paper, measures) for name, ours, paper in _phase_rows()]
    pairs = [Column("ours"), Column("paper")]
    return Table(
        columns=(Column("", numeric=False), *(pairs * len(PAPER))),
        rows=tuple(rows),
        groups=(
            ("", "", 1),
            *((f"Phase {phase}: {one.helper}", one.prompts, 2) for phase, one in PAPER.items()),
        ),
        minor_rows=frozenset(order for order, row in enumerate(rows) if str(row[0]).startswith("…")),
    )


def _phase_row(name: str, ours: _Ours, paper: _Paper, measures: Sequence[PhaseMeasures]) -> tuple[Cell, ...]:
    by_phase = {one.phase: one for one in measures}
    cells: list[Cell] = [name]
    for phase, published in PAPER.items():
        value = ours(by_phase[phase]) if phase in by_phase else formats.NOT_AVAILABLE
        cells += [element("b", value), paper(published)]
    return tuple(cells)


def _phase_rows() -> list[tuple[str, _Ours, _Paper]]:
    f = formats
    return [
        (
            "Seconds per frame",
            lambda m: f.number(m.effort.seconds_per_frame),
            lambda p: f.number(p.seconds_per_frame),
        ),
        ("Speed-up over phase 1", lambda m: f.times(m.speed_up), lambda p: f.times(p.speed_up)),
        ("… on the same objects (n)", _same_objects, lambda p: f.times(p.speed_up)),
        (
            "Edited frames",
            lambda m: f.percent(m.effort.edited_percent),
            lambda p: f.percent(p.edited_percent, 2),
        ),
        (
            "Clicks per clicked frame",
            lambda m: f.number(m.effort.clicks_per_clicked_frame, 2),
            lambda p: f.number(p.clicks_per_clicked_frame, 2),
        ),
        *(_alignment_row(bucket) for bucket in BUCKETS),
        ("Masklets collected", lambda m: f.count(m.masklets), lambda p: p.masklets),
        ("… automatic ones besides", lambda m: f.count(m.automatic), lambda p: f.NOT_AVAILABLE),
        ("Rounds", lambda m: f.count(m.rounds), lambda p: f.NOT_AVAILABLE),
        ("Retrains (promoted)", _retrains, lambda p: f.count(p.retrains)),
    ]


def _alignment_row(bucket: str) -> tuple[str, _Ours, _Paper]:
    name = "Alignment to phase 1 (masks)" if bucket == "all" else f"… {bucket} objects"
    return name, lambda m: _alignment(m, bucket), lambda p: formats.percent(p.alignment.get(bucket))


def _alignment(measures: PhaseMeasures, bucket: str) -> str:
    score = measures.alignment.get(bucket)
    if score is None or not score.masks:
        return formats.NOT_AVAILABLE
    return f"{formats.percent(score.share)} ({formats.count(score.masks)})"


def _same_objects(measures: PhaseMeasures) -> str:
    same = measures.same_objects
    return formats.NOT_AVAILABLE if same is None else f"{formats.times(same.speed_up)} ({same.objects})"


def _retrains(measures: PhaseMeasures) -> str:
    return f"{measures.retrains} ({measures.promotions})" if measures.retrains else "0"
