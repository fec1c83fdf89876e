"""Position codes: sine maps, random Fourier features, rotary tables and the 1-D code of a pointer's age.

Pure functions but for `RandomFourier`, whose random matrix is part of a checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

__all__ = [
    "RandomFourier",
    "RotaryTable",
    "TableCache",
    "in_place_pays",
    "rotary_table",
    "rotate",
    "rotate_",
    "sine_1d",
    "sine_2d",
]

Table = TypeVar("Table")


def _divisors(count: int, device: torch.device | None) -> Tensor:
    index = torch.arange(count, dtype=torch.float32, device=device)
    divisors: Tensor = 10000.0 ** (2 * torch.div(index, 2, rounding_mode="floor") / count)
    return divisors


def _interleaved_sine(length: int, features: int, device: torch.device | None) -> Tensor:
    """Return [length, features]: sine in even and cosine in odd channels of the normalised position."""
    place = torch.arange(1, length + 1, dtype=torch.float32, device=device)
    angle = (place / (length + 1e-6) * 2 * math.pi)[:, None] / _divisors(features, device)
    return torch.stack((angle[:, 0::2].sin(), angle[:, 1::2].cos()), dim=2).flatten(1)


def sine_2d(channels: int, height: int, width: int, *, device: torch.device | None = None) -> Tensor:
    """Return the fixed position map float32 [1, channels, height, width]; first half of the channels is y."""
    half = channels // 2
    rows = _interleaved_sine(height, half, device).T[:, :, None].expand(half, height, width)
    columns = _interleaved_sine(width, half, device).T[:, None, :].expand(half, height, width)
    return torch.cat((rows, columns))[None]


def sine_1d(values: Tensor, channels: int) -> Tensor:
    """Return the code [..., channels] of real `values` [...]: all sines, then all cosines."""
    angle = values[..., None].float() / _divisors(channels // 2, values.device)
    return torch.cat((angle.sin(), angle.cos()), dim=-1)


class TableCache(Generic[Table]):
    """Fixed tables by what they depend on (shape, device, dtype), each made once.

    They are made outside inference mode, so that training may use a table that inference asked for first.
    """

    def __init__(self) -> None:
        self._tables: dict[Hashable, Table] = {}

    def get(self, key: Hashable, make: Callable[[], Table]) -> Table:
        """Return the table of `key`, the result of `make()` the first time."""
        if torch.compiler.is_compiling():  # a compiler folds constants by itself
            return make()
        if key not in self._tables:
            with torch.inference_mode(False), torch.no_grad():
                self._tables[key] = make()
        return self._tables[key]


class RandomFourier(nn.Module):
    """Random Fourier features of a point in the unit square; the same code for clicks and for pixels."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, channels // 2))

    def forward(self, points: Tensor) -> Tensor:
        """Return [..., channels] for `points` [..., 2], (x, y) in [0, 1]."""
        matrix = self.positional_encoding_gaussian_matrix
        angle = 2 * math.pi * ((2 * points.to(matrix.dtype) - 1) @ matrix)
        return torch.cat((angle.sin(), angle.cos()), dim=-1)

    def dense(self, height: int, width: int) -> Tensor:
        """Return the map [1, channels, height, width] of the pixel centres."""
        matrix = self.positional_encoding_gaussian_matrix
        y = (torch.arange(height, device=matrix.device, dtype=matrix.dtype) + 0.5) / height
        x = (torch.arange(width, device=matrix.device, dtype=matrix.dtype) + 0.5) / width
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)  # H W 2
        code: Tensor = self(grid)
        return code.permute(2, 0, 1)[None]  # 1 C H W


class RotaryTable(NamedTuple):
    """How far each channel pair of a token is turned, for the L tokens of one map (RoPE)."""

    cos: Tensor  # float32 [L, C/2]
    sin: Tensor  # float32 [L, C/2]
    turns: Tensor | None = None  # cos + i·sin, complex64 [L, C/2]; on a CPU only


