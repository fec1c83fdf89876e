"""Settings of automatic masks and masklets; apart from their generators so that reading settings loads no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from model.errors import ModelError

__all__ = ["AutoMaskConfig", "AutoMaskletConfig", "OutputMode"]

OutputMode = Literal["binary_mask", "uncompressed_rle", "coco_rle"]


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
        _check_shares(self, (*shares, "max_frame_share", "crop_overlap", "crop_margin"))
        _check_least(self, ("point_batch", "object_batch", "max_masklets"), 1)

    @classmethod
    def paper(cls) -> AutoMaskletConfig:
        """32×32 points on the frame, 16×16 on each of 4 crops, 4×4 on each of 16: 2304 points."""
        return cls(points_per_side=(32, 16, 4), min_predicted_iou=0.8, min_stability=0.95, max_masklets=2304)


@dataclass(frozen=True, slots=True)
class AutoMaskConfig:
    """How every mask of an image is looked for. Options, names and defaults are those of the published generator.

    More than a dozen fields, so that what people have written for the published one can be taken over as it is.
    Raises ModelError when an option cannot be used.
    """

    points_per_side: int | None = 32  # of the grid on the whole image; None when `point_grids` are given
    points_per_batch: int = (
        64  # asked in one pass; more is faster on an accelerator and takes more of its memory
    )
    pred_iou_thresh: float = 0.8  # masks of a predicted IoU above it stay; 0 keeps all. SAM 1 uses 0.88
    stability_score_thresh: float = 0.95  # masks this stable stay; 0 keeps all
    stability_score_offset: float = (
        1.0  # logits by which the cut is shifted up and down to see how stable a mask is
    )
    mask_threshold: float = 0.0  # logits above it are the mask
    box_nms_thresh: float = (
        0.7  # of two boxes in one crop with a higher IoU, that of the higher predicted IoU stays
    )
    use_m2m: bool = False  # each mask is asked about once more, as a rough mask; its IoU is judged after that
    crop_n_layers: int = 0  # layer i asks again on 2^i × 2^i crops
    crop_nms_thresh: float = 0.7  # as `box_nms_thresh`, between crops; the mask of the smaller crop stays
    crop_overlap_ratio: float = 512 / 1500  # share of the shorter side by which crops of layer 1 overlap
    crop_n_points_downscale_factor: int = (
        1  # layer i has points_per_side / factor^i points along a crop's side
    )
    point_grids: Sequence[Sequence[Sequence[float]]] | None = None  # per layer its points (x, y) in 0…1
    min_mask_region_area: int = (
        0  # SAM 2: holes and specks of so many low-res pixels go; SAM 1: of fewer image pixels
    )
    output_mode: OutputMode = "binary_mask"  # what a mask's `segmentation` is
    multimask_output: bool = True  # three candidates a point rather than one

    def __post_init__(self) -> None:
        shares = ("pred_iou_thresh", "stability_score_thresh", "box_nms_thresh", "crop_nms_thresh")
        _check_shares(self, (*shares, "crop_overlap_ratio"))
        _check_least(self, ("points_per_batch", "crop_n_points_downscale_factor"), 1)
        _check_least(self, ("crop_n_layers", "stability_score_offset", "min_mask_region_area"), 0)
        if self.output_mode not in get_args(OutputMode):
            raise ModelError(f"output_mode {self.output_mode!r} is none of {', '.join(get_args(OutputMode))}")
        if (self.points_per_side is None) == (self.point_grids is None):
            raise ModelError("give either points_per_side or point_grids (and the other as None)")
        if self.points_per_side is not None and min(self.points_in_layers) < 1:
            raise ModelError(
                f"points_per_side {self.points_in_layers} of the layers leave one without a point"
            )
        if self.point_grids is not None:
            self._check_grids(self.point_grids)

    @classmethod
    def sam1(cls) -> AutoMaskConfig:
        """Return the defaults of the generator that was published with SAM 1."""
        return cls(pred_iou_thresh=0.88)

    @property
    def points_in_layers(self) -> tuple[int, ...]:
        """Points along the side of a crop in each layer; empty when `point_grids` say it all."""
        if self.points_per_side is None:
            return ()
        factor = self.crop_n_points_downscale_factor
        return tuple(int(self.points_per_side / factor**layer) for layer in range(self.crop_n_layers + 1))

    def _check_grids(self, grids: Sequence[Sequence[Sequence[float]]]) -> None:
        if len(grids) != self.crop_n_layers + 1:
            raise ModelError(
                f"{len(grids)} point_grids do not fit the whole image and {self.crop_n_layers} layers"
            )
        for layer, grid in enumerate(grids):
            inside = all(len(point) == 2 and all(0 <= value <= 1 for value in point) for point in grid)
            if len(grid) == 0 or not inside:
                raise ModelError(f"point_grids[{layer}] is not a list of points (x, y) between 0 and 1")


def _check_shares(config: object, names: Sequence[str]) -> None:
    for name in names:
        if not 0 <= getattr(config, name) <= 1:
            raise ModelError(f"{name} {getattr(config, name)} is not between 0 and 1")


def _check_least(config: object, names: Sequence[str], least: int) -> None:
    for name in names:
        if not getattr(config, name) >= least:
            raise ModelError(f"{name} {getattr(config, name)} is not at least {least}")
