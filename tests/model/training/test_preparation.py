"""Drop path rises over the blocks; a frozen encoder neither learns nor drops."""

from __future__ import annotations

import pytest

from model.network.sam2 import Sam2
from model.training.preparation import prepare
from model.training.recipe import TrainConfig


def rates(model: Sam2) -> list[float]:
    return [block.drop_path.rate for block in model.image_encoder.trunk.blocks]


def test_drop_path_rises_from_nothing_to_its_rate(micro: Sam2) -> None:
    prepare(micro, TrainConfig(drop_path=0.3))
    assert rates(micro) == pytest.approx([0.0, 0.1, 0.2, 0.3])
    prepare(micro, TrainConfig())
    assert rates(micro)[-1] == pytest.approx(0.3)


def test_a_frozen_encoder(micro: Sam2) -> None:
    prepare(micro, TrainConfig(drop_path=0.3, freeze_encoder=True))
    assert rates(micro) == [0.0] * 4
    assert not any(p.requires_grad for p in micro.image_encoder.parameters())
    assert all(p.requires_grad for p in micro.memory_attention.parameters())
