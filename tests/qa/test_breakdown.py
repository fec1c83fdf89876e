from __future__ import annotations

import numpy as np
import pytest

from qa.breakdown import ObjectKind, breakdown, object_kinds, overall
from qa.evaluation import EvaluationVideo
from qa.metric_rows import MEAN_OBJECT, MetricRow
from storage.masks import Rle, empty, encode

HEIGHT, WIDTH = 120, 120
NUMBERS = tuple(range(6))


class Frames:
    height, width = HEIGHT, WIDTH

    def __len__(self) -> int:
        return len(NUMBERS)

    def __getitem__(self, index: int) -> np.ndarray:
        raise AssertionError("kinds of objects are known without a picture")


def square(side: int) -> Rle:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[:side, :side] = True
    return encode(mask)


def masklet(*sides: int) -> dict[int, Rle]:
    """One side a frame; 0 is absence, told by an empty mask on even frames and by none on odd ones."""
    return {
        frame: square(side) if side else empty(HEIGHT, WIDTH)
        for frame, side in enumerate(sides)
        if side or frame % 2 == 0
    }


VIDEO = EvaluationVideo(
    "v",
    Frames(),
    NUMBERS,
    {
        1: masklet(10, 10, 10, 10, 10, 10),
        2: masklet(0, 0, 40, 60, 0, 0),
        3: masklet(0, 100, 0, 0, 100, 0),
        4: masklet(0, 0, 0, 0, 0, 10),  # not seen between the ends
    },
)


def test_kinds_of_objects():
    kinds = object_kinds([VIDEO])
    assert kinds == {
        ("v", 1): ObjectKind(100.0, 0),
        ("v", 2): ObjectKind((40**2 + 60**2) / 2, 1),
        ("v", 3): ObjectKind(100.0**2, 3),
    }
    assert [(kind.size, kind.presence) for kind in kinds.values()] == [
        ("small", "stays"),
        ("medium", "leaves"),
        ("large", "returns"),
    ]


def row(object_id: int, jf: float, video_id: str = "v") -> MetricRow:
    return MetricRow("mask", video_id, object_id, jf - 10, jf + 10, jf, 4)


def test_scores_by_group():
    rows = [row(1, 50), row(2, 60), row(3, 80), MetricRow("mask", "", MEAN_OBJECT, 1, 1, 1, 12)]
    found = {each.group: each for each in breakdown(rows, object_kinds([VIDEO]))}
    assert list(found) == ["all", "small", "medium", "large", "stays", "leaves", "returns"]
    assert (found["all"].objects, found["all"].jf) == (3, pytest.approx(190 / 3))
    small = found["small"]
    assert (small.objects, small.j, small.f, small.jf) == (1, 40, 60, 50)


def test_groups_without_objects_are_left_out():
    assert [each.group for each in breakdown([row(1, 50)], object_kinds([VIDEO]))] == [
        "all",
        "small",
        "stays",
    ]


def test_the_interval_is_over_videos_if_there_are_enough():
    rows = [row(n, 20 if video in "ab" else 80, video) for video in "abcde" for n in range(10)]
    whole = overall(rows)
    assert whole.drawn == "videos" and whole.low is not None and whole.low < 40
    assert whole.interval_words.endswith("over videos")


def test_else_over_objects_and_with_too_few_of_them_there_is_none():
    rows = [row(n, 20 + 5 * n, "a") for n in range(5)]
    whole = overall(rows)
    assert whole.drawn == "objects" and whole.low is not None and whole.high is not None
    assert whole.low < whole.jf < whole.high
    few = overall(rows[:4])
    assert (few.drawn, few.low, few.high) == (None, None, None)
    assert few.interval_words == "none: fewer than 5 objects"
