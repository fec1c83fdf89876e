"""Sessions: prompts, tracking, corrections that hold, objects in batches, bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from model.errors import PromptError
from model.network.sam2 import Sam2
from model.prompts import Box, Click
from model.video.video_session import FrameResult, FrameSource, SessionConfig, VideoSession

MakeVideo = Callable[[int], FrameSource]


def _disc(x: float, y: float, radius: float) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:40, :56]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def _by_frame(results: Iterable[FrameResult]) -> dict[int, FrameResult]:
    return {result.frame: result for result in results}


@pytest.fixture
def session(micro_model: Sam2, video: MakeVideo) -> VideoSession:
    return VideoSession(micro_model, video(8))


def test_a_click_answers_at_once(session: VideoSession) -> None:
    result = session.add_points(2, 5, [Click(20, 20)])
    assert (result.frame, result.object_ids) == (2, (5,))
    assert result.logits.shape == (1, 40, 56) and result.logits.dtype == np.float32
    assert result.masks.shape == (1, 40, 56)
    for numbers in (result.object_scores, result.predicted_ious, result.stabilities):
        assert numbers.shape == (1,) and numbers.dtype == np.float32


def test_propagation_covers_the_video_and_keeps_the_prompted_answer(session: VideoSession) -> None:
    preview = session.add_points(0, 1, [Click(20, 20)])
    results = _by_frame(session.propagate())
    assert list(results) == list(range(8))
    np.testing.assert_array_equal(results[0].logits, preview.logits)


@pytest.mark.parametrize(
    ("start", "stop", "reverse", "frames"),
    [
        (None, None, False, [3, 4, 5, 6, 7]),
        (None, None, True, [3, 2, 1, 0]),
        (5, None, False, [5, 6, 7]),
        (5, 7, False, [5, 6]),
        (5, 2, True, [5, 4, 3]),
        (5, 5, False, []),
    ],
)
def test_ranges(
    session: VideoSession, start: int | None, stop: int | None, reverse: bool, frames: list[int]
) -> None:
    session.add_points(3, 1, [Click(20, 20)])
    assert [r.frame for r in session.propagate(start=start, stop=stop, reverse=reverse)] == frames


def test_reverse_on_a_mirrored_video_equals_forward(micro_model: Sam2, video: MakeVideo) -> None:
    frames = video(6)
    mirrored = type(frames)(frames.array[::-1].copy())  # type: ignore[attr-defined, call-arg]
    forward, backward = VideoSession(micro_model, frames), VideoSession(micro_model, mirrored)
    forward.add_mask(0, 1, _disc(20, 20, 8))
    backward.add_mask(5, 1, _disc(20, 20, 8))
    there, back = _by_frame(forward.propagate()), _by_frame(backward.propagate(reverse=True))
    for frame in range(6):
        np.testing.assert_allclose(there[frame].logits, back[5 - frame].logits, atol=1e-4)


def test_a_correction_is_kept_and_changes_what_follows(session: VideoSession) -> None:
    session.add_points(0, 1, [Click(20, 20)])
    before = _by_frame(session.propagate())
    preview = session.add_points(3, 1, [Click(40, 30), Click(10, 10, positive=False)])
    assert not np.array_equal(preview.logits, before[3].logits)
    after = _by_frame(session.propagate())
    np.testing.assert_array_equal(after[3].logits, preview.logits)
    np.testing.assert_allclose(after[2].logits, before[2].logits, atol=5.0)
    assert not np.array_equal(after[4].logits, before[4].logits)
    assert session.prompted_frames(1) == (0, 3)


def test_a_correction_of_the_first_frame_is_kept(session: VideoSession) -> None:
    first = session.add_points(0, 1, [Click(20, 20)])
    before = _by_frame(session.propagate())
    preview = session.add_points(0, 1, [Click(45, 30)])
    assert not np.array_equal(preview.logits, first.logits)
    after = _by_frame(session.propagate())
    np.testing.assert_array_equal(after[0].logits, preview.logits)
    assert not np.array_equal(after[1].logits, before[1].logits)


def test_a_correction_sees_memory_and_a_first_prompt_does_not(micro_model: Sam2, video: MakeVideo) -> None:
    def click_on_frame_3(*, tracked_before: bool) -> FrameResult:
        session = VideoSession(micro_model, video(8))
        session.add_points(0, 1, [Click(20, 20)])
        if tracked_before:
            list(session.propagate())
        return session.add_points(3, 1, [Click(40, 30)])

    fresh = VideoSession(micro_model, video(8)).add_points(3, 1, [Click(40, 30)])
    np.testing.assert_array_equal(click_on_frame_3(tracked_before=False).logits, fresh.logits)
    assert not np.array_equal(click_on_frame_3(tracked_before=True).logits, fresh.logits)


def test_clicks_add_up_unless_told_otherwise(session: VideoSession) -> None:
    session.add_points(0, 1, [Click(20, 20)])
    both = session.add_points(0, 1, [Click(40, 30, positive=False)])
    other = VideoSession(session.model, session.frames)
    other.add_points(0, 1, [Click(20, 20)])
    together = other.add_points(0, 1, [Click(20, 20), Click(40, 30, positive=False)], keep_previous=False)
    np.testing.assert_array_equal(both.logits, together.logits)


def test_a_box_and_a_click(session: VideoSession) -> None:
    boxed = session.add_points(0, 1, [], box=Box(10, 10, 30, 30))
    refined = session.add_points(0, 1, [Click(20, 20)])
    assert not np.array_equal(boxed.logits, refined.logits)


def test_a_mask_prompt_comes_back_pixel_by_pixel(session: VideoSession) -> None:
    mask = _disc(20, 20, 6)
    result = session.add_mask(1, 1, mask)
    np.testing.assert_array_equal(result.masks[0], mask)
    assert result.object_scores[0] > 0 and result.predicted_ious[0] == 1
    np.testing.assert_array_equal(next(session.propagate()).masks[0], mask)


def test_an_empty_mask_says_the_object_is_absent(session: VideoSession) -> None:
    result = session.add_mask(1, 1, np.zeros((40, 56), dtype=bool))
    assert not result.masks.any() and result.object_scores[0] < 0


def test_a_tiny_mask_is_not_taken_for_absence(micro_model: Sam2) -> None:
    @dataclass(frozen=True)
    class Wide:
        height: int = 640
        width: int = 640

        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
            return np.zeros((640, 640, 3), dtype=np.uint8)

    mask = np.zeros((640, 640), dtype=bool)
    mask[300, 300] = True
    assert VideoSession(micro_model, Wide()).add_mask(0, 1, mask).object_scores[0] > 0


def test_objects_together_equal_objects_alone(micro_model: Sam2, video: MakeVideo) -> None:
    """Also when they were first prompted, or corrected, on different frames."""
    prompts = {1: (0, Click(10, 10)), 2: (0, Click(30, 20)), 3: (2, Click(40, 30)), 4: (5, Click(5, 35))}
    together = VideoSession(micro_model, video(8), config=SessionConfig(object_batch=2))
    alone = {i: VideoSession(micro_model, video(8)) for i in prompts}
    for object_id, (frame, click) in prompts.items():
        together.add_points(frame, object_id, [click])
        alone[object_id].add_points(frame, object_id, [click])
    joint = _by_frame(together.propagate(start=0))
    for object_id, session in alone.items():
        row = together.object_ids.index(object_id)
        for result in session.propagate(start=0):
            np.testing.assert_allclose(joint[result.frame].logits[row], result.logits[0], atol=2e-3)
            assert joint[result.frame].predicted_ious[row] == pytest.approx(
                result.predicted_ious[0], abs=1e-4
            )


def test_batches_of_results_equal_whole_results(micro_model: Sam2, video: MakeVideo) -> None:
    def session() -> VideoSession:
        made = VideoSession(micro_model, video(3), config=SessionConfig(object_batch=2))
        for object_id in (1, 2, 3):
            made.add_mask(0, object_id, _disc(10 * object_id, 20, 6))
        return made

    whole = _by_frame(session().propagate())
    parts = list(session().propagate_in_batches())
    assert [(p.frame, p.object_ids) for p in parts[:2]] == [(0, (1, 2)), (0, (3,))]
    for part in parts:
        rows = [i - 1 for i in part.object_ids]
        np.testing.assert_array_equal(part.logits, whole[part.frame].logits[rows])


def test_objects_can_be_added_while_tracking(session: VideoSession) -> None:
    session.add_points(0, 1, [Click(20, 20)])
    seen = []
    for result in session.propagate():
        seen.append(result.object_ids)
        if result.frame == 2:
            session.add_points(3, 2, [Click(40, 30)])
    assert seen == [(1,)] * 3 + [(1, 2)] * 5


def test_a_cleared_frame_is_tracked_again(session: VideoSession) -> None:
    session.add_points(0, 1, [Click(20, 20)])
    before = _by_frame(session.propagate())
    session.add_mask(3, 1, _disc(40, 30, 5))
    session.clear_frame(3, 1)
    after = _by_frame(session.propagate())
    for frame in range(8):
        np.testing.assert_allclose(after[frame].logits, before[frame].logits, atol=1e-4)


def test_objects_can_be_removed(session: VideoSession) -> None:
    session.add_points(0, 1, [Click(20, 20)])
    session.add_points(0, 2, [Click(30, 20)])
    list(session.propagate())
    session.remove_object(1)
    assert [r.object_ids for r in session.propagate(stop=2)] == [(2,), (2,)]
    session.reset()
    assert session.object_ids == ()


def test_overlap_can_be_forbidden(micro_model: Sam2, video: MakeVideo) -> None:
    session = VideoSession(micro_model, video(3), config=SessionConfig(non_overlap=True))
    session.add_mask(0, 1, _disc(20, 20, 9))
    session.add_mask(0, 2, _disc(24, 20, 9))
    for result in session.propagate():
        assert (result.masks.sum(axis=0) <= 1).all()


def test_mask_only_models_refuse_clicks(micro_model: Sam2, video: MakeVideo) -> None:
    session = VideoSession(micro_model, video(3), config=SessionConfig(mask_prompts_only=True))
    with pytest.raises(PromptError, match="takes masks"):
        session.add_points(0, 1, [Click(1, 1)])
    session.add_mask(0, 1, _disc(20, 20, 9))
    assert len(list(session.propagate())) == 3


@dataclass
class CountedFrames:
    """An endless-looking video that counts how often a frame is read."""

    count: int
    height: int = 40
    width: int = 56
    reads: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        self.reads.append(index)
        return np.full((40, 56, 3), index % 256, dtype=np.uint8)


def test_memory_does_not_grow_with_the_video(micro_model: Sam2) -> None:
    config = SessionConfig(memory_bytes=0, feature_cache_bytes=100_000)
    session = VideoSession(micro_model, CountedFrames(60), config=config)
    session.add_points(0, 1, [Click(20, 20)])
    kept = []
    for _ in session.propagate():
        item = session._objects.get(1)
        assert item.tracked.keys() == item.tracked_memory.keys()
        kept.append((len(item.tracked), len(session.features)))
    assert kept[20] == kept[-1]
    assert kept[-1][0] == 15 + 1  # the frames whose pointers the next frame reads, and the frame itself


def test_dropped_memory_is_memory_that_is_not_read(micro_model: Sam2) -> None:
    def logits(memory_bytes: int) -> list[NDArray[np.float32]]:
        config = SessionConfig(memory_bytes=memory_bytes)
        session = VideoSession(micro_model, CountedFrames(30), config=config)
        session.add_points(0, 1, [Click(20, 20)])
        return [result.logits for result in session.propagate()]

    for small, large in zip(logits(0), logits(2**30), strict=True):
        np.testing.assert_array_equal(small, large)


def test_frames_are_read_once_while_they_are_cached(micro_model: Sam2) -> None:
    frames = CountedFrames(10)
    session = VideoSession(micro_model, frames)
    for object_id in (1, 2):
        session.add_points(0, object_id, [Click(20, 20)])
    list(session.propagate())
    list(session.propagate())
    assert frames.reads == list(range(10))


def test_wrong_requests_are_named(session: VideoSession) -> None:
    with pytest.raises(PromptError, match="no object to track"):
        next(session.propagate())
    with pytest.raises(PromptError, match="frame 8 is outside the video of 8"):
        session.add_points(8, 1, [Click(1, 1)])
    with pytest.raises(PromptError, match="outside the frame of 56x40"):
        session.add_points(0, 1, [Click(70, 1)])
    with pytest.raises(PromptError, match="no click and no box for object 1"):
        session.add_points(0, 1, [])
    with pytest.raises(PromptError, match=r"shape \(40, 50\)"):
        session.add_mask(0, 1, np.zeros((40, 50), dtype=bool))
    with pytest.raises(PromptError, match="uint8"):
        session.add_mask(0, 1, np.zeros((40, 56), dtype=np.uint8))  # type: ignore[arg-type]
    for wrong in (lambda: session.clear_frame(0, 9), lambda: session.remove_object(9)):
        with pytest.raises(PromptError, match="object 9 is unknown"):
            wrong()
    assert session.object_ids == ()  # nothing of the above left a trace


def test_an_object_without_prompts_cannot_be_tracked(session: VideoSession) -> None:
    session.add_points(0, 1, [Click(20, 20)])
    session.clear_frame(0, 1)
    with pytest.raises(PromptError, match="object 1 has no prompt left"):
        next(session.propagate())


def test_bounds_of_tracking_are_checked(session: VideoSession) -> None:
    session.add_points(0, 1, [Click(20, 20)])
    with pytest.raises(PromptError, match="frame 8"):
        next(session.propagate(start=8))
    with pytest.raises(PromptError, match="stop 9"):
        next(session.propagate(stop=9))


def test_a_frame_unlike_its_video_is_refused(micro_model: Sam2) -> None:
    @dataclass(frozen=True)
    class Odd:
        height: int = 40
        width: int = 56

        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
            return np.zeros((40, 50, 3), dtype=np.uint8)

    with pytest.raises(PromptError, match="frame 0 has shape"):
        VideoSession(micro_model, Odd()).add_points(0, 1, [Click(1, 1)])
