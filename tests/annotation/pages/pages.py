"""Views, items and regions as Label Studio writes them, for the tests of pages."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import settings

from annotation.pages.tickets import Ticket
from annotation.pages.views import PageView
from annotation.work import WorkItem
from storage.masks import encode

RELAXED = settings(deadline=None, max_examples=60)  # a busy machine is no failure

VIEW = PageView(frames=(0, 4, 8, 12), source_height=48, source_width=64, height=48, width=64)
SMALL = PageView(frames=(0, 4, 8, 12), source_height=96, source_width=128, height=48, width=64)


def make_item(kind: str = "annotate", **changes: Any) -> WorkItem:
    fields: dict[str, Any] = {
        "task_id": f"m-1-{kind}-1",
        "round_id": "r-1",
        "desk": "selection" if kind == "select" else "annotation",
        "kind": kind,
        "video_id": "0123456789abcdef",
        "phase": 3,
        "first_frame": 0,
        "masklet_id": "m-1",
        "object_id": 1,
        "name": "cell",
    }
    return WorkItem(**(fields | changes))


def make_ticket(view: PageView = VIEW, **changes: Any) -> Ticket:
    fields: dict[str, Any] = {
        "ticket_id": "m-1-annotate-1",
        "item": make_item(),
        "view": view,
        "carried": {4: encode(disc(view.source_height, view.source_width))},
        "checkpoint_hash": "c" * 64,
    }
    return Ticket(**(fields | changes))


def disc(height: int = 48, width: int = 64, *, x: float = 0.5, y: float = 0.5, radius: float = 0.25) -> Any:
    """bool [H, W]: a disc, its place and size as shares of the frame."""
    rows, columns = np.mgrid[:height, :width]
    return (rows - y * height) ** 2 + (columns - x * width) ** 2 < (radius * height) ** 2


def region(kind: str, control: str, value: dict[str, Any], *, page: int = 0, id: str = "a") -> dict[str, Any]:
    """A region that was drawn on a frame of VIEW's shown size."""
    return {
        "id": id,
        "type": kind,
        "from_name": control,
        "to_name": "frames",
        "original_width": 64,
        "original_height": 48,
        "image_rotation": 0,
        "item_index": page,
        "value": value,
        "origin": "manual",
    }


def click(
    x: float, y: float, *, page: int = 0, id: str = "k", positive: bool | None = True
) -> dict[str, Any]:
    found = region("keypoint", "click", {"x": x, "y": y, "width": 0.22, "labels": []}, page=page, id=id)
    return found if positive is None else found | {"is_positive": positive}


def text(control: str, texts: list[str], *, page: int = 0, id: str = "t") -> dict[str, Any]:
    return {
        "id": id,
        "type": "textarea",
        "from_name": control,
        "to_name": "frames",
        "item_index": page,
        "value": {"text": texts},
    }
