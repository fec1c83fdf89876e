"""Every mask of an image, without prompts: grids of single clicks, of whose answers the good and distinct ones stay.

The steps and the results are those of the published automatic mask generator (SAM paper §5 and appendix B; the SAM 2
code has the same), in an order that does little work on what is dropped anyway: the predicted IoU is judged before the
decoder's upscaling, stability and boxes on a few full-size masks at a time, and what stays is kept as run lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.image.auto_config import AutoMaskConfig, OutputMode
from model.image.image_model import Network
from model.image.image_predictor import ImagePredictor
from model.image.overlap import distinct_boxes
from model.image.point_grids import Crop, crops, even_grid
from model.image.point_search import Candidates, ask_points, full_size
from model.mask_tensors import above, areas_above, boxes_around
from model.pictures import picture_tensor
from model.postprocess import drop_specks, fill_holes, tidy_logits
from model.prompt_tensors import LOGIT_LIMIT
from storage.masks import Rle, decode, encode

__all__ = ["AutoMaskConfig", "FoundMask", "generate_masks"]

_EDGE_MARGIN_PX = 20.0

BoolMask = NDArray[np.bool_]
BoxXYWH = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class FoundMask:
    """One mask of an image of H × W pixels, kept as run lengths whatever the output mode."""

    rle: Rle  # of the whole image
    area: int  # pixels
    bbox: BoxXYWH  # first column and row, and how many further ones there are: (3, 4, 0, 0) is one pixel
    predicted_iou: float  # the network's own estimate
    point: tuple[float, float]  # (x, y) that found it, in pixels of the image
    stability_score: float  # in 0…1; area above threshold + offset over area above threshold − offset
    crop_box: BoxXYWH  # the crop that was asked
    output_mode: OutputMode = "binary_mask"

    @property
    def mask(self) -> BoolMask:
        """The mask as bool [H, W], decoded anew each time."""
        return decode(self.rle)

    @property
    def segmentation(self) -> BoolMask | dict[str, Any]:
        """The mask in its output mode: bool [H, W], or COCO's dictionary of plain or compressed run lengths."""
        if self.output_mode == "binary_mask":
            return self.mask
        return self.rle.to_coco() if self.output_mode == "coco_rle" else self.rle.to_uncompressed()

    def to_dict(self) -> dict[str, Any]:
        """Return the record of the published generator."""
        return {
            "segmentation": self.segmentation,
            "area": self.area,
            "bbox": [float(value) for value in self.bbox],
            "predicted_iou": self.predicted_iou,
            "point_coords": [list(self.point)],
            "stability_score": self.stability_score,
            "crop_box": [float(value) for value in self.crop_box],
        }


def generate_masks(
    network: ImagePredictor | Network,
    rgb: NDArray[np.uint8],
    config: AutoMaskConfig | None = None,
    *,
    on_batch: Callable[[int, int], None] | None = None,
) -> list[FoundMask]:
    """Return the masks of an RGB image uint8 [H, W, 3].

    Those of one crop come in the order of their predicted IoU; with layers of crops the smallest crops come first.
    `network` may be a predictor; afterwards the last crop is its image. `on_batch(done, total)` is told how many
    points have been asked about. Without a `config` the network's own defaults are taken. Raises PromptError for an
    image of another type or shape.
    """
    predictor = network if isinstance(network, ImagePredictor) else ImagePredictor(network)
    if config is None:
        config = AutoMaskConfig() if predictor.scores_objects else AutoMaskConfig.sam1()
    _, height, width, _ = picture_tensor(rgb).shape
    windows = list(crops(height, width, _grids(config), overlap=config.crop_overlap_ratio))
    progress = _Progress(sum(len(crop.points) for crop in windows), on_batch)
    found: list[FoundMask] = []
    for crop in windows:
        inside = list(_masks_in(predictor, rgb, crop, config, progress))
        found += _distinct(inside, [mask.predicted_iou for mask in inside], config.box_nms_thresh)
    if len(windows) > 1:
        found = _distinct(found, [1 / (m.crop_box[2] * m.crop_box[3]) for m in found], config.crop_nms_thresh)
    if not predictor.scores_objects and config.min_mask_region_area > 0:  # SAM 1
        found = _tidied(found, config)
    return found


@dataclass(slots=True)
class _Progress:
    """Counts the points that have been asked about, and tells."""

    total: int
    tell: Callable[[int, int], None] | None
    done: int = 0

    def add(self, points: int) -> None:
        self.done += points
        if self.tell is not None:
            self.tell(self.done, self.total)


def _grids(config: AutoMaskConfig) -> list[NDArray[np.float64]]:
    """Return the points in 0…1 of each layer."""
    if config.point_grids is not None:
        return [np.array(grid, dtype=np.float64) for grid in config.point_grids]
    return [even_grid(count) for count in config.points_in_layers]


