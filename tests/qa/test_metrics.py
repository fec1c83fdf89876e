from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from qa.contours import Bits
from qa.errors import MetricError
from qa.metrics import (
    Mask,
    Score,
    boundary_f,
    boundary_radius,
    jaccard,
    mean_score,
    score_frame,
    score_masklet,
    size_bucket,
)
from storage.masks import encode

SIZE = (4, 4)


def mask(*rows: str) -> np.ndarray:
    """`mask("..##", ...)`: a `#` is foreground."""
    return np.array([[pixel == "#" for pixel in row] for row in rows])


EMPTY = mask("....", "....", "....", "....")
FULL = mask("####", "####", "####", "####")
SQUARE = mask("....", ".##.", ".##.", "....")
LEFT = mask("....", ".#..", ".#..", "....")
CORNER = mask("##..", "##..", "....", "....")


class TestJaccard:
    @pytest.mark.parametrize(
        ("prediction", "truth", "expected"),
        [
            (SQUARE, SQUARE, 1.0),
            (LEFT, SQUARE, 2 / 4),
            (CORNER, SQUARE, 1 / 7),
            (EMPTY, SQUARE, 0.0),
            (SQUARE, EMPTY, 0.0),
            (EMPTY, EMPTY, 1.0),
            (SQUARE, FULL, 4 / 16),
        ],
    )
    def test_is_intersection_over_union(self, prediction, truth, expected):
        assert jaccard(prediction, truth) == expected
        assert jaccard(encode(prediction), encode(truth)) == expected


class TestBoundary:
    @pytest.mark.parametrize(
        ("of", "expected"),
        [
            (SQUARE, mask("###.", "#.#.", "###.", "....")),
            (CORNER, mask(".#..", "##..", "....", "....")),
            (mask("....", "....", "....", "...#"), mask("....", "....", "..##", "..#.")),
            (EMPTY, EMPTY),
            (FULL, EMPTY),
        ],
    )
    def test_is_where_a_right_or_lower_neighbour_differs(self, of, expected):
        np.testing.assert_array_equal(Bits.of(of).boundary().to_array(), expected)

    def test_radius_is_a_share_of_the_diagonal_rounded_up(self):
        assert boundary_radius(4, 4) == 1
        assert boundary_radius(120, 160) == 2  # 0.008 * 200 = 1.6
        assert boundary_radius(480, 854) == 8  # 7.84


class TestBoundaryF:
    @pytest.mark.parametrize(
        ("prediction", "truth", "expected"),
        [
            (SQUARE, SQUARE, 1.0),
            (EMPTY, EMPTY, 1.0),
            (EMPTY, FULL, 1.0),  # neither has a boundary
            (EMPTY, SQUARE, 0.0),
            (SQUARE, EMPTY, 0.0),
            (SQUARE, FULL, 0.0),
        ],
    )
    def test_on_masks_checked_by_eye(self, prediction, truth, expected):
        assert boundary_f(prediction, truth) == expected

    def test_counts_boundary_pixels_within_the_tolerance(self):
        far = np.zeros((6, 6), bool)
        far[1, 1] = True  # boundary: the pixel, and the three to the left of and above it
        near = np.zeros((6, 6), bool)
        near[1, 3] = True  # the same two to the right, so half of its boundary is one pixel away
        assert boundary_radius(6, 6) == 1
        assert boundary_f(near, far) == 0.5


def frames(*masks: Mask) -> dict[int, Mask]:
    return dict(enumerate(masks))


