"""Going through a video frame by frame, stopping anywhere and going on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from model.errors import FrameRangeError
from model.video.frame_result import FrameResult
from model.video.frame_scores import FORWARD, REVERSE, FrameScores

__all__ = ["Leg", "Propagation", "frame_path", "stale_legs"]


@dataclass(frozen=True, slots=True)
class Leg:
    """Frames to be tracked in one direction, in this order; perhaps only objects that are stale there."""

    frames: Sequence[int]
    reverse: bool
    only_stale: bool = False


class Propagation(Iterator[FrameResult]):
    """An iterator over results that may be left and taken up again, also by another `for` loop.

    A frame is tracked when its result is asked for; nothing runs ahead. After a stop, `propagate(start=next_frame)`
    gives the same as going on with this object.
    """

    def __init__(
        self,
        legs: Sequence[Leg],
        track: Callable[[int, Leg], tuple[int, ...]],
        results: Callable[[int, tuple[int, ...]], Iterator[FrameResult]],
    ) -> None:
        self._legs = [leg for leg in legs if len(leg.frames)]
        self._track = track
        self._results = results
        self._done = 0  # frames of the first leg
        self._pending: Iterator[FrameResult] = iter(())

    @property
    def next_frame(self) -> int | None:
        """The frame that is tracked next; None at the end."""
        return int(self._legs[0].frames[self._done]) if self._legs else None

    @property
    def reverse(self) -> bool:
        """Whether the next frame is tracked in reverse; False at the end."""
        return bool(self._legs) and self._legs[0].reverse

    def __next__(self) -> FrameResult:
        """Track a frame and return its result, or the next part of it."""
        while True:
            result = next(self._pending, None)
            if result is not None:
                return result
            frame = self.next_frame
            if frame is None:
                raise StopIteration
            object_ids = self._track(frame, self._legs[0])
            self._advance()
            if object_ids:
                self._pending = self._results(frame, object_ids)

    def _advance(self) -> None:
        """Move on to the next frame: only after the one before is tracked, so that an error loses none."""
        self._done += 1
        if self._done == len(self._legs[0].frames):
            self._legs.pop(0)
            self._done = 0


def frame_path(start: int | None, stop: int | None, *, count: int, reverse: bool) -> range:
    """The frames from `start` up to, not including, `stop` of a video of `count`; all of them by default.

    Raises FrameRangeError for a bound outside the video; `stop` may be one frame beyond either end.
    """
    first, end = (count - 1, -1) if reverse else (0, count)
    start, stop = first if start is None else start, end if stop is None else stop
    if not 0 <= start < count:
        raise FrameRangeError(f"frame {start} is outside the video of {count} frames, 0 to {count - 1}")
    if not -1 <= stop <= count:
        raise FrameRangeError(f"stop {stop} is outside the video of {count} frames")
    return range(start, stop, -1 if reverse else 1)


def stale_legs(scores: Sequence[FrameScores], path: range) -> list[Leg]:
    """Stale frames of any object within a range: forward from the edits, then backward from them."""
    legs = []
    for direction in (FORWARD, REVERSE):
        stale = {frame for each in scores for frame in each.stale_frames(direction).tolist() if frame in path}
        backward = direction == REVERSE
        legs.append(Leg(sorted(stale, reverse=backward), backward, only_stale=True))
    return legs
