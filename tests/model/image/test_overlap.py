"""Greedy choice among overlapping things, checked against the plain double loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.image.overlap import box_ious, distinct, distinct_boxes

BOXES = st.lists(
    st.tuples(
        st.integers(0, 12), st.integers(0, 12), st.integers(0, 8), st.integers(0, 8), st.integers(0, 4)
    ),
    min_size=1,
    max_size=30,
)


def test_things_stay_unless_an_earlier_one_that_stays_overlaps() -> None:
    overlaps = np.array([[1, 0.8, 0], [0.8, 1, 0.8], [0, 0.8, 1]])
    assert distinct(3, lambda index: overlaps[index], 0.7) == [0, 2]  # 1 went, so it takes 2 with it no more
    assert distinct(3, lambda index: overlaps[index], 0.8) == [0, 1, 2]
    assert distinct(0, lambda index: overlaps[index], 0.8) == []


def _plain_suppression(boxes: np.ndarray, scores: np.ndarray, max_iou: float) -> list[int]:
    """Torchvision's loop: float32 areas, the quotient compared as a double."""
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    gone, kept = set(), []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if i in gone:
            continue
        kept.append(i)
        for j in range(len(boxes)):
            width = max(np.float32(0), min(boxes[i, 2], boxes[j, 2]) - max(boxes[i, 0], boxes[j, 0]))
            height = max(np.float32(0), min(boxes[i, 3], boxes[j, 3]) - max(boxes[i, 1], boxes[j, 1]))
            with np.errstate(invalid="ignore"):
                iou = np.float32(width * height / (areas[i] + areas[j] - width * height))
            if float(iou) > max_iou:
                gone.add(j)
    return kept


@settings(deadline=None, max_examples=60)
@given(BOXES, st.sampled_from([0.0, 0.3, 0.5, 0.7, 0.8, 1.0]))
def test_suppression_equals_the_plain_loop(rows: list[tuple[int, ...]], max_iou: float) -> None:
    table = np.array(rows, dtype=np.float32)
    boxes = np.concatenate((table[:, :2], table[:, :2] + table[:, 2:4]), axis=1)
    scores = table[:, 4] / 4
    assert distinct_boxes(boxes, scores, max_iou).tolist() == _plain_suppression(boxes, scores, max_iou)


@pytest.mark.parametrize("threshold", [0.7, 0.8])
def test_a_box_just_at_the_threshold(threshold: float) -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10 * threshold]], dtype=np.float32)
    above = float(box_ious(boxes[0], boxes)[1]) > threshold  # float32 of 0.8 is above 0.8, of 0.7 below 0.7
    assert len(distinct_boxes(boxes, np.array([1.0, 0.5]), threshold)) == (1 if above else 2)


def test_boxes_without_area_overlap_nothing() -> None:
    points = np.zeros((3, 4), dtype=np.float32)
    assert distinct_boxes(points, np.array([0.1, 0.3, 0.2]), 0.5).tolist() == [1, 2, 0]
    assert distinct_boxes(np.zeros((0, 4), dtype=np.float32), np.zeros(0), 0.5).tolist() == []
