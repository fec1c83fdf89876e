"""The annotation tool: one person, one masklet, one sitting. What a page drives, and simulated people too.

The session knows positions 0, 1, … in the annotated frames; what it hands in speaks of source frames. It
enforces the phase's rules, lets the model answer, keeps what a person corrected, and writes down every act
with its time.

    phase 1   clicks → SAM on that frame alone; brush; no propagation
    phase 2   the same on any frame, then `propagate` carries masks on (SAM 2 Mask)
    phase 3   clicks refine the tracker's own prediction, `propagate` carries everything on (SAM 2)

In a revision with a bad range only that range (grown by the frames the person edits) may change by
propagation; the masks beside it serve as prompts.

Every act on a frame can be taken back, and `standing` of all frames is enough to go on in another sitting.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from annotation.answer import BoolMask
from annotation.assistance import SessionTools
from annotation.diary import Clock, Diary
from annotation.errors import ActionError
from annotation.frame_states import ShownMasks, Standing
from annotation.opened_item import OpenedItem
from annotation.suggestions import worst_positions
from annotation.work import EventKind, FrameMask, PhaseRules, Submission, WorkItem, submission_id
from annotation.working_masks import Direction, WorkingMasks
from model.errors import PromptError
from model.prompts import Box, Click
from model.video.video_session import FrameSource
from storage.masks import empty, encode

__all__ = ["AnnotationSession", "Direction"]


class AnnotationSession:
    """One sitting on one work item of kind "annotate".

    Any number may be open on one video; each is for one thread at a time.

    frames: the annotated frames, uint8 [H, W, 3] RGB each. frame_numbers: their source frames, in the same
    order. tools: the loaded model. clock: an act lasts from the end of the one before. scores: the model's opinion
    of the item's masks by source frame, 0 to 1. catch_up: for people who wait, see `Tracker`; None for programs.
    Raises ActionError when the item is of another kind, or does not fit the frames or the rules.
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
        scores: Mapping[int, float] | None = None,
        catch_up: int | None = None,
    ) -> None:
        self._opened = OpenedItem(item, frames, frame_numbers, rules)
        self.item = item
        self.rules = rules
        self.shape = self._opened.shape
        self._numbers = self._opened.numbers
        self._given_scores = scores or {}
        self._work = WorkingMasks(self._opened, frames, tools=tools, rules=rules, catch_up=catch_up)
        self._frames = self._work.frames
        self._diary = Diary(clock)

    def __len__(self) -> int:
        """How many annotated frames there are."""
        return len(self._frames)

    @property
    def masks(self) -> Sequence[BoolMask | None]:
        """By position: the mask as it stands now, bool [H, W], read-only; None where there is none yet."""
        return ShownMasks([frame.mask for frame in self._frames])

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

    @property
    def byte_size(self) -> int:
        """Bytes that this sitting holds, roughly: masks, what can be taken back, and what the tracker remembers."""
        return self._work.byte_size

    def frame_number(self, position: int) -> int:
        """The source frame at a position."""
        self._at(position)
        return self._numbers[position]

    @property
    def first_position(self) -> int:
        """Where the item's first frame is."""
        return self._opened.first_position

    @property
    def bad_positions(self) -> range:
        """Where a verifier saw faults; empty in a first revision."""
        return self._opened.bad_positions

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
        if not frame.locked:
            self._work.accept(position, frame.mask)
        self._log("examine", position)

    def click(self, position: int, x: float, y: float, positive: bool = True) -> None:
        """One click in pixels of the frame; the model answers with a new mask of that frame.

        Clicks on a frame add up. In phases 1 and 2 the first one starts a new mask, unless the mask was painted;
        in phase 3 it refines what is there.
        """
        frame = self._at(position)
        try:
            click = Click(x, y, positive)
            click.check_inside(height=self.shape[0], width=self.shape[1])
        except PromptError as error:
            raise ActionError(f"{error} ({self._name(position)})") from error
        self._work.ask(
            position, replace(frame, clicks=(*frame.clicks, click), click_count=frame.click_count + 1)
        )
        self._diary.note("click", self._numbers[position], at=(x, y), positive=positive)

    def box(self, position: int, box: Box) -> None:
        """A box around the object, in pixels of the frame; it replaces the box and clicks that were there."""
        frame = self._at(position)
        try:
            box.check_inside(height=self.shape[0], width=self.shape[1])
        except PromptError as error:
            raise ActionError(f"{error} ({self._name(position)})") from error
        self._work.ask(position, replace(frame, clicks=(), box=box), afresh=True)
        middle = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
        self._diary.note("box", self._numbers[position], at=middle)

    def brush(self, position: int, mask: BoolMask) -> None:
        """A mask painted by hand, bool [H, W]; it replaces whatever was on the frame. Later clicks refine it."""
        self._at(position)
        if mask.shape != self.shape or mask.dtype != np.bool_:
            raise ActionError(
                f"A mask for {self._name(position)} must be bool {self.shape} (height, width), "
                f"not {mask.dtype} {mask.shape}."
            )
        self._work.replace(position, encode(mask))
        self._log("brush", position)

    def mark_absent(self, position: int) -> None:
        """The object is not on this frame."""
        self._at(position)
        self._work.replace(position, empty(*self.shape))
        self._log("absent", position)

    def reset(self, position: int) -> None:
        """Take away all that the person said about a frame; it is as if nobody had been there.

        The mask is what the tracker says if it has come there, else the item's own, or none.
        """
        self._at(position)
        self._work.reset(position)
        self._log("reset", position)

    def undo(self, position: int) -> bool:
        """Take back the last act on a frame; False if there is none (or it was 64 acts ago)."""
        self._at(position)
        if not self._work.undo(position):
            return False
        self._log("undo", position)
        return True

    def propagate(self, start: int | None = None, *, direction: Direction | None = None) -> frozenset[int]:
        """Carry the masks on: from position `start` forward, or without it through the whole video.

        direction: from `start` only "forward" or "backward", or "both" ways; without `start` from the first frame
        that has a prompt. Frames that the person edited or accepted keep their masks. Returns the positions that got
        a new mask. ActionError in phase 1, or while there is nothing to carry on.
        """
        return frozenset(self.propagating(start, direction=direction))

    def propagating(self, start: int | None = None, *, direction: Direction | None = None) -> Iterator[int]:
        """Like `propagate`, one frame a step: yields the positions that got a new mask, as soon as they have it.

        It may be left at any step; frames that it did not come to stay as they are.
        """
        if not self.rules.propagates:
            raise ActionError(f"Phase {self.rules.phase} has no tracker: every frame is annotated by itself.")
        if not self._work.has_prompts:
            raise ActionError("There is nothing to propagate yet: make a mask on some frame first.")
        if start is not None:
            self._at(start)
        way = direction or ("both" if start is None else "forward")
        self._log("propagate", start)
        return self._work.carry(start, way)

    def suggest(self, count: int = 1) -> tuple[int, ...]:
        """Positions that the person should look at next, the worst first, at some distance from each other.

        Frames without a mask come first, in order, then those that the model is least sure of. Never one that the
        person edited or accepted, or one beside it.
        """
        missing = [position for position, frame in enumerate(self._frames) if frame.mask is None][:count]
        worth = [self._worth(position) for position in range(len(self))]
        done = [position for position, frame in enumerate(self._frames) if frame.edited or frame.locked]
        return (*missing, *worst_positions(worth, count - len(missing), done=[*done, *missing]))

    def standing(self, position: int) -> Standing:
        """All there is to know of a frame; `restore` makes it stand so again."""
        return self._at(position)

    def restore(self, standings: Mapping[int, Standing]) -> None:
        """Make frames stand as they did in another sitting on this item; nothing asks the model yet.

        Masks of edited and accepted frames are prompts of the tracker from now on, next to the item's own; clicks on
        a frame go on from those that it had. What was before can no longer be taken back.
        """
        for position, standing in standings.items():
            self._at(position)
            if standing.mask is not None and (standing.mask.height, standing.mask.width) != self.shape:
                raise ActionError(f"The mask of {self._name(position)} is not {self.shape} (height, width).")
        for position, standing in standings.items():
            self._work.restore(position, standing)

    def warm(self, around: int | None = None) -> Iterator[int]:
        """Encode frames ahead of the first click on them, one a step, yielding their positions.

        The nearest to position `around` first, without it the nearest to the frames that masks come from; as many as
        there is room for. It may be left at any step, and frames encoded already take no time. In phase 2 it goes
        through the video twice: for SAM's clicks, then for the tracker.
        """
        if around is not None:
            self._at(around)
        return self._work.warm(around)

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

    def _worth(self, position: int) -> float | None:
        """How sure the model is of a frame's mask, 0 to 1; None where nothing is known."""
        known = self._work.confidence(position)
        return self._given_scores.get(self._numbers[position]) if known is None else known

    def _at(self, position: int) -> Standing:
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
            rle=frame.mask,
            edited=frame.edited,
            clicks=frame.click_count,
            locked=frame.locked,
        )

    def _log(self, kind: EventKind, position: int | None) -> None:
        self._diary.note(kind, None if position is None else self._numbers[position])
