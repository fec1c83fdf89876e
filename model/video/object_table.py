"""What a video session knows about each object: its prompts, its answers, its locks, and the memory of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from itertools import count

import torch
from torch import Tensor

from model.errors import UnknownObjectError
from model.network.memory_bank import FrameMemory, MemoryBank
from model.network.sam2 import HeadsOutput
from model.prompts import Box, Click
from model.video.frame_result import stability
from model.video.frame_scores import REVERSE, FrameScores
from storage.masks import Rle

__all__ = [
    "Answered",
    "FrameOutput",
    "FramePrompt",
    "LockedAnswer",
    "ObjectTable",
    "TrackedObject",
    "split_heads",
    "split_memory",
]

_MAX_STEPS = 16  # answers that a frame keeps for further clicks


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer to some clicks and a box, kept because it feeds the answer to more clicks."""

    clicks: tuple[Click, ...]
    box: Box | None
    low_res: Tensor  # logits [1, 1, 4h, 4w]

    def leads_to(self, clicks: tuple[Click, ...], box: Box | None) -> bool:
        """Whether this was on the way to the given prompt: it holds all of this one's, and something new."""
        prefix = clicks[: len(self.clicks)] == self.clicks and self.box in (None, box)
        return prefix and (len(clicks), box) != (len(self.clicks), self.box)


@dataclass(frozen=True, slots=True)
class FramePrompt:
    """All that a person said about one object on one frame: clicks and a box, or a mask."""

    clicks: tuple[Click, ...] = ()
    box: Box | None = None
    mask: Rle | None = None
    corrects: bool = False  # the frame had been tracked: memory of other frames is used
    reverse: bool = False  # the direction in which it had been tracked
    steps: tuple[Answered, ...] = ()  # how the prompt came about, oldest first

    def base(self, clicks: tuple[Click, ...], box: Box | None) -> tuple[Answered, ...]:
        """The steps that lead to a prompt. The last one's logits feed it: those of an undone click never do."""
        steps = list(self.steps)
        while steps and not steps[-1].leads_to(clicks, box):
            steps.pop()
        return tuple(steps[:1] + steps[1:][-_MAX_STEPS:])


@dataclass(frozen=True, slots=True)
class FrameOutput:
    """The answer for one object on one frame."""

    low_res: Tensor  # logits [1, 1, 4h, 4w]
    pointer: Tensor  # [1, C]
    object_score: float
    predicted_iou: float
    stability: float

    @property
    def scores(self) -> tuple[float, float, float]:
        """Object score, predicted IoU and stability."""
        return self.object_score, self.predicted_iou, self.stability


@dataclass(frozen=True, slots=True)
class LockedAnswer:
    """A mask that a person accepted, as run lengths: small, because people accept thousands."""

    mask: Rle
    low_res: Rle  # the same at the size of the network's masks
    scores: tuple[float, float, float]  # object score, predicted IoU and stability


