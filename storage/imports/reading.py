"""The masks of one video, from pictures or SA-V's JSON, on its annotated frames.

Pictures are PNG files named by frame: one a frame whose values are the objects (DAVIS, MOSE, YouTube-VOS), or a folder
an object (SA-V's validation set, our own export), in which everything but 0 is the object. A value of 255 among others
is *void* and counts as background, as in training; if it is the only value, it is the object.

Every annotated frame must be there, for what is missing cannot be told from an object that is absent. In a tree of one
folder an object, an object's pictures may begin late: until then it is absent.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage import masks as rles
from storage.errors import ImportProblem, MaskError
from storage.mask_pictures import read_mask_picture
from storage.masks import Rle
from storage.videos.video import Video

__all__ = ["read_masks"]

Masks = dict[int, dict[int, Rle]]
Pictures = Mapping[int, Path]
"""Source frame → picture."""

VOID = 255
FULL_FPS = 24
STEP = 4  # frames of SA-V's videos from one annotated frame to the next


def read_masks(path: Path, video: Video) -> Masks:
    """The masks in a file or folder for a video: object id → source frame → mask, absent where there is none.

    Objects have the numbers that the files give them. Raises ImportProblem for a picture or mask that is missing,
    cannot be read, or has another size than the video, naming it, and for masks that show no object.
    """
    try:
        found = _read_json(path, video) if path.is_file() else _read_folder(path, video)
    except OSError as error:
        raise ImportProblem(f"{path}: cannot be read ({error.strerror or error})") from error
    shown = {number: masks for number, masks in sorted(found.items()) if masks}
    if not shown:
        raise ImportProblem(f"{path} shows no object on the annotated frames of {video.name!r}")
    return shown


def _read_folder(path: Path, video: Video) -> Masks:
    objects = sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))
    if not objects:
        return _palette_masks(_by_frame(path, _pictures(path), video), video)
    named = {child: _pictures(child) for child in objects}
    longest = max(named.values(), key=len)
    whole = _by_frame(path, longest, video)
    frames = {picture.name: frame for frame, picture in whole.items()}
    numbers = _numbers([child.name for child in objects])
    return {
        numbers[child.name]: _object_masks(child, pictures, frames, video)
        for child, pictures in named.items()
    }


def _pictures(folder: Path) -> list[Path]:
    """PNG pictures in the order of their numbers, 2 before 10."""
    found = [path for path in folder.iterdir() if path.suffix.lower() == ".png" and path.name[0] != "."]
    return sorted(found, key=lambda path: (_frame_number(path) or 0, path.name))


def _by_frame(folder: Path, pictures: Sequence[Path], video: Video) -> Pictures:
    """Pictures by annotated frame: by the number in their names, or else by their order if none is missing."""
    numbered = {number: path for path in pictures if (number := _frame_number(path)) is not None}
    missing = [frame for frame in video.annotated_frames if frame not in numbered]
    if not missing:
        return {frame: numbered[frame] for frame in video.annotated_frames}
    if len(pictures) == video.frame_count:
        return {frame: pictures[frame] for frame in video.annotated_frames}
    if len(pictures) == len(video.annotated_frames):
        return dict(zip(video.annotated_frames, pictures, strict=True))
    raise ImportProblem(
        f"{folder}: {missing[0]:05d}.png is missing"
        + (f", and {len(missing) - 1} more" if len(missing) > 1 else "")
        + f"; {video.name!r} has {len(video.annotated_frames)} annotated frames of {video.frame_count}, "
        f"the folder {len(pictures)} pictures"
    )


def _object_masks(
    folder: Path, pictures: Sequence[Path], frames: Mapping[str, int], video: Video
) -> dict[int, Rle]:
    """An object's masks; its pictures may begin late, but none may be missing after that."""
    own = {frames[path.name]: path for path in pictures if path.name in frames}
    late = [(frame, name) for name, frame in frames.items() if own and frame > min(own) and frame not in own]
    if late or not own:
        raise ImportProblem(f"{folder}: {min(late)[1] if late else next(iter(frames))} is missing")
    masks = {frame: rles.encode(_labels(path, video) > 0) for frame, path in sorted(own.items())}
    return {frame: rle for frame, rle in masks.items() if not rles.is_empty(rle)}


