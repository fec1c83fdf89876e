"""How the queries of a frame read the memory bank: one formula, three ways to compute it.

`WholeReader` projects all memory to keys and values and calls the fused attention of PyTorch: for GPUs and
compilers, and where attention has dropout. `FoldedReader` is for training on a CPU and projects values after the
softmax. `StreamedReader` is for inference on a CPU and gives the same numbers to about 1e-6:

- the values keep the 64 channels of memory through the softmax and are projected afterwards (the weights of a
  query sum to one, so the bias passes through), which saves 3/8 of the products;
- keys are made piece by piece and met by blocks of queries, so that scores stay in the cache and neither keys nor
  scores of all memory are ever held (online softmax, arXiv 1805.02867);
- the softmax is taken to base 2, whose exponential costs half.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from model.network.attention import Attention
from model.network.memory_bank import MemorySequence
from model.network.position import RotaryTable, in_place_pays, rotate, rotate_

__all__ = ["FoldedReader", "MemoryReader", "StreamedReader", "WholeReader", "memory_reader"]

_TILE = 2**20  # scores computed at a time: 4 MB, measured best between 1 and 16 MB (Zen 3, 32 MB of L3 cache)
_KEYS = 2048  # keys of a piece
_KEPT_SCORES = 2**22  # scores of a layer that training keeps: 16 MB


class MemoryReader(Protocol):
    """Reads one memory, layer after layer."""

    def read(self, attention: Attention, queries: Tensor, owners: Tensor | None = None) -> Tensor:
        """Return [N, L, C], what `queries` [N or 1, L, C] find in the memory of N objects.

        With `owners` int64 [N], queries are [B, L, C] and object n asks with queries[owners[n]].
        """
        ...


def memory_reader(
    memory: MemorySequence, table: RotaryTable, *, queries: Tensor, heads: int, training: bool
) -> MemoryReader:
    """Choose the way that suits the device, the precision and the mode in which `queries` are asked."""
    simple = heads == 1 and not training and memory.tokens.dtype == queries.dtype
    if simple and table.turns is not None and in_place_pays(queries):
        return StreamedReader(memory, table.turns)
    if heads == 1 and table.turns is not None and _folding_pays(memory.tokens, queries):
        return FoldedReader(memory, table)
    return WholeReader(memory, table)


def _folding_pays(tokens: Tensor, queries: Tensor) -> bool:
    """Where gradients are recorded on a CPU and all scores are small enough to keep for the backward pass."""
    scores = tokens.shape[0] * tokens.shape[1] * queries.shape[1]
    return (
        torch.is_grad_enabled()
        and tokens.dtype == queries.dtype == torch.float32
        and scores <= _KEPT_SCORES
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def _spread(x: Tensor, owners: Tensor | None) -> Tensor:
    return x if owners is None else x.index_select(0, owners)


class WholeReader:
    """All keys and values at once."""

    def __init__(self, memory: MemorySequence, table: RotaryTable) -> None:
        self._memory = memory
        self._keys = memory.tokens + memory.position  # N M Cm
        self._table = table

    def read(self, attention: Attention, queries: Tensor, owners: Tensor | None = None) -> Tensor:
        """See `MemoryReader`."""
        memory = self._memory
        queries = _spread(queries, owners)
        found: Tensor = attention(
            queries, self._keys, memory.tokens, rotary=self._table, unrotated_keys=memory.pointer_tokens
        )
        return found


class FoldedReader(WholeReader):
    """Values keep the channels of memory through the softmax and are projected afterwards. One attention head.

    The weights of a query sum to one, so the bias passes through; with dropout they do not, and values go first.
    """

    def read(self, attention: Attention, queries: Tensor, owners: Tensor | None = None) -> Tensor:
        """See `MemoryReader`."""
        if attention.training and attention.dropout > 0.0:
            return super().read(attention, queries, owners)
        tokens = self._memory.tokens
        keys = rotate(attention.k_proj(self._keys), self._table, unrotated=self._memory.pointer_tokens)
        q = _spread(rotate(attention.q_proj(queries), self._table), owners).expand(len(tokens), -1, -1)
        scores = torch.bmm(q * (1.0 / math.sqrt(q.shape[2])), keys.transpose(1, 2))  # N L M
        # two linear layers in a row are one: memory's channels go straight to the output's
        last, value = attention.out_proj, attention.v_proj
        bias = torch.addmv(last.bias, last.weight, value.bias)
        return F.linear(scores.softmax(dim=2) @ tokens, last.weight @ value.weight, bias)


class StreamedReader:
    """Piece by piece; see the head of this file. One attention head, float32, no gradients."""

    def __init__(self, memory: MemorySequence, turns: Tensor) -> None:
        self._memory = memory
        self._turns = turns  # complex64 [L, C/2]

    def read(self, attention: Attention, queries: Tensor, owners: Tensor | None = None) -> Tensor:
        """See `MemoryReader`."""
        queries = _spread(queries, owners)
        tokens = self._memory.tokens
        q = rotate_(attention.q_proj(queries), self._turns)
        q = q.mul_(math.log2(math.e) / math.sqrt(q.shape[2])).expand(len(tokens), -1, -1)
        found = tokens.new_empty(len(tokens), q.shape[1], tokens.shape[2])  # N L Cm
        size = max(1, _TILE // (q.shape[1] * tokens.shape[1]))  # small maps: several objects at a time
        for first in range(0, len(tokens), size):
            objects = slice(first, first + size)
            _attend(q[objects], self._pieces(attention, objects), out=found[objects])
        found = attention.v_proj(found)
        result: Tensor = attention.out_proj(found)
        return result

    def _pieces(self, attention: Attention, objects: slice) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield rotated keys [n, m, C] and raw values [n, m, Cm]; pointers are part of the last piece."""
        memory = self._memory
        position = memory.position if len(memory.position) == 1 else memory.position[objects]
        total = memory.tokens.shape[1]
        cuts = _cut(total - memory.pointer_tokens, self._turns)
        for number, (first, end, turns) in enumerate(cuts, start=1):
            last = total if number == len(cuts) else end
            values = memory.tokens[objects, first:last]
            keys = attention.k_proj(values + position[:, first:last])
            rotate_(keys[:, : end - first], turns)
            yield keys, values


