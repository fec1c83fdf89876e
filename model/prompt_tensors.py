"""From prompts in pixels of a frame to tensors in pixels of the network's square input."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.network.layers import resize
from model.network.sam2 import Points, Sam2
from model.prompts import Box, Click

__all__ = ["LOGIT_LIMIT", "mask_to_tensor", "points_to_tensors"]

LOGIT_LIMIT = 32.0  # earlier answers are clamped to this before they refine a prompt


def points_to_tensors(
    model: Sam2, clicks: Sequence[Click], box: Box | None, *, height: int, width: int
) -> Points:
    """Return coords [1, P, 2] and labels [1, P]: the corners of the box first, then the clicks."""
    points: list[tuple[float, float, int]] = []
    if box is not None:
        points += [(box.x0, box.y0, 2), (box.x1, box.y1, 3)]
    points += [(click.x, click.y, int(click.positive)) for click in clicks]
    scale_x, scale_y = model.image_size / width, model.image_size / height
    coords = [[x * scale_x, y * scale_y] for x, y, _ in points]
    return (
        torch.tensor([coords], dtype=torch.float32, device=model.device),
        torch.tensor([[label for *_, label in points]], device=model.device),
    )


def mask_to_tensor(model: Sam2, mask: NDArray[np.bool_]) -> Tensor:
    """Return 0/1 float [1, 1, S, S]; an object too small for the input keeps its strongest pixel."""
    pixels = torch.from_numpy(mask).to(model.device).float()[None, None]
    scaled = resize(pixels, model.image_size, antialias=True)
    strongest = (scaled == scaled.max()) & (scaled > 0)
    return ((scaled >= 0.5) | strongest).float()
