"""How a training clip is varied: geometry and mosaic once a clip, colours once a clip and again for each frame.

The transforms and their order are those of SAM 2's training (paper, appendix C.2, table 13; the public code's
transforms): flip, affine, resize, colour jitter of the clip, greyness, colour jitter of each frame, and for
SAM 2.1 the mosaic. Geometry is one matrix, so that every pixel is interpolated once. Crops are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Self

import cv2
import numpy as np
import numpy.typing as npt

from model.errors import TrainingError

__all__ = ["AUGMENTATIONS", "Augmentation", "ClipColours", "Framing", "draw_mosaic", "frame_clip"]

Image = npt.NDArray[np.uint8]
BoolMask = npt.NDArray[np.bool_]
Matrix = npt.NDArray[np.float64]

FILL_RGB = (123, 116, 103)
"""Colour beyond the edges of a turned frame: the mean of ImageNet, as in SAM 2's training."""

_WHOLE = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """How a clip is varied. Draws hold for the whole clip, but for the `frame_…` ones.

    The defaults suit small models; `AUGMENTATIONS` has SAM 2's values. Brightness, contrast and saturation
    are multiplied by a factor drawn from 1 - value to 1 + value.
    """

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
    frame_brightness: float = 0.0
    frame_contrast: float = 0.0
    frame_saturation: float = 0.0
    mosaic_probability: float = 0.0  # the clip tiled 2 x 2, the objects of one tile labelled
    mosaic_flip_probability: float = 0.0  # of each tile of a mosaic

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            limit = 1.0 if field.name.endswith("probability") else _LIMITS.get(field.name, 1.0)
            if not 0 <= value <= limit:
                raise TrainingError(
                    f"Augmentation: {field.name} must be between 0 and {limit:g}, got {value}."
                )


_LIMITS = {"smallest_crop": 1e6, "rotation_deg": 180.0, "shear_deg": 60.0}

_NONE = Augmentation(
    reverse_probability=0,
    flip_probability=0,
    crop_probability=0,
    rotation_deg=0,
    shear_deg=0,
    brightness=0,
    contrast=0,
    saturation=0,
    grey_probability=0,
)

_VIDEO = Augmentation(
    crop_probability=0,
    rotation_deg=25,
    shear_deg=20,
    brightness=0.1,
    contrast=0.03,
    saturation=0.03,
    grey_probability=0.05,
    frame_brightness=0.1,
    frame_contrast=0.05,
    frame_saturation=0.05,
)

_IMAGE = replace(_NONE, flip_probability=0.5)

AUGMENTATIONS: Mapping[str, Augmentation] = MappingProxyType(
    {"none": _NONE, "small": Augmentation(), "video": _VIDEO, "image": _IMAGE}
)
"""`video` and `image` are SAM 2's (tables 13b and 13a), `small` is for small models, `none` changes nothing."""


@dataclass(frozen=True, slots=True)
class Framing:
    """Where the pixels of a clip come from: a 2x3 matrix from frame pixels to clip pixels, perhaps tiled."""

    matrix: Matrix
    size: int
    mosaic: _Mosaic | None = None

    def image(self, image: Image) -> Image:
        """uint8 [H,W,3] → uint8 [size,size,3]: bilinear, shrunk by area first so that nothing aliases."""
        if self.mosaic is None:
            return _warp_image(image, self.matrix, self.size)
        return self.mosaic.image(_warp_image(image, self.matrix, self.mosaic.side))

    def mask(self, mask: BoolMask) -> BoolMask:
        """bool [H,W] → bool [size,size], nearest neighbour; in a mosaic only the target's tile is labelled."""
        if self.mosaic is None:
            return _warp_mask(mask, self.matrix, self.size)
        return self.mosaic.mask(_warp_mask(mask, self.matrix, self.mosaic.side))


def frame_clip(
    first: Sequence[BoolMask], rng: np.random.Generator, size: int, augmentation: Augmentation
) -> tuple[Framing, BoolMask]:
    """Draws a clip's framing, given the masks bool [H,W] of its N objects on its first frame.

    Returns it with these masks as it shows them, bool [N,size,size]. The affine transform is dropped for the
    clip if an object would vanish from the first frame by it, the mosaic if all would; an object that is too
    small for the clip's pixels has an empty mask, but at least one object is left with a pixel.
    """
    shape = first[0].shape
    window = _draw_window(first, rng, augmentation)
    flip = rng.random() < augmentation.flip_probability
    angle, shear = rng.uniform(-1, 1, 2) * (augmentation.rotation_deg, augmentation.shear_deg)
    mosaic = _Mosaic.drawn(rng, size, augmentation)
    upright = Framing(_matrix(shape, window, size, flip=flip), size)
    shown = _framed(first, upright)
    if not shown.any():  # too small for the clip's pixels
        return upright, _centre_pixels(first, upright)
    framing = upright
    if angle or shear:
        turned = Framing(_matrix(shape, window, size, flip=flip, angle=angle, shear=shear), size)
        masks = _framed(first, turned)
        if not (shown.any(axis=(1, 2)) & ~masks.any(axis=(1, 2))).any():
            framing, shown = turned, masks
    if mosaic is not None:
        tiled = Framing(_shrunk(framing.matrix, mosaic.side / size), size, mosaic)
        masks = _framed(first, tiled)
        if masks.any():
            framing, shown = tiled, masks
    return framing, shown


