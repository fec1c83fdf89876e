"""A micro network and short random videos, small enough that every test takes a moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from model.config import DecoderConfig, MemoryConfig, Sam2Config, TrunkConfig
from model.golden import fill_weights
from model.network.sam2 import Sam2
from model.video.frame_source import ArrayFrames

MICRO = Sam2Config(
    size="micro",
    image_size=64,
    dim=32,
    trunk=TrunkConfig(
        embed_dim=8,
        heads=1,
        stages=(1, 1, 2, 1),
        global_blocks=(3,),
        windows=(4, 2, 4, 2),
        background_size=3,
        drop_path=0.0,
    ),
    memory=MemoryConfig(dim=16, layers=1, feedforward=32, rope_theta=100.0, dropout=0.0),
    decoder=DecoderConfig(heads=2, feedforward=32),
)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Keep small networks on one core, where they are fastest."""
    torch.set_num_threads(1)


@pytest.fixture
def micro_config() -> Sam2Config:
    return MICRO


@pytest.fixture
def micro_model() -> Sam2:
    """A micro network with fixed weights that always sees the object."""
    return micro_network(MICRO)


def micro_network(config: Sam2Config) -> Sam2:
    model = fill_weights(Sam2(config).eval())
    with torch.no_grad():
        model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias += 8.0
    return model


@pytest.fixture
def micro_v20() -> Sam2:
    """The same network without the additions of version 2.1."""
    return micro_network(replace(MICRO, version="2.0"))


@pytest.fixture
def video() -> Callable[[int], ArrayFrames]:
    """Make a random video of a given length, 40 pixels high and 56 wide."""

    def make(count: int) -> ArrayFrames:
        generator = np.random.default_rng(3)
        return ArrayFrames(generator.integers(0, 256, (count, 40, 56, 3), dtype=np.uint8))

    return make
