"""Arithmetic on many masks at once: enlarging logits, counting pixels, boxes.

On a CPU this goes through cv2 and NumPy, which are several times faster there than the same in torch (720p: enlarging
0.4 ms a mask against 1.8 ms, counting 0.15 ms against 2 ms); elsewhere it stays on the device.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.network.layers import resize

__all__ = ["above", "areas_above", "boxes_around", "enlarge"]


def enlarge(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize logits [K, h, w] bilinearly to float32 [K, *size], like `model.network.layers.resize` (to about 1e-5)."""
    if logits.device.type != "cpu" or 0 in logits.shape:
        return resize(logits[:, None], size)[:, 0]
    if tuple(logits.shape[-2:]) == size:
        return logits.float()
    height, width = size
    large = torch.empty((logits.shape[0], height, width))
    for source, target in zip(logits.detach().float().numpy(), large.numpy(), strict=True):
        cv2.resize(source, (width, height), dst=target, interpolation=cv2.INTER_LINEAR)
    return large


def above(logits: Tensor, threshold: float) -> NDArray[np.bool_]:
    """Return where `logits` of any shape are above `threshold`, in the memory of the processor."""
    if logits.device.type != "cpu":
        return (logits > threshold).cpu().numpy()
    return np.asarray(logits.detach().float().numpy() > threshold)


def areas_above(logits: Tensor, threshold: float) -> Tensor:
    """Return how many pixels of `logits` [..., H, W] are above `threshold`: int64 [...] on the same device."""
    if logits.device.type != "cpu":
        return (logits > threshold).flatten(-2).sum(-1)
    planes = logits.detach().float().reshape(-1, *logits.shape[-2:]).numpy()
    counts = [np.count_nonzero(plane > threshold) for plane in planes]
    return torch.tensor(counts, dtype=torch.int64).reshape(logits.shape[:-2])


def boxes_around(masks: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the first and last column and row of `masks` bool [K, H, W]: [K, 4] (x0, y0, x1, y1), all inclusive.

    An empty mask has the box (0, 0, 0, 0).
    """
    columns, rows = np.asarray(masks.any(axis=1)), np.asarray(masks.any(axis=2))
    first_x, last_x = _span(columns)
    first_y, last_y = _span(rows)
    filled = np.asarray(columns.any(axis=1))
    return np.stack((first_x, first_y, last_x, last_y), axis=1) * filled[:, None]


def _span(lines: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first and the last true place of each row of [K, L]."""
    return lines.argmax(axis=1), lines.shape[1] - 1 - lines[:, ::-1].argmax(axis=1)
