"""The two-way transformer of the mask decoder: tokens attend to pixels and pixels attend to tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.attention import Attention
from model.config import DecoderConfig
from model.layers import Mlp

__all__ = ["TwoWayTransformer"]


class TwoWayTransformer(nn.Module):
    """`depth` two-way blocks and a last look of the tokens at the pixels."""

    def __init__(self, dim: int, config: DecoderConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayBlock(dim, config, first=i == 0) for i in range(config.depth))
        self.final_attn_token_to_image = Attention(dim, heads=config.heads, inner=dim // 2)
        self.norm_final_attn = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor, image: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        """Return (tokens [N, L, C], pixels [N, C, h, w]) for tokens [N, L, C], image [N, C, h, w].

        `position` is the dense position map [1, C, h, w]; a token's position is its first value.
        """
        height, width = image.shape[-2:]
        pixels = image.flatten(2).transpose(1, 2)  # N hw C
        pixel_position = position.flatten(2).transpose(1, 2)  # 1 hw C
        first = tokens
        for layer in self.layers:
            tokens, pixels = layer(tokens, pixels, first, pixel_position)
        looked = self.final_attn_token_to_image(tokens + first, pixels + pixel_position, pixels)
        tokens = self.norm_final_attn(tokens + looked)
        return tokens, torch.unflatten(pixels.transpose(1, 2), 2, (height, width))


class TwoWayBlock(nn.Module):
    """Tokens to tokens, tokens to pixels, MLP, pixels to tokens; each followed by a norm."""

    def __init__(self, dim: int, config: DecoderConfig, *, first: bool) -> None:
        super().__init__()
        self.first = first
        self.self_attn = Attention(dim, heads=config.heads)
        self.norm1 = nn.LayerNorm(dim)
        self.cross_attn_token_to_image = Attention(dim, heads=config.heads, inner=dim // 2)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp((dim, config.feedforward, dim))
        self.norm3 = nn.LayerNorm(dim)
        self.cross_attn_image_to_token = Attention(dim, heads=config.heads, inner=dim // 2)
        self.norm4 = nn.LayerNorm(dim)

    def forward(
        self, tokens: Tensor, pixels: Tensor, token_position: Tensor, pixel_position: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the new (tokens [N, L, C], pixels [N, hw, C])."""
        tokens = self.norm1(self._attend_to_tokens(tokens, token_position))
        keys = pixels + pixel_position
        looked = self.cross_attn_token_to_image(tokens + token_position, keys, pixels)
        tokens = self.norm2(tokens + looked)
        tokens = self.norm3(tokens + self.mlp(tokens))
        looked = self.cross_attn_image_to_token(keys, tokens + token_position, tokens)
        return tokens, self.norm4(pixels + looked)

    def _attend_to_tokens(self, tokens: Tensor, position: Tensor) -> Tensor:
        if self.first:  # here the tokens are their own position, and the residual is left out
            alone: Tensor = self.self_attn(tokens, tokens, tokens)
            return alone
        placed = tokens + position
        attended: Tensor = tokens + self.self_attn(placed, placed, tokens)
        return attended
