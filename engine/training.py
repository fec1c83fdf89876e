"""The data set as something a model can be trained on."""

from __future__ import annotations

from collections.abc import Sequence

from engine.dataset import MaskReader
from engine.home import EngineHome
from engine.settings import RetrainSettings
from engine.stages.base import Row
from model.training.clips import ClipSource, MaskletClips, MixedClips, TrainingVideo
from model.training.synthetic import SyntheticClips
from model.training.trainer import TrainConfig


def train_config(settings: RetrainSettings, *, mode: str, seed: int, steps: int | None = None) -> TrainConfig:
    """The trainer's configuration from our settings."""
    return TrainConfig(
        steps=steps or settings.steps,
        mode=mode,
        frames=settings.frames,
        objects=settings.objects,
        clips_per_step=settings.clips_per_step,
        lr=settings.lr,
        encoder_lr=settings.encoder_lr,
        save_every=settings.save_every,
        seed=seed,
    )


def clip_source(home: EngineHome, rows: Sequence[Row], settings: RetrainSettings) -> ClipSource:
    """Clips from data set rows, mixed with synthetic ones so that nothing is forgotten."""
    real = MaskletClips(training_videos(home, rows))
    if settings.synthetic_share == 0:
        return real
    share = settings.synthetic_share
    return MixedClips([(real, 1 - share), (SyntheticClips(), share)])


def training_videos(home: EngineHome, rows: Sequence[Row]) -> list[TrainingVideo]:
    """The data set by video: frames read when asked for, masklets by annotated position."""
    reader = MaskReader(home.store)
    by_video: dict[str, list[Row]] = {}
    for row in rows:
        by_video.setdefault(row["video_id"], []).append(row)
    return [_training_video(home, reader, video_id, found) for video_id, found in sorted(by_video.items())]


def _training_video(
    home: EngineHome, reader: MaskReader, video_id: str, rows: Sequence[Row]
) -> TrainingVideo:
    video = home.library.get(video_id)
    position = {frame: index for index, frame in enumerate(video.annotated_frames)}
    return TrainingVideo(
        name=video.name,
        frames=home.library.frames(video),
        masklets=[{position[frame]: rle for frame, rle in reader.masks(row).items()} for row in rows],
    )
