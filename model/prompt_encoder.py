"""The prompt encoder: clicks and boxes become tokens, a mask becomes a map added to the embedding."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.layers import LayerNorm2d
from model.position import RandomFourier

__all__ = ["NO_POINT", "PromptEncoder"]

NO_POINT = -1  # label of padding; 0 negative, 1 positive, 2 and 3 the corners of a box


class PromptEncoder(nn.Module):
    """Encodes points in pixels of the square input and mask logits at a quarter of its side."""

    def __init__(self, dim: int, image_size: int, mask_channels: int = 16) -> None:
        super().__init__()
        self.image_size = image_size
        self.pe_layer = RandomFourier(dim)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, dim) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, dim)
        self.no_mask_embed = nn.Embedding(1, dim)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, mask_channels // 4, kernel_size=2, stride=2),
            LayerNorm2d(mask_channels // 4),
            nn.GELU(),
            nn.Conv2d(mask_channels // 4, mask_channels, kernel_size=2, stride=2),
            LayerNorm2d(mask_channels),
            nn.GELU(),
            nn.Conv2d(mask_channels, dim, kernel_size=1),
        )

    def points(self, coords: Tensor, labels: Tensor) -> Tensor:
        """Return tokens [N, P+1, C] of coords [N, P, 2] (x, y) and labels [N, P]; the last is padding."""
        coords = torch.cat((coords, coords.new_zeros(coords.shape[0], 1, 2)), dim=1)
        labels = torch.cat((labels, labels.new_full((labels.shape[0], 1), NO_POINT)), dim=1)
        code: Tensor = self.pe_layer((coords + 0.5) / self.image_size)
        code = code * (labels != NO_POINT)[..., None]
        return code + self._label_table()[labels.long() + 1]

    def _label_table(self) -> Tensor:
        embeddings = [self.not_a_point_embed, *self.point_embeddings]
        return torch.cat([e.weight for e in embeddings if isinstance(e, nn.Embedding)])  # 5 C

    def mask(self, logits: Tensor) -> Tensor:
        """Return [N, C, h, w] for mask logits [N, 1, 4h, 4w]."""
        x: Tensor = self.mask_downscaling(logits)
        return x

    def no_mask(self) -> Tensor:
        """Return [1, C, 1, 1], what stands for a mask that was not given."""
        return self.no_mask_embed.weight[:, :, None, None]

    def dense_position(self, height: int, width: int) -> Tensor:
        """Return the position map [1, C, height, width] of the embedding."""
        return self.pe_layer.dense(height, width)
