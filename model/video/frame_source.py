"""Where a session gets its pictures from: anything with frames, a folder of images, a video file, a stream."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import PIL.Image
import PIL.ImageOps
from numpy.typing import NDArray

from model.errors import EmptyVideoError, FrameRangeError, FrameShapeError
from storage.errors import VideoError
from storage.videos.images import image_files
from storage.videos.seeking import SeekableVideo

__all__ = ["ArrayFrames", "FolderFrames", "FrameSource", "StreamFrames", "VideoFrames"]

Picture = NDArray[np.uint8]

_CACHE_BYTES = 128 * 2**20  # 48 frames of 720p
_STREAM_BYTES = 256 * 2**20


class FrameSource(Protocol):
    """The frames of a video, read when asked for."""

    @property
    def height(self) -> int:
        """Pixels from top to bottom."""

    @property
    def width(self) -> int:
        """Pixels from left to right."""

    def __len__(self) -> int:
        """Number of frames."""

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        """Return frame `index` as RGB uint8 [H, W, 3]."""


@dataclass(frozen=True, slots=True, eq=False)
class ArrayFrames:
    """Frames in one array, RGB uint8 [T, H, W, 3]."""

    array: Picture

    @property
    def height(self) -> int:
        """Pixels from top to bottom."""
        return int(self.array.shape[1])

    @property
    def width(self) -> int:
        """Pixels from left to right."""
        return int(self.array.shape[2])

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.array)

    def __getitem__(self, index: int, /) -> Picture:
        """Return frame `index` as RGB uint8 [H, W, 3]."""
        frame: Picture = self.array[index]
        return frame


class _FrameCache:
    """The pictures read last, up to a number of bytes; the newest always stays."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._pictures: OrderedDict[int, Picture] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get_or_read(self, index: int, read: Callable[[int], Picture]) -> Picture:
        """Return a picture, read-only, since others get the same; reads are one at a time."""
        with self._lock:
            if index not in self._pictures:
                picture = read(index)
                picture.flags.writeable = False
                self._pictures[index] = picture
                self._bytes += picture.nbytes
            self._pictures.move_to_end(index)
            while self._bytes > self._capacity and len(self._pictures) > 1:
                self._bytes -= self._pictures.popitem(last=False)[1].nbytes
            return self._pictures[index]


class FolderFrames:
    """A folder of images as a video, in natural order (2.jpg before 10.jpg); the first one gives the size.

    Opening reads one image. Raises EmptyVideoError for a folder without images; reading raises VideoError or
    FrameShapeError with the name of the file that is damaged or of another size.
    """

    def __init__(self, folder: str | Path, *, cache_bytes: int = _CACHE_BYTES) -> None:
        self._files = _images(Path(folder))
        self._cache = _FrameCache(cache_bytes)
        with _opened(self._files[0]) as first:
            self._size = first.height, first.width

    @property
    def height(self) -> int:
        """Pixels from top to bottom."""
        return self._size[0]

    @property
    def width(self) -> int:
        """Pixels from left to right."""
        return self._size[1]

    def __len__(self) -> int:
        """Number of images."""
        return len(self._files)

    def __getitem__(self, index: int, /) -> Picture:
        """Return image `index` as RGB uint8 [H, W, 3], read-only."""
        _check_index(index, len(self))
        return self._cache.get_or_read(index, self._read)

    def _read(self, index: int) -> Picture:
        path = self._files[index]
        try:
            with _opened(path) as image:
                picture = np.array(image.convert("RGB"))
        except (OSError, SyntaxError, ValueError) as error:
            raise VideoError(f"{path} is damaged and cannot be read as an image ({error})") from error
        if picture.shape[:2] != self._size:
            height, width = picture.shape[:2]
            raise FrameShapeError(
                f"{path} has {width}x{height} pixels, the first image {self.width}x{self.height}"
            )
        return picture


