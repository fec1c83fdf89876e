"""The one way to a network: name a size, get a `Sam2`."""

from __future__ import annotations

import torch

from model.config import sam2_config
from model.network.sam2 import Sam2

__all__ = ["build_sam2"]


def build_sam2(
    size: str = "nano",
    *,
    version: str = "2.1",
    image_size: int | None = None,
    device: str | torch.device | None = None,
) -> Sam2:
    """Build a network with fresh random weights, in evaluation mode, on `device` (torch's default device).

    `size` is a row of `model.config.SIZES`; `image_size` in pixels replaces the row's (weights fit any).
    Raises ModelError when one of them is unknown or unusable.
    """
    model = Sam2(sam2_config(size, version=version, image_size=image_size)).eval()
    return model if device is None else model.to(device)
