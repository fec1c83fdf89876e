"""Training clips: a few frames with the true masks of a few objects, and the sources they are drawn from.

`MaskletClips` samples videos with masklets the way SAM 2 does (contiguous frames, objects visible on the
first one, time reversed half of the time) and augments every frame of a clip alike. `MixedClips` draws from
several sources by weight.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from model.errors import TrainingError
from storage.masks import Rle, decode

Image = npt.NDArray[np.uint8]
BoolMask = npt.NDArray[np.bool_]

FILL_RGB = (123, 116, 103)


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


class FrameSequence(Protocol):
    """Frames of a video in time order: uint8 [H,W,3] RGB each, read when asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Image: ...


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
        if not any(self._positions(masklet) for masklet in self.masklets):
            raise TrainingError(f"Video {self.name} has no object to learn from.")

    @staticmethod
    def _positions(masklet: Masklet) -> list[int]:
        return [position for position, mask in masklet.items() if _mask(mask).any()]

    def visible(self) -> dict[int, list[int]]:
        """Position → indices of the masklets that have pixels there."""
        table: dict[int, list[int]] = {}
        for index, masklet in enumerate(self.masklets):
            for position in self._positions(masklet):
                if 0 <= position < len(self.frames):
                    table.setdefault(position, []).append(index)
        return dict(sorted(table.items()))

    def mask(self, masklet: int, position: int) -> BoolMask | None:
        """Mask bool [H,W] of one object, None where it is absent."""
        stored = self.masklets[masklet].get(position)
        return None if stored is None else _mask(stored)


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How a clip is varied; every draw holds for the whole clip, as in SAM 2's recipe for video."""

    reverse_probability: float = 0.5
    flip_probability: float = 0.5
    crop_probability: float = 0.5  # crops make small objects large enough for a small model
    smallest_crop: float = 3.0  # crop side at least this many times the object's longer side
    rotation_deg: float = 15.0
    shear_deg: float = 8.0
    brightness: float = 0.1
    contrast: float = 0.1
    saturation: float = 0.1
    grey_probability: float = 0.05


class MaskletClips:
    """Clips cut from videos with masklets."""

    def __init__(self, videos: Sequence[TrainingVideo], augmentation: Augmentation | None = None) -> None:
        if not videos:
            raise TrainingError("There is no video to learn from.")
        self._videos = list(videos)
        self._visible = [video.visible() for video in videos]
        self._augmentation = augmentation or Augmentation()

    def __len__(self) -> int:
        return len(self._videos)

    def clip(self, index: int, rng: np.random.Generator, *, frames: int, objects: int, size: int) -> Clip:
        """Contiguous frames of video `index` from a random start; a short video is run back and forth."""
        video, visible = self._videos[index], self._visible[index]
        positions = _sample_positions(sorted(visible), len(video.frames), frames, rng, self._augmentation)
        chosen = _sample_objects(visible[positions[0]], objects, rng)
        images = [np.asarray(video.frames[position]) for position in positions]
        masks = _stack_masks(video, chosen, positions, images[0].shape[:2])
        images, masks = self._framed(images, masks, rng, size)
        colours = _ColourJitter.drawn(rng, self._augmentation)
        kept = masks[0].any(axis=(1, 2))
        return Clip(np.stack([colours(image) for image in images]), masks[:, kept], video.name, video.group)

    def _framed(
        self, images: list[Image], masks: BoolMask, rng: np.random.Generator, size: int
    ) -> tuple[list[Image], BoolMask]:
        """Crop and warp to size x size; the whole frame where a warp would lose the first frame's objects."""
        full = _resize_matrix(images[0].shape[:2], (0.0, 0.0, 1.0, 1.0), size)
        drawn = _draw_matrix(masks[0], rng, size, self._augmentation)
        warped = _warp_masks(masks, drawn, size)
        if not warped[0].any():
            drawn, warped = full, _warp_masks(masks, full, size)
        if not warped[0].any():  # too small for the model's pixels even so: keep each object's nearest pixel
            warped[0] = _centre_pixels(masks[0], full, size)
        return [_warp_image(image, drawn, size) for image in images], warped


