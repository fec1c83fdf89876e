"""The memory encoder: a frame's raw embedding and its mask become a small memory map."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.network.layers import LayerNorm2d
from model.network.position import in_place_pays

__all__ = ["MemoryEncoder"]

_PIXELS = 1024  # that go through a fuser's MLP together in inference on a CPU


class MemoryEncoder(nn.Module):
    """Embedding [N, C, h, w] and mask [N, 1, 16h, 16w] → memory map [N, Cm, h, w]."""

    def __init__(self, dim: int, memory_dim: int) -> None:
        super().__init__()
        self.mask_downsampler = MaskDownsampler(dim)
        self.pix_feat_proj = nn.Conv2d(dim, dim, kernel_size=1)
        self.fuser = Fuser(dim, layers=2)
        self.out_proj = nn.Conv2d(dim, memory_dim, kernel_size=1)

    def forward(self, embedding: Tensor, mask: Tensor) -> Tensor:
        """Return [N, Cm, h, w]; `mask` is already scaled to about −10…10.

        The embedding may have batch 1, one image for N masks; it is then projected once (SAM 2 paper §4).
        """
        if torch.is_grad_enabled() and embedding.device.type == "cpu":
            # the derivative of a depth-wise convolution takes a third of the time with channels last
            embedding = embedding.contiguous(memory_format=torch.channels_last)
        x = self.pix_feat_proj(embedding) + self.mask_downsampler(mask)
        memory: Tensor = self.out_proj(self.fuser(x))
        return memory


class MaskDownsampler(nn.Module):
    """Four strided convolutions that quadruple the channels while halving the side."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        modules: list[nn.Module] = []
        channels = 1
        for _ in range(4):
            modules.append(nn.Conv2d(channels, channels * 4, kernel_size=3, stride=2, padding=1))
            channels *= 4
            modules += [LayerNorm2d(channels), nn.GELU()]
        modules.append(nn.Conv2d(channels, dim, kernel_size=1))
        self.encoder = nn.Sequential(*modules)

    def forward(self, mask: Tensor) -> Tensor:
        """Return [N, dim, H/16, W/16] for mask [N, 1, H, W]."""
        x: Tensor = self.encoder(mask)
        return x


class Fuser(nn.Module):
    """A stack of ConvNeXt blocks."""

    def __init__(self, dim: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(ConvNextBlock(dim) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        """Return [N, dim, h, w], same shape as x."""
        for layer in self.layers:
            x = layer(x)
        return x


class ConvNextBlock(nn.Module):
    """Depth-wise 7×7 convolution, then a per-pixel MLP, scaled and added to the input."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, kernel_size=7, padding=3, groups=dim)
        self.norm = LayerNorm2d(dim)
        self.pwconv1 = nn.Linear(dim, 4 * dim)
        self.pwconv2 = nn.Linear(4 * dim, dim)
        self.gamma = nn.Parameter(1e-6 * torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Return [N, dim, h, w], same shape as x."""
        y = self.norm(self.dwconv(x)).permute(0, 2, 3, 1)  # N h w C
        if in_place_pays(y) and not self.training:  # in pieces whose hidden layer stays in the cache
            y = y.contiguous()
            for pixels in torch.split(y.flatten(0, 2), _PIXELS):
                pixels.copy_(self._mix(pixels))
        else:
            y = self._mix(y)
        result: Tensor = x + y.permute(0, 3, 1, 2)
        return result

    def _mix(self, y: Tensor) -> Tensor:
        mixed: Tensor = self.gamma * self.pwconv2(F.gelu(self.pwconv1(y)))
        return mixed