@dataclass(eq=False, slots=True)
class TrackedObject:
    """One object. A frame with a prompt has its answer in `prompted`, any other in `tracked` or `locks`."""

    serial: int  # names the object in caches and logs, whatever people call it
    prompts: dict[int, FramePrompt] = field(default_factory=dict)
    prompted: dict[int, FrameOutput] = field(default_factory=dict)
    prompted_memory: dict[int, FrameMemory] = field(default_factory=dict)  # made when tracking goes on
    tracked: dict[int, FrameOutput] = field(default_factory=dict)
    tracked_memory: dict[int, FrameMemory] = field(default_factory=dict)  # of locked frames, too
    locks: dict[int, LockedAnswer] = field(default_factory=dict)
    scores: FrameScores = field(default_factory=FrameScores)

    @property
    def barriers(self) -> Collection[int]:
        """Frames that tracking never changes."""
        return self.prompts.keys() | self.locks.keys()

    def output(self, frame: int) -> FrameOutput | None:
        """Return the answer on a frame, prompted or tracked, if it is still kept."""
        return self.prompted.get(frame) or self.tracked.get(frame)

    def answer(self, frame: int) -> FrameOutput | LockedAnswer | None:
        """Return what counts on a frame: the accepted mask, else the answer."""
        return self.locks.get(frame) or self.output(frame)

    def first_prompt(self, frame: int) -> FramePrompt:
        """Return the prompt of a frame, or an empty one that knows whether it corrects a tracked frame."""
        if frame in self.prompts:
            return self.prompts[frame]
        direction, before = self.scores.direction(frame), self.tracked.get(frame)
        steps = () if before is None else (Answered((), None, before.low_res),)
        return FramePrompt(corrects=direction > 0, reverse=direction == REVERSE, steps=steps)

    def bank(self, *, without: int | None = None) -> MemoryBank:
        """Return the memory of all frames but `without`."""
        if without is None:
            return MemoryBank(self.prompted_memory, self.tracked_memory)
        return MemoryBank(
            {frame: m for frame, m in self.prompted_memory.items() if frame != without}, self.tracked_memory
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
        self.scores.note_tracked(frame, reverse=reverse)

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
        self._serials = count()

    def new(self) -> TrackedObject:
        """Return an object that is not in the table yet."""
        return TrackedObject(next(self._serials))

    def add(self, object_id: int, item: TrackedObject) -> None:
        """Put an object into the table, where it may be already under this id."""
        self._objects[object_id] = item

    def get(self, object_id: int) -> TrackedObject:
        """Return a known object. Raises UnknownObjectError for an unknown id."""
        if object_id not in self._objects:
            known = ", ".join(map(str, self._objects)) or "none yet"
            raise UnknownObjectError(f"object {object_id} is unknown; known objects: {known}")
        return self._objects[object_id]

    def id_of(self, item: TrackedObject) -> int:
        """What an object of this table is called now."""
        return next(object_id for object_id, other in self._objects.items() if other is item)

    def remove(self, object_id: int) -> None:
        """Forget an object. Raises UnknownObjectError for an unknown id."""
        self.get(object_id)
        del self._objects[object_id]

    def rename(self, old: int, new: int) -> None:
        """Call an object something else. Raises UnknownObjectError for an unknown id or a taken name."""
        self.get(old)
        if new in self._objects and new != old:
            raise UnknownObjectError(f"object {old} cannot be called {new}: there is an object {new} already")
        self._objects = {new if known == old else known: item for known, item in self._objects.items()}

    def items(self) -> list[tuple[int, TrackedObject]]:
        """Return the known (id, object) pairs."""
        return list(self._objects.items())

    def select(self, object_ids: Iterable[int] | None) -> list[tuple[int, TrackedObject]]:
        """Return the (id, object) pairs asked for, all by default. UnknownObjectError for an unknown id."""
        return self.items() if object_ids is None else [(i, self.get(i)) for i in object_ids]

    @property
    def ids(self) -> tuple[int, ...]:
        """The known ids."""
        return tuple(self._objects)


def split_heads(heads: HeadsOutput, dtype: torch.dtype) -> list[FrameOutput]:
    """One answer per object, each with storage of its own, so that it can be let go alone."""
    low_res = heads.low_res.float()
    columns = (heads.object_score[:, 0].float(), heads.iou[:, 0].float(), stability(low_res[:, 0]))
    return [
        FrameOutput(
            low_res[row : row + 1].to(dtype, copy=True), heads.pointer[row : row + 1].float().clone(), *three
        )
        for row, three in enumerate(torch.stack(columns, dim=1).tolist())
    ]


def split_memory(memory: FrameMemory, dtype: torch.dtype) -> list[FrameMemory]:
    """One memory per object, each with storage of its own."""
    return [
        FrameMemory(
            memory.maskmem[row : row + 1].to(dtype, copy=True), memory.pointer[row : row + 1].float().clone()
        )
        for row in range(memory.maskmem.shape[0])
    ]
