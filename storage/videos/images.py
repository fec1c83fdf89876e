"""Folders of images and TIFF stacks, as videos without sound or clock."""

from __future__ import annotations

import re
import struct
import warnings
import zlib
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps
import tifffile
from numpy.typing import NDArray

from storage.errors import VideoError
from storage.videos.sources import Image, IngestLimits, SourceInfo

__all__ = ["ImageFolder", "TiffStack", "even_info", "image_files", "read_picture"]

_IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
_LOSSY_SUFFIXES = frozenset({".jpeg", ".jpg", ".webp"})
_TIFF_DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)  # met by altering bytes of good files at random: tifffile believes what it reads
_DARKEST, _BRIGHTEST = 0.001, 0.999  # quantiles of a movie's grey values that become black and white


def image_files(folder: Path) -> list[Path]:
    """The images of a folder in natural order (2 before 10). Raises VideoError if there are none."""
    shown = (path for path in folder.iterdir() if not path.name.startswith("."))
    files = [path for path in shown if path.suffix.lower() in _IMAGE_SUFFIXES]
    if not files:
        raise VideoError(f"the folder holds no images ({', '.join(sorted(_IMAGE_SUFFIXES))})")
    return sorted(files, key=lambda path: (_natural(path.name), path.name))


def read_picture(path: Path, limits: IngestLimits | None = None) -> Image:
    """One picture, upright RGB uint8 [H, W, 3]. Raises VideoError beginning with the path."""
    try:
        pixels = _read_image(path, limits or IngestLimits())
    except VideoError as error:
        raise VideoError(f"{path}: {error}") from error
    if pixels.dtype != np.uint8:
        raise VideoError(f"{path}: 16-bit grey, which only a whole movie's range can turn into 8 bits")
    return pixels


class ImageFolder:
    """A folder of images of one size; 16-bit grey is stretched over the movie's range, 8-bit is kept."""

    def __init__(self, folder: Path, *, fps: float, limits: IngestLimits) -> None:
        self._files = image_files(folder)
        limits.check_count(len(self._files))
        size = self._check(limits)
        lossless = not any(path.suffix.lower() in _LOSSY_SUFFIXES for path in self._files)
        codec = self._files[0].suffix.lower().lstrip(".")
        self._info = even_info("images", size, len(self._files), fps, codec=codec, lossless=lossless)

    @property
    def info(self) -> SourceInfo:
        return self._info

    def frames(self, wanted: Container[int]) -> Iterator[tuple[int, Image]]:
        for index, path in enumerate(self._files):
            if index in wanted:
                pixels = _read_image(path)
                yield index, pixels if pixels.dtype == np.uint8 else self._grey.to_rgb(pixels)

    def _check(self, limits: IngestLimits) -> tuple[int, int]:
        """Reads every image once: sizes must agree, and 16-bit ones say what is black and white."""
        size: tuple[int, int] | None = None
        histogram = np.zeros(1 << 16, np.int64)
        for path in self._files:
            pixels = _read_image(path, limits)
            found = (pixels.shape[0], pixels.shape[1])
            if size is not None and found != size:
                before = f"{size[1]}x{size[0]}"
                raise VideoError(f"{path.name} has {found[1]}x{found[0]} pixels, those before it {before}")
            size = found
            if pixels.dtype != np.uint8:
                histogram += np.bincount(pixels.ravel(), minlength=1 << 16)
        self._grey = _GreyRange.of(histogram)
        assert size is not None  # image_files gives at least one
        return size


class TiffStack:
    """A TIFF file of many pages: 8- or 16-bit grey (stretched over the movie's own range) or 8-bit RGB."""

    def __init__(self, path: Path, *, fps: float, limits: IngestLimits) -> None:
        self._path = path
        with _opened_tiff(path) as series:
            self._count, height, width, self._colour = _stack_shape(series)
            limits.check_size(height, width)
            limits.check_count(self._count)
            histogram = np.zeros(1 << 16, np.int64)
            if not self._colour:
                for page in _pages(series, self._count):
                    histogram += np.bincount(page.ravel(), minlength=1 << 16)
        self._grey = _GreyRange.of(histogram)
        self._info = even_info("stack", (height, width), self._count, fps, codec="tiff", lossless=True)

    @property
    def info(self) -> SourceInfo:
        return self._info

    def frames(self, wanted: Container[int]) -> Iterator[tuple[int, Image]]:
        with _opened_tiff(self._path) as series:
            for index, page in enumerate(_pages(series, self._count)):
                if index in wanted:
                    yield index, page if self._colour else self._grey.to_rgb(page)


