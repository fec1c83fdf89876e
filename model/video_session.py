"""A session on one video: prompt objects on any frame, track them, correct, track again.

Two promises that the published predictor does not make. A prompted or corrected frame is a fixed point:
tracking never overwrites it and always remembers it. And memory does not grow with the video: frames are read
one at a time, features and old answers live in bounded caches.

    session = VideoSession(model, frames)
    session.add_points(0, 1, [Click(120, 80)])
    for result in session.propagate():
        save(result.frame, result.masks)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.errors import PromptError
from model.feature_cache import FeatureCache, encode_frame
from model.frame_result import FrameResult
from model.frame_source import FrameSource
from model.layers import resize
from model.memory_bank import FrameMemory, MemoryPlan, MemorySequence, assemble_batch, plan_memory
from model.object_table import (
    FrameOutput,
    FramePrompt,
    MemoryBudget,
    ObjectTable,
    TrackedObject,
    split_heads,
    split_memory,
)
from model.postprocess import fill_logit_holes, without_overlap
from model.prompt_tensors import LOGIT_LIMIT, mask_to_tensor, points_to_tensors
from model.prompts import Box, Click
from model.sam2 import ImageFeatures, Sam2, StepPrompt

__all__ = ["FrameResult", "FrameSource", "SessionConfig", "VideoSession"]

_MASK_LOGIT = np.float32(10.0)
_HOLE_MAP_SIDE = 256  # the map whose pixels `fill_hole_area` counts

Waiting = tuple[int, TrackedObject, MemoryPlan]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionConfig:
    """How a session behaves."""

    mask_prompts_only: bool = False  # the model of phase 2, SAM 2 Mask, understands nothing else
    fill_hole_area: int = 8  # holes filled in predicted masks, in pixels of a 256×256 map
    non_overlap: bool = False  # give each pixel of a result to one object only
    object_batch: int = 32  # objects that go through the network together
    feature_cache_bytes: int = 256 * 2**20
    memory_bytes: int = 256 * 2**20  # of answers on tracked frames; those still readable are kept anyway
    memory_dtype: torch.dtype = torch.bfloat16  # in which memory maps are stored


class VideoSession:
    """Tracks objects through one video with one model."""

    def __init__(self, model: Sam2, frames: FrameSource, *, config: SessionConfig | None = None) -> None:
        self.model = model
        self.frames = frames
        self.config = SessionConfig() if config is None else config
        self._objects = ObjectTable()
        self._features = FeatureCache(self.config.feature_cache_bytes)
        memory = model.config.memory
        reach = max(memory.max_pointers - 1, (memory.slots - 1) * memory.stride)
        self._budget = MemoryBudget(self.config.memory_bytes, reach)

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Ids of all objects, in the order of their first prompt."""
        return self._objects.ids

    def prompted_frames(self, object_id: int) -> tuple[int, ...]:
        """Return the frames on which an object has prompts, ascending. PromptError when it is unknown."""
        return tuple(sorted(self._objects.get(object_id).prompts))

    def add_points(
        self,
        frame: int,
        object_id: int,
        clicks: Sequence[Click],
        *,
        box: Box | None = None,
        keep_previous: bool = True,
    ) -> FrameResult:
        """Prompt an object with clicks and perhaps a box; return this object's mask on that frame at once.

        Earlier clicks and box of the frame stay unless `keep_previous` is false; a mask prompt does not. An
        unknown object id makes a new object. Raises PromptError for a frame or point outside the video, for
        an empty prompt, and if the model takes only masks.
        """
        self._check_frame(frame)
        if self.config.mask_prompts_only:
            raise PromptError("this model takes masks as prompts; it does not understand clicks or boxes")
        for shape in (*clicks, *((box,) if box else ())):
            shape.check_inside(height=self.frames.height, width=self.frames.width)
        old = self._first_prompt(object_id, frame)
        if keep_previous:
            prompt = replace(old, clicks=old.clicks + tuple(clicks), box=box or old.box, mask=None)
        else:
            prompt = replace(old, clicks=tuple(clicks), box=box, mask=None)
        if not prompt.clicks and prompt.box is None:
            raise PromptError(f"no click and no box for object {object_id} on frame {frame}")
        return self._answer(frame, object_id, prompt)

    def add_mask(self, frame: int, object_id: int, mask: NDArray[np.bool_]) -> FrameResult:
        """Say what an object's mask is on a frame: bool [H, W], empty when the object is absent there.

        Replaces clicks on that frame. Raises PromptError for a mask of another size or type.
        """
        self._check_frame(frame)
        expected = (self.frames.height, self.frames.width)
        if mask.shape != expected or mask.dtype != np.bool_:
            raise PromptError(
                f"the mask of object {object_id} on frame {frame} is {mask.dtype} of shape {mask.shape}, "
                f"not bool of shape {expected}"
            )
        old = self._first_prompt(object_id, frame)
        return self._answer(frame, object_id, replace(old, clicks=(), box=None, mask=mask.copy()))

    def clear_frame(self, frame: int, object_id: int) -> None:
        """Take back all prompts of an object on a frame; it is tracked there like on any other frame."""
        self._check_frame(frame)
        self._objects.get(object_id).clear(frame)

    def remove_object(self, object_id: int) -> None:
        """Forget an object. Raises PromptError when it is unknown."""
        for frame in self._objects.get(object_id).tracked:
            self._budget.forget(object_id, frame)
        self._objects.remove(object_id)

    def reset(self) -> None:
        """Forget all objects; the encoded frames stay."""
        for object_id in self.object_ids:
            self.remove_object(object_id)

    def propagate(
        self, *, start: int | None = None, stop: int | None = None, reverse: bool = False
    ) -> Iterator[FrameResult]:
        """Track all objects from frame `start` up to, not including, `stop`; yield each frame's masks.

        Forward by default to the end of the video; `reverse` goes down, by default through frame 0. Without
        `start` it begins at the earliest prompted frame. Prompts may be added between two frames. Raises
        PromptError when there is no object, an object has no prompt, or a bound is outside the video.
        """
        for frame in self._path(start, stop, reverse=reverse):
            self._track(frame, reverse=reverse)
            yield self._result(frame, self.object_ids)

    def propagate_in_batches(
        self, *, start: int | None = None, stop: int | None = None, reverse: bool = False
    ) -> Iterator[FrameResult]:
        """Like `propagate`, but with several results per frame, each of at most `object_batch` objects.

        For hundreds of objects, whose full-size masks would not fit in memory together; `non_overlap` then
        only holds within a result.
        """
        size = self.config.object_batch
        for frame in self._path(start, stop, reverse=reverse):
            self._track(frame, reverse=reverse)
            ids = self.object_ids
            for first in range(0, len(ids), size):
                yield self._result(frame, ids[first : first + size])

    # --- prompts

    def _check_frame(self, frame: int) -> None:
        if not 0 <= frame < len(self.frames):
            raise PromptError(f"frame {frame} is outside the video of {len(self.frames)} frames")

    def _first_prompt(self, object_id: int, frame: int) -> FramePrompt:
        known = object_id in self._objects.ids
        return self._objects.get(object_id).first_prompt(frame) if known else FramePrompt()

    @torch.inference_mode()
    def _answer(self, frame: int, object_id: int, prompt: FramePrompt) -> FrameResult:
        """Run the model on a prompt and make the frame a fixed point of the object."""
        features = self._encode(frame)
        item = self._objects.get_or_add(object_id)
        memory = self._memory_for_correction(item, frame, prompt)
        step = self.model.track_step(features, memory, self._step_prompt(item, frame, prompt), remember=False)
        item.fix(frame, prompt, split_heads(step.heads, torch.float32)[0])
        self._budget.forget(object_id, frame)
        return self._result(frame, (object_id,))

    def _memory_for_correction(
        self, item: TrackedObject, frame: int, prompt: FramePrompt
    ) -> MemorySequence | None:
        """First prompts see no memory, as in training; corrections of a tracked frame see other frames'."""
        if not prompt.corrects or prompt.mask is not None:
            return None
        self._settle(item)
        plan = self._plan(item, frame, reverse=prompt.reverse, without=frame)
        if not plan.maps:
            return None
        return assemble_batch(self.model, [plan], [item.bank(without=frame)])

    def _step_prompt(self, item: TrackedObject, frame: int, prompt: FramePrompt) -> StepPrompt:
        if prompt.mask is not None:
            return StepPrompt(mask=mask_to_tensor(self.model, prompt.mask))
        height, width = self.frames.height, self.frames.width
        points = points_to_tensors(self.model, prompt.clicks, prompt.box, height=height, width=width)
        before = item.output(frame)
        if before is None:
            return StepPrompt(points=points)
        return StepPrompt(points=points, mask_logits=before.low_res.float().clamp(-LOGIT_LIMIT, LOGIT_LIMIT))

    # --- tracking

    def _path(self, start: int | None, stop: int | None, *, reverse: bool) -> range:
        self._check_prompted()
        if start is None:
            start = min(min(item.prompts) for _, item in self._objects.items())
        self._check_frame(start)
        if stop is None:
            stop = -1 if reverse else len(self.frames)
        if not -1 <= stop <= len(self.frames):
            raise PromptError(f"stop {stop} is outside the video of {len(self.frames)} frames")
        return range(start, stop, -1 if reverse else 1)

    def _check_prompted(self) -> None:
        if not self.object_ids:
            raise PromptError("there is no object to track; add a prompt first")
        for object_id, item in self._objects.items():
            if not item.prompts:
                raise PromptError(f"object {object_id} has no prompt left; prompt it or remove it")

    @torch.inference_mode()
    def _track(self, frame: int, *, reverse: bool) -> None:
        """Answer one frame for every object that has no prompt on it."""
        self._check_prompted()
        groups: dict[tuple[int, int], list[Waiting]] = {}
        for object_id, item in self._objects.items():
            self._settle(item)
            if frame not in item.prompts:
                plan = self._plan(item, frame, reverse=reverse)
                groups.setdefault(plan.layout, []).append((object_id, item, plan))
        size = self.config.object_batch
        for group in groups.values():
            for first in range(0, len(group), size):
                self._track_batch(frame, group[first : first + size], reverse=reverse)
        self._budget.enforce(self._objects, frame)

    def _track_batch(self, frame: int, group: Sequence[Waiting], *, reverse: bool) -> None:
        """Answer one frame for objects whose memory has one layout."""
        memory = assemble_batch(
            self.model, [plan for *_, plan in group], [item.bank() for _, item, _ in group]
        )
        rows = torch.zeros(len(group), dtype=torch.long, device=self.model.device)
        step = self.model.track_step(self._encode(frame).select(rows), memory, StepPrompt())
        if step.memory is None:
            return
        memories = split_memory(step.memory, self.config.memory_dtype)
        outputs = split_heads(step.heads, torch.float16)
        for (object_id, item, _), output, memory_of_one in zip(group, outputs, memories, strict=True):
            item.track(frame, output, memory_of_one, reverse=reverse)
            self._budget.note(object_id, frame, output, memory_of_one)

    def _plan(
        self, item: TrackedObject, frame: int, *, reverse: bool, without: int | None = None
    ) -> MemoryPlan:
        bank = item.bank(without=without)
        return plan_memory(
            bank.conditioning,
            bank.recent,
            frame=frame,
            frame_count=len(self.frames),
            config=self.model.config.memory,
            reverse=reverse,
        )

    def _settle(self, item: TrackedObject) -> None:
        """Turn answers on newly prompted frames into memory."""
        for frame, output in item.prompted.items():
            if frame not in item.prompted_memory:
                mask = item.prompts[frame].mask
                item.prompted_memory[frame] = self._remember(frame, output, mask)

    def _remember(self, frame: int, output: FrameOutput, mask: NDArray[np.bool_] | None) -> FrameMemory:
        """Encode a prompted frame; its mask is cut at 0 first, as the person saw it."""
        if mask is None:
            logits = resize(output.low_res, self.model.image_size)
        else:
            logits = mask_to_tensor(self.model, mask) - 0.5
        score = torch.full((1, 1), output.object_score, device=self.model.device)
        maskmem, _ = self.model.encode_memory(self._encode(frame), logits, score, binarize=True)
        return FrameMemory(maskmem.to(self.config.memory_dtype), output.pointer)

    def _encode(self, frame: int) -> ImageFeatures:
        features = self._features.get(frame)
        if features is None:
            rgb = self.frames[frame]
            if rgb.shape[:2] != (self.frames.height, self.frames.width):
                raise PromptError(f"frame {frame} has shape {rgb.shape}, unlike its video")
            features = encode_frame(self.model, rgb, where=f"frame {frame}")
            self._features.put(frame, features)
        return features

    # --- results

    def _result(self, frame: int, object_ids: tuple[int, ...]) -> FrameResult:
        found = {i: self._objects.get(i).output(frame) for i in object_ids}
        outputs = {i: output for i, output in found.items() if output is not None}
        logits = self._full_size(torch.cat([o.low_res.float() for o in outputs.values()]))
        for row, object_id in enumerate(outputs):
            prompt = self._objects.get(object_id).prompts.get(frame)
            if prompt is not None and prompt.mask is not None:  # a person's mask comes back pixel by pixel
                logits[row] = np.where(prompt.mask, _MASK_LOGIT, -_MASK_LOGIT)
        return FrameResult(
            frame=frame,
            object_ids=tuple(outputs),
            logits=without_overlap(logits) if self.config.non_overlap else logits,
            object_scores=np.array([o.object_score for o in outputs.values()], dtype=np.float32),
            predicted_ious=np.array([o.predicted_iou for o in outputs.values()], dtype=np.float32),
            stabilities=np.array([o.stability for o in outputs.values()], dtype=np.float32),
        )

    def _full_size(self, low_res: Tensor) -> NDArray[np.float32]:
        """Return [N, H, W] of low-res logits [N, 1, 4h, 4w], small holes filled."""
        side = low_res.shape[-1]
        max_area = int(self.config.fill_hole_area * (side / _HOLE_MAP_SIDE) ** 2)
        filled = torch.from_numpy(fill_logit_holes(low_res[:, 0].cpu().numpy(), max_area))
        full = resize(filled[:, None], (self.frames.height, self.frames.width))
        array: NDArray[np.float32] = full[:, 0].numpy()
        return array
