"""SA-V's training folders: `<video>.mp4` (or its frames) beside `<video>_manual.json` and `<video>_auto.json`.

Entry a of an annotation belongs to video frame 4a: annotations have 6 frames a second, videos 24. Frames may
be the mp4, a folder of every frame, or one of every fourth frame, both named by the index of the frame at 24
frames a second. What people made and what the model found by itself are separate files, and stay separate here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from model.errors import ClipError, TrainingError
from model.training.data.files import (
    Names,
    check_size,
    find_stems,
    named_frames,
    read_json,
    read_names,
    read_rgb,
    read_rle,
)
from model.training.data.videos import OpenedVideo
from storage.errors import VideoError
from storage.masks import Rle, decode, is_empty
from storage.videos.seeking import SeekableVideo
from storage.videos.video_file import opened_video, video_stream

__all__ = ["MASKLETS", "SavFolder"]

Image = npt.NDArray[np.uint8]
BoolMask = npt.NDArray[np.bool_]

MASKLETS: Mapping[str, tuple[str, ...]] = {
    "manual": ("manual",),
    "auto": ("auto",),
    "both": ("manual", "auto"),
}
"""Which files are read: people's masklets (as SAM 2's training does), the model's own, or all."""

FRAMES_FPS = 24
ANNOTATION_STEP = 4
FRAME_FOLDERS = ("JPEGImages_24fps", "JPEGImages_6fps", "JPEGImages")
PICTURE_FOLDERS = ("JPEGImages", "Annotations")
"""Beginnings of the names of folders that are not searched: there may be many files in them."""

DEPTH = 3
"""Levels of folders that are searched for annotations (SA-V comes in sub-folders `sav_000`, `sav_001`, …)."""


class SavFolder:
    """The videos below a folder that have masklets of the wanted kind.

    `names` lists the videos to take. `rm_unannotated=False` keeps the frames between annotated ones, on which
    all objects count as absent, as SAM 2's own loader does; leave it unless you know why.
    """

    def __init__(
        self,
        root: Path,
        *,
        masklets: str = "manual",
        names: Path | None = None,
        rm_unannotated: bool = True,
    ) -> None:
        if masklets not in MASKLETS:
            raise TrainingError(f"Masklets {masklets!r} are unknown; use one of {', '.join(MASKLETS)}.")
        self._root = root
        self._kinds = MASKLETS[masklets]
        self._rm_unannotated = rm_unannotated
        wanted = set(read_names(names)) if names else None
        endings = [f"_{kind}.json" for kind in self._kinds]
        stems = find_stems(root, endings, depth=DEPTH, closed=PICTURE_FOLDERS)
        found = {stem for stem in stems if wanted is None or Path(stem).name in wanted}
        self._stems = Names(found)
        if not found:
            kinds = " or ".join(f"<video>_{kind}.json" for kind in self._kinds)
            raise TrainingError(f"{root} holds no {kinds}" + (f" of a video in {names}." if names else "."))

    def __len__(self) -> int:
        return len(self._stems)

    def open(self, index: int) -> OpenedVideo:
        """The video's annotations; frames are looked for, not read."""
        stem = self._root / self._stems[index]
        files = [stem.with_name(f"{stem.name}_{kind}.json") for kind in self._kinds]
        parts = [_Annotation(file) for file in files if len(files) == 1 or file.exists()]
        if not parts:
            raise ClipError(f"{files[0]}: cannot be read (the file is gone)")
        frames = _frames(self._root, stem, parts[0])
        return _SavVideo(stem.name, frames, parts, self._rm_unannotated)


