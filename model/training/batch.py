"""Clips of one training step, stacked so that objects of all clips are one batch dimension."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from model.training.clips import Clip


@dataclass(frozen=True, slots=True)
class Batch:
    """B clips of T frames with N objects in all.

    `images` uint8 [T,B,H,W,3] RGB, `masks` bool [T,N,H,W], `clip_of_object` int64 [N] (index in 0…B-1),
    `names` of the clips, and `seeds`, one a clip, for the clicks simulated on it (none: the caller brings a generator).
    """

    images: Tensor
    masks: Tensor
    clip_of_object: Tensor
    names: tuple[str, ...]
    seeds: tuple[int, ...] = ()

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

    @property
    def frames(self) -> int:
        """Number of frames T."""
        return self.images.shape[0]

    @property
    def objects(self) -> int:
        """Number of objects N of all clips together."""
        return self.masks.shape[1]
