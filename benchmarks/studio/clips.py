"""Drawn clips with one bright disc each. Clips of different numbers keep their disc in cells of their own, so that an
answer of one cannot be taken for an answer of another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storage.masks import Rle, encode

__all__ = ["CELLS", "Clip"]

BoolMask = NDArray[np.bool_]

CELLS = (4, 2)
"""Columns and rows of the frame; clip `n` has its disc in cell `n`, counted along the rows."""

_RADIUS_PX = 64
_SWAY_PX = 24  # the disc circles around the middle of its cell
_STEP = 0.25  # radians a frame
_COLOURS = ((230, 170, 60), (90, 200, 240), (240, 110, 150), (150, 230, 110))
_GRAIN = 6.0  # standard deviation


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip of `frames` frames; x and y are pixels."""

    number: int
    frames: int
    height: int = 480
    width: int = 854
    radius: float = _RADIUS_PX

    def centre(self, frame: int) -> tuple[float, float]:
        """(x, y) of the disc's middle."""
        columns, rows = CELLS
        x = (self.number % columns + 0.5) * self.width / columns + _SWAY_PX * math.sin(_STEP * frame)
        y = (self.number // columns % rows + 0.5) * self.height / rows + _SWAY_PX * math.cos(_STEP * frame)
        return x, y

    def disc(self, frame: int, *, radius: float | None = None) -> BoolMask:
        """Where the disc is, bool [H, W]; or one of another radius in its place."""
        x, y = self.centre(frame)
        rows, columns = np.ogrid[: self.height, : self.width]
        inside: BoolMask = (columns - x) ** 2 + (rows - y) ** 2 <= (radius or self.radius) ** 2
        return inside

    def on_ring(self, frame: int, *, share: float, turn: float) -> tuple[float, float]:
        """(x, y) at `share` radii from the disc's middle, `turn` of a whole turn around it."""
        x, y = self.centre(frame)
        angle, distance = 2 * math.pi * turn, share * self.radius
        return x + distance * math.cos(angle), y + distance * math.sin(angle)

    def pictures(self) -> NDArray[np.uint8]:
        """All frames, uint8 [T, H, W, 3] RGB: the disc over a soft ground, with grain."""
        ground, rng = self._ground(), np.random.default_rng(self.number)
        frames = np.empty((self.frames, self.height, self.width, 3), dtype=np.uint8)
        for frame in range(self.frames):
            picture = np.where(self.disc(frame)[..., None], _COLOURS[self.number % len(_COLOURS)], ground)
            grain = rng.standard_normal((self.height, self.width, 1), dtype=np.float32) * _GRAIN
            frames[frame] = np.clip(picture + grain, 0, 255).astype(np.uint8)
        return frames

    def reference(self, *, radius: float | None = None) -> dict[int, Rle]:
        """The disc by frame, or one of another radius."""
        return {frame: encode(self.disc(frame, radius=radius)) for frame in range(self.frames)}

    def _ground(self) -> NDArray[np.float32]:
        rows, columns = np.mgrid[: self.height, : self.width].astype(np.float32)
        red, green = 40 + 40 * columns / self.width, 60 + 30 * rows / self.height
        return np.stack([red, green, 50 + 20 * np.sin(columns / 90)], axis=-1)
