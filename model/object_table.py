"""What a video session knows about each object: its prompts, its answers, and the memory of them."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.errors import PromptError
from model.frame_result import stability
from model.memory_bank import FrameMemory, MemoryBank
from model.prompts import Box, Click
from model.sam2 import HeadsOutput

__all__ = [
    "FrameOutput",
    "FramePrompt",
    "MemoryBudget",
    "ObjectTable",
    "TrackedObject",
    "split_heads",
    "split_memory",
]


@dataclass(frozen=True, slots=True)
class FramePrompt:
    """All that a person said about one object on one frame: clicks and a box, or a mask."""

    clicks: tuple[Click, ...] = ()
    box: Box | None = None
    mask: NDArray[np.bool_] | None = None  # [H, W]
    corrects: bool = False  # the frame had been tracked: memory of other frames is used
    reverse: bool = False  # the direction in which it had been tracked


@dataclass(frozen=True, slots=True)
class FrameOutput:
    """The answer for one object on one frame."""

    low_res: Tensor  # logits [1, 1, 4h, 4w]
    pointer: Tensor  # [1, C]
    object_score: float
    predicted_iou: float
    stability: float


@dataclass(slots=True)
class TrackedObject:
    """One object. A frame with a prompt has its answer in `prompted`, any other in `tracked`."""

    prompts: dict[int, FramePrompt] = field(default_factory=dict)
    prompted: dict[int, FrameOutput] = field(default_factory=dict)
    prompted_memory: dict[int, FrameMemory] = field(default_factory=dict)  # made when tracking goes on
    tracked: dict[int, FrameOutput] = field(default_factory=dict)
    tracked_memory: dict[int, FrameMemory] = field(default_factory=dict)
    directions: dict[int, bool] = field(default_factory=dict)  # every frame ever tracked → in reverse?

    def output(self, frame: int) -> FrameOutput | None:
        """Return the answer on a frame, prompted or tracked, if it is still kept."""
        return self.prompted.get(frame) or self.tracked.get(frame)

    def first_prompt(self, frame: int) -> FramePrompt:
        """Return the prompt of a frame, or an empty one that knows whether it corrects a tracked frame."""
        corrects = frame in self.directions
        fresh = FramePrompt(corrects=corrects, reverse=self.directions.get(frame, False))
        return self.prompts.get(frame, fresh)

    def bank(self, *, without: int | None = None) -> MemoryBank:
        """Return the memory of all frames but `without`."""
        if without is None:
            return MemoryBank(self.prompted_memory, self.tracked_memory)
        return MemoryBank(
            {frame: m for frame, m in self.prompted_memory.items() if frame != without},
            {frame: m for frame, m in self.tracked_memory.items() if frame != without},
        )

    def fix(self, frame: int, prompt: FramePrompt, output: FrameOutput) -> None:
        """Make a prompted frame a fixed point: its answer stays until it is prompted again or cleared."""
        self.drop_tracked(frame)
        self.prompts[frame] = prompt
        self.prompted[frame] = output
        self.prompted_memory.pop(frame, None)

    def track(self, frame: int, output: FrameOutput, memory: FrameMemory, *, reverse: bool) -> None:
        """Keep the answer of a frame without prompt."""
        self.tracked[frame] = output
        self.tracked_memory[frame] = memory
        self.directions[frame] = reverse

    def clear(self, frame: int) -> None:
        """Take back the prompt of a frame."""
        self.prompts.pop(frame, None)
        self.prompted.pop(frame, None)
        self.prompted_memory.pop(frame, None)

    def drop_tracked(self, frame: int) -> None:
        """Let go of the answer of a tracked frame."""
        self.tracked.pop(frame, None)
        self.tracked_memory.pop(frame, None)


class ObjectTable:
    """Object id → object, in the order of first use."""

    def __init__(self) -> None:
        self._objects: dict[int, TrackedObject] = {}

    def get_or_add(self, object_id: int) -> TrackedObject:
        """Return the object, a new one for an unknown id."""
        return self._objects.setdefault(object_id, TrackedObject())

    def get(self, object_id: int) -> TrackedObject:
        """Return a known object. Raises PromptError for an unknown id."""
        if object_id not in self._objects:
            known = ", ".join(map(str, self._objects)) or "none yet"
            raise PromptError(f"object {object_id} is unknown; known objects: {known}")
        return self._objects[object_id]

    def remove(self, object_id: int) -> None:
        """Forget an object. Raises PromptError for an unknown id."""
        self.get(object_id)
        del self._objects[object_id]

    def items(self) -> list[tuple[int, TrackedObject]]:
        """Return the known (id, object) pairs."""
        return list(self._objects.items())

    @property
    def ids(self) -> tuple[int, ...]:
        """The known ids."""
        return tuple(self._objects)


class MemoryBudget:
    """Bounds what tracked frames occupy: the longest untouched go first, those still readable stay."""

    def __init__(self, capacity: int, reach: int) -> None:
        self._capacity = capacity
        self._reach = reach  # frames; memory farther from the current frame is not read by tracking
        self._sizes: OrderedDict[tuple[int, int], int] = OrderedDict()
        self._total = 0

    def note(self, object_id: int, frame: int, output: FrameOutput, memory: FrameMemory) -> None:
        """Record that an object now keeps this answer and memory of a frame."""
        self.forget(object_id, frame)
        tensors = (output.low_res, memory.maskmem, memory.pointer)
        self._sizes[object_id, frame] = sum(t.numel() * t.element_size() for t in tensors)
        self._total += self._sizes[object_id, frame]

    def forget(self, object_id: int, frame: int) -> None:
        """Record that an answer is no longer kept."""
        self._total -= self._sizes.pop((object_id, frame), 0)

    def enforce(self, objects: ObjectTable, frame: int) -> None:
        """Drop the oldest answers of tracked frames out of reach of `frame` until the budget is kept."""
        if self._total <= self._capacity:
            return
        for object_id, place in list(self._sizes):
            if self._total <= self._capacity:
                return
            if abs(place - frame) > self._reach:
                objects.get(object_id).drop_tracked(place)
                self.forget(object_id, place)


def split_heads(heads: HeadsOutput, dtype: torch.dtype) -> list[FrameOutput]:
    """One answer per object, each with storage of its own, so that it can be let go alone."""
    numbers = torch.stack((heads.object_score[:, 0], heads.iou[:, 0], stability(heads.low_res[:, 0])), dim=1)
    return [
        FrameOutput(
            heads.low_res[row : row + 1].to(dtype, copy=True), heads.pointer[row : row + 1].clone(), *three
        )
        for row, three in enumerate(numbers.tolist())
    ]


def split_memory(memory: FrameMemory, dtype: torch.dtype) -> list[FrameMemory]:
    """One memory per object, each with storage of its own."""
    return [
        FrameMemory(memory.maskmem[row : row + 1].to(dtype, copy=True), memory.pointer[row : row + 1].clone())
        for row in range(memory.maskmem.shape[0])
    ]
