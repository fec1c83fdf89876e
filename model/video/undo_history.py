"""Taking edits back: what an object was before the last prompts, clears and locks.

A step holds references to answers and memories that are never changed in place, so taking it back gives the very
same numbers as never having made it, and costs no run of the network.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeVar

from model.network.memory_bank import FrameMemory
from model.video.frame_scores import SavedScores
from model.video.object_table import FrameOutput, FramePrompt, LockedAnswer, TrackedObject

__all__ = ["UndoHistory", "UndoStep", "Undone"]

T = TypeVar("T")

_UNDO_STEPS = 32  # edits that can be taken back


@dataclass(frozen=True, slots=True)
class Undone:
    """What `undo` changed. Without its first prompt an object is gone."""

    object_id: int
    frames: tuple[int, ...]
    removed: bool


@dataclass(frozen=True, slots=True)
class UndoStep:
    """An object before an edit of some of its frames."""

    item: TrackedObject
    created: bool  # the edit made the object
    frames: tuple[int, ...]
    prompts: dict[int, FramePrompt]
    prompted: dict[int, FrameOutput]
    prompted_memory: dict[int, FrameMemory]  # in the order in which tracking reads it
    locks: dict[int, LockedAnswer]  # of the frames edited, like the next two
    tracked: dict[int, FrameOutput]
    tracked_memory: dict[int, FrameMemory]
    scores: SavedScores

    @classmethod
    def before(cls, item: TrackedObject, frames: Collection[int], *, edit: int, created: bool) -> UndoStep:
        """Remember an object before edit number `edit` changes `frames`."""
        return cls(
            item=item,
            created=created,
            frames=tuple(frames),
            prompts=dict(item.prompts),
            prompted=dict(item.prompted),
            prompted_memory=dict(item.prompted_memory),
            locks=_part(item.locks, frames),
            tracked=_part(item.tracked, frames),
            tracked_memory=_part(item.tracked_memory, frames),
            scores=item.scores.save(frames, edit=edit),
        )

    def restore(self) -> None:
        """Make the object what it was; frames tracked since the edit become stale."""
        item = self.item
        item.prompts, item.prompted = dict(self.prompts), dict(self.prompted)
        item.prompted_memory = dict(self.prompted_memory)
        for frame in self.frames:
            item.drop_tracked(frame)
            item.locks.pop(frame, None)
        item.locks |= self.locks
        item.tracked |= self.tracked
        item.tracked_memory |= self.tracked_memory
        item.scores.restore(self.scores, item.barriers)


def _part(kept: dict[int, T], frames: Collection[int]) -> dict[int, T]:
    return {frame: kept[frame] for frame in frames if frame in kept}


class UndoHistory:
    """The last steps of a session, of all objects."""

    def __init__(self) -> None:
        self._steps: deque[UndoStep] = deque(maxlen=_UNDO_STEPS)

    def push(self, step: UndoStep) -> None:
        """Remember a step; the oldest one goes beyond _UNDO_STEPS."""
        self._steps.append(step)

    def pop(self) -> UndoStep | None:
        """Take out the last step, if there is one."""
        return self._steps.pop() if self._steps else None

    def forget(self, item: TrackedObject) -> None:
        """Let go of the steps of a removed object."""
        self._keep([step for step in self._steps if step.item is not item])

    def forget_before(self, frame: int) -> None:
        """Let go of steps on frames that a stream no longer keeps, and of all before them."""
        steps = list(self._steps)
        old = [index for index, step in enumerate(steps) if min(step.frames, default=frame) < frame]
        if old:
            self._keep(steps[old[-1] + 1 :])

    def _keep(self, steps: list[UndoStep]) -> None:
        self._steps = deque(steps, maxlen=_UNDO_STEPS)
