"""Streams: frames pushed one by one give the results of the whole video."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from model.errors import FrameRangeError, FrameShapeError, NotPromptedError
from model.network.sam2 import Sam2
from model.prompts import Click
from model.video.frame_source import FrameSource, StreamFrames
from model.video.video_session import SessionConfig, VideoSession

MakeVideo = Callable[[int], FrameSource]
FRAME_BYTES = 40 * 56 * 3


@pytest.mark.parametrize("kept", [1, 3, 100])
def test_a_stream_equals_the_whole_video(micro_model: Sam2, video: MakeVideo, kept: int) -> None:
    frames = video(24)
    config = SessionConfig(feature_cache_bytes=0)
    offline = VideoSession(micro_model, frames, config=config)
    stream = VideoSession(micro_model, StreamFrames(keep_bytes=kept * FRAME_BYTES), config=config)
    assert stream.push(frames[0]).object_ids == ()
    stream.add_points(0, 1, [Click(20, 20)])
    offline.add_points(0, 1, [Click(20, 20)])
    for expected in offline.propagate():
        if expected.frame:
            got = stream.push(frames[expected.frame])
            assert got.object_ids == expected.object_ids
            np.testing.assert_array_equal(got.low_res, expected.low_res)
        if expected.frame == 7:  # correct, and add an object, on the newest frame
            for session in (offline, stream):
                session.add_points(7, 1, [Click(30, 9, positive=False)])
                session.add_points(7, 2, [Click(40, 30)])
        if expected.frame == 9:
            for session in (offline, stream):
                session.lock(9, 2)
    assert got.object_ids == (1, 2)


def test_a_stream_lets_go_of_old_frames(micro_model: Sam2, video: MakeVideo) -> None:
    frames = video(8)
    config = SessionConfig(memory_bytes=0, feature_cache_bytes=0)
    session = VideoSession(micro_model, StreamFrames(keep_bytes=4 * FRAME_BYTES), config=config)
    session.push(frames[0])
    session.add_points(0, 1, [Click(20, 20)])
    for index in range(1, 300):
        session.push(frames[index % 8])
        if index == 5:
            session.lock(5, 1)
    item = session._objects.get(1)
    assert len(item.scores._rows.frames) <= 128 and session.locked_frames(1) == ()
    assert len(item.tracked) <= 16 and session.undo() is None
    with pytest.raises(FrameRangeError, match=r"frame 3 of the stream is not kept.*from 296 on"):
        session.add_points(3, 1, [Click(1, 1)])
    assert [r.frame for r in session.propagate(start=297)] == [297, 298, 299]


def test_wrong_pushes_change_nothing(micro_model: Sam2, video: MakeVideo) -> None:
    frames = video(2)
    session = VideoSession(micro_model, StreamFrames())
    session.push(frames[0])
    with pytest.raises(FrameShapeError, match="frame 1"):
        session.push(frames[0][:10])
    session.add_points(0, 1, [Click(20, 20)])
    session.clear_object(1)
    with pytest.raises(NotPromptedError, match="object 1 has no prompt left"):
        session.push(frames[1])
    assert len(session.frames) == 1
