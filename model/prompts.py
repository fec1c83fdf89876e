"""What a person points at: clicks and boxes, in pixels of the frame, x to the right and y down.

A click at (x, y) = (0, 0) is the centre of the top-left pixel; values may be fractional.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from model.errors import CoordinateError

__all__ = ["Box", "Click"]


@dataclass(frozen=True, slots=True)
class Click:
    """One click: `positive` says "this belongs to the object", otherwise "this does not".

    Raises CoordinateError when a coordinate is not a finite number.
    """

    x: float
    y: float
    positive: bool = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.x) and math.isfinite(self.y)):
            raise CoordinateError(f"click ({self.x}, {self.y}) is not finite")

    def check_inside(self, *, height: int, width: int) -> None:
        """Raise CoordinateError unless the click lies on a frame of `height` × `width` pixels."""
        if not (0 <= self.x <= width and 0 <= self.y <= height):
            raise CoordinateError(
                f"click ({self.x}, {self.y}) is outside the frame of {width}x{height} pixels"
            )


@dataclass(frozen=True, slots=True)
class Box:
    """A box from its top-left corner (x0, y0) to its bottom-right corner (x1, y1).

    Raises CoordinateError when a coordinate is not finite or the corners are in the wrong order.
    """

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        corners = (self.x0, self.y0, self.x1, self.y1)
        if not all(math.isfinite(value) for value in corners):
            raise CoordinateError(f"box {corners} is not finite")
        if self.x1 < self.x0 or self.y1 < self.y0:
            raise CoordinateError(f"box {corners} has its corners in the wrong order (x0, y0, x1, y1)")

    def check_inside(self, *, height: int, width: int) -> None:
        """Raise CoordinateError unless the box lies on a frame of `height` × `width` pixels."""
        if self.x0 < 0 or self.y0 < 0 or self.x1 > width or self.y1 > height:
            corners = (self.x0, self.y0, self.x1, self.y1)
            raise CoordinateError(f"box {corners} leaves the frame of {width}x{height} pixels")
