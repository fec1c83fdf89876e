"""Which of several overlapping things stay: the preferred ones, greedily, by boxes or by any other overlap."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["box_ious", "distinct", "distinct_boxes"]

Floats = NDArray[np.floating]


def distinct(count: int, overlaps: Callable[[int], Floats], max_overlap: float) -> list[int]:
    """Return which of `count` things stay, in order: those that overlap no earlier one that stays too much.

    `overlaps(i)` gives the overlap [count] of thing i with every thing; more than `max_overlap` is too much.

    >>> distinct(3, lambda i: np.array([[1, 0.9, 0], [0.9, 1, 0], [0, 0, 1]])[i], 0.7)
    [0, 2]
    """
    free = np.ones(count, dtype=np.bool_)
    kept: list[int] = []
    for index in range(count):
        if free[index]:
            kept.append(index)
            free &= ~(overlaps(index) > max_overlap)  # an overlap that is not a number is none
    return kept


def distinct_boxes(boxes: NDArray[np.float32], scores: Floats, max_iou: float) -> NDArray[np.int64]:
    """Non-maximum suppression: indices of the boxes that stay, the best score first.

    `boxes` float32 [N, 4] are (x0, y0, x1, y1), `scores` [N]; of equal scores the earlier box is preferred. A box
    goes when its IoU with a better one that stays is more than `max_iou`.
    """
    order = np.argsort(-scores, kind="stable").astype(np.int64)
    ranked = boxes[order]
    kept = distinct(len(ranked), lambda index: box_ious(ranked[index], ranked), max_iou)
    return order[kept]


def box_ious(box: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the IoU [N] of `box` [4] with `others` [N, 4]; not a number where neither has an area.

    Computed in float32 and compared in float64, as torchvision does it: a box just at a threshold stays there too.
    """
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])  # N 2
    overlap = np.prod(np.maximum(sides, 0), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1)
    with np.errstate(invalid="ignore"):
        ious: NDArray[np.float32] = overlap / (np.prod(box[2:] - box[:2]) + areas - overlap)
    return ious.astype(np.float64)
