"""Clips of one training step, stacked so that objects of all clips are one batch dimension."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from model.errors import TrainingError
from model.training.clips import Clip


@dataclass(frozen=True, slots=True)
class SkippedClip:
    """A clip that could not be read while a batch was drawn: the source's name, its index there, and why."""

    source: str
    index: int
    reason: str

    def __str__(self) -> str:
        return f"clip {self.index} of {self.source}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Batch:
    """B clips of T frames with N objects in all.

    `images` uint8 [T,B,H,W,3] RGB, `masks` bool [T,N,H,W], `clip_of_object` int64 [N] (index in 0…B-1),
    `names` of the clips. `seeds` holds one number a clip from which its clicks are drawn, so that they do not
    depend on the clips beside it; empty where the caller brings a generator. `skipped` lists what could not
    be read and was replaced.
    """

    images: Tensor
    masks: Tensor
    clip_of_object: Tensor
    names: tuple[str, ...]
    seeds: tuple[int, ...] = ()
    skipped: tuple[SkippedClip, ...] = ()

    def __post_init__(self) -> None:
        if self.seeds and len(self.seeds) != self.images.shape[1]:
            raise TrainingError(
                f"A batch of {self.images.shape[1]} clips needs a seed each, not {len(self.seeds)}."
            )

    @classmethod
    def from_clips(cls, clips: Sequence[Clip], seeds: Sequence[int] = ()) -> Batch:
        """Stacks clips of equal length and size; they may differ in their number of objects."""
        owners = [row for row, clip in enumerate(clips) for _ in range(clip.masks.shape[1])]
        return cls(
            images=torch.from_numpy(np.stack([clip.images for clip in clips], axis=1)),  # T B H W 3
            masks=torch.from_numpy(np.concatenate([clip.masks for clip in clips], axis=1)),  # T N H W
            clip_of_object=torch.tensor(owners, dtype=torch.int64),
            names=tuple(clip.name for clip in clips),
            seeds=tuple(seeds),
        )

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with its tensors on a device."""
        return replace(
            self,
            images=self.images.to(device, non_blocking=True),
            masks=self.masks.to(device, non_blocking=True),
            clip_of_object=self.clip_of_object.to(device, non_blocking=True),
        )

    @property
    def frames(self) -> int:
        """Number of frames T."""
        return self.images.shape[0]

    @property
    def objects(self) -> int:
        """Number of objects N of all clips together."""
        return self.masks.shape[1]
