"""Simulated prompting while training, as SAM 2 does it: which frames are prompted, how, and in which order.

A `PromptPlan` is drawn once for a whole batch. Prompted frames are processed first, the others after them
in time order, so that later prompts can inform earlier frames. A corrected frame is answered again after
each corrective click, and every answer is supervised.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.clicks import centre_clicks, error_clicks, noisy_boxes
from model.losses import StepPrediction
from model.network.memory_bank import FrameMemory, MemoryBank, assemble, plan_memory
from model.network.sam2 import HeadsOutput, ImageFeatures, Points, Sam2, uses_multimask
from model.training.batch import Batch

PromptKind = Literal["mask", "box", "click"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptRecipe:
    """Probabilities and limits of prompt simulation; defaults are those of SAM 2's training."""

    point_probability: float = 0.5  # clicks or boxes rather than masks
    box_probability: float = 0.5  # boxes rather than clicks, given points
    truth_click_probability: float = (
        0.1  # a corrective click drawn from the object rather than from the error
    )
    initial_frames: int = 2  # most frames prompted at the start
    corrected_frames: int = 2  # most frames that get corrective clicks
    correction_clicks: int = 7
    multimask: bool = True
    centre: bool = False  # centre-of-error clicks (evaluation) instead of uniform ones

    @classmethod
    def masks_only(cls, *, multimask: bool = True) -> PromptRecipe:
        """SAM 2 Mask: every prompt is a mask, nothing is corrected."""
        return cls(point_probability=0.0, corrected_frames=1, correction_clicks=0, multimask=multimask)


@dataclass(frozen=True, slots=True)
class PromptPlan:
    """What is prompted in a batch: the kind, the frames prompted at the start (0 first) and those corrected."""

    kind: PromptKind
    initial: tuple[int, ...]
    corrected: tuple[int, ...]

    def order(self, frames: int) -> list[int]:
        """Frames in the order of processing."""
        return [*self.initial, *(frame for frame in range(frames) if frame not in self.initial)]


def draw_plan(frames: int, recipe: PromptRecipe, rng: np.random.Generator) -> PromptPlan:
    """Draws the prompts of a batch of clips of `frames` frames; single frames always get points."""
    still = frames == 1 and recipe.point_probability > 0
    points = still or rng.random() < recipe.point_probability
    # mask prompts teach nothing on their own frame, so one frame is left to track
    most = max(1, min(recipe.initial_frames, frames if points else frames - 1))
    count = 1 if still else int(rng.integers(1, most + 1))
    initial = (0, *_others(range(1, frames), count - 1, rng))
    if not points:
        return PromptPlan("mask", initial, ())
    kind: PromptKind = "box" if rng.random() < recipe.box_probability else "click"
    corrected = int(rng.integers(count, max(count, min(recipe.corrected_frames, frames)) + 1))
    rest = [frame for frame in range(frames) if frame not in initial]
    return PromptPlan(kind, initial, (*initial, *_others(rest, corrected - count, rng)))


def simulate(
    model: Sam2, batch: Batch, plan: PromptPlan, recipe: PromptRecipe, rng: np.random.Generator
) -> dict[int, list[StepPrediction]]:
    """Runs the model over a batch as prompted by `plan`: frame → its answers, at the model's image size.

    The images of `batch` may have any size, its masks must have the model's.
    """
    return _Simulation(model, batch, plan, recipe, rng).run()


def _others(candidates: range | list[int], count: int, rng: np.random.Generator) -> tuple[int, ...]:
    chosen = rng.permutation(np.array(candidates, dtype=np.int64))[:count]
    return tuple(sorted(int(frame) for frame in chosen))


