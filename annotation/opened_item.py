"""A work item on the annotated frames of its video: which positions it speaks of, and what it gives to start from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from annotation.errors import ActionError
from annotation.work import PhaseRules, WorkItem
from model.video.frame_source import FrameSource
from storage.masks import Rle, is_empty

__all__ = ["OpenedItem"]


class OpenedItem:
    """One item of kind "annotate" in terms of positions, 0 to the number of annotated frames less one.

    Raises ActionError when the item is of another kind, or does not fit the frames or the rules.
    """

    def __init__(
        self, item: WorkItem, frames: FrameSource, numbers: Sequence[int], rules: PhaseRules
    ) -> None:
        _check(item, frames, numbers, rules)
        self.item = item
        self.numbers = tuple(numbers)
        self.shape = frames.height, frames.width
        self.first_position = self.numbers.index(item.first_frame)
        self.masks = tuple(self._given(number) for number in self.numbers)
        self.bad_positions = self._bad_positions()
        self.anchors = self._anchors()

    def open_range(self, edited: Sequence[int]) -> tuple[int, int]:
        """The positions that propagation may change, both inclusive: the bad range grown by the edited ones."""
        if not self.bad_positions:
            return 0, len(self.numbers) - 1
        return min([self.bad_positions[0], *edited]), max([self.bad_positions[-1], *edited])

    def _given(self, number: int) -> Rle | None:
        """The item's own mask of a source frame."""
        rle = self.item.masks.get(number)
        if rle is not None and (rle.height, rle.width) != self.shape:
            raise ActionError(
                f"{self.item.task_id}: the mask of frame {number} is {rle.height}x{rle.width} pixels, "
                f"the video {self.shape[0]}x{self.shape[1]} (height x width)."
            )
        return rle

    def _bad_positions(self) -> range:
        """The item's bad range, cut to the annotated frames; empty if nothing is left of it."""
        if self.item.bad_range is None:
            return range(0)
        first, last = self.item.bad_range
        inside = [position for position, number in enumerate(self.numbers) if first <= number <= last]
        return range(inside[0], inside[-1] + 1) if inside else range(0)

    def _anchors(self) -> Mapping[int, Rle]:
        """Masks that the tracker starts from.

        They are that of the first frame and those next to the bad range; if the first frame is bad or shows
        no object, that of the first frame that does.
        """
        given = {position: mask for position, mask in enumerate(self.masks) if mask is not None}
        good = [position for position in given if position not in self.bad_positions]
        before = [position for position in good if position < self.bad_positions.start]
        after = [position for position in good if position >= self.bad_positions.stop]
        beside = {*before[-1:], *after[:1]} if self.bad_positions else set()
        visible = [position for position in good if not is_empty(given[position])]
        visible = visible or [position for position in given if not is_empty(given[position])]
        start = {self.first_position} if self.first_position in visible else set(visible[:1])
        return {position: given[position] for position in sorted(beside | start)}


def _check(item: WorkItem, frames: FrameSource, numbers: Sequence[int], rules: PhaseRules) -> None:
    if item.kind != "annotate":
        raise ActionError(
            f"{item.task_id} is an item to {item.kind}; the annotation tool opens items to annotate."
        )
    if rules.phase != item.phase:
        raise ActionError(f"{item.task_id} belongs to phase {item.phase}, the rules to phase {rules.phase}.")
    if len(frames) != len(numbers):
        raise ActionError(f"Video {item.video_id}: {len(frames)} frames but {len(numbers)} frame numbers.")
    if item.first_frame not in numbers:
        raise ActionError(f"{item.task_id}: first frame {item.first_frame} is not an annotated frame.")
