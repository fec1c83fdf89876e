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
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from model.errors import TrainingError
from model.files.checkpoints import load_checkpoint, save_checkpoint
from model.losses import LossTerms, frame_losses
from model.network.sam2 import Sam2
from model.training.batch import Batch
from model.training.clips import ClipSource
from model.training.prompt_simulation import PromptRecipe, draw_plan, simulate
from model.training.recipe import TrainConfig as TrainConfig

STATE_FILE = "state.pt"
CHECKPOINT_FILE = "checkpoint.safetensors"

Row = dict[str, int | float | str]
Progress = Callable[[Row], None]


@dataclass(frozen=True, slots=True)
class TrainResult:
    """The checkpoint written, and one row a step for the `training` manifest."""

    checkpoint: Path
    rows: list[Row]


def train(
    model: Sam2,
    source: ClipSource,
    config: TrainConfig,
    *,
    out_dir: Path,
    replay: ClipSource | None = None,
    resume: bool = True,
    metadata: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> TrainResult:
    """Trains `model` in place and writes `out_dir/checkpoint.safetensors`.

    With `resume`, a state saved in `out_dir` by a run of the same configuration is continued. Raises
    `TrainingError` when the loss stops being a number (naming the clips) or the state belongs to another
    configuration.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    run = _Run(model, config)
    state_path = out_dir / STATE_FILE
    if resume and state_path.exists():
        run.restore(state_path)
    model.train()
    while run.step < config.steps:
        row = run.advance(source, replay)
        if progress is not None:
            progress(row)
        if run.step % config.save_every == 0 and run.step < config.steps:
            run.save(state_path)
    model.eval()
    checkpoint = out_dir / CHECKPOINT_FILE
    save_checkpoint(model, checkpoint, dict(metadata or {}))
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


def learning_rate(step: int, config: TrainConfig, peak: float) -> float:
    """Rate of a step counted from 0: linear warm-up, then a cosine from `peak` to its end."""
    if step < config.warmup:
        return peak * (step + 1) / (config.warmup + 1)
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    fall = 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))
    return peak * (config.lr_end + (1.0 - config.lr_end) * fall)


class _Run:
    """Model, optimiser, step counter and rows of a run: everything that a saved state holds."""

    def __init__(self, model: Sam2, config: TrainConfig) -> None:
        self.model = model
        self.config = config
        self.step = 0
        self.rows: list[Row] = []
        self.optimizer = torch.optim.AdamW(_parameter_groups(model, config), betas=(0.9, 0.999), fused=True)

    def advance(self, source: ClipSource, replay: ClipSource | None = None) -> Row:
        """One optimiser step; returns its row."""
        rng = np.random.default_rng([self.config.seed, self.step])
        mode = self.config.mode
        if replay is not None and rng.random() < self.config.replay_share:
            source, mode = replay, "all"
        batch, frames = self._draw(source, mode, rng)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.config, group["peak"])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(
                int(rng.integers(2**62))
            )  # dropout and drop path follow the step, not the process
            terms = self._losses(batch, frames, self.config.recipe(mode), rng)
        total = terms.total()
        loss = float(total.detach())
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss of step {self.step} is {loss}; its clips were {', '.join(batch.names)}. "
                "Lower the learning rate or look at these clips."
            )
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        self.optimizer.step()
        self.step += 1
        self.rows.append(self._row(terms, loss, float(norm)))
        return self.rows[-1]

    def _draw(self, source: ClipSource, mode: str, rng: np.random.Generator) -> tuple[Batch, int]:
        config = self.config
        still = mode == "all" and rng.random() < config.still_share
        frames = 1 if still else config.frames
        count = config.clips_per_step * (config.frames if still else 1)
        size = self.model.image_size
        clips = [
            source.clip(int(rng.integers(len(source))), rng, frames=frames, objects=config.objects, size=size)
            for _ in range(count)
        ]
        return Batch.from_clips(clips), frames

    def _losses(self, batch: Batch, frames: int, recipe: PromptRecipe, rng: np.random.Generator) -> LossTerms:
        plan = draw_plan(frames, recipe, rng)
        predictions = simulate(self.model, batch, plan, recipe, rng)
        terms = [
            frame_losses(steps, batch.masks[frame].unsqueeze(1))
            for frame, steps in sorted(predictions.items())
        ]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total

    def _row(self, terms: LossTerms, total: float, norm: float) -> Row:
        return {
            "step": self.step,
            "split": "train",
            "loss": total,
            "loss_mask": float(terms.mask.detach()),
            "loss_dice": float(terms.dice.detach()),
            "loss_iou": float(terms.iou.detach()),
            "loss_class": float(terms.presence.detach()),
            "lr": float(self.optimizer.param_groups[-1]["lr"]),
            "grad_norm": norm,
        }

    def save(self, path: Path) -> None:
        """Writes the state under a temporary name and moves it into place."""
        state: dict[str, Any] = {
            "config": _fingerprint(self.config),
            "step": self.step,
            "rows": self.rows,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        temporary = path.with_suffix(".partial")
        torch.save(state, temporary)
        temporary.replace(path)

    def restore(self, path: Path) -> None:
        """Continues from a saved state."""
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["config"] != _fingerprint(self.config):
            raise TrainingError(f"{path} belongs to a run with another configuration; use another folder.")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = int(state["step"])
        self.rows = list(state["rows"])


def _fingerprint(config: TrainConfig) -> str:
    return hashlib.sha256(json.dumps(asdict(config), sort_keys=True).encode()).hexdigest()


def _parameter_groups(model: Sam2, config: TrainConfig) -> list[dict[str, Any]]:
    """Encoder and the rest, each with and without weight decay (vectors and biases are not decayed)."""
    groups: dict[tuple[bool, bool], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            key = (name.startswith("image_encoder."), parameter.ndim >= 2 and "bias" not in name)
            groups.setdefault(key, []).append(parameter)
    return [
        {
            "params": parameters,
            "peak": config.encoder_lr if encoder else config.lr,
            "weight_decay": config.weight_decay if decayed else 0.0,
        }
        for (encoder, decayed), parameters in sorted(groups.items(), reverse=True)
    ]
