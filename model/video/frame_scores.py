"""Scores of one object's frames, the direction in which they were tracked, and what a correction made stale."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.video.frame_rows import FrameRows

__all__ = ["FORWARD", "REVERSE", "FrameScores", "SavedScores"]

FORWARD, REVERSE = 1, 2

_ROW = np.dtype(
    [("score", "f4"), ("iou", "f4"), ("stability", "f4"), ("tracked", "i1"), ("stale", "i1"), ("edit", "i4")]
)


@dataclass(frozen=True, slots=True)
class SavedScores:
    """What `FrameScores.restore` needs to take an edit of some frames back."""

    edit: int
    rows: dict[int, np.void]
    first: int
    stale: NDArray[np.int8]


class FrameScores:
    """A row per frame of one object; `edit` numbers of a session tell what is older than a correction."""

    def __init__(self) -> None:
        self._rows = FrameRows(_ROW)

    def direction(self, frame: int) -> int:
        """FORWARD or REVERSE for a frame that was ever tracked, else 0."""
        return int(self._rows.get(frame)["tracked"])

    def note(self, frame: int, scores: tuple[float, float, float], *, edit: int) -> None:
        """Record object score, predicted IoU and stability of a new answer."""
        score, iou, stability = scores
        self._rows.set(frame, score=score, iou=iou, stability=stability, edit=edit, stale=0)

    def note_tracked(self, frame: int, *, reverse: bool) -> None:
        """Record that a frame was tracked, and in which direction."""
        self._rows.set(frame, tracked=REVERSE if reverse else FORWARD)

    def stale_frames(self, direction: int | None = None) -> NDArray[np.int64]:
        """Tracked frames, ascending, that an edit made stale, perhaps only those to be tracked one way."""
        stale = self._rows.column("stale")
        return self._rows.frames[stale > 0 if direction is None else stale == direction]

    def is_stale(self, frame: int, direction: int) -> bool:
        """Whether a frame is to be tracked anew in that direction."""
        return bool(self._rows.get(frame)["stale"] == direction)

    def mark_stale(self, frame: int, barriers: Collection[int]) -> None:
        """Call stale what was tracked around an edited frame, up to the next barrier on either side.

        Frames after it are to be tracked forward from it, frames before it backward.
        """
        before = max((place for place in barriers if place < frame), default=-1)
        after = min((place for place in barriers if place > frame), default=np.inf)
        tracked, stale = self._rows.column("tracked"), self._rows.column("stale")
        for rows, direction in (
            (self._rows.between(before + 1, frame), REVERSE),
            (self._rows.between(frame + 1, after), FORWARD),
        ):
            stale[rows] = np.where(tracked[rows] > 0, direction, stale[rows])
        itself = self._rows.between(frame, frame + 1)
        stale[itself] = 0 if frame in barriers else tracked[itself]

    def save(self, frames: Collection[int], *, edit: int) -> SavedScores:
        """Remember everything that an edit of some frames is going to change."""
        rows = {frame: self._rows.get(frame) for frame in frames}
        return SavedScores(edit, rows, self._rows.first, self._rows.column("stale").copy())

    def restore(self, saved: SavedScores, barriers: Collection[int]) -> None:
        """Take an edit back. Frames tracked since then saw it, so they are stale now."""
        for frame in saved.rows:
            self.mark_stale(frame, barriers)
        first = max(saved.first, self._rows.first)
        known = self._rows.between(first, saved.first + len(saved.stale))
        before = saved.stale[first - saved.first :]
        unseen = self._rows.column("edit")[known] < saved.edit
        stale = self._rows.column("stale")
        stale[known] = np.where(unseen, before, stale[known])
        for frame, row in saved.rows.items():
            self._rows.set(frame, **{name: row[name] for name in _ROW.names or () if name != "edit"})

    def suggest(self, count: int, *, fixed: Collection[int], gap: int) -> tuple[int, ...]:
        """Up to `count` tracked frames of the lowest predicted IoU × stability, `gap` frames from any other.

        `fixed` frames, which a person prompted or accepted, are kept at the same distance.
        """
        gap = max(gap, 1)
        frames = self._rows.frames
        worth = np.where(
            self._rows.column("tracked") > 0,
            self._rows.column("iou") * self._rows.column("stability"),
            np.inf,
        )
        for place in fixed:
            worth[self._rows.between(place - gap + 1, place + gap)] = np.inf
        chosen: list[int] = []
        while len(chosen) < count and np.isfinite(worth).any():
            place = int(frames[worth.argmin()])
            chosen.append(place)
            worth[self._rows.between(place - gap + 1, place + gap)] = np.inf
        return tuple(chosen)

    def forget_before(self, frame: int) -> None:
        """Let go of the rows of earlier frames."""
        self._rows.forget_before(frame)
