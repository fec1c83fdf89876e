"""The prompt encoder: clicks and boxes become tokens, a mask becomes a map added to the embedding."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.network.layers import LayerNorm2d
from model.network.position import RandomFourier

__all__ = ["NO_POINT", "PromptEncoder"]

NO_POINT = -1  # label of padding; 0 negative, 1 positive, 2 and 3 the corners of a box


class PromptEncoder(nn.Module):
    """Encodes points in pixels of the square input and mask logits at a quarter of its side."""

    def __init__(self, dim: int, image_size: int, mask_channels: int = 16) -> None:
        super().__init__()
        self.image_size = image_size
        self._kept: _KeptMap | None = None
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

    def points(self, coords: Tensor, labels: Tensor, *, padding: bool = True) -> Tensor:
        """Return tokens [N, P+1, C] of coords [N, P, 2] (x, y) and labels [N, P]; the last is padding.

        SAM 1 gives no padding when there is a box: then [N, P, C].
        """
        if padding:
            coords = F.pad(coords, (0, 0, 0, 1))
            labels = F.pad(labels, (0, 1), value=NO_POINT)
        code: Tensor = self.pe_layer((coords + 0.5) / self.image_size)
        code = code * (labels != NO_POINT)[..., None]
        return code + self._label_table()[labels.long() + 1]

    def _label_table(self) -> Tensor:
        """Return [5, C]: padding, negative, positive, the two corners."""
        return torch.cat(
            [e.get_parameter("weight") for e in (self.not_a_point_embed, *self.point_embeddings)]
        )

    def mask(self, logits: Tensor) -> Tensor:
        """Return [N, C, h, w] for mask logits [N, 1, 4h, 4w]."""
        x: Tensor = self.mask_downscaling(logits)
        return x

    def no_mask(self) -> Tensor:
        """Return [1, C, 1, 1], what stands for a mask that was not given."""
        return self.no_mask_embed.weight[:, :, None, None]

    def dense_position(self, height: int, width: int) -> Tensor:
        """Return the position map [1, C, height, width] of the embedding.

        The last one is kept and given again as long as the random matrix is the same and unchanged.
        """
        matrix = self.pe_layer.positional_encoding_gaussian_matrix
        if torch.compiler.is_compiling() or matrix.is_inference():  # these cannot tell whether they changed
            return self.pe_layer.dense(height, width)
        kept = self._kept
        if kept is None or not kept.fits(matrix, height, width):
            with torch.inference_mode(False), torch.no_grad():  # so that training may use it as well
                dense = self.pe_layer.dense(height, width)
            kept = self._kept = _KeptMap(matrix, matrix._version, dense)
        return kept.dense


@dataclass(frozen=True, slots=True)
class _KeptMap:
    """A dense position map and what it was made from."""

    matrix: Tensor
    version: int
    dense: Tensor  # [1, C, height, width]

    def fits(self, matrix: Tensor, height: int, width: int) -> bool:
        unchanged = self.matrix is matrix and self.version == matrix._version
        return unchanged and tuple(self.dense.shape[-2:]) == (height, width)
