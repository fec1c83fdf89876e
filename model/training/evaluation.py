"""How well a model follows objects through held-out clips, compared with copying the first mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from model.errors import TrainingError
from model.losses import StepPrediction, actual_iou
from model.network.layers import resize
from model.network.sam2 import Sam2
from model.training.batch import Batch
from model.training.clips import ClipSource
from model.training.prompt_simulation import PromptKind, PromptPlan, PromptRecipe, simulate

PROTOCOLS = ("copy", "mask", "box", "1-click", "3-click")


@dataclass(frozen=True, slots=True)
class ClipScore:
    """Mean J in percent over objects: on the prompted first frame and on the frames after it."""

    protocol: str
    first: float
    later: float
    objects: int


def evaluate_clips(
    model: Sam2,
    source: ClipSource,
    *,
    clips: int = 16,
    protocol: str = "mask",
    frames: int = 8,
    objects: int = 3,
    multimask: bool = True,
    seed: int = 1_000_003,
) -> ClipScore:
    """Prompts each clip on its first frame only and scores every frame; the same clips for every protocol.

    `protocol` is one of `PROTOCOLS`: "copy" repeats the true first mask and asks no model; clicks are at
    the centre of the largest error. Set `multimask` false for a model that has not learnt candidates yet.
    Frames where the object is absent from truth and prediction count as 100.
    """
    if protocol not in PROTOCOLS:
        raise TrainingError(f"Protocol {protocol!r} is unknown; use one of {', '.join(PROTOCOLS)}.")
    scores = []
    for index in range(clips):
        rng = np.random.default_rng([seed, index])
        number = int(rng.integers(len(source)))
        clip = source.clip(number, rng, frames=frames, objects=objects, size=model.image_size)
        scores.append(_score(model, Batch.from_clips([clip]), protocol, multimask, rng))
    table = torch.cat(scores, dim=1)  # T N
    return ClipScore(protocol, 100 * float(table[0].mean()), 100 * float(table[1:].mean()), table.shape[1])


@torch.no_grad()
def _score(model: Sam2, batch: Batch, protocol: str, multimask: bool, rng: np.random.Generator) -> Tensor:
    """J of every frame and object, float [T,N]."""
    if protocol == "copy":
        guesses: Sequence[Tensor] = [batch.masks[0]] * batch.frames
    else:
        plan, recipe = _protocol(protocol, multimask)
        training = model.training
        model.eval()
        answers = simulate(model, batch, plan, recipe, rng)
        model.train(training)
        guesses = [_best(answers[frame][-1], model.image_size) for frame in range(batch.frames)]
    return torch.stack([_jaccard(guess, truth) for guess, truth in zip(guesses, batch.masks, strict=True)])


def _protocol(name: str, multimask: bool) -> tuple[PromptPlan, PromptRecipe]:
    clicks = 2 if name == "3-click" else 0
    kind: PromptKind = "mask" if name == "mask" else "box" if name == "box" else "click"
    recipe = PromptRecipe(correction_clicks=clicks, centre=True, multimask=multimask)
    return PromptPlan((kind,), (0,), (0,) if clicks else ()), recipe


def _best(answer: StepPrediction, size: int) -> Tensor:
    rows = torch.arange(len(answer.logits))
    best = answer.logits[rows, answer.ious.argmax(dim=1)][:, None]
    return resize(best, size)[:, 0] > 0  # N H W


def _jaccard(guess: Tensor, truth: Tensor) -> Tensor:
    empty = ~(guess.flatten(1).any(dim=1) | truth.flatten(1).any(dim=1))
    score = actual_iou(guess.unsqueeze(1).float() - 0.5, truth.unsqueeze(1).float()).squeeze(1)
    return torch.where(empty, torch.ones_like(score), score)
