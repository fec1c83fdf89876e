"""Pictures to pre-train on: files of a folder, or frames of any source of clips; cropped and flipped at random."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as PilImage

from model.errors import ClipError, TrainingError
from model.training.clips import ClipSource

Image = npt.NDArray[np.uint8]

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
ASPECT = 4 / 3  # a crop is at most this much wider or higher than a square
ATTEMPTS = 10


class Pictures(Protocol):
    """Where pictures come from. Equal index and generator state give equal pictures."""

    def __len__(self) -> int: ...

    def picture(self, index: int, rng: np.random.Generator, *, size: int) -> tuple[Image, str]:
        """A picture uint8 [H,W,3] RGB of any shape, good for crops of `size` pixels, and its name."""
        ...


class FolderPictures:
    """Every picture file beneath a folder, in sorted order; no labels are looked for."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise TrainingError(f"{folder} is not a folder of pictures.")
        self._files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        if not self._files:
            raise TrainingError(f"There is no picture beneath {folder} ({', '.join(sorted(SUFFIXES))}).")

    def __len__(self) -> int:
        return len(self._files)

    def picture(self, index: int, rng: np.random.Generator, *, size: int) -> tuple[Image, str]:
        """The picture at `index`, whole. Raises `ClipError` naming a file that cannot be read."""
        path = self._files[index]
        try:
            with PilImage.open(path) as image:
                image.draft("RGB", (2 * size, 2 * size))  # a JPEG is decoded no larger than needed
                return _rgb(image), str(path)
        except (OSError, SyntaxError, ValueError, PilImage.DecompressionBombError) as error:
            raise ClipError(f"Cannot read the picture {path}: {error}.") from error


def _rgb(image: PilImage.Image) -> Image:
    """uint8 [H,W,3]; pictures of 16 bits lose the lower eight, where a plain conversion would cut at 255."""
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    return np.asarray(image.convert("RGB"))


class ClipPictures:
    """Single frames of a source of clips, drawn twice as large as asked for, so that crops are sharp."""

    def __init__(self, clips: ClipSource) -> None:
        self._clips = clips

    def __len__(self) -> int:
        return len(self._clips)

    def picture(self, index: int, rng: np.random.Generator, *, size: int) -> tuple[Image, str]:
        """The first frame of a clip."""
        clip = self._clips.clip(index, rng, frames=1, objects=1, size=2 * size)
        return clip.images[0], clip.name


class MixedPictures:
    """Pictures of several places, by weight; where none has one, in proportion to their numbers of pictures."""

    def __init__(self, places: Sequence[tuple[Pictures, float | None]]) -> None:
        if not places:
            raise TrainingError("There is no picture to learn from.")
        self._places = [pictures for pictures, _ in places]
        if all(weight is None for _, weight in places):
            weights = np.array([len(pictures) for pictures in self._places], dtype=np.float64)
        else:
            weights = np.array([1.0 if weight is None else weight for _, weight in places])
        self._shares = weights / weights.sum()

    def __len__(self) -> int:
        return sum(len(pictures) for pictures in self._places)

    def picture(self, index: int, rng: np.random.Generator, *, size: int) -> tuple[Image, str]:
        """A picture of one place, drawn by weight; `index` is taken modulo its number of pictures."""
        place = self._places[int(rng.choice(len(self._places), p=self._shares))]
        return place.picture(index % len(place), rng, size=size)


def random_crop(image: Image, rng: np.random.Generator, *, smallest: float, size: int) -> Image:
    """A flipped (half of the time) crop, uint8 [size,size,3], of `smallest` to all of the picture's area."""
    top, left, height, width = _draw_crop(image.shape[0], image.shape[1], rng, smallest)
    crop = image[top : top + height, left : left + width]
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    shrinks = min(height, width) > size
    resized = cv2.resize(
        np.ascontiguousarray(crop), (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    )
    return np.asarray(resized, dtype=np.uint8)


def _draw_crop(
    height: int, width: int, rng: np.random.Generator, smallest: float
) -> tuple[int, int, int, int]:
    """Top, left, height and width; the largest crop in the middle when no draw fits."""
    for _ in range(ATTEMPTS):
        area = height * width * rng.uniform(smallest, 1.0)
        aspect = np.exp(rng.uniform(-np.log(ASPECT), np.log(ASPECT)))
        wide, tall = round(np.sqrt(area * aspect)), round(np.sqrt(area / aspect))
        if 0 < wide <= width and 0 < tall <= height:
            return int(rng.integers(height - tall + 1)), int(rng.integers(width - wide + 1)), tall, wide
    side = min(height, width)
    return (height - side) // 2, (width - side) // 2, side, side
