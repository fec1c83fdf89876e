"""Every size of SAM 2 as a row of numbers. One builder reads them (`builder.py`);
no size has code of its own.

tiny, small, base_plus and large are the published sizes, whose official checkpoints load strictly. nano is
ours: the same network small enough to train and run on two CPU cores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from model.errors import ModelError

__all__ = [
    "SIZES",
    "VERSIONS",
    "DecoderConfig",
    "MemoryConfig",
    "Sam2Config",
    "TrunkConfig",
    "config_from_dict",
    "config_to_dict",
    "sam2_config",
]

VERSIONS = ("2.0", "2.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkConfig:
    """The Hiera image encoder: four stages, each half the resolution and twice the width of the last."""

    embed_dim: int  # channels of stage 1; doubles at each later stage
    heads: int  # attention heads of stage 1; doubles at each later stage
    stages: tuple[int, int, int, int]  # blocks in each stage
    global_blocks: tuple[int, ...]  # blocks that attend over the whole map, counted from 0
    windows: tuple[int, int, int, int] = (8, 4, 14, 7)  # tokens along a window's side, per stage
    background_size: int = 7  # side of the learned position map that is stretched over the image
    drop_path: float = 0.1  # highest chance of skipping a block while training (rises over the blocks)

    @property
    def stage_ends(self) -> tuple[int, ...]:
        """Index of the last block of each stage."""
        return tuple(sum(self.stages[: i + 1]) - 1 for i in range(len(self.stages)))

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the four output maps, strides 4, 8, 16 and 32."""
        return tuple(self.embed_dim * 2**i for i in range(len(self.stages)))


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryConfig:
    """Memory attention, memory encoder and the rules of the memory bank."""

    dim: int = 64  # channels of a memory map; must divide the model width
    slots: int = 7  # time codes: one for prompted frames, the rest for recent frames
    layers: int = 4
    feedforward: int = 2048
    heads: int = 1
    dropout: float = 0.1
    rope_theta: float = 10000.0  # lowest rotary frequency; small maps want a small value
    max_pointers: int = 16  # object pointers reach this many frames back, less one
    stride: int = 1  # gap between the recent frames that are remembered
    max_conditioning: int | None = None  # most prompted frames attended to at once; None is all


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderConfig:
    """The mask decoder and its choice between candidate masks."""

    depth: int = 2
    heads: int = 8
    feedforward: int = 2048
    candidates: int = 3  # masks of an ambiguous prompt, beside the single mask
    dynamic_multimask: bool = True  # in eval, an unstable single mask gives way to the best candidate
    stability_delta: float = 0.05
    stability_threshold: float = 0.98


@dataclass(frozen=True, slots=True, kw_only=True)
class Sam2Config:
    """One complete network. Weights do not depend on `image_size`: it may be changed after training."""

    size: str
    trunk: TrunkConfig
    version: str = "2.1"
    image_size: int = 1024  # side of the square input in pixels
    dim: int = 256  # width of embeddings, tokens and pointers
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)

    def __post_init__(self) -> None:
        if self.version not in VERSIONS:
            raise ModelError(f"version {self.version!r} is unknown; use one of {', '.join(VERSIONS)}")
        if self.image_size < 32 or self.image_size % 32:
            raise ModelError(f"image_size {self.image_size} is not a positive multiple of 32")
        if self.dim % 8 or self.dim % self.memory.dim:
            raise ModelError(f"dim {self.dim} must be a multiple of 8 and of memory.dim {self.memory.dim}")

    @property
    def grid(self) -> int:
        """Side of the stride-16 embedding in tokens."""
        return self.image_size // 16

    @property
    def has_pointer_time(self) -> bool:
        """2.1 tells memory attention how old each object pointer is."""
        return self.version == "2.1"

    @property
    def has_absence_memory(self) -> bool:
        """2.1 marks the memory of frames on which the object is absent."""
        return self.version == "2.1"


_TINY = TrunkConfig(embed_dim=96, heads=1, stages=(1, 2, 7, 2), global_blocks=(5, 7, 9))
_SMALL = TrunkConfig(embed_dim=96, heads=1, stages=(1, 2, 11, 2), global_blocks=(7, 10, 13))
_BASE_PLUS = TrunkConfig(
    embed_dim=112,
    heads=2,
    stages=(2, 3, 16, 3),
    global_blocks=(12, 16, 20),
    background_size=14,
    drop_path=0.2,
)
_LARGE = TrunkConfig(
    embed_dim=144,
    heads=2,
    stages=(2, 6, 36, 4),
    global_blocks=(23, 33, 43),
    windows=(8, 4, 16, 8),
    drop_path=0.3,
)
_NANO = Sam2Config(
    size="nano",
    image_size=256,
    dim=128,
    trunk=TrunkConfig(
        embed_dim=32,
        heads=1,
        stages=(1, 2, 3, 1),
        global_blocks=(4, 5),
        windows=(8, 4, 8, 4),
        drop_path=0.0,
    ),
    memory=MemoryConfig(layers=2, feedforward=512, rope_theta=100.0, dropout=0.0),
    decoder=DecoderConfig(heads=4, feedforward=512),
)

SIZES: Mapping[str, Sam2Config] = MappingProxyType(
    {
        "nano": _NANO,
        "tiny": Sam2Config(size="tiny", trunk=_TINY),
        "small": Sam2Config(size="small", trunk=_SMALL),
        "base_plus": Sam2Config(size="base_plus", trunk=_BASE_PLUS),
        "large": Sam2Config(size="large", trunk=_LARGE),
    }
)


def config_to_dict(config: Sam2Config) -> dict[str, Any]:
    """Return the numbers as nested plain values that JSON can hold."""
    return asdict(config)


def config_from_dict(values: Mapping[str, Any]) -> Sam2Config:
    """Return the network that `config_to_dict` described. ModelError when a number is missing or unknown."""
    try:
        parts = dict(values)
        trunk: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in parts.pop("trunk").items()
        }
        memory, decoder = MemoryConfig(**parts.pop("memory")), DecoderConfig(**parts.pop("decoder"))
        return Sam2Config(trunk=TrunkConfig(**trunk), memory=memory, decoder=decoder, **parts)
    except (AttributeError, KeyError, TypeError) as error:
        raise ModelError(f"this is no description of a network: {error}") from error


def sam2_config(size: str = "nano", *, version: str = "2.1", image_size: int | None = None) -> Sam2Config:
    """Return the numbers of one size, at `image_size` pixels when given.

    Raises ModelError when the size or version is unknown or the image size cannot be used.
    """
    if size not in SIZES:
        near = get_close_matches(size, SIZES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ModelError(f"model size {size!r} is unknown, use one of {', '.join(SIZES)}{hint}")
    row = SIZES[size]
    return replace(row, version=version, image_size=row.image_size if image_size is None else image_size)
