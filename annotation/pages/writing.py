"""Regions that we put on a page: masks, texts, marks. Ids are fixed, so that a new one replaces the one before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotation.errors import PageError
from annotation.pages.bitmask import encode_bitmask
from annotation.pages.regions import COMMAND, IMAGE, LABEL, MASK, SAYS, TAKEN, VISIBILITY, Visibility
from annotation.pages.views import PageView

__all__ = ["command_region", "mask_region", "says_region", "taken_region", "visibility_region"]

BoolMask = NDArray[np.bool_]


def mask_region(page: int, mask: BoolMask, view: PageView, *, score: float | None = None) -> dict[str, Any]:
    """A mask in shown pixels, bool [h, w], as the region of its page; the same page always gives the same id."""
    region = _bitmask(f"f{page:05d}", page, mask, view, control=MASK, label=LABEL)
    return region if score is None else region | {"score": round(float(score), 4)}


def taken_region(number: int, page: int, mask: BoolMask, view: PageView) -> dict[str, Any]:
    """The mask of an object that is annotated already, for the selection page, where nobody can change it."""
    region = _bitmask(f"taken{number:03d}", page, mask, view, control=TAKEN, label=TAKEN)
    return region | {"readonly": True}


def says_region(page: int, text: str) -> dict[str, Any]:
    """A text of the server to the person, shown on one page; the next one replaces it."""
    return _classification(f"s{page:05d}", page, SAYS, "textarea", {"text": [text]})


def command_region(region_id: str, page: int, texts: Sequence[str] = ()) -> dict[str, Any]:
    """What stands in the command box of a page from now on: nothing, unless `texts` are given."""
    return _classification(region_id, page, COMMAND, "textarea", {"text": list(texts)})


def visibility_region(page: int, choice: Visibility) -> dict[str, Any]:
    """The mark "absent" or "occluded" on a page."""
    return _classification(f"v{page:05d}", page, VISIBILITY, "choices", {"choices": [choice]})


def _bitmask(
    region_id: str, page: int, mask: BoolMask, view: PageView, *, control: str, label: str
) -> dict[str, Any]:
    view.frame_of(page)
    if mask.shape != (view.height, view.width):
        raise PageError(
            f"The mask for page {page + 1} has the shape {mask.shape}, the page shows {view.height}x{view.width} "
            "(height x width)."
        )
    return {
        "id": region_id,
        "type": "bitmasklabels",
        "from_name": control,
        "to_name": IMAGE,
        "original_width": view.width,
        "original_height": view.height,
        "image_rotation": 0,
        "item_index": page,
        "value": {"imageDataURL": encode_bitmask(mask), "bitmasklabels": [label]},
    }


def _classification(
    region_id: str, page: int, control: str, kind: str, value: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "id": region_id,
        "type": kind,
        "from_name": control,
        "to_name": IMAGE,
        "item_index": page,
        "value": dict(value),
    }
