"""The score of one object under one protocol: a row of the `metrics` manifest, less whose score it is."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["MEAN_OBJECT", "RETENTION", "MetricRow"]

MEAN_OBJECT = -1
"""The object id of the row that holds the mean over all objects of all videos; its video id is empty."""


RETENTION = "retention"
"""The suite that shows what a model has forgotten; the frozen evaluation set has no name."""


@dataclass(frozen=True, slots=True)
class MetricRow:
    """J, F and J&F in percent of an object of a video over `frames` frames; NaN where nothing was scored.

    `suite` is the set the video belongs to, empty for the frozen evaluation set. `seconds` is what a simulated
    annotator takes for the masklet, where a protocol tells.
    """

    protocol: str
    video_id: str
    object_id: int
    j: float
    f: float
    jf: float
    frames: int
    suite: str = ""
    seconds: float | None = None

    @property
    def is_mean(self) -> bool:
        """Whether the row is the mean over objects."""
        return self.object_id == MEAN_OBJECT

    @property
    def is_number(self) -> bool:
        """Whether J, F and J&F, and seconds if there are any, are all finite."""
        return all(math.isfinite(value) for value in (self.j, self.f, self.jf, self.seconds or 0.0))

    def to_row(
        self, *, round_id: str, role: str, checkpoint_hash: str
    ) -> dict[str, str | int | float | None]:
        """The row of the `metrics` manifest; `role` is champion, challenger, start or base."""
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
            "suite": self.suite or None,
            "seconds": self.seconds,
        }