def draw_mosaic(rng: np.random.Generator, size: int, augmentation: Augmentation) -> Framing | None:
    """Tiles square frames of `size` pixels as often as `augmentation` wants; None where they stay whole."""
    mosaic = _Mosaic.drawn(rng, size, augmentation)
    return None if mosaic is None else Framing(_shrunk(np.eye(2, 3), mosaic.side / size), size, mosaic)


@dataclass(frozen=True, slots=True)
class ClipColours:
    """Colour changes of a clip: one jitter and greyness for all frames, and a jitter for each."""

    clip: _Jitter
    grey: bool
    frames: tuple[_Jitter, ...]

    @classmethod
    def drawn(cls, rng: np.random.Generator, frames: int, augmentation: Augmentation) -> Self:
        """Draws the colours of a clip of `frames` frames."""
        return cls(
            clip=_Jitter.drawn(rng, augmentation.brightness, augmentation.contrast, augmentation.saturation),
            grey=bool(rng.random() < augmentation.grey_probability),
            frames=tuple(
                _Jitter.drawn(
                    rng,
                    augmentation.frame_brightness,
                    augmentation.frame_contrast,
                    augmentation.frame_saturation,
                )
                for _ in range(frames)
            ),
        )

    def image(self, image: Image, time: int) -> Image:
        """Frame number `time` of the clip, uint8 [H,W,3], in its new colours."""
        changed = self.clip(image)
        if self.grey:
            changed = np.repeat(_grey(changed)[:, :, None], 3, axis=2)
        return self.frames[time](changed)


@dataclass(frozen=True, slots=True)
class _Jitter:
    """Factors of brightness, contrast and saturation, and the order they are applied in."""

    factors: tuple[float, float, float]
    order: tuple[int, ...]

    @classmethod
    def drawn(cls, rng: np.random.Generator, *amplitudes: float) -> Self:
        order = tuple(int(place) for place in rng.permutation(3))
        brightness, contrast, saturation = 1.0 + rng.uniform(-1, 1, 3) * amplitudes
        return cls((brightness, contrast, saturation), order)

    def __call__(self, image: Image) -> Image:
        for place in self.order:
            factor = self.factors[place]
            if factor != 1.0:
                image = _CHANGES[place](image, factor)
        return image


def _brighten(image: Image, factor: float) -> Image:
    return _blend(image, 0.0, factor)


def _contrast(image: Image, factor: float) -> Image:
    return _blend(image, float(_grey(image).mean()), factor)


def _saturate(image: Image, factor: float) -> Image:
    grey = cv2.cvtColor(_grey(image), cv2.COLOR_GRAY2RGB)
    return np.asarray(cv2.addWeighted(image, factor, grey, 1.0 - factor, 0.0), dtype=np.uint8)


_CHANGES = (_brighten, _contrast, _saturate)


def _blend(image: Image, level: float, factor: float) -> Image:
    """factor · image + (1 - factor) · level, by a table of the 256 values."""
    values = factor * np.arange(256) + (1.0 - factor) * level
    table = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(image, table), dtype=np.uint8)


