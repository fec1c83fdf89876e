"""Reading the files of a data set: names that stay inside their folder, bounded sizes, errors with the path."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image

from model.errors import ClipError, TrainingError
from storage.errors import MaskError, VideoError
from storage.masks import Rle
from storage.videos.images import read_picture
from storage.videos.sources import IngestLimits

__all__ = [
    "Names",
    "find_stems",
    "folder",
    "named_frames",
    "read_json",
    "read_labels",
    "read_names",
    "read_rgb",
    "read_rle",
]

Image = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

LIMITS = IngestLimits()
MAX_SIDE = 32_766  # pixels; what OpenCV can warp
MAX_JSON = 256 << 20  # bytes; the largest of SA-V have some tens of millions
MAX_LIST = 64 << 20  # bytes of a list of names
PICTURES = (".jpg", ".jpeg", ".png")
VOID = 255
"""Palette value of pixels that nobody judged (VOST and others); taken as background."""


class Names(Sequence[str]):
    """Sorted names, packed: a list of SA-1B's eleven million would take a gigabyte."""

    def __init__(self, names: Iterable[str]) -> None:
        self._packed = np.sort(np.array([os.fsencode(name) for name in names], dtype=np.bytes_))

    def __len__(self) -> int:
        return len(self._packed)

    def __getitem__(self, index: int) -> str:  # type: ignore[override]
        return os.fsdecode(bytes(self._packed[index]))


def find_stems(
    root: Path, endings: Sequence[str], *, depth: int, closed: tuple[str, ...] = ()
) -> Iterator[str]:
    """Paths relative to `root`, without ending, of the files with one of the endings, `depth` levels down at most.

    Leaves out what is hidden, and folders whose names begin with one of `closed`. Raises TrainingError for a folder
    that cannot be listed.
    """
    pending = [("", 0)]
    while pending:
        below, level = pending.pop()
        try:
            with os.scandir(root / below) as entries:
                for entry in entries:
                    ending = next((ending for ending in endings if entry.name.endswith(ending)), None)
                    if entry.name.startswith("."):
                        continue
                    if ending is not None:
                        yield f"{below}{entry.name.removesuffix(ending)}"
                    elif level < depth and entry.is_dir() and not entry.name.startswith(closed):
                        pending.append((f"{below}{entry.name}/", level + 1))
        except OSError as error:
            raise TrainingError(f"{root / below}: cannot be listed ({error.strerror or error})") from error


def folder(path: Path, *candidates: str) -> Path | None:
    """The first of the candidate folders below `path` that exists."""
    return next((path / name for name in candidates if (path / name).is_dir()), None)


def checked_name(name: str, where: Path) -> str:
    """The name of a file or folder, if it is one and nothing that leads elsewhere."""
    if name in ("", ".", "..") or any(sign in name for sign in "/\\\0"):
        raise TrainingError(
            f"{where}: {name!r} is no name of a video; it must not hold '/', '\\' or be '..'."
        )
    return name


def read_names(path: Path) -> list[str]:
    """Names from a text file, one a line. Raises `TrainingError` naming it."""
    lines = _read(path, MAX_LIST, TrainingError).decode("utf-8", errors="replace").splitlines()
    names = [checked_name(line.strip(), path) for line in lines if line.strip()]
    if not names:
        raise TrainingError(f"{path} lists no videos.")
    return names


def named_frames(path: Path) -> dict[str, Path]:
    """Pictures of a folder by name without suffix, in the order of their numbers (00002 before 00010)."""
    try:
        with os.scandir(path) as entries:
            names = [entry.name for entry in entries if not entry.name.startswith(".")]
        LIMITS.check_count(len(names))
    except OSError as error:
        raise ClipError(f"{path}: cannot be listed ({error.strerror or error})") from error
    except VideoError as error:
        raise ClipError(f"{path}: {error}") from error
    found = {
        stem: path / name for name in names for stem, suffix in [_split(name)] if suffix.lower() in PICTURES
    }
    return dict(sorted(found.items(), key=lambda item: (_number(item[0]), item[0])))


def read_rgb(path: Path) -> Image:
    """A picture, uint8 [H,W,3] RGB. Raises `ClipError` beginning with its path."""
    try:
        image = read_picture(path, LIMITS)
    except VideoError as error:
        raise ClipError(str(error)) from error
    check_size(image.shape[0], image.shape[1], path)
    return image


def read_labels(path: Path) -> Labels:
    """A mask picture, [H,W]: the object's number at each pixel, 0 background.

    Palette pictures give the palette's index (255, "void", becomes 0), grey and black-and-white ones their
    value. Raises `ClipError` beginning with its path.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)  # check_size decides
            with PIL.Image.open(path) as picture:
                check_size(picture.height, picture.width, path)
                return _labels(picture)
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise ClipError(f"{path}: cannot be read as a mask ({error})") from error


def read_json(path: Path, most: int = MAX_JSON) -> Any:
    """A JSON file. Raises `ClipError` naming it if it is missing, larger than `most` bytes or damaged."""
    try:
        return json.loads(_read(path, most, ClipError))
    except (ValueError, RecursionError) as error:
        raise ClipError(f"{path}: is not valid JSON ({error})") from error


def read_rle(value: Any, where: str) -> Rle:
    """A COCO run-length mask out of a JSON file. Raises `ClipError` beginning with `where` it stands."""
    try:
        height, width = (int(side) for side in value["size"])
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        raise ClipError(f"{where}: it is no mask with 'size': [H, W] and 'counts': {value!r:.80}") from error
    check_size(height, width, where)
    try:
        return Rle.from_coco(value)
    except (MaskError, OverflowError) as error:
        raise ClipError(f"{where}: {error}") from error


def check_size(height: int, width: int, where: Path | str) -> None:
    """Raises `ClipError` for a picture that is too large to take in."""
    try:
        LIMITS.check_size(height, width)
    except VideoError as error:
        raise ClipError(f"{where}: {error}") from error
    if max(height, width) > MAX_SIDE:
        raise ClipError(f"{where}: {width}x{height} pixels; no side may have more than {MAX_SIDE}")


def _labels(picture: PIL.Image.Image) -> Labels:
    if picture.mode == "P":
        indices = np.array(picture)
        indices[indices == VOID] = 0
        return indices
    if picture.mode == "1":
        return np.array(picture).astype(np.uint8)
    if picture.mode == "L":
        return np.array(picture)
    if picture.mode.startswith("I"):
        values = np.array(picture)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("object numbers outside 0..65535")
        return values.astype(np.uint16)
    raise ValueError(f"it is a colour picture ({picture.mode}); masks are palette or grey pictures")


def _read(path: Path, most: int, problem: type[TrainingError]) -> bytes:
    """The bytes of a file, or an error naming it if it is missing or larger than `most` bytes."""
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise problem(f"{path}: cannot be read ({error.strerror or error})") from error
    if len(data) > most:
        raise problem(f"{path}: more than {most >> 20} MB, which is more than such a file holds")
    return data


def _split(name: str) -> tuple[str, str]:
    stem, dot, suffix = name.rpartition(".")
    return (stem, dot + suffix) if dot else (name, "")


def _number(stem: str) -> int:
    digits = stem.rpartition("_")[2]
    return int(digits) if digits.isascii() and digits.isdigit() else 0
