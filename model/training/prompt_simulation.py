"""Simulated prompting while training, as SAM 2 does it: which frames are prompted, how, and in which order.

A `PromptPlan` is drawn once for a whole batch. Prompted frames are processed first, the others after them
in time order, so that later prompts can inform earlier frames. A corrected frame is answered again after
each corrective click, and every answer is supervised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from model.clicks import centre_clicks, error_clicks, noisy_boxes
from model.errors import TrainingError
from model.losses import StepPrediction
from model.network.memory_bank import FrameMemory, MemoryBank, assemble, plan_memory
from model.network.sam2 import HeadsOutput, ImageFeatures, Points, Sam2, uses_multimask
from model.training.batch import Batch

PromptKind = Literal["mask", "box", "click"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptRecipe:
    """Probabilities and limits of prompt simulation; defaults are those of SAM 2's training.

    Raises `TrainingError` for a probability outside 0…1, or too few frames or clicks.
    """

    point_probability: float = 0.5  # clicks or boxes rather than masks
    box_probability: float = 0.5  # a box rather than a click, given points; drawn for each prompted frame
    truth_click_probability: float = 0.1  # a corrective click from the object rather than from the error
    initial_frames: int = 2  # most frames prompted at the start
    random_initial_frames: bool = True  # 1 to that many; false: always that many
    corrected_frames: int = 2  # most frames that get corrective clicks
    random_corrected_frames: bool = True  # at least the prompted ones to that many; false: always that many
    correction_clicks: int = 7
    corrected_as_conditioning: bool = True  # later frames remember a corrected frame like a prompted one
    box_noise: float = 0.1  # most a box's coordinate moves, as a share of its side
    box_noise_px: float = 20.0  # and in pixels
    multimask: bool = True  # three candidates where the prompt is ambiguous
    centre: bool = False  # centre-of-error clicks (evaluation) instead of uniform ones
    checkpoint_activations: bool = False  # compute encoder and heads again in the backward pass: less memory

    def __post_init__(self) -> None:
        for name in ("point_probability", "box_probability", "truth_click_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise TrainingError(f"{name} is a probability from 0 to 1, got {getattr(self, name)}.")
        for name in ("initial_frames", "corrected_frames"):
            if getattr(self, name) < 1:
                raise TrainingError(f"{name} must be at least 1, got {getattr(self, name)}.")
        for name in ("correction_clicks", "box_noise", "box_noise_px"):
            if getattr(self, name) < 0:
                raise TrainingError(f"{name} must not be negative, got {getattr(self, name)}.")

    @classmethod
    def masks_only(cls, *, multimask: bool = True, checkpoint_activations: bool = False) -> PromptRecipe:
        """SAM 2 Mask: every prompt is a mask, nothing is corrected."""
        return cls(
            point_probability=0.0,
            corrected_frames=1,
            correction_clicks=0,
            multimask=multimask,
            checkpoint_activations=checkpoint_activations,
        )


@dataclass(frozen=True, slots=True)
class PromptPlan:
    """What is prompted in a batch; it holds for all its clips.

    `kinds` are the prompts of the `initial` frames (0 first), `corrected` the frames that get corrective
    clicks, `from_truth` says for each of those which clicks come from the object rather than from the error
    (a missing one comes from the error).
    """

    kinds: tuple[PromptKind, ...]
    initial: tuple[int, ...]
    corrected: tuple[int, ...] = ()
    from_truth: tuple[tuple[bool, ...], ...] = ()

    def order(self, frames: int) -> list[int]:
        """Frames in the order of processing."""
        return [*self.initial, *(frame for frame in range(frames) if frame not in self.initial)]

    def kind(self, frame: int) -> PromptKind | None:
        """How a frame is prompted at the start, if it is."""
        return self.kinds[self.initial.index(frame)] if frame in self.initial else None

    def clicks_from_truth(self, frame: int, count: int) -> tuple[bool, ...]:
        """For each of the `count` corrective clicks of a corrected frame: does it come from the object?"""
        row = self.corrected.index(frame)
        drawn = self.from_truth[row] if row < len(self.from_truth) else ()
        return (*drawn, *(False,) * (count - len(drawn)))[:count]


def draw_plan(frames: int, recipe: PromptRecipe, rng: np.random.Generator) -> PromptPlan:
    """Draws the prompts of a batch of clips of `frames` frames; single frames always get points."""
    still = frames == 1 and recipe.point_probability > 0
    points = still or rng.random() < recipe.point_probability
    # mask prompts teach nothing on their own frame, so one frame is left to track
    most = max(1, min(recipe.initial_frames, frames if points else frames - 1))
    count = int(rng.integers(1, most + 1)) if recipe.random_initial_frames else most
    initial = (0, *_others(range(1, frames), count - 1, rng))
    if not points:
        return PromptPlan(tuple[PromptKind, ...]("mask" for _ in initial), initial)
    kinds = tuple[PromptKind, ...](
        "box" if rng.random() < recipe.box_probability else "click" for _ in initial
    )
    most = max(count, min(recipe.corrected_frames, frames))
    total = int(rng.integers(count, most + 1)) if recipe.random_corrected_frames else most
    rest = [frame for frame in range(frames) if frame not in initial]
    corrected = (*initial, *_others(rest, total - count, rng))
    return PromptPlan(kinds, initial, corrected, _draw_sources(total, recipe, rng))


def simulate(
    model: Sam2,
    batch: Batch,
    plan: PromptPlan,
    recipe: PromptRecipe,
    rng: np.random.Generator | None = None,
) -> dict[int, list[StepPrediction]]:
    """Runs the model over a batch as prompted by `plan`: frame → its answers.

    Single masks have the model's image size, candidates a quarter of it. The images of `batch` may have any
    size, its masks must have the model's. Clicks are drawn with one generator for each clip, made of
    `batch.seeds`; a batch without seeds uses `rng` for all of them. Raises `TrainingError` when there is
    neither.
    """
    return _Simulation(model, batch, plan, recipe, _generators(batch, rng)).run()


def _others(candidates: range | list[int], count: int, rng: np.random.Generator) -> tuple[int, ...]:
    chosen = rng.permutation(np.array(candidates, dtype=np.int64))[:count]
    return tuple(sorted(int(frame) for frame in chosen))


def _draw_sources(
    corrected: int, recipe: PromptRecipe, rng: np.random.Generator
) -> tuple[tuple[bool, ...], ...]:
    chances = rng.random((corrected, recipe.correction_clicks)) < recipe.truth_click_probability
    return tuple(tuple(bool(chance) for chance in row) for row in chances)


def _generators(batch: Batch, rng: np.random.Generator | None) -> list[np.random.Generator]:
    """One generator for each object, shared by the objects of a clip."""
    if batch.seeds:
        if len(batch.seeds) != batch.images.shape[1]:
            raise TrainingError(f"A batch of {batch.images.shape[1]} clips has {len(batch.seeds)} seeds.")
        clips = [np.random.default_rng(seed) for seed in batch.seeds]
    elif rng is not None:
        clips = [rng] * batch.images.shape[1]
    else:
        raise TrainingError("Clicks cannot be drawn: the batch has no seeds, and no generator was given.")
    return [clips[clip] for clip in batch.clip_of_object.tolist()]


@dataclass(slots=True)
class _Simulation:
    """State of one pass: encoded frames and the memory built so far."""

    model: Sam2
    batch: Batch
    plan: PromptPlan
    recipe: PromptRecipe
    generators: Sequence[np.random.Generator]  # one an object
    conditioning: dict[int, FrameMemory] = field(default_factory=dict)
    recent: dict[int, FrameMemory] = field(default_factory=dict)

    def run(self) -> dict[int, list[StepPrediction]]:
        encoded = _by_frame(self._encode(), self.batch.frames)
        order = self.plan.order(self.batch.frames)
        predictions: dict[int, list[StepPrediction]] = {}
        for frame in order:
            features = encoded[frame].select(self._owners)
            answers = self._answer(frame, encoded[frame], features)
            predictions[frame] = [_prediction(heads) for heads in answers]
            if frame != order[-1]:
                self._remember(frame, features, answers[-1])
        return predictions

    @property
    def _owners(self) -> Tensor:
        return self.batch.clip_of_object

    @property
    def _clips(self) -> int:
        return self.batch.images.shape[1]

    def _encode(self) -> ImageFeatures:
        """All frames of all clips: batch T·B, frame-major; in one pass unless activations are to be saved."""
        images = self.model.preprocess(self.batch.images.flatten(0, 1))
        if not self._saves_memory:
            return self.model.encode_images(images)
        parts = [self._encode_again(part) for part in torch.split(images, self._clips)]
        embeddings, fine, middle = (torch.cat(maps) for maps in zip(*parts, strict=True))
        return ImageFeatures(embeddings, self._position(embeddings), (fine, middle))

    def _encode_again(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One frame of all clips; the backward pass holds the activations of one such part at a time."""

        def encode(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            features = self.model.encode_images(images)
            return features.embedding, *features.high_res

        maps: tuple[Tensor, Tensor, Tensor] = checkpoint(encode, images, use_reentrant=False)
        return maps

    def _position(self, embedding: Tensor) -> Tensor:
        return self.model.sine_map(self.model.dim, *embedding.shape[-2:]).to(embedding.dtype)

    @property
    def _saves_memory(self) -> bool:
        return self.recipe.checkpoint_activations and torch.is_grad_enabled()

    def _answer(self, frame: int, images: ImageFeatures, features: ImageFeatures) -> list[HeadsOutput]:
        """Answers of a frame, given the features of its B images and those of the N objects' images."""
        kind = self.plan.kind(frame)
        if kind == "mask":
            mask = self.batch.masks[frame].unsqueeze(1).float()  # N 1 H W
            return [self.model.mask_as_output(features, mask)]
        conditioned = self._condition(frame, images, features, prompted=kind is not None)
        points = None if kind is None else self._first_points(frame, kind)
        answers = [self._heads(conditioned, features, points, None)]
        if frame in self.plan.corrected:
            for from_truth in self.plan.clicks_from_truth(frame, self.recipe.correction_clicks):
                points = self._with_correction(frame, points, None if from_truth else answers[-1])
                answers.append(self._heads(conditioned, features, points, answers[-1].low_res))
        return answers

    def _condition(
        self, frame: int, images: ImageFeatures, features: ImageFeatures, *, prompted: bool
    ) -> Tensor:
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
        memory = assemble(self.model, plan, MemoryBank(self.conditioning, self.recent))
        return self.model.condition(images, memory, self._owners)

    def _heads(
        self, conditioned: Tensor, features: ImageFeatures, points: Points | None, previous: Tensor | None
    ) -> HeadsOutput:
        def answer(conditioned: Tensor, high_res: tuple[Tensor, Tensor]) -> HeadsOutput:
            return self.model.sam_heads(
                conditioned,
                high_res,
                points=points,
                mask_logits=previous,
                multimask=self.recipe.multimask and uses_multimask(points),
            )

        if not self._saves_memory:
            return answer(conditioned, features.high_res)
        heads: HeadsOutput = checkpoint(answer, conditioned, features.high_res, use_reentrant=False)
        return heads

    def _first_points(self, frame: int, kind: PromptKind) -> Points:
        truth = self._truth(frame)
        if kind == "box":
            noise = {"noise": self.recipe.box_noise, "max_noise_px": self.recipe.box_noise_px}
            return self._as_points(*noisy_boxes(truth, self.generators, **noise))
        return self._as_points(*self._clicks(truth, None))

    def _with_correction(self, frame: int, points: Points | None, last: HeadsOutput | None) -> Points:
        """One click more: from the error of the last answer, or from the object where there is none."""
        wrong = None if last is None else (last.high_res[:, 0] > 0).cpu().numpy()
        new = self._as_points(*self._clicks(self._truth(frame), wrong))
        if points is None:
            return new
        return torch.cat([points[0], new[0]], dim=1), torch.cat([points[1], new[1]], dim=1)

    def _truth(self, frame: int) -> npt.NDArray[np.bool_]:
        truth: npt.NDArray[np.bool_] = self.batch.masks[frame].cpu().numpy()
        return truth

    def _clicks(
        self, truth: npt.NDArray[np.bool_], prediction: npt.NDArray[np.bool_] | None
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
        if self.recipe.centre:
            return centre_clicks(truth, prediction)
        return error_clicks(truth, prediction, self.generators)

    def _as_points(self, coordinates: npt.NDArray[np.float32], labels: npt.NDArray[np.int32]) -> Points:
        device = self.model.device
        return torch.from_numpy(coordinates).to(device), torch.from_numpy(labels).to(device)

    def _remember(self, frame: int, features: ImageFeatures, heads: HeadsOutput) -> None:
        maskmem, _ = self.model.encode_memory(features, heads.high_res, heads.object_score, binarize=False)
        conditioning = frame in self.plan.initial or (
            self.recipe.corrected_as_conditioning and frame in self.plan.corrected
        )
        (self.conditioning if conditioning else self.recent)[frame] = FrameMemory(maskmem, heads.pointer)


def _by_frame(encoded: ImageFeatures, frames: int) -> list[ImageFeatures]:
    """Cut features of T·B pictures into T of B: their gradients then meet in one piece instead of T sums."""
    embedding, fine, middle = (
        torch.unflatten(maps, 0, (frames, -1)).unbind() for maps in (encoded.embedding, *encoded.high_res)
    )
    return [
        ImageFeatures(embedding[frame], encoded.embedding_pos, (fine[frame], middle[frame]))
        for frame in range(frames)
    ]


def _prediction(heads: HeadsOutput) -> StepPrediction:
    """Several candidates stay small, as the network drew them; a single one is already there in full size."""
    candidates = heads.low_res_multimasks
    logits = heads.high_res if candidates.shape[1] == 1 else candidates
    return StepPrediction(logits, heads.ious, heads.object_score)
