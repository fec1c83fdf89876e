"""How long a person's acts take (SAM 2, appendix F.1: T_loc, T_click, T_exam; the brush and keys are ours).

Simulated people do not sleep: they move a `SimulatedClock` by these costs, and the session logs what it
reads there.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

__all__ = ["SimulatedClock", "TimeModel"]


@dataclass(frozen=True, slots=True)
class TimeModel:
    """Seconds of a person of average speed.

    locate_s: finding the place on a frame, once per frame that is corrected (T_loc). click_s: one click
    (T_click). box_s: dragging a box, as long as two clicks. examine_s_per_frame: looking a masklet through
    (T_exam, 30 s for 300 frames). absent_s: saying that the object is not there. brush_base_s and
    brush_s_per_px: taking up the brush, and following one pixel of the outline of the region that is
    changed. propagate_s: waiting for the tracker; the paper counts only the person's own acts. submit_s:
    handing in.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    locate_s: float = 1.0
    click_s: float = 1.5
    box_s: float = 3.0
    examine_s_per_frame: float = 0.1
    absent_s: float = 1.0
    brush_base_s: float = 4.0
    brush_s_per_px: float = 0.06
    propagate_s: float = 0.0
    submit_s: float = 0.0

    def __post_init__(self) -> None:
        for entry in fields(self):
            if not getattr(self, entry.name) >= 0:
                raise ValueError(
                    f"{entry.name} is {getattr(self, entry.name)}; no act takes less than 0 seconds"
                )

    def brush_s(self, outline_px: int) -> float:
        """Seconds to paint a change whose outline is `outline_px` pixels long."""
        return self.brush_base_s + self.brush_s_per_px * outline_px


class SimulatedClock:
    """A clock that stands still until somebody moves it, in whole milliseconds so that sums are exact."""

    def __init__(self) -> None:
        self._now_ms = 0

    def now_s(self) -> float:
        """Seconds since the clock was made."""
        return self._now_ms / 1000

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass, rounded to milliseconds."""
        self._now_ms += round(seconds * 1000)