def _mask(stored: Rle | BoolMask) -> BoolMask:
    return decode(stored) if isinstance(stored, Rle) else np.asarray(stored, dtype=bool)


def _sample_positions(
    starts: Sequence[int], length: int, frames: int, rng: np.random.Generator, augmentation: Augmentation
) -> list[int]:
    """Positions of the clip; the first one is in `starts`, so that an object is visible there."""
    step = -1 if rng.random() < augmentation.reverse_probability else 1
    span = (frames - 1) * step
    fitting = [start for start in starts if 0 <= start + span < length]
    candidates = fitting or list(starts)
    start = candidates[int(rng.integers(len(candidates)))]
    return [_bounce(start + step * offset, length) for offset in range(frames)]


def _bounce(position: int, length: int) -> int:
    """Reflects a position beyond the ends back into 0…length-1."""
    if length == 1:
        return 0
    position = position % (2 * (length - 1))
    return position if position < length else 2 * (length - 1) - position


def _sample_objects(visible: Sequence[int], objects: int, rng: np.random.Generator) -> list[int]:
    order = rng.permutation(len(visible))[:objects]
    return [visible[int(index)] for index in order]


def _stack_masks(
    video: TrainingVideo, chosen: Sequence[int], positions: Sequence[int], shape: Iterable[int]
) -> BoolMask:
    height, width = shape
    masks = np.zeros((len(positions), len(chosen), height, width), dtype=bool)  # T N H W
    for time, position in enumerate(positions):
        for row, masklet in enumerate(chosen):
            mask = video.mask(masklet, position)
            if mask is not None:
                masks[time, row] = mask
    return masks


def _draw_matrix(
    first: BoolMask, rng: np.random.Generator, size: int, augmentation: Augmentation
) -> npt.NDArray[np.float64]:
    """2x3 affine from frame pixels to clip pixels: crop, flip, rotation, shear and resize in one."""
    shape = first.shape[1:]
    window = (0.0, 0.0, 1.0, 1.0)
    if rng.random() < augmentation.crop_probability:
        window = _draw_window(first[int(rng.integers(len(first)))], rng, augmentation)
    matrix = _homogeneous(_resize_matrix(shape, window, size))
    if rng.random() < augmentation.flip_probability:
        matrix = np.array([[-1.0, 0, size - 1], [0, 1, 0], [0, 0, 1]]) @ matrix
    angle = np.deg2rad(rng.uniform(-1, 1) * augmentation.rotation_deg)
    shear = np.tan(np.deg2rad(rng.uniform(-1, 1) * augmentation.shear_deg))
    linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ [
        [1, shear],
        [0, 1],
    ]
    centre = np.full(2, (size - 1) / 2)
    turn = np.eye(3)
    turn[:2, :2], turn[:2, 2] = linear, centre - linear @ centre
    return np.asarray((turn @ matrix)[:2])


def _draw_window(
    mask: BoolMask, rng: np.random.Generator, augmentation: Augmentation
) -> tuple[float, float, float, float]:
    """A square-ish window around the object as fractions (x0, y0, width, height) of the frame, inside it."""
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return (0.0, 0.0, 1.0, 1.0)
    longest = max(len(rows), len(columns)) * augmentation.smallest_crop
    limit = float(min(height, width))
    side = float(np.exp(rng.uniform(np.log(min(longest, limit)), np.log(limit))))
    wide, tall = min(side * rng.uniform(0.9, 1.25), width), min(side * rng.uniform(0.9, 1.25), height)
    x = columns.mean() - wide * rng.uniform(0.25, 0.75)
    y = rows.mean() - tall * rng.uniform(0.25, 0.75)
    x, y = np.clip(x, 0, width - wide), np.clip(y, 0, height - tall)
    return (float(x / width), float(y / height), float(wide / width), float(tall / height))


