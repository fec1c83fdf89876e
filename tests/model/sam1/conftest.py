"""A tiny SAM 1 with windows that do not divide its grid, and a picture that is wider than high."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.config import DecoderConfig
from model.sam1.config import Sam1Config
from model.sam1.sam1 import Sam1

TINY = Sam1Config(
    size="tiny",
    width=16,
    depth=2,
    heads=2,
    global_blocks=(1,),
    window=3,
    image_size=64,
    trained_size=64,
    dim=32,
    decoder=DecoderConfig(heads=2, feedforward=32, dynamic_multimask=False),
)


def tiny_network(config: Sam1Config = TINY) -> Sam1:
    """Random weights, none of them zero."""
    torch.manual_seed(0)
    network = Sam1(config).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.1 * torch.randn(weight.shape))
    return network


@pytest.fixture
def network() -> Sam1:
    return tiny_network()


@pytest.fixture
def picture() -> NDArray[np.uint8]:
    return np.random.default_rng(2).integers(0, 256, (40, 56, 3), dtype=np.uint8)
