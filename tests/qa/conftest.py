from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from model.network.builder import build_sam2
from model.network.sam2 import Sam2


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """A network this small is slower on several threads, much slower on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model(one_thread: None) -> Sam2:
    """Random weights that see an object everywhere, so that every frame has errors."""
    torch.manual_seed(1)
    network = build_sam2("nano", image_size=64)
    biases = [
        v for name, v in network.named_parameters() if "obj_score_head" in name and name.endswith("bias")
    ]
    with torch.no_grad():
        biases[-1].fill_(5.0)
    return network
