"""J and F: how well a predicted masklet covers the true one, and how well it follows its contour.

Region similarity J is intersection over union; contour accuracy F is the F-measure of boundary pixels with a
tolerance of 0.8 % of the image diagonal. Both are averaged over the annotated frames of an object without the
first (it is prompted) and the last, in percent; the score of a model is the mean over all objects of all
videos. The definitions are those of the SA-V evaluation tool (SAM 2 paper, section 6 and its released code).

Masks are bool arrays [H,W] or `Rle`. Everything is computed inside the smallest window that holds both masks
and one pixel around them, which is exact: no boundary pixel lies outside it, and tolerance only matters where
there are boundary pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from qa.errors import MetricError
from storage import masks as rles
from storage.masks import Rle

__all__ = [
    "BOUNDARY_TOLERANCE",
    "LARGE_PX",
    "MEDIUM_PX",
    "SIZE_BUCKETS",
    "Mask",
    "Masklet",
    "Score",
    "SizeBucket",
    "boundary",
    "boundary_f",
    "boundary_radius",
    "jaccard",
    "mean_score",
    "score_frame",
    "score_masklet",
    "size_bucket",
]

BoolMask = NDArray[np.bool_]
Mask = Rle | BoolMask
Masklet = Mapping[int, Mask]
SizeBucket = Literal["small", "medium", "large"]
SIZE_BUCKETS: tuple[SizeBucket, ...] = ("small", "medium", "large")

BOUNDARY_TOLERANCE = 0.008  # of the image diagonal
MEDIUM_PX = 32**2  # area from which an object is medium
LARGE_PX = 96**2  # area from which an object is large


@dataclass(frozen=True, slots=True)
class Score:
    """J and F in percent (0…100); `count` frames (for an object) or objects (for a mean) are behind them."""

    j: float
    f: float
    count: int

    @property
    def jf(self) -> float:
        """J&F, the mean of J and F, in percent."""
        return (self.j + self.f) / 2


def score_masklet(
    prediction: Masklet,
    truth: Masklet,
    *,
    frames: Iterable[int] | None = None,
    skip_ends: bool = True,
) -> Score | None:
    """Mean J and F of one object over its video; None if the truth never shows it on a scored frame.

    `frames` are the annotated frames of the video, by default the frames `truth` has; a frame missing from
    either mapping counts as absence. The first and the last of them are not scored unless `skip_ends` is
    False. The tally starts at the first scored frame where the object is in the truth *or* in the prediction:
    earlier agreement on absence adds nothing, later agreement adds 1.

    Raises MetricError when the sizes of two masks differ.
    """
    ordered = sorted(set(truth if frames is None else frames))
    scored = ordered[1:-1] if skip_ends else ordered
    if not any(_visible(truth.get(frame)) for frame in scored):
        return None
    start = next(n for n, f in enumerate(scored) if _visible(truth.get(f)) or _visible(prediction.get(f)))
    pairs = [_score_or_absent(prediction.get(frame), truth.get(frame)) for frame in scored[start:]]
    j, f = np.mean(np.array(pairs), axis=0) * 100
    return Score(float(j), float(f), len(pairs))


def mean_score(scores: Iterable[Score]) -> Score:
    """The mean over objects (each counts once, whatever its length); NaN when there is none."""
    table = [(score.j, score.f) for score in scores]
    if not table:
        return Score(math.nan, math.nan, 0)
    j, f = np.mean(np.array(table), axis=0)
    return Score(float(j), float(f), len(table))


def score_frame(prediction: Mask, truth: Mask) -> tuple[float, float]:
    """J and F of one frame, both in 0…1. Raises MetricError when the sizes differ."""
    height, width = _common_size(prediction, truth)
    if isinstance(prediction, Rle) and isinstance(truth, Rle) and prediction == truth:
        return 1.0, 1.0
    window = _window(prediction, truth)
    if window is None:
        return 1.0, 1.0
    a, b = (_array(mask)[window] for mask in (prediction, truth))
    return _overlap(a, b), _contour_agreement(a, b, boundary_radius(height, width))


def jaccard(prediction: Mask, truth: Mask) -> float:
    """J of one frame: intersection over union in 0…1; two empty masks agree, J = 1.

    >>> jaccard(np.array([[1, 1, 0, 0]], bool), np.array([[0, 1, 1, 0]], bool)) == 1 / 3
    True
    """
    _common_size(prediction, truth)
    return _overlap(_array(prediction), _array(truth))


def boundary_f(prediction: Mask, truth: Mask) -> float:
    """F of one frame, in 0…1: 1 if neither mask has a boundary, 0 if only one has."""
    return score_frame(prediction, truth)[1]


def boundary(mask: BoolMask) -> BoolMask:
    """Pixels of `mask` bool [H,W] whose right, lower or lower-right neighbour differs.

    The last row looks only to the right, the last column only down, and their corner is never boundary.
    """
    edge = np.zeros_like(mask)
    edge[:, :-1] |= mask[:, :-1] ^ mask[:, 1:]
    edge[:-1, :] |= mask[:-1, :] ^ mask[1:, :]
    edge[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return edge


def boundary_radius(height: int, width: int) -> int:
    """How far (pixels) a boundary may be off: 0.8 % of the diagonal of the *whole* frame, rounded up."""
    return math.ceil(BOUNDARY_TOLERANCE * math.hypot(height, width))


def size_bucket(area_px: float) -> SizeBucket:
    """The size class of an object by its area: small below 32² pixels, medium below 96², else large."""
    if not area_px >= 1:
        raise MetricError(f"an object that is seen has an area of at least one pixel, not {area_px}")
    if area_px < MEDIUM_PX:
        return "small"
    return "medium" if area_px < LARGE_PX else "large"


def _score_or_absent(prediction: Mask | None, truth: Mask | None) -> tuple[float, float]:
    present = prediction if truth is None else truth
    if present is None:
        return 1.0, 1.0
    nothing = rles.empty(*_shape(present))
    return score_frame(
        nothing if prediction is None else prediction,
        nothing if truth is None else truth,
    )


def _overlap(a: BoolMask, b: BoolMask) -> float:
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0


def _contour_agreement(prediction: BoolMask, truth: BoolMask, radius: int) -> float:
    predicted_edge, true_edge = boundary(prediction), boundary(truth)
    if not predicted_edge.any() and not true_edge.any():
        return 1.0
    precision = _share_near(predicted_edge, true_edge, radius)
    recall = _share_near(true_edge, predicted_edge, radius)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _share_near(edge: BoolMask, other: BoolMask, radius: int) -> float:
    """The share of `edge` pixels at most `radius` from a pixel of `other`; 1 without any `edge` pixel."""
    count = np.count_nonzero(edge)
    if not count:
        return 1.0
    near = cv2.dilate(other.view(np.uint8), _disk(radius)).view(np.bool_)
    return np.count_nonzero(edge & near) / count


def _disk(radius: int) -> NDArray[np.uint8]:
    """A filled circle as uint8 [2r+1, 2r+1]; cv2's own ellipse is not the set x² + y² ≤ r²."""
    steps = np.arange(-radius, radius + 1)
    return (steps[:, None] ** 2 + steps**2 <= radius**2).astype(np.uint8)


def _window(a: Mask, b: Mask) -> tuple[slice, slice] | None:
    """Rows and columns that hold both masks and one pixel around them; None when both are empty."""
    boxes = [box for box in (_box(a), _box(b)) if box is not None]
    if not boxes:
        return None
    corners = np.array(boxes)
    x0, y0 = np.maximum(corners[:, :2].min(axis=0) - 1, 0)
    x1, y1 = corners[:, 2:].max(axis=0) + 1  # a slice may reach beyond the frame
    return slice(int(y0), int(y1)), slice(int(x0), int(x1))


def _box(mask: Mask) -> tuple[int, int, int, int] | None:
    """(x0, y0, x1, y1), the last two exclusive; None for an empty mask."""
    if isinstance(mask, Rle):
        return rles.box(mask)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _visible(mask: Mask | None) -> bool:
    if mask is None:
        return False
    return not rles.is_empty(mask) if isinstance(mask, Rle) else bool(mask.any())


def _array(mask: Mask) -> BoolMask:
    return rles.decode(mask) if isinstance(mask, Rle) else mask


def _shape(mask: Mask) -> tuple[int, int]:
    if isinstance(mask, Rle):
        return mask.height, mask.width
    if mask.ndim != 2 or mask.dtype != np.bool_:
        raise MetricError(
            f"a mask is a bool array of rows and columns, not {mask.dtype} of shape {mask.shape}"
        )
    return mask.shape[0], mask.shape[1]


def _common_size(prediction: Mask, truth: Mask) -> tuple[int, int]:
    sizes = _shape(prediction), _shape(truth)
    if sizes[0] != sizes[1]:
        raise MetricError(f"prediction {sizes[0]} and truth {sizes[1]} differ in size (height, width)")
    return sizes[1]
