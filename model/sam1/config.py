"""Every size of SAM 1 as a row of numbers; `build_sam1` reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from types import MappingProxyType

from model.config import DecoderConfig
from model.errors import ModelError

__all__ = ["SAM1_SIZES", "Sam1Config", "sam1_config"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sam1Config:
    """One complete network. Weights do not depend on `image_size`, see `model.sam1.vit`."""

    size: str
    width: int  # channels of the image encoder
    depth: int  # its blocks
    heads: int
    global_blocks: tuple[int, ...]  # blocks that attend over the whole map, counted from 0
    window: int = 14  # tokens along a window's side in the other blocks
    image_size: int = 1024  # side of the padded input in pixels
    trained_size: int = 1024  # the side that the learned positions were made for
    dim: int = 256  # width of the embedding and of the tokens
    decoder: DecoderConfig = field(default_factory=lambda: DecoderConfig(dynamic_multimask=False))

    def __post_init__(self) -> None:
        for name in ("image_size", "trained_size"):
            if getattr(self, name) < 16 or getattr(self, name) % 16:
                raise ModelError(f"{name} {getattr(self, name)} is not a positive multiple of 16")
        if self.width % self.heads:
            raise ModelError(f"width {self.width} is not a multiple of {self.heads} heads")

    @property
    def grid(self) -> int:
        """Side of the stride-16 embedding in tokens."""
        return self.image_size // 16

    @property
    def trained_grid(self) -> int:
        """Side of the learned position map in tokens."""
        return self.trained_size // 16


SAM1_SIZES: Mapping[str, Sam1Config] = MappingProxyType(
    {
        "vit_b": Sam1Config(size="vit_b", width=768, depth=12, heads=12, global_blocks=(2, 5, 8, 11)),
        "vit_l": Sam1Config(size="vit_l", width=1024, depth=24, heads=16, global_blocks=(5, 11, 17, 23)),
        "vit_h": Sam1Config(size="vit_h", width=1280, depth=32, heads=16, global_blocks=(7, 15, 23, 31)),
    }
)


def sam1_config(size: str = "vit_b", *, image_size: int | None = None) -> Sam1Config:
    """Return the numbers of one size, at `image_size` pixels when given.

    Raises ModelError when the size is unknown or the image size cannot be used.
    """
    if size not in SAM1_SIZES:
        near = get_close_matches(size, SAM1_SIZES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ModelError(f"SAM 1 size {size!r} is unknown, use one of {', '.join(SAM1_SIZES)}{hint}")
    row = SAM1_SIZES[size]
    return row if image_size is None else replace(row, image_size=image_size)