class VideoFrames:
    """The frames of a video file by number, decoded when asked for; going through them in order is fastest.

    Opening reads the time stamps and the first frame. Raises VideoError naming the file, and the frame, that cannot be
    read.
    """

    def __init__(self, path: str | Path, *, cache_bytes: int = _CACHE_BYTES) -> None:
        self._video = SeekableVideo(path)
        self._cache = _FrameCache(cache_bytes)

    @property
    def height(self) -> int:
        """Pixels from top to bottom of the upright frame."""
        return self._video.height

    @property
    def width(self) -> int:
        """Pixels from left to right of the upright frame."""
        return self._video.width

    def __len__(self) -> int:
        """Number of frames."""
        return len(self._video)

    def __getitem__(self, index: int, /) -> Picture:
        """Return frame `index`, in the order of presentation, as RGB uint8 [H, W, 3], read-only."""
        _check_index(index, len(self))
        return self._cache.get_or_read(index, self._video.read)


class StreamFrames:
    """Frames that arrive one by one, without a known end; the last ones are kept, up to `keep_bytes`.

    Frames are numbered from 0 for ever. `first` is the oldest that can still be read. The first frame gives the
    size.
    """

    def __init__(self, *, keep_bytes: int = _STREAM_BYTES) -> None:
        self._keep_bytes = keep_bytes
        self._kept: OrderedDict[int, Picture] = OrderedDict()
        self._count = 0
        self._size: tuple[int, int] | None = None

    @property
    def first(self) -> int:
        """The oldest frame that is kept; the number of frames while there is none."""
        return self._count - len(self._kept)

    @property
    def height(self) -> int:
        """Pixels from top to bottom. Raises EmptyVideoError before the first frame."""
        return self._known_size()[0]

    @property
    def width(self) -> int:
        """Pixels from left to right. Raises EmptyVideoError before the first frame."""
        return self._known_size()[1]

    def __len__(self) -> int:
        """Number of frames so far."""
        return self._count

    def __getitem__(self, index: int, /) -> Picture:
        """Return frame `index` as RGB uint8 [H, W, 3]. Raises FrameRangeError if it is not kept."""
        if index not in self._kept:
            raise FrameRangeError(
                f"frame {index} of the stream is not kept: it has {self._count} frames so far and keeps those "
                f"from {self.first} on; raise keep_bytes to go back further"
            )
        return self._kept[index]

    def append(self, rgb: Picture) -> int:
        """Take in the next frame, RGB uint8 [H, W, 3], and return its number. FrameShapeError for another kind."""
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
            raise FrameShapeError(
                f"frame {self._count} is {rgb.dtype} of shape {rgb.shape}, not uint8 [H, W, 3]"
            )
        size = rgb.shape[0], rgb.shape[1]
        if self._size not in (None, size):
            raise FrameShapeError(f"frame {self._count} has height and width {size}, its stream {self._size}")
        self._size = size
        self._kept[self._count] = rgb.copy()
        self._count += 1
        while len(self._kept) > 1 and len(self._kept) * rgb.nbytes > self._keep_bytes:
            self._kept.popitem(last=False)
        return self._count - 1

    def _known_size(self) -> tuple[int, int]:
        if self._size is None:
            raise EmptyVideoError("the stream has no frame yet; push one first")
        return self._size


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise VideoError(f"{folder}: no such folder")
    try:
        return image_files(folder)
    except VideoError as error:
        raise EmptyVideoError(f"{folder}: {error}") from error


def _opened(path: Path) -> PIL.Image.Image:
    """An image, turned upright. Raises VideoError with its name."""
    try:
        with PIL.Image.open(path) as image:
            return PIL.ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise VideoError(f"{path} is damaged and cannot be read as an image ({error})") from error


def _check_index(index: int, count: int) -> None:
    if not 0 <= index < count:
        raise FrameRangeError(f"frame {index} is outside the video of {count} frames")
