"""Training as a unit of an experiment: on given masklets and freshly drawn clips, from given weights."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.experiments.units import UnitResult
from engine.home import EngineHome
from engine.phases import PromptMode
from engine.rounds import checkpoint_key, store_checkpoint
from model.training.clips import ClipSource, MaskletClips, MixedClips, TrainingVideo
from model.training.guard import GuardedClips
from model.training.synthetic import SyntheticClips
from model.training.trainer import TrainConfig, finetune
from storage.manifests import FileRef

WEIGHTS = "weights"
"""Name of the checkpoint among a training unit's files."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """One training run. clips: of a step. drawn_share: of those, drawn anew instead of cut from masklets."""

    steps: int
    frames: int
    objects: int
    image_size: int
    drawn_share: float
    clips: int = 4
    mode: PromptMode = "all"
    seed: int = 0


def teach(
    home: EngineHome,
    start_hash: str,
    videos: Sequence[TrainingVideo],
    lesson: Lesson,
    *,
    folder: Path,
    forbidden: Collection[str] = (),
) -> UnitResult:
    """Train the stored weights, resuming in `folder`; the result's file `weights` is the checkpoint.

    Without videos it trains on drawn clips alone. Raises LeakError at a clip of a `forbidden` group.
    """
    folder.mkdir(parents=True, exist_ok=True)
    began = time.process_time()
    with home.store.local_copy(checkpoint_key(start_hash)) as start:
        trained = finetune(
            start,
            _clips(videos, lesson, forbidden),
            _config(lesson),
            out_dir=folder,
            image_size=lesson.image_size or None,
        )
    spent_s = time.process_time() - began
    digest = store_checkpoint(home, trained.checkpoint)
    losses = [float(row["loss"]) for row in trained.rows[-10:]]
    return UnitResult(
        values={"weights": digest, "steps": lesson.steps, "last_loss": round(sum(losses) / len(losses), 4)},
        files=(FileRef(name=WEIGHTS, key=checkpoint_key(digest), sha256=digest),),
        measured={"cpu_s": round(spent_s, 1)},
    )


def _clips(videos: Sequence[TrainingVideo], lesson: Lesson, forbidden: Collection[str]) -> ClipSource:
    drawn = SyntheticClips()
    if not videos:
        return drawn
    real = GuardedClips(MaskletClips(videos), forbidden)
    if lesson.drawn_share == 0:
        return real
    return MixedClips([(real, 1 - lesson.drawn_share), (drawn, lesson.drawn_share)])


def _config(lesson: Lesson) -> TrainConfig:
    return TrainConfig(
        steps=lesson.steps,
        mode=lesson.mode,
        frames=lesson.frames,
        objects=lesson.objects,
        clips_per_step=lesson.clips,
        lr=1e-4,
        encoder_lr=5e-5,
        warmup=max(1, lesson.steps // 10),
        save_every=max(1, min(25, lesson.steps)),
        seed=lesson.seed,
    )
