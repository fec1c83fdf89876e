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

    The jitter is less on small objects, so that about `error_share` of the area is wrong at most. An empty
    mask stays empty, and no other becomes empty.
    """
    area = int(truth.sum())
    if area == 0:
        return truth.copy()
    # a wobble of standard deviation d displaces the outline by 0.8 d on average
    tolerable_px = error_share * area / (0.8 * max(outline_px(truth), 1))
    wobble = _smooth_noise(truth.shape, chance) * min(jitter_px, tolerable_px)
    hand: BoolMask = _signed_distance(truth) + wobble > 0
    return hand if hand.any() else truth.copy()


def outline_px(region: BoolMask) -> int:
    """Pixels of `region` with a side neighbour outside it (beyond the frame counts as outside)."""
    padded = np.pad(region, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return int((region & ~inner).sum())


def mask_iou(a: BoolMask, b: BoolMask) -> float:
    """Intersection over union; 1.0 if both are empty, since they agree."""
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 1.0


def _signed_distance(mask: BoolMask) -> FloatMap:
    """Pixels to the outline, positive inside; the outline runs between pixels, so nothing is exactly 0."""
    inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    distance: FloatMap = np.where(mask, inside - 0.5, 0.5 - outside).astype(np.float32)
    return distance


def _smooth_noise(shape: tuple[int, ...], chance: np.random.Generator) -> FloatMap:
    """Noise float32 [H, W] of mean 0 and standard deviation 1 that changes over a few pixels."""
    noise = chance.standard_normal(shape, dtype=np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), _WANDER_PX)
    scaled: FloatMap = ((smooth - smooth.mean()) / max(float(smooth.std()), 1e-6)).astype(np.float32)
    return scaled
