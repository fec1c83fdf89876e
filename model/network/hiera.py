"""The Hiera image encoder: windows of tokens that are pooled from stage to stage (arXiv 2306.00989).

Inside the trunk maps are channels-last, [B, H, W, C]; it returns [B, C, H, W].
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.config import TrunkConfig
from model.network.layers import DropPath, Mlp
from model.network.position import in_place_pays

__all__ = ["Hiera"]

_TOKENS = 2048  # tokens that go through a block together when they are streamed


class Hiera(nn.Module):
    """Image → four maps of strides 4, 8, 16, 32."""

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__()
        width = config.embed_dim
        self.stage_ends = config.stage_ends
        self.patch_embed = PatchEmbedding(width)
        self.pos_embed = nn.Parameter(torch.zeros(1, width, config.background_size, config.background_size))
        self.pos_embed_window = nn.Parameter(torch.zeros(1, width, config.windows[0], config.windows[0]))
        self.blocks = nn.ModuleList(_blocks(config))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the four stage outputs [B, C·2^i, S/4·2^-i, S/4·2^-i] of images [B, 3, S, S]."""
        x: Tensor = self.patch_embed(images)  # B H W C
        x = x + self.position(x.shape[1], x.shape[2])
        outputs = []
        streams = in_place_pays(x) and not self.training
        for index, block in enumerate(self.blocks):
            x = block(x, overwrite=streams)
            if index in self.stage_ends:
                outputs.append(x.permute(0, 3, 1, 2))  # B C H W
        return outputs

    def position(self, height: int, width: int) -> Tensor:
        """Return the position embedding [1, height, width, C] of a grid of tokens."""
        stretch = _stretch if in_place_pays(self.pos_embed) else _interpolate
        window = self.pos_embed_window.permute(0, 2, 3, 1)  # 1 w w C
        rows, columns = -(-height // window.shape[1]), -(-width // window.shape[2])
        tiled = window.tile((1, rows, columns, 1))[:, :height, :width]
        return stretch(self.pos_embed, height, width) + tiled  # 1 H W C


def _interpolate(x: Tensor, height: int, width: int) -> Tensor:
    """Return [1, height, width, C], the bicubic interpolation of x [1, C, h, w]."""
    return F.interpolate(x, size=(height, width), mode="bicubic").permute(0, 2, 3, 1)


def _stretch(x: Tensor, height: int, width: int) -> Tensor:
    """Like `_interpolate`, as a product with one small matrix for each axis: 4 instead of 60 ms for tiny."""
    x = x[0].permute(1, 2, 0)  # h w C
    high = torch.tensordot(_bicubic(x.shape[0], height, like=x), x, dims=1)  # H w C
    wide: Tensor = _bicubic(x.shape[1], width, like=x) @ high  # H W C
    return wide[None]


def _bicubic(old: int, new: int, *, like: Tensor) -> Tensor:
    """Return the matrix [new, old] that interpolates a line: what becomes of each unit vector."""
    lines = torch.eye(old, device=like.device, dtype=like.dtype)[None, :, :, None]
    return F.interpolate(lines, size=(new, 1), mode="bicubic")[0, :, :, 0].T


class PatchEmbedding(nn.Module):
    """Overlapping 7×7 patches at stride 4."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=7, stride=4, padding=3)

    def forward(self, images: Tensor) -> Tensor:
        """Return tokens [B, S/4, S/4, C] of images [B, 3, S, S]."""
        x: Tensor = self.proj(images)
        return x.permute(0, 2, 3, 1)  # B H W C


def _blocks(config: TrunkConfig) -> list[Block]:
    blocks: list[Block] = []
    depth = sum(config.stages)
    for stage, count in enumerate(config.stages):
        for position in range(count):
            first = stage > 0 and position == 0
            window = config.windows[stage - 1] if first else config.windows[stage]
            index = len(blocks)
            blocks.append(
                Block(
                    config.widths[stage - 1] if first else config.widths[stage],
                    config.widths[stage],
                    heads=config.heads * 2**stage,
                    window=0 if index in config.global_blocks else window,
                    drop_path=config.drop_path * index / max(depth - 1, 1),
                )
            )
    return blocks


class Block(nn.Module):
    """Pre-norm transformer block over windows; one that changes width also halves the resolution."""

    def __init__(self, width_in: int, width: int, *, heads: int, window: int, drop_path: float) -> None:
        super().__init__()
        self.pools = width != width_in
        self.width = width
        self.window = window
        self.norm1 = nn.LayerNorm(width_in, eps=1e-6)
        self.attn = WindowAttention(width_in, width, heads=heads, pools=self.pools)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp((width, 4 * width, width), F.gelu)
        self.drop_path = DropPath(drop_path)
        if self.pools:
            self.proj = nn.Linear(width_in, width)

    def forward(self, x: Tensor, *, overwrite: bool = False) -> Tensor:
        """Return [B, H, W, width], or [B, H/2, W/2, width] when the block pools.

        With `overwrite`, for inference on a CPU, x is lost and its memory reused.
        """
        if overwrite:
            return self._stream_(x)
        y: Tensor = self.norm1(x)
        shortcut = _pool(self.proj(y)) if self.pools else x
        shortcut = shortcut + self.drop_path(self.attn(y, self.window))
        result: Tensor = shortcut + self.drop_path(self.mlp(self.norm2(shortcut)))
        return result

    def _stream_(self, x: Tensor) -> Tensor:
        """Go piece by piece, so that buffers stay in the cache: neither windows nor an MLP's tokens see others."""
        if self.window == 0:
            return self._stream_whole_(x)
        scale = 2 if self.pools else 1
        rows = self.window * max(1, _TOKENS // (self.window * x.shape[2]))
        result = x
        if self.pools:
            result = x.new_empty(x.shape[0], x.shape[1] // 2, x.shape[2] // 2, self.width)
        for first in range(0, x.shape[1], rows):
            result[:, first // scale : (first + rows) // scale] = self(x[:, first : first + rows])
        return result

    def _stream_whole_(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm1(x)
        x = (_pool(self.proj(y)) if self.pools else x) + self.attn(y, 0)
        for tokens in torch.split(x.flatten(0, 2), _TOKENS):
            tokens.add_(self.mlp(self.norm2(tokens)))
        return x


class WindowAttention(nn.Module):
    """Self-attention within each window; when it pools, queries are max-pooled 2×2 and keys are not."""

    def __init__(self, width_in: int, width: int, *, heads: int, pools: bool) -> None:
        super().__init__()
        self.heads = heads
        self.pools = pools
        self.qkv = nn.Linear(width_in, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, window: int) -> Tensor:
        """Return [B, H, W, width] (or half of H and W) for x [B, H, W, width_in].

        Windows are `window` tokens wide and high; 0 is the whole map. Padding comes after the projection of the
        tokens, which makes the bias of a padded zero.
        """
        height, width = (side // 2 if self.pools else side for side in x.shape[1:3])
        if window == 0:
            y = self._attend(self.qkv(x))
        elif x.shape[1] % window or x.shape[2] % window:
            y = self._attend(_split_windows(_pad(self.qkv(x), window, self.qkv.bias), window))
        else:
            y = self._attend(self.qkv(_split_windows(x, window)))
        y = self.proj(y)
        return _join_windows(y, height, width) if window else y

    def _attend(self, qkv: Tensor) -> Tensor:
        """Return [B, H, W, C], or half of H and W, for windows [B, H, W, 3C]."""
        q, k, v = qkv.chunk(3, dim=-1)  # B H W C
        if self.pools:
            q = _pool(q)
        height, width = q.shape[1:3]
        q, k, v = (torch.unflatten(t.flatten(1, 2), 2, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v)  # B heads L D
        return torch.unflatten(y.transpose(1, 2).flatten(2), 1, (height, width))


def _pool(x: Tensor) -> Tensor:
    """Max-pool 2×2 a channels-last map."""
    return F.max_pool2d(x.permute(0, 3, 1, 2), kernel_size=2, stride=2).permute(0, 2, 3, 1)


def _pad(x: Tensor, side: int, token: Tensor) -> Tensor:
    """Append copies of `token` [C] at the bottom and right of [B, H, W, C] up to multiples of `side`."""
    batch, height, width, channels = x.shape
    padded = token.to(x.dtype).expand(batch, height + -height % side, width + -width % side, channels).clone()
    padded[:, :height, :width] = x
    return padded


def _split_windows(x: Tensor, side: int) -> Tensor:
    """Cut [B, H, W, C], H and W multiples of `side`, into [B·n, side, side, C]."""
    channels = x.shape[3]
    x = torch.unflatten(torch.unflatten(x, 2, (-1, side)), 1, (-1, side))  # B rows side columns side C
    return x.transpose(2, 3).reshape(-1, side, side, channels)


def _join_windows(windows: Tensor, height: int, width: int) -> Tensor:
    """Undo `_split_windows` and `_pad` for a map of `height` × `width`; the side is read from the windows."""
    side = windows.shape[1]
    rows, columns = -(-height // side), -(-width // side)
    x = torch.unflatten(windows, 0, (-1, rows, columns)).transpose(2, 3)  # B rows side columns side C
    return x.flatten(3, 4).flatten(1, 2)[:, :height, :width]
