"""How the frames of a sitting stand, and how each of them stood before the acts on it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

from annotation.answer import BoolMask
from annotation.image_assistant import Ground
from model.prompts import Box, Click
from storage.masks import Rle, decode

__all__ = ["ActHistory", "Moment", "ShownMasks", "Standing"]

_KEPT_ACTS = 64  # that can be taken back on one frame
_STANDING_BYTES = 256  # of one that says little
_CLICK_BYTES = 96


@dataclass(frozen=True, slots=True)
class Standing:
    """One annotated frame as it stands: all that is needed to go on with it in another sitting.

    mask: None while there is none. score: the model's predicted IoU, None for masks that no model made. click_count:
    clicks given, those before a box or brush included. edited: the person made or changed the mask. locked: the
    person vouches for it.
    """

    mask: Rle | None = None
    score: float | None = None
    clicks: tuple[Click, ...] = ()
    box: Box | None = None
    click_count: int = 0
    edited: bool = False
    locked: bool = False

    @property
    def byte_size(self) -> int:
        """Bytes, roughly."""
        counts = 0 if self.mask is None else len(self.mask.counts)
        return _STANDING_BYTES + counts + _CLICK_BYTES * len(self.clicks)


@dataclass(frozen=True, slots=True)
class Moment:
    """How a frame stood before an act, and what SAM's next answer on it would have started from."""

    standing: Standing
    ground: Ground | None = None

    @property
    def byte_size(self) -> int:
        """Bytes, roughly."""
        return self.standing.byte_size + (0 if self.ground is None else self.ground.byte_size)


class ActHistory:
    """The last acts on each frame, to be taken back one by one."""

    def __init__(self) -> None:
        self._moments: dict[int, deque[Moment]] = {}

    def push(self, position: int, before: Moment) -> None:
        """Remember how a frame stood before an act."""
        self._moments.setdefault(position, deque(maxlen=_KEPT_ACTS)).append(before)

    def pop(self, position: int) -> Moment | None:
        """How a frame stood before the last act on it, which is forgotten now; None if there was none."""
        moments = self._moments.get(position)
        return moments.pop() if moments else None

    def forget(self, position: int) -> None:
        """Nothing on a frame can be taken back any more."""
        self._moments.pop(position, None)

    @property
    def byte_size(self) -> int:
        """Bytes, roughly."""
        return sum(moment.byte_size for moments in self._moments.values() for moment in moments)


class ShownMasks(Sequence[BoolMask | None]):
    """The masks of all frames at one moment, bool [H, W] each, unpacked when asked for."""

    def __init__(self, rles: Sequence[Rle | None]) -> None:
        self._rles = tuple(rles)

    def __len__(self) -> int:
        return len(self._rles)

    @overload
    def __getitem__(self, index: int) -> BoolMask | None: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[BoolMask | None, ...]: ...

    def __getitem__(self, index: int | slice) -> BoolMask | tuple[BoolMask | None, ...] | None:
        if isinstance(index, slice):
            return tuple(map(_unpacked, self._rles[index]))
        return _unpacked(self._rles[index])


def _unpacked(rle: Rle | None) -> BoolMask | None:
    if rle is None:
        return None
    mask = decode(rle)
    mask.setflags(write=False)
    return mask
