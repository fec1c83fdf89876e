"""Suites: what the packaged model is measured on and never trained or tuned on, and what training is steered by.

- `drawn`: 40 drawn clips of 12 frames at 256 px with up to three objects each, on photographs and videos that no
  training clip uses. A fifth are cells; the rest is shared out over everything that can happen in a scene about
  as it is in training, so hiding, leaving, crossing look-alikes, small and camouflaged things weigh what they
  weigh there. The seeds are far from those of training. Frozen: `FROZEN` tells these clips from others.
- `cho`: a movie of CHO cells, which no training has seen (`engine.samples`).
- `development`: clips of the kinds and number of `drawn`, of other seeds and on the photographs of training. It is
  there to be looked at while weights are made, so that the held-out ones need not be.

`new_domain` is a pair to try adaptation with: bacteria, the beginning of a movie to train on, the rest held out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from engine.samples import Sample, load_bacteria, load_samples
from model.training.clips import TrainingVideo
from model.training.synthetic import SyntheticClips
from model.training.textures import Photographs, Split, default_cache, load_photographs
from model.video.frame_source import ArrayFrames
from qa.evaluation import EvaluationVideo
from storage.errors import EngineError
from storage.masks import Rle, decode

__all__ = [
    "FROZEN",
    "SUITES",
    "SuiteError",
    "clip_kind",
    "digest",
    "drawn_clips",
    "new_domain",
    "suite_videos",
]

SUITES = ("drawn", "cho", "development")
"""Names of the suites; all but the last are held out."""

FROZEN: Mapping[str, str] = MappingProxyType({"drawn": "6bf16ca2b88e", "development": "22c47a6c757a"})
"""What `digest` gives for a suite that is drawn by code, at the release that froze it."""

CLIPS: Mapping[str, int] = MappingProxyType(
    {
        "cells": 8,
        "plain": 8,
        "alike": 4,
        "crossing": 4,
        "hiding": 5,
        "away": 4,
        "swarm": 2,
        "close": 2,
        "occluded": 3,
    }
)
"""Clips of a drawn suite by what happens in them."""

CLIP_FRAMES, CLIP_OBJECTS, CLIP_SIZE = 12, 3, 256
HELD_OUT_SEED, DEVELOPMENT_SEED = 20_261_122, 20_261_123
TRAIN_FRAMES = 13  # of the bacteria movie's 20; the others are held out


class SuiteError(EngineError):
    """A suite could not be put together as it was frozen."""


def suite_videos(name: str, cache: Path | None = None) -> list[EvaluationVideo]:
    """The videos of a suite.

    `cache` keeps what is downloaded, by default the cache folder of the engine. Raises SuiteError for an unknown
    name or where photographs are missing, SamplesError where a movie cannot be had.
    """
    base = default_cache().parent if cache is None else cache
    if name == "drawn":
        return drawn_clips(_all_photographs(name, "held-out", base))
    if name == "development":
        return drawn_clips(_all_photographs(name, "train", base), seed=DEVELOPMENT_SEED)
    if name == "cho":
        return [_as_video(load_samples(base / "samples", windows=0)[-1])]
    raise SuiteError(f"Suite {name!r} is unknown; use one of {', '.join(SUITES)}.")


def drawn_clips(
    natural: Photographs,
    clips: Mapping[str, int] = CLIPS,
    *,
    frames: int = CLIP_FRAMES,
    size: int = CLIP_SIZE,
    seed: int = HELD_OUT_SEED,
    progress: Callable[[str], None] | None = None,
) -> list[EvaluationVideo]:
    """Clips of given kinds on given photographs, named drawn-NN-KIND: equal arguments give equal clips."""
    kinds = [kind for kind, count in clips.items() for _ in range(count)]
    videos = []
    for number, kind in enumerate(kinds):
        source = SyntheticClips(
            cells=float(kind == "cells"),
            photographs=natural.images,
            videos=natural.videos,
            plot=None if kind == "cells" else kind,
        )
        rng = np.random.default_rng([seed, number])
        clip = source.clip(number, rng, frames=frames, objects=CLIP_OBJECTS, size=size)
        name = f"drawn-{number:02d}-{kind}"
        videos.append(EvaluationVideo.from_clip(name, clip))
        if progress is not None:
            progress(name)
    return videos


def _all_photographs(suite: str, split: Split, base: Path) -> Photographs:
    """Raises SuiteError where one is missing: with fewer the clips would be others."""
    natural = load_photographs(split, base / "photographs")
    if natural.missing:
        raise SuiteError(f"The {suite} suite needs all of its photographs.\n" + "\n".join(natural.missing))
    return natural


def clip_kind(video_id: str) -> str:
    """What happens in a drawn clip of a suite, told by its name; empty for other videos."""
    drawn, _, rest = video_id.partition("-")
    kind = rest.partition("-")[2]
    return kind if drawn == "drawn" and kind in CLIPS else ""


def new_domain(cache: Path | None = None) -> tuple[list[TrainingVideo], list[EvaluationVideo]]:
    """Bacteria: the beginning of the movie to train on, and the rest, with more cells, to evaluate on.

    Raises SamplesError where the movie cannot be had.
    """
    base = default_cache().parent if cache is None else cache
    movie = load_bacteria(base / "samples")
    before, after = _between(movie, 0, TRAIN_FRAMES), _between(movie, TRAIN_FRAMES, len(movie.frames))
    masklets = [dict(masks) for masks in before.reference.values()]
    return [TrainingVideo(before.name, before.frames, masklets, before.group)], [_as_video(after)]


def digest(videos: Sequence[EvaluationVideo]) -> str:
    """Twelve hex digits that tell these videos and their truth from others."""
    state = hashlib.sha256()
    for video in videos:
        state.update(video.video_id.encode())
        for position in range(len(video.frames)):
            state.update(np.ascontiguousarray(video.frames[position]).tobytes())
        for object_id, masks in sorted(video.truth.items()):
            for frame, rle in sorted(masks.items()):
                state.update(f"{object_id} {frame}".encode())
                state.update(np.packbits(decode(rle)).tobytes())
    return state.hexdigest()[:12]


def _between(sample: Sample, begin: int, end: int) -> Sample:
    """Frames `begin` to `end` of a sample, with the objects that they show."""
    reference: dict[int, dict[int, Rle]] = {}
    for masks in sample.reference.values():
        kept = {frame - begin: rle for frame, rle in masks.items() if begin <= frame < end}
        if kept:
            reference[len(reference) + 1] = kept
    return Sample(
        name=f"{sample.name}-{begin}-{end}",
        frames=sample.frames[begin:end],
        fps=sample.fps,
        split="train" if begin == 0 else "eval",
        group=sample.group,
        reference=reference,
        extra=sample.extra,
    )


def _as_video(sample: Sample) -> EvaluationVideo:
    frames = ArrayFrames(sample.frames)
    return EvaluationVideo(sample.name, frames, range(len(frames)), sample.reference)
