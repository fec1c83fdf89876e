"""A network of a few thousand weights, and clips of a moving square."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.config import DecoderConfig, MemoryConfig, Sam2Config, TrunkConfig
from model.network.sam2 import Sam2
from model.training.clips import Clip

MICRO = Sam2Config(
    size="nano",
    image_size=64,
    dim=16,
    trunk=TrunkConfig(
        embed_dim=8, heads=1, stages=(1, 1, 1, 1), global_blocks=(2,), windows=(4, 2, 2, 2), drop_path=0.0
    ),
    memory=MemoryConfig(dim=8, layers=1, feedforward=16, dropout=0.0),
    decoder=DecoderConfig(heads=2, feedforward=16),
)


class SquareClips:
    """A light square that moves two pixels a frame over a dark ground."""

    def __len__(self) -> int:
        return 10

    def clip(self, index: int, rng: np.random.Generator, *, frames: int, objects: int, size: int) -> Clip:
        images = np.full((frames, size, size, 3), 40, dtype=np.uint8)
        masks = np.zeros((frames, 1, size, size), dtype=bool)
        row, column = rng.integers(4, size // 2, 2)
        for time in range(frames):
            place = (slice(row, row + 16), slice(column + 2 * time, column + 2 * time + 16))
            images[time][place] = 200
            masks[time, 0][place] = True
        return Clip(images, masks, f"square-{index}")


@pytest.fixture
def squares() -> SquareClips:
    return SquareClips()


def build_micro(*, dropout: float = 0.0, seed: int = 0) -> Sam2:
    """The micro network with the same weights for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Sam2(replace(MICRO, memory=replace(MICRO.memory, dropout=dropout)))


@pytest.fixture
def micro() -> Sam2:
    return build_micro()
