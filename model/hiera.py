"""The Hiera image encoder: windows of tokens that are pooled from stage to stage (arXiv 2306.00989).

Inside the trunk maps are channels-last, [B, H, W, C]; it returns [B, C, H, W].
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.config import TrunkConfig
from model.layers import DropPath, Mlp

__all__ = ["Hiera"]


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
        x = x + self._position(x.shape[1], x.shape[2])
        outputs = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.stage_ends:
                outputs.append(x.permute(0, 3, 1, 2))  # B C H W
        return outputs

    def _position(self, height: int, width: int) -> Tensor:
        background = F.interpolate(self.pos_embed, size=(height, width), mode="bicubic")
        window = self.pos_embed_window
        rows, columns = -(-height // window.shape[2]), -(-width // window.shape[3])
        tiled = window.tile((1, 1, rows, columns))[:, :, :height, :width]
        return (background + tiled).permute(0, 2, 3, 1)  # 1 H W C


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
        self.window = window
        self.norm1 = nn.LayerNorm(width_in, eps=1e-6)
        self.attn = WindowAttention(width_in, width, heads=heads, pools=self.pools)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp((width, 4 * width, width), F.gelu)
        self.drop_path = DropPath(drop_path)
        if self.pools:
            self.proj = nn.Linear(width_in, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, H, W, width], or [B, H/2, W/2, width] when the block pools."""
        y: Tensor = self.norm1(x)
        shortcut = _pool(self.proj(y)) if self.pools else x
        shortcut = shortcut + self.drop_path(self._attend(y, shortcut.shape[1], shortcut.shape[2]))
        result: Tensor = shortcut + self.drop_path(self.mlp(self.norm2(shortcut)))
        return result

    def _attend(self, y: Tensor, height: int, width: int) -> Tensor:
        if self.window == 0:
            whole: Tensor = self.attn(y)
            return whole
        windows = _split_windows(y, self.window)
        attended: Tensor = self.attn(windows)
        return _join_windows(attended, height, width)


class WindowAttention(nn.Module):
    """Self-attention within each window; when it pools, queries are max-pooled 2×2 and keys are not."""

    def __init__(self, width_in: int, width: int, *, heads: int, pools: bool) -> None:
        super().__init__()
        self.heads = heads
        self.pools = pools
        self.qkv = nn.Linear(width_in, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, H, W, width] (or half of H and W) for windows x [B, H, W, width_in]."""
        batch, height, width, _ = x.shape
        q, k, v = self.qkv(x).chunk(3, dim=-1)  # B H W C
        if self.pools:
            q = _pool(q)
            height, width = q.shape[1:3]
        q, k, v = (torch.unflatten(t.flatten(1, 2), 2, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v)  # B heads L D
        y = y.transpose(1, 2).reshape(batch, height, width, -1)  # B H W C
        result: Tensor = self.proj(y)
        return result


def _pool(x: Tensor) -> Tensor:
    """Max-pool 2×2 a channels-last map."""
    return F.max_pool2d(x.permute(0, 3, 1, 2), kernel_size=2, stride=2).permute(0, 2, 3, 1)


def _split_windows(x: Tensor, side: int) -> Tensor:
    """Pad bottom and right with zeros and cut [B, H, W, C] into [B·n, side, side, C]."""
    _, height, width, channels = x.shape
    x = F.pad(x, (0, 0, 0, -width % side, 0, -height % side))
    x = torch.unflatten(torch.unflatten(x, 2, (-1, side)), 1, (-1, side))  # B rows side columns side C
    return x.transpose(2, 3).reshape(-1, side, side, channels)


def _join_windows(windows: Tensor, height: int, width: int) -> Tensor:
    """Undo `_split_windows` for a map of `height` × `width`; the side is read from the windows."""
    side = windows.shape[1]
    rows, columns = -(-height // side), -(-width // side)
    x = torch.unflatten(windows, 0, (-1, rows, columns)).transpose(2, 3)  # B rows side columns side C
    return x.flatten(3, 4).flatten(1, 2)[:, :height, :width]
