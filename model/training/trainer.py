"""The training loop: AdamW over simulated prompts, deterministic for a seed and resumable after a kill.

Every step's data and prompts are drawn from a generator made of the seed and the step's number, so a run
that was killed goes on from its last saved state and ends with the same weights, bit for bit.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from model.errors import TrainingError
from model.files.checkpoints import load_checkpoint, save_checkpoint
from model.network.sam2 import Sam2
from model.training.clips import ClipSource
from model.training.objective import ClipSteps, Losses, Objective, SegmentObjective, StepSource
from model.training.optimiser import Optimiser
from model.training.recipe import TrainConfig as TrainConfig

STATE_FILE = "state.pt"
CHECKPOINT_FILE = "checkpoint.safetensors"

B = TypeVar("B")
Row = dict[str, int | float | str]
Progress = Callable[[Row], None]


@dataclass(frozen=True, slots=True)
class TrainResult:
    """The checkpoint written, and one row a step for the `training` manifest."""

    checkpoint: Path
    rows: list[Row]


def train(
    model: Sam2,
    source: ClipSource | StepSource,
    config: TrainConfig,
    *,
    out_dir: Path,
    replay: ClipSource | None = None,
    resume: bool = True,
    metadata: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> TrainResult:
    """Trains `model` in place and writes `out_dir/checkpoint.safetensors`.

    `source` gives clips, which are drawn by `config` (with `replay` mixed in), or whole steps, as a `Mixture` does.
    See `fit` for the rest.
    """
    if not isinstance(source, StepSource):
        source = ClipSteps(source, config, size=model.image_size, replay=replay)
    return fit(
        SegmentObjective(model, source, config),
        config,
        out_dir=out_dir,
        save=lambda path: save_checkpoint(model, path, dict(metadata or {})),
        resume=resume,
        progress=progress,
    )


def fit(
    objective: Objective[B],
    config: TrainConfig,
    *,
    out_dir: Path,
    save: Callable[[Path], None],
    resume: bool = True,
    progress: Progress | None = None,
) -> TrainResult:
    """Optimises the objective's network in place; `save` writes its weights to the path given, at the end.

    With `resume`, a state saved in `out_dir` by a run of the same configuration is continued. Raises
    `TrainingError` when the loss stops being a number (naming the clips) or the state belongs to another
    configuration.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    run = _Run(objective, config)
    state_path = out_dir / STATE_FILE
    if resume and state_path.exists():
        run.restore(state_path)
    objective.network.train()
    while run.step < config.steps:
        row = run.advance()
        if progress is not None:
            progress(row)
        if run.step % config.save_every == 0 and run.step < config.steps:
            run.save(state_path)
    objective.network.eval()
    checkpoint = out_dir / CHECKPOINT_FILE
    save(checkpoint)
    run.save(state_path)
    return TrainResult(checkpoint, run.rows)


def finetune(
    checkpoint: Path,
    source: ClipSource,
    config: TrainConfig,
    *,
    out_dir: Path,
    replay: ClipSource | None = None,
    image_size: int | None = None,
    resume: bool = True,
    metadata: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> TrainResult:
    """Trains the model stored in `checkpoint` on `source`; see `train`.

    `image_size` in pixels trains at another size than the one the model runs at; smaller is faster. The
    checkpoint written keeps the size of the one read.
    """
    model = load_checkpoint(checkpoint, image_size=image_size)
    result = train(
        model,
        source,
        config,
        out_dir=out_dir,
        replay=replay,
        resume=resume,
        metadata=metadata,
        progress=progress,
    )
    if image_size is not None:
        original = load_checkpoint(checkpoint)
        original.load_state_dict(model.state_dict())
        save_checkpoint(original, result.checkpoint, dict(metadata or {}))
    return result


class _Run(Generic[B]):
    """Network, optimiser, step counter and rows of a run: everything that a saved state holds."""

    def __init__(self, objective: Objective[B], config: TrainConfig) -> None:
        self.objective = objective
        self.config = config
        self.step = 0
        self.rows: list[Row] = []
        self.optimiser = Optimiser(objective.network, config.optimiser(), steps=config.steps)

    def advance(self) -> Row:
        """One optimiser step; returns its row."""
        batch = self.objective.draw(self.step)
        rate = self.optimiser.set_rates(self.step)
        with torch.random.fork_rng(devices=[]):
            # dropout and drop path follow the step, not the process
            torch.manual_seed(int(np.random.default_rng([self.config.seed, self.step]).integers(2**62)))
            losses = self.objective.losses(batch, self.step)
        loss = float(losses.total.detach())
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss of step {self.step} is {loss}; its clips were {self.objective.describe(batch)}. "
                "Lower the learning rate or look at these clips."
            )
        losses.total.backward()  # type: ignore[no-untyped-call]
        norm = self.optimiser.update()
        self.step += 1
        self.rows.append(self._row(losses, loss, rate, norm))
        return self.rows[-1]

    def _row(self, losses: Losses, total: float, rate: float, norm: float) -> Row:
        return {
            "step": self.step,
            "split": "train",
            "loss": total,
            **{name: float(part.detach()) for name, part in losses.parts.items()},
            "lr": rate,
            "grad_norm": norm,
        }

    def save(self, path: Path) -> None:
        """Writes the state under a temporary name and moves it into place."""
        state: dict[str, Any] = {
            "config": _fingerprint(self.config),
            "step": self.step,
            "rows": self.rows,
            "model": self.objective.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        temporary = path.with_suffix(".partial")
        torch.save(state, temporary)
        temporary.replace(path)

    def restore(self, path: Path) -> None:
        """Continues from a saved state."""
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["config"] != _fingerprint(self.config):
            raise TrainingError(f"{path} belongs to a run with another configuration; use another folder.")
        self.objective.network.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = int(state["step"])
        self.rows = list(state["rows"])


def _fingerprint(config: TrainConfig) -> str:
    return hashlib.sha256(json.dumps(asdict(config), sort_keys=True).encode()).hexdigest()
