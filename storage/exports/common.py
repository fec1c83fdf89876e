"""What every export shares: its input, its all-or-nothing output folder, and the frames it copies.

An export is written to ``<out>.partial`` and renamed when it is whole; a killed one leaves only that folder,
which the next export to the same place replaces.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from storage.errors import ExportError
from storage.masks import Rle
from storage.videos.library import VideoLibrary, encode_image
from storage.videos.video import Video

__all__ = ["ExportMasklet", "VideoNames", "by_video", "output_folder", "write_frames"]

_MARK = ".unfinished-export"


@dataclass(frozen=True, slots=True)
class ExportMasklet:
    """One accepted masklet of a video.

    ``masks`` are by *source* frame and must lie on annotated frames; an annotated frame without a mask means
    that the object is absent there. ``stability`` is by source frame in [0, 1], for automatic masklets only.
    """

    video: Video
    object_id: int
    masklet_id: str
    origin: str
    masks: Mapping[int, Rle]
    edited_frames: int = 0
    stability: Mapping[int, float] | None = None

    def __post_init__(self) -> None:
        if self.origin not in ("manual", "auto"):
            raise ExportError(
                f"masklet {self.masklet_id!r}: the origin is {self.origin!r}, not manual or auto"
            )
        stray = sorted(set(self.masks) - set(self.video.annotated_frames))
        if stray:
            raise ExportError(
                f"masklet {self.masklet_id!r}: frame {stray[0]} is no annotated frame of {self.video.name!r}"
            )
        for frame, rle in self.masks.items():
            if (rle.height, rle.width) != (self.video.height, self.video.width):
                raise ExportError(
                    f"masklet {self.masklet_id!r}: the mask of frame {frame} is {rle.height}x{rle.width}, "
                    f"its video {self.video.height}x{self.video.width} (height x width)"
                )


def by_video(masklets: Iterable[ExportMasklet]) -> Iterator[tuple[Video, list[ExportMasklet]]]:
    """Masklets video by video, by object and id. Raises ExportError if a video comes back later."""
    seen: set[str] = set()
    for video_id, same in groupby(masklets, key=lambda masklet: masklet.video.video_id):
        if video_id in seen:
            raise ExportError(
                f"the masklets of video {video_id} must come together, one video after the other"
            )
        seen.add(video_id)
        listed = sorted(same, key=lambda masklet: (masklet.object_id, masklet.masklet_id))
        yield listed[0].video, listed


class VideoNames:
    """File names for videos: their own name made safe, and its id behind it where two would be the same."""

    def __init__(self) -> None:
        self._taken: dict[str, str] = {}

    def of(self, video: Video) -> str:
        """The name of a video; the same on every call."""
        safe = re.sub(r"[^\w.-]+", "_", video.name).strip("._") or video.video_id
        if self._taken.setdefault(safe.lower(), video.video_id) != video.video_id:
            return f"{safe}-{video.video_id}"
        return safe


@contextmanager
def output_folder(out: Path) -> Iterator[Path]:
    """A folder that becomes ``out`` when all is written. Raises ExportError if ``out`` holds files."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ExportError(f"{out} exists and is not an empty folder; choose a new one")
    partial = out.with_name(out.name + ".partial")
    try:
        if partial.exists():
            if not (partial / _MARK).exists():
                raise ExportError(f"{partial} is in the way and was not made by an export; move it away")
            shutil.rmtree(partial)
        partial.mkdir(parents=True)
        (partial / _MARK).touch()
        yield partial
        (partial / _MARK).unlink()
        partial.replace(out)
    except OSError as error:
        raise ExportError(f"cannot write the export to {out}: {error}") from error


def write_frames(library: VideoLibrary, video: Video, folder: Path) -> None:
    """Every annotated frame as ``<source index>.jpg`` (quality 95; stored JPEGs are copied byte by byte)."""
    folder.mkdir(parents=True, exist_ok=True)
    frames = library.frames(video)
    for position, index in enumerate(video.annotated_frames):
        path = folder / f"{index:05d}.jpg"
        if video.image_format == "jpg":
            path.write_bytes(library.frame_bytes(video, index))
        else:
            path.write_bytes(encode_image(frames[position], "jpg"))
