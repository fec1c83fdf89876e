"""Where a mask is, and what it looks like there: scoring needs no more of it.

Everything outside the smallest box around two masks is background in both. What a box is and how a part of a mask
is made depends on how it is kept: as an array or as run lengths, of which only the columns asked for are drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from qa.errors import MetricError
from storage import masks as rles
from storage.masks import Rle

__all__ = ["Box", "Located", "Mask", "absent", "locate", "locate_part", "union"]

BoolMask = NDArray[np.bool_]
Mask = Rle | BoolMask

Box = tuple[int, int, int, int]
"""(x0, y0, x1, y1) in pixels, the last two exclusive."""


class Located(Protocol):
    """A mask whose box is known."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the frame."""

    @property
    def box(self) -> Box | None:
        """The smallest box around the mask; None for an empty one."""

    def crop(self, box: Box) -> BoolMask:
        """The pixels [H,W] inside a box that lies in the frame; the memory may be in either order."""


def locate(mask: Mask) -> Located:
    """Find the box of a mask: `Rle` or bool [H,W]. Raises MetricError for another array, MaskError for a bad string."""
    if isinstance(mask, Rle):
        return _Runs.of(mask)
    if mask.ndim != 2 or mask.dtype != np.bool_:
        raise MetricError(
            f"a mask is a bool array of rows and columns, not {mask.dtype} of shape {mask.shape}"
        )
    return locate_part(mask, corner=(0, 0), size=(mask.shape[0], mask.shape[1]))


def locate_part(pixels: BoolMask, *, corner: tuple[int, int], size: tuple[int, int]) -> Located:
    """Find the box of a mask of which a part bool [h,w] is given; beyond it, it is empty.

    `corner` is the place (x, y) of the part in the frame of `size` (H, W). The part holds the mask and, where the
    frame has them, one pixel around it.
    """
    x, y, width, height = cv2.boundingRect(np.ascontiguousarray(pixels).view(np.uint8))
    x, y = x + corner[0], y + corner[1]
    return _Array(size, pixels, corner, (x, y, x + width, y + height) if width else None)


def absent(size: tuple[int, int]) -> Located:
    """The empty mask of a frame of `size` (H, W)."""
    return _Runs(size, np.array([size[0] * size[1]]), None)


def union(boxes: Sequence[Box], *, margin: int, size: tuple[int, int]) -> Box:
    """The smallest box around at least one box, and `margin` pixels more where the frame of `size` (H, W) has them."""
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    height, width = size
    return (
        max(min(lefts) - margin, 0),
        max(min(tops) - margin, 0),
        min(max(rights) + margin, width),
        min(max(bottoms) + margin, height),
    )


@dataclass(frozen=True, slots=True)
class _Array:
    """A mask kept as pixels, all of the frame's or those of a part of it that has its first pixel at `corner`."""

    size: tuple[int, int]
    pixels: BoolMask
    corner: tuple[int, int]
    box: Box | None

    def crop(self, box: Box) -> BoolMask:
        x, y = self.corner
        x0, y0, x1, y1 = box
        return self.pixels[y0 - y : y1 - y, x0 - x : x1 - x]


@dataclass(frozen=True, slots=True)
class _Runs:
    """A mask kept as run lengths: `ends` are where the runs end, counted column by column, background first."""

    size: tuple[int, int]
    ends: NDArray[np.int64]
    box: Box | None

    @classmethod
    def of(cls, rle: Rle) -> _Runs:
        size = rle.height, rle.width
        ends = np.cumsum(rles.runs(rle))
        return cls(size, ends, _box_of_runs(ends, rle.height))

    def crop(self, box: Box) -> BoolMask:
        x0, y0, x1, y1 = box
        height = self.size[0]
        ends = np.clip(self.ends - x0 * height, 0, (x1 - x0) * height)
        lengths = np.diff(ends, prepend=0)
        colours = np.arange(len(lengths)) % 2 == 1
        columns = np.repeat(colours, lengths).reshape(x1 - x0, height)
        return columns[:, y0:y1].T


def _box_of_runs(ends: NDArray[np.int64], height: int) -> Box | None:
    starts, stops = ends[:-1:2], ends[1::2]  # of the foreground runs
    starts, stops = starts[stops > starts], stops[stops > starts]
    if not len(starts):
        return None
    last = stops - 1
    x0, x1 = int(starts[0]) // height, int(last[-1]) // height + 1
    if (starts // height != last // height).any():  # a run goes on at the top of the next column
        return x0, 0, x1, height
    return x0, int((starts % height).min()), x1, int((last % height).max()) + 1
