"""Training clips: a few frames with the true masks of a few objects, and the sources they are drawn from.

`cut_clip` samples a video with masklets the way SAM 2 does: contiguous frames, objects visible on the first
one, time reversed half of the time, every frame augmented alike. `MaskletClips` does so with videos in a list,
`MixedClips` draws from several sources by weight.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from model.errors import ClipError, TrainingError
from model.training.augment import Augmentation, ClipColours, Framing, draw_mosaic, frame_clip
from storage.masks import Rle, decode, encode, is_empty

Image = npt.NDArray[np.uint8]
BoolMask = npt.NDArray[np.bool_]

STARTS = 1000
"""First frames that are tried before a video is said to show no object."""


@dataclass(frozen=True, slots=True)
class Clip:
    """`images` uint8 [T,H,W,3] RGB, `masks` bool [T,N,H,W], and the name of what it was cut from.

    `group` is the leak-safe group of the video it was cut from; empty for drawn clips.
    """

    images: Image
    masks: BoolMask
    name: str
    group: str = ""

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.shape[3] != 3:
            raise TrainingError(f"Clip {self.name}: images must be [T,H,W,3], got {self.images.shape}.")
        expected = (self.images.shape[0], *self.images.shape[1:3])
        if self.masks.ndim != 4 or (self.masks.shape[0], *self.masks.shape[2:]) != expected:
            raise TrainingError(
                f"Clip {self.name}: masks {self.masks.shape} do not fit images {self.images.shape}."
            )

    def masklets(self) -> dict[int, dict[int, Rle]]:
        """The masks by object number, from 1, and frame; no entry where the object is not visible."""
        return {
            row + 1: {frame: encode(mask) for frame, mask in enumerate(self.masks[:, row]) if mask.any()}
            for row in range(self.masks.shape[1])
        }


class ClipSource(Protocol):
    """Where training clips come from. Equal index and generator state give equal clips."""

    def __len__(self) -> int: ...

    def clip(self, index: int, rng: np.random.Generator, *, frames: int, objects: int, size: int) -> Clip:
        """A clip of `frames` square frames of `size` pixels; 1 to `objects` objects, all on its first frame."""
        ...


class MixedClips:
    """Draws each clip from one of several sources, with the given weights."""

    def __init__(self, sources: Sequence[tuple[ClipSource, float]]) -> None:
        if not sources or any(weight <= 0 for _, weight in sources):
            raise TrainingError("A mix needs at least one source, each with a weight above 0.")
        self._sources = [source for source, _ in sources]
        weights = np.array([weight for _, weight in sources])
        self._probabilities = weights / weights.sum()

    def __len__(self) -> int:
        return sum(len(source) for source in self._sources)

    def clip(self, index: int, rng: np.random.Generator, *, frames: int, objects: int, size: int) -> Clip:
        """A clip of one source, drawn by weight; `index` is taken modulo that source's length."""
        source = self._sources[int(rng.choice(len(self._sources), p=self._probabilities))]
        return source.clip(index % len(source), rng, frames=frames, objects=objects, size=size)


@dataclass(frozen=True, slots=True)
class MosaicClips:
    """Finished clips of a source, some of them tiled 2 x 2: as often, and flipped, as `augmentation` says.

    Whether and how is drawn after the clip, from a generator of its own, so the clips are those of the source.
    """

    source: ClipSource
    augmentation: Augmentation

    def __len__(self) -> int:
        return len(self.source)

    def clip(self, index: int, rng: np.random.Generator, *, frames: int, objects: int, size: int) -> Clip:
        """The clip of the source, perhaps as a mosaic; whole if no object would be left on its first frame."""
        clip = self.source.clip(index, rng, frames=frames, objects=objects, size=size)
        framing = draw_mosaic(np.random.default_rng(int(rng.integers(2**62))), size, self.augmentation)
        return clip if framing is None else _tiled(clip, framing)


def _tiled(clip: Clip, framing: Framing) -> Clip:
    masks = np.array([[framing.mask(mask) for mask in planes] for planes in clip.masks])  # T N S S
    kept = masks[0].any(axis=(1, 2))
    if not kept.any():
        return clip
    return replace(
        clip, images=np.stack([framing.image(image) for image in clip.images]), masks=masks[:, kept]
    )


