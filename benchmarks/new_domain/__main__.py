"""What three minutes of fine-tuning bring on a domain that the packaged weights have not seen: bacteria.

The recipe `nano-finetune` is run on the beginning of a movie of growing bacteria, and the weights before and after are
scored on its end, with the baselines that need no network beside them. Run: ``python -m benchmarks.new_domain``; with
``--out`` the weights stay there, and a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from engine.judging.suites import new_domain
from model.files.checkpoints import default_checkpoint, load_checkpoint
from model.training.augment import AUGMENTATIONS
from model.training.clips import MaskletClips, TrainingVideo
from model.training.mixture import Source
from model.training.recipe import load_recipe
from model.training.run import run_recipe
from qa.baselines import evaluate_nearest_colour
from qa.evaluation import EvaluationVideo, evaluate, evaluate_copy
from qa.metric_rows import MetricRow

PROTOCOLS = ("mask", "3-click", "1-click")
RECIPE = "nano-finetune"


@dataclass(frozen=True, slots=True)
class Adapted:
    """J&F in percent by protocol, before and after `steps` steps: `seconds` of the clock, `cpu_s` of cores."""

    before: dict[str, float]
    after: dict[str, float]
    baselines: dict[str, float]
    objects: int
    steps: int
    seconds: float
    cpu_s: float

    def markdown(self) -> str:
        """The table as Markdown."""
        lines = [f"| J&F of {self.objects} objects | before | after {self.seconds:.0f} s | gain |"]
        lines += ["|---|---|---|---|"]
        for protocol, before in self.before.items():
            after = self.after[protocol]
            lines.append(f"| {protocol} | {before:.1f} | {after:.1f} | {after - before:+.1f} |")
        lines += [f"| {name} | {value:.1f} | | |" for name, value in self.baselines.items()]
        return "\n".join(lines)


def adapt(
    weights: Path,
    train: Sequence[TrainingVideo],
    held: Sequence[EvaluationVideo],
    *,
    out_dir: Path,
    seed: int = 0,
    steps: int | None = None,
) -> Adapted:
    """Fine-tunes `weights` on `train` into `out_dir`, and scores both on `held`; `steps` replaces the recipe's."""
    recipe = load_recipe(RECIPE)
    recipe = recipe if steps is None else recipe.shortened(steps)
    clips = MaskletClips(train, recipe.augmentation or AUGMENTATIONS["small"])
    before = _scores(weights, held)
    began, cpu_began = time.perf_counter(), time.process_time()
    result = run_recipe(recipe, [Source("new domain", clips)], out_dir=out_dir, seed=seed, start=weights)
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
    baselines = [evaluate_copy(held), evaluate_nearest_colour(held)]
    return Adapted(
        before=before,
        after=_scores(result.checkpoint, held),
        baselines={rows[0].protocol: _mean(rows) for rows in baselines},
        objects=sum(not row.is_mean for row in baselines[0]),
        steps=recipe.steps,
        seconds=seconds,
        cpu_s=cpu_s,
    )


def _scores(weights: Path, videos: Sequence[EvaluationVideo]) -> dict[str, float]:
    model = load_checkpoint(weights)
    with torch.inference_mode():
        return {name: _mean(evaluate(model, videos, protocol=name)) for name in PROTOCOLS}


def _mean(rows: Sequence[MetricRow]) -> float:
    return next(row.jf for row in rows if row.is_mean)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="Fine-tune on a new domain and tell what it brought.")
    parser.add_argument("--weights", type=Path, default=None, help="where to begin (the packaged nano)")
    parser.add_argument("--out", type=Path, default=None, help="folder for the new weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=None, help="instead of the recipe's")
    parser.add_argument("--threads", type=int, default=1, help="cores to train on")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        found = adapt(
            options.weights or default_checkpoint(),
            *new_domain(),
            out_dir=options.out or Path(scratch),
            seed=options.seed,
            steps=options.steps,
        )
    print(json.dumps(asdict(found)) if options.json else found.markdown())


if __name__ == "__main__":
    main()
