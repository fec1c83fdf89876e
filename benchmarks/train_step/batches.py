"""A batch that needs no data: discs that move over noise, each seen on all frames."""

from __future__ import annotations

import numpy as np

from benchmarks.train_step.rows import StepRow
from model.training.batch import Batch
from model.training.clips import Clip

__all__ = ["draw_batch"]


def draw_batch(row: StepRow, seed: int = 0) -> Batch:
    """The batch of a row; equal seeds give equal batches."""
    rng = np.random.default_rng(seed)
    clips = [_clip(row, rng, f"clip-{number}") for number in range(row.clips)]
    return Batch.from_clips(clips, seeds=range(row.clips))


def _clip(row: StepRow, rng: np.random.Generator, name: str) -> Clip:
    size = row.image_size
    y, x = np.mgrid[:size, :size]
    images = rng.integers(0, 256, (row.frames, size, size, 3), dtype=np.uint8)
    masks = np.zeros((row.frames, row.objects, size, size), dtype=bool)
    for number in range(row.objects):
        centre, speed = rng.uniform(0.25, 0.75, 2) * size, rng.uniform(-0.02, 0.02, 2) * size
        radius, colour = rng.uniform(0.06, 0.16) * size, rng.integers(0, 256, 3)
        for time in range(row.frames):
            row_at, column_at = centre + time * speed
            disc = (y - row_at) ** 2 + (x - column_at) ** 2 < radius**2
            masks[time, number] = disc
            images[time][disc] = colour
    return Clip(images, masks, name)
