"""Which answers changed, and by how much: the latest mask of every object and frame, as run lengths on disk.

Masks are compared at the size of the network's mask map, where a comparison costs a tenth of a millisecond. The
log begins in memory, spills to a temporary file without a name, and is rewritten when it is mostly outdated.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.video.frame_rows import FrameRows
from storage.masks import Rle, encode, iou

__all__ = ["FrameChange", "RevisionLog"]

_IN_MEMORY = 1 << 20  # bytes
_ROW = np.dtype(
    [("revision", "i4"), ("edit", "i4"), ("iou", "f4"), ("offset", "i8"), ("length", "i4"), ("side", "i4")]
)


@dataclass(frozen=True, slots=True)
class FrameChange:
    """One object's answer on one frame, compared with the answer before it."""

    object_id: int
    frame: int
    revision: int  # number of the answer: 2 is the first change
    iou: float  # with the answer before, in 0…1; NaN when the log no longer has that


class RevisionLog:
    """Keeps at most `capacity` bytes of masks; beyond that the longest unchanged ones are forgotten."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - closed with the log
        self._end = 0
        self._live = 0
        self._rows: dict[int, FrameRows] = {}

    def write(self, owner: int, frame: int, mask: NDArray[np.bool_], *, edit: int) -> int:
        """Record a new answer, a mask bool [h, w], of the object `owner`; return its revision number."""
        rows = self._rows.setdefault(owner, FrameRows(_ROW))
        before = rows.get(frame)
        revision = int(before["revision"]) + 1
        overlap, offset, length = np.nan, 0, 0
        if self._capacity > 0:
            rle = encode(mask)
            if before["length"]:
                overlap = iou(self._read(before, mask.shape[0]), rle)
            offset, length = self._append(rle.counts.encode("ascii"))
            self._live += length - int(before["length"])
        rows.set(
            frame, revision=revision, edit=edit, iou=overlap, offset=offset, length=length, side=mask.shape[0]
        )
        if self._end > max(self._capacity, _IN_MEMORY) or self._end > max(4 * self._live, _IN_MEMORY):
            self._rewrite()
        return revision

    def revision(self, owner: int, frame: int) -> int:
        """Number of the latest answer; 0 when there was none."""
        return int(self._rows[owner].get(frame)["revision"]) if owner in self._rows else 0

    def changes(self, owner: int, *, since: int) -> list[tuple[int, int, float]]:
        """(frame, revision, IoU) of answers of edit `since` or later that differ from those before them."""
        if owner not in self._rows or self._capacity <= 0:
            return []
        rows = self._rows[owner]
        revision, overlap = rows.column("revision"), rows.column("iou")
        changed = (revision > 1) & (rows.column("edit") >= since) & (overlap != 1.0)
        columns = rows.frames[changed], revision[changed], overlap[changed]
        return list(zip(*(column.tolist() for column in columns), strict=True))

    def forget(self, owner: int) -> None:
        """Let go of all that is known of an object."""
        rows = self._rows.pop(owner, None)
        self._live -= 0 if rows is None else int(rows.column("length").sum())

    def forget_before(self, frame: int) -> None:
        """Let go of earlier frames of every object."""
        for rows in self._rows.values():
            dead = rows.column("length")[rows.between(rows.first, frame)]
            self._live -= int(dead.sum())
            dead[:] = 0
            rows.forget_before(frame)

    def _append(self, data: bytes) -> tuple[int, int]:
        offset = self._end
        self._file.seek(offset)
        self._file.write(data)
        self._end += len(data)
        return offset, len(data)

    def _read(self, row: np.void, side: int) -> Rle:
        self._file.seek(int(row["offset"]))
        return Rle(side, side, self._file.read(int(row["length"])).decode("ascii"))

    def _rewrite(self) -> None:
        """Copy what is current into a new file, in the order of writing, at most half of the capacity."""
        tables = [rows for rows in self._rows.values() if rows.column("length").any()]
        places = [np.flatnonzero(rows.column("length")) for rows in tables]
        owners = np.repeat(np.arange(len(tables)), [len(place) for place in places])
        indices = np.concatenate([*places, np.zeros(0, dtype=np.int64)])
        offsets = np.concatenate(
            [r.column("offset")[p] for r, p in zip(tables, places, strict=True)] or [indices]
        )
        lengths = np.concatenate(
            [r.column("length")[p] for r, p in zip(tables, places, strict=True)] or [indices]
        )
        order = np.argsort(offsets)
        newer = np.cumsum(lengths[order][::-1])[::-1]  # bytes from this one to the newest
        old = self._file
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - closed with the log
        self._end = self._live = 0
        for place, kept in zip(order, newer <= self._capacity // 2, strict=True):
            rows, index = tables[owners[place]], indices[place]
            if not kept:
                rows.column("length")[index] = 0
                continue
            old.seek(int(offsets[place]))
            rows.column("offset")[index], length = self._append(old.read(int(lengths[place])))
            self._live += length
        old.close()

    def __del__(self) -> None:
        self._file.close()
