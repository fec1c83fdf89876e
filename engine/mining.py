"""Mining one video outside of any round: automatic masklets of a clip, as a filmstrip for the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from engine.home import EngineHome
from engine.rounds import base_checkpoint
from engine.weights import load_weights
from model.image.auto_masklets import AutoMasklet, generate_masklets
from qa.report import ExtraFilmstrip, Frame
from storage.masks import decode
from storage.videos import StoredFrames, Video


class _Clip:
    """Some positions of a video's annotated frames as a frame source of their own."""

    def __init__(self, frames: StoredFrames, positions: Sequence[int]) -> None:
        self._frames = frames
        self._positions = positions

    @property
    def height(self) -> int:
        return self._frames.height

    @property
    def width(self) -> int:
        return self._frames.width

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, index: int) -> Frame:
        return self._frames[self._positions[index]]


DOUBTFUL_IOU, DOUBTFUL_STABILITY, MOST_SHOWN = 0.5, 0.55, 8
"""Thresholds for a clip unlike anything the model was trained on; nothing mined by them joins a data set."""


def mine_clip(home: EngineHome, video: Video, *, frames: int, step: int) -> ExtraFilmstrip:
    """Automatic masklets of `frames` annotated frames, every `step`-th, with the weights a first round starts from.

    Not with the champion: rounds may have tuned it to another kind of video.
    """
    positions = range(0, len(video.annotated_frames), step)[:frames]
    clip = _Clip(home.library.frames(video), positions)
    config = replace(
        home.settings.grid,
        min_predicted_iou=DOUBTFUL_IOU,
        min_stability=DOUBTFUL_STABILITY,
        max_masklets=MOST_SHOWN,
    )
    model = load_weights(home, base_checkpoint(home))
    found = generate_masklets(model, clip, config, precision=home.settings.model.precision)
    return ExtraFilmstrip(
        title=f"{video.name}: automatic masklets of a natural video",
        text=(
            f"The {len(found)} surest masklets at lowered thresholds. There are no references, so nobody "
            "verified them; they join no data set."
        ),
        frames=[clip[index] for index in range(len(clip))],
        masks=[_masks_at(found, index) for index in range(len(clip))],
        frame_numbers=[video.annotated_frames[position] for position in positions],
    )


def _masks_at(masklets: Sequence[AutoMasklet], index: int) -> dict[int, NDArray[np.bool_]]:
    return {number: decode(masklet.masks[index]) for number, masklet in enumerate(masklets, start=1)}
