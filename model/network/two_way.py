"""The two-way transformer of the mask decoder: tokens attend to pixels and pixels attend to tokens.

A prompt has about eight tokens, an image thousands of pixels. Both directions of attention are therefore
computed without projecting the pixels: with heads h of width d, (x W_k) · q = x · (W_k q), so the projections
of the pixels move to the tokens' side, and sums over pixels are projected after they are taken. That is the
same algebra with about half the multiplications. Where several prompts share an image, the first layer's
projections of the pixels depend on the image alone and are made once for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.config import DecoderConfig
from model.network.attention import Attention
from model.network.layers import Mlp
from model.network.position import in_place_pays

__all__ = ["ImageProjections", "TwoWayTransformer"]


@dataclass(frozen=True, slots=True)
class ImageProjections:
    """What the first layer makes of the pixels before it knows any prompt; each [1, heads, hw, D]."""

    keys: Tensor  # of token to image attention
    values: Tensor
    queries: Tensor  # of image to token attention


class TwoWayTransformer(nn.Module):
    """`depth` two-way blocks and a last look of the tokens at the pixels."""

    def __init__(self, dim: int, config: DecoderConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayBlock(dim, config, first=i == 0) for i in range(config.depth))
        self.final_attn_token_to_image = CrossAttention(dim, heads=config.heads, inner=dim // 2)
        self.norm_final_attn = nn.LayerNorm(dim)

    def forward(
        self, tokens: Tensor, pixels: Tensor, position: Tensor, shared: ImageProjections | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return (tokens [N, L, C], pixels [N, hw, C]) for tokens [N, L, C] and pixels [N or 1, hw, C].

        `position` is the dense position map [1, hw, C]; a token's position is its first value. `shared`
        is what `project` said about pixels of batch 1.
        """
        first = tokens
        for index, layer in enumerate(self.layers):
            tokens, pixels = layer(tokens, pixels, first, position, shared if index == 0 else None)
        looked = self.final_attn_token_to_image.gather(tokens + first, pixels + position, pixels)
        return self.norm_final_attn(tokens + looked), pixels

    def project(self, pixels: Tensor, position: Tensor, *, tokens: int) -> ImageProjections | None:
        """Return the image-only terms of pixels [1, hw, C], or None where that does not pay.

        `tokens` is the number of tokens of all prompts together. Pixels of another batch have no such terms.
        """
        block = self.layers[0]
        if pixels.shape[0] > 1 or not isinstance(block, TwoWayBlock):
            return None
        looking, shown = block.cross_attn_token_to_image, block.cross_attn_image_to_token
        if looking.folds(tokens):
            return None
        keys = pixels + position
        return ImageProjections(
            looking.split(looking.k_proj(keys)),
            looking.split(looking.v_proj(pixels)),
            shown.split(shown.q_proj(keys)),
        )


