"""Embeddings that have looked at memory, so that another click on a frame costs only the mask decoder.

An entry holds as long as the very memories it was made from are the ones that would be read now. They are held
weakly: the cache keeps no memory alive, and what is gone cannot be mistaken for what took its place. An embedding is
the same as one made anew, to the last bit if the object was alone in its call of the network, else up to rounding.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import ref

from torch import Tensor

from model.network.memory_bank import FrameMemory, MemoryBank, MemoryPlan

__all__ = ["ConditionedCache"]


@dataclass(frozen=True, slots=True)
class _Entry:
    conditioned: Tensor  # [1, C, h, w]
    plan: MemoryPlan
    memories: tuple[ref[FrameMemory], ...]

    @property
    def size(self) -> int:
        return self.conditioned.numel() * self.conditioned.element_size()


class ConditionedCache:
    """(object, frame) → conditioned embedding; the longest unused go first beyond `capacity` bytes."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[tuple[int, int], _Entry] = OrderedDict()
        self._bytes = 0

    def get(self, owner: int, frame: int, plan: MemoryPlan, bank: MemoryBank) -> Tensor | None:
        """Return the embedding [1, C, h, w] of a frame if it was made from what `plan` reads of `bank`."""
        entry = self._entries.get((owner, frame))
        if entry is None or entry.plan != plan:
            return None
        now = _memories(plan, bank)
        if any(held() is not memory for held, memory in zip(entry.memories, now, strict=True)):
            return None
        self._entries.move_to_end((owner, frame))
        return entry.conditioned

    def put(self, owner: int, frame: int, plan: MemoryPlan, bank: MemoryBank, conditioned: Tensor) -> None:
        """Keep an embedding [1, C, h, w], which must have storage of its own."""
        self._drop((owner, frame))
        entry = _Entry(conditioned, plan, tuple(ref(memory) for memory in _memories(plan, bank)))
        self._entries[owner, frame] = entry
        self._bytes += entry.size
        while self._bytes > self._capacity:
            self._drop(next(iter(self._entries)))

    def forget(self, owner: int) -> None:
        """Let go of all embeddings of an object."""
        for key in [key for key in self._entries if key[0] == owner]:
            self._drop(key)

    def _drop(self, key: tuple[int, int]) -> None:
        entry = self._entries.pop(key, None)
        self._bytes -= 0 if entry is None else entry.size


def _memories(plan: MemoryPlan, bank: MemoryBank) -> Sequence[FrameMemory]:
    return [bank.at(read.frame, conditioning=read.conditioning) for read in plan.reads]
