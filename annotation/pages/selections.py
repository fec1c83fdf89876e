"""The objects that a person chose on a selection page."""

from __future__ import annotations

from collections.abc import Sequence

from annotation.pages.regions import (
    LABEL,
    NAME,
    OBJECT,
    POINT,
    TAKEN,
    Region,
    clipped,
    read_box,
    read_point,
    read_regions,
)
from annotation.pages.views import PageView
from annotation.work import Selection, WorkItem
from model.prompts import Box

__all__ = ["read_selections"]


def read_selections(result: object, view: PageView, item: WorkItem) -> tuple[Selection, ...]:
    """The objects that a person chose, in the order in which they were drawn.

    A box is an object, and so is a point; a point inside a box on the same page belongs to the smallest such box that
    has none yet. Without a point the middle of the box stands for the object; without a name it has the item's name
    or is just an "object". Any number is fine: none says that nothing in this video is worth annotating.
    """
    regions = [region for region in read_regions(result, view) if not _is_taken(region)]
    boxes = [(region, read_box(region, view)) for region in regions if region.control == OBJECT]
    points = [(region, read_point(region, view)) for region in regions if region.control == POINT]
    names, unnamed = _names(regions), item.name or LABEL
    inside = _pair(boxes, points)
    found: dict[str, Selection] = {}
    for region, box in boxes:
        partner = inside.get(region.id)
        x, y = _middle(box, view) if partner is None else partner[1]
        name = names.get(region.id) or (names.get(partner[0].id) if partner else None) or unnamed
        found[region.id] = Selection(view.frame_of(region.page), x, y, box, name)
    paired = {region.id for region, _ in inside.values()}
    for region, (x, y) in points:
        if region.id not in paired:
            found[region.id] = Selection(
                view.frame_of(region.page), x, y, None, names.get(region.id) or unnamed
            )
    return tuple(found[region.id] for region in regions if region.id in found and region.control != NAME)


def _is_taken(region: Region) -> bool:
    """Whether a region of the selection page is one of ours and says nothing; PageError if it is of no use."""
    if region.control == TAKEN and region.id.startswith("taken"):
        return True
    if region.control not in (OBJECT, POINT, NAME):
        raise region.wrong("is no selection: choose objects with a box or a point")
    return False


def _names(regions: Sequence[Region]) -> dict[str, str]:
    """Names by the id of the box or point they were given to."""
    found = {}
    for region in regions:
        if region.control == NAME:
            found[region.id] = " ".join(" ".join(region.texts()).split())
    return found


def _pair(
    boxes: Sequence[tuple[Region, Box]], points: Sequence[tuple[Region, tuple[float, float]]]
) -> dict[str, tuple[Region, tuple[float, float]]]:
    """The point that belongs to a box, by the box's id."""
    by_size = sorted(boxes, key=lambda pair: (pair[1].x1 - pair[1].x0) * (pair[1].y1 - pair[1].y0))
    inside: dict[str, tuple[Region, tuple[float, float]]] = {}
    for point, (x, y) in points:
        for region, box in by_size:
            hit = box.x0 <= x + 0.5 <= box.x1 and box.y0 <= y + 0.5 <= box.y1
            if hit and region.page == point.page and region.id not in inside:
                inside[region.id] = point, (x, y)
                break
    return inside


def _middle(box: Box, view: PageView) -> tuple[float, float]:
    """The pixel in the middle of a box, whose edges lie half a pixel before the middles of pixels."""
    x, y = (box.x0 + box.x1) / 2 - 0.5, (box.y0 + box.y1) / 2 - 0.5
    return clipped(x, view.source_width - 1), clipped(y, view.source_height - 1)
