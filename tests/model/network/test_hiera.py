"""The trunk: windows, pooling and the shapes of its outputs."""

from __future__ import annotations

import pytest
import torch

from model.config import SIZES, TrunkConfig
from model.network import hiera
from model.network.hiera import Block, Hiera, _interpolate, _join_windows, _pad, _split_windows, _stretch

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
    windows = _split_windows(_pad(x, 4, torch.zeros(3)), 4)
    assert windows.shape == (2 * 2 * 2, 4, 4, 3)
    assert torch.equal(_join_windows(windows, 5, 7), x)
    assert torch.equal(windows[0, :, :, 0], x[0, :4, :4, 0])


def test_blocks_are_skipped_in_training_only() -> None:
    block = Block(8, 8, heads=1, window=2, drop_path=0.999999)
    x = torch.randn(2, 4, 4, 8)
    assert torch.equal(block.train()(x), x)
    assert not torch.equal(block.eval()(x), x)


def test_positions_are_stretched_as_torch_interpolates() -> None:
    x = torch.randn(1, 5, 3, 7)
    for height, width in ((16, 16), (3, 7), (9, 40)):
        assert torch.allclose(_stretch(x, height, width), _interpolate(x, height, width), atol=1e-6)


@pytest.mark.parametrize("side", [64, 96, 160])
@pytest.mark.parametrize("tokens", [1, 50, 2048])
@pytest.mark.parametrize("windows", [(4, 2, 4, 2), (8, 4, 14, 7), (4, 2, 6, 3)])
def test_streaming_equals_the_plain_blocks(
    side: int, tokens: int, windows: tuple[int, int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hiera, "_TOKENS", tokens)
    torch.manual_seed(0)
    config = TrunkConfig(embed_dim=8, heads=1, stages=(1, 2, 3, 2), global_blocks=(4,), windows=windows)
    trunk = Hiera(config).eval()
    with torch.no_grad():
        for parameter in trunk.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    images = torch.randn(2, 3, side, side)
    before = images.clone()
    plain = [m.detach() for m in trunk(images)]  # gradients are on: nothing is streamed
    with torch.inference_mode():
        streamed = trunk(images)
    for ours, theirs in zip(streamed, plain, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5, rtol=1e-5)
    assert torch.equal(images, before)


def test_padding_with_the_bias_equals_padding_with_zeros_before() -> None:
    attention = hiera.WindowAttention(8, 8, heads=2, pools=False)
    x = torch.randn(1, 5, 7, 8)
    zeros = torch.nn.functional.pad(x, (0, 0, 0, 1, 0, 3))  # to 8 x 8
    torch.testing.assert_close(attention(x, 4)[:, :4, :4], attention(zeros, 4)[:, :4, :4])
    torch.testing.assert_close(attention(x, 4), _joined(attention, zeros, 4)[:, :5, :7])


def _joined(attention: hiera.WindowAttention, x: torch.Tensor, side: int) -> torch.Tensor:
    """The published order: windows of zero-padded tokens are projected."""
    windows = attention(_split_windows(x, side), 0)
    return _join_windows(windows, x.shape[1], x.shape[2])
