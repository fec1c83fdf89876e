"""Random sequences of requests: what a person said holds, and nothing but named errors comes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from model.errors import PromptError
from model.network.sam2 import Sam2
from model.prompts import Box, Click
from model.video.frame_source import FrameSource
from model.video.video_session import FrameResult, SessionConfig, VideoSession

FRAMES, STEPS = 9, 22
Request = tuple[str, tuple[int, ...]]
Key = tuple[int, int]


@dataclass
class Person:
    """What somebody has said so far, and sees come back."""

    session: VideoSession
    locked: dict[Key, NDArray[np.bool_]] = field(default_factory=dict)
    fixed: dict[Key, NDArray[np.float32]] = field(default_factory=dict)
    seen: list[NDArray[np.float32]] = field(default_factory=list)

    def take(self, name: str, numbers: tuple[int, ...]) -> None:
        """Make a request; refusals must be named."""
        try:
            getattr(self, name)(*numbers)
        except PromptError as error:
            assert str(error)
        self.check()

    def click(self, object_id: int, frame: int, x: int, y: int) -> None:
        self._said(self.session.add_points(frame, object_id, [Click(x, y % 40, positive=x % 3 > 0)]))

    def replace(self, object_id: int, frame: int, x: int, y: int) -> None:
        clicks, box = [Click(x, y % 40)], Box(0, 0, x, y % 40)
        self._said(self.session.add_points(frame, object_id, clicks, box=box, keep_previous=False))

    def mask(self, object_id: int, frame: int, x: int, y: int) -> None:
        self._said(self.session.add_mask(frame, object_id, _disc(x, y)))

    def clear(self, object_id: int, frame: int, *_: int) -> None:
        self.session.clear_frame(frame, object_id)
        self.fixed.pop((object_id, frame), None)

    def clear_all(self, object_id: int, *_: int) -> None:
        self.session.clear_object(object_id)
        self._drop(object_id, self.fixed)

    def remove(self, object_id: int, *_: int) -> None:
        self.session.remove_object(object_id)
        self._drop(object_id, self.fixed)
        self._drop(object_id, self.locked)

    def rename(self, object_id: int, frame: int, *_: int) -> None:
        new = frame % 4
        self.session.rename(object_id, new)
        for kept in (self.fixed, self.locked):
            for key in [key for key in kept if key[0] == object_id]:
                kept[new, key[1]] = kept.pop(key)  # type: ignore[attr-defined]

    def undo(self, *_: int) -> None:
        undone = self.session.undo()
        if undone is None:
            return
        for frame in undone.frames:
            key = undone.object_id, frame
            self.fixed.pop(key, None)
            self.locked.pop(key, None)
            if undone.removed:
                continue
            result = self.session.answer(frame, [undone.object_id])
            if frame in self.session.prompted_frames(undone.object_id):
                self._said(result)
            if frame in self.session.locked_frames(undone.object_id):
                self.locked[key] = result.masks[0]

    def lock(self, object_id: int, frame: int, x: int, y: int) -> None:
        self.session.lock(frame, object_id, _disc(x, y) if x % 2 else None)
        self.locked[object_id, frame] = self.session.answer(frame, [object_id]).masks[0]
        if (object_id, frame) in self.fixed:
            self.fixed[object_id, frame] = self.session.answer(frame, [object_id]).low_res[0]

    def unlock(self, object_id: int, frame: int, *_: int) -> None:
        if self.locked:
            object_id, frame = sorted(self.locked)[frame % len(self.locked)]
        self.session.unlock(frame, object_id)
        self.locked.pop((object_id, frame), None)
        if frame in self.session.prompted_frames(object_id):
            self._said(self.session.answer(frame, [object_id]))

    def track(self, _: int, frame: int, x: int, y: int) -> None:
        stop = x % (FRAMES + 2) - 1
        for result in self.session.propagate(start=frame, stop=stop, reverse=stop < frame):
            self._see(result)
            if y % 11 == 0:
                break

    def track_stale(self, *_: int) -> None:
        for result in self.session.propagate(only_stale=True):
            self._see(result)
        assert not any(self.session.stale_frames(object_id) for object_id in self.session.object_ids)

    def check(self) -> None:
        """Whatever happened, accepted and prompted frames are as they were."""
        assert {i for i, _ in self.locked} <= set(self.session.object_ids)
        for (object_id, frame), mask in self.locked.items():
            result = self.session.answer(frame, [object_id])
            assert result.locked[0]
            np.testing.assert_array_equal(result.masks[0], mask)
        for (object_id, frame), low_res in self.fixed.items():
            np.testing.assert_array_equal(self.session.answer(frame, [object_id]).low_res[0], low_res)

    def _said(self, result: FrameResult) -> None:
        self.fixed[result.object_ids[0], result.frame] = result.low_res[0]
        self.seen.append(result.low_res)

    def _see(self, result: FrameResult) -> None:
        self.seen.append(result.low_res)
        for row, object_id in enumerate(result.object_ids):
            key = object_id, result.frame
            if key in self.locked:
                np.testing.assert_array_equal(result.masks[row], self.locked[key])
            elif key in self.fixed:
                np.testing.assert_array_equal(result.low_res[row], self.fixed[key])

    def _drop(
        self, object_id: int, kept: dict[Key, NDArray[np.float32]] | dict[Key, NDArray[np.bool_]]
    ) -> None:
        for key in [key for key in kept if key[0] == object_id]:
            del kept[key]


def _disc(x: float, y: float) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:40, :56]
    return (columns - x) ** 2 + (rows - y) ** 2 <= 36


def _requests(seed: int) -> list[Request]:
    generator = np.random.default_rng(seed)
    names = ["click", "replace", "mask", "lock", "track", "track", "track_stale"]
    names += ["unlock", "undo", "clear", "clear_all", "remove", "rename"]
    weights = np.array([4, 2, 3, 4, 5, 5, 3, 2, 4, 1, 0.5, 0.5, 1])
    chosen = ["mask", "click", "track", *generator.choice(names, STEPS, p=weights / weights.sum())]
    return [(str(name), tuple(generator.integers(0, (3, FRAMES, 56, 56)).tolist())) for name in chosen]


@pytest.mark.parametrize("seed", range(6))
def test_what_a_person_said_holds(micro_model: Sam2, video: Callable[[int], FrameSource], seed: int) -> None:
    """And the same requests give the same masks again."""
    config = SessionConfig(memory_bytes=20_000, feature_cache_bytes=200_000, conditioned_cache_bytes=20_000)
    first, second = (Person(VideoSession(micro_model, video(FRAMES), config=config)) for _ in range(2))
    for name, numbers in _requests(seed):
        first.take(name, numbers)
        second.take(name, numbers)
    assert len(first.seen) == len(second.seen) > 3
    for one, other in zip(first.seen, second.seen, strict=True):
        np.testing.assert_array_equal(one, other)
