"""What a video session asks of the network: encode a frame, answer a prompt, track, and remember a mask."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from model.errors import EmptyVideoError, FrameRangeError, FrameShapeError
from model.network.layers import resize
from model.network.memory_bank import FrameMemory, MemoryBank, MemoryPlan, assemble_batch
from model.network.sam2 import ImageFeatures, Sam2, StepPrompt, uses_multimask
from model.prompt_tensors import LOGIT_LIMIT, mask_to_tensor, points_to_tensors
from model.runtime import inference
from model.video.feature_cache import FeatureCache, encode_frame
from model.video.frame_source import FrameSource, StreamFrames
from model.video.object_table import (
    FrameOutput,
    FramePrompt,
    split_heads,
    split_memory,
)
from model.video.session_config import SessionConfig
from storage.masks import Rle, decode

__all__ = ["NetworkSteps"]


class NetworkSteps:
    """Runs one network on the frames of one video; keeps nothing but encoded frames."""

    def __init__(
        self, model: Sam2, frames: FrameSource, features: FeatureCache, config: SessionConfig
    ) -> None:
        self.model = model
        self.frames = frames
        self.features = features
        self._config = config

    @property
    def frame_count(self) -> int:
        """Frames of the video; of a stream, enough to read memory as in a long video."""
        if isinstance(self.frames, StreamFrames):
            return max(len(self.frames), self.model.config.memory.max_pointers)
        return len(self.frames)

    def check_frame(self, frame: int) -> None:
        """Raise EmptyVideoError or FrameRangeError unless the video has the frame."""
        count = len(self.frames)
        if count == 0:
            raise EmptyVideoError("the video has no frames; nothing can be prompted or tracked in it")
        if not 0 <= frame < count:
            raise FrameRangeError(f"frame {frame} is outside the video of {count} frames, 0 to {count - 1}")

    def encode(self, frame: int) -> ImageFeatures:
        """Features of a frame, from the cache if they are there."""
        size = {"height": self.frames.height, "width": self.frames.width}
        self.features.bind(self.model, precision=self._config.precision, **size)
        return self.features.get_or_make(frame, lambda: self._encode(frame))

    def _encode(self, frame: int) -> ImageFeatures:
        rgb = self.frames[frame]
        if rgb.shape[:2] != (self.frames.height, self.frames.width):
            raise FrameShapeError(
                f"frame {frame} has shape {rgb.shape}, unlike its video of {self.frames.width}x{self.frames.height}"
            )
        return encode_frame(self.model, rgb, where=f"frame {frame}", precision=self._config.precision)

    def answer_mask(self, frame: int, mask: Rle) -> FrameOutput:
        """The answer to a mask: the mask itself, and the object pointer that goes with it."""
        features = self.encode(frame)
        with self._inference():
            return split_heads(self.model.mask_as_output(features, self._tensor(mask)), torch.float32)[0]

    def answer_points(self, frame: int, prompt: FramePrompt, conditioned: Tensor | None) -> FrameOutput:
        """The answer to clicks and a box on top of the prompt's last step; without memory if that is None."""
        features = self.encode(frame)
        height, width = self.frames.height, self.frames.width
        points = points_to_tensors(self.model, prompt.clicks, prompt.box, height=height, width=width)
        before = prompt.steps[-1].low_res.float().clamp(-LOGIT_LIMIT, LOGIT_LIMIT) if prompt.steps else None
        with self._inference():
            heads = self.model.sam_heads(
                self.model.condition(features, None) if conditioned is None else conditioned,
                features.high_res,
                points=points,
                mask_logits=before,
                multimask=uses_multimask(points),
            )
            return split_heads(heads, torch.float32)[0]

    def condition(self, frame: int, plan: MemoryPlan, bank: MemoryBank) -> Tensor:
        """The embedding [1, C, h, w] of a frame after looking at one object's memory."""
        features = self.encode(frame)
        with self._inference():
            return self.model.condition(features, assemble_batch(self.model, [plan], [bank]))

    def track(
        self, frame: int, plans: Sequence[MemoryPlan], banks: Sequence[MemoryBank]
    ) -> tuple[list[FrameOutput], list[FrameMemory], Tensor]:
        """Answers, memories and conditioned embeddings [N, C, h, w] of N objects whose plans have one layout."""
        features = self.encode(frame)
        with self._inference():
            memory = assemble_batch(self.model, plans, banks)
            step = self.model.track_step(features, memory, StepPrompt())
            assert (
                step.memory is not None and step.conditioned is not None
            )  # since it remembers, and has memory
            outputs = split_heads(step.heads, torch.float16)
            return outputs, split_memory(step.memory, self._config.memory_dtype), step.conditioned

    def remember(self, frame: int, output: FrameOutput, mask: Rle | None) -> FrameMemory:
        """Encode a frame that a person answered; its mask is cut at 0 first, as the person saw it."""
        features = self.encode(frame)
        with self._inference():
            size = self.model.image_size
            logits = resize(output.low_res, size) if mask is None else self._tensor(mask) - 0.5
            score = torch.full((1, 1), output.object_score, device=self.model.device)
            maskmem, _ = self.model.encode_memory(features, logits, score, binarize=True)
            return FrameMemory(maskmem.to(self._config.memory_dtype), output.pointer)

    def _tensor(self, mask: Rle) -> Tensor:
        return mask_to_tensor(self.model, decode(mask))

    def _inference(self) -> AbstractContextManager[None]:
        return inference(self.model.device, self._config.precision)
