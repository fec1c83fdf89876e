"""The packaged nano weights, made again: the recipe `nano` on drawn clips, then scores on clips it has not seen.

    python -m model.training.nano --out runs/nano --seed 0

The same as `engine model train nano`, without an engine. The recipe is `recipes/nano.toml`; the weights depend on the
seed and on nothing else.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from model.files.checkpoints import load_checkpoint
from model.training.data.sources import parse_source
from model.training.evaluation import PROTOCOLS, evaluate_clips
from model.training.recipe import Recipe, Stage, load_recipe
from model.training.run import Progress, run_recipe
from model.training.synthetic import SyntheticClips
from model.training.trainer import Row


def pretrain(
    out_dir: Path, *, seed: int = 0, recipe: Recipe | None = None, progress: Progress | None = None
) -> Path:
    """Trains nano from nothing through all stages; returns the path of the weights in `out_dir`.

    Each stage keeps its state in a folder of its own, so a killed run goes on where it was.
    """
    chosen = recipe or load_recipe("nano")
    sources = [parse_source(text) for text in chosen.data]
    return run_recipe(chosen, sources, out_dir=out_dir, seed=seed, progress=progress).checkpoint


def _printed(stage: Stage, row: Row) -> None:
    if int(row["step"]) % 50 == 0:
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in row.items() if name != "split")
        print(f"{stage.name}: {numbers}", flush=True)


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
