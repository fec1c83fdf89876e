"""Settings of automatic masklets; apart from `auto_masklets.py` so that reading settings loads no network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from model.errors import ModelError

__all__ = ["AutoMaskletConfig"]


@dataclass(frozen=True, slots=True)
class AutoMaskletConfig:
    """How masklets are mined from point grids on the first frame.

    The defaults suit the nano network; `paper()` is the density of the SAM 2 data engine. Raises ModelError
    when a number cannot be used.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    points_per_side: tuple[int, ...] = (16, 8)  # in each crop; level i has 2^i × 2^i crops, 0 is the frame
    crop_overlap: float = 512 / 1500  # share of the frame's shorter side by which halves overlap
    min_predicted_iou: float = 0.6  # 0.8 in the published generator; nano is less sure of itself
    min_stability: float = 0.75  # 0.95 there
    max_frame_share: float = 0.9  # larger masks are scenery
    crop_margin: float = 0.02  # share of a crop's side; masks this near an inner border are cut off
    duplicate_iou: float = 0.7  # of two masks on the first frame
    masklet_duplicate_iou: float = 0.7  # mean over the frames
    min_region_px: int = 200  # smaller specks and holes go, in pixels of a 1401×1037 frame (the mean of SA-V)
    max_masklets: int = 256  # the best are tracked
    point_batch: int = 64
    object_batch: int = 16

    def __post_init__(self) -> None:
        if not self.points_per_side or min(self.points_per_side) < 0 or not any(self.points_per_side):
            raise ModelError(f"points_per_side {self.points_per_side} asks for no point")
        shares = ("min_predicted_iou", "min_stability", "duplicate_iou", "masklet_duplicate_iou")
        for name in (*shares, "max_frame_share", "crop_overlap", "crop_margin"):
            if not 0 <= getattr(self, name) <= 1:
                raise ModelError(f"{name} {getattr(self, name)} is not between 0 and 1")
        for name in ("point_batch", "object_batch", "max_masklets"):
            if getattr(self, name) < 1:
                raise ModelError(f"{name} {getattr(self, name)} is not at least 1")

    @classmethod
    def paper(cls) -> AutoMaskletConfig:
        """32×32 points on the frame, 16×16 on each of 4 crops, 4×4 on each of 16: 2304 points."""
        return cls(points_per_side=(32, 16, 4), min_predicted_iou=0.8, min_stability=0.95, max_masklets=2304)
