"""Where a session gets its pictures from."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["FrameSource"]


class FrameSource(Protocol):
    """The frames of a video, read when asked for."""

    @property
    def height(self) -> int:
        """Pixels from top to bottom."""

    @property
    def width(self) -> int:
        """Pixels from left to right."""

    def __len__(self) -> int:
        """Number of frames."""

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        """Return frame `index` as RGB uint8 [H, W, 3]."""
