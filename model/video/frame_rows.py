"""A growing table with one row per frame: numbers in one array instead of an object per frame.

At 20 to 30 bytes a frame it is the only thing in a session that grows with the length of a video; a stream lets
go of the rows of frames that it no longer keeps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FrameRows"]

_FIRST_ROWS = 64


class FrameRows:
    """Rows of a structured dtype, zero until written; frames before `first` are forgotten."""

    def __init__(self, dtype: np.dtype[np.void]) -> None:
        self.first = 0
        self._rows = np.zeros(_FIRST_ROWS, dtype=dtype)

    @property
    def frames(self) -> NDArray[np.int64]:
        """The frame number of each row of `column`."""
        return np.arange(self.first, self.first + len(self._rows))

    def column(self, name: str) -> NDArray[Any]:
        """One field of all rows, for reading and writing."""
        column: NDArray[Any] = self._rows[name]
        return column

    def between(self, start: int, stop: float) -> slice:
        """The rows of frames from `start` up to, not including, `stop`, as far as there are rows."""
        end = min(stop, self.first + len(self._rows))
        return slice(max(start - self.first, 0), max(int(end) - self.first, 0))

    def get(self, frame: int) -> Any:
        """The row of a frame, a copy; zeros when nothing was written."""
        if not 0 <= frame - self.first < len(self._rows):
            return np.zeros((), dtype=self._rows.dtype)
        return self._rows[frame - self.first].copy()

    def set(self, frame: int, **values: Any) -> None:
        """Write fields of a frame's row; a forgotten frame stays forgotten."""
        index = frame - self.first
        if index < 0:
            return
        if index >= len(self._rows):
            self._grow(index + 1)
        for name, value in values.items():
            self._rows[name][index] = value

    def forget_before(self, frame: int) -> None:
        """Let go of the rows of earlier frames, once they are half of the table."""
        dead = min(frame - self.first, len(self._rows))
        if dead > len(self._rows) // 2:
            kept = self._rows[dead:]
            self._rows = np.zeros(max(len(kept), _FIRST_ROWS), dtype=kept.dtype)
            self._rows[: len(kept)] = kept
            self.first = frame

    def _grow(self, count: int) -> None:
        rows = np.zeros(max(count, 2 * len(self._rows)), dtype=self._rows.dtype)
        rows[: len(self._rows)] = self._rows
        self._rows = rows