def _masks_in(
    predictor: ImagePredictor,
    rgb: NDArray[np.uint8],
    crop: Crop,
    config: AutoMaskConfig,
    progress: _Progress,
) -> Iterator[FoundMask]:
    """Yield the good masks of a crop, duplicates among them."""
    predictor.set_image(crop.cut_from(rgb))
    canvas = np.zeros(rgb.shape[:2], dtype=np.bool_)  # every mask of the crop covers the same part of it
    for first in range(0, len(crop.points), config.points_per_batch):
        points = crop.points[first : first + config.points_per_batch]
        for candidates in _ask(predictor, points, config):
            for some, logits in full_size(predictor, _tidy(candidates, config, predictor)):
                yield from _good(some, logits, crop, canvas, config)
        progress.add(len(points))


def _ask(
    predictor: ImagePredictor, points: NDArray[np.float32], config: AutoMaskConfig
) -> Iterator[Candidates]:
    """Ask about points; what is yielded is above the threshold of predicted IoU."""
    threshold = np.float32(config.pred_iou_thresh)
    least = float(np.nextafter(threshold, np.float32(np.inf))) if threshold > 0 else -np.inf
    if not config.use_m2m:
        yield ask_points(predictor, points, multimask=config.multimask_output, min_iou=least)
        return
    for some in ask_points(predictor, points, multimask=config.multimask_output).split(len(points)):
        logits = some.low_res.clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
        yield ask_points(predictor, some.points, mask_logits=logits, multimask=False, min_iou=least)


def _tidy(candidates: Candidates, config: AutoMaskConfig, predictor: ImagePredictor) -> Candidates:
    """Rid low-res logits of small holes and specks; masks of SAM 1 are tidied at the very end."""
    size = config.min_mask_region_area
    if size == 0 or not predictor.scores_objects:
        return candidates
    logits = tidy_logits(candidates.low_res.cpu().numpy(), max_hole_area=size, max_speck_area=size)
    return replace(candidates, low_res=torch.from_numpy(logits).to(candidates.low_res.device))


def _good(
    candidates: Candidates, logits: Tensor, crop: Crop, canvas: BoolMask, config: AutoMaskConfig
) -> Iterator[FoundMask]:
    """Yield those candidates, of full-size `logits` [K, H, W], that are stable and not cut off by the crop."""
    height, width = canvas.shape
    stabilities = _stabilities(logits, config)
    stable = np.flatnonzero(stabilities >= config.stability_score_thresh)
    masks = above(logits, config.mask_threshold)[stable]
    boxes = boxes_around(masks)
    margins = (_EDGE_MARGIN_PX, _EDGE_MARGIN_PX)
    whole = ~crop.cuts(boxes, height=height, width=width, margins=margins)
    for mask, box, index in zip(masks[whole], boxes[whole], stable[whole], strict=True):
        canvas[crop.y0 : crop.y1, crop.x0 : crop.x1] = mask
        x, y = candidates.points[index]
        yield FoundMask(
            rle=encode(canvas),
            area=int(np.count_nonzero(mask)),
            bbox=_xywh(box, crop.x0, crop.y0),
            predicted_iou=float(candidates.ious[index]),
            point=(float(x + crop.x0), float(y + crop.y0)),
            stability_score=float(stabilities[index]),
            crop_box=(crop.x0, crop.y0, crop.width, crop.height),
            output_mode=config.output_mode,
        )


def _stabilities(logits: Tensor, config: AutoMaskConfig) -> NDArray[np.float32]:
    """Return [K] in 0…1: area at the higher cut over area at the lower; 0 where there is none at either."""
    threshold, offset = config.mask_threshold, config.stability_score_offset
    inner, outer = areas_above(logits, threshold + offset), areas_above(logits, threshold - offset)
    return (inner / outer.clamp(min=1)).cpu().numpy()


def _xywh(box: NDArray[np.int64], left: int = 0, top: int = 0) -> BoxXYWH:
    """Return the record's form of a box (x0, y0, x1, y1) in a crop whose corner is (left, top)."""
    x0, y0, x1, y1 = box.tolist()
    return x0 + left, y0 + top, x1 - x0, y1 - y0


def _distinct(found: Sequence[FoundMask], scores: Sequence[float], max_iou: float) -> list[FoundMask]:
    """Drop masks whose box overlaps that of a better one, and put the best first."""
    boxes = np.array([mask.bbox for mask in found], dtype=np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return [found[index] for index in distinct_boxes(boxes, np.array(scores, dtype=np.float32), max_iou)]


def _tidied(found: Sequence[FoundMask], config: AutoMaskConfig) -> list[FoundMask]:
    """Fill holes and drop specks of full-size masks; of duplicates, masks that needed none of it are preferred."""
    tidied = [_tidy_mask(mask, config.min_mask_region_area) for mask in found]
    untouched = [float(after is before) for after, before in zip(tidied, found, strict=True)]
    return _distinct(tidied, untouched, max(config.box_nms_thresh, config.crop_nms_thresh))


def _tidy_mask(found: FoundMask, min_area: int) -> FoundMask:
    """Return `found` itself when no hole and no speck has fewer than `min_area` pixels."""
    mask = found.mask
    tidy = drop_specks(fill_holes(mask, min_area - 1), min_area)
    if tidy is mask:
        return found
    box = boxes_around(tidy[None])[0]
    return replace(found, rle=encode(tidy), area=int(np.count_nonzero(tidy)), bbox=_xywh(box))
