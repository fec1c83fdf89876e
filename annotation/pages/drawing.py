"""Pictures that show people which object is meant and where its mask ends.

Lines are light and dark side by side, so that they are seen on any ground, and lie outside the mask: its last pixels
stay visible. Pictures are uint8 [H, W, 3] RGB, masks bool [H, W].
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from model.prompts import Box

__all__ = ["draw_marker", "enlargement", "outlined", "with_caption"]

Picture = NDArray[np.uint8]
BoolMask = NDArray[np.bool_]

LIGHT = (255, 230, 40)
DARK = (10, 10, 40)
_BAR = (32, 32, 32)
_BAR_PX = 26
_TAG = (200, 60, 60)
_COMFORTABLE_PX = 400  # shorter side of a film that one sees enough in
_MARKER_PX = 180  # height of a marker picture
_CONTEXT = 2.2  # how much larger than the object its close-up is
_CLOSE_PX = 48  # side of the smallest close-up


def enlargement(height: int, width: int) -> int:
    """How many times a film of small frames is enlarged, so that lines are thin beside the object."""
    return max(1, round(_COMFORTABLE_PX / min(height, width)))


def outlined(picture: Picture, mask: BoolMask) -> Picture:
    """A copy with a line around the mask: light next to it, dark outside of that."""
    if not mask.any():
        return picture.copy()
    width = 1 if min(mask.shape) < 240 else 2
    inside = mask.view(np.uint8)
    light = cv2.dilate(inside, _round(width)) > 0
    dark = cv2.dilate(inside, _round(width + 1)) > 0
    result = picture.copy()
    result[dark & ~light] = DARK
    result[light & ~mask] = LIGHT
    return result


def with_caption(picture: Picture, text: str, *, tag: str = "") -> Picture:
    """The picture with a dark bar below it that says `text`, and `tag` in a red field."""
    bar = np.full((_BAR_PX, picture.shape[1], 3), _BAR, dtype=np.uint8)
    cursor = _write(bar, text, 6, (235, 235, 235))
    if tag:
        size = _text_width(tag)
        cv2.rectangle(bar, (cursor + 8, 3), (cursor + 20 + size, _BAR_PX - 4), _TAG, cv2.FILLED)
        _write(bar, tag, cursor + 14, (255, 255, 255))
    return np.vstack([picture, bar])


def draw_marker(
    picture: Picture, *, point: tuple[float, float] | None, box: Box | None, mask: BoolMask | None
) -> Picture:
    """The whole frame and a close-up side by side, the object marked in both by its box, its outline and a ring.

    point, box: pixels of the picture. Without any of them it is the frame alone.
    """
    around = _around(point, box, mask)
    marked = picture if mask is None else outlined(picture, mask)
    if around is None:
        return _fit(marked, _MARKER_PX)
    whole, scale = _fit(marked, _MARKER_PX), _MARKER_PX / picture.shape[0]
    _rectangle(whole, [value * scale for value in around])
    close, (left, top, zoom) = _close_up(marked, around)
    if point is not None:
        _ring(close, (point[0] + 0.5 - left) * zoom, (point[1] + 0.5 - top) * zoom)
    gap = np.full((_MARKER_PX, 6, 3), _BAR, dtype=np.uint8)
    return np.hstack([whole, gap, close])


def _around(
    point: tuple[float, float] | None, box: Box | None, mask: BoolMask | None
) -> tuple[float, float, float, float] | None:
    """The box around whatever marks the object."""
    if box is not None:
        return box.x0, box.y0, box.x1, box.y1
    if mask is not None and mask.any():
        y, x = np.nonzero(mask)
        return float(x.min()), float(y.min()), float(x.max() + 1), float(y.max() + 1)
    if point is not None:
        x0, y0 = point[0] + 0.5, point[1] + 0.5
        return x0 - _CLOSE_PX / 4, y0 - _CLOSE_PX / 4, x0 + _CLOSE_PX / 4, y0 + _CLOSE_PX / 4
    return None


def _close_up(
    picture: Picture, around: tuple[float, float, float, float]
) -> tuple[Picture, tuple[int, int, float]]:
    """A square around a box, `_MARKER_PX` high, and where it lies: left, top, and how many times enlarged."""
    x0, y0, x1, y1 = around
    height, width = picture.shape[:2]
    side = min(round(max(_CLOSE_PX, _CONTEXT * max(x1 - x0, y1 - y0))), height, width)
    left = int(np.clip(round((x0 + x1 - side) / 2), 0, width - side))
    top = int(np.clip(round((y0 + y1 - side) / 2), 0, height - side))
    close = _fit(picture[top : top + side, left : left + side], _MARKER_PX)
    return close, (left, top, _MARKER_PX / side)


def _fit(picture: Picture, height: int) -> Picture:
    """The picture in another height, an array of its own."""
    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    method = cv2.INTER_AREA if height < picture.shape[0] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (width, height), interpolation=method), dtype=np.uint8).copy()


def _rectangle(picture: Picture, corners: list[float]) -> None:
    x0, y0, x1, y1 = (round(value) for value in corners)
    cv2.rectangle(picture, (x0 - 2, y0 - 2), (x1 + 2, y1 + 2), DARK, 3, cv2.LINE_AA)
    cv2.rectangle(picture, (x0 - 2, y0 - 2), (x1 + 2, y1 + 2), LIGHT, 1, cv2.LINE_AA)


def _ring(picture: Picture, x: float, y: float) -> None:
    centre = round(x), round(y)
    cv2.circle(picture, centre, 7, DARK, 4, cv2.LINE_AA)
    cv2.circle(picture, centre, 7, LIGHT, 2, cv2.LINE_AA)


def _round(radius: int) -> Picture:
    side = 2 * radius + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), dtype=np.uint8)


def _write(picture: Picture, text: str, left: int, colour: tuple[int, int, int]) -> int:
    """Write a line of ASCII; returns where it ends."""
    cv2.putText(picture, text, (left, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA)
    return left + _text_width(text)


def _text_width(text: str) -> int:
    return int(cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)[0][0])
