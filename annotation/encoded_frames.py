"""Encoded frames that sittings share: the encoder's work is the dearest, and several people may be at one video.

A video is named by its id and the source frames that a sitting sees of it, since encoded frames are kept by position.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar
from weakref import WeakValueDictionary

from model.image.image_model import ImageEmbedding

__all__ = ["FrameCache", "ImageCache", "Shelf", "ShelfPlace", "VideoKey"]

VideoKey = tuple[str, tuple[int, ...]]
"""A video's id, and the source frames in the order of their positions."""


class FrameCache(Protocol):
    """Something that keeps encoded frames of one video."""

    @property
    def byte_size(self) -> int:
        """Bytes of all frames."""
        ...

    def __len__(self) -> int:
        """How many frames there are."""
        ...

    def clear(self) -> None:
        """Let go of all frames."""
        ...


CacheT = TypeVar("CacheT", bound=FrameCache)


class Shelf(Generic[CacheT]):
    """A cache for each video, all in one budget of bytes; `make` makes one of a capacity.

    When there is too much, videos that nobody is at are emptied first, then the longest unused ones; the one in
    use stays. Safe to use from several threads.
    """

    def __init__(self, capacity: int, make: Callable[[int], CacheT], *, per_video: int | None = None) -> None:
        self._capacity = capacity
        self._per_video = capacity if per_video is None else min(per_video, capacity)
        self._make = make
        self._places: WeakValueDictionary[VideoKey, ShelfPlace[CacheT]] = WeakValueDictionary()
        self._filled: OrderedDict[VideoKey, CacheT] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def byte_size(self) -> int:
        """Bytes of all frames of all videos."""
        with self._lock:
            return sum(cache.byte_size for cache in self._filled.values())

    def open(self, video: VideoKey) -> ShelfPlace[CacheT]:
        """The place of a video; whoever works on the video holds on to it."""
        with self._lock:
            place = self._places.get(video)
            if place is None:
                place = ShelfPlace(self, video, self._cache(video))
                self._places[video] = place
            return place

    def touch(self, video: VideoKey, cache: CacheT) -> None:
        """Call a video the last one used, and keep the budget."""
        with self._lock:
            self._filled[video] = cache
            self._filled.move_to_end(video)
            excess = sum(each.byte_size for each in self._filled.values()) - self._capacity
            for other in sorted(self._filled, key=lambda other: other in self._places):  # stable: by last use
                if excess <= 0:
                    return
                if other != video:
                    excess -= self._filled[other].byte_size
                    self._filled.pop(other).clear()

    def has_room(self, cache: CacheT) -> bool:
        """Whether one more frame fits into a cache without taking one from anybody at work."""
        with self._lock:
            sizes = [each.byte_size // len(each) for each in self._filled.values() if len(each)]
            used = sum(each.byte_size for video, each in self._filled.items() if video in self._places)
        frame = max(sizes, default=0)  # networks make a frame of any video the same size
        return cache.byte_size + frame <= self._per_video and used + frame <= self._capacity

    def _cache(self, video: VideoKey) -> CacheT:
        found = self._filled.get(video)
        return self._make(self._per_video) if found is None else found


class ShelfPlace(Generic[CacheT]):
    """One video's cache on a shelf."""

    def __init__(self, shelf: Shelf[CacheT], video: VideoKey, cache: CacheT) -> None:
        self.cache = cache
        self._shelf = shelf
        self._video = video

    def used(self) -> None:
        """Say that frames were just used, and perhaps some were added."""
        self._shelf.touch(self._video, self.cache)

    def has_room(self) -> bool:
        """Whether one more frame fits without taking one from anybody at work."""
        return self._shelf.has_room(self.cache)


class ImageCache:
    """Frames as SAM sees them; the longest unused go first, the newest stays.

    One takes 16 MB with SAM 2 at 1024 pixels, 4 MB with SAM 1.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._images: OrderedDict[int, ImageEmbedding] = OrderedDict()
        self._lock = threading.Lock()
        self.byte_size = 0

    def get(self, position: int) -> ImageEmbedding | None:
        """A frame, if it is there."""
        with self._lock:
            if position in self._images:
                self._images.move_to_end(position)
            return self._images.get(position)

    def put(self, position: int, image: ImageEmbedding) -> None:
        """Keep a frame."""
        with self._lock:
            self._drop(position)
            self._images[position] = image
            self.byte_size += image_bytes(image)
            while self.byte_size > self._capacity and len(self._images) > 1:
                self._drop(next(iter(self._images)))

    def clear(self) -> None:
        """Let go of all frames."""
        with self._lock:
            self._images.clear()
            self.byte_size = 0

    def __len__(self) -> int:
        return len(self._images)

    def _drop(self, position: int) -> None:
        dropped = self._images.pop(position, None)
        self.byte_size -= 0 if dropped is None else image_bytes(dropped)


def image_bytes(image: ImageEmbedding) -> int:
    """Bytes of one encoded image."""
    return sum(tensor.nbytes for tensor in (image.embedding, *(image.high_res or ())))
