"""What the model says about one frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Answer", "BoolMask"]

BoolMask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Answer:
    """The model's mask, bool [H, W], at a position, its predicted IoU and its stability, both 0 to 1."""

    position: int
    mask: BoolMask
    score: float
    stability: float = 1.0
