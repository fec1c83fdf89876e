"""How much cropping saves when masklets are scored: the cropped J and F against the same on whole frames.

Both run on the same masks in one process, in turn, so the ratio holds whatever else the machine does; the
results must be equal to the last bit. Run: ``python -m benchmarks.score_masklets``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from qa.metrics import boundary_radius, score_frame
from storage.masks import Rle, decode, encode

Scorer = Callable[[Rle, Rle], tuple[float, float]]
Pair = tuple[Rle, Rle]

SIZES = {"480p": (480, 854), "1080p": (1080, 1920)}
SIDES = {"small": 24, "medium": 64, "large": 240}  # of the object, in pixels


def score_whole_frame(prediction: Rle, truth: Rle) -> tuple[float, float]:
    """J and F of one frame, both in 0…1, without cropping: the plain version."""
    a, b = decode(prediction), decode(truth)
    union = np.count_nonzero(a | b)
    overlap = np.count_nonzero(a & b) / union if union else 1.0
    edges = _boundary(a), _boundary(b)
    disk = _disk(boundary_radius(*b.shape))
    near = [cv2.dilate(edge.view(np.uint8), disk).view(np.bool_) for edge in edges]
    precision = np.count_nonzero(edges[0] & near[1]) / np.count_nonzero(edges[0])
    recall = np.count_nonzero(edges[1] & near[0]) / np.count_nonzero(edges[1])
    return overlap, 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def masklet(height: int, width: int, side: int, *, frames: int) -> list[Pair]:
    """An ellipse of `side` × `side` pixels that crosses the frame, and a prediction that trails behind it."""
    places = np.linspace(side, width - side, frames).astype(int)
    return [
        (_ellipse(height, width, x - side // 8, side), _ellipse(height, width, int(x), side)) for x in places
    ]


def measure(pairs: Sequence[Pair], *, repeats: int) -> tuple[float, float]:
    """Least seconds of `repeats` passes over all pairs, whole frames and cropped."""
    passes = [(_seconds(score_whole_frame, pairs), _seconds(score_frame, pairs)) for _ in range(repeats)]
    whole, cropped = np.min(np.array(passes), axis=0)
    return float(whole), float(cropped)


def main() -> None:
    """Prints one line a frame size and object size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print("frame  object  whole ms/frame  cropped ms/frame  ratio")
    for size, (height, width) in SIZES.items():
        for name, side in SIDES.items():
            pairs = masklet(height, width, side, frames=options.frames)
            if [score_frame(*pair) for pair in pairs] != [score_whole_frame(*pair) for pair in pairs]:
                raise SystemExit(f"the two implementations differ on {name} objects at {size}")
            whole, cropped = measure(pairs, repeats=options.repeats)
            times = [1000 * seconds / options.frames for seconds in (whole, cropped)]
            print(f"{size:5}  {name:6}  {times[0]:14.2f}  {times[1]:16.2f}  {whole / cropped:5.1f}")


def _seconds(scorer: Scorer, pairs: Sequence[Pair]) -> float:
    start = time.perf_counter()
    for prediction, truth in pairs:
        scorer(prediction, truth)
    return time.perf_counter() - start


def _boundary(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    edge = np.zeros_like(mask)
    edge[:, :-1] |= mask[:, :-1] ^ mask[:, 1:]
    edge[:-1, :] |= mask[:-1, :] ^ mask[1:, :]
    edge[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return edge


def _ellipse(height: int, width: int, x: int, side: int) -> Rle:
    canvas: NDArray[np.uint8] = np.zeros((height, width), np.uint8)
    cv2.ellipse(canvas, (x, height // 2), (side // 2, side // 3), 30, 0, 360, 1, -1)
    return encode(canvas)


def _disk(radius: int) -> NDArray[np.uint8]:
    steps = np.arange(-radius, radius + 1)
    return (steps[:, None] ** 2 + steps**2 <= radius**2).astype(np.uint8)


if __name__ == "__main__":
    main()
