"""What the benchmark asks of every side."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from benchmarks.compare.measure import Stages
from storage.masks import Rle

__all__ = ["STAGES", "AutoOptions", "MaskSide", "Side"]

BoolMask = NDArray[np.bool_]

STAGES = ("image encoder", "memory attention", "prompts and decoder", "memory encoder")


@dataclass(frozen=True, slots=True)
class AutoOptions:
    """Of the automatic mask generator; everything else as the official one's defaults."""

    points_per_side: int
    min_predicted_iou: float
    min_stability: float


class Side(Protocol):
    """One implementation with its network loaded."""

    stages: Stages

    def inference(self) -> AbstractContextManager[object]:
        """Around all calls: no gradients, and the precision of the job."""

    def encode(self, rgb: NDArray[np.uint8]) -> None:
        """From a picture uint8 [H, W, 3] to what the heads read."""

    def open(self, folder: Path) -> None:
        """Make a video ready for its first prompt, the way the package does it."""

    def click(self, frame: int, object_id: int, x: float, y: float) -> BoolMask:
        """Add a positive click to a frame; the object's mask there, bool [H, W]."""

    def track(self, start: int) -> Iterator[tuple[int, BoolMask]]:
        """Frame numbers and masks bool [N, H, W] from `start` on."""

    def attend_nothing(self) -> None:
        """Memory attention answers at once with what it was given (see `Stages.stand_in`)."""


@runtime_checkable
class MaskSide(Side, Protocol):
    """A side that finds masks by itself."""

    def auto_masks(self, rgb: NDArray[np.uint8], options: AutoOptions) -> list[Rle]:
        """Everything in a picture, as run lengths."""
