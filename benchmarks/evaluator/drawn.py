"""Masklets to be scored, drawn or of a released SA-V file, and the folders of PNG masks that hold them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray

from storage.masks import Rle, decode

__all__ = ["SIDES_PX", "Mask", "Masklets", "drawn", "released", "write_folders", "write_pictures"]

Mask = NDArray[np.bool_]
SIDES_PX = {"small": 24, "medium": 64, "large": 240}
_PALETTE = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]


@dataclass(frozen=True)
class Masklets:
    """Objects of one video: name → masks bool [H,W] of all frames, of the truth and of a prediction."""

    truth: Mapping[str, Sequence[Mask]]
    prediction: Mapping[str, Sequence[Mask]]

    @property
    def count(self) -> int:
        """Masks of the truth that are scored: without the first and the last."""
        return sum(len(masks) - 2 for masks in self.truth.values())


def drawn(height: int, width: int, sides_px: Sequence[int], *, frames: int, seed: int = 0) -> Masklets:
    """Blobs of about these sizes that cross the frame, apart from each other; predictions wobble and trail behind."""
    rng = np.random.default_rng(seed)
    truth: dict[str, list[Mask]] = {}
    prediction: dict[str, list[Mask]] = {}
    for number, side in enumerate(sides_px):
        phases = rng.uniform(0, 2 * np.pi, 3)
        xs = np.linspace(side, width - side, frames)
        y = height * (number + 1) / (len(sides_px) + 1)
        name = f"{number:03}"
        truth[name] = [_blob(height, width, x, y, side, phases + n / 9) for n, x in enumerate(xs)]
        prediction[name] = [
            _blob(height, width, x - side / 12, y + 1, side * 0.97, phases + n / 9 + 0.2)
            for n, x in enumerate(xs)
        ]
    return Masklets(truth, prediction)


def released(path: Path, *, every: int = 1) -> Masklets:
    """The masklets of an SA-V JSON file, of every n-th frame; predictions lag a frame behind and are shifted."""
    frames = json.loads(path.read_text(encoding="utf-8"))["masklet"][::every]
    truth = {
        f"{number:03}": [np.ascontiguousarray(decode(Rle.from_coco(frame[number]))) for frame in frames]
        for number in range(len(frames[0]))
    }
    late = {name: [masks[0], *masks[:-1]] for name, masks in truth.items()}
    return Masklets(truth, {name: [np.roll(m, 2, axis=1) for m in masks] for name, masks in late.items()})


def write_folders(masklets: Mapping[str, Sequence[Mask]], root: Path, *, bits: int) -> None:
    """SA-V's tree: a folder an object; palette pictures of a byte a pixel, or grey ones of a bit."""
    for name, masks in masklets.items():
        (root / "video" / name).mkdir(parents=True)
        for number, mask in enumerate(masks):
            picture = PIL.Image.fromarray(mask if bits == 1 else mask.astype(np.uint8))
            if bits == 8:
                picture.putpalette(_PALETTE)
            picture.save(root / "video" / name / f"{4 * number:05}.png")


def write_pictures(masklets: Mapping[str, Sequence[Mask]], root: Path) -> None:
    """DAVIS's tree: all objects in one palette picture, later ones above."""
    (root / "video").mkdir(parents=True)
    for number, masks in enumerate(zip(*masklets.values(), strict=True)):
        labels = np.zeros(masks[0].shape, np.uint8)
        for value, mask in enumerate(masks, start=1):
            labels[mask] = value
        picture = PIL.Image.fromarray(labels)
        picture.putpalette(_PALETTE)
        picture.save(root / "video" / f"{number:05}.png")


def _blob(height: int, width: int, x: float, y: float, side: float, phases: NDArray[np.float64]) -> Mask:
    """A round shape whose contour waves."""
    angles = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    waves = sum(np.sin(k * angles + phase) for k, phase in zip((2, 3, 5), phases, strict=True))
    radii = side / 2 * (1 + 0.12 * waves)
    points = np.stack([x + radii * np.cos(angles), y + radii * np.sin(angles)], axis=1)
    canvas = np.zeros((height, width), np.uint8)
    cv2.fillPoly(canvas, [np.rint(points).astype(np.int32)], 1)
    return canvas > 0
