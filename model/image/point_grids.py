"""Grids of points on overlapping crops of an image: few on the whole, more where one zooms in."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

__all__ = ["Crop", "crops", "even_grid"]

Points = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Crop:
    """A window of the image, from (x0, y0) to (x1, y1) exclusive, and its grid."""

    level: int  # 0 is the whole image
    x0: int
    y0: int
    x1: int
    y1: int
    points: Points  # [P, 2] (x, y) in pixels of the crop

    @property
    def height(self) -> int:
        """Pixels from top to bottom."""
        return self.y1 - self.y0

    @property
    def width(self) -> int:
        """Pixels from left to right."""
        return self.x1 - self.x0

    def cut_from(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the crop of an image [H, W, 3]."""
        return rgb[self.y0 : self.y1, self.x0 : self.x1]

    def cuts(
        self, boxes: NDArray[np.int64], *, height: int, width: int, margins: tuple[float, float]
    ) -> NDArray[np.bool_]:
        """Return [K], whether `boxes` [K, 4] (x0, y0, x1, y1 in pixels of the crop) come near an inner border.

        A side within `margins` (x, y) pixels of the crop's border counts, unless it is as near to the border of
        the image, which has `height` × `width` pixels.
        """
        near = np.array([*margins, *margins])
        sides = boxes + np.array([self.x0, self.y0, self.x0, self.y0])
        at_crop = np.abs(sides - np.array([self.x0, self.y0, self.x1, self.y1])) <= near
        at_image = np.abs(sides - np.array([0, 0, width, height])) <= near
        return np.asarray((at_crop & ~at_image).any(axis=1))


def crops(
    height: int, width: int, grids: Sequence[NDArray[np.floating]], *, overlap: float
) -> Iterator[Crop]:
    """Yield the crops of an image with their points, the whole image first, column by column in each level.

    `grids[i]` [P, 2] are the points (x, y) in 0…1 of each of the 2^i × 2^i crops of level i; a level without
    points has no crops. Halves overlap by `overlap`, a share of the shorter side, and smaller crops by less.
    """
    for level, grid in enumerate(grids):
        if len(grid) == 0:
            continue
        per_side = 2**level
        shared = int(overlap * min(height, width) * 2 / per_side) if level else 0
        columns, rows = _windows(width, per_side, shared), _windows(height, per_side, shared)
        for (x0, x1), (y0, y1) in product(columns, rows):
            points = (grid * np.array([x1 - x0, y1 - y0])).astype(np.float32)
            yield Crop(level, x0, y0, x1, y1, points)


def even_grid(per_side: int) -> NDArray[np.float64]:
    """Return per_side² points (x, y) in 0…1, row by row, half a step from the borders."""
    offsets = (np.arange(per_side) + 0.5) / max(per_side, 1)
    x, y = np.meshgrid(offsets, offsets)
    return np.stack((x.ravel(), y.ravel()), axis=1)


def _windows(side: int, count: int, overlap: int) -> list[tuple[int, int]]:
    """Cut `side` pixels into `count` windows of one length that overlap by `overlap` pixels."""
    length = math.ceil((overlap * (count - 1) + side) / count)
    starts = (i * (length - overlap) for i in range(count))
    return [(start, min(start + length, side)) for start in starts]