class FrameSequence(Protocol):
    """Frames of a video in time order: uint8 [H,W,3] RGB each, read when asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Image: ...


class LabelledVideo(Protocol):
    """A video whose objects are known, frame by frame; what is asked for is read, and nothing else."""

    @property
    def name(self) -> str: ...

    @property
    def group(self) -> str:
        """What must not be on both sides of the split (author, place, source); empty where not known."""
        ...

    def __len__(self) -> int:
        """Number of frames."""
        ...

    def image(self, position: int) -> Image:
        """A frame, uint8 [H,W,3] RGB."""
        ...

    def visible(self, position: int) -> list[int]:
        """Indices of the objects that have pixels on a frame."""
        ...

    def mask(self, index: int, position: int) -> BoolMask | None:
        """Mask bool [H,W] of one object on a frame, None where it is absent."""
        ...


Masklet = Mapping[int, Rle | BoolMask]


@dataclass(frozen=True, slots=True)
class TrainingVideo:
    """A video to learn from: its frames, and each object's masks by position in them (missing = absent).

    `group` names what must not be on both sides of the split (author, place, source).
    """

    name: str
    frames: FrameSequence
    masklets: Sequence[Masklet]
    group: str = ""

    def __post_init__(self) -> None:
        if not any(_shows(mask) for masklet in self.masklets for mask in masklet.values()):
            raise TrainingError(f"Video {self.name} has no object to learn from.")

    def __len__(self) -> int:
        return len(self.frames)

    def image(self, position: int) -> Image:
        """A frame, uint8 [H,W,3] RGB."""
        return np.asarray(self.frames[position])

    def visible(self, position: int) -> list[int]:
        """Indices of the masklets that have pixels on a frame."""
        stored = [masklet.get(position) for masklet in self.masklets]
        return [index for index, mask in enumerate(stored) if mask is not None and _shows(mask)]

    def mask(self, index: int, position: int) -> BoolMask | None:
        """Mask bool [H,W] of one object, None where it is absent."""
        stored = self.masklets[index].get(position)
        if isinstance(stored, Rle):
            return decode(stored)
        return None if stored is None else np.asarray(stored, dtype=bool)


class MaskletClips:
    """Clips cut from videos with masklets."""

    def __init__(self, videos: Sequence[TrainingVideo], augmentation: Augmentation | None = None) -> None:
        if not videos:
            raise TrainingError("There is no video to learn from.")
        self._videos = list(videos)
        self._augmentation = augmentation or Augmentation()

    def __len__(self) -> int:
        return len(self._videos)

    def clip(self, index: int, rng: np.random.Generator, *, frames: int, objects: int, size: int) -> Clip:
        """Contiguous frames of video `index` from a random start; a short video is run back and forth."""
        return cut_clip(
            self._videos[index],
            rng,
            frames=frames,
            objects=objects,
            size=size,
            augmentation=self._augmentation,
        )


def cut_clip(
    video: LabelledVideo,
    rng: np.random.Generator,
    *,
    frames: int,
    objects: int,
    size: int,
    augmentation: Augmentation,
) -> Clip:
    """A clip of `frames` contiguous frames of a video, of at most `objects` of those on its first frame.

    A video with fewer frames is run back and forth. One frame at a time is held at its own size, and frames
    are read in ascending order, which costs a video file least. Raises `ClipError` if no object shows.
    """
    positions = _sample_positions(video, frames, rng, augmentation)
    seen = video.visible(positions[0])
    chosen = [seen[int(index)] for index in rng.permutation(len(seen))[:objects]]
    first_masks = _MasksOfFrame(video, chosen, positions[0])
    framing, first = frame_clip(first_masks, rng, size, augmentation)
    colours = ClipColours.drawn(rng, frames, augmentation)
    kept = [row for row in range(len(chosen)) if first[row].any()]
    images = np.empty((frames, size, size, 3), dtype=np.uint8)
    masks = np.zeros((frames, len(kept), size, size), dtype=bool)  # T N S S
    for position in sorted(set(positions)):
        image = video.image(position)
        _check_shape(video, position, image.shape[:2], first_masks.shape)
        framed = framing.image(image)
        planes = first[kept]
        if position != positions[0]:
            rest = _MasksOfFrame(video, [chosen[row] for row in kept], position, first_masks.shape)
            planes = np.stack([framing.mask(mask) for mask in rest])
        for time in (time for time, other in enumerate(positions) if other == position):
            images[time], masks[time] = colours.image(framed, time), planes
    return Clip(images, masks, video.name, video.group)


class _MasksOfFrame(Sequence[BoolMask]):
    """Masks of some objects on one frame, decoded when asked for: an image may have many large ones."""

    def __init__(
        self, video: LabelledVideo, objects: Sequence[int], position: int, shape: tuple[int, ...] = ()
    ) -> None:
        self._video, self._objects, self._position = video, objects, position
        self.shape = shape  # height and width of all masks, once known

    def __len__(self) -> int:
        return len(self._objects)

    def __getitem__(self, row: int) -> BoolMask:  # type: ignore[override]
        mask = self._video.mask(self._objects[row], self._position)
        if mask is None:
            return np.zeros(self.shape, dtype=bool)
        self.shape = self.shape or mask.shape
        _check_shape(self._video, self._position, mask.shape, self.shape)
        return mask


def _shows(stored: Rle | BoolMask) -> bool:
    return not is_empty(stored) if isinstance(stored, Rle) else bool(np.any(stored))


def _sample_positions(
    video: LabelledVideo, frames: int, rng: np.random.Generator, augmentation: Augmentation
) -> list[int]:
    """Positions of the clip; an object is visible on the first one."""
    step = -1 if rng.random() < augmentation.reverse_probability else 1
    for start in _starts(len(video), (frames - 1) * step, rng):
        if video.visible(start):
            return [_bounce(start + step * offset, len(video)) for offset in range(frames)]
    raise ClipError(f"Video {video.name} has no object to learn from.")


def _starts(length: int, span: int, rng: np.random.Generator) -> Iterator[int]:
    """First frames in random order: those from which the clip fits into the video, then the others."""
    starts = rng.permutation(length)
    fits = (starts + span >= 0) & (starts + span < length)
    ordered = np.concatenate([starts[fits], starts[~fits]])
    return (int(start) for start in ordered[:STARTS])


def _bounce(position: int, length: int) -> int:
    """Reflects a position beyond the ends back into 0…length-1."""
    if length == 1:
        return 0
    position = position % (2 * (length - 1))
    return position if position < length else 2 * (length - 1) - position


def _check_shape(
    video: LabelledVideo, position: int, shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    if shape != expected:
        raise ClipError(
            f"Video {video.name}: frames and masks differ in size: {shape[1]}x{shape[0]} pixels at position "
            f"{position}, and {expected[1]}x{expected[0]} (width x height)."
        )