class TestScoreMasklet:
    @pytest.mark.parametrize(
        ("prediction", "truth", "expected"),
        [
            pytest.param([EMPTY, SQUARE, EMPTY], [SQUARE] * 3, (100, 100, 1), id="ends are not scored"),
            pytest.param([EMPTY, SQUARE, EMPTY, SQUARE], [SQUARE] * 4, (50, 50, 2), id="mean over frames"),
            pytest.param([EMPTY] * 4, [EMPTY, EMPTY, SQUARE, SQUARE], (0, 0, 1), id="starts at appearance"),
            pytest.param(
                [EMPTY, SQUARE, SQUARE, SQUARE], [EMPTY, EMPTY, SQUARE, SQUARE], (50, 50, 2), id="or guess"
            ),
            pytest.param(
                [SQUARE, SQUARE, EMPTY, EMPTY, EMPTY], [SQUARE, SQUARE, EMPTY, EMPTY, EMPTY], (100, 100, 3),
                id="later agreement on absence counts",
            ),
            pytest.param([SQUARE] * 4, [SQUARE, EMPTY, EMPTY, SQUARE], None, id="not in the scored truth"),
            pytest.param([SQUARE] * 2, [SQUARE] * 2, None, id="nothing between the ends"),
        ],
    )  # fmt: skip
    def test_tally(self, prediction, truth, expected):
        score = score_masklet(frames(*prediction), frames(*truth))
        assert score == (None if expected is None else Score(*expected))

    def test_can_score_the_ends_too(self):
        score = score_masklet(frames(EMPTY, SQUARE), frames(SQUARE, SQUARE), skip_ends=False)
        assert score == Score(50, 50, 2)

    def test_a_missing_frame_is_absence(self):
        assert score_masklet({0: SQUARE}, {0: SQUARE}, frames=range(5)) is None
        assert score_masklet({1: SQUARE}, {1: SQUARE}, frames=range(5)) == Score(100, 100, 3)
        missed = score_masklet({}, {1: SQUARE}, frames=range(5))
        assert missed is not None
        assert (missed.j, missed.f, missed.count) == pytest.approx((200 / 3, 200 / 3, 3))

    def test_frames_between_the_annotated_ones_are_not_looked_at(self):
        prediction = {frame: (SQUARE if frame % 4 == 0 else EMPTY) for frame in range(17)}
        truth = dict.fromkeys(range(0, 17, 4), SQUARE)
        assert score_masklet(prediction, truth) == Score(100, 100, 3)

    def test_takes_run_lengths_and_arrays_mixed(self):
        assert score_masklet(
            frames(EMPTY, encode(LEFT), EMPTY), frames(SQUARE, SQUARE, SQUARE)
        ) == score_masklet(frames(EMPTY, LEFT, EMPTY), frames(SQUARE, encode(SQUARE), SQUARE))


class TestGolden:
    """Values of the released evaluation tool: 120 x 160 px, truth in rows 20-79 and columns 30-109."""

    truth = np.zeros((120, 160), bool)
    truth[20:80, 30:110] = True
    nothing = np.zeros_like(truth)

    @pytest.mark.parametrize(
        ("window", "expected"),
        [
            ((slice(25, 85), slice(35, 115)), (75.34246575342466, 3.571428571428571)),
            ((slice(20, 80), slice(30, 70)), (50.0, 60.416666666666664)),
            ((slice(0), slice(0)), (0.0, 0.0)),
            ((slice(19, 81), slice(29, 111)), (94.41384736428009, 100.0)),
        ],
        ids=["shift5", "half", "empty", "dilate1"],
    )
    def test_one_frame(self, window, expected):
        prediction = self.nothing.copy()
        prediction[window] = True
        score = score_masklet({0: prediction}, {0: self.truth}, skip_ends=False)
        assert score is not None
        assert (score.j, score.f) == pytest.approx(expected, abs=1e-9)

    @pytest.mark.parametrize(
        ("second", "expected"), [(nothing, (100, 100)), (truth, (50, 50))], ids=["absent", "false positive"]
    )
    def test_after_the_object_left(self, second, expected):
        score = score_masklet(frames(self.truth, second), frames(self.truth, self.nothing), skip_ends=False)
        assert score is not None
        assert (score.j, score.f) == expected


