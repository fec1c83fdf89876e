"""Filmstrips: at most twelve frames of a masklet as small pictures with the mask painted over them.

Pictures are JPEGs written into the page. When the object is small in the frame, all pictures of a strip show
the same window around the places it visits, so that there is something to see.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import cv2
import numpy as np

from qa.report.data import Frame, FrameLoader
from qa.report.overlay import Mask, overlay
from qa.report.palette import object_colour

MAX_FRAMES = 12
THUMBNAIL_PX = 264  # longer side; shown at about 180 CSS pixels, so it stays sharp on dense screens
JPEG_QUALITY = 80
ZOOM_BELOW = 0.2  # share of the frame that the object's window may take before zooming in is worth it
ZOOM_MARGIN = 0.6  # of the object's box, on each side
ZOOM_LEAST = 0.3  # of the frame's side: less context than that disorients

Window = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels, x1 and y1 exclusive."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One frame of a strip: its masks by object id (bool H W) and what is to be said about it."""

    frame: int
    masks: Mapping[int, Mask]
    edited: bool = False
    flagged: bool = False

    @property
    def absent(self) -> bool:
        """Whether no object is visible."""
        return not any(mask.any() for mask in self.masks.values())


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """One finished picture: a `data:` address and its labels."""

    frame: int
    address: str
    width: int
    height: int
    edited: bool
    flagged: bool
    absent: bool

    @property
    def text(self) -> str:
        """What the picture shows, for those who cannot see it."""
        notes = [
            name
            for name, holds in (
                ("edited", self.edited),
                ("object absent", self.absent),
                ("marked wrong", self.flagged),
            )
            if holds
        ]
        return ", ".join([f"frame {self.frame}", *notes])


@dataclass(frozen=True)
class Filmstrip:
    """A row of pictures with its title, text and a badge (label, kind: good, fair, poor or plain)."""

    title: str
    text: str
    badge: tuple[str, str]
    thumbnails: tuple[Thumbnail, ...]
    zoomed: bool

    @cached_property
    def size_bytes(self) -> int:
        """Characters the pictures take in the page."""
        return sum(len(one.address) for one in self.thumbnails)

    @property
    def portrait(self) -> bool:
        """Whether the pictures are higher than wide."""
        return any(one.height > one.width for one in self.thumbnails)


def pick_frames(frames: Sequence[int], *, keep: Sequence[int] = (), most: int = MAX_FRAMES) -> list[int]:
    """At most `most` (two or more) of the frames, in order: first, last and even steps between them.

    Each step lands on the nearest frame of `keep` where there is one in its reach.

    >>> pick_frames(range(100), keep=[7], most=4)
    [0, 7, 66, 99]
    """
    ordered = sorted(set(frames))
    if len(ordered) <= most:
        return ordered
    end = len(ordered) - 1
    kept = {place for place, frame in enumerate(ordered) if frame in set(keep)}
    edges = [1.0, *((step + 0.5) * end / (most - 1) for step in range(1, most - 2)), float(end)]
    inner = [
        _nearest(kept, low=low, high=high, to=step * end / (most - 1))
        for step, (low, high) in enumerate(pairwise(edges), 1)
    ]
    return [ordered[place] for place in (0, *inner, end)]


def _nearest(kept: set[int], *, low: float, high: float, to: float) -> int:
    """The kept place in low ≤ place < high that is nearest to `to`, else the nearest of all places there."""
    within = range(math.ceil(low), math.ceil(high))
    return min(kept.intersection(within) or within, key=lambda place: (abs(place - to), place))


def make_filmstrip(
    video_id: str, shots: Sequence[Shot], frame: FrameLoader, *, title: str, text: str, badge: tuple[str, str]
) -> Filmstrip:
    """Paints the shots; `frame` loads pictures as uint8 H W 3 RGB."""
    window = zoom_window([mask for shot in shots for mask in shot.masks.values()])
    thumbnails = tuple(make_thumbnail(frame(video_id, shot.frame), shot, window) for shot in shots)
    return Filmstrip(title, text, badge, thumbnails, zoomed=window is not None)


def make_thumbnail(frame: Frame, shot: Shot, window: Window | None = None) -> Thumbnail:
    """One shot painted, cropped to the window and packed as JPEG."""
    x0, y0, x1, y1 = window or (0, 0, frame.shape[1], frame.shape[0])
    masks = [
        (mask[y0:y1, x0:x1], object_colour(order))
        for order, (_, mask) in enumerate(sorted(shot.masks.items()))
    ]
    picture = overlay(frame[y0:y1, x0:x1], masks, longest_px=THUMBNAIL_PX)
    return Thumbnail(
        frame=shot.frame,
        address=jpeg_address(picture),
        width=picture.shape[1],
        height=picture.shape[0],
        edited=shot.edited,
        flagged=shot.flagged,
        absent=shot.absent,
    )


def jpeg_address(picture: Frame) -> str:
    """The picture (uint8 H W 3 RGB) as a `data:` address."""
    flags = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    _, packed = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), flags)
    return "data:image/jpeg;base64," + base64.b64encode(packed.tobytes()).decode("ascii")


def zoom_window(masks: Sequence[Mask]) -> Window | None:
    """The part of the frame (with its proportions) to show when objects are small; None: all of it."""
    seen = [mask for mask in masks if mask.any()]
    if not seen:
        return None
    everywhere = np.logical_or.reduce(seen)
    height, width = everywhere.shape
    rows, columns = np.flatnonzero(everywhere.any(1)), np.flatnonzero(everywhere.any(0))
    shares = ((rows[-1] - rows[0] + 1) / height, (columns[-1] - columns[0] + 1) / width)
    side = max(ZOOM_LEAST, max(shares) * (1 + 2 * ZOOM_MARGIN))
    if side**2 > ZOOM_BELOW * 2 or side >= 1:
        return None
    y0, y1 = _stretch((rows[0] + rows[-1]) / 2, round(side * height), height)
    x0, x1 = _stretch((columns[0] + columns[-1]) / 2, round(side * width), width)
    return x0, y0, x1, y1


def _stretch(middle: float, length: int, limit: int) -> tuple[int, int]:
    """`length` pixels around the middle, shifted to lie inside 0…limit."""
    start = min(max(0, round(middle - length / 2)), limit - length)
    return start, start + length
