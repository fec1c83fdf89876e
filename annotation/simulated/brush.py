"""Masks as a hand paints them: the reference with a smoothly wandering outline, never pixel perfect.

Masks are bool [H, W].
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["mask_iou", "outline_px", "painted"]

BoolMask = npt.NDArray[np.bool_]
FloatMap = npt.NDArray[np.float32]

_WANDER_PX = 6.0
"""Standard deviation of the blur that makes the outline wander slowly instead of fraying."""


def painted(
    truth: BoolMask, chance: np.random.Generator, *, jitter_px: float, error_share: float
) -> BoolMask:
    """`truth` with its outline moved by smooth noise of `jitter_px` standard deviation.

    At most `error_share` of the area is wrong (people zoom in on small objects), then only where the hand
    strays farthest. An empty mask stays empty.
    """
    wobble = _smooth_noise(truth.shape, chance) * jitter_px
    strays_px = np.where(truth, -wobble, wobble) - _outline_distance(truth)  # above 0: on the wrong side
    wrong_px = min(int((strays_px > 0).sum()), int(error_share * truth.sum()))
    if wrong_px == 0:
        return truth.copy()
    farthest = np.partition(strays_px, -wrong_px, axis=None)[-wrong_px]
    hand: BoolMask = truth ^ (strays_px >= farthest)
    return hand


def outline_px(region: BoolMask) -> int:
    """Pixels of `region` with a side neighbour outside it (beyond the frame counts as outside)."""
    padded = np.pad(region, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return int((region & ~inner).sum())


def mask_iou(a: BoolMask, b: BoolMask) -> float:
    """Intersection over union; 1.0 if both are empty, since they agree."""
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 1.0


def _outline_distance(mask: BoolMask) -> FloatMap:
    """Pixels from each pixel's centre to the outline, which runs between pixels, so nothing is exactly 0."""
    inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    distance: FloatMap = (np.where(mask, inside, outside) - 0.5).astype(np.float32)
    return distance


def _smooth_noise(shape: tuple[int, ...], chance: np.random.Generator) -> FloatMap:
    """Noise float32 [H, W] of mean 0 and standard deviation 1 that changes over a few pixels."""
    noise = chance.standard_normal(shape, dtype=np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), _WANDER_PX)
    scaled: FloatMap = ((smooth - smooth.mean()) / max(float(smooth.std()), 1e-6)).astype(np.float32)
    return scaled
