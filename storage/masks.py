"""Masks as COCO run lengths: pixel-exact, small, and readable by every tool of the field.

A mask is a bool array ``[H, W]`` in the original resolution of its frame; stored, it is an :class:`Rle` whose
``counts`` is COCO's compressed string (column-major runs that begin with background).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from storage.errors import MaskError

__all__ = [
    "Rle",
    "area",
    "box",
    "decode",
    "empty",
    "encode",
    "iou",
    "iou_matrix",
    "is_empty",
    "merge",
    "runs",
]

BoolMask = NDArray[np.bool_]

_MAX_GROUPS = 7  # 5-bit groups a run may take: 35 bits hold every run of an image that fits into memory


@dataclass(frozen=True, slots=True)
class Rle:
    """One mask of ``height`` × ``width`` pixels as a COCO compressed run-length string."""

    height: int
    width: int
    counts: str

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise MaskError(
                f"a mask must have at least one pixel, not {self.height}x{self.width} (height x width)"
            )
        if not isinstance(self.counts, str) or not self.counts:
            raise MaskError(f"RLE counts must be a non-empty string, not {self.counts!r}")

    def to_coco(self) -> dict[str, Any]:
        """The COCO dictionary, ready for JSON: ``{"size": [H, W], "counts": "..."}``."""
        return {"size": [self.height, self.width], "counts": self.counts}

    def to_uncompressed(self) -> dict[str, Any]:
        """COCO's dictionary with plain run lengths: ``{"size": [H, W], "counts": [background, mask, ...]}``."""
        return {"size": [self.height, self.width], "counts": runs(self).tolist()}

    @classmethod
    def from_coco(cls, value: Mapping[str, Any]) -> Rle:
        """From a COCO dictionary with compressed (str or bytes) or plain (list of run lengths) counts.

        Raises MaskError if a part is missing or the runs do not fill the mask exactly.
        """
        try:
            height, width = (int(side) for side in value["size"])
            counts = value["counts"]
        except (KeyError, TypeError, ValueError) as error:
            raise MaskError(
                f"not a COCO RLE (needs 'size': [H, W] and 'counts'): {str(value)[:80]}"
            ) from error
        if isinstance(counts, bytes):
            counts = counts.decode("ascii", errors="replace")
        if not isinstance(counts, str):
            counts = _compress(height, width, counts)
        rle = cls(height, width, counts)
        runs(rle)
        return rle


def encode(mask: NDArray[Any]) -> Rle:
    """Run lengths of ``mask``: [H, W], bool (or integers of which everything but 0 is foreground)."""
    if mask.ndim != 2 or mask.size == 0:
        raise MaskError(f"a mask must be an array [H, W] with at least one pixel, not shape {mask.shape}")
    if mask.dtype.kind not in "bui":
        raise MaskError(f"a mask must be bool or integer, not {mask.dtype}; threshold the logits first")
    pixels = np.ascontiguousarray(mask if mask.dtype == np.bool_ else mask != 0).view(np.uint8)
    value = coco.encode(
        cv2.transpose(pixels).T
    )  # columns first, at a ninth of the time numpy takes to turn it
    return Rle(mask.shape[0], mask.shape[1], value["counts"].decode("ascii"))


def decode(rle: Rle) -> BoolMask:
    """The mask as bool ``[H, W]``. Raises MaskError if the string is damaged."""
    lengths = runs(rle)
    foreground = np.arange(len(lengths)) % 2 == 1
    return np.repeat(foreground, lengths).reshape(rle.width, rle.height).T  # W H -> H W