@dataclass(frozen=True, slots=True)
class _GreyRange:
    """Grey values that become black and white: one range a movie, so that brightness does not flicker."""

    low: int
    high: int

    @classmethod
    def of(cls, histogram: NDArray[np.int64]) -> _GreyRange:
        total = np.cumsum(histogram)
        if total[-1] == 0:
            return cls(0, 255)
        low = int(np.searchsorted(total, _DARKEST * total[-1], side="right"))
        high = int(np.searchsorted(total, _BRIGHTEST * total[-1]))
        return cls(low, max(high, low + 1))

    def to_rgb(self, grey: NDArray[Any]) -> Image:
        scaled = (grey.astype(np.float32) - self.low) * (255 / (self.high - self.low))
        values = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
        return np.repeat(values[:, :, None], 3, axis=2)  # H W -> H W 3


def even_info(
    kind: str, size: tuple[int, int], count: int, fps: float, *, codec: str, lossless: bool
) -> SourceInfo:
    interval = 1 / Fraction(fps).limit_denominator(1_000_000)
    return SourceInfo(
        kind=kind,
        height=size[0],
        width=size[1],
        frame_count=count,
        fps=fps,
        constant_rate=True,
        rotation=0,
        codec=codec,
        pts=tuple(range(count)),
        time_base=(interval.numerator, interval.denominator),
        lossless=lossless,
    )


def _read_image(path: Path, limits: IngestLimits | None = None) -> NDArray[Any]:
    """One image: uint8 [H, W, 3], or uint16 [H, W] where the file is 16-bit grey."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)  # the limits decide
            with PIL.Image.open(path) as image:
                if limits is not None:
                    limits.check_size(image.height, image.width)
                return _pixels(PIL.ImageOps.exif_transpose(image))
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise VideoError(f"{path.name} cannot be read as an image ({error})") from error


def _pixels(image: PIL.Image.Image) -> NDArray[Any]:
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("grey values outside 0..65535")
        return values.astype(np.uint16)
    if image.mode == "F":
        raise ValueError("floating-point pixels; convert them to 8 or 16 bits")
    return np.array(image.convert("RGB"))


@contextmanager
def _opened_tiff(path: Path) -> Iterator[Any]:
    """The first series of a TIFF file; whatever a damaged file makes tifffile raise becomes a VideoError."""
    try:
        with tifffile.TiffFile(path) as file:
            if not file.series:
                raise VideoError("it holds no images")
            yield file.series[0]
    except _TIFF_DAMAGE as error:
        raise VideoError(
            f"{path.name} is damaged or not a TIFF file ({error or type(error).__name__})"
        ) from error


def _stack_shape(series: Any) -> tuple[int, int, int, bool]:
    """Pages, height, width, and whether pixels are RGB. Raises VideoError on anything but a simple movie."""
    shape, dtype = tuple(series.shape), np.dtype(series.dtype)
    colour = series.axes.endswith("S") and shape[-1] == 3 and dtype == np.uint8
    plain = shape[:-1] if colour else shape
    if len(plain) == 2:
        plain = (1, *plain)
    if len(plain) != 3:
        raise VideoError(f"a stack must be [T, H, W] or [T, H, W, 3], not {shape} (axes {series.axes})")
    if not colour and dtype not in (np.uint8, np.uint16):
        raise VideoError(f"its pixels are {dtype}; convert the stack to 8 or 16 bits")
    return plain[0], plain[1], plain[2], colour


def _pages(series: Any, count: int) -> Iterator[NDArray[Any]]:
    """Pages one by one; a stack stored as a single block is mapped, not read, into memory."""
    shape = tuple(series.shape[-3:] if series.axes.endswith("S") else series.shape[-2:])
    one_by_one = len(series.pages) == count
    pages = (page.asarray() for page in series.pages) if one_by_one else _mapped(series, count, shape)
    for number, page in enumerate(pages):
        if page.shape != shape:
            raise VideoError(f"corrupt: page {number} has the shape {page.shape}, not {shape}")
        yield page


def _mapped(series: Any, count: int, shape: tuple[int, ...]) -> NDArray[Any]:
    block: NDArray[Any] = series.asarray(out="memmap").reshape(count, *shape)
    return block


def _natural(name: str) -> list[tuple[int, int | str]]:
    parts = re.split(r"(\d+)", name.lower())
    return [(0, int(part)) if part.isdigit() else (1, part) for part in parts if part]
