"""Memory attention: the frame's embedding looks at itself, then at the memory bank (paper §4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.attention import Attention
from model.config import MemoryConfig
from model.memory_bank import MemorySequence
from model.position import RotaryTable, rotary_table

__all__ = ["MemoryAttention"]

_INPUT_POSITION_WEIGHT = 0.1


class MemoryAttention(nn.Module):
    """A stack of self-attention, cross-attention to memory and feed-forward."""

    def __init__(self, dim: int, config: MemoryConfig) -> None:
        super().__init__()
        self.head_dim = dim // config.heads
        self.theta = config.rope_theta
        self.layers = nn.ModuleList(MemoryLayer(dim, config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(dim)

    def forward(self, embedding: Tensor, position: Tensor, memory: MemorySequence) -> Tensor:
        """Return the conditioned embedding [N, C, h, w].

        `embedding` is [N, C, h, w]; `position` its sine map [1 or N, C, h, w]; `memory` holds N objects.
        """
        height, width = embedding.shape[-2:]
        x = (embedding + _INPUT_POSITION_WEIGHT * position).flatten(2).transpose(1, 2)  # N L C
        table = rotary_table(self.head_dim, height, width, theta=self.theta, device=x.device)
        keys = memory.tokens + memory.position
        for layer in self.layers:
            x = layer(x, keys, memory.tokens, table, memory.pointer_tokens)
        x = self.norm(x)
        return torch.unflatten(x.transpose(1, 2), 2, (height, width))  # N C h w


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
        self, x: Tensor, keys: Tensor, values: Tensor, table: RotaryTable, pointer_tokens: int
    ) -> Tensor:
        """Return x [N, L, C] after looking at itself and at keys and values [N, M, Cm]."""
        y = self.norm1(x)
        x = x + self.dropout(self.self_attn(y, y, y, rotary=table))
        y = self.norm2(x)
        attended = self.cross_attn_image(y, keys, values, rotary=table, unrotated_keys=pointer_tokens)
        x = x + self.dropout(attended)
        y = self.dropout(F.relu(self.linear1(self.norm3(x))))
        result: Tensor = x + self.dropout(self.linear2(y))
        return result
