"""Rates at single steps, computed by hand."""

from __future__ import annotations

from math import cos, pi, sqrt
from typing import Any

import pytest

from model.training.schedules import rate


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 0.2), (3, 0.8), (4, 1.0), (10, 0.1 + 0.9 * 0.5 * (1 + cos(pi * 6 / 16))), (12, 0.55), (20, 0.1)],
)
def test_a_cosine_after_warm_up(step: int, expected: float) -> None:
    assert rate(step, steps=20, warmup=4, end=0.1) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 1 / 1001),
        (499, 500 / 1001),
        (999, 1000 / 1001),
        (1000, 1.0),
        (2000, 1 / sqrt(2)),
        (4000, 0.5),  # warm-up as long as the timescale: √(1000 / step)
        (84_999, sqrt(1000 / 84_999)),
        (85_000, sqrt(1000 / 85_000)),
        (87_500, 0.5 * sqrt(1000 / 87_500)),
        (89_999, sqrt(1000 / 89_999) / 5000),
    ],
)
def test_the_reciprocal_square_root_of_stage_1(step: int, expected: float) -> None:
    found = rate(step, steps=90_000, schedule="rsqrt", warmup=1000, cooldown=5000, timescale=1000)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 1 / 3), (1, 2 / 3), (2, 1.0), (7, 1.0), (8, 2 / 3), (9, 1 / 3)]
)
def test_a_trapezium(step: int, expected: float) -> None:
    found = rate(step, steps=10, schedule="constant", warmup=2, cooldown=3)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("options", [{"warmup": 50}, {"warmup": 5, "cooldown": 8}, {"cooldown": 50}])
def test_a_run_shorter_than_its_ends_stays_between_zero_and_the_peak(options: dict[str, Any]) -> None:
    for schedule in ("cosine", "rsqrt", "constant"):
        rates = [rate(step, steps=10, schedule=schedule, **options) for step in range(10)]
        assert all(0 < value <= 1 for value in rates)
