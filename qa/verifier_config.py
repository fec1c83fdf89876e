"""How a simulated verifier judges: what people overlook, what they do not, and how long they look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from qa.errors import VerificationError

__all__ = ["VerifierConfig"]


@dataclass(frozen=True, slots=True)
class VerifierConfig:
    """Thresholds of a simulated verifier.

    Overlap is measured with the contour's own `slack_px` left out: on an object 10 px across, an outline that
    is one pixel off everywhere has a plain IoU of 0.64, yet nobody would call the masklet wrong. What remains
    are errors that a person sees.
    """

    match_iou: float = 0.4
    """Automatic masklets: plain IoU on the first frame below which the mask shows no well-defined object."""
    reach_px: float = 8.0
    """A point this close to an object still means it."""
    slack_px: int = 1
    """Pixels by which an outline may be off without being seen."""
    mean_iou: float = 0.85
    """Mean overlap, over frames where object or mask is, below which a masklet is unsatisfactory."""
    min_iou: float = 0.7
    """Overlap of a single frame below which that frame is bad."""
    unseen_px: int = 6
    """An object or a mask of at most this many pixels is not noticed where the other is absent."""
    bad_frames: float = 0.0
    """Share of frames (0…1) that may be bad in a satisfactory masklet."""
    error_rate: float = 0.02
    """Share of verdicts that are a slip: a good masklet called wrong, a wrong one let through."""
    examine_s_per_frame: float = 0.1
    """Seconds of looking per frame: 30 s for 300 frames."""
    decide_s: float = 2.0
    """Seconds of answering per masklet."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        for name in ("match_iou", "mean_iou", "min_iou", "bad_frames", "error_rate"):
            if not 0 <= getattr(self, name) <= 1:
                raise VerificationError(f"{name} is a share between 0 and 1, not {getattr(self, name)}")
        for name in ("reach_px", "slack_px", "unseen_px", "examine_s_per_frame", "decide_s"):
            if not getattr(self, name) >= 0:
                raise VerificationError(f"{name} cannot be negative, but is {getattr(self, name)}")
