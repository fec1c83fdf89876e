"""SAM 1's image encoder: a plain vision transformer with windows and relative positions (SAM paper, appendix A).

Inside the encoder maps are channels-last, [B, H, W, C]. What was learned about positions belongs to the side the
network was trained at: at another side the absolute map is stretched bicubically (the published code refuses
that), the relative tables of the global blocks linearly (as the published code does). Windows keep their side, so
theirs never change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.network.layers import LayerNorm2d
from model.sam1.config import Sam1Config

__all__ = ["TwoLinear", "VisionTransformer", "relative_bias"]

# A block of the attention's bias is made, used and forgotten. On a CPU it should stay in the cache (8 MB: half the
# time of a whole bias, which is 0.8 GB at 1024 px); a GPU wants few large blocks.
_BIAS_ELEMENTS_CPU = 2**21
_BIAS_ELEMENTS = 2**28


class VisionTransformer(nn.Module):
    """Image → one map of stride 16."""

    def __init__(self, config: Sam1Config) -> None:
        super().__init__()
        self.patch_embed = PatchEmbedding(config.width)
        self.pos_embed = nn.Parameter(torch.zeros(1, config.trained_grid, config.trained_grid, config.width))
        self.blocks = nn.ModuleList(
            Block(
                config.width,
                heads=config.heads,
                window=0 if index in config.global_blocks else config.window,
                trained_grid=config.trained_grid,
            )
            for index in range(config.depth)
        )
        self.neck = nn.Sequential(
            nn.Conv2d(config.width, config.dim, kernel_size=1, bias=False),
            LayerNorm2d(config.dim),
            nn.Conv2d(config.dim, config.dim, kernel_size=3, padding=1, bias=False),
            LayerNorm2d(config.dim),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the embedding [B, dim, S/16, S/16] of normalised images [B, 3, S, S]."""
        x: Tensor = self.patch_embed(images)  # B H W C
        x = x + self._position(x.shape[1], x.shape[2])
        for block in self.blocks:
            x = block(x)
        embedding: Tensor = self.neck(x.permute(0, 3, 1, 2))
        return embedding

    def _position(self, height: int, width: int) -> Tensor:
        if self.pos_embed.shape[1:3] == (height, width):
            return self.pos_embed
        stretched = F.interpolate(self.pos_embed.permute(0, 3, 1, 2), size=(height, width), mode="bicubic")
        return stretched.permute(0, 2, 3, 1)  # 1 H W C


class PatchEmbedding(nn.Module):
    """Patches of 16×16 pixels, side by side."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=16, stride=16)

    def forward(self, images: Tensor) -> Tensor:
        """Return tokens [B, S/16, S/16, C] of images [B, 3, S, S]."""
        x: Tensor = self.proj(images)
        return x.permute(0, 2, 3, 1)  # B H W C


class Block(nn.Module):
    """Pre-norm transformer block over windows of a side, or over the whole map (window 0)."""

    def __init__(self, width: int, *, heads: int, window: int, trained_grid: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = RelativeAttention(width, heads=heads, window=window, grid=window or trained_grid)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = TwoLinear(width, 4 * width)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, H, W, C]."""
        x = x + self.attn(self.norm1(x))
        result: Tensor = x + self.mlp(self.norm2(x))
        return result


