"""What a session answers for one frame, and the measures that come with a mask.

A result holds the small masks of the network; full-size masks are made when they are asked for, so that a frame
with hundreds of objects stays small until it leaves as run lengths.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.mask_tensors import areas_above, enlarge
from model.postprocess import fill_logit_holes, tidy_logits
from storage.masks import Rle, decode, encode

__all__ = ["FrameResult", "MaskTidying", "stability"]

STABILITY_OFFSET = 1.0

_GIVEN_LOGIT = np.float32(10.0)  # of a person's mask, inside; its negative outside
_CLAIMED_LOGIT = np.float32(-10.0)  # the most a pixel may have that another object owns
_AREA_MAP_SIDE = 256  # the map whose pixels the areas of `MaskTidying` count


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskTidying:
    """What happens to predicted masks on their way out; masks that a person gave are left alone."""

    fill_hole_area: int = 0  # holes up to this area are filled, in pixels of a 256×256 map
    max_speck_area: int = 0  # specks up to this area are dropped, in the same pixels
    non_overlap: bool = (
        False  # each pixel belongs to the object of the highest logit; locked masks come first
    )


@dataclass(frozen=True)
class FrameResult:
    """Masks of N objects on one frame, at the size of the video."""

    frame: int
    object_ids: tuple[int, ...]
    low_res: NDArray[np.float32]  # the network's mask logits [N, h, w]
    height: int  # of the frame, in pixels
    width: int
    given: tuple[Rle | None, ...]  # [N] masks that a person gave or locked; they come out as they are
    object_scores: NDArray[np.float32]  # [N] logit that the object is visible
    predicted_ious: NDArray[np.float32]  # [N] in 0…1, the model's own estimate
    stabilities: NDArray[np.float32]  # [N] in 0…1, see `stability`
    locked: NDArray[np.bool_]  # [N] whether a person accepted the mask
    revisions: NDArray[np.int32]  # [N] how many answers the session has given here, this one included
    tidying: MaskTidying = MaskTidying()

    @cached_property
    def logits(self) -> NDArray[np.float32]:
        """Mask logits float32 [N, H, W]; above 0 is the object. Made at the first call and then kept."""
        full = np.empty((len(self.object_ids), self.height, self.width), dtype=np.float32)
        for row, logits in enumerate(self._each_logits()):
            full[row] = logits
        return full

    @cached_property
    def masks(self) -> NDArray[np.bool_]:
        """Masks bool [N, H, W]. Made at the first call and then kept."""
        full = np.empty((len(self.object_ids), self.height, self.width), dtype=np.bool_)
        for row, mask in enumerate(self.each_mask()):
            full[row] = mask
        return full

    def each_mask(self) -> Iterator[NDArray[np.bool_]]:
        """Masks bool [H, W] in the order of `object_ids`, with one full-size map in memory at a time."""
        for row, logits in enumerate(self._each_logits()):
            yield decode(self._given_mask(row)) if self.locked[row] else logits > 0

    def rles(self) -> tuple[Rle, ...]:
        """The masks as run lengths [N], in the order of `object_ids`."""
        return tuple(encode(mask) for mask in self.each_mask())

    def _each_logits(self) -> Iterator[NDArray[np.float32]]:
        rows = range(len(self.object_ids))
        if not (self.tidying.non_overlap and len(rows) > 1):
            yield from map(self._full_size, rows)
            return
        owner = self._owners()
        for row in rows:
            logits = self._full_size(row)
            free = self.locked[row] | (owner == row)
            yield np.where(free, logits, np.minimum(logits, _CLAIMED_LOGIT))

    def _owners(self) -> NDArray[np.intp]:
        """The row [H, W] with the highest logit; a locked mask beats every prediction."""
        best = np.full((self.height, self.width), -np.inf, dtype=np.float32)
        owner = np.zeros((self.height, self.width), dtype=np.intp)
        for row in range(len(self.object_ids)):
            logits = self._full_size(row)
            if self.locked[row]:
                logits = np.where(logits > 0, np.float32(np.inf), logits)
            wins = logits > best
            owner[wins], best[wins] = row, logits[wins]
        return owner

    def _full_size(self, row: int) -> NDArray[np.float32]:
        """Logits [H, W] of one object."""
        if self.given[row] is not None:
            return np.where(decode(self._given_mask(row)), _GIVEN_LOGIT, -_GIVEN_LOGIT)
        low_res = torch.from_numpy(self._tidied(self.low_res[row : row + 1]))
        full: NDArray[np.float32] = enlarge(low_res, (self.height, self.width))[0].numpy()
        return full

    def _tidied(self, low_res: NDArray[np.float32]) -> NDArray[np.float32]:
        scale = (low_res.shape[-1] / _AREA_MAP_SIDE) ** 2
        filled = fill_logit_holes(low_res, int(self.tidying.fill_hole_area * scale))
        speck_area = int(self.tidying.max_speck_area * scale)
        return tidy_logits(filled, max_hole_area=0, max_speck_area=speck_area) if speck_area else filled

    def _given_mask(self, row: int) -> Rle:
        given = self.given[row]
        assert given is not None  # locked objects have one
        return given


def stability(logits: Tensor, offset: float = STABILITY_OFFSET) -> Tensor:
    """Return [...] in 0…1 for `logits` [..., H, W]: how little the mask depends on where it is cut.

    The area above +offset over the area above −offset; 1 for an empty mask.
    """
    inside, outside = areas_above(logits, offset).float(), areas_above(logits, -offset).float()
    return torch.where(outside > 0, inside / outside.clamp(min=1), 1.0)
