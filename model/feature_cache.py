"""A bounded cache of image features: the encoder runs once per frame as long as the frame is remembered."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import torch
from numpy.typing import NDArray

from model.errors import PromptError
from model.sam2 import ImageFeatures, Sam2

__all__ = ["FeatureCache", "encode_frame"]


class FeatureCache:
    """Least recently used features go first once `capacity` bytes are passed; the newest always stays."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[int, ImageFeatures] = OrderedDict()
        self._bytes = 0

    def get(self, frame: int) -> ImageFeatures | None:
        """Return the features of a frame if they are still here, and mark them as used."""
        if frame in self._entries:
            self._entries.move_to_end(frame)
        return self._entries.get(frame)

    def put(self, frame: int, features: ImageFeatures) -> None:
        """Keep the features of a frame, dropping the least recently used ones."""
        self._entries[frame] = features
        self._bytes += _size(features)
        while self._bytes > self._capacity and len(self._entries) > 1:
            _, dropped = self._entries.popitem(last=False)
            self._bytes -= _size(dropped)

    def __len__(self) -> int:
        return len(self._entries)


def _size(features: ImageFeatures) -> int:
    tensors = (features.embedding, features.embedding_pos, *features.high_res)
    return sum(t.numel() * t.element_size() for t in tensors)


def encode_frame(model: Sam2, rgb: NDArray[np.uint8], *, where: str) -> ImageFeatures:
    """Encode one picture uint8 [H, W, 3]; `where` names it in the PromptError of a wrong one."""
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or 0 in rgb.shape:
        raise PromptError(f"{where} is {rgb.dtype} of shape {rgb.shape}, not uint8 height x width x 3")
    pixels = torch.from_numpy(np.ascontiguousarray(rgb))[None]
    with torch.inference_mode():
        return model.encode_images(model.preprocess(pixels))
