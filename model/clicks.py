"""Where a person would click: prompts simulated from a true mask and a prediction.

Three samplers: the centre of the largest error (evaluation and simulated annotators, after RITM), a point
drawn uniformly from the error, and a jittered box (both for training). Masks are bool with rows first;
points are (x, y) in pixels. The batched forms take N objects at once and return arrays for the prompt
encoder.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from model.errors import PromptError
from model.prompts import Box, Click

BoolMask = npt.NDArray[np.bool_]
Coordinates = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32]
Generators = np.random.Generator | Sequence[np.random.Generator]  # one for all objects, or one for each

NO_POINT = -1
BOX_TOP_LEFT = 2
BOX_BOTTOM_RIGHT = 3


def centre_click(truth: BoolMask, prediction: BoolMask | None = None) -> Click:
    """The click at the middle of the largest error region; `truth`, `prediction` bool [H,W].

    Positive inside a missed part, negative inside a false one. Without a prediction it is the middle of the
    object.
    """
    truth, prediction = _checked(truth, prediction)
    missed, missed_depth = _deepest(truth & ~prediction)
    false, false_depth = _deepest(~truth & prediction)
    positive = missed_depth > false_depth
    row, column = divmod(missed if positive else false, truth.shape[1])
    return Click(float(column), float(row), positive)


def error_click(truth: BoolMask, prediction: BoolMask | None, rng: np.random.Generator) -> Click:
    """A click drawn uniformly from all wrong pixels of `prediction` bool [H,W].

    Where the prediction is right everywhere: a negative click in the background.
    """
    truth, prediction = _checked(truth, prediction)
    wrong = truth ^ prediction
    if not wrong.any():
        wrong = ~truth
    index = _random_index(wrong, rng)
    row, column = divmod(index, truth.shape[1])
    return Click(float(column), float(row), bool(truth[row, column]) and bool(wrong[row, column]))


def noisy_box(
    truth: BoolMask, rng: np.random.Generator, *, noise: float = 0.1, max_noise_px: float = 20.0
) -> Box:
    """The tight box of `truth` bool [H,W] with each coordinate moved by at most `noise` of its side.

    Raises `PromptError` for an empty mask.
    """
    if not truth.any():
        raise PromptError("A box needs an object: the mask is empty.")
    height, width = truth.shape
    columns = np.flatnonzero(truth.any(axis=0))
    rows = np.flatnonzero(truth.any(axis=1))
    tight = np.array([columns[0], rows[0], columns[-1], rows[-1]], dtype=np.float64)
    sides = np.array([tight[2] - tight[0], tight[3] - tight[1]] * 2)
    moved = tight + rng.uniform(-1.0, 1.0, size=4) * np.minimum(noise * sides, max_noise_px)
    limit = np.array([width - 1, height - 1] * 2)
    x0, y0, x1, y1 = (float(value) for value in np.clip(moved, 0, limit))
    return Box(x0, y0, x1, y1)


def error_clicks(truth: BoolMask, prediction: BoolMask | None, rng: Generators) -> tuple[Coordinates, Labels]:
    """`error_click` for N objects: masks bool [N,H,W] → coordinates float32 [N,1,2], labels int32 [N,1]."""
    predictions = [None] * len(truth) if prediction is None else list(prediction)
    rows = zip(truth, predictions, _one_each(rng, len(truth)), strict=True)
    return _as_arrays([error_click(one, guess, generator) for one, guess, generator in rows])


def centre_clicks(truth: BoolMask, prediction: BoolMask | None = None) -> tuple[Coordinates, Labels]:
    """`centre_click` for N objects: masks bool [N,H,W] → coordinates float32 [N,1,2], labels int32 [N,1]."""
    predictions = [None] * len(truth) if prediction is None else list(prediction)
    return _as_arrays([centre_click(one, guess) for one, guess in zip(truth, predictions, strict=True)])


def noisy_boxes(
    truth: BoolMask, rng: Generators, *, noise: float = 0.1, max_noise_px: float = 20.0
) -> tuple[Coordinates, Labels]:
    """`noisy_box` for N objects bool [N,H,W] as corner points.

    Returns coordinates float32 [N,2,2] with labels 2 and 3, int32 [N,2]. An empty mask has no box: its row is one
    negative background click and, as the prompt encoder pads, a point that says nothing (label -1).
    """
    coordinates = np.zeros((len(truth), 2, 2), dtype=np.float32)
    labels = np.tile(np.array([BOX_TOP_LEFT, BOX_BOTTOM_RIGHT], dtype=np.int32), (len(truth), 1))
    for row, (mask, generator) in enumerate(zip(truth, _one_each(rng, len(truth)), strict=True)):
        if mask.any():
            box = noisy_box(mask, generator, noise=noise, max_noise_px=max_noise_px)
            coordinates[row] = ((box.x0, box.y0), (box.x1, box.y1))
        else:
            click = error_click(mask, None, generator)
            coordinates[row, 0] = (click.x, click.y)
            labels[row] = (0, NO_POINT)
    return coordinates, labels


def _one_each(rng: Generators, count: int) -> Sequence[np.random.Generator]:
    return [rng] * count if isinstance(rng, np.random.Generator) else rng


def _checked(truth: BoolMask, prediction: BoolMask | None) -> tuple[BoolMask, BoolMask]:
    if truth.ndim != 2:
        raise PromptError(f"A mask has rows and columns; got an array of shape {truth.shape}.")
    if prediction is None:
        return truth, np.zeros_like(truth)
    if prediction.shape != truth.shape:
        raise PromptError(f"Truth {truth.shape} and prediction {prediction.shape} differ in size.")
    return truth, prediction


def _deepest(region: BoolMask) -> tuple[int, float]:
    """Flat index and depth of the pixel farthest from the border of `region`; the image's edge is a border."""
    padded = np.pad(region, 1).astype(np.uint8)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 0)[1:-1, 1:-1]
    # squared pixel distances are whole numbers; OpenCV's last bits vary with memory alignment, and with them
    # the choice between equally deep pixels would
    depth = np.rint(distance.astype(np.float64) ** 2)
    index = int(np.argmax(depth))
    return index, float(depth.flat[index])


def _random_index(region: BoolMask, rng: np.random.Generator) -> int:
    candidates = np.flatnonzero(region)
    return int(candidates[rng.integers(len(candidates))]) if len(candidates) else 0


def _as_arrays(clicks: list[Click]) -> tuple[Coordinates, Labels]:
    coordinates = np.array([[(click.x, click.y)] for click in clicks], dtype=np.float32).reshape(-1, 1, 2)
    labels = np.array([[int(click.positive)] for click in clicks], dtype=np.int32).reshape(-1, 1)
    return coordinates, labels
