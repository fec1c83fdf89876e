"""Contours of masks, 64 pixels at a time: boundaries, and which of their pixels are near another boundary.

A mask is packed into words of 64 pixels, row after row, so that "the pixel to the right" is a shift of the whole
mask by one bit and "the row below" a shift by a row of words. Growing a contour by a disk is then a few dozen
passes over an eighth of the bytes that one pixel a byte would take, and exact: a disk is, row by row, a horizontal
line, so each row of the result is a union of rows grown sideways by as much as the disk is wide there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bits", "contour_agreement"]

BoolMask = NDArray[np.bool_]
Words = NDArray[np.uint64]

_WORD = 64


def contour_agreement(prediction: Bits, truth: Bits, radius: int) -> float:
    """F of two masks of one size and margin (at least `radius`), 0…1: see `qa.metrics`."""
    predicted, true = prediction.boundary(), truth.boundary()
    predicted_count, true_count = predicted.count(), true.count()
    if not predicted_count and not true_count:
        return 1.0
    precision = (predicted & true.grown(radius)).count() / predicted_count if predicted_count else 1.0
    recall = (true & predicted.grown(radius)).count() / true_count if true_count else 1.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@dataclass(frozen=True, slots=True)
class Bits:
    """A mask of `rows` × `columns` as `words` uint64 [rows * stride]; the lowest bit is the leftmost pixel.

    Each row ends in padding of at least `margin` pixels, so that what is shifted out of a row by that much or
    less does not reach the next. Padding is 0 but in what `grown` returns, where it means nothing.
    """

    words: Words
    rows: int
    columns: int
    stride: int
    margin: int

    @classmethod
    def of(cls, mask: BoolMask, *, margin: int = 1) -> Bits:
        """Pack `mask` bool [H,W]; it may be shifted by `margin` pixels."""
        rows, columns = mask.shape
        stride = (columns + margin + _WORD - 1) // _WORD
        padded = np.zeros((rows, 8 * stride), np.uint8)
        packed = np.packbits(mask, axis=1, bitorder="little")
        padded[:, : packed.shape[1]] = packed
        return cls(_native(padded).ravel(), rows, columns, stride, margin)

    def __and__(self, other: Bits) -> Bits:
        return replace(self, words=self.words & other.words)

    def __or__(self, other: Bits) -> Bits:
        return replace(self, words=self.words | other.words)

    def count(self) -> int:
        """Foreground pixels."""
        return int(np.bitwise_count(self.words).sum(dtype=np.int64))

    def to_array(self) -> BoolMask:
        """The mask as bool [H,W]."""
        as_bytes = self.words.astype("<u8").view(np.uint8).reshape(self.rows, -1)
        return np.unpackbits(as_bytes, axis=1, count=self.columns, bitorder="little").view(np.bool_)

    def boundary(self) -> Bits:
        """Pixels whose right, lower or lower-right neighbour differs.

        The last row looks only to the right, the last column only down, and their corner is never boundary.
        """
        down = self.stride  # words to the row below
        right = _leftwards(self.words, 1)  # at each pixel, its right neighbour
        has_right = self._all_but_the_last_column()
        edge = (self.words ^ right) & has_right
        above, edge_above = self.words[:-down], edge[:-down]
        edge_above |= above ^ self.words[down:]
        edge_above |= (above ^ right[down:]) & has_right[:-down]
        return replace(self, words=edge)

    def grown(self, radius: int) -> Bits:
        """Pixels at most `radius` from a pixel of the mask; `radius` is at most the margin."""
        wide, width = self.words, 0  # the mask grown sideways by `width`
        grown = np.zeros_like(self.words)
        for offset in range(radius, -1, -1):  # from the rows farthest from a pixel, where the disk is narrow
            half = math.isqrt(radius**2 - offset**2)
            while width < half:
                # as far as lines of 2 * width + 1 pixels go without a gap between them
                step = min(half - width, 2 * width + 1, _WORD - 1)
                wide = wide | _leftwards(wide, step) | _rightwards(wide, step)
                width += step
            if offset == 0:
                grown |= wide
            elif offset < self.rows:
                away = offset * self.stride
                grown[away:] |= wide[:-away]
                grown[:-away] |= wide[away:]
        return replace(self, words=grown)

    def _all_but_the_last_column(self) -> Words:
        row = np.zeros(_WORD * self.stride, np.uint8)
        row[: self.columns - 1] = 1
        return np.tile(_native(np.packbits(row, bitorder="little")), self.rows)


def _leftwards(words: Words, pixels: int) -> Words:
    """The mask moved to the left by fewer than 64 pixels: each pixel gets the value of one to its right."""
    moved = words >> np.uint64(pixels)
    moved[:-1] |= words[1:] << np.uint64(_WORD - pixels)
    return moved


def _rightwards(words: Words, pixels: int) -> Words:
    """The mask moved to the right by fewer than 64 pixels."""
    moved = words << np.uint64(pixels)
    moved[1:] |= words[:-1] >> np.uint64(_WORD - pixels)
    return moved


def _native(packed: NDArray[np.uint8]) -> Words:
    """Bytes of eight pixels as words in the machine's order, the first byte lowest."""
    return packed.view("<u8").astype(np.uint64, copy=False)
