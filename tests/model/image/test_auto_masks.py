"""Every mask of an image: against the published generator's steps in their plain form, and option by option."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from model.errors import ModelError, PromptError
from model.image.auto_config import AutoMaskConfig, OutputMode
from model.image.auto_masks import FoundMask, generate_masks
from model.image.image_model import ImageEmbedding
from model.image.image_predictor import ImagePredictor, PointPredictions
from model.image.overlap import distinct_boxes
from model.network.sam2 import Sam2
from storage.masks import encode

HEIGHT, WIDTH, SIDE = 150, 190, 32
RGB = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
BASE = AutoMaskConfig(points_per_side=6, points_per_batch=7, pred_iou_thresh=0.7, stability_score_thresh=0.8)


class Scripted(ImagePredictor):
    """Answers a click with three discs around it, speckled, more or less steep, and of a made-up IoU."""

    def __init__(self, *, scores_objects: bool = True) -> None:
        self._scores_objects = scores_objects
        self.asked = 0

    @property
    def scores_objects(self) -> bool:
        return self._scores_objects

    @property
    def image(self) -> ImageEmbedding:
        return ImageEmbedding(torch.empty(0), None, *self._size)

    def set_image(self, rgb: NDArray[np.uint8]) -> None:
        self._size = rgb.shape[:2]

    def predict_points(
        self,
        points: NDArray[np.float32],
        *,
        mask_logits: Tensor | None = None,
        multimask: bool = True,
        min_iou: float = -np.inf,
    ) -> PointPredictions:
        self.asked += len(points)
        earlier = [None] * len(points) if mask_logits is None else list(mask_logits[:, 0])
        answers = [self._discs(x, y, logits) for (x, y), logits in zip(points.tolist(), earlier, strict=True)]
        logits = torch.stack([masks for masks, _ in answers])
        ious = torch.tensor([scores for _, scores in answers])
        if not multimask:
            logits, ious = logits[:, :1], ious[:, :1]
        rows = (ious >= min_iou).any(dim=1).nonzero()[:, 0]
        ones = torch.ones(len(rows), logits.shape[1])
        return PointPredictions(rows, logits[rows], ious[rows], ones, ones[:, 0])

    def _discs(self, x: float, y: float, earlier: Tensor | None) -> tuple[Tensor, list[float]]:
        height, width = self._size
        seed = [round(x * 8), round(y * 8), height, width, 0 if earlier is None else int(earlier.abs().sum())]
        rng = np.random.default_rng(seed)
        rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
        distance = np.hypot(columns - x / width * SIDE, rows - y / height * SIDE)
        radii = rng.uniform((1, 3, 6), (4, 9, 30))[:, None, None]
        slopes = rng.uniform(0.5, 15, 3)[:, None, None]
        logits = (radii - distance) * slopes + rng.normal(0, 40, (3, SIDE, SIDE)) * (
            rng.random((3, SIDE, SIDE)) < 0.01
        )
        return torch.from_numpy(logits.astype(np.float32)), rng.uniform(0.6, 1, 3).tolist()

    def full_size(self, low_res: Tensor) -> Tensor:
        size = self._size
        return torch.nn.functional.interpolate(low_res[:, None], size, mode="bilinear")[:, 0]


def _plain(predictor: ImagePredictor, rgb: NDArray[np.uint8], config: AutoMaskConfig) -> list[dict[str, Any]]:
    """The published generator, step by step, everything at full size and one mask at a time."""
    height, width = rgb.shape[:2]
    records: list[dict[str, Any]] = []
    for layer, x0, y0, x1, y1 in _plain_crops(height, width, config):
        predictor.set_image(rgb[y0:y1, x0:x1])
        count = int((config.points_per_side or 0) / config.crop_n_points_downscale_factor**layer)
        steps = np.linspace(1 / (2 * count), 1 - 1 / (2 * count), count)
        points = np.array([[x * (x1 - x0), y * (y1 - y0)] for y in steps for x in steps], dtype=np.float32)
        inside = [
            record
            for point in points
            for record in _plain_answers(predictor, point, (x0, y0, x1, y1), (height, width), config)
        ]
        records += _plain_nms(inside, [r["predicted_iou"] for r in inside], config.box_nms_thresh)
    if config.crop_n_layers:
        areas = [1 / (r["crop_box"][2] * r["crop_box"][3]) for r in records]
        records = _plain_nms(records, areas, config.crop_nms_thresh)
    return records


def _plain_crops(height: int, width: int, config: AutoMaskConfig) -> list[tuple[int, int, int, int, int]]:
    made = [(0, 0, 0, width, height)]
    for layer in range(1, config.crop_n_layers + 1):
        count = 2**layer
        shared = int(config.crop_overlap_ratio * min(height, width) * (2 / count))
        side_x, side_y = (-(-(shared * (count - 1) + side) // count) for side in (width, height))
        for i in range(count):
            for j in range(count):
                x0, y0 = i * (side_x - shared), j * (side_y - shared)
                made.append((layer, x0, y0, min(x0 + side_x, width), min(y0 + side_y, height)))
    return made


def _plain_answers(
    predictor: ImagePredictor,
    point: NDArray[np.float32],
    crop: tuple[int, int, int, int],
    size: tuple[int, int],
    config: AutoMaskConfig,
) -> list[dict[str, Any]]:
    x0, y0, x1, y1 = crop
    found = predictor.predict_points(point[None], multimask=config.multimask_output)
    pairs = list(zip(found.low_res_logits[0], found.ious[0], strict=True))
    if config.use_m2m:
        again = [
            predictor.predict_points(point[None], mask_logits=one.clamp(-32, 32)[None, None], multimask=False)
            for one, _ in pairs
        ]
        pairs = [(one.low_res_logits[0, 0], one.ious[0, 0]) for one in again]
    records = []
    for low_res, iou in pairs:
        logits = predictor.full_size(_plain_tidy(low_res, config.min_mask_region_area)[None])[0].numpy()
        outer = (logits > config.mask_threshold - config.stability_score_offset).sum()
        inner = (logits > config.mask_threshold + config.stability_score_offset).sum()
        stability = inner / outer if outer else float("nan")
        if config.pred_iou_thresh > 0 and not iou > config.pred_iou_thresh:
            continue
        if config.stability_score_thresh > 0 and not stability >= config.stability_score_thresh:
            continue
        mask = np.zeros(size, dtype=bool)
        mask[y0:y1, x0:x1] = logits > config.mask_threshold
        rows, columns = np.nonzero(mask)
        box = (0, 0, 0, 0)
        if len(rows):
            box = (int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max()))
        image = (0, 0, size[1], size[0])
        sides = zip(box, crop, image, strict=True)
        if any(abs(a - b) <= 20 and not abs(a - c) <= 20 for a, b, c in sides):
            continue
        records.append(
            {
                "segmentation": mask,
                "area": int(mask.sum()),
                "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                "predicted_iou": float(iou),
                "point_coords": [[point[0] + x0, point[1] + y0]],
                "stability_score": stability,
                "crop_box": [x0, y0, x1 - x0, y1 - y0],
            }
        )
    return records


def _plain_tidy(low_res: Tensor, area: int) -> Tensor:
    given, tidy = low_res.numpy(), low_res.numpy().copy()
    for regions, value in ((given <= 0, 10.0), (given > 0, -10.0)):
        labels, count = ndimage.label(regions, structure=np.ones((3, 3)))
        for region in range(1, count + 1):
            if (labels == region).sum() <= area:
                tidy[labels == region] = value
    return torch.from_numpy(tidy)


def _plain_nms(records: list[dict[str, Any]], scores: list[float], max_iou: float) -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = []
    for index in sorted(range(len(records)), key=lambda i: -np.float32(scores[i])):
        x, y, w, h = records[index]["bbox"]
        for other in kept:
            u, v, s, t = other["bbox"]
            overlap = max(0, min(x + w, u + s) - max(x, u)) * max(0, min(y + h, v + t) - max(y, v))
            union = w * h + s * t - overlap
            if union and np.float32(overlap) / np.float32(union) > max_iou:
                break
        else:
            kept.append(records[index])
    return kept


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"points_per_batch": 64},
        {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0},
        {"pred_iou_thresh": 0.9, "stability_score_offset": 3.0},
        {"mask_threshold": 5.0},
        {"box_nms_thresh": 0.3},
        {"box_nms_thresh": 1.0},
        {"use_m2m": True},
        {"use_m2m": True, "multimask_output": False},
        {"multimask_output": False},
        {"crop_n_layers": 1},
        {"crop_n_layers": 2, "crop_n_points_downscale_factor": 2, "crop_nms_thresh": 0.5},
        {"crop_n_layers": 1, "crop_overlap_ratio": 0.1, "use_m2m": True, "min_mask_region_area": 2},
        {"min_mask_region_area": 3},
        {"min_mask_region_area": 2000},
    ],
    ids=str,
)
def test_masks_are_those_of_the_published_steps(changes: dict[str, Any]) -> None:
    config = replace(BASE, **changes)
    found = [mask.to_dict() for mask in generate_masks(Scripted(), RGB, config)]
    plain = _plain(Scripted(), RGB, config)
    assert len(found) == len(plain) > (0 if config.min_mask_region_area == 2000 else 4)
    for ours, theirs in zip(found, plain, strict=True):
        np.testing.assert_array_equal(ours.pop("segmentation"), theirs.pop("segmentation"))
        for name, value in theirs.items():
            np.testing.assert_allclose(ours[name], value, rtol=1e-6, err_msg=name)


def test_a_network_is_asked_as_the_published_generator_asks_it(micro_model: Sam2) -> None:
    config = AutoMaskConfig(
        points_per_side=3,
        pred_iou_thresh=0.45,
        stability_score_thresh=0.3,
        stability_score_offset=0.05,  # the logits of a network that was never trained are small
        box_nms_thresh=0.98,
        crop_n_layers=1,
    )
    rgb = RGB[:60, :80]
    found = [mask.to_dict() for mask in generate_masks(micro_model, rgb, config)]
    plain = _plain(ImagePredictor(micro_model), rgb, config)
    assert found and [mask["bbox"] for mask in found] == [mask["bbox"] for mask in plain]
    for ours, theirs in zip(found, plain, strict=True):
        assert (ours["segmentation"] != theirs["segmentation"]).mean() < 1e-3
        assert ours["predicted_iou"] == pytest.approx(theirs["predicted_iou"], abs=1e-4)


def test_own_grids_take_the_place_of_even_ones() -> None:
    grid = [[0.25, 0.5], [0.75, 0.5]]
    given = replace(BASE, points_per_side=None, point_grids=[grid, [[0.5, 0.5]]], crop_n_layers=1)
    predictor = Scripted()
    found = generate_masks(predictor, RGB, replace(given, pred_iou_thresh=0.0, stability_score_thresh=0.0))
    assert predictor.asked == 2 + 4 * 1
    whole = [mask.point for mask in found if mask.crop_box == (0, 0, WIDTH, HEIGHT)]
    assert set(whole) <= {(WIDTH / 4, HEIGHT / 2), (WIDTH * 3 / 4, HEIGHT / 2)}


def test_a_record_has_its_output_mode() -> None:
    array, runs, coco = (
        generate_masks(Scripted(), RGB, replace(BASE, output_mode=mode))[0] for mode in get_args(OutputMode)
    )
    assert isinstance(array.segmentation, np.ndarray) and array.segmentation.dtype == np.bool_
    assert coco.segmentation == encode(array.mask).to_coco() == array.rle.to_coco()
    assert isinstance(runs.segmentation, dict) and sum(runs.segmentation["counts"][1::2]) == array.area
    assert list(array.to_dict()) == [
        "segmentation",
        "area",
        "bbox",
        "predicted_iou",
        "point_coords",
        "stability_score",
        "crop_box",
    ]
    assert all(isinstance(value, float) for value in array.to_dict()["bbox"])


def test_masks_of_sam1_are_tidied_at_full_size_and_untouched_ones_preferred() -> None:
    config = replace(BASE, box_nms_thresh=0.5, min_mask_region_area=40)
    before = generate_masks(Scripted(scores_objects=False), RGB, replace(config, min_mask_region_area=0))
    after = generate_masks(Scripted(scores_objects=False), RGB, config)
    tidied = [_plain_post_step(mask.mask, 40) for mask in before]
    scores = np.array([not changed for _, changed in tidied], dtype=np.float32)
    boxes = np.array([_xyxy(mask) for mask, _ in tidied], dtype=np.float32)
    expected = [tidied[index][0] for index in distinct_boxes(boxes, scores, 0.7)]
    assert 0 < scores.sum() < len(scores)
    assert [mask.rle for mask in after] == [encode(mask) for mask in expected]
    assert all(mask.area == mask.mask.sum() for mask in after)


def _plain_post_step(mask: NDArray[np.bool_], min_area: int) -> tuple[NDArray[np.bool_], bool]:
    """Small holes, then small islands of one mask, and whether there was any: SAM 1's step, region by region."""
    changed = False
    for holes in (True, False):
        labels, count = ndimage.label(mask ^ holes, structure=np.ones((3, 3)))
        areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
        small = areas < min_area
        changed |= bool(small.any())
        if not holes and small.any() and small.all():
            small[areas.argmax()] = False
        mask = mask ^ np.isin(labels, 1 + np.flatnonzero(small))
    return mask, changed


