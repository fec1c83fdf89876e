"""Masks painted over a frame: a see-through fill with a crisp outline.

The frame is scaled to the size it will be shown at *before* painting, so the outline is one clean line in the
thumbnail whatever the size of the video.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from qa.report.palette import Rgb

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]

FILL_OPACITY = 0.45
OUTLINE_PX = 2
HALO_PX = 4  # a darker line under the outline, so that it reads on bright ground too
HALO_SHADE = 0.35


def scaled_size(height: int, width: int, *, longest_px: int) -> tuple[int, int]:
    """(height, width) with the longer side `longest_px` and the same proportions, at least one pixel each."""
    scale = longest_px / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def resize_frame(frame: Picture, *, height: int, width: int) -> Picture:
    """Frame H W 3 uint8 RGB in another size: averaged when it shrinks, smooth when it grows."""
    shrinks = height * width < frame.shape[0] * frame.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(frame, (width, height), interpolation=method), dtype=np.uint8)


def resize_mask(mask: Mask, *, height: int, width: int) -> Mask:
    """Mask H W bool in another size, with a smooth edge instead of steps.

    A mask that would vanish in the thumbnail (thinner than a pixel) keeps the pixels it touches.
    """
    shrinks = height * width < mask.size
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    cover = np.asarray(cv2.resize(mask.astype(np.float32), (width, height), interpolation=method))
    if not shrinks:
        cover = np.asarray(cv2.GaussianBlur(cover, (0, 0), sigmaX=0.5 * height / mask.shape[0]))
    smooth = cover >= 0.5
    return smooth if smooth.any() or not mask.any() else cover > 0


def paint_mask(picture: Picture, mask: Mask, colour: Rgb) -> Picture:
    """Copy of the picture (H W 3 uint8 RGB) with one mask (H W bool) filled and outlined in that colour."""
    painted = picture.astype(np.float32)
    painted[mask] = (1 - FILL_OPACITY) * painted[mask] + FILL_OPACITY * np.array(colour, np.float32)
    result = np.clip(np.rint(painted), 0, 255).astype(np.uint8)
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    halo = result.copy()
    cv2.drawContours(halo, contours, -1, [HALO_SHADE * part for part in colour], HALO_PX, cv2.LINE_AA)
    blended = cv2.addWeighted(halo, 0.6, result, 0.4, 0)
    cv2.drawContours(blended, contours, -1, colour, OUTLINE_PX, cv2.LINE_AA)
    return np.asarray(blended, dtype=np.uint8)


def overlay(frame: Picture, masks: Iterable[tuple[Mask, Rgb]], *, longest_px: int) -> Picture:
    """Frame (H W 3 uint8 RGB) scaled to `longest_px`, its masks (H W bool, source size) painted in order."""
    height, width = scaled_size(frame.shape[0], frame.shape[1], longest_px=longest_px)
    picture = resize_frame(frame, height=height, width=width)
    for mask, colour in masks:
        picture = paint_mask(picture, resize_mask(mask, height=height, width=width), colour)
    return picture
