"""Estimates whose answers are known, and verdicts from tables made by hand."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from qa.errors import MetricError
from qa.experiments import data, phases, rounds
from qa.experiments.page import read_section, render, shown, shown_difference, write_section
from qa.experiments.statistics import Estimate, crossed_mean, estimate, ratio, ratio_of_ratios


def test_a_ratio_is_of_sums_and_its_interval_over_clusters():
    rows = np.array([[2.0, 1.0], [4.0, 1.0], [6.0, 2.0], [8.0, 2.0], [10.0, 4.0], [3.0, 3.0]])
    found = estimate(rows, list("abcdef"), ratio(0, 1))
    assert found.value == pytest.approx(33 / 13) and found.clusters == 6
    assert found.low < found.value < found.high
    assert estimate(rows, list("abcdef"), ratio(0, 1)) == found, "the same draws every time"


def test_what_is_in_proportion_has_no_spread():
    seconds = np.array([1.0, 5.0, 2.0, 9.0, 4.0, 7.0])
    rows = np.stack([seconds * 8, np.ones(6), seconds, np.ones(6)], axis=1)
    found = estimate(rows, range(6), ratio_of_ratios((0, 1), (2, 3)))
    assert (found.value, found.low, found.high) == pytest.approx((8.0, 8.0, 8.0))


def test_rows_of_a_cluster_are_drawn_together():
    rng = np.random.default_rng(0)
    rows = np.column_stack([np.repeat(rng.normal(10, 3, 8), 20), np.ones(160)])
    alone = estimate(rows, range(160), ratio(0, 1))
    together = estimate(rows, [row // 20 for row in range(160)], ratio(0, 1))
    assert together.clusters == 8 and together.high - together.low > 3 * (alone.high - alone.low)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(1)
    hits = 0
    for trial in range(200):
        rows = np.column_stack([rng.normal(5.0, 2.0, 40), np.ones(40)])
        found = estimate(rows, range(40), ratio(0, 1), seed=trial)
        hits += found.low <= 5.0 <= found.high
    assert 180 <= hits <= 199


def test_too_few_clusters_give_no_interval():
    found = estimate(np.ones((4, 2)), range(4), ratio(0, 1))
    assert found.value == 1.0 and math.isnan(found.low) and math.isnan(found.high)
    assert shown(found) == "1.0" and shown(Estimate(math.nan)) == shown(None) == "–"
    with pytest.raises(MetricError, match="no estimate"):
        estimate(np.ones((0, 2)), [], ratio(0, 1))


def test_nothing_by_nothing_is_unknown():
    rows = np.array([[1.0, 0.0]] * 6)
    assert math.isnan(estimate(rows, range(6), ratio(0, 1)).value)


def test_the_luck_of_a_training_widens_the_interval():
    rng = np.random.default_rng(2)
    objects = rng.normal(60, 1, 12)
    lucky = np.stack([objects + shift for shift in (-6.0, 0.0, 6.0)])
    alike = np.stack([objects, objects, objects])
    wide, narrow = crossed_mean(lucky), crossed_mean(alike)
    assert wide.value == pytest.approx(narrow.value)
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)


def test_numbers_are_shown_with_their_intervals():
    assert shown(Estimate(8.41, 7.0, 9.96, 20), 1, "×") == "8.4× (7.0 … 10.0)"
    assert shown_difference(Estimate(-1.25, -2.0, 0.5, 9)) == "−1.2 (−2.0 … +0.5)"


def costs(loop: float, *, noise: float = 1.0) -> pd.DataFrame:
    """Two rounds on ten videos; in the second, the loop's masklets cost `loop` times as much."""
    rng = np.random.default_rng(3)
    rows = []
    for number in (1, 2):
        for video in range(10):
            base = 100 + noise * rng.normal()
            for arm, factor in (("loop", loop if number == 2 else 1.0), ("still", 1.0)):
                seconds = base * factor + (noise * rng.normal() if number == 2 else 0.0)
                rows.append((arm, 0, number, f"v{video}", seconds, seconds, 20, 2, 0, 2))
    return pd.DataFrame(rows, columns=list(rounds.COST_COLUMNS))


def scores(gain: float) -> pd.DataFrame:
    rows = []
    for number in range(3):
        for name in range(8):
            for arm in ("loop", "still"):
                better = gain if arm == "loop" and number else 0.0
                rows.append((arm, 0, number, "3-click", f"o{name}", 60.0 + name + better))
    return pd.DataFrame(rows, columns=list(rounds.SCORE_COLUMNS))


