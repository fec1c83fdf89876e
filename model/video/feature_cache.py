"""A bounded cache of image features: the encoder runs once per frame as long as the frame is remembered.

One cache may be shared by several sessions (and threads) on the same video with the same network, and may have a
second tier on disk (`DiskFeatures`), which other processes share.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from weakref import ref

import numpy as np
import torch
from numpy.typing import NDArray

from model.errors import ModelError
from model.network.sam2 import ImageFeatures, Sam2
from model.pictures import picture_tensor
from model.runtime import Precision, inference
from model.video.disk_features import DiskFeatures, network_key

__all__ = ["FeatureCache", "encode_frame"]

_LOCKS = 16  # frames that several threads may encode at once


class FeatureCache:
    """Least recently used features go first once `capacity` bytes are passed; the newest always stays.

    `dtype` is what features are stored in: as they come by default, so that results are the same to the last bit;
    torch.bfloat16 holds twice as many. `disk` is a second tier; then `video_key` must name the content of the
    video, say its SHA-256. Safe to use from several threads. Raises ModelError for a disk tier without key.
    """

    def __init__(
        self,
        capacity: int = 256 * 2**20,
        *,
        dtype: torch.dtype | None = None,
        disk: DiskFeatures | None = None,
        video_key: str | None = None,
    ) -> None:
        if disk is not None and not video_key:
            raise ModelError(
                "features on disk need a video_key that names the video's content, say its SHA-256"
            )
        self._capacity = capacity
        self._dtype = dtype
        self._disk = disk
        self._video_key = video_key
        self._entries: OrderedDict[int, ImageFeatures] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._making = [threading.Lock() for _ in range(_LOCKS)]
        self._network: ref[Sam2] | None = None
        self._purpose: tuple[str, int, int] = ("auto", 0, 0)
        self._prefix = ""

    def bind(self, model: Sam2, *, precision: Precision, height: int, width: int) -> None:
        """Say whose features these are. Raises ModelError when they are already another network's or video's."""
        purpose = (precision, height, width)
        with self._lock:
            if self._network is not None:
                if self._network() is not model or self._purpose != purpose:
                    raise ModelError(
                        "this feature cache belongs to another network, precision or size of video; "
                        "make one cache for each network and video"
                    )
                return
            self._network, self._purpose = ref(model), purpose
            if self._disk is not None:
                self._prefix = f"{network_key(model, precision)}/{self._video_key}"

    def get_or_make(self, frame: int, make: Callable[[], ImageFeatures]) -> ImageFeatures:
        """Return the features of a frame, from memory, from disk, or by `make`, which runs once at a time."""
        found = self.get(frame)
        if found is not None:
            return found
        with self._making[frame % _LOCKS]:
            found = self.get(frame)
            return self._fetch(frame, make) if found is None else found

    def get(self, frame: int) -> ImageFeatures | None:
        """Return the features of a frame if they are in memory, and mark them as used."""
        with self._lock:
            if frame not in self._entries:
                return None
            self._entries.move_to_end(frame)
            features = self._entries[frame]
        return _cast(features, features.embedding_pos.dtype)

    def put(self, frame: int, features: ImageFeatures) -> None:
        """Keep the features of a frame, dropping the least recently used ones."""
        kept = features if self._dtype is None else _cast(features, self._dtype)
        with self._lock:
            if self._entries:  # the position map is the same for all frames: one of them is enough
                position = next(iter(self._entries.values())).embedding_pos
                if position.shape == kept.embedding_pos.shape and position.dtype == kept.embedding_pos.dtype:
                    kept = ImageFeatures(kept.embedding, position, kept.high_res)
            self._forget(frame)
            self._entries[frame] = kept
            self._bytes += _size(kept)
            while self._bytes > self._capacity and len(self._entries) > 1:
                self._forget(next(iter(self._entries)))

    def clear(self) -> None:
        """Let go of all features in memory; what is on disk stays."""
        with self._lock:
            self._entries.clear()
            self._bytes = 0

    @property
    def byte_size(self) -> int:
        """Bytes of the features in memory."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._entries)

    def _forget(self, frame: int) -> None:
        dropped = self._entries.pop(frame, None)
        self._bytes -= 0 if dropped is None else _size(dropped)

    def _fetch(self, frame: int, make: Callable[[], ImageFeatures]) -> ImageFeatures:
        key = f"{self._prefix}/{frame}"
        model = None if self._network is None else self._network()
        features = self._disk.load(key, model) if self._disk is not None and model is not None else None
        if features is None:
            features = make()
            if self._disk is not None:
                self._disk.save(key, features)
        self.put(frame, features)
        if self._dtype is None:
            return features
        # the first answer is to see what all later ones will see
        return _cast(_cast(features, self._dtype), features.embedding_pos.dtype)


def _cast(features: ImageFeatures, dtype: torch.dtype) -> ImageFeatures:
    """The same in another precision; the position map keeps its own, which tells what features came in."""
    if features.embedding.dtype == dtype:
        return features
    s0, s1 = (skip.to(dtype) for skip in features.high_res)
    return ImageFeatures(features.embedding.to(dtype), features.embedding_pos, (s0, s1))


def _size(features: ImageFeatures) -> int:
    return sum(t.numel() * t.element_size() for t in (features.embedding, *features.high_res))


def encode_frame(
    model: Sam2, rgb: NDArray[np.uint8], *, where: str, precision: Precision = "auto"
) -> ImageFeatures:
    """Encode one picture uint8 [H, W, 3]; `where` names it in the FrameShapeError of a wrong one."""
    pixels = picture_tensor(rgb, where=where)
    with inference(model.device, precision):
        return model.encode_images(model.preprocess(pixels))
