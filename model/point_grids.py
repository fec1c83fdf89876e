"""Grids of points on overlapping crops of a frame: few on the whole, more where one zooms in."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.auto_config import AutoMaskletConfig

__all__ = ["Crop", "crops"]


@dataclass(frozen=True, slots=True)
class Crop:
    """A window of the frame, from (x0, y0) to (x1, y1) exclusive, and its grid."""

    level: int  # 0 is the whole frame
    x0: int
    y0: int
    x1: int
    y1: int
    points: NDArray[np.float32]  # [P, 2] (x, y) in pixels of the crop

    def cuts(self, box: tuple[int, int, int, int], *, height: int, width: int, margin: float) -> bool:
        """Whether `box` (x0, y0, x1, y1, in pixels of the crop) comes near a border inside the frame.

        `margin` is a share of the crop's side.
        """
        near_x, near_y = margin * (self.x1 - self.x0), margin * (self.y1 - self.y0)
        return bool(
            (self.x0 > 0 and box[0] <= near_x)
            or (self.y0 > 0 and box[1] <= near_y)
            or (self.x1 < width and box[2] >= self.x1 - self.x0 - near_x)
            or (self.y1 < height and box[3] >= self.y1 - self.y0 - near_y)
        )


def crops(height: int, width: int, config: AutoMaskletConfig) -> Iterator[Crop]:
    """Yield the crops of a frame with their points, the whole frame first."""
    for level, count in enumerate(config.points_per_side):
        if count == 0:
            continue
        per_side = 2**level
        overlap = int(config.crop_overlap * min(height, width) * 2 / per_side) if level else 0
        rows, columns = _windows(height, per_side, overlap), _windows(width, per_side, overlap)
        for y0, y1 in rows:
            for x0, x1 in columns:
                yield Crop(level, x0, y0, x1, y1, _grid(count, y1 - y0, x1 - x0))


def _windows(side: int, count: int, overlap: int) -> list[tuple[int, int]]:
    """Cut `side` pixels into `count` windows of one length that overlap by `overlap` pixels."""
    length = math.ceil((overlap * (count - 1) + side) / count)
    starts = (i * (length - overlap) for i in range(count))
    return [(start, min(start + length, side)) for start in starts]


def _grid(count: int, height: int, width: int) -> NDArray[np.float32]:
    """Return count² points, row by row, half a step from the borders."""
    offsets = (np.arange(count) + 0.5) / count
    x, y = np.meshgrid(offsets * width, offsets * height)
    return np.stack((x.ravel(), y.ravel()), axis=1).astype(np.float32)