@pytest.mark.parametrize(
    ("loop", "noise", "pays", "words"),
    [
        (0.7, 1.0, True, "The loop pays: .* differs by −3\\d %"),
        (1.3, 1.0, False, "The loop does not pay here: .* differs by \\+31 %"),
        (1.0, 30.0, None, "cannot be told"),
    ],
)
def test_the_verdict_on_the_loop_follows_the_interval(
    loop: float, noise: float, pays: bool | None, words: str
):
    found = rounds.find(costs(loop, noise=noise), scores(2.0), retrained=2, promoted=1, training_s=30.0)
    assert found.pays is pays
    assert re.search(words, found.verdict)
    assert found.gain["3-click"].value == pytest.approx(2.0)
    assert found.rounds["loop", 1].cost == found.rounds["still", 1].cost
    assert found.relative_by_round[1].value == 1.0
    assert found.relative_by_round[2] == found.relative_cost, "the first round is no part of the verdict"


def test_a_loop_in_which_nothing_is_accepted_has_no_price():
    nothing = costs(1.0).assign(accepted=0)
    found = rounds.find(nothing, scores(0.0), retrained=1, promoted=1, training_s=1.0)
    assert found.pays is None and "Nothing was accepted" in found.verdict
    assert found.to_json()["relative_cost"]["value"] is None


def test_a_loop_whose_models_are_all_refused_does_not_pay():
    found = rounds.find(costs(1.0), scores(0.0), retrained=2, promoted=0, training_s=30.0)
    assert found.pays is False and "none of 2 retrained models passed the gate" in found.verdict


def masklets() -> pd.DataFrame:
    rows = []
    for name in range(8):
        for arm, seconds, edited in (
            ("phase-1", 160.0, 100.0),
            ("phase-2", 40.0, 20.0),
            ("phase-3", 20.0, 15.0),
        ):
            first = arm == "phase-1"
            rows.append(
                (arm, 0, f"v/{name}", "drawn", 20, seconds * (1 + name), 4.0, edited, 30, 10, 1.0, "small",
                 0 if first else 20, 0 if first else 18, 18.0, 20)
            )  # fmt: skip
    return pd.DataFrame(rows, columns=list(phases.COLUMNS))


def test_phases_are_compared_on_the_same_objects():
    found = phases.find(masklets(), {"phase-1": 1, "phase-2": 2, "phase-3": 3})
    third = found.arms["phase-3"]
    assert (third.speed_up.value, third.speed_up.low) == pytest.approx((8.0, 8.0))
    assert third.typical_speed_up.value == pytest.approx(8.0)
    assert third.alignment["all"].value == pytest.approx(90.0) == third.alignment["small"].value
    assert third.edited_percent.value == 15.0 and third.clicks_per_clicked_frame.value == 3.0
    assert "8.0× less" in found.verdict and "at least the five times" in found.verdict
    assert found.to_json()["arms"]["phase-2"]["speed_up"]["value"] == 4.0


def scored(gain: float) -> pd.DataFrame:
    """Eight objects, two trainings; every row of the table is better than the one above by `gain`."""
    rows = []
    for place, name in enumerate(("base", "phase-1", "phase-2", "phase-3", "auto")):
        for seed in range(2):
            for number in range(8):
                rows.append(
                    (name, seed, "cells", "3-click", f"o{number}", 50.0 + number + seed + gain * place)
                )
    return pd.DataFrame(rows, columns=list(data.COLUMNS))


@pytest.mark.parametrize(("gain", "words"), [(2.0, "a gain"), (-2.0, "a loss"), (0.0, "may be chance")])
def test_data_is_judged_against_the_base_row(gain: float, words: str):
    found = data.find(scored(gain), {"phase-3": 9, "auto": 12}, {"phase-3": 100.0, "auto": 110.0})
    assert found.rows["phase-2"].over_base["cells", "3-click"].value == pytest.approx(2 * gain)
    assert words in found.verdict and found.seeds == 2


def test_a_page_keeps_the_sections_of_other_runs(tmp_path: Path):
    kept = []
    by_phase = phases.find(masklets(), {"phase-1": 1, "phase-2": 2, "phase-3": 3})
    by_data = data.find(scored(1.0), {}, {})
    by_round = rounds.find(costs(0.8), scores(1.0), retrained=1, promoted=1, training_s=9.0)
    words: dict[str, Any] = {"about": "About it.", "assumptions": ("It is so.",), "versions": ("1",)}
    for name, section in (
        ("phases", phases.section(by_phase, strips=(), **words)),
        ("data", data.section(by_data, strips=(), **words)),
        ("rounds", rounds.section(by_round, **words)),
    ):
        write_section(section, tmp_path / name)
        kept.append(read_section(tmp_path / name))
        assert kept[-1] == section
    page = render(kept, title="All", quick=True)
    assert page.count("<h2") == 3 and "quick variant" in page and "37.80" in page and "SA-V val" in page
    assert "http" not in page.replace("http://www.w3.org", "")
