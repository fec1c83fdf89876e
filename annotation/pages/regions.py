"""Regions of a page of Label Studio: the names of its controls, and entries read with care.

A page speaks of percent and of page numbers from 0. Label Studio checks nothing, so everything is checked here; a
PageError names the region, and the page as people count it, from 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from annotation.errors import PageError
from annotation.pages.views import PageView
from model.prompts import Box

__all__ = [
    "BAD",
    "BOX",
    "CLICK",
    "COMMAND",
    "IMAGE",
    "LABEL",
    "MASK",
    "NAME",
    "OBJECT",
    "POINT",
    "REASON",
    "SAYS",
    "TAKEN",
    "VERDICT",
    "VIDEO",
    "VISIBILITY",
    "Region",
    "Visibility",
    "clipped",
    "read_box",
    "read_point",
    "read_regions",
]

IMAGE, MASK, VISIBILITY, COMMAND, SAYS, CLICK, BOX = (
    "frames",
    "mask",
    "visibility",
    "cmd",
    "says",
    "click",
    "box",
)
"""Controls of the annotation page."""
LABEL = "object"
"""The one label of masks."""
OBJECT, POINT, NAME, TAKEN = "object", "point", "name", "taken"
"""Controls of the selection page: boxes, points, a name for each, and the objects that are annotated already."""
VIDEO, BAD, VERDICT, REASON = "video", "bad", "verdict", "reason"
"""Controls of the verification page."""

Visibility = Literal["absent", "occluded"]

_MAX_TEXT = 2000
_MAX_REGIONS = 20_000  # a hundred pages full of masks, marks and clicks hold about a thousand
_FAR = 1e5  # percent of the frame, or degrees: no page gives more


@dataclass(frozen=True, slots=True)
class Region:
    """One entry of a result. Its values are read by methods that raise PageError with its id and page."""

    id: str
    control: str
    kind: str
    page: int
    value: Mapping[str, Any]
    entry: Mapping[str, Any]
    paged: bool = True

    def wrong(self, why: str) -> PageError:
        """What to raise: this region is wrong because `why`."""
        where = f" on page {self.page + 1}" if self.paged else ""
        return PageError(f"Region {self.id!r}{where} {why}.")

    def percent(self, name: str) -> float:
        """A number: percent of the frame, or degrees."""
        value = self.value.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < _FAR:
            raise self.wrong(f"has {name} = {value!r:.40} instead of a number")
        return float(value)

    def texts(self) -> tuple[str, ...]:
        """The texts that were entered, oldest first."""
        found = self.value.get("text", [])
        return self._strings([found] if isinstance(found, str) else found, "text")

    def choices(self) -> tuple[str, ...]:
        """The choices that were made."""
        return self._strings(self.value.get("choices", []), "choices")

    def labels(self) -> tuple[str, ...]:
        """Labels of the region's own kind; none where the person had none selected."""
        return self._strings(self.value.get(self.kind, []), self.kind)

    def expect(self, *kinds: str) -> None:
        """PageError unless the region is of one of these types."""
        if self.kind not in kinds:
            raise self.wrong(f"is of type {self.kind!r} instead of {' or '.join(kinds)}")

    def _strings(self, values: object, name: str) -> tuple[str, ...]:
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise self.wrong(f"has {name} = {values!r:.40} instead of a list of texts")
        if any(len(value) > _MAX_TEXT for value in values):
            raise self.wrong(f"has a text of more than {_MAX_TEXT} characters")
        return tuple(values)


def read_regions(result: object, view: PageView, *, paged: bool = True) -> list[Region]:
    """A result's regions, in order. `paged`: whether they lie on pages (of a video's timeline they do not)."""
    if not isinstance(result, list):
        raise PageError(f"A page's result must be a list of regions, not {result!r:.60}.")
    if len(result) > _MAX_REGIONS:
        raise PageError(f"A page's result has {len(result)} regions; a page needs far fewer.")
    return [_region(entry, number, view, paged=paged) for number, entry in enumerate(result)]


def _region(entry: object, number: int, view: PageView, *, paged: bool) -> Region:
    if not isinstance(entry, Mapping):
        raise PageError(f"Entry {number} of a page's result must be a region, not {entry!r:.60}.")
    found = [entry.get(name) for name in ("id", "from_name", "type")]
    if not all(isinstance(part, str) and part for part in found):
        raise PageError(
            f"Entry {number} of a page's result needs the texts id, from_name and type, not {found!r:.90}."
        )
    region_id, control, kind = (str(part) for part in found)
    value = entry.get("value")
    if not isinstance(value, Mapping):
        raise PageError(f"Region {region_id!r} has the value {value!r:.40} instead of an object.")
    page = _page(entry, region_id, view) if paged else 0
    return Region(region_id, control, kind, page, value, entry, paged)


def _page(entry: Mapping[str, Any], region_id: str, view: PageView) -> int:
    page = entry.get("item_index", 0 if len(view) == 1 else None)
    if not isinstance(page, int) or isinstance(page, bool) or not 0 <= page < len(view):
        raise PageError(
            f"Region {region_id!r} names page {page!r:.20} (item_index) of a task with pages 0 to {len(view) - 1}."
        )
    _check_size(entry, region_id, page, view)
    return page


def _check_size(entry: Mapping[str, Any], region_id: str, page: int, view: PageView) -> None:
    """A region says on which size of frame it was drawn, unless it is a text or a choice."""
    size = entry.get("original_height"), entry.get("original_width")
    if size not in ((None, None), (view.height, view.width)):
        raise PageError(
            f"Region {region_id!r} on page {page + 1} was made on a frame of {size[0]!r:.20}x{size[1]!r:.20} pixels, "
            f"the page shows {view.height}x{view.width} (height x width)."
        )


def read_point(region: Region, view: PageView) -> tuple[float, float]:
    """A click or a point in source pixels."""
    region.expect("keypoint", "keypointlabels")
    try:
        return view.to_source(region.percent("x"), region.percent("y"))
    except PageError as error:
        raise PageError(f"Region {region.id!r} on page {region.page + 1}: {error}") from error


def read_box(region: Region, view: PageView) -> Box:
    """A rectangle in source pixels, cut to the frame; of a turned one the box around it."""
    region.expect("rectangle", "rectanglelabels")
    turned = math.radians(region.percent("rotation") if "rotation" in region.value else 0.0)
    x, y = region.percent("x") * view.source_width / 100, region.percent("y") * view.source_height / 100
    width = region.percent("width") * view.source_width / 100
    height = region.percent("height") * view.source_height / 100
    along = width * math.cos(turned), width * math.sin(turned)
    down = -height * math.sin(turned), height * math.cos(turned)
    xs = sorted(clipped(x + shift, view.source_width) for shift in (0, along[0], down[0], along[0] + down[0]))
    ys = sorted(
        clipped(y + shift, view.source_height) for shift in (0, along[1], down[1], along[1] + down[1])
    )
    if xs[-1] - xs[0] < 1e-6 or ys[-1] - ys[0] < 1e-6:
        raise region.wrong("is a box without area inside the frame; draw it around the object")
    return Box(xs[0], ys[0], xs[-1], ys[-1])


def clipped(value: float, largest: int) -> float:
    """The nearest value from 0 to `largest`."""
    return min(max(value, 0.0), float(largest))
