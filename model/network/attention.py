"""Multi-head attention between two token lists, with optional rotary positions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.network.position import RotaryTable, rotate

__all__ = ["Attention"]


class Attention(nn.Module):
    """Projects q, k, v to `inner` channels, attends, and projects back to `dim`."""

    def __init__(
        self,
        dim: int,
        *,
        heads: int,
        inner: int | None = None,
        memory_dim: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        inner = dim if inner is None else inner
        memory_dim = dim if memory_dim is None else memory_dim
        self.heads = heads
        self.dropout = dropout
        self.q_proj = nn.Linear(dim, inner)
        self.k_proj = nn.Linear(memory_dim, inner)
        self.v_proj = nn.Linear(memory_dim, inner)
        self.out_proj = nn.Linear(inner, dim)

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, *, rotary: RotaryTable | None = None, unrotated_keys: int = 0
    ) -> Tensor:
        """Return [N, Lq, dim] for q [N or 1, Lq, dim] and k, v [N, Lk, memory_dim].

        With `rotary`, q and all keys but the last `unrotated_keys` are rotated.
        """
        q, k, v = (self._split(x) for x in self._project(q, k, v))
        if rotary is not None:
            q, k = rotate(q, rotary), rotate(k, rotary, unrotated=unrotated_keys)
        q = q.expand(k.shape[0], -1, -1, -1)
        dropout = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
        result: Tensor = self.out_proj(y.transpose(1, 2).flatten(2))
        return result

    def _project(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values; one product for all three where they come from the same tokens in training."""
        if not (q is k is v and torch.is_grad_enabled() and q.device.type == "cpu"):
            return self.q_proj(q), self.k_proj(k), self.v_proj(v)
        layers = (self.q_proj, self.k_proj, self.v_proj)
        weight = torch.cat([layer.weight for layer in layers])
        projected = F.linear(q, weight, torch.cat([layer.bias for layer in layers]))
        one, two, three = projected.chunk(3, dim=2)
        return one, two, three

    def _split(self, x: Tensor) -> Tensor:
        return torch.unflatten(x, 2, (self.heads, -1)).transpose(1, 2)  # N heads L D
