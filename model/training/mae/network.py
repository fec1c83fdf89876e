"""The masked autoencoder around SAM 2's own trunk: it sees some mask units of a picture and guesses the others.

The trunk is `Hiera` itself, so that what it learns loads into a SAM 2 as it is. Only the way through it differs, as
in Hiera's pre-training: hidden units are zeroed and their tokens deleted, stages 1 and 2 attend within units, later
blocks among all visible tokens, and the last stage does not pool (Hiera paper, arXiv 2306.00989).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.config import Sam2Config
from model.errors import TrainingError
from model.network.hiera import Block, Hiera, WindowAttention
from model.training.mae.config import MaeConfig
from model.training.mae.masking import PATCH, hidden, normalised_patches, spread_units

STEM_STRIDE = 4  # pixels of a token of the trunk's first stage
POOLED = 4  # the first two stages' pooling: 2 × 2 tokens, twice


class MaskedAutoencoder(nn.Module):
    """Trunk, fusion of its stages, and a small decoder."""

    def __init__(self, network: Sam2Config, config: MaeConfig) -> None:
        """The trunk and the image size are those of `network`; `TrainingError` where units do not fill the image."""
        super().__init__()
        trunk = network.trunk
        self.unit = trunk.windows[0]  # tokens along a unit's side in stage 1
        tokens = network.image_size // STEM_STRIDE
        if self.unit % POOLED or tokens % self.unit or tokens == self.unit:
            raise TrainingError(
                f"image_size {network.image_size} must be two or more times a mask unit's "
                f"{self.unit * STEM_STRIDE} pixels."
            )
        self.units = tokens // self.unit  # along a side
        self.image_size = network.image_size
        self.trunk = Hiera(trunk)
        width = trunk.widths[-1]
        self.fusion = nn.ModuleList(
            nn.Conv2d(own, width, kernel_size=side, stride=side)
            for own, side in ((trunk.widths[0], POOLED), (trunk.widths[1], POOLED // 2))
        )
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.decoder = Decoder(width, network.image_size // PATCH, config)

    @property
    def unit_count(self) -> int:
        """Mask units of a picture."""
        return self.units**2

    def forward(self, pixels: Tensor, visible: Tensor) -> Tensor:
        """Predicted patches [B, S/16, S/16, 768] of normalised `pixels` [B, 3, S, S]; see `masking` for their order.

        `visible` int64 [B, K]: the units that may be seen, each picture's in row-major order.
        """
        patches: Tensor = self.decoder(self.encode(pixels, visible), visible, self.units)
        return patches

    def loss(self, pixels: Tensor, visible: Tensor) -> Tensor:
        """Mean squared error over the hidden patches, against patches of zero mean and unit variance; a scalar."""
        guess: Tensor = self(pixels, visible)
        error = (guess.float() - normalised_patches(pixels)).square().mean(-1)  # B rows columns
        masked = spread_units(hidden(visible, self.unit_count), self.units, self.unit // POOLED)
        return error[masked].mean()

    def encode(self, pixels: Tensor, visible: Tensor) -> Tensor:
        """Features of the visible tokens at stride 16, [B, K, u, u, C]; u² tokens a unit."""
        *pooled, _, fused = self.stages(pixels, visible)
        for convolution, x in zip(self.fusion, pooled, strict=True):
            fused = fused + convolution(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        features: Tensor = torch.unflatten(self.norm(fused), 0, visible.shape)
        return features

    def stages(self, pixels: Tensor, visible: Tensor) -> list[Tensor]:
        """The trunk's four outputs for the visible units, [B·K, s, s, C]; s is 8, 4, 2, 2 with units of 8 tokens."""
        seen = spread_units(~hidden(visible, self.unit_count), self.units, self.image_size // self.units)
        x = self.trunk.patch_embed(pixels * seen[:, None])  # B H W C
        x = x + self.trunk.position(x.shape[1], x.shape[2])
        x = _take_units(x, self.unit, visible)
        outputs = []
        for index, block in enumerate(self.trunk.blocks):
            x = self._through(block, x, batch=len(visible))
            if index in self.trunk.stage_ends:
                outputs.append(x)
        return outputs

    def _through(self, block: nn.Module, x: Tensor, *, batch: int) -> Tensor:
        """One block: within units [B·K, s, s, C] until the second pooling, then among all of a picture."""
        assert isinstance(block, Block)
        side = x.shape[1]
        if side > self.unit // POOLED:
            return _within_units(block, x, batch)
        whole = torch.unflatten(x, 0, (batch, -1)).flatten(1, 3)  # B K·s·s C
        return torch.unflatten(_among_all(block, whole), 1, (-1, side, side)).flatten(0, 1)


class Decoder(nn.Module):
    """A small transformer over all patches: features where a unit was visible, a learned token elsewhere."""

    def __init__(self, width: int, side: int, config: MaeConfig) -> None:
        super().__init__()
        self.embed = nn.Linear(width, config.decoder_width)
        self.mask_token = nn.Parameter(torch.zeros(config.decoder_width))
        self.position = nn.Parameter(torch.zeros(1, side, side, config.decoder_width))
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        nn.init.trunc_normal_(self.position, std=0.02)
        self.blocks = nn.ModuleList(
            Block(
                config.decoder_width,
                config.decoder_width,
                heads=config.decoder_heads,
                window=0,
                drop_path=0.0,
            )
            for _ in range(config.decoder_depth)
        )
        self.norm = nn.LayerNorm(config.decoder_width, eps=1e-6)
        self.predict = nn.Linear(config.decoder_width, PATCH * PATCH * 3)

    def forward(self, features: Tensor, visible: Tensor, units: int) -> Tensor:
        """[B, S/16, S/16, 768] from features [B, K, u, u, C] of the visible units."""
        batch, _, side = features.shape[:3]
        known = self.embed(features)
        x = self.mask_token.to(known.dtype).expand(batch, units * units, side, side, -1)
        index = visible[:, :, None, None, None].expand_as(known)
        x = torch.unflatten(x.scatter(1, index, known), 1, (units, units))  # B U U u u D
        x = x.transpose(2, 3).flatten(3, 4).flatten(1, 2) + self.position  # B S/16 S/16 D
        for block in self.blocks:
            x = block(x)
        patches: Tensor = self.predict(self.norm(x))
        return patches


def _take_units(x: Tensor, side: int, visible: Tensor) -> Tensor:
    """The units `visible` [B, K] of a map [B, H, W, C], as [B·K, side, side, C]."""
    grid = (
        torch.unflatten(torch.unflatten(x, 2, (-1, side)), 1, (-1, side)).transpose(2, 3).flatten(1, 2)
    )  # B U² s s C
    index = visible[:, :, None, None, None].expand(-1, -1, *grid.shape[2:])
    return grid.gather(1, index).flatten(0, 1)


def _within_units(block: Block, x: Tensor, batch: int) -> Tensor:
    """The block as it is, with a unit of [B·K, s, s, C] as its window."""
    y: Tensor = block.norm1(x)
    shortcut = _pooled(block.proj(y)) if block.pools else x
    shortcut = shortcut + _dropped(block, block.attn(y, 0), batch)
    return shortcut + _dropped(block, block.mlp(block.norm2(shortcut)), batch)


def _dropped(block: Block, y: Tensor, batch: int) -> Tensor:
    """Drop path of whole pictures: all units of [B·K, …] that belong to one, or none."""
    pictures: Tensor = block.drop_path(torch.unflatten(y, 0, (batch, -1)))
    return pictures.flatten(0, 1)


def _among_all(block: Block, x: Tensor) -> Tensor:
    """The block over visible tokens [B, L, C] of any place; where it would pool, it only widens."""
    y: Tensor = block.norm1(x)
    shortcut = block.proj(y) if block.pools else x
    shortcut = shortcut + block.drop_path(_attention(block.attn, y))
    result: Tensor = shortcut + block.drop_path(block.mlp(block.norm2(shortcut)))
    return result


def _attention(attention: WindowAttention, x: Tensor) -> Tensor:
    q, k, v = (
        torch.unflatten(part, 2, (attention.heads, -1)).transpose(1, 2)
        for part in attention.qkv(x).chunk(3, dim=-1)
    )
    y = F.scaled_dot_product_attention(q, k, v)  # B heads L D
    result: Tensor = attention.proj(y.transpose(1, 2).flatten(2))
    return result


def _pooled(x: Tensor) -> Tensor:
    """Max-pool 2×2 a channels-last map."""
    return F.max_pool2d(x.permute(0, 3, 1, 2), kernel_size=2, stride=2).permute(0, 2, 3, 1)
