"""The two-way transformer against its plain form, in which every pixel is projected for every prompt."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from model.config import DecoderConfig
from model.network.two_way import CrossAttention, TwoWayBlock, TwoWayTransformer

CHANNELS, SIDE = 32, 5


def _plain_block(
    block: TwoWayBlock, tokens: Tensor, pixels: Tensor, first: Tensor, position: Tensor
) -> tuple[Tensor, Tensor]:
    if block.first:
        tokens = block.norm1(block.self_attn(tokens, tokens, tokens))
    else:
        placed = tokens + first
        tokens = block.norm1(tokens + block.self_attn(placed, placed, tokens))
    keys = pixels + position
    tokens = block.norm2(tokens + block.cross_attn_token_to_image(tokens + first, keys, pixels))
    tokens = block.norm3(tokens + block.mlp(tokens))
    looked = block.cross_attn_image_to_token(keys, tokens + first, tokens)
    return tokens, block.norm4(pixels + looked)


def plain_transformer(
    transformer: TwoWayTransformer, tokens: Tensor, pixels: Tensor, position: Tensor
) -> tuple[Tensor, Tensor]:
    first = tokens
    for block in transformer.layers:
        assert isinstance(block, TwoWayBlock)
        tokens, pixels = _plain_block(block, tokens, pixels, first, position)
    looked = transformer.final_attn_token_to_image(tokens + first, pixels + position, pixels)
    return transformer.norm_final_attn(tokens + looked), pixels


def _network() -> TwoWayTransformer:
    torch.manual_seed(0)
    network = TwoWayTransformer(CHANNELS, DecoderConfig(heads=2, feedforward=48))
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return network


def _inputs(prompts: int, length: int, images: int) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    return (
        torch.randn(prompts, length, CHANNELS),
        torch.randn(images, SIDE * SIDE, CHANNELS),
        torch.randn(1, SIDE * SIDE, CHANNELS),
    )


def _gradients(network: TwoWayTransformer, outputs: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    network.zero_grad()
    torch.manual_seed(2)
    sum((output * torch.randn_like(output)).sum() for output in outputs).backward()  # type: ignore[union-attr]
    return {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}


# 7 tokens are few (two heads, 16 channels inside), 12 are too many to fold
@pytest.mark.parametrize("length", [7, 12])
@pytest.mark.parametrize("prompts", [1, 3])
@pytest.mark.parametrize("shares", [True, False])
def test_results_and_gradients_equal_the_plain_form(length: int, prompts: int, shares: bool) -> None:
    network = _network()
    tokens, pixels, position = _inputs(prompts, length, 1 if shares else prompts)
    repeated = pixels.expand(prompts, -1, -1)
    expected = plain_transformer(network, tokens, repeated, position)
    shared = network.project(pixels, position, tokens=prompts * length)
    actual = network(tokens, pixels, position, shared)
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    wanted, got = _gradients(network, expected), _gradients(network, actual)
    scale = max(float(g.abs().max()) for g in wanted.values())
    for name, gradient in wanted.items():
        torch.testing.assert_close(
            got.get(name, torch.zeros_like(gradient)), gradient, rtol=1e-4, atol=1e-5 * scale
        )


def test_projections_are_shared_only_where_that_pays() -> None:
    network = _network()
    _, pixels, position = _inputs(1, 7, 1)
    assert network.project(pixels, position, tokens=7) is None
    assert network.project(pixels, position, tokens=14) is not None
    assert network.project(pixels.expand(2, -1, -1), position, tokens=14) is None


def test_folding_pays_for_few_tokens() -> None:
    attention = CrossAttention(256, heads=8, inner=128)
    assert attention.folds(8) and not attention.folds(16)
