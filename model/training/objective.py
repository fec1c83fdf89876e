"""What a run optimises: how the data of a step is drawn and what its loss is.

The loop (`trainer.fit`) knows objectives only; `SegmentObjective` is SAM 2's: simulated prompts on clips.

Everything that a step draws is a function of (seed, step, number of the clip in the step), never of a process or of
the past. A run that was cut off, several processes, and a step worked on in parts therefore see the same clips and
the same clicks as one undisturbed process.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from model.losses import LossTerms, StepPrediction, frame_losses
from model.network.sam2 import Sam2
from model.training.batch import Batch
from model.training.clips import ClipSource
from model.training.mixture import Mixture, Source
from model.training.prompt_simulation import draw_plan, simulate
from model.training.train_config import TrainConfig

__all__ = [
    "WHOLE",
    "ClipSteps",
    "Losses",
    "Objective",
    "SegmentObjective",
    "Share",
    "StepSource",
    "step_rng",
]

B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class Share:
    """Share `index` of `count`: the clips index, index + count, index + 2 count… of a step.

    A step is shared among processes and, in each, among the parts of gradient accumulation.
    """

    index: int = 0
    count: int = 1


WHOLE = Share()
"""All clips of a step."""


@dataclass(frozen=True, slots=True)
class Losses:
    """`total` is what gradients are taken of, a scalar; `parts` are the scalars that are recorded, by column."""

    total: Tensor
    parts: Mapping[str, Tensor]


class Objective(Protocol[B]):
    """What the loop optimises."""

    @property
    def network(self) -> nn.Module:
        """The network whose trainable parameters are optimised."""
        ...

    def draw(self, step: int, share: Share = WHOLE) -> B:
        """The share's part of the batch of a step (from 0), on the CPU. Equal arguments give equal batches."""
        ...

    def losses(self, batch: B, step: int) -> Losses:
        """Losses of a batch, as means over what it holds; moves the batch to the network's device."""
        ...

    def weight(self, batch: B) -> float:
        """How much the means of `losses` are over (objects, images): shares of a step are averaged by it."""
        ...

    def describe(self, batch: B) -> str:
        """The names of the batch's clips, for error messages."""
        ...


@runtime_checkable
class StepSource(Protocol):
    """Where the batches of steps come from; `Mixture` is one."""

    def draw(self, step: int, *, rank: int = 0, world: int = 1) -> Batch:
        """The clips rank, rank + world… of a step."""
        ...


def step_rng(seed: int, step: int) -> np.random.Generator:
    """The generator of what all clips of a step share: its kind and its plan of prompts."""
    return np.random.default_rng([seed, step])


class ClipSteps:
    """Steps drawn from one source of clips, with single frames and a replayed source mixed in, by `TrainConfig`."""

    def __init__(
        self, source: ClipSource, config: TrainConfig, *, size: int, replay: ClipSource | None = None
    ) -> None:
        """`size` in pixels of the clips."""
        self._config = config
        self._clips = _mixtures("the training data", source, config, size)
        self._replay = None if replay is None else _mixtures("the replayed data", replay, config, size)

    def mode(self, step: int) -> str:
        """ "masks" or "all": replayed steps have prompts of every kind."""
        return "all" if self._kind(step)[0] else self._config.mode

    def draw(self, step: int, *, rank: int = 0, world: int = 1) -> Batch:
        """The clips rank, rank + world… of a step. Steps of single frames have as many frames as the others."""
        replayed, still = self._kind(step)
        clips = self._replay if replayed and self._replay is not None else self._clips
        return clips[still].draw(step, rank=rank, world=world)

    def _kind(self, step: int) -> tuple[bool, bool]:
        """Whether the step is replayed, and whether it is of single frames."""
        config = self._config
        replay, still = np.random.default_rng([config.seed, step, 2**32 - 1]).random(2)
        replayed = self._replay is not None and bool(replay < config.replay_share)
        promptable = replayed or config.mode == "all"
        return replayed, promptable and bool(still < config.still_share)


def _mixtures(name: str, clips: ClipSource, config: TrainConfig, size: int) -> tuple[Mixture, Mixture]:
    """Steps of clips, and steps of single frames."""
    moving = Source(name, clips)
    still = Source(name, clips, frames=1, clips_per_step=config.clips_per_step * config.frames)
    one, other = (
        Mixture(
            [source],
            frames=config.frames,
            objects=config.objects,
            clips_per_step=config.clips_per_step,
            size=size,
            seed=config.seed,
        )
        for source in (moving, still)
    )
    return one, other


class SegmentObjective:
    """SAM 2's objective: prompts simulated on clips, every answer supervised (SAM 2 paper, appendix C.2)."""

    def __init__(self, model: Sam2, source: StepSource, config: TrainConfig) -> None:
        self._model = model
        self._source = source
        self._config = config

    @property
    def network(self) -> Sam2:
        """The network that is trained."""
        return self._model

    def draw(self, step: int, share: Share = WHOLE) -> Batch:
        """The share's clips of a step, on the CPU."""
        return self._source.draw(step, rank=share.index, world=share.count)

    def losses(self, batch: Batch, step: int) -> Losses:
        """Means over objects of the four terms, summed over frames and answers, and their weighted total."""
        recipe = self._config.recipe(self._mode(step))
        rng = step_rng(self._config.seed, step)
        plan = draw_plan(batch.frames, recipe, rng)
        device = next(self._model.parameters()).device
        batch = batch.to(device)
        predictions = simulate(self._model, batch, plan, recipe, rng)
        with _full_precision(device):
            terms = [
                frame_losses([_single(step) for step in steps], batch.masks[frame].unsqueeze(1))
                for frame, steps in sorted(predictions.items())
            ]
            return _summed(terms)

    def weight(self, batch: Batch) -> float:
        """The number of objects."""
        return float(batch.objects)

    def describe(self, batch: Batch) -> str:
        """The names of the clips."""
        return ", ".join(batch.names)

    def __getstate__(self) -> dict[str, object]:
        """Without the network, which worker processes that draw batches do not need."""
        return {"_model": None, "_source": self._source, "_config": self._config}

    def _mode(self, step: int) -> str:
        return self._source.mode(step) if isinstance(self._source, ClipSteps) else self._config.mode


def _full_precision(device: torch.device) -> AbstractContextManager[Any]:
    """Losses are sums over many pixels, for which bfloat16 is too coarse, whatever the network computes in."""
    return nullcontext() if device.type == "mps" else torch.autocast(device.type, enabled=False)


def _single(step: StepPrediction) -> StepPrediction:
    return StepPrediction(step.logits.float(), step.ious.float(), step.object_score.float())


def _summed(terms: list[LossTerms]) -> Losses:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    parts = {
        "loss_mask": total.mask,
        "loss_dice": total.dice,
        "loss_iou": total.iou,
        "loss_class": total.presence,
    }
    return Losses(total.total(), parts)
