"""What a score is worth: answers that need no network, and one click on a still picture.

*Copying the first mask* is in `qa.evaluation` (`evaluate_copy`). *Nearest colour* learns the colours inside and
around the first true mask and finds them again, frame by frame, near where the object was last seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from model.clicks import centre_click
from model.image.image_predictor import ImagePredictor, ImagePrompt
from model.network.sam2 import Sam2
from qa.evaluation import EvaluationVideo, Progress, evaluating, score_masklets
from qa.metric_rows import MetricRow
from storage import masks as rles
from storage.masks import Rle

__all__ = ["NEAREST_COLOUR", "ImageScore", "evaluate_nearest_colour", "image_miou"]

NEAREST_COLOUR = "nearest-colour"
"""The name `evaluate_nearest_colour` gives to its protocol."""

BoolMask = NDArray[np.bool_]
Colours = NDArray[np.float64]
Window = tuple[slice, slice]

LEVELS = 16  # of each colour channel
REACH = 0.5  # how far the window goes beyond the box of the last mask, in its longer sides
LEAST_REACH_PX = 8
SMALLEST_PX = 20  # objects smaller than this are not clicked


def evaluate_nearest_colour(
    videos: Sequence[EvaluationVideo], *, progress: Progress | None = None
) -> list[MetricRow]:
    """Scores the baseline that calls a pixel the object's if its colour was commoner inside the first mask.

    Colours outside are those in a window around the mask, half its longer side wide on every side. The window
    follows the answer; what is found there in several pieces is cut to the piece that meets the last answer most.
    Rows are as those of `qa.evaluation.evaluate`.
    """
    return score_masklets(videos, _coloured, protocol=NEAREST_COLOUR, progress=progress)


@dataclass(frozen=True, slots=True)
class ImageScore:
    """Mean IoU (0…1) over objects on single pictures: of the answer that the model thinks best, and of the
    best of its answers; NaN without any object."""

    chosen: float
    oracle: float
    objects: int


def image_miou(
    model: Sam2, videos: Sequence[EvaluationVideo], *, every: int = 4, progress: Progress | None = None
) -> ImageScore:
    """One click at the middle of each object on every `every`-th frame, each frame a picture by itself."""
    predictor = ImagePredictor(model)
    chosen: list[float] = []
    oracle: list[float] = []
    with evaluating(model):
        for done, video in enumerate(videos, start=1):
            for position in range(0, len(video.frames), every):
                truths = list(_visible(video, position))
                if not truths:
                    continue
                predictor.set_image(video.frames[position])
                prompts = [ImagePrompt(clicks=(centre_click(truth),)) for truth in truths]
                for truth, answer in zip(truths, predictor.predict_batch(prompts), strict=True):
                    ious = [_iou(mask, truth) for mask in answer.masks]
                    chosen.append(ious[answer.best])
                    oracle.append(max(ious))
            if progress is not None:
                progress(done, len(videos))
    mean = (float(np.mean(chosen)), float(np.mean(oracle))) if chosen else (float("nan"), float("nan"))
    return ImageScore(*mean, objects=len(chosen))


def _visible(video: EvaluationVideo, position: int) -> Iterator[BoolMask]:
    frame = video.frame_numbers[position]
    for object_id, masks in video.truth.items():
        if frame in masks and rles.area(masks[frame]) >= SMALLEST_PX:
            yield video.mask(object_id, position)


def _iou(mask: BoolMask, truth: BoolMask) -> float:
    return float((mask & truth).sum() / max(int((mask | truth).sum()), 1))


def _coloured(video: EvaluationVideo) -> dict[int, dict[int, Rle]]:
    """The baseline's masklets of all objects that can be scored."""
    return {
        object_id: dict(_followed(video, object_id, start)) for object_id, start in video.starts().items()
    }


def _followed(video: EvaluationVideo, object_id: int, start: int) -> Iterator[tuple[int, Rle]]:
    last = video.mask(object_id, start)
    window = _around(last)
    first = _bins(video.frames[start][window])
    commoner = _spectrum(first[last[window]]) > _spectrum(first[~last[window]])
    yield video.frame_numbers[start], rles.encode(last)
    for position in range(start + 1, len(video.frames)):
        found = np.zeros_like(last)
        found[window] = commoner[_bins(video.frames[position][window])]
        found = _piece(found, last)
        if found.any():
            last, window = found, _around(found)
        yield video.frame_numbers[position], rles.encode(found)


def _around(mask: BoolMask) -> Window:
    """The window in which an object is looked for."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    longer = max(int(rows[-1] - rows[0]), int(columns[-1] - columns[0])) + 1
    reach = max(LEAST_REACH_PX, int(REACH * longer))
    return (
        slice(max(int(rows[0]) - reach, 0), int(rows[-1]) + reach + 1),
        slice(max(int(columns[0]) - reach, 0), int(columns[-1]) + reach + 1),
    )


def _bins(picture: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The number of each pixel's colour bin, int [h,w]."""
    levels = picture.astype(np.int64) // (256 // LEVELS)
    return np.asarray((levels[..., 0] * LEVELS + levels[..., 1]) * LEVELS + levels[..., 2], dtype=np.int64)


def _spectrum(bins: NDArray[np.int64]) -> Colours:
    """How common each colour is, a little of it given to its neighbours, float [LEVELS³]."""
    counts = np.bincount(bins.ravel(), minlength=LEVELS**3) / max(bins.size, 1)
    cube: Colours = counts.reshape(LEVELS, LEVELS, LEVELS)
    for axis in range(3):
        padded = np.moveaxis(cube, axis, 0)
        near = padded.copy()
        near[1:] += 0.5 * padded[:-1]
        near[:-1] += 0.5 * padded[1:]
        cube = np.moveaxis(near, 0, axis)
    return np.ascontiguousarray(cube).ravel()


def _piece(found: BoolMask, last: BoolMask) -> BoolMask:
    """The connected piece of `found` that shares most pixels with `last`, else the largest."""
    count, labels = cv2.connectedComponents(found.astype(np.uint8), connectivity=8)
    if count <= 2:
        return found
    shared = np.bincount(labels[last], minlength=count)
    shared[0] = 0
    if not shared.any():
        shared = np.bincount(labels.ravel(), minlength=count)
        shared[0] = 0
    return np.asarray(labels == int(shared.argmax()), dtype=bool)
