"""Tracking: which memory each object reads on a frame, which objects share a call, and what is kept of the answers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from model.network.memory_bank import MemoryPlan, plan_memory
from model.video.conditioned_cache import ConditionedCache
from model.video.memory_budget import MemoryBudget
from model.video.network_steps import NetworkSteps
from model.video.object_table import FrameOutput, FramePrompt, ObjectTable, TrackedObject
from model.video.session_config import SessionConfig

__all__ = ["FrameTracker"]

Waiting = tuple[TrackedObject, MemoryPlan]


class FrameTracker:
    """Answers prompts and tracks frames for the objects of a table; owner of what they remember."""

    def __init__(self, steps: NetworkSteps, objects: ObjectTable, config: SessionConfig) -> None:
        self.steps = steps
        self._objects = objects
        self._config = config
        memory = steps.model.config.memory
        self._reach = max(memory.max_pointers - 1, (memory.slots - 1) * memory.stride)
        self.budget = MemoryBudget(config.memory_bytes, self._reach)
        self._conditioned = ConditionedCache(config.conditioned_cache_bytes)

    def answer(self, item: TrackedObject, frame: int, prompt: FramePrompt) -> FrameOutput:
        """Run the network on a prompt. Nothing of the object changes but what it remembers of earlier prompts.

        First prompts see no memory, as in training, whether or not other frames have prompts; corrections of a
        tracked frame see the memory of the other frames.
        """
        if prompt.mask is not None:
            return self.steps.answer_mask(frame, prompt.mask)
        conditioned = self._look_at_memory(item, frame, prompt) if prompt.corrects else None
        return self.steps.answer_points(frame, prompt, conditioned)

    def track(self, frame: int, items: Sequence[TrackedObject], *, reverse: bool) -> list[TrackedObject]:
        """Answer a frame for those objects that no person answered it for, and return these."""
        groups: dict[tuple[int, int], list[Waiting]] = {}
        for item in items:
            self.settle(item)
            if frame not in item.barriers:
                plan = self._plan(item, frame, reverse=reverse)
                groups.setdefault(plan.layout, []).append((item, plan))
        for layout, group in groups.items():
            size = self._config.objects_per_call(self._tokens(layout), self.steps.model.device)
            for first in range(0, len(group), size):
                self._track_batch(frame, group[first : first + size], reverse=reverse)
        self.budget.enforce(self._objects, frame)
        return [item for group in groups.values() for item, _ in group]

    def settle(self, item: TrackedObject, *, without: int | None = None) -> None:
        """Turn answers on newly prompted frames into memory, but for a frame that is about to be answered anew."""
        for frame, output in item.prompted.items():
            if frame not in item.prompted_memory and frame != without:
                mask = item.prompts[frame].mask
                item.prompted_memory[frame] = self.steps.remember(frame, output, mask)

    def remember_newest(self, frame: int) -> None:
        """Make the memory that later frames read of a stream's newest frame, while its picture is still kept."""
        for _, item in self._objects.items():
            self.settle(item)
            if frame in item.locks.keys() - item.prompts.keys() - item.tracked_memory.keys():
                self._remember_lock(item, frame)

    def forget(self, item: TrackedObject) -> None:
        """Let go of all that is kept of an object beside the object itself."""
        self.budget.forget_object(item)
        self._conditioned.forget(item.serial)

    def _tokens(self, layout: tuple[int, int]) -> int:
        """Memory tokens of one object with that many maps and pointers."""
        model = self.steps.model
        maps, pointers = layout
        tokens: int = maps * model.config.grid**2 + pointers * (model.dim // model.mem_dim)
        return tokens

    def _track_batch(self, frame: int, group: Sequence[Waiting], *, reverse: bool) -> None:
        """Answer one frame for objects whose memory has one layout."""
        banks = [item.bank() for item, _ in group]
        outputs, memories, conditioned = self.steps.track(frame, [plan for _, plan in group], banks)
        for row, (item, plan) in enumerate(group):
            if self._config.conditioned_cache_bytes > 0:
                own = conditioned[row : row + 1].clone()
                self._conditioned.put(item.serial, frame, plan, banks[row], own)
            item.track(frame, outputs[row], memories[row], reverse=reverse)
            self.budget.note(item, frame)

    def _look_at_memory(self, item: TrackedObject, frame: int, prompt: FramePrompt) -> Tensor | None:
        """The embedding [1, C, h, w] conditioned on other frames than the prompted one, if there are any."""
        self.settle(item, without=frame)
        plan = self._plan(item, frame, reverse=prompt.reverse, without=frame)
        if not plan.maps:
            return None
        bank = item.bank(without=frame)
        known = self._conditioned.get(item.serial, frame, plan, bank)
        if known is not None:
            return known
        made = self.steps.condition(frame, plan, bank)
        self._conditioned.put(item.serial, frame, plan, bank, made)
        return made

    def _plan(
        self, item: TrackedObject, frame: int, *, reverse: bool, without: int | None = None
    ) -> MemoryPlan:
        """Choose what an object reads on a frame, and make sure that it is there."""
        near = range(frame - self._reach, frame + self._reach + 1)
        plan = plan_memory(
            [place for place in item.prompted_memory if place != without],
            {place for place in near if place in item.tracked_memory or place in item.locks}
            - item.prompts.keys(),
            frame=frame,
            frame_count=self.steps.frame_count,
            config=self.steps.model.config.memory,
            reverse=reverse,
        )
        for read in plan.reads:
            if not read.conditioning and read.frame not in item.tracked_memory:
                self._remember_lock(item, read.frame)
        return plan

    def _remember_lock(self, item: TrackedObject, frame: int) -> None:
        """Make the memory of a locked frame that is about to be read, from its mask alone.

        Locked frames are read like recent frames and not like prompted ones: those are all read on every frame,
        and people accept thousands, so that tracking would become slower with every frame accepted. Their memory
        can be let go and made again, hence it counts towards the budget of tracked frames.
        """
        mask = item.locks[frame].mask
        output = self.steps.answer_mask(frame, mask)
        item.tracked_memory[frame] = self.steps.remember(frame, output, mask)
        self.budget.note(item, frame)
