"""Image features on disk, shared by all sessions and processes that work on a video with the same weights.

A file is named after everything its content depends on: the weights, the size of the input, the precision, the
video and the frame. So another network never reads it, and nothing has to be declared stale.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from model.network.position import sine_2d
from model.network.sam2 import ImageFeatures, Sam2
from model.runtime import Precision

__all__ = ["DiskFeatures", "network_key"]

_SUFFIX = ".safetensors"
_NAMES = ("embedding", "skip4", "skip8")
_log = logging.getLogger(__name__)


def network_key(model: Sam2, precision: Precision) -> str:
    """SHA-256 in hexadecimal of the weights with the size of the input, the kind of device and the precision."""
    digest = hashlib.sha256(f"{model.image_size} {model.device.type} {precision}".encode())
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


class DiskFeatures:
    """A folder of features; the least recently used files go first once it holds `capacity` bytes.

    Files are written whole or not at all and are readable by their owner only: features show what is in a
    picture. A damaged file is deleted and its frame encoded again. What cannot be written is not kept; that is
    logged and is no error.
    """

    def __init__(self, folder: str | Path, capacity: int) -> None:
        self._folder = Path(folder)
        self._capacity = capacity
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def load(self, key: str, model: Sam2) -> ImageFeatures | None:
        """Return the features that `model` once made under that key; None when there are none, or damaged ones."""
        path = self._path(key)
        try:
            tensors = load(path.read_bytes())
            embedding, s0, s1 = (tensors[name].to(model.device) for name in _NAMES)
            os.utime(path)
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            _log.warning("features in %s are damaged and will be made again: %s", path, error)
            path.unlink(missing_ok=True)
            return None
        height, width = embedding.shape[-2:]
        position = sine_2d(model.dim, height, width, device=model.device).to(embedding.dtype)
        return ImageFeatures(embedding, position, (s0, s1))

    def save(self, key: str, features: ImageFeatures) -> None:
        """Keep features under a key, and drop the longest unused ones where there is no room."""
        tensors = (features.embedding, *features.high_res)
        data = save({n: t.detach().cpu().contiguous() for n, t in zip(_NAMES, tensors, strict=True)})
        if len(data) > self._capacity:
            return
        try:
            self._make_room(len(data))
            self._write(self._path(key), data)
        except OSError as error:
            _log.warning("features are not kept in %s: %s", self._folder, error)

    def _path(self, key: str) -> Path:
        return self._folder / (hashlib.sha256(key.encode()).hexdigest() + _SUFFIX)

    def _write(self, path: Path, data: bytes) -> None:
        handle, name = tempfile.mkstemp(dir=self._folder, suffix=".part")  # mode 600
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(name).replace(path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise

    def _make_room(self, size: int) -> None:
        """Delete the longest unused files; other processes may be deleting them at the same time."""
        files = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat()
                    files.append((status.st_mtime_ns, status.st_size, entry.path))
        excess = sum(file_size for _, file_size, _ in files) + size - self._capacity
        for _, file_size, path in sorted(files):
            if excess <= 0:
                return
            Path(path).unlink(missing_ok=True)
            excess -= file_size
