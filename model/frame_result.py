"""What a session answers for one frame, and the measures that come with a mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["FrameResult", "stability"]

STABILITY_OFFSET = 1.0


@dataclass(frozen=True, slots=True)
class FrameResult:
    """Masks of N objects on one frame, at the size of the video."""

    frame: int
    object_ids: tuple[int, ...]
    logits: NDArray[np.float32]  # [N, H, W]; above 0 is the object
    object_scores: NDArray[np.float32]  # [N] logit that the object is visible
    predicted_ious: NDArray[np.float32]  # [N] in 0…1, the model's own estimate
    stabilities: NDArray[np.float32]  # [N] in 0…1, see `stability`

    @property
    def masks(self) -> NDArray[np.bool_]:
        """Masks bool [N, H, W]."""
        return self.logits > 0


def stability(logits: Tensor, offset: float = STABILITY_OFFSET) -> Tensor:
    """Return [...] in 0…1 for `logits` [..., H, W]: how little the mask depends on where it is cut.

    The area above +offset over the area above −offset; 1 for an empty mask.
    """
    inside = (logits > offset).flatten(-2).sum(-1).float()
    outside = (logits > -offset).flatten(-2).sum(-1).float()
    return torch.where(outside > 0, inside / outside.clamp(min=1), 1.0)