@dataclass(slots=True)
class _Simulation:
    """State of one pass: encoded frames and the memory built so far."""

    model: Sam2
    batch: Batch
    plan: PromptPlan
    recipe: PromptRecipe
    rng: np.random.Generator
    conditioning: dict[int, FrameMemory] = field(default_factory=dict)
    recent: dict[int, FrameMemory] = field(default_factory=dict)

    def run(self) -> dict[int, list[StepPrediction]]:
        encoded = self._encode()
        order = self.plan.order(self.batch.frames)
        predictions: dict[int, list[StepPrediction]] = {}
        for frame in order:
            features = encoded.select(frame * self._clips + self.batch.clip_of_object)
            answers = self._answer(frame, features)
            predictions[frame] = [_prediction(heads) for heads in answers]
            if frame != order[-1]:
                self._remember(frame, features, answers[-1])
        return predictions

    @property
    def _clips(self) -> int:
        return self.batch.images.shape[1]

    def _encode(self) -> ImageFeatures:
        """All frames of all clips in one pass: batch T·B, frame-major."""
        return self.model.encode_images(self.model.preprocess(self.batch.images.flatten(0, 1)))

    def _answer(self, frame: int, features: ImageFeatures) -> list[HeadsOutput]:
        prompted = frame in self.plan.initial
        if prompted and self.plan.kind == "mask":
            mask = self.batch.masks[frame].unsqueeze(1).float()  # N 1 H W
            return [self.model.mask_as_output(features, mask)]
        conditioned = self._condition(frame, features, prompted=prompted)
        points = self._first_points(frame) if prompted else None
        answers = [self._heads(conditioned, features, points, None)]
        for _ in range(self.recipe.correction_clicks if frame in self.plan.corrected else 0):
            points = self._with_correction(frame, points, answers[-1])
            answers.append(self._heads(conditioned, features, points, answers[-1].low_res))
        return answers

    def _condition(self, frame: int, features: ImageFeatures, *, prompted: bool) -> Tensor:
        if prompted:
            return self.model.condition(features, None)
        plan = plan_memory(
            self.conditioning,
            self.recent,
            frame=frame,
            frame_count=self.batch.frames,
            config=self.model.config.memory,
            future_pointers=True,
        )
        return self.model.condition(
            features, assemble(self.model, plan, MemoryBank(self.conditioning, self.recent))
        )

    def _heads(
        self, conditioned: Tensor, features: ImageFeatures, points: Points | None, previous: Tensor | None
    ) -> HeadsOutput:
        return self.model.sam_heads(
            conditioned,
            features.high_res,
            points=points,
            mask_logits=previous,
            multimask=self.recipe.multimask and uses_multimask(points),
        )

    def _first_points(self, frame: int) -> Points:
        truth = self.batch.masks[frame].numpy()
        if self.plan.kind == "box":
            return _as_points(*noisy_boxes(truth, self.rng))
        return _as_points(*self._clicks(truth, None))

    def _with_correction(self, frame: int, points: Points | None, last: HeadsOutput) -> Points:
        truth = self.batch.masks[frame].numpy()
        wrong = (last.high_res[:, 0] > 0).numpy()
        from_truth = self.rng.random() < self.recipe.truth_click_probability and not self.recipe.centre
        new = _as_points(*self._clicks(truth, None if from_truth else wrong))
        if points is None:
            return new
        return torch.cat([points[0], new[0]], dim=1), torch.cat([points[1], new[1]], dim=1)

    def _clicks(
        self, truth: npt.NDArray[np.bool_], prediction: npt.NDArray[np.bool_] | None
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
        if self.recipe.centre:
            return centre_clicks(truth, prediction)
        return error_clicks(truth, prediction, self.rng)

    def _remember(self, frame: int, features: ImageFeatures, heads: HeadsOutput) -> None:
        maskmem, _ = self.model.encode_memory(features, heads.high_res, heads.object_score, binarize=False)
        prompted = frame in self.plan.initial or frame in self.plan.corrected
        (self.conditioning if prompted else self.recent)[frame] = FrameMemory(maskmem, heads.pointer)


def _prediction(heads: HeadsOutput) -> StepPrediction:
    return StepPrediction(heads.high_res_multimasks, heads.ious, heads.object_score)


def _as_points(coordinates: npt.NDArray[np.float32], labels: npt.NDArray[np.int32]) -> Points:
    return torch.from_numpy(coordinates), torch.from_numpy(labels)
