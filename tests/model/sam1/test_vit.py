"""The image encoder against plain forms of what it does."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from model.sam1 import vit
from model.sam1.sam1 import Sam1
from model.sam1.vit import RelativeAttention
from tests.model.sam1.conftest import TINY, tiny_network


def plain_attention(layer: RelativeAttention, x: Tensor) -> Tensor:
    """Attention over a whole map [B, H, W, C], one query and one key at a time in the bias."""
    batch, height, width, channels = x.shape
    q, k, v = layer.qkv(x).reshape(batch, height * width, 3, layer.heads, -1).permute(2, 0, 3, 1, 4)
    logits = (q @ k.transpose(2, 3)) / q.shape[-1] ** 0.5
    for query in range(height * width):
        for key in range(height * width):
            rows = query // width - key // width + height - 1
            columns = query % width - key % width + width - 1
            vector = layer.rel_pos_h[rows] + layer.rel_pos_w[columns]
            logits[:, :, query, key] += q[:, :, query] @ vector
    y = logits.softmax(dim=-1) @ v
    return layer.proj(y.transpose(1, 2).reshape(batch, height, width, channels))


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, 4, 4, TINY.width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("limit", [1, 100, 2**20])
@torch.inference_mode()
def test_attention_in_blocks_is_the_plain_one(
    network: Sam1, x: Tensor, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vit, "_BIAS_ELEMENTS_CPU", limit)
    layer = network.image_encoder.blocks[1].attn
    assert layer.window == 0
    torch.testing.assert_close(layer(x), plain_attention(layer, x), atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_windows_are_those_of_a_map_padded_with_zeros(network: Sam1, x: Tensor) -> None:
    layer = network.image_encoder.blocks[0].attn
    padded = F.pad(x, (0, 0, 0, 2, 0, 2))  # 4 + 2 are two windows of 3
    expected = torch.empty_like(padded)
    for top in (0, 3):
        for left in (0, 3):
            window = padded[:, top : top + 3, left : left + 3]
            expected[:, top : top + 3, left : left + 3] = plain_attention(layer, window)
    torch.testing.assert_close(layer(x), expected[:, :4, :4], atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_positions_are_stretched_to_another_side(network: Sam1) -> None:
    larger = Sam1(replace(TINY, image_size=96)).eval()
    larger.load_state_dict(network.state_dict())
    assert larger.encode_images(torch.zeros(1, 3, 96, 96)).shape == (1, TINY.dim, 6, 6)
    # a constant stays constant however it is stretched
    for weight in (larger.image_encoder.pos_embed, larger.image_encoder.blocks[1].attn.rel_pos_h):
        weight.fill_(0.5)
    position = larger.image_encoder._position(6, 6)
    torch.testing.assert_close(position, torch.full_like(position, 0.5))
    table = vit._table(larger.image_encoder.blocks[1].attn.rel_pos_h, 6)
    torch.testing.assert_close(table, torch.full((6, 6, 8), 0.5))


def test_gradients_reach_every_weight() -> None:
    network = tiny_network()
    network.encode_images(torch.randn(1, 3, 64, 64)).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in network.image_encoder.parameters())
