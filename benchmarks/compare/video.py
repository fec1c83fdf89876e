"""Drawn videos: coloured ellipses that move over a slope of colour, with camera noise. The same for everyone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["jpeg_folder", "picture", "shape_mask"]

_SHAPES = 8
_SEED = 20260
_LOOP = 48  # pictures; a longer video repeats them

BoolMask = NDArray[np.bool_]


def picture(index: int, width: int, height: int) -> NDArray[np.uint8]:
    """Frame `index` as RGB uint8 [H, W, 3]."""
    noise = np.random.default_rng(_SEED + index)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    slope = np.stack((rows / height, columns / width, 1 - rows / height), axis=-1) * 120 + 40
    canvas = np.ascontiguousarray(slope)
    for shape in range(_SHAPES):
        colour = tuple(float(value) for value in np.random.default_rng(shape).integers(30, 226, 3))
        _draw(canvas, shape, index, colour)
    canvas += noise.normal(0, 6, (height, width, 1)).astype(np.float32)
    return canvas.clip(0, 255).astype(np.uint8)


def shape_mask(shape: int, index: int, width: int, height: int) -> BoolMask:
    """Where ellipse `shape` is drawn on frame `index`: bool [H, W]."""
    canvas = np.zeros((height, width), np.uint8)
    _draw(canvas, shape, index, (1.0,))
    return canvas.astype(np.bool_)


def _draw(canvas: NDArray[Any], shape: int, index: int, colour: tuple[float, ...]) -> None:
    height, width = canvas.shape[:2]
    phase = shape * 2 * np.pi / _SHAPES + 0.02 * index
    centre = (round(width * (0.5 + 0.33 * np.cos(phase))), round(height * (0.5 + 0.33 * np.sin(phase))))
    axes = (max(width // (9 + shape % 3), 2), max(height // (10 + shape % 4), 2))
    cv2.ellipse(canvas, centre, axes, 20.0 * shape, 0, 360, colour, -1)


def jpeg_folder(root: Path, frames: int, width: int, height: int) -> Path:
    """A folder of `frames` JPEG files under `root`, made unless it is there already."""
    folder = root / f"{width}x{height}-{frames}"
    done = folder / ".done"
    if done.exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(frames):
        file = folder / f"{index:05d}.jpg"
        if index < _LOOP:
            Image.fromarray(picture(index, width, height)).save(file, quality=92, subsampling=0)
        else:
            file.write_bytes((folder / f"{index % _LOOP:05d}.jpg").read_bytes())
    done.touch()
    return folder
