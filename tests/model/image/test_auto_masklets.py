"""Mining: grids and crops, what survives on the first frame, and what is tracked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from model.errors import ModelError, PromptError
from model.image.auto_config import AutoMaskletConfig
from model.image.auto_masklets import _Candidate, _distinct, _distinct_tracks, _Track, generate_masklets
from model.network.sam2 import Sam2
from model.video.video_session import FrameSource
from storage.masks import Rle, area, decode, empty, encode

MakeVideo = Callable[[int], FrameSource]
EAGER = AutoMaskletConfig(
    points_per_side=(2, 1),
    min_predicted_iou=0.0,
    min_stability=0.0,
    max_frame_share=1.0,
    crop_margin=0.0,
    point_batch=3,
    object_batch=2,
)


def test_the_papers_grid_has_2304_points() -> None:
    grids = AutoMaskletConfig.paper().points_per_side
    assert [4**level * count**2 for level, count in enumerate(grids)] == [1024, 1024, 256]


def _square(x: int, y: int, side: int) -> Rle:
    mask = np.zeros((20, 20), dtype=bool)
    mask[y : y + side, x : x + side] = True
    return encode(mask)


def _candidate(mask: Rle, *, level: int, iou: float) -> _Candidate:
    return _Candidate((0.0, 0.0), level, 4, mask, iou, 1.0)


def test_duplicates_give_way_to_the_zoomed_in_and_the_surer() -> None:
    far = _candidate(_square(0, 0, 10), level=0, iou=0.99)
    near = _candidate(_square(0, 0, 10), level=1, iou=0.81)
    sure = _candidate(_square(10, 10, 8), level=0, iou=0.95)
    unsure = _candidate(_square(10, 10, 8), level=0, iou=0.85)
    assert _distinct([far, near, unsure, sure], 0.7) == [near, sure]


def test_masklets_that_meet_once_are_not_duplicates() -> None:
    square, other, gone = _square(0, 0, 5), _square(10, 10, 5), empty(20, 20)
    tracks = [_Track(masks=[square, square, gone]), _Track(masks=[square, other, gone])]
    assert _distinct_tracks(tracks, 0.7) == [0, 1]
    assert _distinct_tracks([tracks[0], tracks[0]], 0.7) == [0]


def test_every_masklet_spans_the_video(micro_model: Sam2, video: MakeVideo) -> None:
    masklets = generate_masklets(micro_model, video(4), EAGER)
    assert masklets
    for masklet in masklets:
        lengths = {len(masklet.masks), len(masklet.predicted_ious), len(masklet.stabilities)}
        assert lengths | {len(masklet.object_scores)} == {4}
        assert all((rle.height, rle.width) == (40, 56) for rle in masklet.masks)
        assert area(masklet.masks[0]) > 0
        assert masklet.predicted_iou == masklet.predicted_ious[0]
        assert 0 <= masklet.point[0] <= 56 and 0 <= masklet.point[1] <= 40
        assert masklet.level in (1, 2)


def test_the_same_input_gives_the_same_masklets(micro_model: Sam2, video: MakeVideo) -> None:
    assert generate_masklets(micro_model, video(2), EAGER) == generate_masklets(micro_model, video(2), EAGER)


def test_thresholds_and_limits_hold(micro_model: Sam2, video: MakeVideo) -> None:
    def found(**changes: float) -> int:
        return len(generate_masklets(micro_model, video(1), replace(EAGER, **changes)))

    assert found(max_masklets=1) == 1
    assert found(min_predicted_iou=1.0) == 0
    assert found(max_frame_share=0.0) == 0
    assert found(duplicate_iou=1.0, masklet_duplicate_iou=1.0) >= found()


def test_specks_go_on_every_frame(micro_model: Sam2, video: MakeVideo) -> None:
    from model.postprocess import drop_specks

    coarse = replace(EAGER, min_region_px=20_000)  # about 31 pixels of a 40×56 frame
    for masklet in generate_masklets(micro_model, video(2), coarse):
        for rle in masklet.masks:
            mask: NDArray[np.bool_] = decode(rle)
            np.testing.assert_array_equal(drop_specks(mask, 31), mask)


def test_no_frame_is_an_error(micro_model: Sam2, video: MakeVideo) -> None:
    with pytest.raises(PromptError, match="no frame"):
        generate_masklets(micro_model, video(0), EAGER)


@pytest.mark.parametrize(
    "changes",
    [{"points_per_side": ()}, {"points_per_side": (0,)}, {"min_stability": 1.5}, {"object_batch": 0}],
)
def test_unusable_settings_are_named(changes: dict[str, object]) -> None:
    with pytest.raises(ModelError, match=next(iter(changes))):
        AutoMaskletConfig(**changes)  # type: ignore[arg-type]