def _grey(image: Image) -> Image:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class _Mosaic:
    """The same clip in 2 x 2 tiles of `side` pixels, so that every object has three look-alikes."""

    size: int
    target: int  # tile whose objects are labelled: 0, 1 above, 2, 3 below
    flips: tuple[bool, ...]  # one a tile

    @classmethod
    def drawn(cls, rng: np.random.Generator, size: int, augmentation: Augmentation) -> Self | None:
        wanted = rng.random() < augmentation.mosaic_probability
        target, flips = int(rng.integers(4)), rng.random(4) < augmentation.mosaic_flip_probability
        return cls(size, target, tuple(bool(flip) for flip in flips)) if wanted else None

    @property
    def side(self) -> int:
        return (self.size + 1) // 2

    def image(self, tile: Image) -> Image:
        whole = np.empty((self.size, self.size, 3), dtype=np.uint8)
        for number in range(4):
            whole[self._place(number)] = self._flipped(tile, number)
        return whole

    def mask(self, tile: BoolMask) -> BoolMask:
        whole = np.zeros((self.size, self.size), dtype=bool)
        whole[self._place(self.target)] = self._flipped(tile, self.target)
        return whole

    def _place(self, number: int) -> tuple[slice, slice]:
        starts = (0, self.size - self.side)  # of an odd size the middle row and column are shared
        row, column = starts[number // 2], starts[number % 2]
        return slice(row, row + self.side), slice(column, column + self.side)

    def _flipped(self, tile: npt.NDArray[np.generic], number: int) -> npt.NDArray[np.generic]:
        return tile[:, ::-1] if self.flips[number] else tile


def _framed(first: Sequence[BoolMask], framing: Framing) -> BoolMask:
    masks = np.zeros((len(first), framing.size, framing.size), dtype=bool)
    for row in range(len(first)):
        masks[row] = framing.mask(first[row])
    return masks


def _draw_window(
    first: Sequence[BoolMask], rng: np.random.Generator, augmentation: Augmentation
) -> tuple[float, float, float, float]:
    """A square-ish window around an object as fractions (x0, y0, width, height) of the frame, inside it."""
    if rng.random() >= augmentation.crop_probability:
        return _WHOLE
    mask = first[int(rng.integers(len(first)))]
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    longest = max(len(rows), len(columns)) * augmentation.smallest_crop
    limit = float(min(height, width))
    side = float(np.exp(rng.uniform(np.log(min(longest, limit)), np.log(limit))))
    wide, tall = min(side * rng.uniform(0.9, 1.25), width), min(side * rng.uniform(0.9, 1.25), height)
    x = columns.mean() - wide * rng.uniform(0.25, 0.75)
    y = rows.mean() - tall * rng.uniform(0.25, 0.75)
    x, y = np.clip(x, 0, width - wide), np.clip(y, 0, height - tall)
    return (float(x / width), float(y / height), float(wide / width), float(tall / height))


def _matrix(
    shape: Sequence[int],
    window: tuple[float, float, float, float],
    size: int,
    *,
    flip: bool = False,
    angle: float = 0.0,
    shear: float = 0.0,
) -> Matrix:
    """2x3: cut the window out of a frame, flip it, turn and shear it about its centre, resize it."""
    height, width = shape
    wide, tall = window[2] * width, window[3] * height
    centre = np.array([(wide - 1) / 2, (tall - 1) / 2])
    turn = np.deg2rad(angle)
    linear = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ [
        [1.0, np.tan(np.deg2rad(shear))],
        [0.0, 1.0],
    ]
    if flip:
        linear = linear @ [[-1.0, 0.0], [0.0, 1.0]]
    corner = np.array([window[0] * width, window[1] * height])
    scale = np.array([size / wide, size / tall])
    # window pixel p: linear (p - centre) + centre; clip pixel: (p + 0.5) scale - 0.5
    offset = centre - linear @ (corner + centre)
    return np.column_stack([scale[:, None] * linear, (offset + 0.5) * scale - 0.5])


def _shrunk(matrix: Matrix, share: float) -> Matrix:
    shrunk = matrix * share
    shrunk[:, 2] += 0.5 * share - 0.5  # pixel centres: (x + 0.5) share - 0.5
    return shrunk


def _warp_mask(mask: BoolMask, matrix: Matrix, size: int) -> BoolMask:
    if mask.flags.f_contiguous and not mask.flags.c_contiguous:  # as decoded from runs: warped as it lies
        return _warp_mask(mask.T, matrix[::-1, [1, 0, 2]], size).T
    plane = np.ascontiguousarray(mask).view(np.uint8)
    return np.asarray(cv2.warpAffine(plane, matrix, (size, size), flags=cv2.INTER_NEAREST) > 0)


def _warp_image(image: Image, matrix: Matrix, size: int) -> Image:
    shrink = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if shrink < 0.75:
        height, width = image.shape[:2]
        wide, tall = max(1, round(width * shrink)), max(1, round(height * shrink))
        image = np.asarray(cv2.resize(image, (wide, tall), interpolation=cv2.INTER_AREA), dtype=np.uint8)
        grow_x, grow_y = width / wide, height / tall
        grow = np.array([[grow_x, 0, grow_x / 2 - 0.5], [0, grow_y, grow_y / 2 - 0.5], [0, 0, 1]])
        matrix = matrix @ grow
    warped = cv2.warpAffine(
        np.ascontiguousarray(image), matrix, (size, size), flags=cv2.INTER_LINEAR, borderValue=FILL_RGB
    )
    return np.asarray(warped, dtype=np.uint8)


def _centre_pixels(first: Sequence[BoolMask], framing: Framing) -> BoolMask:
    """One pixel per object at its centre, bool [N,size,size]."""
    planes = np.zeros((len(first), framing.size, framing.size), dtype=bool)
    for row in range(len(first)):
        rows, columns = np.nonzero(first[row])
        if len(rows):
            x, y = framing.matrix @ (columns.mean(), rows.mean(), 1.0)
            limit = framing.size - 1
            planes[row, int(np.clip(round(y), 0, limit)), int(np.clip(round(x), 0, limit))] = True
    return planes
