"""Masklets nobody asked for: point grids on the first frame, the survivors tracked through the video.

Coverage and failures are both wanted: what this finds goes to verifiers, not straight into the data set.
The steps are those of the SAM 2 data engine: ask about every point, keep what is confident, stable, whole and
no duplicate, track it, clean it on every frame, and drop masklets that turn out to be the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model.errors import PromptError
from model.image.auto_config import AutoMaskletConfig
from model.image.image_predictor import ImagePredictor
from model.image.overlap import distinct
from model.image.point_grids import Crop, crops, even_grid
from model.image.point_search import ask_points, full_size
from model.mask_tensors import above, boxes_around
from model.network.sam2 import Sam2
from model.postprocess import drop_specks, fill_holes
from model.runtime import Precision
from model.video.video_session import FrameResult, FrameSource, SessionConfig, VideoSession
from storage.masks import Rle, decode, encode, iou_matrix, is_empty

__all__ = ["AutoMasklet", "AutoMaskletConfig", "generate_masklets"]

_REFERENCE_AREA = 1401 * 1037  # pixels of the mean SA-V frame, to which `min_region_px` refers

BoolMask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class AutoMasklet:
    """One mined masklet over all T frames of the source, empty masks where the object is absent."""

    point: tuple[float, float]  # (x, y) on the first frame in pixels
    level: int  # points along the side of the grid that found it
    predicted_iou: float  # of the mask that was found on the first frame
    masks: tuple[Rle, ...]  # T
    predicted_ious: tuple[float, ...]  # T
    stabilities: tuple[float, ...]  # T
    object_scores: tuple[float, ...]  # T


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A mask found on the first frame."""

    point: tuple[float, float]
    level: int
    points_per_side: int
    mask: Rle
    predicted_iou: float
    stability: float


@dataclass(slots=True)
class _Track:
    """What has been tracked of one candidate so far."""

    masks: list[Rle] = field(default_factory=list)
    predicted_ious: list[float] = field(default_factory=list)
    stabilities: list[float] = field(default_factory=list)
    object_scores: list[float] = field(default_factory=list)


def generate_masklets(
    model: Sam2,
    frames: FrameSource,
    config: AutoMaskletConfig | None = None,
    *,
    precision: Precision = "auto",
) -> list[AutoMasklet]:
    """Find objects on the first frame of `frames` and track them to the last; the surest come first.

    `precision` is as in `model.runtime.inference`. Raises PromptError when there is no frame.
    """
    config = AutoMaskletConfig() if config is None else config
    if len(frames) == 0:
        raise PromptError("there is no frame to look for objects on")
    predictor = ImagePredictor(model, precision=precision)
    candidates = _distinct(_candidates(predictor, frames[0], config), config.duplicate_iou)
    candidates = sorted(candidates, key=lambda c: -c.predicted_iou)[: config.max_masklets]
    candidates.sort(key=_preference)
    if not candidates:
        return []
    session_config = SessionConfig(
        object_batch=config.object_batch,
        fill_hole_area=0,
        precision=precision,
        revision_bytes=0,
        conditioned_cache_bytes=0,
    )
    session = VideoSession(model, frames, config=session_config)
    tracks = _track(session, candidates, _min_region(frames.height, frames.width, config))
    kept = _distinct_tracks(tracks, config.masklet_duplicate_iou)
    found = [_masklet(candidates[index], tracks[index]) for index in kept]
    return sorted(found, key=lambda masklet: -masklet.predicted_iou)


def _preference(candidate: _Candidate) -> tuple[float, float]:
    """Zoomed-in crops see more detail, so they come first; then the surer mask."""
    return -candidate.level, -candidate.predicted_iou


# --- the first frame


def _candidates(
    predictor: ImagePredictor, rgb: NDArray[np.uint8], config: AutoMaskletConfig
) -> list[_Candidate]:
    """Ask about every grid point of every crop; duplicates within a crop are already gone."""
    grids = [even_grid(count) for count in config.points_per_side]
    found: list[_Candidate] = []
    height, width = rgb.shape[:2]
    for crop in crops(height, width, grids, overlap=config.crop_overlap):
        predictor.set_image(crop.cut_from(rgb))
        inside = [
            candidate
            for first in range(0, len(crop.points), config.point_batch)
            for candidate in _ask(predictor, crop, slice(first, first + config.point_batch), rgb, config)
        ]
        found += _distinct(inside, config.duplicate_iou)
    return found


