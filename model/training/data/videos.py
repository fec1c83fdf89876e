"""Clips from videos that are opened when they are needed."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Protocol

import numpy as np

from model.errors import TrainingError
from model.training.augment import Augmentation
from model.training.clips import Clip, LabelledVideo, cut_clip

__all__ = ["IndexedClips", "OpenedVideo", "VideoIndex"]


class OpenedVideo(LabelledVideo, Protocol):
    """A video with its annotations in memory; frames are read when asked for."""

    def rest(self) -> None:
        """Let go of open files and of pictures in memory; the next question opens them again."""
        ...


class VideoIndex(Protocol):
    """Videos by number. It holds names only, and pickles."""

    def __len__(self) -> int: ...

    def open(self, index: int) -> OpenedVideo:
        """Raises `ClipError` naming the file that is missing or damaged."""
        ...


class IndexedClips:
    """A clip source over a `VideoIndex`; the annotations of the last `cached` videos stay in memory."""

    def __init__(self, videos: VideoIndex, augmentation: Augmentation, *, cached: int = 8) -> None:
        if len(videos) == 0:
            raise TrainingError("There is no video to learn from.")
        self.videos = videos
        self.augmentation = augmentation
        self._cached = cached
        self._opened: OrderedDict[int, OpenedVideo] = OrderedDict()

    def __len__(self) -> int:
        return len(self.videos)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": OrderedDict()}

    def clip(self, index: int, rng: np.random.Generator, *, frames: int, objects: int, size: int) -> Clip:
        """A clip of video `index`; see `cut_clip`."""
        video = self._open(index)
        try:
            return cut_clip(
                video, rng, frames=frames, objects=objects, size=size, augmentation=self.augmentation
            )
        finally:
            video.rest()

    def _open(self, index: int) -> OpenedVideo:
        video = self._opened.pop(index, None) or self.videos.open(index)
        self._opened[index] = video
        while len(self._opened) > self._cached:
            self._opened.popitem(last=False)
        return video
