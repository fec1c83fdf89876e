"""``python -m benchmarks.gate_power``: the packaged weights, over-fitted to one clip, before the gate.

Each challenger is the packaged network (at half its size, to be quick) trained on one drawn clip and nothing else, for
25 steps at a rate. The gate sees eight other drawn clips as the evaluation set and the retention set as homes have it,
and decides under each setting of `gate.uncertain`. The table says how much the challengers lost and how often they
were refused: the gate's power against small falls. Of those that `mean` let through it says how many are surely worse
by some criterion: its interval is all below zero, though within what is allowed. Takes about four minutes of one core.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from engine.judging.sets import Judged, retention_clips, score
from engine.settings import EvaluateSettings
from model.files.checkpoints import default_checkpoint, load_checkpoint
from model.network.sam2 import Sam2
from model.training.clips import Clip
from model.training.recipe import TrainConfig
from model.training.synthetic import SyntheticClips
from model.training.trainer import train
from model.video.session_config import SessionConfig
from qa.gate import UNCERTAIN, GateConfig, GateDecision, decide
from qa.metric_rows import RETENTION, MetricRow

RATES = (2e-5, 5e-5, 1e-4, 2e-4)
STEPS, SIDE, EVALUATED = 25, 128, 8
SETTINGS = EvaluateSettings(protocols=("mask", "3-click"), online_objects=0)
KEPT = SETTINGS.retention_clips
SESSION = SessionConfig(fill_hole_area=0)


@dataclass(frozen=True, slots=True)
class OneClip:
    """Always the same drawn clip, another one for another seed."""

    seed: int

    def __len__(self) -> int:
        return 1

    def clip(self, index: int, rng: np.random.Generator, *, frames: int, objects: int, size: int) -> Clip:
        """The clip, whatever the index and the generator."""
        own = np.random.default_rng([77, self.seed])
        return SyntheticClips().clip(0, own, frames=frames, objects=objects, size=size)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table, a line as soon as it is known."""
    parser = argparse.ArgumentParser(description="How often the gate refuses a mild over-fit.")
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--rates", type=float, nargs="+", default=list(RATES))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    sets = judged()
    champion = rows(packaged(), sets)
    print(
        "| rate | J&F lost, mean (least to most) | " + " | ".join(f"`{name}`" for name in UNCERTAIN), end=""
    )
    print(" | let through by `mean` | of them surely worse |\n|---|---|" + "---|" * (len(UNCERTAIN) + 2))
    for rate in options.rates:
        found = [rows(overfitted(rate, seed), sets) for seed in range(options.seeds)]
        print(line(rate, champion, found), flush=True)


def packaged() -> Sam2:
    """The champion."""
    return load_checkpoint(default_checkpoint(), image_size=SIDE)


def judged() -> list[Judged]:
    """Evaluation set and retention set."""
    clips = retention_clips(KEPT + EVALUATED)
    return [Judged("", clips[KEPT:]), Judged(RETENTION, clips[:KEPT])]


def overfitted(rate: float, seed: int) -> Sam2:
    """The packaged weights after some steps on one clip."""
    config = TrainConfig(
        steps=STEPS,
        frames=2,
        objects=1,
        clips_per_step=1,
        lr=rate,
        encoder_lr=rate / 2,
        warmup=1,
        still_share=0.0,
        correction_clicks=1,
        save_every=STEPS,
        seed=seed,
    )
    model = packaged()
    with tempfile.TemporaryDirectory() as folder:
        train(model, OneClip(seed), config, out_dir=Path(folder))
    return model.eval()


def rows(model: Sam2, sets: Sequence[Judged]) -> list[MetricRow]:
    """Scores on both sets."""
    return [row for one in sets for row in score(model, one, SETTINGS, session_config=SESSION)]


def line(rate: float, champion: list[MetricRow], found: Sequence[list[MetricRow]]) -> str:
    """A rate's line of the table."""
    verdicts = {name: [verdict(champion, each, name) for each in found] for name in UNCERTAIN}
    lost = [-(one.delta or 0.0) for one in verdicts["mean"]]
    refused = [f"{sum(not one.promote for one in verdicts[name])} of {len(found)}" for name in UNCERTAIN]
    passed = [one for one in verdicts["mean"] if one.promote]
    worse = sum(any(each.high is not None and each.high < 0 for each in one.criteria) for one in passed)
    cells = [f"{rate:g}", f"{np.mean(lost):.1f} ({min(lost):.1f} to {max(lost):.1f})", *refused]
    return "| " + " | ".join([*cells, str(len(passed)), str(worse)]) + " |"


def verdict(champion: list[MetricRow], challenger: list[MetricRow], uncertain: str) -> GateDecision:
    """What a gate that is set so says in a home's first round."""
    config = GateConfig(uncertain=uncertain)  # type: ignore[arg-type]  # one of UNCERTAIN
    return decide(champion, challenger, config, primary="mask", start=champion)


if __name__ == "__main__":
    main()
