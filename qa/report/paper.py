"""Table 1 of the SAM 2 paper (arXiv 2408.00714): what its phases cost and gave, to set beside our own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class PaperPhase:
    """One column of the paper's phase table; shares in percent, None where the paper has no value."""

    helper: str
    prompts: str
    seconds_per_frame: float
    speed_up: float
    edited_percent: float
    clicks_per_clicked_frame: float
    alignment: Mapping[str, float]
    masklets: str
    retrains: int | None


PAPER: Mapping[int, PaperPhase] = MappingProxyType(
    {
        1: PaperPhase(
            "SAM, image only", "no tracker: every frame by hand", 37.8, 1.0, 100.0, 4.80, {}, "16K", None
        ),
        2: PaperPhase(
            "SAM + SAM 2 Mask",
            "the tracker takes masks",
            7.4,
            5.1,
            23.25,
            3.61,
            {"all": 86.4, "small": 71.3, "medium": 80.4, "large": 97.9},
            "63.5K",
            2,
        ),
        3: PaperPhase(
            "SAM 2",
            "the tracker takes clicks, boxes, masks",
            4.5,
            8.4,
            19.04,
            2.68,
            {"all": 89.1, "small": 72.8, "medium": 81.8, "large": 100.0},
            "197.0K",
            5,
        ),
    }
)

CITATION = (
    "Paper: SAM 2 (arXiv 2408.00714), table 1: a controlled experiment with people on 169 videos and "
    "452 masklets, each annotated in the way of every phase."
)