def runs(rle: Rle) -> NDArray[np.int64]:
    """Lengths of the runs, column by column, background first; they sum to ``height * width``.

    This is the one place where the compressed string is understood and checked; pycocotools itself trusts it.
    """
    groups = np.frombuffer(rle.counts.encode("ascii", errors="replace"), np.uint8).astype(np.int64) - 48
    last = (groups & 0x20) == 0  # the continuation bit is clear on the last group of each number
    if groups.min() < 0 or groups.max() > 63 or not last[-1]:
        raise _damaged(rle, "it holds characters or an ending that COCO never writes")
    starts = np.concatenate(([0], np.flatnonzero(last)[:-1] + 1))
    sizes = np.diff(np.append(starts, len(groups)))
    if sizes.max() > _MAX_GROUPS:
        raise _damaged(rle, "a run is longer than any image")
    position = np.arange(len(groups)) - np.repeat(starts, sizes)
    values = np.add.reduceat((groups & 0x1F) << (5 * position), starts)
    values -= np.where(groups[last] & 0x10, np.int64(1) << (5 * sizes), 0)  # sign extension
    values[1::2] = np.cumsum(values[1::2])  # from the fourth number on: the difference to the run two before
    values[2::2] = np.cumsum(values[2::2])
    if values.min() < 0 or values.sum() != rle.height * rle.width:
        raise _damaged(rle, f"its runs fill {int(values.sum())} of {rle.height * rle.width} pixels")
    return values


def area(rle: Rle) -> int:
    """Foreground pixels."""
    return int(runs(rle)[1::2].sum())


def is_empty(rle: Rle) -> bool:
    """True if no pixel is foreground (the object is absent)."""
    return area(rle) == 0


def box(rle: Rle) -> tuple[int, int, int, int] | None:
    """Smallest box (x0, y0, x1, y1) in pixels around the mask, x1 and y1 exclusive; None if it is empty."""
    if is_empty(rle):
        return None
    x, y, width, height = (int(v) for v in coco.toBbox(_coco(rle)))
    return x, y, x + width, y + height


def iou(a: Rle, b: Rle) -> float:
    """Intersection over union in [0, 1]; 1.0 if both are empty, since they agree."""
    return float(iou_matrix([a], [b])[0, 0])


def iou_matrix(a: Sequence[Rle], b: Sequence[Rle]) -> NDArray[np.float64]:
    """IoU of each mask of ``a`` with each of ``b``: float64 ``[len(a), len(b)]``; all masks of one size."""
    if not a or not b:
        return np.zeros((len(a), len(b)))
    _same_size([*a, *b])
    areas_a, areas_b = (np.array([area(rle) for rle in side]) for side in (a, b))
    overlap: NDArray[np.float64] = coco.iou([_coco(r) for r in a], [_coco(r) for r in b], [0] * len(b))
    both_empty = (areas_a[:, None] == 0) & (areas_b[None, :] == 0)
    return np.where(both_empty, 1.0, overlap)


def empty(height: int, width: int) -> Rle:
    """The mask of an absent object: one run of background."""
    return Rle(height, width, _compress(height, width, [height * width]))


def merge(rles: Sequence[Rle], *, intersect: bool = False) -> Rle:
    """Union (or intersection) of masks of one size. Raises MaskError if there are none or sizes differ."""
    if not rles:
        raise MaskError("cannot merge an empty list of masks; use empty(height, width)")
    _same_size(rles)
    for rle in rles:
        runs(rle)
    value = coco.merge([_coco(rle) for rle in rles], intersect)
    return Rle(rles[0].height, rles[0].width, value["counts"].decode("ascii"))


def _coco(rle: Rle) -> dict[str, Any]:
    return {"size": [rle.height, rle.width], "counts": rle.counts.encode("ascii")}


def _same_size(rles: Sequence[Rle]) -> None:
    sizes = {(rle.height, rle.width) for rle in rles}
    if len(sizes) > 1:
        raise MaskError(f"masks must have one size, not {sorted(sizes)} (height, width)")


def _compress(height: int, width: int, lengths: Sequence[int]) -> str:
    """COCO's string of plain run lengths."""
    try:
        checked = [int(length) for length in lengths]
    except (TypeError, ValueError) as error:
        raise MaskError(
            f"RLE counts must be a string or a list of run lengths, not {lengths!r:.80}"
        ) from error
    if height < 1 or width < 1 or sum(checked) != height * width or min(checked, default=-1) < 0:
        raise MaskError(f"run lengths fill {sum(checked)} of {height}x{width} pixels (height x width)")
    value = coco.frPyObjects({"size": [height, width], "counts": checked}, height, width)
    return str(value["counts"].decode("ascii"))


def _damaged(rle: Rle, why: str) -> MaskError:
    shown = rle.counts if len(rle.counts) <= 40 else rle.counts[:37] + "..."
    return MaskError(f"damaged RLE {shown!r} for a {rle.height}x{rle.width} mask: {why}")
