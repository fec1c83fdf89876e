"""The recipe of the packaged nano weights: from nothing to a model that takes masks, boxes and clicks.

The order matters. A fresh model first learns to carry a mask to the next frame, then through longer clips, with one
mask per answer; clicks and boxes are learnt on top of that, with candidates; the last stage runs at the size that nano
is used at. All data is drawn (`synthetic.py`), so the weights depend on the seed and on nothing else.

    python -m model.training.nano --out runs/nano --seed 0
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from model.files.checkpoints import load_checkpoint, save_checkpoint
from model.network.builder import build_sam2
from model.network.sam2 import Sam2
from model.training.batch import Batch
from model.training.clips import ClipSource
from model.training.evaluation import PROTOCOLS, evaluate_clips
from model.training.synthetic import SyntheticClips
from model.training.trainer import Progress, Row, TrainConfig, train
from model.training.young import initialise_young, spread_candidates

WEIGHTS_FILE = "nano.safetensors"


@dataclass(frozen=True, slots=True)
class Stage:
    """One leg of the recipe: a training run at an image size. `spread` starts candidates from the single mask.

    The seed of the run is added to the stage's, so that stages see different clips.
    """

    name: str
    image_size: int
    config: TrainConfig
    spread: bool = False


_YOUNG = TrainConfig(mode="masks", multimask=False, lr=6e-4, encoder_lr=6e-4)
_GROWN = TrainConfig(mode="all", frames=4, clips_per_step=4, still_share=0.4, correction_clicks=2)
_FULL_SIZE = replace(_GROWN, clips_per_step=2, still_share=0.5, warmup=20)

STAGES: tuple[Stage, ...] = (
    Stage("1-masks", 128, replace(_YOUNG, steps=400, frames=2, clips_per_step=8, lr_end=0.8, warmup=40)),
    Stage("2-longer", 128, replace(_YOUNG, steps=500, frames=4, clips_per_step=4, lr_end=0.3)),
    Stage("3-clicks", 128, replace(_GROWN, steps=900, lr=5e-4, encoder_lr=5e-4, lr_end=0.4), spread=True),
    Stage("4-clicks", 128, replace(_GROWN, steps=1000, lr=4e-4, encoder_lr=4e-4, lr_end=0.3, warmup=30)),
    Stage(
        "5-clicks",
        128,
        replace(_GROWN, steps=1150, still_share=0.5, lr=4e-4, encoder_lr=4e-4, warmup=30, seed=5),
    ),
    Stage("6-full-size", 256, replace(_FULL_SIZE, steps=300, lr=1.5e-4, encoder_lr=1.5e-4, seed=6)),
    Stage("7-full-size", 256, replace(_FULL_SIZE, steps=230, lr=2e-4, encoder_lr=2e-4, lr_end=0.05, seed=7)),
)


def pretrain(
    out_dir: Path, *, seed: int = 0, stages: Sequence[Stage] = STAGES, progress: Progress | None = None
) -> Path:
    """Trains nano from nothing through all stages; returns the path of `nano.safetensors` in `out_dir`.

    Each stage keeps its state in a folder of its own, so a killed run goes on where it was.
    """
    source = SyntheticClips()
    model = _fresh(source, stages[0].image_size, seed)
    for stage in stages:
        folder = out_dir / stage.name
        model = _resized(model, stage.image_size)
        if stage.spread:
            spread_candidates(model, torch.Generator().manual_seed(seed))
        config = replace(stage.config, seed=seed + stage.config.seed)
        train(model, source, config, out_dir=folder, progress=progress)
    path = out_dir / WEIGHTS_FILE
    steps = sum(stage.config.steps for stage in stages)
    metadata = {"data": "synthetic", "recipe": "model.training.nano", "seed": str(seed), "steps": str(steps)}
    save_checkpoint(_resized(model, build_sam2("nano").image_size), path, metadata)
    return path


def _fresh(source: ClipSource, image_size: int, seed: int) -> Sam2:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_sam2("nano", image_size=image_size)
    rng = np.random.default_rng([seed, 77])
    clips = [source.clip(index, rng, frames=1, objects=1, size=image_size) for index in range(16)]
    batch = Batch.from_clips(clips)
    initialise_young(model, batch.images[0], batch.masks[0])
    return model


def _resized(model: Sam2, image_size: int) -> Sam2:
    """The same weights for images of another size."""
    if model.image_size == image_size:
        return model
    resized = build_sam2("nano", image_size=image_size)
    resized.load_state_dict(model.state_dict())
    return resized


def _printed(row: Row) -> None:
    if int(row["step"]) % 50 == 0:
        print(", ".join(f"{name} {value:.4g}" for name, value in row.items() if name != "split"), flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: pre-train, then print the scores on held-out clips."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for states and weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--threads", type=int, default=1, help="torch threads; equal counts give equal weights"
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    path = pretrain(options.out, seed=options.seed, progress=_printed)
    model = load_checkpoint(path)
    for protocol in PROTOCOLS:
        score = evaluate_clips(model, SyntheticClips(), protocol=protocol)
        print(f"{protocol}: first frame {score.first:.1f}, later frames {score.later:.1f}")
    print(path)


if __name__ == "__main__":
    main()
