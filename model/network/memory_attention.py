"""Memory attention: the frame's embedding looks at itself, then at the memory bank (paper §4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.config import MemoryConfig
from model.network.attention import Attention
from model.network.memory_bank import MemorySequence
from model.network.memory_reader import FoldedReader, MemoryReader, memory_reader
from model.network.position import RotaryTable, TableCache, in_place_pays, rotary_table

__all__ = ["MemoryAttention"]

_INPUT_POSITION_WEIGHT = 0.1
_ROWS = 1024  # tokens whose hidden layer, 8 MB, is computed at a time


class MemoryAttention(nn.Module):
    """A stack of self-attention, cross-attention to memory and feed-forward."""

    def __init__(self, dim: int, config: MemoryConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.head_dim = dim // config.heads
        self.theta = config.rope_theta
        self.layers = nn.ModuleList(MemoryLayer(dim, config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(dim)
        self._tables: TableCache[RotaryTable] = TableCache()

    def forward(
        self, embedding: Tensor, position: Tensor, memory: MemorySequence, owners: Tensor | None = None
    ) -> Tensor:
        """Return the conditioned embedding [N, C, h, w].

        `embedding` is [N or 1, C, h, w], 1 when the N objects are in one image: what depends on the image only is
        then computed once. With `owners` int64 [N] it is [B, C, h, w], and object n is in image `owners[n]`.
        `position` is the sine map [1, C, h, w], or one for each image; `memory` holds N objects.
        """
        height, width = embedding.shape[-2:]
        x = (embedding + _INPUT_POSITION_WEIGHT * position).flatten(2).transpose(1, 2).contiguous()  # N|1 L C
        table = self._table(height, width, x.device)
        reader = memory_reader(memory, table, queries=x, heads=self.heads, training=self.training)
        if owners is not None and not (isinstance(reader, FoldedReader) and self._is_certain()):
            x, owners = x.index_select(0, owners), None  # each object draws its own dropout
        for layer in self.layers:
            x, owners = layer(x, reader, table, owners), None
        x = self.norm(x)
        return torch.unflatten(x.transpose(1, 2), 2, (height, width))  # N C h w

    def _is_certain(self) -> bool:
        layer = self.layers[0]
        return not self.training or (isinstance(layer, MemoryLayer) and layer.dropout.p == 0.0)

    def _table(self, height: int, width: int, device: torch.device) -> RotaryTable:
        def make() -> RotaryTable:
            return rotary_table(self.head_dim, height, width, theta=self.theta, device=device)

        return self._tables.get((height, width, device), make)


class MemoryLayer(nn.Module):
    """One pre-norm layer."""

    def __init__(self, dim: int, config: MemoryConfig) -> None:
        super().__init__()
        dropout = config.dropout
        self.self_attn = Attention(dim, heads=config.heads, dropout=dropout)
        self.cross_attn_image = Attention(dim, heads=config.heads, memory_dim=config.dim, dropout=dropout)
        self.linear1 = nn.Linear(dim, config.feedforward)
        self.linear2 = nn.Linear(config.feedforward, dim)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.norm3 = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, memory: MemoryReader, table: RotaryTable, owners: Tensor | None = None
    ) -> Tensor:
        """Return [N, L, C]: x [N or 1, L, C] after looking at itself and at the memory of N objects.

        With `owners` [N], x is [B, L, C] and object n reads memory for x[owners[n]].
        """
        y = self.norm1(x)
        x = x + self.dropout(self.self_attn(y, y, y, rotary=table))
        found = memory.read(self.cross_attn_image, self.norm2(x), owners)
        x = (x if owners is None else x.index_select(0, owners)) + self.dropout(found)
        if in_place_pays(x) and not self.training:
            return self._feed_forward_(x)
        y = self.dropout(F.relu(self.linear1(self.norm3(x))))
        result: Tensor = x + self.dropout(self.linear2(y))
        return result

    def _feed_forward_(self, x: Tensor) -> Tensor:
        """The same in place for inference, a block of tokens at a time: the hidden layer stays in the cache."""
        for rows in torch.split(x.flatten(0, 1), _ROWS):
            rows.add_(self.linear2(self.linear1(self.norm3(rows)).relu_()))
        return x