def plain_f(prediction: np.ndarray, truth: np.ndarray) -> float:
    """F by the book, on whole frames, pixel by pixel: the oracle."""
    radius = math.ceil(0.008 * math.hypot(*truth.shape))

    def edge_pixels(mask: np.ndarray) -> list[tuple[int, int]]:
        height, width = mask.shape
        return [
            (row, column)
            for row in range(height)
            for column in range(width)
            if any(
                mask[row, column] != mask[row + down, column + right]
                for down, right in ((0, 1), (1, 0), (1, 1))
                if row + down < height and column + right < width
            )
        ]

    def share_near(edge: list[tuple[int, int]], other: list[tuple[int, int]]) -> float:
        near = [any((y - v) ** 2 + (x - u) ** 2 <= radius**2 for v, u in other) for y, x in edge]
        return sum(near) / len(near) if near else 1.0

    predicted, true = edge_pixels(prediction), edge_pixels(truth)
    if not predicted and not true:
        return 1.0
    precision, recall = share_near(predicted, true), share_near(true, predicted)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@st.composite
def pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Two masks of one size: noise, or noise inside a window so that there is something to crop away."""
    shape = draw(st.tuples(st.integers(1, 14), st.integers(1, 14)))
    masks = [draw(arrays(np.bool_, shape)) for _ in range(2)]
    if draw(st.booleans()):
        top, left = (draw(st.integers(0, side - 1)) for side in shape)
        window = np.zeros(shape, bool)
        window[top : top + draw(st.integers(1, 6)), left : left + draw(st.integers(1, 6))] = True
        masks = [one & window for one in masks]
    return masks[0], masks[1]


class TestProperties:
    @given(pairs())
    @settings(deadline=None)
    def test_the_cropped_computation_equals_the_plain_one(self, masks):
        prediction, truth = masks
        expected = jaccard(prediction, truth), plain_f(prediction, truth)
        assert score_frame(prediction, truth) == pytest.approx(expected, abs=1e-12)
        assert score_frame(encode(prediction), encode(truth)) == pytest.approx(expected, abs=1e-12)

    @given(st.integers(0, 40), st.integers(0, 300), st.integers(0, 40), st.integers(0, 300))
    @settings(deadline=None, max_examples=10)
    def test_with_a_tolerance_of_several_pixels_near_the_border(self, top, left, down, right):
        truth, prediction = np.zeros((2, 60, 320), bool)
        truth[top : top + 12, left : left + 15] = True
        prediction[down : down + 9, right : right + 18] = True
        assert boundary_radius(60, 320) == 3
        expected = jaccard(prediction, truth), plain_f(prediction, truth)
        assert score_frame(prediction, truth) == pytest.approx(expected, abs=1e-12)

    @given(pairs())
    def test_both_are_symmetric_and_between_0_and_1(self, masks):
        a, b = masks
        assert score_frame(a, b) == pytest.approx(score_frame(b, a), abs=1e-12)
        assert all(0 <= value <= 1 for value in score_frame(a, b))

    @given(pairs())
    def test_a_mask_agrees_with_itself(self, masks):
        assert score_frame(masks[0], masks[0]) == (1.0, 1.0)


class TestMeanScore:
    def test_every_object_counts_once_whatever_its_length(self):
        mean = mean_score([Score(100, 80, 1), Score(50, 40, 99)])
        assert mean == Score(75, 60, 2)
        assert mean.jf == 67.5

    def test_is_not_a_number_without_objects(self):
        assert math.isnan(mean_score([]).jf)


class TestSizeBucket:
    @pytest.mark.parametrize(
        ("area", "expected"),
        [
            (1, "small"),
            (1023.5, "small"),
            (1024, "medium"),
            (1905, "medium"),
            (9215, "medium"),
            (9216, "large"),
        ],
    )
    def test_limits(self, area, expected):
        assert size_bucket(area) == expected

    @pytest.mark.parametrize("area", [0, -1, math.nan])
    def test_an_absent_object_has_no_size(self, area):
        with pytest.raises(MetricError, match="at least one pixel"):
            size_bucket(area)


class TestErrors:
    def test_sizes_must_agree(self):
        with pytest.raises(MetricError, match=r"\(4, 4\) and truth \(3, 4\) differ in size"):
            score_frame(SQUARE, SQUARE[:3])

    @pytest.mark.parametrize("wrong", [SQUARE.astype(np.uint8), np.zeros((1, 4, 4), bool)])
    def test_a_mask_is_bool_and_flat(self, wrong):
        with pytest.raises(MetricError, match="bool array of rows and columns"):
            jaccard(wrong, SQUARE)