def rotary_table(
    channels: int, height: int, width: int, *, theta: float, device: torch.device | None = None
) -> RotaryTable:
    """Return the table of a map of height·width tokens, row by row: x angles first, then y angles."""
    index = torch.arange(0, channels, 4, dtype=torch.float32, device=device)
    frequency = 1.0 / theta ** (index / channels)
    x = torch.arange(width, dtype=torch.float32, device=device).repeat(height)
    y = torch.arange(height, dtype=torch.float32, device=device).repeat_interleave(width)
    angle = torch.cat((x[:, None] * frequency, y[:, None] * frequency), dim=1)
    cos, sin = angle.cos(), angle.sin()
    return RotaryTable(cos, sin, torch.complex(cos, sin) if angle.device.type == "cpu" else None)


def rotate(tokens: Tensor, table: RotaryTable, *, unrotated: int = 0) -> Tensor:
    """Rotate channel pairs of `tokens` [..., k·L + unrotated, C] by a table over L positions, repeated k times.

    The last `unrotated` tokens stay as they are.
    """
    if tokens.shape[-2] == unrotated:
        return tokens
    if table.turns is not None and in_place_pays(tokens):
        return _rotated(tokens, table.turns, unrotated)
    if table.turns is not None and _turns_pay(tokens):
        turned: Tensor = _Turn.apply(tokens, table.turns, unrotated)  # type: ignore[no-untyped-call]
        return turned
    if unrotated:
        rotated = rotate(tokens[..., :-unrotated, :], table)
        return torch.cat((rotated, tokens[..., -unrotated:, :]), dim=-2)
    cos, sin = table.cos, table.sin
    repeated = torch.unflatten(tokens.float(), -2, (-1, cos.shape[0]))  # ... k L C
    repeated = torch.unflatten(repeated, -1, (-1, 2))  # ... k L C/2 2
    real, imaginary = repeated.unbind(-1)
    both = torch.stack((real * cos - imaginary * sin, real * sin + imaginary * cos), dim=-1)
    return both.flatten(-2).flatten(-3, -2).to(tokens.dtype)


def rotate_(tokens: Tensor, turns: Tensor) -> Tensor:
    """Like `rotate`, in place: a product of complex numbers, 25 times as fast on a CPU and bit-equal.

    `tokens` is float32 [..., k·L, C] without gradient, whose channels lie side by side in memory.
    """
    pairs = torch.unflatten(torch.unflatten(tokens, -1, (-1, 2)), -3, (-1, turns.shape[0]))  # ... k L C/2 2
    torch.view_as_complex(pairs).mul_(turns)
    return tokens


def _rotated(tokens: Tensor, turns: Tensor, unrotated: int) -> Tensor:
    """Return a copy of which all but the last `unrotated` tokens are rotated."""
    copy = tokens.clone(memory_format=torch.contiguous_format)
    rotate_(copy[..., : copy.shape[-2] - unrotated, :], turns)
    return copy


class _Turn(torch.autograd.Function):
    """`_rotated` with its derivative: turning back."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, turns: Tensor, unrotated: int) -> Tensor:
        """Return the turned tokens."""
        ctx.save_for_backward(turns)
        ctx.unrotated = unrotated
        return _rotated(tokens, turns, unrotated)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient, turned back."""
        (turns,) = ctx.saved_tensors
        return _rotated(gradients[0], turns.conj_physical(), ctx.unrotated), None, None


def _turns_pay(x: Tensor) -> bool:
    """Whether products of complex numbers may rotate x while gradients are recorded: float32 on a CPU."""
    return x.device.type == "cpu" and x.dtype == torch.float32 and not torch.compiler.is_compiling()


def in_place_pays(x: Tensor) -> bool:
    """Whether arithmetic on x may overwrite buffers: float32 on a CPU, without gradients or autocast.

    Elsewhere fused kernels (CUDA) or a compiler do better with the plain formula.
    """
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )
