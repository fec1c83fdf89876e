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

import numpy as np

from qa.contours import Bits, contour_agreement
from qa.errors import MetricError
from qa.windows import Located, Mask, absent, locate, union

__all__ = [
    "BOUNDARY_TOLERANCE",
    "LARGE_PX",
    "MEDIUM_PX",
    "SIZE_BUCKETS",
    "Mask",
    "Masklet",
    "Score",
    "SizeBucket",
    "Tally",
    "boundary_f",
    "boundary_radius",
    "jaccard",
    "mean_score",
    "score_frame",
    "score_located",
    "score_masklet",
    "size_bucket",
]

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
    tally = Tally()
    for frame in scored:
        tally.add(_located(prediction.get(frame)), _located(truth.get(frame)))
    return tally.score()


class Tally:
    """What an object has scored so far, a frame at a time."""

    def __init__(self) -> None:
        self._scores: list[tuple[float, float]] = []
        self._seen = False

    def add(self, prediction: Located | None, truth: Located | None) -> None:
        """Takes in the next scored frame; None stands for absence. Raises MetricError when sizes differ."""
        self._seen = self._seen or _visible(truth)
        if self._scores or _visible(prediction) or _visible(truth):
            self._scores.append(_score_or_absent(prediction, truth))

    def score(self) -> Score | None:
        """Mean J and F in percent; None if the truth showed the object on none of the frames."""
        if not self._seen:
            return None
        j, f = np.mean(np.array(self._scores), axis=0) * 100
        return Score(float(j), float(f), len(self._scores))


def mean_score(scores: Iterable[Score]) -> Score:
    """The mean over objects (each counts once, whatever its length); NaN when there is none."""
    table = [(score.j, score.f) for score in scores]
    if not table:
        return Score(math.nan, math.nan, 0)
    j, f = np.mean(np.array(table), axis=0)
    return Score(float(j), float(f), len(table))


def score_frame(prediction: Mask, truth: Mask) -> tuple[float, float]:
    """J and F of one frame, both in 0…1. Raises MetricError when the sizes differ."""
    return score_located(locate(prediction), locate(truth))


def score_located(prediction: Located, truth: Located) -> tuple[float, float]:
    """`score_frame` of masks whose boxes are known."""
    radius = boundary_radius(*_common_size(prediction, truth))
    packed = _packed(prediction, truth, margin=radius)
    return (1.0, 1.0) if packed is None else (_overlap(*packed), contour_agreement(*packed, radius))


def jaccard(prediction: Mask, truth: Mask) -> float:
    """J of one frame: intersection over union in 0…1; two empty masks agree, J = 1.

    >>> jaccard(np.array([[1, 1, 0, 0]], bool), np.array([[0, 1, 1, 0]], bool)) == 1 / 3
    True
    """
    a, b = locate(prediction), locate(truth)
    _common_size(a, b)
    packed = _packed(a, b, margin=1)
    return 1.0 if packed is None else _overlap(*packed)


def boundary_f(prediction: Mask, truth: Mask) -> float:
    """F of one frame, in 0…1: 1 if neither mask has a boundary, 0 if only one has."""
    return score_frame(prediction, truth)[1]


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


def _score_or_absent(prediction: Located | None, truth: Located | None) -> tuple[float, float]:
    present = prediction if truth is None else truth
    if present is None:
        return 1.0, 1.0
    nothing = absent(present.size)
    return score_located(prediction or nothing, truth or nothing)


def _packed(a: Located, b: Located, *, margin: int) -> tuple[Bits, Bits] | None:
    """The window of two masks of one size that holds both and a pixel around them; None when both are empty.

    J and F are the same of masks that are both transposed, so run lengths, which go down the columns, may stay so.
    """
    boxes = [box for box in (a.box, b.box) if box is not None]
    if not boxes:
        return None
    window = union(boxes, margin=1, size=a.size)
    crops = a.crop(window), b.crop(window)
    if all(crop.strides[0] < crop.strides[1] for crop in crops):
        crops = crops[0].T, crops[1].T
    return Bits.of(crops[0], margin=margin), Bits.of(crops[1], margin=margin)


def _overlap(a: Bits, b: Bits) -> float:
    return (a & b).count() / (a | b).count()


def _located(mask: Mask | None) -> Located | None:
    return None if mask is None else locate(mask)


def _visible(mask: Located | None) -> bool:
    return mask is not None and mask.box is not None


def _common_size(prediction: Located, truth: Located) -> tuple[int, int]:
    if prediction.size != truth.size:
        raise MetricError(
            f"prediction {prediction.size} and truth {truth.size} differ in size (height, width)"
        )
    return truth.size