def _palette_masks(pictures: Pictures, video: Video) -> Masks:
    """Every value's masks; 255 is void where there are other values."""
    found: Masks = {}
    for frame, path in pictures.items():
        labels = _labels(path, video)
        for value in np.unique(labels):
            if value:
                found.setdefault(int(value), {})[frame] = rles.encode(labels == value)
    if len(found) > 1:
        found.pop(VOID, None)
    return found


def _labels(path: Path, video: Video) -> NDArray[Any]:
    try:
        labels = read_mask_picture(path)
    except MaskError as error:
        raise ImportProblem(str(error)) from error
    _check_size(labels.shape[0], labels.shape[1], str(path), video)
    return labels


def _check_size(height: int, width: int, where: str, video: Video) -> None:
    if (height, width) != (video.height, video.width):
        raise ImportProblem(
            f"{where} is {width}x{height} pixels, but {video.name!r} is {video.width}x{video.height}"
        )


def _read_json(path: Path, video: Video) -> Masks:
    """Masks of a file of SA-V: a list of annotated frames, each a list of objects."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ImportProblem(f"{path} is not valid JSON: {error}") from error
    fields = content if isinstance(content, dict) else {"masklet": content}
    entries = fields.get("masklet", fields.get("masks"))
    if not isinstance(entries, list) or not all(isinstance(entry, list) for entry in entries):
        raise ImportProblem(f"{path}: there is no list of frames under 'masklet', each a list of objects")
    found: Masks = {}
    for frame, place in _entries(path, fields, len(entries), video).items():
        numbers = _object_numbers(path, fields, len(entries[place]))
        for number, value in zip(numbers, entries[place], strict=True):
            mask = _rle(value, f"{path}: annotated frame {place}, object {number}", video)
            if not rles.is_empty(mask):
                found.setdefault(number, {})[frame] = mask
    return found


def _entries(path: Path, fields: Mapping[str, Any], count: int, video: Video) -> dict[int, int]:
    """Annotated source frame → entry: as many entries as annotated frames, or one every few source frames."""
    if count == len(video.annotated_frames):
        return {frame: place for place, frame in enumerate(video.annotated_frames)}
    rate = fields.get("fps")
    step = FULL_FPS // rate if isinstance(rate, int) and 1 <= rate <= FULL_FPS else STEP
    apart = all(frame % step == 0 for frame in video.annotated_frames)
    if apart and count == -(-video.frame_count // step):
        return {frame: frame // step for frame in video.annotated_frames}
    raise ImportProblem(
        f"{path} has masks of {count} frames, but {video.name!r} has {len(video.annotated_frames)} annotated frames "
        f"(every {step}th of {video.frame_count} would be {-(-video.frame_count // step)})"
    )


def _object_numbers(path: Path, fields: Mapping[str, Any], count: int) -> list[int]:
    listed = fields.get("masklet_id")
    if listed is None:
        return list(range(count))
    good = isinstance(listed, list) and all(isinstance(number, int) and number >= 0 for number in listed)
    if not good or len(listed) != count or len(set(listed)) != count:
        raise ImportProblem(f"{path}: a frame has {count} objects, but 'masklet_id' is {listed!r:.60}")
    return list(listed)


def _rle(value: object, where: str, video: Video) -> Rle:
    if not isinstance(value, dict):
        raise ImportProblem(f"{where} has no mask; references need one for every annotated frame")
    try:
        rle = Rle.from_coco(value)
        _check_size(rle.height, rle.width, where, video)
        return rles.encode(rles.decode(rle))
    except (MaskError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise ImportProblem(f"{where}: {error}") from error


def _numbers(names: Iterable[str]) -> dict[str, int]:
    """Object numbers of folders: those in their names, or 1, 2, … in order if one has none or two the same."""
    listed = list(names)
    if all(name.isascii() and name.isdigit() for name in listed) and len(
        {int(name) for name in listed}
    ) == len(listed):
        return {name: int(name) for name in listed}
    return {name: number for number, name in enumerate(listed, start=1)}


def _frame_number(path: Path) -> int | None:
    """The number that a picture's name ends with, after an underscore or as a whole."""
    digits = path.stem.rpartition("_")[2]
    return int(digits) if digits.isascii() and digits.isdigit() else None
