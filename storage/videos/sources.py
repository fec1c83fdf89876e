"""Reading sources: video files (PyAV), folders of images, TIFF stacks; always upright RGB, in presentation
order.

What a header says is not believed: frames are counted, and their time stamps taken, by decoding. A source
that ends in a decoding error, or much earlier than it promises, is corrupt and refused. Nothing here holds
more than one frame at a time.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from storage.errors import VideoError

__all__ = ["Image", "IngestLimits", "Source", "SourceInfo", "annotated_frames", "open_source", "probe"]

Image = NDArray[np.uint8]
"""One frame, uint8 [H, W, 3] RGB."""

DEFAULT_IMAGE_FPS = 6.0
"""Frame rate of images and stacks, which carry none, where the caller gives none."""

_STACK_SUFFIXES = (".tif", ".tiff")


@dataclass(frozen=True, slots=True)
class IngestLimits:
    """What a source may be at most, so that one file cannot fill the memory or the disk."""

    max_pixels: int = 8192 * 8192
    """Pixels of one frame."""
    max_frames: int = 500_000
    """Frames of one source."""

    def check_size(self, height: int, width: int) -> None:
        """Raises VideoError if a frame is too large (or empty)."""
        if height < 1 or width < 1:
            raise VideoError(f"frames of {width}x{height} pixels")
        if height * width > self.max_pixels:
            raise VideoError(f"frames of {width}x{height} pixels; the limit is {self.max_pixels} pixels")

    def check_count(self, frames: int) -> None:
        """Raises VideoError if there are too many frames."""
        if frames > self.max_frames:
            raise VideoError(f"more than {self.max_frames} frames; split the video or raise the limit")


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What decoding a source once has shown. Sizes are of the upright frame, in pixels."""

    kind: str
    height: int
    width: int
    frame_count: int
    fps: float
    constant_rate: bool
    rotation: int
    codec: str
    pts: tuple[int, ...]
    time_base: tuple[int, int]
    lossless: bool
    note: str = ""

    @property
    def duration_s(self) -> float:
        """Seconds from the first frame's appearance to the last one's end."""
        return self.frame_count / self.fps


class Source(Protocol):
    """A source that can be read from its beginning as often as needed."""

    @property
    def info(self) -> SourceInfo:
        """What decoding has shown; the same on every call."""
        ...

    def frames(self, wanted: Container[int]) -> Iterator[tuple[int, Image]]:
        """The wanted frames as (source index, image), ascending. Raises VideoError where decoding fails."""
        ...


def probe(path: Path, *, fps: float | None = None, limits: IngestLimits | None = None) -> SourceInfo:
    """Decodes a source once and tells what it is. Raises VideoError naming the file and what is wrong with
    it.
    """
    return open_source(path, fps=fps, limits=limits or IngestLimits()).info


def open_source(path: Path, *, fps: float | None, limits: IngestLimits) -> Source:
    """Opens a video file, a folder of images or a TIFF stack; ``fps`` overrides (or supplies) the frame rate.

    Raises VideoError whose message begins with the path.
    """
    from storage.videos.images import ImageFolder, TiffStack
    from storage.videos.video_file import VideoFile

    if fps is not None and not (math.isfinite(fps) and fps > 0):
        raise VideoError(f"{path}: the frame rate must be a positive number, not {fps}")
    try:
        if path.is_dir():
            return ImageFolder(path, fps=fps or DEFAULT_IMAGE_FPS, limits=limits)
        if not path.is_file():
            raise VideoError("no such file or folder")
        if path.suffix.lower() in _STACK_SUFFIXES:
            return TiffStack(path, fps=fps or DEFAULT_IMAGE_FPS, limits=limits)
        return VideoFile(path, fps=fps, limits=limits)
    except VideoError as error:
        raise VideoError(f"{path}: {error}") from error
    except OSError as error:
        raise VideoError(f"{path}: cannot be read ({error.strerror or error})") from error


def annotated_frames(info: SourceInfo, annotate_fps: float) -> tuple[int, ...]:
    """Source indices that people annotate, about ``annotate_fps`` a second.

    A constant rate gives every k-th frame, k = max(1, round(fps / annotate_fps)): 0, 4, 8, … of 24 fps at
    6. A varying rate gives the frames nearest in time to an even grid. A source slower than the grid keeps
    every frame.
    """
    if not (math.isfinite(annotate_fps) and annotate_fps > 0):
        raise VideoError(f"the annotation frame rate must be a positive number, not {annotate_fps}")
    if info.constant_rate:
        step = max(1, round(info.fps / annotate_fps))
        return tuple(range(0, info.frame_count, step))
    seconds = (np.array(info.pts, np.float64) - info.pts[0]) * info.time_base[0] / info.time_base[1]
    grid = np.arange(0, math.floor(seconds[-1] * annotate_fps + 0.5) + 1) / annotate_fps
    after = np.clip(np.searchsorted(seconds, grid), 1, max(1, len(seconds) - 1))
    nearest = after - (grid - seconds[after - 1] <= seconds[after] - grid)
    return tuple(int(index) for index in np.unique(nearest))
