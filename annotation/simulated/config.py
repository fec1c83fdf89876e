"""What simulated people are like, as numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

__all__ = ["SimulationConfig"]


@dataclass(frozen=True, slots=True)
class SimulationConfig:
    """How simulated people work. IoU is always with the reference mask of the same frame.

    wrong_below_iou: a propagated mask below this is wrong (so is one that shows an absent object or misses
    a visible one). click_target_iou: people leave a mask alone, or stop clicking, from here on.
    brush_below_iou: if clicks end below this, they brush. max_clicks: clicks on one frame before they give
    up clicking. max_edited_share: share of the frames they are willing to correct by hand. correct: which
    wrong frame is corrected next in phase 3, the first or the worst one.

    click_jitter_px, brush_jitter_px: how far an average hand misses; each person has a factor of their own.
    brush_error_share: a brushed outline is never off by more than this share of the mask's area (people
    zoom in). speed_spread: standard deviation of the people's speed factors (log scale).

    challenging_share: how much a selector prefers objects that move, change or vanish over a random choice,
    0 to 1. taken_iou: an object that overlaps an annotated one by this IoU counts as taken. min_object_px:
    smaller ones are not selected.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    wrong_below_iou: float = 0.75
    click_target_iou: float = 0.9
    brush_below_iou: float = 0.85
    max_clicks: int = 6
    max_edited_share: float = 1.0
    correct: Literal["first", "worst"] = "first"
    click_jitter_px: float = 1.0
    brush_jitter_px: float = 1.0
    brush_error_share: float = 0.05
    speed_spread: float = 0.1
    challenging_share: float = 0.7
    taken_iou: float = 0.5
    min_object_px: int = 36

    def __post_init__(self) -> None:
        if not 0 <= self.wrong_below_iou <= self.brush_below_iou <= self.click_target_iou <= 1:
            raise ValueError(
                f"wrong_below_iou {self.wrong_below_iou}, brush_below_iou {self.brush_below_iou} and "
                f"click_target_iou {self.click_target_iou} must rise in this order, between 0 and 1"
            )
        for name in ("max_edited_share", "brush_error_share", "challenging_share", "taken_iou"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it is a share between 0 and 1")
        for name in ("click_jitter_px", "brush_jitter_px", "speed_spread", "max_clicks", "min_object_px"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it cannot be negative")
