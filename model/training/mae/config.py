"""The numbers of a masked autoencoder that are not the trunk's."""

from __future__ import annotations

from dataclasses import dataclass

from model.errors import TrainingError


@dataclass(frozen=True, slots=True, kw_only=True)
class MaeConfig:
    """How much is hidden, and the decoder that guesses it (Hiera paper, tables 14a and 2)."""

    mask_ratio: float = 0.6  # share of the mask units that are hidden
    decoder_width: int = 512
    decoder_depth: int = 8
    decoder_heads: int = 16
    smallest_crop: float = 0.2  # least share of a picture's area that a crop shows

    def __post_init__(self) -> None:
        if not 0 < self.mask_ratio < 1:
            raise TrainingError(f"mask_ratio must be above 0 and below 1, got {self.mask_ratio}.")
        if not 0 < self.smallest_crop <= 1:
            raise TrainingError(f"smallest_crop must be above 0 and at most 1, got {self.smallest_crop}.")
        for name in ("decoder_width", "decoder_depth", "decoder_heads"):
            if getattr(self, name) < 1:
                raise TrainingError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if self.decoder_width % self.decoder_heads:
            raise TrainingError(
                f"decoder_width {self.decoder_width} must be a multiple of decoder_heads {self.decoder_heads}."
            )
