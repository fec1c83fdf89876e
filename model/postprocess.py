"""Tidying masks: filling small holes and dropping specks; pixels that touch at corners are joined.

Regions are found by cv2. What has nothing small in it comes back as it is, without a copy.
"""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["drop_specks", "fill_holes", "fill_logit_holes", "tidy_logits"]

BoolMask = NDArray[np.bool_]
Logits = NDArray[np.float32]

_FILLED_LOGIT = 0.1  # barely inside, as the published video predictor fills
_TIDY_LOGIT = 10.0  # surely inside, as the published image predictor fills; specks get the negative


def fill_holes(mask: BoolMask, max_area: float) -> BoolMask:
    """Return `mask` bool [H, W] with background regions of at most `max_area` pixels filled.

    Without such a region `mask` itself is returned.

    >>> ring = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=bool)
    >>> fill_holes(ring, 1).all()
    np.True_
    """
    holes = _small_regions(~mask, max_area)
    return mask if holes is None else mask | holes


def drop_specks(mask: BoolMask, min_area: float) -> BoolMask:
    """Return `mask` bool [H, W] without regions of fewer than `min_area` pixels; the largest always stays.

    Without such a region `mask` itself is returned.
    """
    if min_area <= 1:
        return mask
    labels, areas = _regions(mask)
    small = areas < min_area
    if not small.any():
        return mask
    if small.all():
        small[areas.argmax()] = False
    return mask & ~_selected(labels, small)


def fill_logit_holes(logits: Logits, max_area: float) -> Logits:
    """Return `logits` float32 [N, H, W] with small background holes raised just above the threshold of 0."""
    return tidy_logits(logits, max_hole_area=max_area, level=_FILLED_LOGIT)


def tidy_logits(
    logits: Logits, *, max_hole_area: float = 0, max_speck_area: float = 0, level: float = _TIDY_LOGIT
) -> Logits:
    """Return `logits` float32 [N, H, W] with small holes raised to `level` and small specks lowered to −`level`.

    Regions above and not above 0 of at most so many pixels are meant, both as they are in the logits given; an
    area of 0 leaves them alone. Where nothing is small, `logits` itself is returned.
    """
    if max_hole_area <= 0 and max_speck_area <= 0:
        return logits
    tidy = logits
    for index, one in enumerate(logits):
        inside = one > 0
        holes, specks = _small_regions(~inside, max_hole_area), _small_regions(inside, max_speck_area)
        if holes is None and specks is None:
            continue
        tidy = logits.copy() if tidy is logits else tidy
        for regions, value in ((holes, level), (specks, -level)):
            if regions is not None:
                tidy[index][regions] = value
    return tidy


def _small_regions(mask: BoolMask, max_area: float) -> BoolMask | None:
    """Return the regions of at most `max_area` pixels as bool [H, W]; None when there is none."""
    if max_area <= 0:
        return None
    labels, areas = _regions(mask)
    small = areas <= max_area
    return _selected(labels, small) if small.any() else None


def _regions(mask: BoolMask) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return labels [H, W] (0 outside `mask`) and the area of region 1, 2, …"""
    pixels = np.ascontiguousarray(mask).view(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(pixels, connectivity=8)
    return labels.astype(np.int32, copy=False), stats[1:, cv2.CC_STAT_AREA].astype(np.int32, copy=False)


def _selected(labels: NDArray[np.int32], chosen: BoolMask) -> BoolMask:
    return cast(BoolMask, np.concatenate(([False], chosen))[labels])
