"""The feature pyramid between trunk and decoder, and the image encoder that joins trunk and neck."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional as F

from model.config import Sam2Config
from model.hiera import Hiera

__all__ = ["FpnNeck", "ImageEncoder"]


class FpnNeck(nn.Module):
    """Brings the stage outputs to one width and adds the coarsest map to the embedding."""

    def __init__(self, widths: tuple[int, ...], dim: int) -> None:
        super().__init__()
        # official checkpoints number the lateral convolutions from the coarsest map to the finest
        lateral = (nn.Conv2d(width, dim, kernel_size=1) for width in reversed(widths))
        self.convs = nn.ModuleList(nn.Sequential(OrderedDict(conv=conv)) for conv in lateral)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Return maps of strides 4, 8, 16, each [B, dim, ...], from the trunk's four outputs."""
        coarse, *finer = (conv(x) for conv, x in zip(self.convs, reversed(maps), strict=True))
        up = F.interpolate(coarse.float(), scale_factor=2.0, mode="nearest")
        finer[0] = finer[0] + up.to(finer[0].dtype)
        return finer[::-1]


class ImageEncoder(nn.Module):
    """Trunk and neck."""

    def __init__(self, config: Sam2Config) -> None:
        super().__init__()
        self.trunk = Hiera(config.trunk)
        self.neck = FpnNeck(config.trunk.widths, config.dim)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return maps of strides 4, 8 and 16, each [B, dim, ...], of images [B, 3, S, S]."""
        maps: list[Tensor] = self.neck(self.trunk(images))
        return maps