def _resize_matrix(
    shape: Sequence[int], window: tuple[float, float, float, float], size: int
) -> npt.NDArray[np.float64]:
    height, width = shape[0], shape[1]
    x0, y0, wide, tall = window[0] * width, window[1] * height, window[2] * width, window[3] * height
    scale_x, scale_y = size / wide, size / tall
    # pixel centres: (x + 0.5 - x0) * scale - 0.5
    return np.array(
        [[scale_x, 0, (0.5 - x0) * scale_x - 0.5], [0, scale_y, (0.5 - y0) * scale_y - 0.5]], dtype=np.float64
    )


def _homogeneous(matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.vstack([matrix, [0.0, 0.0, 1.0]])


def _warp_masks(masks: BoolMask, matrix: npt.NDArray[np.float64], size: int) -> BoolMask:
    """Nearest-neighbour warp of bool [T,N,H,W] → bool [T,N,size,size]."""
    frames, objects = masks.shape[:2]
    warped = np.zeros((frames, objects, size, size), dtype=bool)
    for time in range(frames):
        for row in range(objects):
            if masks[time, row].any():
                plane = masks[time, row].astype(np.uint8)
                warped[time, row] = cv2.warpAffine(plane, matrix, (size, size), flags=cv2.INTER_NEAREST) > 0
    return warped


def _warp_image(image: Image, matrix: npt.NDArray[np.float64], size: int) -> Image:
    """Bilinear warp of uint8 [H,W,3], shrunk by area first where the warp shrinks, so that nothing aliases."""
    shrink = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if shrink < 0.75:
        height, width = image.shape[:2]
        wide, tall = max(1, round(width * shrink)), max(1, round(height * shrink))
        image = np.asarray(cv2.resize(image, (wide, tall), interpolation=cv2.INTER_AREA), dtype=np.uint8)
        grow_x, grow_y = width / wide, height / tall
        grow = np.array([[grow_x, 0, grow_x / 2 - 0.5], [0, grow_y, grow_y / 2 - 0.5], [0, 0, 1]])
        matrix = (_homogeneous(matrix) @ grow)[:2]
    warped = cv2.warpAffine(
        np.ascontiguousarray(image), matrix, (size, size), flags=cv2.INTER_LINEAR, borderValue=FILL_RGB
    )
    return np.asarray(warped, dtype=np.uint8)


def _centre_pixels(first: BoolMask, matrix: npt.NDArray[np.float64], size: int) -> BoolMask:
    """One pixel per object at its centre, bool [N,size,size]."""
    planes = np.zeros((len(first), size, size), dtype=bool)
    for row, mask in enumerate(first):
        rows, columns = np.nonzero(mask)
        if len(rows):
            x, y = matrix @ (columns.mean(), rows.mean(), 1.0)
            planes[row, int(np.clip(round(y), 0, size - 1)), int(np.clip(round(x), 0, size - 1))] = True
    return planes


@dataclass(frozen=True, slots=True)
class _ColourJitter:
    """One draw of brightness, contrast, saturation and greyness."""

    gain: float
    contrast: float
    saturation: float

    @classmethod
    def drawn(cls, rng: np.random.Generator, augmentation: Augmentation) -> _ColourJitter:
        grey = rng.random() < augmentation.grey_probability
        return cls(
            gain=1.0 + rng.uniform(-1, 1) * augmentation.brightness,
            contrast=1.0 + rng.uniform(-1, 1) * augmentation.contrast,
            saturation=0.0 if grey else 1.0 + rng.uniform(-1, 1) * augmentation.saturation,
        )

    def __call__(self, image: Image) -> Image:
        values = image.astype(np.float32) * self.gain
        values = (values - values.mean()) * self.contrast + values.mean()
        grey = values.mean(axis=2, keepdims=True)
        values = (values - grey) * self.saturation + grey
        return np.asarray(np.clip(values, 0, 255), dtype=np.uint8)
