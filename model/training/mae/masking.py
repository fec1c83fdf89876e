"""Which mask units of a picture stay visible, and what its hidden patches should be filled with."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

PATCH = 16  # pixels of a patch that the decoder predicts; the stride of the trunk's third stage
EPSILON = 1e-6


def kept_units(units: int, mask_ratio: float) -> int:
    """How many of `units` (two or more) stay visible, one to all but one: 19 of 49 at 0.6, as published."""
    return min(units - 1, max(1, int(units * (1.0 - mask_ratio) + 1e-9)))


def draw_visible(units: int, mask_ratio: float, rng: np.random.Generator) -> Tensor:
    """Indices of a picture's visible mask units in row-major order, int64 [K]."""
    chosen = rng.permutation(units)[: kept_units(units, mask_ratio)]
    return torch.from_numpy(np.sort(chosen).astype(np.int64))


def hidden(visible: Tensor, units: int) -> Tensor:
    """Bool [B, units], true where a unit is not among `visible` [B, K]."""
    return torch.ones(len(visible), units, dtype=torch.bool, device=visible.device).scatter(1, visible, False)


def spread_units(values: Tensor, side: int, repeat: int) -> Tensor:
    """A value a unit, [B, side²] in row-major order, as a map [B, side · repeat, side · repeat]."""
    grid = torch.unflatten(values, 1, (side, side))
    return grid.repeat_interleave(repeat, dim=1).repeat_interleave(repeat, dim=2)


def normalised_patches(pixels: Tensor) -> Tensor:
    """The target: float [B, S/16, S/16, 768], each patch of `pixels` [B, 3, S, S] less its mean, over its deviation.

    The variance is the unbiased one; a patch's values are ordered by row, column, channel.
    """
    x = torch.unflatten(torch.unflatten(pixels, 3, (-1, PATCH)), 2, (-1, PATCH))  # B C rows p columns p
    patches = x.permute(0, 2, 4, 3, 5, 1).flatten(3)  # B rows columns p·p·C
    mean, variance = patches.mean(-1, keepdim=True), patches.var(-1, keepdim=True)
    return (patches - mean) / (variance + EPSILON).sqrt()
