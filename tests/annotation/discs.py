"""Small moving-disc videos in memory, with their reference masks, for all tests of the package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from annotation.work import WorkItem
from storage.masks import Rle, encode

SIDE = 64
STRIDE = 4  # annotated frames are every fourth source frame


@dataclass
class DiscVideo:
    """A bright disc on a dark ground; `centres` by position, None where the disc is absent."""

    centres: Sequence[tuple[float, float] | None]
    radius: float = 10.0
    side: int = SIDE
    video_id: str = "disc-video"
    height: int = field(init=False)
    width: int = field(init=False)

    def __post_init__(self) -> None:
        self.height = self.width = self.side

    def __len__(self) -> int:
        return len(self.centres)

    def __getitem__(self, position: int) -> np.ndarray:
        frame = np.full((self.side, self.side, 3), 40, np.uint8)
        frame[self.truth(position)] = (220, 160, 60)
        return frame

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(range(0, STRIDE * len(self), STRIDE))

    def truth(self, position: int) -> np.ndarray:
        centre = self.centres[position]
        if centre is None:
            return np.zeros((self.side, self.side), bool)
        return disc(*centre, self.radius, side=self.side)

    def reference(self) -> dict[int, Rle]:
        masks = {n: self.truth(p) for p, n in enumerate(self.numbers)}
        return {n: encode(mask) for n, mask in masks.items() if mask.any()}


def disc(x: float, y: float, radius: float, *, side: int = SIDE) -> np.ndarray:
    """A disc as a bool mask [side, side]."""
    rows, columns = np.mgrid[:side, :side]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def moving(frames: int, *, absent: Sequence[int] = ()) -> DiscVideo:
    """A disc that drifts to the right and is absent at some positions."""
    return DiscVideo([None if t in absent else (18.0 + 4 * t, 30.0) for t in range(frames)])


def annotate_item(phase: int = 1, **changes: object) -> WorkItem:
    """An item to annotate the disc of `moving`."""
    values: dict[str, object] = {
        "task_id": "m1-annotate-1",
        "round_id": "r0001",
        "desk": "annotation",
        "kind": "annotate",
        "video_id": "disc-video",
        "masklet_id": "m1",
        "object_id": 1,
        "phase": phase,
        "first_frame": 0,
        "point": (18.0, 30.0),
    }
    return WorkItem(**{**values, **changes})
