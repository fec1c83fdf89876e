"""The smallest thing that the loop can train: a network of a few weights that learns a line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from model.training.objective import WHOLE, Losses, Share
from model.training.trainer import TrainConfig, TrainResult, fit

CLIPS = 4
RUN = TrainConfig(
    steps=5, clips_per_step=CLIPS, lr=0.01, encoder_lr=0.01, warmup=1, ema_decay=0.9, save_every=2
)


class TwoHeads(nn.Module):
    """A step uses one of two heads, so that the other has no gradient; a third is never used."""

    def __init__(self, *, dropout: float) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Dropout(dropout))
        self.heads = nn.ModuleList([nn.Linear(8, 1) for _ in range(3)])

    def forward(self, x: Tensor, head: int) -> Tensor:
        """[B,4] → [B,1]"""
        return self.heads[head](self.body(x))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Points:
    """x [B,4], y [B,1], and the points' names."""

    x: Tensor
    y: Tensor
    names: tuple[str, ...]


class Line:
    """Objects of uneven number a clip, as segmentation has: clip c brings 1 + c % 3 points."""

    def __init__(self, *, dropout: float = 0.0, bad: str = "") -> None:
        """`bad` is the name of a clip whose truth is no number."""
        self._bad = bad
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.network = TwoHeads(dropout=dropout)

    def draw(self, step: int, share: Share = WHOLE) -> Points:
        x, y, names = [], [], []
        for clip in range(share.index, CLIPS, share.count):
            points = np.random.default_rng([0, step, 1 + clip]).standard_normal((1 + clip % 3, 4))
            names.append(f"step-{step}-clip-{clip}")
            x.append(torch.from_numpy(points).float())
            y.append(x[-1].sum(dim=1, keepdim=True) * (float("nan") if names[-1] == self._bad else 1.0))
        return Points(torch.cat(x), torch.cat(y), tuple(names))

    def losses(self, batch: Points, step: int) -> Losses:
        loss = (self.network(batch.x, step % 2) - batch.y).square().mean()
        return Losses(loss, {"loss_square": loss})

    def weight(self, batch: Points) -> float:
        return float(len(batch.x))

    def describe(self, batch: Points) -> str:
        return ", ".join(batch.names)


def learn(out_dir: Path, config: TrainConfig = RUN, line: Line | None = None, **options: Any) -> TrainResult:
    """Trains a line; its weights are written to `out_dir/checkpoint.safetensors`."""
    line = line or Line(dropout=0.1)

    def save(path: Path) -> None:
        save_file({name: value.clone() for name, value in line.network.state_dict().items()}, path)

    return fit(line, config, out_dir=out_dir, save=save, **options)
