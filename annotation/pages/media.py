"""Pictures and films on disk, where Label Studio serves them from.

Everything is made once, under a name that follows from what it shows, and appears at once: a page never sees half a
file. Files and folders are this user's alone. Frames come from the video library, by position among the annotated ones.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray

from annotation.errors import PageError
from annotation.pages.drawing import draw_marker, enlargement, outlined, with_caption
from annotation.pages.films import film_rate, write_film
from annotation.pages.tickets import Ticket
from annotation.pages.views import PageView
from annotation.site.records import MEDIA_FOLDER
from model.video.frame_source import FrameSource
from storage import masks as rle_masks
from storage.commits import canonical_json
from storage.masks import Rle
from storage.videos import Video

__all__ = ["MediaRoot", "clip_fps"]

Picture = NDArray[np.uint8]
BoolMask = NDArray[np.bool_]

_ADDRESS = "/data/local-files/?d="
_JPEG_QUALITY = 95
_VERSION = "1"  # of the drawings: another one makes new files


class MediaRoot:
    """Files below Label Studio's document root `root`; each method returns addresses for task data."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def frames(self, video: Video, view: PageView, frames: FrameSource) -> list[str]:
        """The frames of a view in its size, as JPEG, one for each page."""
        _check(video, view, frames)
        folder = f"frames/{video.video_id}/{view.width}x{view.height}"
        return [
            self._picture(f"{folder}/{frame:05d}.jpg", lambda frame=frame: _shown(video, view, frames, frame))  # type: ignore[misc]
            for frame in view.frames
        ]

    def clip(self, video: Video, view: PageView, frames: FrameSource) -> str:
        """A film of the frames of a view; the bar below names the page."""
        _check(video, view, frames)
        name = f"clips/{video.video_id}/{_digest(view.to_json(), clip_fps(video, view))}.mp4"
        return self._film(name, lambda: _clip_pictures(video, view, frames), fps=clip_fps(video, view))

    def overlay(self, ticket: Ticket, video: Video, frames: FrameSource) -> str:
        """A film of a masklet: the item's masks outlined, frames without the object tagged."""
        view, masks = ticket.view, ticket.item.masks
        _check(video, view, frames, ticket)
        shown = {frame: rle.to_coco() for frame, rle in sorted(masks.items())}
        name = f"overlays/{video.video_id}/{_digest(view.to_json(), clip_fps(video, view), list(shown.items()))}.mp4"
        return self._film(
            name, lambda: _overlay_pictures(video, view, frames, masks), fps=clip_fps(video, view)
        )

    def marker(self, ticket: Ticket, video: Video, frames: FrameSource) -> str:
        """A small picture of the item's first frame and a close-up, in which the object is marked."""
        item = ticket.item
        _check(video, ticket.view, frames, ticket)
        what = [item.first_frame, item.to_json()["point"], item.to_json()["box"]]
        mask = item.masks.get(item.first_frame)
        name = f"markers/{video.video_id}/{_digest(*what, mask and mask.to_coco())}.jpg"
        return self._picture(name, lambda: _marker_picture(ticket, video, frames, mask))

    def _picture(self, name: str, make: Callable[[], Picture]) -> str:
        def write(path: Path) -> None:
            picture = PIL.Image.fromarray(make())
            picture.save(path, "JPEG", quality=_JPEG_QUALITY, subsampling=0)

        return self._once(name, write)

    def _film(self, name: str, make: Callable[[], Iterator[Picture]], *, fps: float) -> str:
        return self._once(name, lambda path: write_film(path, make(), fps=fps))

    def _once(self, name: str, write: Callable[[Path], None]) -> str:
        """Make a file unless it is there, under a temporary name first; returns its address."""
        relative = f"{MEDIA_FOLDER}/{name}"
        target = self._root / relative
        try:
            if not target.is_file():
                _make_folders(self._root, target.parent)
                _write_at_once(target, write)
        except OSError as error:
            raise PageError(
                f"{target} could not be written ({error.strerror or error}); free the disk or mend its rights, "
                "then publish again."
            ) from error
        return _ADDRESS + quote(relative)


def clip_fps(video: Video, view: PageView) -> float:
    """Frames a second of the films of a view: they play in real time. It is the task data `fps`, too."""
    ticks = video.pts[view.frames[-1]] - video.pts[view.frames[0]]
    return film_rate(ticks * video.time_base[0] / video.time_base[1], len(view))


def _check(video: Video, view: PageView, frames: FrameSource, ticket: Ticket | None = None) -> None:
    if ticket is not None and ticket.item.video_id != video.video_id:
        raise PageError(
            f"Ticket {ticket.ticket_id} is about video {ticket.item.video_id}, not {video.video_id}."
        )
    sizes = {
        (view.source_height, view.source_width),
        (video.height, video.width),
        (frames.height, frames.width),
    }
    if len(sizes) > 1 or len(frames) != len(video.annotated_frames):
        raise PageError(f"The view, the record and the frames of video {video.video_id} do not fit together.")


def _source(video: Video, frames: FrameSource, frame: int) -> Picture:
    return np.asarray(frames[video.position(frame)], dtype=np.uint8)


def _shown(video: Video, view: PageView, frames: FrameSource, frame: int) -> Picture:
    picture = _source(video, frames, frame)
    return _resized(picture, view.height, view.width, cv2.INTER_AREA) if view.scaled else picture


def _clip_pictures(video: Video, view: PageView, frames: FrameSource) -> Iterator[Picture]:
    for page, frame in enumerate(view.frames):
        yield with_caption(_shown(video, view, frames, frame), f"{page + 1} / {len(view)}")


def _overlay_pictures(
    video: Video, view: PageView, frames: FrameSource, masks: Mapping[int, Rle]
) -> Iterator[Picture]:
    times = enlargement(view.height, view.width)
    height, width = view.height * times, view.width * times
    for page, frame in enumerate(view.frames):
        picture = _shown(video, view, frames, frame)
        if times > 1:
            picture = _resized(picture, height, width, cv2.INTER_CUBIC)
        mask = view.shown(rle_masks.decode(masks[frame])) if frame in masks else None
        if mask is not None:
            picture = outlined(picture, mask.repeat(times, axis=0).repeat(times, axis=1))
        tag = "no mask" if mask is None else "" if mask.any() else "absent"
        yield with_caption(picture, f"{page + 1} / {len(view)}", tag=tag)


def _marker_picture(ticket: Ticket, video: Video, frames: FrameSource, mask: Rle | None) -> Picture:
    item = ticket.item
    picture = _source(video, frames, item.first_frame)
    return draw_marker(
        picture, point=item.point, box=item.box, mask=None if mask is None else rle_masks.decode(mask)
    )


def _resized(picture: Picture, height: int, width: int, method: int) -> Picture:
    return np.asarray(cv2.resize(picture, (width, height), interpolation=method), dtype=np.uint8)


def _digest(*parts: object) -> str:
    return hashlib.sha256(canonical_json([_VERSION, *parts])).hexdigest()[:32]


def _make_folders(root: Path, folder: Path) -> None:
    """Folders below the root that only this user can enter."""
    missing = []
    while folder != root and not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    for new in reversed(missing):
        new.mkdir(mode=0o700, exist_ok=True)


def _write_at_once(target: Path, write: Callable[[Path], None]) -> None:
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".tmp-", suffix=target.suffix)  # 0600
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
