"""retrain: train the round's model on the data set, with the phase's prompts, from the champion (docs/training.md).

Training keeps resumable states in the home's `work` folder; the weights go into the store under their hash.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from engine.home import EngineHome
from engine.rounds import checkpoint_key, store_checkpoint
from engine.stages.base import Finished, StageContext, Waiting
from storage.manifests import FileRef

if TYPE_CHECKING:
    from model.training.trainer import TrainConfig, TrainResult

CHECKPOINT = "checkpoint"
"""Name of the weights among the stage's files."""


class Retrain:
    """New weights from what people verified."""

    name = "retrain"

    def shard_count(self, context: StageContext) -> int:
        """One run, none if the data set is empty or the settings want none."""
        return 1 if context.settings.retrain.enabled and context.rows("dataset", "dataset") else 0

    def run_shard(self, context: StageContext, shard: int) -> tuple[FileRef, ...]:
        """Train, resuming if a run was cut short."""
        from engine.training.retraining import train_config

        settings = context.settings.retrain
        config = train_config(settings, mode=context.phase.train_prompts, seed=context.round.seed)
        with context.home.store.local_copy(context.round.checkpoint_key) as start:
            result = _train(context, start, config)
        digest = store_checkpoint(context.home, result.checkpoint)
        weights = FileRef(name=CHECKPOINT, key=checkpoint_key(digest), sha256=digest)
        return context.write("training", result.rows), weights

    def finish(self, context: StageContext, shards: Mapping[int, tuple[FileRef, ...]]) -> Finished | Waiting:
        """The challenger is the new checkpoint; without a run there is none."""
        if not shards:
            return Finished((context.write("training", []),), {"challenger": ""})
        files = shards[0]
        (weights,) = (ref for ref in files if ref.name == CHECKPOINT)
        return Finished(files, {"challenger": weights.sha256, "steps": context.settings.retrain.steps})


def _train(context: StageContext, start: Path, config: TrainConfig) -> TrainResult:
    """Train in child processes, or in this one where the home's settings say 0."""
    from engine.training.process import train_apart
    from engine.training.retraining import retrain
    from model.training.trainer import fingerprint

    processes = context.home.settings.retrain.processes
    run = partial(train_apart, processes=processes) if processes else retrain
    return run(
        context.home,
        start,
        context.rows("dataset", "dataset"),
        context.settings.retrain,
        config=config,
        out_dir=work_folder(context.home, context.round.round_id) / fingerprint(config)[:12],
    )


def work_folder(home: EngineHome, round_id: str) -> Path:
    """Where a round trains, in a folder for each configuration: after an upgrade, an open round may have another."""
    return home.work / round_id / "retrain"
