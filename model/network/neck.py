"""The feature pyramid between trunk and decoder, and the image encoder that joins trunk and neck."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.config import Sam2Config
from model.network.hiera import Hiera

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

    def composed(self, maps: list[Tensor], skips: Sequence[nn.Conv2d]) -> list[Tensor]:
        """Return `skips[i]` (1×1) of `forward`'s maps of strides 4 and 8, and its map of stride 16.

        Two 1×1 convolutions in a row are one: the wide maps between them are never made.
        """
        coarse, embedding, middle, fine = (_affine(conv.get_submodule("conv")) for conv in self.convs)
        fine, middle = (_compose(_affine(skip), own) for skip, own in zip(skips, (fine, middle), strict=True))
        up = F.interpolate(_pointwise(maps[3], coarse), scale_factor=2.0, mode="nearest")
        return [
            _pointwise(maps[0], fine),
            _pointwise(maps[1], middle),
            _pointwise(maps[2], embedding) + up,
        ]


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

    def composed(self, images: Tensor, skips: Sequence[nn.Conv2d]) -> list[Tensor]:
        """Like `forward` followed by `skips`, 1×1 convolutions of the maps of strides 4 and 8."""
        return self.neck.composed(self.trunk(images), skips)


Affine = tuple[Tensor, Tensor]  # weight [Co, Ci] and bias [Co] of a 1×1 convolution


def _affine(convolution: nn.Module) -> Affine:
    return convolution.get_parameter("weight")[:, :, 0, 0], convolution.get_parameter("bias")


def _compose(outer: Affine, inner: Affine) -> Affine:
    return outer[0] @ inner[0], outer[0] @ inner[1] + outer[1]


def _pointwise(x: Tensor, affine: Affine) -> Tensor:
    """Return the 1×1 convolution [B, Co, h, w] of x [B, Ci, h, w], which may lie channels last in memory."""
    weight, bias = affine
    if torch.is_grad_enabled():  # channels stay last, as all that follows in training reads them
        return F.linear(x.permute(0, 2, 3, 1), weight, bias).permute(0, 3, 1, 2)
    y = torch.baddbmm(bias[:, None], weight.expand(len(x), -1, -1), x.flatten(2))
    return torch.unflatten(y, 2, x.shape[2:])
