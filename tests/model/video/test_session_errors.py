"""Bad input raises one of a small set of named errors, says what and where, and leaves no trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from model.errors import (
    CoordinateError,
    EmptyVideoError,
    FrameRangeError,
    LockedFrameError,
    MaskShapeError,
    ModelError,
    NotPromptedError,
    PromptError,
    UnknownObjectError,
)
from model.network.sam2 import Sam2
from model.prompts import Box, Click
from model.video.feature_cache import FeatureCache
from model.video.frame_source import FrameSource, StreamFrames
from model.video.video_session import VideoSession
from storage.masks import empty

NAN, INF = float("nan"), float("inf")
MASK = np.zeros((40, 56), dtype=bool)

CASES: list[tuple[type[PromptError], str, Callable[[VideoSession], Any]]] = [
    (CoordinateError, r"click \(nan, 3\) is not finite", lambda s: s.add_points(0, 1, [Click(NAN, 3)])),
    (CoordinateError, "not finite", lambda s: s.add_points(0, 1, [Click(3, INF)])),
    (CoordinateError, "not finite", lambda s: s.add_points(0, 1, [], box=Box(0, 0, INF, 3))),
    (CoordinateError, "wrong order", lambda s: s.add_points(0, 1, [], box=Box(5, 0, 3, 3))),
    (CoordinateError, "outside the frame of 56x40", lambda s: s.add_points(0, 1, [Click(57, 3)])),
    (CoordinateError, "outside the frame", lambda s: s.add_points(0, 1, [Click(3, -0.1)])),
    (CoordinateError, "leaves the frame", lambda s: s.add_points(0, 1, [], box=Box(0, 0, 57, 3))),
    (PromptError, "no click and no box for object 1 on frame 0", lambda s: s.add_points(0, 1, [])),
    (
        FrameRangeError,
        "frame 4 is outside the video of 4 frames",
        lambda s: s.add_points(4, 1, [Click(1, 1)]),
    ),
    (FrameRangeError, "frame -1", lambda s: s.add_mask(-1, 1, MASK)),
    (FrameRangeError, "frame 9", lambda s: s.lock(9, 7)),
    (FrameRangeError, "frame 9", lambda s: s.unlock(9, 7)),
    (FrameRangeError, "frame 9", lambda s: s.clear_frame(9, 7)),
    (FrameRangeError, "frame 9", lambda s: s.answer(9)),
    (FrameRangeError, "frame 4", lambda s: s.propagate(start=4)),
    (FrameRangeError, "stop 5", lambda s: s.propagate(stop=5)),
    (FrameRangeError, "stop -2", lambda s: s.propagate(stop=-2, reverse=True)),
    (MaskShapeError, r"bool of shape \(40, 50\)", lambda s: s.add_mask(0, 1, np.zeros((40, 50), dtype=bool))),
    (MaskShapeError, "uint8", lambda s: s.add_mask(0, 1, MASK.astype(np.uint8))),
    (MaskShapeError, r"\(1, 40, 56\)", lambda s: s.add_mask(0, 1, MASK[None])),
    (MaskShapeError, "list", lambda s: s.add_mask(0, 1, MASK.tolist())),
    (MaskShapeError, r"\(56, 40\)", lambda s: s.add_mask(0, 1, empty(56, 40))),
    (MaskShapeError, "float64", lambda s: s.lock(1, 7, MASK.astype(float))),
    (UnknownObjectError, "object 3 is unknown; known objects: 7", lambda s: s.clear_frame(0, 3)),
    (UnknownObjectError, "object 3", lambda s: s.clear_object(3)),
    (UnknownObjectError, "object 3", lambda s: s.remove_object(3)),
    (UnknownObjectError, "object 3", lambda s: s.rename(3, 4)),
    (UnknownObjectError, "object 3", lambda s: s.lock(0, 3, MASK)),
    (UnknownObjectError, "object 3", lambda s: s.unlock(0, 3)),
    (UnknownObjectError, "object 3", lambda s: s.prompted_frames(3)),
    (UnknownObjectError, "object 3", lambda s: s.locked_frames(3)),
    (UnknownObjectError, "object 3", lambda s: s.stale_frames(3)),
    (UnknownObjectError, "object 3", lambda s: s.changes(3)),
    (UnknownObjectError, "object 3", lambda s: s.suggest_frames(3)),
    (UnknownObjectError, "object 3", lambda s: s.answer(0, [3])),
    (NotPromptedError, "no answer on frame 3", lambda s: s.lock(3, 7)),
    (NotPromptedError, "frame 3 of object 7 is not locked", lambda s: s.unlock(3, 7)),
    (LockedFrameError, "frame 2 of object 7 is locked", lambda s: s.add_points(2, 7, [Click(1, 1)])),
    (PromptError, "push is for sessions on StreamFrames", lambda s: s.push(s.frames[0])),
]


@pytest.mark.parametrize(("error", "message", "request_"), CASES)
def test_bad_input_is_named_and_changes_nothing(
    micro_model: Sam2,
    video: Callable[[int], FrameSource],
    error: type[PromptError],
    message: str,
    request_: Callable[[VideoSession], Any],
) -> None:
    session = VideoSession(micro_model, video(4))
    session.add_mask(0, 7, MASK)
    session.lock(2, 7, MASK)
    before = session.edit
    with pytest.raises(error, match=message):
        request_(session)
    assert session.edit == before and session.object_ids == (7,)
    assert session.prompted_frames(7) == (0,) and session.locked_frames(7) == (2,)


def test_an_empty_video(micro_model: Sam2, video: Callable[[int], FrameSource]) -> None:
    session = VideoSession(micro_model, video(0))
    for prompt in (
        lambda: session.add_points(0, 1, [Click(1, 1)]),
        lambda: session.add_mask(0, 1, MASK),
        lambda: session.answer(0),
    ):
        with pytest.raises(EmptyVideoError, match="no frames"):
            prompt()
    with pytest.raises(NotPromptedError):
        session.propagate()
    with pytest.raises(EmptyVideoError):
        VideoSession(micro_model, StreamFrames()).add_points(0, 1, [Click(1, 1)])


def test_a_feature_cache_belongs_to_one_network_and_video(
    micro_model: Sam2, micro_v20: Sam2, video: Callable[[int], FrameSource]
) -> None:
    features = FeatureCache()
    VideoSession(micro_model, video(2), features=features).add_mask(0, 1, MASK)
    with pytest.raises(ModelError, match="belongs to another network"):
        VideoSession(micro_v20, video(2), features=features).add_mask(0, 1, MASK)
