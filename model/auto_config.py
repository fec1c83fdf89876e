"""Settings of automatic masklets; apart from `auto_masklets.py` so that reading settings loads no network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class AutoMaskletConfig:
    """How masklets are mined from point grids on the first frame (data-engine.md §8, sam2-model.md §15)."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    points_per_side: tuple[int, ...] = (16, 8, 4)