class TwoWayBlock(nn.Module):
    """Tokens to tokens, tokens to pixels, MLP, pixels to tokens; each followed by a norm."""

    def __init__(self, dim: int, config: DecoderConfig, *, first: bool) -> None:
        super().__init__()
        self.first = first
        self.self_attn = Attention(dim, heads=config.heads)
        self.norm1 = nn.LayerNorm(dim)
        self.cross_attn_token_to_image = CrossAttention(dim, heads=config.heads, inner=dim // 2)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp((dim, config.feedforward, dim))
        self.norm3 = nn.LayerNorm(dim)
        self.cross_attn_image_to_token = CrossAttention(dim, heads=config.heads, inner=dim // 2)
        self.norm4 = nn.LayerNorm(dim)

    def forward(
        self,
        tokens: Tensor,
        pixels: Tensor,
        token_position: Tensor,
        pixel_position: Tensor,
        shared: ImageProjections | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the new (tokens [N, L, C], pixels [N, hw, C]); pixels may come in with batch 1."""
        tokens = self.norm1(self._attend_to_tokens(tokens, token_position))
        looking, shown = self.cross_attn_token_to_image, self.cross_attn_image_to_token
        placed = pixels if shared is not None else pixels + pixel_position
        if shared is not None:
            looked = looking.gather_projected(tokens + token_position, shared.keys, shared.values)
        else:
            looked = looking.gather(tokens + token_position, placed, pixels)
        tokens = self.norm2(tokens + looked)
        tokens = self.norm3(tokens + self.mlp(tokens))
        if shared is not None:
            pixels = shown.scatter_projected(pixels, shared.queries, tokens + token_position, tokens)
        else:
            own = not self.first  # the pixels that come into the first block belong to others
            pixels = shown.scatter(pixels, placed, tokens + token_position, tokens, overwrite=own)
        del placed  # on a CPU its memory is still in the cache and good for the next result
        return tokens, self.norm4(pixels)

    def _attend_to_tokens(self, tokens: Tensor, position: Tensor) -> Tensor:
        if self.first:  # here the tokens are their own position, and the residual is left out
            alone: Tensor = self.self_attn(tokens, tokens, tokens)
            return alone
        placed = tokens + position
        attended: Tensor = tokens + self.self_attn(placed, placed, tokens)
        return attended


class CrossAttention(Attention):
    """Attention between few tokens [N, L, C] and many pixels [N or 1, hw, C], heads h of width D.

    `forward` is the plain form, with every pixel projected; the methods below give the same.
    """

    def folds(self, tokens: int) -> bool:
        """Whether multiplying the pixels with every head of `tokens` tokens is less than projecting them."""
        return self.heads * tokens < self.q_proj.out_features

    def split(self, x: Tensor) -> Tensor:
        """Return [N, heads, L, D] for projected x [N, L, inner]."""
        return torch.unflatten(x, 2, (self.heads, -1)).transpose(1, 2)

    def gather(self, tokens: Tensor, keys: Tensor, pixels: Tensor) -> Tensor:
        """Tokens [N, L, C] attend to `pixels`, whose positions are added in `keys`: [N, L, C]."""
        if not self.folds(tokens.shape[1]):
            return self.gather_projected(
                tokens, self.split(self.k_proj(keys)), self.split(self.v_proj(pixels))
            )
        queries = self._scaled(self.q_proj(tokens))
        # a bias of the keys adds the same to all scores of a query, so the softmax does not see it
        scores = self._fold(queries, self.k_proj.weight) @ keys.transpose(1, 2)  # N hL hw
        sums = torch.unflatten(scores.softmax(dim=2) @ pixels, 1, (self.heads, -1))  # N h L C
        weight = torch.unflatten(self.v_proj.weight, 0, (self.heads, -1))  # h D C
        taken = sums @ weight.transpose(1, 2) + torch.unflatten(self.v_proj.bias, 0, (self.heads, 1, -1))
        result: Tensor = self.out_proj(taken.transpose(1, 2).flatten(2))
        return result

    def gather_projected(self, tokens: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """The same for projected keys and values [N or 1, heads, hw, D]."""
        queries = self.split(self.q_proj(tokens))  # N h L D
        count, _, length, _ = queries.shape
        if keys.shape[0] == 1:  # all tokens of all prompts are queries to one image
            merged = queries.transpose(0, 1).flatten(1, 2)[None]  # 1 h NL D
            taken = F.scaled_dot_product_attention(merged, keys, values)[0]  # h NL D
            taken = torch.unflatten(taken, 1, (count, length)).transpose(0, 1)  # N h L D
        else:
            taken = F.scaled_dot_product_attention(queries, keys, values)
        result: Tensor = self.out_proj(taken.transpose(1, 2).flatten(2))
        return result

    def scatter(
        self, pixels: Tensor, placed: Tensor, keys: Tensor, values: Tensor, *, overwrite: bool = False
    ) -> Tensor:
        """Pixels, with positions in `placed`, attend to tokens `keys`, `values` [N, L, C]: pixels + answer.

        `overwrite` allows to write the result where `pixels` were.
        """
        if not self.folds(keys.shape[1]):
            return self.scatter_projected(pixels, self.split(self.q_proj(placed)), keys, values)
        scaled = self._scaled(self.k_proj(keys))  # N h L D
        bias = scaled @ torch.unflatten(self.q_proj.bias, 0, (self.heads, -1, 1))  # N h L 1
        folded = self._fold(scaled, self.q_proj.weight)  # N hL C
        scores = torch.baddbmm(bias.flatten(1, 2), folded, _repeat(placed, keys.shape[0]).transpose(1, 2))
        return self._add(pixels, torch.unflatten(scores, 1, (self.heads, -1)), values, overwrite=overwrite)

    def scatter_projected(self, pixels: Tensor, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """The same for projected queries [N or 1, heads, hw, D]."""
        scaled = self._scaled(self.k_proj(keys))  # N h L D
        count, _, length, _ = scaled.shape
        if queries.shape[0] == 1:
            merged = scaled.transpose(0, 1).flatten(1, 2)  # h NL D
            scores = merged @ queries[0].transpose(1, 2)  # h NL hw
            scores = torch.unflatten(scores, 1, (count, length)).transpose(0, 1)  # N h L hw
        else:
            scores = scaled @ queries.transpose(2, 3)
        return self._add(pixels, scores, values)

    def _add(self, pixels: Tensor, scores: Tensor, values: Tensor, *, overwrite: bool = False) -> Tensor:
        """Return pixels [N, hw, C] plus what they take from the tokens by scores [N, heads, L, hw]."""
        shares = scores.softmax(dim=2).flatten(1, 2)  # N hL hw
        taken = self.split(self.v_proj(values))  # N h L D
        weight = torch.unflatten(self.out_proj.weight.T, 0, (self.heads, -1))  # h D C
        # the shares of a head sum to one, so each head can carry its part of the bias
        answers = (taken @ weight + self.out_proj.bias / self.heads).flatten(1, 2)  # N hL C
        if overwrite and in_place_pays(pixels):
            return pixels.baddbmm_(shares.transpose(1, 2), answers)
        return torch.baddbmm(_repeat(pixels, answers.shape[0]), shares.transpose(1, 2), answers)

    def _scaled(self, x: Tensor) -> Tensor:
        heads = self.split(x)
        scaled: Tensor = heads * heads.shape[-1] ** -0.5
        return scaled

    def _fold(self, heads: Tensor, weight: Tensor) -> Tensor:
        """Return [N, hL, C]: heads [N, h, L, D] times a projection [h·D, C]."""
        return (heads @ torch.unflatten(weight, 0, (self.heads, -1))).flatten(1, 2)


def _repeat(x: Tensor, count: int) -> Tensor:
    return x if x.shape[0] == count else x.expand(count, -1, -1)
