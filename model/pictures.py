"""Pictures on their way into a network."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.errors import FrameShapeError

__all__ = ["picture_tensor"]


def picture_tensor(rgb: NDArray[np.uint8], *, where: str = "the image") -> Tensor:
    """Return an RGB picture uint8 [H, W, 3] as a tensor uint8 [1, H, W, 3] of its own.

    Raises FrameShapeError, which names it by `where`, for another type or shape.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or 0 in rgb.shape:
        raise FrameShapeError(f"{where} is {rgb.dtype} of shape {rgb.shape}, not uint8 height x width x 3")
    return torch.from_numpy(np.array(rgb))[None]  # a copy, since sources may hand out read-only pictures
