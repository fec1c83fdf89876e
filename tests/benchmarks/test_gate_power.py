"""The table of the gate's power, on scores that one can check by eye."""

from __future__ import annotations

from benchmarks.gate_power.__main__ import line
from qa.metric_rows import RETENTION, MetricRow


def scores(evaluation: float, retention: float) -> list[MetricRow]:
    """Six videos of one object in each set."""
    return [
        MetricRow("mask", f"v{n}", 1, value, value, value, 10, suite)
        for suite, value in (("", evaluation), (RETENTION, retention))
        for n in range(6)
    ]


def test_a_line_counts_refusals_and_falls_that_are_sure_but_allowed() -> None:
    found = [scores(52, 70), scores(51, 69.5), scores(46, 70)]
    assert line(1e-4, scores(50, 70), found) == (
        "| 0.0001 | 0.3 (-2.0 to 4.0) | 1 of 3 | 1 of 3 | 1 of 3 | 1 of 3 | 2 | 1 |"
    )
