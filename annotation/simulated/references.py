"""The reference masks of a video, for simulated people only, and finding the object of a work item."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from annotation.errors import PeopleError
from annotation.work import WorkItem
from model.prompts import Box
from storage import masks as rle_masks
from storage.masks import Rle

__all__ = ["ReferenceBook", "ReferenceObject", "find_object", "open_book", "truth_at"]

BoolMask = npt.NDArray[np.bool_]
ReferenceObject = Mapping[int, Rle]
"""One object's reference masks by source frame; it is absent where there is none."""

ReferenceBook = Callable[[str], Mapping[int, ReferenceObject]]
"""From a video id to its reference objects by number; `storage.references.References(store).read` is one."""

_REACH_PX = 8.0
"""A point this close to an object still means it."""


def open_book(book: ReferenceBook, video_id: str) -> Mapping[int, ReferenceObject]:
    """The reference objects of a video. Raises PeopleError if there are none."""
    objects = book(video_id)
    if not objects:
        raise PeopleError(
            f"Video {video_id} has no reference masks, so simulated people cannot work on it. "
            "Ingest it with its masks, or let people annotate it."
        )
    return objects


def find_object(item: WorkItem, objects: Mapping[int, ReferenceObject]) -> ReferenceObject | None:
    """The reference object that the item's point, box or first-frame mask means; None if it means none.

    Of several objects under the point (parts and wholes) the one that fits the box or the mask best is
    meant, and without these the smallest.
    """
    visible = {
        number: rle
        for number, masks in sorted(objects.items())
        if (rle := masks.get(item.first_frame)) is not None and not rle_masks.is_empty(rle)
    }
    near = visible if item.point is None else _under(item.point, visible)
    fits = {number: _fit(item, rle) for number, rle in near.items()}
    if not fits or (item.point is None and max(fits.values())[0] <= 0):
        return None
    return objects[max(fits, key=lambda number: (*fits[number], -number))]


def truth_at(reference: ReferenceObject, frame: int, shape: tuple[int, int]) -> BoolMask:
    """The reference mask at a source frame, bool [H, W] = `shape`; empty where the object is absent."""
    rle = reference.get(frame)
    if rle is None:
        return np.zeros(shape, dtype=bool)
    mask = rle_masks.decode(rle)
    if mask.shape != shape:
        raise PeopleError(f"The reference mask of frame {frame} is {mask.shape}, but the video is {shape}.")
    return mask


def _under(point: tuple[float, float], visible: Mapping[int, Rle]) -> dict[int, Rle]:
    """Objects that hold the point, or else those nearest to it within reach."""
    distances = {number: _distance(point, rle_masks.decode(rle)) for number, rle in visible.items()}
    nearest = min(distances.values(), default=math.inf)
    if nearest > _REACH_PX:
        return {}
    return {number: visible[number] for number, distance in distances.items() if distance == nearest}


def _distance(point: tuple[float, float], mask: BoolMask) -> float:
    """Pixels from the point to the mask; 0 on it."""
    x, y = point
    column = min(max(round(x), 0), mask.shape[1] - 1)
    row = min(max(round(y), 0), mask.shape[0] - 1)
    if mask[row, column]:
        return 0.0
    rows, columns = np.nonzero(mask)
    return float(np.sqrt(((rows - y) ** 2 + (columns - x) ** 2).min()))


def _fit(item: WorkItem, rle: Rle) -> tuple[float, float]:
    """How well an object fits the item's box, or else its first-frame mask; ties go to the smaller object."""
    smallness = -float(rle_masks.area(rle))
    shown = item.masks.get(item.first_frame)
    if item.box is not None:
        return _box_iou(item.box, rle), smallness
    if shown is not None:
        return rle_masks.iou(shown, rle), smallness
    return 0.0, smallness


def _box_iou(box: Box, rle: Rle) -> float:
    tight = rle_masks.box(rle)
    if tight is None:
        return 0.0
    width = min(box.x1, tight[2]) - max(box.x0, tight[0])
    height = min(box.y1, tight[3]) - max(box.y0, tight[1])
    overlap = max(width, 0.0) * max(height, 0.0)
    total = (box.x1 - box.x0) * (box.y1 - box.y0) + (tight[2] - tight[0]) * (tight[3] - tight[1])
    return overlap / (total - overlap) if total > overlap else 0.0
