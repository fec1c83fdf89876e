"""What the model offers before a person looks: every planned object of a video, in each phase's manner.

Phase 1: SAM answers the selection's point and box on every frame by itself. Phase 2: SAM makes the mask of
the first frame, SAM 2 Mask propagates it. Phase 3: SAM 2 propagates the point and box. The objects of a
video go together, so that each frame is encoded once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from annotation.errors import ActionError
from annotation.work import PhaseRules
from model.image.image_model import Network
from model.image.image_predictor import ImagePredictor, MaskPrediction
from model.network.sam2 import Sam2
from model.prompts import Box, Click
from model.video.frame_result import FrameResult, stability
from model.video.video_session import FrameSource, SessionConfig, VideoSession
from storage.masks import Rle, encode

__all__ = ["ObjectPrompt", "Prelabel", "propose"]


@dataclass(frozen=True, slots=True)
class ObjectPrompt:
    """How an object was selected: a point (x, y) and perhaps a box, in pixels of frame `first_frame`."""

    object_id: int
    first_frame: int
    point: tuple[float, float]
    box: Box | None = None

    @classmethod
    def from_plan(cls, row: Mapping[str, Any]) -> ObjectPrompt:
        """From a row of the `plan` manifest."""
        box = None if row["x0"] is None else Box(row["x0"], row["y0"], row["x1"], row["y1"])
        return cls(row["object_id"], row["first_frame"], (row["x"], row["y"]), box)


@dataclass(frozen=True, slots=True)
class Prelabel:
    """A proposed mask of one object on one source frame.

    object_score: logit that the object is visible; None where the model does not say. predicted_iou and
    stability: 0 to 1.
    """

    object_id: int
    frame: int
    rle: Rle
    object_score: float | None
    predicted_iou: float
    stability: float


def propose(
    model: Sam2,
    frames: FrameSource,
    frame_numbers: Sequence[int],
    prompts: Sequence[ObjectPrompt],
    *,
    rules: PhaseRules,
    config: SessionConfig | None = None,
    sam: Network | None = None,
) -> list[Prelabel]:
    """Masks of all objects on all frames, by object and frame.

    frames: the annotated frames, uint8 [H, W, 3]; frame_numbers: their source frames; sam: the network for
    masks on single frames, `model` itself by default. Raises ActionError when an object was selected on a
    frame that is not annotated.
    """
    positions = {number: position for position, number in enumerate(frame_numbers)}
    for prompt in prompts:
        if prompt.first_frame not in positions:
            raise ActionError(
                f"Object {prompt.object_id} was selected on frame {prompt.first_frame}, "
                "which is not an annotated one."
            )
    config = SessionConfig() if config is None else config
    predictor = ImagePredictor(model if sam is None else sam, precision=config.precision)
    if rules.propagates:
        found = _by_tracking(model, frames, positions, prompts, rules, config, predictor)
    else:
        found = _by_sam(predictor, frames, frame_numbers, prompts)
    return sorted(found, key=lambda prelabel: (prelabel.object_id, prelabel.frame))


def _by_sam(
    predictor: ImagePredictor,
    frames: FrameSource,
    frame_numbers: Sequence[int],
    prompts: Sequence[ObjectPrompt],
) -> Iterator[Prelabel]:
    """Every prompt on every frame, each frame by itself."""
    for position, number in enumerate(frame_numbers if prompts else ()):
        predictor.set_image(frames[position])
        for prompt in prompts:
            answer = _ask_sam(predictor, prompt)
            best = answer.best
            yield Prelabel(
                object_id=prompt.object_id,
                frame=number,
                rle=encode(answer.masks[best]),
                object_score=answer.object_score,
                predicted_iou=float(answer.ious[best].clip(0, 1)),  # SAM 1 may say a little more than 1
                stability=float(stability(torch.from_numpy(answer.low_res_logits[best]))),
            )


def _by_tracking(
    model: Sam2,
    frames: FrameSource,
    positions: Mapping[int, int],
    prompts: Sequence[ObjectPrompt],
    rules: PhaseRules,
    config: SessionConfig,
    predictor: ImagePredictor,
) -> Iterator[Prelabel]:
    """Objects selected on the same frame are tracked together, from there to both ends of the video."""
    masks_only = rules.tracker_prompts == "masks"
    session = VideoSession(model, frames, config=replace(config, mask_prompts_only=masks_only))
    numbers = {position: number for number, position in positions.items()}
    for number in sorted({prompt.first_frame for prompt in prompts}):
        session.reset()
        start = positions[number]
        together = [prompt for prompt in prompts if prompt.first_frame == number]
        _prompt(session, start, together, predictor=predictor if masks_only else None)
        for result in session.propagate(start=start):
            yield from _prelabels(result, numbers[result.frame])
        for result in session.propagate(start=start - 1, reverse=True) if start else ():
            yield from _prelabels(result, numbers[result.frame])


def _prompt(
    session: VideoSession, position: int, prompts: Sequence[ObjectPrompt], *, predictor: ImagePredictor | None
) -> None:
    """Give the session the selections of a frame, or SAM's masks of them."""
    if predictor is None:
        for prompt in prompts:
            session.add_points(position, prompt.object_id, [_click(prompt)], box=prompt.box)
        return
    predictor.set_image(session.frames[position])
    for prompt in prompts:
        answer = _ask_sam(predictor, prompt)
        session.add_mask(position, prompt.object_id, answer.masks[answer.best])


def _ask_sam(predictor: ImagePredictor, prompt: ObjectPrompt) -> MaskPrediction:
    return predictor.predict([_click(prompt)], box=prompt.box, multimask=prompt.box is None)


def _click(prompt: ObjectPrompt) -> Click:
    return Click(*prompt.point)


def _prelabels(result: FrameResult, number: int) -> Iterator[Prelabel]:
    masks = result.masks
    for row, object_id in enumerate(result.object_ids):
        yield Prelabel(
            object_id=object_id,
            frame=number,
            rle=encode(masks[row]),
            object_score=float(result.object_scores[row]),
            predicted_iou=float(result.predicted_ious[row]),
            stability=float(result.stabilities[row]),
        )
