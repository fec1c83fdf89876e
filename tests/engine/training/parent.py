"""A process that trains in others: `python -m tests.engine.training.parent HOME ROWS START OUT PROCESSES STEPS`."""

from __future__ import annotations

import sys
from pathlib import Path

from engine.home import open_home
from engine.training.process import train_apart
from model.training.trainer import TrainConfig
from storage.manifests import read_manifest


def config(steps: int) -> TrainConfig:
    return TrainConfig(
        steps=steps, mode="masks", frames=2, objects=1, clips_per_step=2, warmup=1, save_every=1, keep=2
    )


def main() -> None:
    home_path, rows, start, out, processes, steps = sys.argv[1:]
    home = open_home(Path(home_path))
    train_apart(
        home,
        Path(start),
        read_manifest(home.store, rows).to_pylist(),
        home.settings.retrain,
        config=config(int(steps)),
        out_dir=Path(out),
        processes=int(processes),
    )


if __name__ == "__main__":
    main()