class TwoLinear(nn.Module):
    """Linear, activation, linear; with the names that SAM 1's published weights have."""

    def __init__(self, width: int, inner: int, activation: Callable[[Tensor], Tensor] = F.gelu) -> None:
        super().__init__()
        self.activation = activation
        self.lin1 = nn.Linear(width, inner)
        self.lin2 = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return [..., width] for x [..., width]."""
        y: Tensor = self.lin2(self.activation(self.lin1(x)))
        return y


class RelativeAttention(nn.Module):
    """Self-attention whose logits also depend on how far apart query and key are, by rows and by columns."""

    def __init__(self, width: int, *, heads: int, window: int, grid: int) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * grid - 1, width // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * grid - 1, width // heads))

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, H, W, C] for x [B, H, W, C]."""
        height, width = x.shape[1:3]
        qkv = self.qkv(x)  # B H W 3C
        if self.window:
            y = self._attend(self._pad(qkv), self.window, self.window)[:, :height, :width]
        else:
            y = self._attend(qkv, height, width)
        result: Tensor = self.proj(y)
        return result

    def _pad(self, qkv: Tensor) -> Tensor:
        """Fill the last windows of each row and column up as if x had been padded with zeros before."""
        batch, height, width, channels = qkv.shape
        rows, columns = height + -height % self.window, width + -width % self.window
        padded = self.qkv.bias.to(qkv.dtype).expand(batch, rows, columns, channels).clone()
        padded[:, :height, :width] = qkv
        return padded

    def _attend(self, qkv: Tensor, height: int, width: int) -> Tensor:
        """Attend within windows of `height` × `width` of qkv [B, H, W, 3C], of which there are whole numbers."""
        batch, rows, columns = qkv.shape[0], qkv.shape[1] // height, qkv.shape[2] // width
        parts = torch.unflatten(qkv, 3, (3, self.heads, -1))
        parts = torch.unflatten(torch.unflatten(parts, 2, (columns, width)), 1, (rows, height))
        q, k, v = parts.permute(5, 0, 1, 3, 6, 2, 4, 7).flatten(1, 4).unbind(0)  # B·rows·columns·heads h w D
        tables = _table(self.rel_pos_h, height), _table(self.rel_pos_w, width)
        y = torch.unflatten(_attend_in_blocks(q, k, v, tables), 0, (batch, rows, columns, self.heads))
        return y.permute(0, 1, 4, 2, 5, 3, 6).flatten(5).flatten(3, 4).flatten(1, 2)  # B H W C


def _table(learned: Tensor, length: int) -> Tensor:
    """Return vectors [length, length, D] by query and key place of `learned` [2·grid - 1, D], by distance."""
    count = 2 * length - 1
    if learned.shape[0] != count:
        learned = F.interpolate(learned.T[None], size=count, mode="linear")[0].T
    place = torch.arange(length, device=learned.device)
    return learned[place[:, None] - place + length - 1]


def relative_bias(q: Tensor, tables: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return what is added to the logits of queries [N, H, W, D] by the key's row [N, H, W, H] and column.

    `q` is not scaled, unlike in the product with the keys.
    """
    rows, columns = tables
    return torch.einsum("nhwd,hkd->nhwk", q, rows), torch.einsum("nhwd,wkd->nhwk", q, columns)


def _attend_in_blocks(q: Tensor, k: Tensor, v: Tensor, tables: tuple[Tensor, Tensor]) -> Tensor:
    """Return [N, H, W, D] for q, k, v [N, H, W, D] without ever holding the bias of all queries."""
    by_row, by_column = relative_bias(q, tables)
    keys, values = k.flatten(1, 2)[:, None], v.flatten(1, 2)[:, None]  # N 1 L D
    result = torch.empty_like(q)
    for some, rows in _blocks(q):
        bias = by_row[some, rows, :, :, None] + by_column[some, rows, :, None, :]  # n r W H W
        y = F.scaled_dot_product_attention(
            q[some, rows].flatten(1, 2)[:, None],
            keys[some],
            values[some],
            attn_mask=bias.flatten(3).flatten(1, 2)[:, None],
        )
        result[some, rows] = torch.unflatten(y[:, 0], 1, (-1, q.shape[2]))
    return result


def _blocks(q: Tensor) -> Iterator[tuple[slice, slice]]:
    """Yield slices of the batch and of the rows of q [N, H, W, D]; one block has a bias of bounded size."""
    count, height, width, _ = q.shape
    limit = _BIAS_ELEMENTS_CPU if q.device.type == "cpu" else _BIAS_ELEMENTS
    in_a_row = width * height * width
    rows = min(height, max(1, limit // in_a_row))
    together = max(1, limit // (in_a_row * rows))
    for start in range(0, count, together):
        for top in range(0, height, rows):
            yield slice(start, start + together), slice(top, top + rows)
