"""Videos as folders of pictures: DAVIS, MOSE, YouTube-VOS, and SA-V's validation and test sets.

    JPEGImages[_24fps][/480p]/<video>/<frame>.jpg
    Annotations[_6fps][/480p]/<video>/<frame>.png             palette pictures: one number an object
    Annotations[_6fps]/<video>/<object>/<frame>.png           or a folder an object: anything but 0 is the object

Frames and masks belong together by name. Frames without a mask picture are left out, so the contiguous frames
of a clip are annotated ones (6 a second in SA-V, every fifth in YouTube-VOS).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.errors import ClipError, TrainingError
from model.training.data.files import (
    Labels,
    Names,
    folder,
    named_frames,
    read_labels,
    read_names,
    read_rgb,
)
from model.training.data.videos import OpenedVideo

__all__ = ["PngFolders"]

Image = npt.NDArray[np.uint8]
BoolMask = npt.NDArray[np.bool_]

FRAMES = (
    "JPEGImages_24fps",
    "JPEGImages_6fps",
    "JPEGImages/480p",
    "JPEGImages/Full-Resolution",
    "JPEGImages",
)
MASKS = ("Annotations_6fps", "Annotations/480p", "Annotations/Full-Resolution", "Annotations")


class PngFolders:
    """The videos of one such tree, by name.

    `names` is a list of videos, by default every folder of masks. `sample_rate` takes every n-th annotated
    frame. `rm_unannotated=False` keeps frames without a mask picture, on which all objects count as absent.
    """

    def __init__(
        self,
        root: Path,
        *,
        names: Path | None = None,
        sample_rate: int = 1,
        rm_unannotated: bool = True,
    ) -> None:
        self._frames = _existing(root, FRAMES, "frames")
        self._masks = _existing(root, MASKS, "masks")
        self._names = Names(read_names(names) if names else _folders(self._masks))
        self._sample_rate, self._rm_unannotated = sample_rate, rm_unannotated
        if sample_rate < 1:
            raise TrainingError(f"{root}: the sample rate must be at least 1, got {sample_rate}.")
        if not len(self._names):
            raise TrainingError(f"{self._masks} holds no folder of a video.")

    def __len__(self) -> int:
        return len(self._names)

    def open(self, index: int) -> OpenedVideo:
        """The video's frames and masks, by name; nothing is decoded yet."""
        name = self._names[index]
        frames, masks = named_frames(self._frames / name), self._masks_of(name)
        annotated = {stem for files in masks.values() for stem in files}
        stems = [stem for stem in frames if stem in annotated or not self._rm_unannotated]
        lost = sorted(annotated - set(frames))
        if lost:
            raise ClipError(f"{self._frames / name}: there is no frame for the mask picture {lost[0]}.png")
        if not stems:
            raise ClipError(f"{self._masks / name}: there are no mask pictures")
        stems = stems[:: self._sample_rate]
        paths = [frames[stem] for stem in stems]
        if "" in masks:
            return _PaletteVideo(name, paths, [masks[""].get(stem) for stem in stems])
        columns = [[files.get(stem) for stem in stems] for _, files in sorted(masks.items())]
        return _ObjectFolders(name, paths, columns)

    def _masks_of(self, name: str) -> Mapping[str, Mapping[str, Path]]:
        """Mask pictures by object folder and frame; palette pictures under the empty name."""
        path = self._masks / name
        objects = _folders(path)
        if not objects:
            return {"": named_frames(path)}
        return {object_name: named_frames(path / object_name) for object_name in objects}


class _Folder:
    """What both kinds share: frames by path."""

    def __init__(self, name: str, frames: Sequence[Path]) -> None:
        self.name = self.group = name
        self._frames = frames

    def __len__(self) -> int:
        return len(self._frames)

    def image(self, position: int) -> Image:
        return read_rgb(self._frames[position])


class _PaletteVideo(_Folder):
    """Objects are the numbers of the palette."""

    def __init__(self, name: str, frames: Sequence[Path], masks: Sequence[Path | None]) -> None:
        super().__init__(name, frames)
        self._masks = masks
        self._last: tuple[int, Labels | None] = (-1, None)

    def visible(self, position: int) -> list[int]:
        labels = self._labels(position)
        if labels is None:
            return []
        counts = np.bincount(labels.ravel())
        return [int(number) for number in np.flatnonzero(counts) if number]

    def mask(self, index: int, position: int) -> BoolMask | None:
        labels = self._labels(position)
        return None if labels is None else np.asarray(labels == index)

    def rest(self) -> None:
        self._last = (-1, None)

    def _labels(self, position: int) -> Labels | None:
        """The mask picture of a frame; the last one is kept, since objects are asked for one by one."""
        if self._last[0] != position:
            path = self._masks[position]
            self._last = (position, None if path is None else read_labels(path))
        return self._last[1]


class _ObjectFolders(_Folder):
    """Objects are folders, in the order of their names; they may overlap."""

    def __init__(self, name: str, frames: Sequence[Path], masks: Sequence[Sequence[Path | None]]) -> None:
        super().__init__(name, frames)
        self._masks = masks
        self._last: tuple[int, dict[int, BoolMask | None]] = (-1, {})

    def visible(self, position: int) -> list[int]:
        masks = [self.mask(index, position) for index in range(len(self._masks))]
        return [index for index, mask in enumerate(masks) if mask is not None and mask.any()]

    def mask(self, index: int, position: int) -> BoolMask | None:
        """Masks of the frame asked for last are kept: they are looked at before they are used."""
        if self._last[0] != position:
            self._last = (position, {})
        masks = self._last[1]
        if index not in masks:
            path = self._masks[index][position]
            masks[index] = None if path is None else np.asarray(read_labels(path) != 0)
        return masks[index]

    def rest(self) -> None:
        self._last = (-1, {})


def _existing(root: Path, candidates: Sequence[str], what: str) -> Path:
    found = folder(root, *candidates)
    if found is None:
        raise TrainingError(f"{root} holds no folder of {what}; looked for {', '.join(candidates)}.")
    return found


def _folders(path: Path) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return sorted(
                entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")
            )
    except OSError as error:
        raise ClipError(f"{path}: cannot be listed ({error.strerror or error})") from error
