"""The annotation tool: one person, one masklet, one sitting. What a page drives, and simulated people too.

The session knows positions 0, 1, … in the annotated frames; what it hands in speaks of source frames. It
enforces the phase's rules, lets the model answer, keeps what a person corrected, and writes down every act
with its time.

    phase 1   clicks → SAM on that frame alone; brush; no propagation
    phase 2   the same on any frame, then `propagate` carries masks on (SAM 2 Mask)
    phase 3   clicks refine the tracker's own prediction, `propagate` carries everything on (SAM 2)

In a revision with a bad range only that range (grown by the frames the person edits) may change by
propagation; the masks beside it serve as prompts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from annotation.assistance import SessionTools, Tracker
from annotation.diary import Clock, Diary
from annotation.errors import ActionError
from annotation.work import (
    EventKind,
    FrameMask,
    PhaseRules,
    Submission,
    WorkItem,
    submission_id,
)
from model.errors import PromptError
from model.prompts import Box, Click
from model.video.video_session import FrameSource
from storage import masks as rle_masks

__all__ = ["AnnotationSession"]

BoolMask = npt.NDArray[np.bool_]


@dataclass(slots=True)
class _Frame:
    """One annotated frame as it stands: its mask (None: nothing yet) and what the person did to it."""

    mask: BoolMask | None = None
    score: float | None = None
    clicks: tuple[Click, ...] = ()
    box: Box | None = None
    click_count: int = 0
    edited: bool = False
    locked: bool = False


class AnnotationSession:
    """One sitting on one work item of kind "annotate".

    frames: the annotated frames, uint8 [H, W, 3] RGB each. frame_numbers: their source frames, in the same
    order. tools: the loaded model. clock: an act lasts from the end of the one before. Raises ActionError
    when the item is of another kind, or does not fit the frames or the rules.
    """

    def __init__(
        self,
        item: WorkItem,
        frames: FrameSource,
        frame_numbers: Sequence[int],
        *,
        tools: SessionTools,
        rules: PhaseRules,
        clock: Clock,
    ) -> None:
        _check_item(item, frames, frame_numbers, rules)
        self.item = item
        self.rules = rules
        self.shape = frames.height, frames.width
        self._numbers = tuple(frame_numbers)
        self._position = {number: position for position, number in enumerate(self._numbers)}
        self._frames = [_Frame(mask=self._given(number)) for number in self._numbers]
        self._range = self._bad_positions()
        self._sam = tools.image_assistant(frames)
        self._tracker = tools.tracker(item.video_id, frames, rules) if rules.propagates else None
        self._diary = Diary(clock)
        if self._tracker:
            self._tracker.start_from(self._anchors())

    def __len__(self) -> int:
        """How many annotated frames there are."""
        return len(self._frames)

    @property
    def masks(self) -> tuple[BoolMask | None, ...]:
        """By position: the mask as it stands, bool [H, W], read-only; None where there is none yet."""
        return tuple(frame.mask for frame in self._frames)

    @property
    def scores(self) -> tuple[float | None, ...]:
        """By position: the model's predicted IoU, 0 to 1; None for masks that no model made here."""
        return tuple(frame.score for frame in self._frames)

    @property
    def edited(self) -> tuple[bool, ...]:
        """By position: whether the person made or changed the mask in this session."""
        return tuple(frame.edited for frame in self._frames)

    @property
    def locked(self) -> tuple[bool, ...]:
        """By position: whether the person vouches for the mask, so that propagation keeps it."""
        return tuple(frame.locked for frame in self._frames)

    def frame_number(self, position: int) -> int:
        """The source frame at a position."""
        self._at(position)
        return self._numbers[position]

    @property
    def first_position(self) -> int:
        """Where the item's first frame is."""
        return self._position[self.item.first_frame]

    @property
    def bad_positions(self) -> range:
        """Where a verifier saw faults; empty in a first revision."""
        return range(0) if self._range is None else range(self._range[0], self._range[1] + 1)

    def examine(self, position: int) -> None:
        """The person looked at a frame."""
        self._at(position)
        self._log("examine", position)

    def locate(self, position: int) -> None:
        """The person found the place that is wrong."""
        self._at(position)
        self._log("locate", position)

    def accept(self, position: int) -> None:
        """The person looked at a frame and vouches for its mask. ActionError if it has none."""
        frame = self._at(position)
        if frame.mask is None:
            raise ActionError(f"There is no mask to accept on {self._name(position)}.")
        if not frame.locked and self._tracker:
            self._tracker.set_mask(position, frame.mask)
        frame.locked = True
        self._log("examine", position)

    def click(self, position: int, x: float, y: float, positive: bool = True) -> None:
        """One click in pixels of the frame; the model answers with a new mask of that frame.

        Clicks on a frame add up. In phases 1 and 2 the first one starts a new mask; in phase 3 it refines the
        prediction that is there.
        """
        frame = self._at(position)
        try:
            click = Click(x, y, positive)
            click.check_inside(height=self.shape[0], width=self.shape[1])
        except PromptError as error:
            raise ActionError(f"{error} ({self._name(position)})") from error
        self._answer(position, frame, clicks=(*frame.clicks, click), box=frame.box)
        frame.click_count += 1
        self._diary.note("click", self._numbers[position], at=(x, y), positive=positive)

    def box(self, position: int, box: Box) -> None:
        """A box around the object, in pixels of the frame; it replaces the box and clicks that were there."""
        frame = self._at(position)
        try:
            box.check_inside(height=self.shape[0], width=self.shape[1])
        except PromptError as error:
            raise ActionError(f"{error} ({self._name(position)})") from error
        self._sam.forget(position)
        self._answer(position, frame, clicks=(), box=box)
        middle = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
        self._diary.note("box", self._numbers[position], at=middle)

    def brush(self, position: int, mask: BoolMask) -> None:
        """A mask painted by hand, bool [H, W]; it replaces whatever was on the frame."""
        self._replace(position, mask)
        self._log("brush", position)

    def mark_absent(self, position: int) -> None:
        """The object is not on this frame."""
        self._replace(position, np.zeros(self.shape, dtype=bool))
        self._log("absent", position)

    def propagate(self, start: int | None = None) -> frozenset[int]:
        """Carry the masks on: from position `start` forward, or without it through the whole video.

        Frames that the person edited or accepted keep their masks. Returns the positions that got a new mask.
        ActionError in phase 1, or while there is nothing to carry on.
        """
        if self._tracker is None:
            raise ActionError(f"Phase {self.rules.phase} has no tracker: every frame is annotated by itself.")
        if not self._tracker.has_prompts:
            raise ActionError("There is nothing to propagate yet: make a mask on some frame first.")
        if start is not None:
            self._at(start)
        changed = frozenset(self._track(self._tracker, start))
        self._log("propagate", start)
        return changed

    def submit(self, actor: str) -> Submission:
        """Hand in the masks of all frames. ActionError names the frames that have none."""
        missing = [
            number for number, frame in zip(self._numbers, self._frames, strict=True) if frame.mask is None
        ]
        if missing:
            shown = ", ".join(map(str, missing[:5])) + (", …" if len(missing) > 5 else "")
            raise ActionError(
                f"{len(missing)} of {len(self)} frames of {self.item.task_id} have no mask yet: {shown}. "
                "Annotate them or mark the object absent there."
            )
        self._log("submit", None)
        return Submission(
            submission_id=submission_id(self.item.task_id, actor),
            task_id=self.item.task_id,
            actor=actor,
            masks=tuple(self._frame_mask(position) for position in range(len(self))),
            effort=self._diary.events,
        )

    def _given(self, number: int) -> BoolMask | None:
        """The item's own mask of a source frame."""
        rle = self.item.masks.get(number)
        if rle is None:
            return None
        if (rle.height, rle.width) != self.shape:
            raise ActionError(
                f"{self.item.task_id}: the mask of frame {number} is {rle.height}x{rle.width} pixels, "
                f"the video {self.shape[0]}x{self.shape[1]} (height x width)."
            )
        return _frozen(rle_masks.decode(rle))

    def _bad_positions(self) -> tuple[int, int] | None:
        """The item's bad range as positions, cut to the annotated frames; None if nothing is left of it."""
        if self.item.bad_range is None:
            return None
        first, last = self.item.bad_range
        inside = [position for position, number in enumerate(self._numbers) if first <= number <= last]
        return (inside[0], inside[-1]) if inside else None

    def _anchors(self) -> dict[int, BoolMask]:
        """Masks of the item that the tracker starts from.

        They are that of the first frame and those next to the bad range; if the first frame is bad or shows
        no object, that of the first frame that does.
        """
        given = {
            position: frame.mask for position, frame in enumerate(self._frames) if frame.mask is not None
        }
        good = [position for position in given if position not in self.bad_positions]
        before = [position for position in good if position < self.bad_positions.start]
        after = [position for position in good if position >= self.bad_positions.stop]
        beside = {*before[-1:], *after[:1]} if self.bad_positions else set()
        visible = [position for position in good if given[position].any()]
        visible = visible or [position for position in given if given[position].any()]
        start = {self.first_position} if self.first_position in visible else set(visible[:1])
        return {position: given[position] for position in sorted(beside | start)}

    def _open_range(self) -> tuple[int, int]:
        """Positions that propagation may change, both inclusive."""
        if self._range is None:
            return 0, len(self._frames) - 1
        edited = [position for position, frame in enumerate(self._frames) if frame.edited]
        return min([self._range[0], *edited]), max([self._range[1], *edited])

    def _track(self, tracker: Tracker, start: int | None) -> Iterator[int]:
        """Show the tracker's masks on all frames that may change; yields their positions."""
        first, last = self._open_range()
        if start is not None:
            first = max(first, start)
        for answer in tracker.propagate(first, last, forward_only=start is not None):
            frame = self._frames[answer.position]
            if not frame.locked:
                self._show(frame, answer.mask, answer.score)
                yield answer.position

    def _answer(self, position: int, frame: _Frame, *, clicks: tuple[Click, ...], box: Box | None) -> None:
        """Ask the model for the frame's mask under all these prompts, and keep both."""
        if self._tracker and self.rules.tracker_prompts == "all":
            answer = self._tracker.refine(position, clicks, box)
        else:
            answer = self._sam.answer(position, clicks, box)
            if self._tracker:
                self._tracker.set_mask(position, answer.mask)
        frame.clicks, frame.box = clicks, box
        self._show(frame, answer.mask, answer.score)
        frame.edited = frame.locked = True

    def _replace(self, position: int, mask: BoolMask) -> None:
        frame = self._at(position)
        if mask.shape != self.shape or mask.dtype != np.bool_:
            raise ActionError(
                f"A mask for {self._name(position)} must be bool {self.shape} (height, width), "
                f"not {mask.dtype} {mask.shape}."
            )
        own = mask.copy()
        frame.clicks, frame.box = (), None
        self._sam.forget(position)
        self._show(frame, own, None)
        frame.edited = frame.locked = True
        if self._tracker:
            self._tracker.set_mask(position, own)

    def _show(self, frame: _Frame, mask: BoolMask, score: float | None) -> None:
        frame.mask = _frozen(mask)
        frame.score = score

    def _at(self, position: int) -> _Frame:
        if not 0 <= position < len(self._frames):
            raise ActionError(
                f"Position {position} is outside the video: it has {len(self._frames)} annotated frames, "
                f"0 to {len(self._frames) - 1}."
            )
        return self._frames[position]

    def _name(self, position: int) -> str:
        return f"position {position}, source frame {self._numbers[position]}"

    def _frame_mask(self, position: int) -> FrameMask:
        frame = self._frames[position]
        assert frame.mask is not None  # submit has checked all frames
        return FrameMask(
            frame=self._numbers[position],
            rle=rle_masks.encode(frame.mask),
            edited=frame.edited,
            clicks=frame.click_count,
            locked=frame.locked,
        )

    def _log(self, kind: EventKind, position: int | None) -> None:
        self._diary.note(kind, None if position is None else self._numbers[position])


def _frozen(mask: BoolMask) -> BoolMask:
    mask.setflags(write=False)
    return mask


def _check_item(item: WorkItem, frames: FrameSource, frame_numbers: Sequence[int], rules: PhaseRules) -> None:
    if item.kind != "annotate":
        raise ActionError(
            f"{item.task_id} is an item to {item.kind}; the annotation tool opens items to annotate."
        )
    if rules.phase != item.phase:
        raise ActionError(f"{item.task_id} belongs to phase {item.phase}, the rules to phase {rules.phase}.")
    if len(frames) != len(frame_numbers):
        raise ActionError(
            f"Video {item.video_id}: {len(frames)} frames but {len(frame_numbers)} frame numbers."
        )
    if item.first_frame not in frame_numbers:
        raise ActionError(f"{item.task_id}: first frame {item.first_frame} is not an annotated frame.")
