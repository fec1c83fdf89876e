"""Memory encoder: in place and in pieces against the plain formula; one image for several masks."""

from __future__ import annotations

import pytest
import torch

from model.network import memory_encoder
from model.network.layers import LayerNorm2d
from model.network.memory_encoder import MemoryEncoder


@pytest.mark.parametrize("pixels", [5, 1024])
def test_inference_equals_the_plain_formula(pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_encoder, "_PIXELS", pixels)
    torch.manual_seed(0)
    encoder = MemoryEncoder(32, 16).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    embedding, mask = torch.randn(1, 32, 4, 4), 10 * torch.randn(3, 1, 64, 64)
    plain = encoder(embedding.expand(3, -1, -1, -1), mask).detach()  # gradients are on
    with torch.inference_mode():
        torch.testing.assert_close(encoder(embedding, mask), plain, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("channels", [1, 4, 16, 64, 65])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_norms_of_planes_equal_the_plain_norm(channels: int, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    norm = LayerNorm2d(channels)
    with torch.no_grad():
        norm.weight.normal_()
        norm.bias.normal_()
    x = (3 + 5 * torch.randn(2, channels, 6, 8)).contiguous(memory_format=layout)
    before = x.clone()
    plain = norm(x).detach()
    with torch.inference_mode():
        torch.testing.assert_close(norm(x), plain, atol=2e-5, rtol=1e-5)
    assert torch.equal(x, before)
