"""How a video is shown to people: which frames a task has, and in which size.

A page of Label Studio holds every mask of its task in memory, about 28 MB a megapixel, so a task has a budget of
megapixels over all its frames. Frames are shrunk to a size that is good to look at, never enlarged; a video that is
still too long is cut into windows that overlap, or shrunk further.

Source pixels and shown pixels are tied by their centres: a shown pixel takes the source pixel under its centre, and
what a person painted goes back so that showing it again gives exactly what was painted.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from annotation.errors import PageError
from annotation.records import JsonReader

__all__ = ["LongVideos", "PageView", "TaskLimits", "plan_views"]

BoolMask = NDArray[np.bool_]
LongVideos = Literal["windows", "scale"]

_SMALLEST_SIDE = 160  # px; nobody can draw in less, so beyond this even "scale" makes windows


@dataclass(frozen=True, slots=True)
class TaskLimits:
    """How much one task shows to a person, and what becomes of videos that are larger or longer.

    A page keeps about 28 MB in the browser for each megapixel of its frames.
    """

    max_megapixels: float = 45.0
    """Megapixels of all frames of a task together, as shown."""
    max_width: int = 854
    """Largest width of a shown frame in pixels (of an upright frame: its height)."""
    max_height: int = 480
    """Largest height of a shown frame in pixels (of an upright frame: its width)."""
    long_videos: LongVideos = "windows"
    """Videos over the budget: `windows` cuts them into tasks one after another, `scale` shrinks their frames."""
    overlap: int = 4
    """Frames that a window shares with the one before; their masks are carried over."""
    idle_s: float = 60.0
    """A pause longer than this, in seconds, counts as idle: only so much of it is effort."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        for name in ("max_width", "max_height"):
            if not getattr(self, name) >= 32:
                raise ValueError(f"{name} is {getattr(self, name)}; a frame needs at least 32 pixels")
        if self.long_videos not in get_args(LongVideos):
            raise ValueError(f"long_videos is {self.long_videos!r}; it must be windows or scale")
        if not (self.overlap >= 1 and self.idle_s > 0 and math.isfinite(self.idle_s)):
            raise ValueError(
                f"overlap ({self.overlap}) must be at least 1, idle_s ({self.idle_s}) above 0 seconds"
            )
        least = self.max_width * self.max_height * (2 * self.overlap + 1) / 1e6
        if not (least <= self.max_megapixels < math.inf):
            raise ValueError(
                f"max_megapixels is {self.max_megapixels}; {2 * self.overlap + 1} frames of "
                f"{self.max_width}x{self.max_height} pixels need {least:.1f}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class PageView:
    """The frames of one task and their size on the page.

    frames: source frames, ascending; page p shows frames[p]. carried: how many of the first frames have masks from the
    window before. Masks are bool [H, W], in source pixels or in shown pixels [h, w].
    """

    frames: tuple[int, ...]
    source_height: int
    source_width: int
    height: int
    width: int
    window: int = 0
    windows: int = 1
    carried: int = 0

    def __post_init__(self) -> None:
        if not self.frames or list(self.frames) != sorted(set(self.frames)) or self.frames[0] < 0:
            raise PageError(f"The frames of a view must ascend, each once: {self.frames[:9]}.")
        if not (1 <= self.height <= self.source_height and 1 <= self.width <= self.source_width):
            raise PageError(
                f"Frames of {self.source_height}x{self.source_width} pixels cannot be shown as "
                f"{self.height}x{self.width} (height x width): they are only ever shrunk."
            )
        if not (0 <= self.window < self.windows and 0 <= self.carried < len(self.frames)):
            raise PageError(
                f"Window {self.window + 1} of {self.windows} with {self.carried} carried frames of {len(self)}: "
                "these numbers contradict each other."
            )

    def __len__(self) -> int:
        """How many pages there are."""
        return len(self.frames)

    def page_of(self, frame: int) -> int:
        """The page that shows a source frame. PageError if none does."""
        page = bisect.bisect_left(self.frames, frame)
        if page == len(self.frames) or self.frames[page] != frame:
            raise PageError(f"Source frame {frame} is not among the {len(self)} frames of this task.")
        return page

    def frame_of(self, page: int) -> int:
        """The source frame that a page shows. PageError if there is no such page."""
        if not 0 <= page < len(self.frames):
            raise PageError(f"Page {page} is not in this task: it has {len(self)} pages, counted from 0.")
        return self.frames[page]

    @property
    def scaled(self) -> bool:
        """Whether frames are shown smaller than they are."""
        return (self.height, self.width) != (self.source_height, self.source_width)

    def shown(self, mask: BoolMask) -> BoolMask:
        """A mask in source pixels as the page shows it, an array of its own.

        An object too small for any shown pixel's centre keeps the pixels that it touches.
        """
        self._check(mask, (self.source_height, self.source_width), "source")
        if not self.scaled:
            return mask.copy()
        rows, columns = self._samples()
        small = mask[np.ix_(rows, columns)]
        return small if small.any() or not mask.any() else self._touched(mask)

    def source(self, mask: BoolMask, *, base: BoolMask | None = None) -> BoolMask:
        """A mask painted on the page, in source pixels, an array of its own; `shown` of it is `mask` again.

        base: the mask that was there before, in source pixels; where the person changed nothing it stays as it was.
        """
        self._check(mask, (self.height, self.width), "shown")
        if not self.scaled or not mask.any():
            return mask.copy() if not self.scaled else np.zeros(self._source_shape, dtype=np.bool_)
        large = cv2.resize(
            mask.astype(np.float32), (self.source_width, self.source_height), interpolation=cv2.INTER_LINEAR
        )
        result: BoolMask = np.asarray(large) >= 0.5
        if base is not None:
            unchanged = (self.shown(base) == mask)[np.ix_(*self._owners())]
            result = np.where(unchanged, base, result)
        result[np.ix_(*self._samples())] = mask
        return result

    def to_source(self, x_percent: float, y_percent: float) -> tuple[float, float]:
        """A place on the page, in percent of the frame, as source pixels: (0, 0) is the middle of the first one."""
        if not (-0.5 <= x_percent <= 100.5 and -0.5 <= y_percent <= 100.5):
            raise PageError(f"The place ({x_percent}, {y_percent}) percent is outside the frame.")
        x = x_percent / 100 * self.source_width - 0.5
        y = y_percent / 100 * self.source_height - 0.5
        return min(max(x, 0.0), self.source_width - 1.0), min(max(y, 0.0), self.source_height - 1.0)

    def to_percent(self, x: float, y: float) -> tuple[float, float]:
        """The inverse of `to_source`: where on the page a source pixel's middle is, in percent of the frame."""
        return 100 * (x + 0.5) / self.source_width, 100 * (y + 0.5) / self.source_height

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "frames": list(self.frames),
            "source_height": self.source_height,
            "source_width": self.source_width,
            "height": self.height,
            "width": self.width,
            "window": self.window,
            "windows": self.windows,
            "carried": self.carried,
        }

    @classmethod
    def from_json(cls, value: object) -> PageView:
        """The inverse of `to_json`; RecordError or PageError names what is wrong."""
        reader = JsonReader(value, "page view")
        view = cls(
            frames=reader.wholes("frames"),
            source_height=reader.whole("source_height"),
            source_width=reader.whole("source_width"),
            height=reader.whole("height"),
            width=reader.whole("width"),
            window=reader.whole("window"),
            windows=reader.whole("windows"),
            carried=reader.whole("carried"),
        )
        reader.finish()
        return view

    @property
    def _source_shape(self) -> tuple[int, int]:
        return self.source_height, self.source_width

    def _samples(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns of the source pixels under the centres of the shown ones."""
        return _samples(self.height, self.source_height), _samples(self.width, self.source_width)

    def _owners(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns of the shown pixels in which the centres of the source pixels lie."""
        return _samples(self.source_height, self.height), _samples(self.source_width, self.width)

    def _touched(self, mask: BoolMask) -> BoolMask:
        rows, columns = self._owners()
        result = np.zeros((self.height, self.width), dtype=np.bool_)
        y, x = np.nonzero(mask)
        result[rows[y], columns[x]] = True
        return result

    def _check(self, mask: BoolMask, shape: tuple[int, int], what: str) -> None:
        if mask.shape != shape or mask.dtype != np.bool_:
            raise PageError(
                f"A mask in {what} pixels must be bool {shape} (height, width), not {mask.dtype} {mask.shape}."
            )


def plan_views(frames: Sequence[int], *, height: int, width: int, limits: TaskLimits) -> tuple[PageView, ...]:
    """The tasks that a video of `height` × `width` source pixels is shown in, first to last: most often one.

    Windows are about equally long, and each begins with the last frames of the one before.
    """
    shown = _shown_size(height, width, limits)
    if limits.long_videos == "scale":
        shown = _shrunk(shown, len(frames), limits)
    capacity = max(2 * limits.overlap + 1, math.floor(limits.max_megapixels * 1e6 / (shown[0] * shown[1])))
    spans = _windows(len(frames), capacity, limits.overlap)
    return tuple(
        PageView(
            frames=tuple(frames[first:last]),
            source_height=height,
            source_width=width,
            height=shown[0],
            width=shown[1],
            window=number,
            windows=len(spans),
            carried=spans[number - 1][1] - first if number else 0,
        )
        for number, (first, last) in enumerate(spans)
    )


def _shown_size(height: int, width: int, limits: TaskLimits) -> tuple[int, int]:
    """Height and width on the page; an upright video may be as high as a lying one is wide."""
    largest = (limits.max_height, limits.max_width)
    if (height > width) != (largest[0] > largest[1]):
        largest = largest[::-1]
    return _scaled(height, width, min(1.0, largest[0] / height, largest[1] / width))


def _shrunk(shown: tuple[int, int], count: int, limits: TaskLimits) -> tuple[int, int]:
    """A size in which all frames fit into the budget, unless nobody could see anything in it."""
    area = shown[0] * shown[1] * count / 1e6
    if area <= limits.max_megapixels:
        return shown
    scale = max(0.998 * math.sqrt(limits.max_megapixels / area), min(1.0, _SMALLEST_SIDE / min(shown)))
    return _scaled(*shown, scale)


def _scaled(height: int, width: int, scale: float) -> tuple[int, int]:
    return max(1, round(height * scale)), max(1, round(width * scale))


def _windows(count: int, capacity: int, overlap: int) -> list[tuple[int, int]]:
    """Spans [first, last) of at most `capacity` frames that cover all, neighbours sharing `overlap`."""
    if count <= capacity:
        return [(0, count)]
    windows = math.ceil((count - overlap) / (capacity - overlap))
    starts = [round(number * (count - overlap) / windows) for number in range(windows)]
    return [
        (first, after + overlap) for first, after in zip(starts, [*starts[1:], count - overlap], strict=True)
    ]


@lru_cache(maxsize=64)
def _samples(small: int, large: int) -> NDArray[np.intp]:
    """For each of `small` pixels the one of `large` pixels in which its centre lies, along one axis."""
    index = ((2 * np.arange(small) + 1) * large) // (2 * small)
    index.setflags(write=False)
    return index
