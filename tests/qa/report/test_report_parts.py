"""The small functions reports are made of, on examples one can check by eye."""

from __future__ import annotations

import base64
import math
from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest

from qa.report import ExtraFilmstrip, RunReportData, choose, formats
from qa.report.charts import training_course_plots
from qa.report.filmstrip import Shot, make_thumbnail, pick_frames, zoom_window
from qa.report.lineage import in_order, round_chain, run_chain
from qa.report.measures import measure_phases, outcomes
from qa.report.overlay import overlay, paint_mask, resize_mask, scaled_size
from qa.report.plots import Bar, Series, line_plot, stacked_bars
from qa.report.svg import element, ticks
from tests.qa.report.history import make_run

BLUE = (0, 0, 255)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (formats.number(12.345), "12.3"),
        (formats.number(1234567.0, 0), "1,234,567"),
        (formats.number(-0.04), "0.0"),
        (formats.number(-2.5), "−2.5"),
        (formats.number(None), "–"),
        (formats.number(math.nan), "–"),
        (formats.percent(93.75), "93.8 %"),
        (formats.percent(None), "–"),
        (formats.times(8.4), "8.4×"),
        (formats.signed(1.25, 2), "+1.25"),
        (formats.signed(0.0), "0.0"),
        (formats.signed(-1.0), "−1.0"),
        (formats.duration(8.26), "8.3 s"),
        (formats.duration(150), "2.5 min"),
        (formats.duration(9000), "2.5 h"),
        (formats.short_hash("0123456789abcdef"), "01234567"),
        (formats.short_hash(""), "–"),
        (formats.plural(1, "masklet"), "1 masklet"),
        (formats.plural(3000, "row"), "3,000 rows"),
    ],
)
def test_numbers_read_well(text: str, expected: str) -> None:
    assert text == expected


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 83, [0, 25, 50, 75, 100]),
        (41, 65, [40, 50, 60, 70]),
        (0.3, 0.31, [0.3, 0.3025, 0.305, 0.3075, 0.31]),
        (3, 3, [3, 4]),
        (0, 0, [0, 0.25]),
        (-5, 5, [-5, -2.5, 0, 2.5, 5]),
    ],
)
def test_ticks_are_round_and_span_the_values(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == expected


def test_markup_is_escaped_once() -> None:
    assert element("text", "a < b & c", class_="x", stroke_width=1.50) == (
        '<text class="x" stroke-width="1.5">a &lt; b &amp; c</text>'
    )
    assert element("g", element("text", "<")) == "<g><text>&lt;</text></g>"
    assert element("line", title='"><script>') == '<line title="&#34;&gt;&lt;script&gt;"/>'


@pytest.mark.parametrize(
    ("frames", "keep", "most", "expected"),
    [
        (range(5), [], 12, [0, 1, 2, 3, 4]),
        (range(100), [7], 4, [0, 7, 66, 99]),
        (range(0, 40, 4), [8], 3, [0, 8, 36]),
        ([], [], 12, []),
        ([9, 3, 3], [], 12, [3, 9]),
        (range(10), list(range(10)), 4, [0, 3, 6, 9]),
    ],
)
def test_frames_picked_are_few_ordered_and_keep_the_ends(frames, keep, most, expected) -> None:
    picked = pick_frames(list(frames), keep=keep, most=most)
    assert picked == expected


@pytest.mark.parametrize("count", [1, 2, 11, 12, 13, 24, 99, 480])
@pytest.mark.parametrize("edited", [0, 1, 5, 40])
def test_a_strip_always_has_twelve_frames_when_there_are_as_many(count: int, edited: int) -> None:
    frames = list(range(0, 4 * count, 4))
    picked = pick_frames(frames, keep=frames[1 : 1 + edited])
    assert len(picked) == min(count, 12) and picked == sorted(set(picked))
    assert picked[0] == frames[0] and picked[-1] == frames[-1]
    assert set(picked) <= set(frames)
    assert edited != 1 or count < 3 or frames[1] in picked


def test_a_painted_mask_is_tinted_inside_and_untouched_far_outside() -> None:
    picture = np.full((40, 40, 3), 100, np.uint8)
    mask = np.zeros((40, 40), bool)
    mask[10:20, 10:20] = True
    painted = paint_mask(picture, mask, BLUE)
    assert painted[14, 14].tolist() == [55, 55, 170]  # 0.55 · 100 + 0.45 · (0, 0, 255)
    assert painted[10, 14].tolist() == [0, 0, 255]  # the outline
    assert (painted[30:, 30:] == 100).all()
    assert (picture == 100).all(), "the picture given is not changed"


def test_an_empty_mask_changes_nothing() -> None:
    picture = np.full((8, 8, 3), 7, np.uint8)
    assert (paint_mask(picture, np.zeros((8, 8), bool), BLUE) == 7).all()


def test_a_tiny_mask_survives_shrinking_and_an_empty_one_stays_empty() -> None:
    mask = np.zeros((100, 100), bool)
    assert not resize_mask(mask, height=10, width=10).any()
    mask[42, 57] = True
    assert np.argwhere(resize_mask(mask, height=10, width=10)).tolist() == [[4, 5]]


def test_a_mask_keeps_its_size_when_enlarged() -> None:
    mask = np.zeros((10, 10), bool)
    mask[2:6, 3:8] = True
    large = resize_mask(mask, height=100, width=100)
    assert abs(large.sum() - 2000) < 150  # corners are rounded


@pytest.mark.parametrize(
    ("height", "width", "expected"), [(100, 200, (50, 100)), (1, 4000, (1, 100)), (5, 5, (100, 100))]
)
def test_pictures_keep_their_proportions(height: int, width: int, expected: tuple[int, int]) -> None:
    assert scaled_size(height, width, longest_px=100) == expected
    assert overlay(np.zeros((height, width, 3), np.uint8), [], longest_px=100).shape == (*expected, 3)


def test_small_objects_are_zoomed_in_and_wandering_ones_are_not() -> None:
    near = np.zeros((100, 200), bool)
    near[0:5, 0:10] = True
    assert zoom_window([near]) == (0, 0, 60, 30)
    far = np.roll(near, (90, 180), axis=(0, 1))
    assert zoom_window([near, far]) is None
    assert zoom_window([np.zeros((100, 200), bool)]) is None
    x0, y0, x1, y1 = zoom_window([far]) or (0, 0, 0, 0)
    assert (x1, y1) == (200, 100) and (x1 - x0, y1 - y0) == (60, 30)


def test_a_thumbnail_says_what_it_shows_and_is_a_jpeg_of_its_size() -> None:
    frame = np.full((54, 96, 3), 128, np.uint8)
    shot = Shot(8, {0: np.zeros((54, 96), bool)}, edited=True, flagged=True)
    thumbnail = make_thumbnail(frame, shot)
    assert thumbnail.text == "frame 8, edited, object absent, marked wrong"
    packed = base64.b64decode(thumbnail.address.removeprefix("data:image/jpeg;base64,"))
    picture = cv2.imdecode(np.frombuffer(packed, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None and picture.shape[:2] == (thumbnail.height, thumbnail.width)


def test_plots_hold_every_value_and_survive_having_none() -> None:
    plot = line_plot([Series("a <b>", ((0, 1.0), (1, 2.5)), "red")], title="t", x_label="x", y_label="y")
    assert "a &lt;b&gt;: 2.5" in plot.svg and [entry.label for entry in plot.legend] == ["a <b>"]
    assert "<svg" in line_plot([], title="t", x_label="x", y_label="y").svg
    bars = stacked_bars(
        [Bar("R1", {"x": 3.0, "y": 1.0}, "75 %")], title="t", colours={"x": "red", "z": "blue", "y": "tan"}
    )
    assert [entry.label for entry in bars.legend] == ["x", "y"] and "75 %" in bars.svg
    assert "<svg" in stacked_bars([], title="t", colours={}).svg
    assert (
        "nan" not in stacked_bars([Bar("R1", {"x": 0.0})], title="t", colours={"x": "red"}, shares=True).svg
    )


def test_outcomes_count_masklets_by_first_and_last_verdict(run: RunReportData) -> None:
    data = run.rounds[1]
    people, auto = outcomes(data.verdicts, "annotation"), outcomes(data.verdicts, "auto")
    assert (people.judged, people.first_look, people.corrected, people.rejected, people.verdicts) == (
        4,
        2,
        1,
        1,
        5,
    )
    assert (auto.judged, auto.first_look, auto.corrected, auto.unsatisfactory) == (4, 2, 1, 1)
    assert people.acceptance_percent == 75


def test_phases_are_measured_on_the_same_objects_too(run: RunReportData) -> None:
    first, third = measure_phases(run.rounds)
    assert first.effort.seconds_per_frame == pytest.approx(26.5)
    assert first.same_objects is None and first.alignment == {}
    assert third.same_objects is not None and third.same_objects.objects == 1
    assert third.same_objects.seconds_per_frame == pytest.approx(17.7 / 12)
    assert third.same_objects.speed_up == pytest.approx(26.5 / (17.7 / 12))
    assert third.alignment["all"].masks == 12


def test_choices_are_the_typical_and_the_extreme_and_never_twice_the_same(run: RunReportData) -> None:
    data = run.rounds[1]
    chosen = choose.accepted(data, most=3)
    assert len({one.masklet_id for one in chosen}) == 3
    assert {one.why for one in chosen} == {""}, "the typical one has as many edited frames as any"
    assert [one.why for one in choose.failed_automatic(data, most=2)] == ["typical", "largest"]
    assert [one.verdict for one in choose.not_accepted(data, most=2)] == ["rejected", "unsatisfactory"]
    assert {one.revision for one in choose.automatic(data, most=5)} == {0}
    assert len(choose.accepted(data, most=0)) == 0


def test_frames_marked_wrong_are_shown(run: RunReportData) -> None:
    data = run.rounds[1]
    sent_back = next(one for one in choose.not_accepted(data, most=2) if one.verdict == "unsatisfactory")
    flagged = [shot.frame for shot in choose.shots(sent_back) if shot.flagged]
    assert flagged == [16, 20, 24, 28]


def test_lineage_runs_from_checkpoint_to_checkpoint() -> None:
    run = make_run((1, 3, 3, 3))
    first = run.rounds[0]
    assert [card.title for card in round_chain(first)][::10] == ["Model at the start", "Promoted model"]
    assert in_order(tuple(reversed(first.commits))) == list(first.commits)
    kinds = [card.kind for card in run_chain(run.rounds)]
    assert kinds == [
        "checkpoint",
        "round",
        "checkpoint",
        "round",
        "checkpoint",
        "round",
        "checkpoint",
        "round",
    ]
    assert [card.title for card in round_chain(run.rounds[3])][-1] == "Model kept"


def test_an_extra_strip_must_fit_together() -> None:
    with pytest.raises(ValueError, match="'x' differ in length"):
        ExtraFilmstrip("x", "", [np.zeros((4, 4, 3), np.uint8)], [], [0])


def test_the_course_of_training_is_drawn_where_it_was_recorded() -> None:
    last = make_run().rounds[-1]
    titles = [plot.title for plot in training_course_plots(last)]
    assert titles == ["Learning rate", "Length of the gradient before clipping"]
    speed = pd.DataFrame({"step": [1, 2], "step_s": [0.5, 0.25], "throughput": [4.0, 8.0]})
    plots = training_course_plots(replace(last, training_speed=speed))
    assert plots[-1].title == "Throughput of training"
    assert "objects a second" in plots[-1].svg
    assert training_course_plots(replace(last, training=last.training[:0])) == []