def _cut(length: int, turns: Tensor) -> list[tuple[int, int, Tensor]]:
    """Cut the tokens of all maps into pieces (first, end, turns): several whole maps, or parts of one."""
    side = len(turns)
    maps = side * max(1, _KEYS // side)
    width = maps if side <= _KEYS else _KEYS
    return [
        (start + part, min(start + part + width, start + maps, length), turns[part : part + width])
        for start in range(0, length, maps)
        for part in range(0, maps, width)
    ]


def _attend(q: Tensor, pieces: Iterator[tuple[Tensor, Tensor]], *, out: Tensor) -> None:
    """Write softmax(q·kᵀ)·v to the base 2 into `out` [n, L, D] for q [n, L, C] and pieces of k, v [n, m, ...].

    Per query a running maximum and sum are kept; what was found so far is rescaled when the maximum grows.
    """
    n, length, _ = q.shape
    highest, total = q.new_full((n, length, 1), -math.inf), q.new_zeros(n, length, 1)
    out.zero_()
    buffer = q.new_empty(0)
    for keys, values in pieces:
        count = keys.shape[1]
        rows = max(1, min(length, _TILE // (n * count)))
        if buffer.numel() < n * rows * count:
            buffer = q.new_empty(n * rows * count)
        for first in range(0, length, rows):
            block = slice(first, first + rows)
            queries = q[:, block]
            scores = buffer[: n * queries.shape[1] * count].view(n, -1, count)
            torch.bmm(queries, keys.transpose(1, 2), out=scores)
            top = torch.maximum(highest[:, block], scores.amax(2, keepdim=True))
            scale = (highest[:, block] - top).exp2_()
            scores.sub_(top).exp2_()
            highest[:, block] = top
            total[:, block].mul_(scale).add_(scores.sum(2, keepdim=True))
            out[:, block].mul_(scale).baddbmm_(scores, values)
    out.div_(total)
