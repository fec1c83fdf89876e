"""The trunk: windows, pooling and the shapes of its outputs."""

from __future__ import annotations

import torch

from model.config import SIZES, TrunkConfig
from model.hiera import Block, Hiera, _join_windows, _split_windows

WINDOWS = {
    "tiny": [8, 8, 4, 4, 14, 0, 14, 0, 14, 0, 14, 7],
    "small": [8, 8, 4, 4, 14, 14, 14, 0, 14, 14, 0, 14, 14, 0, 14, 7],
    "base_plus": [8] * 3 + [4] * 3 + [14] * 6 + [0] + [14] * 3 + [0] + [14] * 3 + [0, 14] + [7] * 2,
    "large": [8] * 3 + [4] * 6 + [16] * 14 + [0] + [16] * 9 + [0] + [16] * 9 + [0, 16] + [8] * 3,
}


def test_windows_of_every_block() -> None:
    for size, expected in WINDOWS.items():
        with torch.device("meta"):
            trunk = Hiera(SIZES[size].trunk)
        assert [block.window for block in trunk.blocks if isinstance(block, Block)] == expected, size


def test_output_shapes() -> None:
    config = TrunkConfig(embed_dim=8, heads=1, stages=(1, 1, 2, 1), global_blocks=(3,))
    maps = Hiera(config)(torch.zeros(2, 3, 64, 64))
    assert [tuple(m.shape) for m in maps] == [(2, 8, 16, 16), (2, 16, 8, 8), (2, 32, 4, 4), (2, 64, 2, 2)]


def test_windows_can_be_joined_again() -> None:
    x = torch.arange(2 * 5 * 7 * 3.0).reshape(2, 5, 7, 3)
    windows = _split_windows(x, 4)
    assert windows.shape == (2 * 2 * 2, 4, 4, 3)
    assert torch.equal(_join_windows(windows, 5, 7), x)
    assert torch.equal(windows[0, :, :, 0], x[0, :4, :4, 0])


def test_blocks_are_skipped_in_training_only() -> None:
    block = Block(8, 8, heads=1, window=2, drop_path=0.999999)
    x = torch.randn(2, 4, 4, 8)
    assert torch.equal(block.train()(x), x)
    assert not torch.equal(block.eval()(x), x)
