"""The score of one object under one protocol: a row of the `metrics` manifest, less whose score it is."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["MEAN_OBJECT", "MetricRow"]

MEAN_OBJECT = -1
"""The object id of the row that holds the mean over all objects of all videos; its video id is empty."""


@dataclass(frozen=True, slots=True)
class MetricRow:
    """J, F and J&F in percent of an object of a video over `frames` frames; NaN where nothing was scored."""

    protocol: str
    video_id: str
    object_id: int
    j: float
    f: float
    jf: float
    frames: int

    @property
    def is_mean(self) -> bool:
        """Whether the row is the mean over objects."""
        return self.object_id == MEAN_OBJECT

    @property
    def is_number(self) -> bool:
        """Whether J, F and J&F are all finite."""
        return all(math.isfinite(value) for value in (self.j, self.f, self.jf))

    def to_row(self, *, round_id: str, role: str, checkpoint_hash: str) -> dict[str, str | int | float]:
        """The row of the `metrics` manifest; `role` is champion, challenger or base."""
        return {
            "round_id": round_id,
            "role": role,
            "checkpoint_hash": checkpoint_hash,
            "protocol": self.protocol,
            "video_id": self.video_id,
            "object_id": self.object_id,
            "j": self.j,
            "f": self.f,
            "jf": self.jf,
            "frames": self.frames,
        }
