from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from qa.alignment import align, align_by_phase
from qa.errors import MetricError
from storage.masks import encode
from storage.schemas import SCHEMAS

SIDE = 120


def row(frame, height, width=None, *, masklet="m1", revision=1, object_id=1, phase=1):
    """A mask of `height` x `width` pixels in the corner; 0 is an absent object."""
    mask = np.zeros((SIDE, SIDE), bool)
    mask[:height, : width or height] = True
    rle = encode(mask)
    return {
        "masklet_id": masklet, "revision": revision, "video_id": "v", "object_id": object_id, "frame": frame,
        "height": rle.height, "width": rle.width, "counts": rle.counts, "phase": phase,
    }  # fmt: skip


def counts(scores):
    return {score.bucket: (score.objects, score.masks, score.aligned) for score in scores}


# object 1 is small (10x10 at first), object 2 medium (40x40), object 3 large (100x100)
PHASE_1 = [
    *(row(frame, 10, masklet="a1") for frame in (0, 4, 8)),
    *(row(frame, 40, masklet="a2", object_id=2) for frame in (0, 4)),
    *(row(frame, 100, masklet="a3", object_id=3) for frame in (0, 4)),
]
LATER = [
    row(0, 10, 10, masklet="b1"),
    row(4, 10, 8, masklet="b1"),  # IoU 0.8
    row(8, 10, 7, masklet="b1"),  # IoU 0.7
    row(0, 40, masklet="b2", object_id=2),
    row(4, 30, 40, masklet="b2", object_id=2),  # IoU 0.75, and more is asked
    row(0, 100, masklet="b3", object_id=3),
    row(9, 100, masklet="b3", object_id=3),  # phase 1 has no such frame
    row(0, 50, masklet="b4", object_id=4),  # phase 1 has no such object
]


class TestAlign:
    def test_on_masks_checked_by_hand(self):
        scores = align(LATER, PHASE_1)
        assert counts(scores) == {
            "all": (3, 6, 4),
            "small": (1, 3, 2),
            "medium": (1, 2, 1),
            "large": (1, 1, 1),
        }
        assert scores[0].share == pytest.approx(100 * 4 / 6)

    def test_both_absent_is_no_mask_but_one_absent_is_a_miss(self):
        phase_1 = [row(0, 10), row(4, 0), row(8, 0)]
        later = [row(0, 0), row(4, 0), row(8, 10)]
        assert counts(align(later, phase_1))["all"] == (1, 2, 0)

    def test_the_size_is_that_of_the_first_frame_where_phase_1_sees_the_object(self):
        phase_1 = [row(8, 100), row(4, 40), row(0, 0)]
        assert counts(align(phase_1, phase_1))["medium"] == (1, 2, 2)

    def test_the_last_revision_of_the_last_masklet_counts(self):
        later = [
            row(0, 5, masklet="x-r0002"),
            row(0, 5, masklet="x-r0003"),
            row(0, 10, masklet="x-r0003", revision=2),
        ]
        assert counts(align(later[::-1], PHASE_1))["all"] == (1, 1, 1)

    def test_an_object_phase_1_never_saw_is_left_out(self):
        assert counts(align([row(0, 10)], [row(0, 0)]))["all"] == (0, 0, 0)

    def test_objects_of_different_videos_are_different(self):
        elsewhere = [row(0, 10) | {"video_id": "w"}]
        assert counts(align(elsewhere, PHASE_1))["all"] == (0, 0, 0)

    def test_nothing_to_compare(self):
        empty = SCHEMAS["annotations"].empty_table().to_pandas()
        for rows in ([], empty):
            scores = align(rows, PHASE_1)
            assert counts(scores)["all"] == (0, 0, 0)
            assert math.isnan(scores[0].share)

    def test_a_missing_column_is_named(self):
        with pytest.raises(MetricError, match="annotations lacks the column\\(s\\) counts"):
            align(pd.DataFrame(LATER).drop(columns="counts"), PHASE_1)


class TestByPhase:
    def test_compares_each_later_phase_with_phase_1(self):
        table = align_by_phase(PHASE_1 + [one | {"phase": 3} for one in LATER]).set_index(["phase", "bucket"])
        assert list(table.index) == [(3, "all"), (3, "small"), (3, "medium"), (3, "large")]
        assert table.loc[(3, "medium"), "share"] == 50.0

    @pytest.mark.parametrize("rows", [[], PHASE_1, [one | {"phase": 2} for one in LATER]])
    def test_is_empty_without_something_to_compare(self, rows):
        assert align_by_phase(rows).empty