def _xyxy(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(mask)
    return columns.min(), rows.min(), columns.max(), rows.max()


def test_progress_is_told_up_to_the_last_point() -> None:
    told: list[tuple[int, int]] = []
    config = replace(BASE, crop_n_layers=1, crop_n_points_downscale_factor=2)
    generate_masks(Scripted(), RGB, config, on_batch=lambda done, total: told.append((done, total)))
    total = 6 * 6 + 4 * 3 * 3
    assert told[-1] == (total, total)
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert len(told) == 6 + 4 * 2  # batches of 7


def test_no_mask_is_good_enough() -> None:
    assert generate_masks(Scripted(), RGB, replace(BASE, pred_iou_thresh=1.0, crop_n_layers=1)) == []


def test_a_record_is_data() -> None:
    mask = generate_masks(Scripted(), RGB, BASE)[0]
    assert isinstance(mask, FoundMask) and mask == generate_masks(Scripted(), RGB, BASE)[0]


def test_an_image_of_another_type_is_refused(micro_model: Sam2) -> None:
    with pytest.raises(PromptError, match="uint8"):
        generate_masks(micro_model, RGB / 255)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"points_per_side": None}, "points_per_side"),
        ({"point_grids": [[[0.5, 0.5]]]}, "points_per_side"),
        ({"points_per_side": None, "point_grids": [[[0.5, 1.5]]]}, "point_grids"),
        ({"points_per_side": None, "point_grids": [[[0.5, float("nan")]]]}, "point_grids"),
        ({"points_per_side": None, "point_grids": [[]]}, "point_grids"),
        ({"points_per_side": None, "point_grids": [[[0.5, 0.5]]], "crop_n_layers": 1}, "point_grids"),
        ({"points_per_side": 0}, "points_per_side"),
        ({"points_per_side": 3, "crop_n_layers": 1, "crop_n_points_downscale_factor": 4}, "points_per_side"),
        ({"points_per_batch": 0}, "points_per_batch"),
        ({"pred_iou_thresh": 1.2}, "pred_iou_thresh"),
        ({"stability_score_offset": float("nan")}, "stability_score_offset"),
        ({"crop_n_layers": -1}, "crop_n_layers"),
        ({"output_mode": "png"}, "output_mode"),
    ],
    ids=str,
)
def test_unusable_options_are_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ModelError, match=named):
        AutoMaskConfig(**changes)


def test_sam1_asks_for_more() -> None:
    assert AutoMaskConfig.sam1() == AutoMaskConfig(pred_iou_thresh=0.88)
