"""The data set as something a model can be trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import torch

from engine.dataset import MaskReader, rows_digest
from engine.home import EngineHome
from engine.phases import PromptMode
from engine.settings import RetrainSettings
from engine.stages.base import Row
from engine.training.leaks import refuse_leaks
from engine.training.sources import dataset_clips
from model.allocator import keep_freed_memory, suits
from model.files.checkpoints import read_info
from model.training.clips import ClipSource, MixedClips, TrainingVideo
from model.training.distributed import training_device
from model.training.synthetic import SyntheticClips
from model.training.trainer import Row as TrainRow
from model.training.trainer import TrainConfig, TrainResult, finetune
from storage.masks import Rle
from storage.videos import Video


def retrain(
    home: EngineHome,
    start: Path,
    rows: Sequence[Row],
    settings: RetrainSettings,
    *,
    config: TrainConfig,
    out_dir: Path,
    progress: Callable[[TrainRow], None] | None = None,
) -> TrainResult:
    """Train the weights in `start` on data set rows, resuming a run of the same in `out_dir`.

    Trains in this process, on the device of the home's settings (`model.device`, `model.threads`); see
    `engine.training.process` for training in another.
    """
    machine = home.settings
    if machine.model.threads:
        torch.set_num_threads(machine.model.threads)
    info = read_info(start)  # published files do not say; they are made for large pictures
    if info is not None and suits(settings.image_size or info.config.image_size):
        keep_freed_memory()
    real, replay = clip_sources(home, rows, settings)
    return finetune(
        start,
        real,
        config,
        out_dir=out_dir,
        replay=replay,
        image_size=settings.image_size or None,
        device=training_device(machine.model.device),
        tensorboard=machine.retrain.tensorboard,
        made_from={"data set": rows_digest(rows)},
        progress=progress,
    )


def train_config(
    settings: RetrainSettings, *, mode: PromptMode, seed: int, steps: int | None = None
) -> TrainConfig:
    """The trainer's configuration from our settings."""
    return TrainConfig(
        steps=steps or settings.steps,
        mode=mode,
        frames=settings.frames,
        objects=settings.objects,
        clips_per_step=settings.clips_per_step,
        lr=settings.lr,
        encoder_lr=settings.encoder_lr,
        warmup=settings.warmup,
        replay_share=settings.replay_share,
        save_every=settings.save_every,
        seed=seed,
    )


def clip_sources(
    home: EngineHome, rows: Sequence[Row], settings: RetrainSettings
) -> tuple[ClipSource, ClipSource]:
    """What to train on, and what to replay so that nothing is forgotten: data set clips, some of them drawn."""
    real = dataset_clips(home, rows)
    share = settings.synthetic_share
    if share == 0:
        return real, real
    return real, MixedClips([(real, 1 - share), (SyntheticClips(), share)])


def training_videos(home: EngineHome, rows: Sequence[Row]) -> list[TrainingVideo]:
    """The data set by video: frames read when asked for, masklets by annotated position.

    Raises LeakError if a row must not be trained on (see `engine.training.leaks`).
    """
    refuse_leaks(home, rows)
    reader = MaskReader(home.store)
    by_video: dict[str, list[Row]] = {}
    for row in rows:
        by_video.setdefault(row["video_id"], []).append(row)
    return [
        training_video(home, home.library.get(video_id), map(reader.masks, found))
        for video_id, found in sorted(by_video.items())
    ]


def training_video(home: EngineHome, video: Video, masklets: Iterable[Mapping[int, Rle]]) -> TrainingVideo:
    """A video to learn from; masklets are masks by source frame."""
    position = {frame: index for index, frame in enumerate(video.annotated_frames)}
    return TrainingVideo(
        name=video.name,
        frames=home.library.frames(video),
        group=video.group,
        masklets=[{position[frame]: rle for frame, rle in masks.items()} for masks in masklets],
    )
