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
from typing import Literal

import numpy as np

from annotation.answer import Answer, BoolMask
from annotation.assistance import SessionTools, Tracker
from annotation.diary import Clock, Diary
from annotation.errors import ActionError
from annotation.frame_states import ActHistory, Moment, ShownMasks, Standing
from annotation.image_assistant import Ground
from annotation.opened_item import OpenedItem
from annotation.suggestions import worst_positions
from annotation.tracker import BESIDE
from annotation.work import EventKind, FrameMask, PhaseRules, Submission, WorkItem, submission_id
from model.errors import PromptError
from model.prompts import Box, Click
from model.video.video_session import FrameSource
from storage.masks import Rle, empty, encode, is_empty

__all__ = ["AnnotationSession", "Direction"]

Direction = Literal["both", "forward", "backward"]


class AnnotationSession:
    """One sitting on one work item of kind "annotate". Any number may be open on one video; not for several threads
    at the same time.

    frames: the annotated frames, uint8 [H, W, 3] RGB each. frame_numbers: their source frames, in the same
    order. tools: the loaded model. clock: an act lasts from the end of the one before. scores: the model's opinion
    of the item's masks by source frame, 0 to 1. catch_up: for people who wait, see `Tracker`. Raises ActionError
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
        scores: Mapping[int, float] | None = None,
        catch_up: int | None = None,
    ) -> None:
        self._opened = OpenedItem(item, frames, frame_numbers, rules)
        self.item = item
        self.rules = rules
        self.shape = self._opened.shape
        self._numbers = self._opened.numbers
        self._frames = [Standing(mask) for mask in self._opened.masks]
        self._history = ActHistory()
        self._given_scores = scores or {}
        self._stabilities = [1.0] * len(self._frames)
        self._passed: set[int] = set()  # positions that propagation has come to
        self._catch_up = catch_up
        video = item.video_id, self._numbers
        self._sam = tools.image_assistant(video, frames)
        self._tracker = tools.tracker(video, frames, rules, catch_up=catch_up) if rules.propagates else None
        self._diary = Diary(clock)
        if self._tracker:
            self._tracker.start_from(self._opened.anchors)

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
        masks = sum(frame.byte_size for frame in self._frames)
        tracker = self._tracker.byte_size if self._tracker else 0
        return masks + self._history.byte_size + self._sam.byte_size + tracker

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
            self._remember(position)
            if self._tracker:
                self._tracker.set_mask(position, frame.mask)
            self._frames[position] = replace(frame, locked=True)
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
        self._answer(
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
        self._answer(position, replace(frame, clicks=(), box=box), afresh=True)
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
        self._replace(position, encode(mask))
        self._log("brush", position)

    def mark_absent(self, position: int) -> None:
        """The object is not on this frame."""
        self._at(position)
        self._replace(position, empty(*self.shape))
        self._log("absent", position)

    def reset(self, position: int) -> None:
        """Take away all that the person said about a frame; it is as if nobody had been there.

        The mask is what the tracker says if it has come there, else the item's own, or none.
        """
        self._at(position)
        self._remember(position)
        self._put_back(position, Moment(Standing(self._opened.masks[position])))
        if self._tracker and self._tracker.has_prompts and self._is_tracked(position):
            self._say_what_is_shown(self._tracker, position)
            self._show(position, self._tracker.predict(position))
        self._log("reset", position)

    def undo(self, position: int) -> bool:
        """Take back the last act on a frame; False if there is none (or it was 64 acts ago)."""
        self._at(position)
        before = self._history.pop(position)
        if before is None:
            return False
        self._put_back(position, before)
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
        if self._tracker is None:
            raise ActionError(f"Phase {self.rules.phase} has no tracker: every frame is annotated by itself.")
        if not self._tracker.has_prompts:
            raise ActionError("There is nothing to propagate yet: make a mask on some frame first.")
        if start is not None:
            self._at(start)
        way = direction or ("both" if start is None else "forward")
        self._log("propagate", start)
        return self._carried(self._answers(self._tracker, start, way))

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
            self._history.forget(position)
            made = standing.mask if standing.edited else None
            ground = None if made is None or is_empty(made) else Ground(made)
            self._put_back(position, Moment(standing, ground))
            if not standing.edited and standing.mask != self._opened.masks[position]:
                self._passed.update(range(len(self)))

    def warm(self, around: int | None = None) -> Iterator[int]:
        """Encode frames ahead of the first click on them, one a step, yielding their positions.

        The nearest to position `around` first, without it the nearest to the frames that masks come from; as many as
        there is room for. It may be left at any step, and frames encoded already take no time.
        """
        if around is not None:
            self._at(around)
        middles = self._middles() if around is None else [around]
        return self._warmed(
            sorted(range(len(self)), key=lambda p: (min(abs(p - middle) for middle in middles), p))
        )

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

    # --- inside: acts on one frame

    def _remember(self, position: int) -> None:
        """An act on a frame begins; it can be taken back."""
        self._history.push(position, Moment(self._frames[position], self._sam.ground(position)))

    def _answer(self, position: int, asked: Standing, *, afresh: bool = False) -> None:
        """Ask the model for the frame's mask under all prompts of `asked`, and keep both."""
        before = Moment(self._frames[position], self._sam.ground(position))
        if self._tracker and self.rules.tracker_prompts == "all":
            answer = self._refined(self._tracker, position, asked)
        else:
            if afresh:
                self._sam.start_from(position, None)
            answer = self._sam.answer(position, asked.clicks, asked.box)
        self._history.push(position, before)
        self._frames[position] = replace(asked, edited=True, locked=True)
        mask = self._show(position, answer)
        if self._tracker and self.rules.tracker_prompts == "masks":
            self._tracker.set_mask(position, mask)

    def _refined(self, tracker: Tracker, position: int, asked: Standing) -> Answer:
        """The tracker's answer; a person who waits sees their click refine what is shown."""
        self._say_what_is_shown(tracker, position)
        return tracker.refine(position, asked.clicks, asked.box)

    def _say_what_is_shown(self, tracker: Tracker, position: int) -> None:
        """For people who wait: masks that the tracker can go on from without tracking all the way to a frame."""
        if self._catch_up is None:
            return
        for place in range(max(position - BESIDE, 0), min(position + BESIDE + 1, len(self))):
            mask = self._frames[place].mask
            if mask is not None:
                tracker.show(place, mask)

    def _replace(self, position: int, mask: Rle) -> None:
        """Take a person's mask as it is."""
        self._remember(position)
        self._sam.start_from(position, None if is_empty(mask) else Ground(mask))
        frame = self._frames[position]
        self._frames[position] = Standing(mask, click_count=frame.click_count, edited=True, locked=True)
        if self._tracker:
            self._tracker.set_mask(position, mask)

    def _put_back(self, position: int, moment: Moment) -> None:
        """Make a frame stand as it did, and with it what the model knows of it."""
        standing = moment.standing
        self._frames[position] = standing
        self._stabilities[position] = 1.0
        self._sam.start_from(position, moment.ground)
        if self._tracker is None:
            return
        self._tracker.release(position)
        prompt = standing.mask if standing.locked else self._opened.anchors.get(position)
        if prompt is not None:
            self._tracker.set_mask(position, prompt)
        elif standing.mask is not None:
            self._tracker.show(position, standing.mask)

    def _show(self, position: int, answer: Answer) -> Rle:
        """Put the model's answer on a frame."""
        mask = encode(answer.mask)
        self._frames[position] = replace(self._frames[position], mask=mask, score=answer.score)
        self._stabilities[position] = answer.stability
        return mask

    # --- inside: the whole video

    def _is_tracked(self, position: int) -> bool:
        """Whether propagation has come to a frame and may change it."""
        first, last = self._open_range()
        return position in self._passed - self._opened.anchors.keys() and first <= position <= last

    def _open_range(self) -> tuple[int, int]:
        """The positions that propagation may change, both inclusive."""
        edited = [position for position, frame in enumerate(self._frames) if frame.edited]
        return self._opened.open_range(edited)

    def _answers(self, tracker: Tracker, start: int | None, way: Direction) -> Iterator[Answer]:
        """The tracker's answers on all frames that may change."""
        first, last = self._open_range()
        if start is None and way == "both":
            yield from tracker.propagate(first, last, forward_only=False)
            return
        origin = tracker.earliest if start is None else start
        if way != "backward":
            yield from tracker.propagate(max(first, origin), last, forward_only=True)
        if way != "forward":
            yield from tracker.propagate_backward(first, min(last, origin))

    def _carried(self, answers: Iterator[Answer]) -> Iterator[int]:
        """Show answers on the frames that no person vouches for; yields their positions."""
        for answer in answers:
            self._passed.add(answer.position)
            if not self._frames[answer.position].locked:
                self._show(answer.position, answer)
                yield answer.position

    def _worth(self, position: int) -> float | None:
        """How sure the model is of a frame's mask, 0 to 1; None where nothing is known."""
        frame = self._frames[position]
        if frame.score is None:
            return self._given_scores.get(self._numbers[position])
        return frame.score * self._stabilities[position]

    def _middles(self) -> list[int]:
        """Positions that masks come from."""
        locked = {position for position, frame in enumerate(self._frames) if frame.locked}
        return sorted(locked | self._opened.anchors.keys()) or [self.first_position]

    def _warmed(self, positions: Sequence[int]) -> Iterator[int]:
        for position in positions:
            if self.rules.tracker_prompts != "all" and not self._sam.warm(position):
                return
            if self._tracker and not self._tracker.warm(position):
                return
            yield position

    # --- inside: small things

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
