"""A tiny network with random weights, shared by the tests of the package."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from annotation.assistance import SessionTools
from annotation.work import PhaseRules
from model.config import DecoderConfig, MemoryConfig, Sam2Config, TrunkConfig
from model.golden import fill_weights
from model.network.sam2 import Sam2

RULES = {
    1: PhaseRules(1, False, "none"),
    2: PhaseRules(2, True, "masks"),
    3: PhaseRules(3, True, "all"),
}

MICRO = Sam2Config(
    size="micro",
    image_size=64,
    dim=32,
    trunk=TrunkConfig(
        embed_dim=8, heads=1, stages=(1, 1, 2, 1), global_blocks=(3,), windows=(4, 2, 4, 2), background_size=3
    ),
    memory=MemoryConfig(dim=16, layers=1, feedforward=32, rope_theta=100.0, dropout=0.0),
    decoder=DecoderConfig(heads=2, feedforward=32),
)


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """The network is so small that threads only get into each other's way."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def model() -> Sam2:
    """Made-up weights that never call an object absent, so that every answer is some mask."""
    network = fill_weights(Sam2(MICRO).eval())
    last = list(network.sam_mask_decoder.pred_obj_score_head.parameters())[-1]
    with torch.no_grad():
        last.fill_(10.0)
    return network


@pytest.fixture
def tools(model: Sam2) -> SessionTools:
    return SessionTools(model)
