"""Bounds what answers on tracked frames occupy, so that memory does not grow with the video."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor

from model.video.object_table import ObjectTable, TrackedObject

__all__ = ["MemoryBudget"]


class MemoryBudget:
    """The longest untouched answers go first; those that tracking can still read stay."""

    def __init__(self, capacity: int, reach: int) -> None:
        self._capacity = capacity
        self._reach = reach  # frames; memory farther from the current frame is not read by tracking
        self._sizes: OrderedDict[tuple[int, int], int] = OrderedDict()  # object serial, frame → bytes
        self._total = 0

    def note(self, item: TrackedObject, frame: int) -> None:
        """Record what an object now keeps of a frame that is not prompted: an answer, memory, both or nothing."""
        self.forget(item, frame)
        kept: list[Tensor] = []
        if frame in item.tracked:
            kept.append(item.tracked[frame].low_res)
        if frame in item.tracked_memory:
            kept += [item.tracked_memory[frame].maskmem, item.tracked_memory[frame].pointer]
        if kept:
            self._sizes[item.serial, frame] = sum(t.numel() * t.element_size() for t in kept)
            self._total += self._sizes[item.serial, frame]

    def forget(self, item: TrackedObject, frame: int) -> None:
        """Record that nothing of a frame is kept any more."""
        self._total -= self._sizes.pop((item.serial, frame), 0)

    def forget_object(self, item: TrackedObject) -> None:
        """Record that an object is gone."""
        for frame in item.tracked.keys() | item.tracked_memory.keys():
            self.forget(item, frame)

    def enforce(self, objects: ObjectTable, frame: int) -> None:
        """Drop the oldest answers of tracked frames out of reach of `frame` until the budget is kept."""
        excess, dropped = self._total - self._capacity, []
        for (serial, place), size in self._sizes.items():
            if excess <= 0:
                break
            if abs(place - frame) > self._reach:
                dropped.append((serial, place))
                excess -= size
        items = {item.serial: item for _, item in objects.items()} if dropped else {}
        for serial, place in dropped:
            items[serial].drop_tracked(place)
            self.forget(items[serial], place)