def _ask(
    predictor: ImagePredictor, crop: Crop, batch: slice, rgb: NDArray[np.uint8], config: AutoMaskletConfig
) -> Iterator[_Candidate]:
    answers = ask_points(predictor, crop.points[batch], min_iou=config.min_predicted_iou)
    good = answers.visible & (answers.stabilities >= config.min_stability)
    for some, logits in full_size(predictor, answers[np.flatnonzero(good)]):
        for index, mask in enumerate(above(logits, 0.0)):
            whole = _whole_mask(mask, crop, rgb, config)
            if whole is not None:
                x, y = some.points[index].tolist()
                yield _Candidate(
                    point=(x + crop.x0, y + crop.y0),
                    level=crop.level,
                    points_per_side=config.points_per_side[crop.level],
                    mask=encode(whole),
                    predicted_iou=float(some.ious[index]),
                    stability=float(some.stabilities[index]),
                )


def _whole_mask(
    mask: BoolMask, crop: Crop, rgb: NDArray[np.uint8], config: AutoMaskletConfig
) -> BoolMask | None:
    """Return the mask of a crop on the frame, or None when it is empty, cut off or scenery."""
    height, width = rgb.shape[:2]
    mask = _clean(mask, _min_region(height, width, config))
    if not mask.any() or mask.sum() > config.max_frame_share * height * width:
        return None
    box = boxes_around(mask[None]) + np.array([0, 0, 1, 1])  # last row and column exclusive
    margins = config.crop_margin * crop.width, config.crop_margin * crop.height
    if crop.cuts(box, height=height, width=width, margins=margins).any():
        return None
    whole = np.zeros((height, width), dtype=np.bool_)
    whole[crop.y0 : crop.y1, crop.x0 : crop.x1] = mask
    return whole


def _min_region(height: int, width: int, config: AutoMaskletConfig) -> int:
    return round(config.min_region_px * height * width / _REFERENCE_AREA)


def _clean(mask: BoolMask, min_region: int) -> BoolMask:
    return fill_holes(drop_specks(mask, min_region), min_region - 1)


def _distinct(candidates: Sequence[_Candidate], max_iou: float) -> list[_Candidate]:
    """Drop every mask that overlaps a preferred one by more than `max_iou`."""
    ranked = sorted(candidates, key=_preference)
    masks = [candidate.mask for candidate in ranked]
    kept = distinct(len(masks), lambda index: iou_matrix([masks[index]], masks)[0], max_iou)
    return [ranked[index] for index in kept]


# --- the other frames


def _track(session: VideoSession, candidates: Sequence[_Candidate], min_region: int) -> list[_Track]:
    """Track all candidates together, a batch of objects at a time on each frame."""
    for index, candidate in enumerate(candidates):
        session.add_mask(0, index, decode(candidate.mask))
    tracks = [_Track() for _ in candidates]
    for result in session.propagate_in_batches(start=0):
        _extend(tracks, result, min_region)
    for track, candidate in zip(tracks, candidates, strict=True):
        # to the session the first mask was given and therefore certain
        track.predicted_ious[0], track.stabilities[0] = candidate.predicted_iou, candidate.stability
    return tracks


def _extend(tracks: Sequence[_Track], result: FrameResult, min_region: int) -> None:
    for row, (index, mask) in enumerate(zip(result.object_ids, result.each_mask(), strict=True)):
        track = tracks[index]
        track.masks.append(encode(_clean(mask, min_region)))
        track.predicted_ious.append(float(result.predicted_ious[row]))
        track.stabilities.append(float(result.stabilities[row]))
        track.object_scores.append(float(result.object_scores[row]))


def _distinct_tracks(tracks: Sequence[_Track], max_iou: float) -> list[int]:
    """Return the indices of tracks that overlap no preferred track by a mean IoU of more than `max_iou`."""
    overlap = np.zeros((len(tracks), len(tracks)))
    seen = np.zeros_like(overlap)
    for position in range(len(tracks[0].masks)):
        masks = [track.masks[position] for track in tracks]
        visible = np.array([not is_empty(mask) for mask in masks])
        either = visible[:, None] | visible[None, :]  # frames on which both are absent say nothing
        overlap += np.where(either, iou_matrix(masks, masks), 0.0)
        seen += either
    mean = overlap / np.maximum(seen, 1)
    return distinct(len(tracks), lambda index: mean[index], max_iou)


def _masklet(candidate: _Candidate, track: _Track) -> AutoMasklet:
    return AutoMasklet(
        point=candidate.point,
        level=candidate.points_per_side,
        predicted_iou=candidate.predicted_iou,
        masks=tuple(track.masks),
        predicted_ious=tuple(track.predicted_ious),
        stabilities=tuple(track.stabilities),
        object_scores=tuple(track.object_scores),
    )
