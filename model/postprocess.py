"""Tidying masks: filling small holes and dropping specks; pixels that touch at corners are joined."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["drop_specks", "fill_holes", "fill_logit_holes", "tidy_logits", "without_overlap"]

BoolMask = NDArray[np.bool_]
Logits = NDArray[np.float32]

_FILLED_LOGIT = 0.1  # barely inside, as the published predictor fills
_CLAIMED_LOGIT = -10.0
_TIDY_LOGIT = 10.0  # what the published image predictor writes into holes (and its negative into specks)


def fill_holes(mask: BoolMask, max_area: int) -> BoolMask:
    """Return `mask` bool [H, W] with background regions of at most `max_area` pixels filled.

    >>> ring = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=bool)
    >>> fill_holes(ring, 1).all()
    np.True_
    """
    return mask if max_area <= 0 else mask | _small_regions(~mask, max_area)


def drop_specks(mask: BoolMask, min_area: int) -> BoolMask:
    """Return `mask` bool [H, W] without regions of fewer than `min_area` pixels; the largest always stays."""
    if min_area <= 1:
        return mask
    labels, areas = _regions(mask)
    small = areas < min_area
    if small.size and small.all():
        small[areas.argmax()] = False
    return mask & ~_selected(labels, small)


def fill_logit_holes(logits: Logits, max_area: int) -> Logits:
    """Return `logits` float32 [N, H, W] with small background holes raised just above the threshold of 0."""
    if max_area <= 0:
        return logits
    filled = logits.copy()
    for mask in filled:
        mask[_small_regions(mask <= 0, max_area)] = _FILLED_LOGIT
    return filled


def tidy_logits(logits: Logits, *, max_hole_area: float, max_speck_area: float) -> Logits:
    """Return `logits` float32 [M, H, W] with holes raised to +10 and specks lowered to −10.

    Regions of at most the given number of pixels are meant; both are looked for in the logits as given, as in
    the published image predictor. An area of 0 leaves holes or specks alone.
    """
    if max_hole_area <= 0 and max_speck_area <= 0:
        return logits
    tidy = logits.copy()
    for mask, given in zip(tidy, logits, strict=True):
        mask[_small_regions(given <= 0, max_hole_area)] = _TIDY_LOGIT
        mask[_small_regions(given > 0, max_speck_area)] = -_TIDY_LOGIT
    return tidy


def without_overlap(logits: Logits) -> Logits:
    """Return `logits` float32 [N, H, W] in which a pixel belongs to the object of the highest logit only."""
    if logits.shape[0] <= 1:
        return logits
    owner = np.arange(logits.shape[0])[:, None, None] == logits.argmax(axis=0)
    return cast(Logits, np.where(owner, logits, np.minimum(logits, np.float32(_CLAIMED_LOGIT))))


def _small_regions(mask: BoolMask, max_area: float) -> BoolMask:
    labels, areas = _regions(mask)
    return _selected(labels, areas <= max_area)


def _regions(mask: BoolMask) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return labels [H, W] (0 outside `mask`) and the area of region 1, 2, …"""
    pixels = np.ascontiguousarray(mask, dtype=np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(pixels, connectivity=8)
    return labels.astype(np.int32, copy=False), stats[1:, cv2.CC_STAT_AREA].astype(np.int32, copy=False)


def _selected(labels: NDArray[np.int32], chosen: BoolMask) -> BoolMask:
    return cast(BoolMask, np.concatenate(([False], chosen))[labels])