class _Annotation:
    """One JSON file: masks as [annotated frame][object], decoded when asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        content = read_json(path)
        fields = content if isinstance(content, dict) else {"masklet": content}
        self.step = _step(fields.get("fps"), path)
        frames = fields.get("masklet", fields.get("masks"))
        if not isinstance(frames, list) or not frames:
            raise ClipError(f"{path}: there is no list of frames under 'masklet'")
        self._frames: list[Any] = frames
        self.objects = max(len(frame) if isinstance(frame, list) else 0 for frame in frames)

    def __len__(self) -> int:
        return len(self._frames)

    def annotated(self, entry: int) -> bool:
        """A frame counts only if every object was looked at there: no null in its place."""
        frame = self._frames[entry]
        return isinstance(frame, list) and len(frame) == self.objects and None not in frame

    def mask(self, entry: int, index: int) -> Rle:
        """Raises `ClipError` naming file, frame and object."""
        return read_rle(self._frames[entry][index], f"{self.path}: annotated frame {entry}, object {index}")


class _SavVideo:
    """Objects of all annotations one after the other, on the frames that are kept."""

    def __init__(
        self, name: str, frames: _Frames, parts: Sequence[_Annotation], rm_unannotated: bool
    ) -> None:
        self.name = self.group = name
        self._frames = frames
        self._objects = [(part, index) for part in parts for index in range(part.objects)]
        entries = [entry for entry in range(len(parts[0])) if all(_annotates(part, entry) for part in parts)]
        by_frame = {frames.number(entry): entry for entry in entries}
        numbers = sorted(by_frame) if rm_unannotated else frames.numbers()
        self._positions = [(number, by_frame.get(number)) for number in numbers]
        if not self._positions:
            raise ClipError(f"{parts[0].path}: no frame is annotated")

    def __len__(self) -> int:
        return len(self._positions)

    def image(self, position: int) -> Image:
        return self._frames.read(self._positions[position][0])

    def visible(self, position: int) -> list[int]:
        masks = [self._rle(index, position) for index in range(len(self._objects))]
        return [index for index, rle in enumerate(masks) if rle is not None and not is_empty(rle)]

    def mask(self, index: int, position: int) -> BoolMask | None:
        rle = self._rle(index, position)
        return None if rle is None else decode(rle)

    def rest(self) -> None:
        self._frames.close()

    def _rle(self, index: int, position: int) -> Rle | None:
        part, own = self._objects[index]
        entry = self._positions[position][1]
        return None if entry is None else part.mask(entry, own)


class _Frames(Protocol):
    """Frames of a video by their index at its full rate."""

    def number(self, entry: int) -> int:
        """Video frame of an annotated frame."""
        ...

    def numbers(self) -> list[int]:
        """All frames there are, ascending."""
        ...

    def read(self, number: int) -> Image: ...

    def close(self) -> None: ...


class _Film:
    """Frames of a video file."""

    def __init__(self, path: Path, annotation: _Annotation) -> None:
        self._step = annotation.step
        try:
            with opened_video(path) as container:  # what it says of its size, before a frame is decoded
                context = video_stream(container).codec_context
                check_size(context.height, context.width, path)
            self._video = SeekableVideo(path)
            self._video.close()
        except VideoError as error:
            raise ClipError(str(error) if str(path) in str(error) else f"{path}: {error}") from error
        check_size(self._video.height, self._video.width, path)
        last = self.number(len(annotation) - 1)
        if last >= len(self._video):
            raise ClipError(
                f"{path}: it has {len(self._video)} frames, but {annotation.path.name} has masks up to frame "
                f"{last}; the file was cut, or belongs to another annotation"
            )

    def number(self, entry: int) -> int:
        return entry * self._step

    def numbers(self) -> list[int]:
        return list(range(len(self._video)))

    def read(self, number: int) -> Image:
        try:
            return self._video.read(number)
        except VideoError as error:
            raise ClipError(str(error)) from error

    def close(self) -> None:
        self._video.close()


class _Pictures:
    """Frames as pictures: named by the index of the video frame, or just as many as there are annotated ones."""

    def __init__(self, path: Path, annotation: _Annotation) -> None:
        pictures = named_frames(path)
        by_number = {int(stem): file for stem, file in pictures.items() if stem.isascii() and stem.isdigit()}
        indices = [entry * annotation.step for entry in range(len(annotation))]
        if all(index in by_number for index in indices):
            self._files, self._numbers = by_number, indices
        elif len(pictures) == len(annotation):
            self._files, self._numbers = dict(enumerate(pictures.values())), list(range(len(annotation)))
        else:
            missing = next(index for index in indices if index not in by_number)
            raise ClipError(
                f"{path}: {missing:05d}.jpg is missing (annotated frame {missing // annotation.step} of "
                f"{annotation.path.name}); it holds {len(pictures)} pictures"
            )

    def number(self, entry: int) -> int:
        return self._numbers[entry]

    def numbers(self) -> list[int]:
        return sorted(self._files)

    def read(self, number: int) -> Image:
        return read_rgb(self._files[number])

    def close(self) -> None:
        """Pictures are read one by one."""


def _frames(root: Path, stem: Path, annotation: _Annotation) -> _Frames:
    """Frames of a video, as an mp4 or a folder beside its annotation, or a folder below the root."""
    film = stem.with_name(stem.name + ".mp4")
    if film.is_file():
        return _Film(film, annotation)
    places = [stem, *(root / name / stem.name for name in FRAME_FOLDERS)]
    for place in places:
        if place.is_dir():
            return _Pictures(place, annotation)
    looked = ", ".join(str(place) for place in (film, *places))
    raise ClipError(f"{annotation.path}: there are no frames for it; looked for {looked}")


def _annotates(part: _Annotation, entry: int) -> bool:
    return entry < len(part) and part.annotated(entry)


def _step(fps: Any, path: Path) -> int:
    """Video frames from one annotated frame to the next."""
    if fps is None:
        return ANNOTATION_STEP
    rate = fps[0] if isinstance(fps, list) and fps else fps
    if not isinstance(rate, int | float) or not 1 <= rate <= FRAMES_FPS or FRAMES_FPS % rate:
        raise ClipError(f"{path}: 'fps' must divide {FRAMES_FPS}, got {fps!r:.40}")
    return int(FRAMES_FPS // rate)
