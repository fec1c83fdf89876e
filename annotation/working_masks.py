"""The masks of one sitting while they are worked on, and the model that works on them.

It keeps three things in step: how every frame stands, what SAM and the tracker have been told of it, and how it stood
before each act. It knows no rules for people and no clock: that is the session's part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Literal

from annotation.answer import Answer
from annotation.assistance import SessionTools, Tracker
from annotation.frame_states import ActHistory, Moment, Standing
from annotation.image_assistant import Ground
from annotation.opened_item import OpenedItem
from annotation.tracker import BESIDE
from annotation.work import PhaseRules
from model.video.frame_source import FrameSource
from storage.masks import Rle, encode, is_empty

__all__ = ["Direction", "WorkingMasks"]

Direction = Literal["both", "forward", "backward"]


class WorkingMasks:
    """`frames` are how the item's frames stand now, by position. `catch_up` is the `Tracker`'s."""

    def __init__(
        self,
        opened: OpenedItem,
        frames: FrameSource,
        *,
        tools: SessionTools,
        rules: PhaseRules,
        catch_up: int | None,
    ) -> None:
        self.frames = [Standing(mask) for mask in opened.masks]
        self._opened = opened
        self._history = ActHistory()
        self._stabilities = [1.0] * len(self.frames)
        self._passed: set[int] = set()  # positions that propagation has come to
        self._catch_up = catch_up
        self._clicks_to_sam = rules.tracker_prompts != "all"
        video = opened.item.video_id, opened.numbers
        self._sam = tools.image_assistant(video, frames)
        self._tracker = tools.tracker(video, frames, rules, catch_up=catch_up) if rules.propagates else None
        if self._tracker:
            self._tracker.start_from(opened.anchors)

    @property
    def has_prompts(self) -> bool:
        """Whether there is anything to propagate."""
        return self._tracker is not None and self._tracker.has_prompts

    @property
    def byte_size(self) -> int:
        """Bytes held, roughly: masks, what can be taken back, and what the model remembers."""
        tracker = self._tracker.byte_size if self._tracker else 0
        return sum(f.byte_size for f in self.frames) + self._history.byte_size + self._sam.byte_size + tracker

    # --- one frame

    def ask(self, position: int, asked: Standing, *, afresh: bool = False) -> None:
        """Ask the model for a frame's mask under all prompts of `asked`, and keep both."""
        before = self._moment(position)
        if self._tracker and not self._clicks_to_sam:
            self._say_what_is_shown(self._tracker, position)
            answer = self._tracker.refine(position, asked.clicks, asked.box)
        else:
            if afresh:
                self._sam.start_from(position, None)
            answer = self._sam.answer(position, asked.clicks, asked.box)
        self._history.push(position, before)
        self.frames[position] = replace(asked, edited=True, locked=True)
        mask = self._show(position, answer)
        if self._tracker and self._clicks_to_sam:
            self._tracker.set_mask(position, mask)

    def replace(self, position: int, mask: Rle) -> None:
        """Take a person's mask as it is; later clicks refine it."""
        self._history.push(position, self._moment(position))
        self._sam.start_from(position, None if is_empty(mask) else Ground(mask))
        clicked = self.frames[position].click_count
        self.frames[position] = Standing(mask, click_count=clicked, edited=True, locked=True)
        if self._tracker:
            self._tracker.set_mask(position, mask)

    def accept(self, position: int, mask: Rle) -> None:
        """Let the mask that a frame has stay."""
        self._history.push(position, self._moment(position))
        self.frames[position] = replace(self.frames[position], locked=True)
        if self._tracker:
            self._tracker.set_mask(position, mask)

    def reset(self, position: int) -> None:
        """Forget what the person said about a frame: the tracker's mask if it has come there, else the item's own."""
        self._history.push(position, self._moment(position))
        self._put_back(position, Moment(Standing(self._opened.masks[position])))
        if self._tracker and self._tracker.has_prompts and self._is_tracked(position):
            self._say_what_is_shown(self._tracker, position)
            self._show(position, self._tracker.predict(position))

    def undo(self, position: int) -> bool:
        """Take back the last act on a frame; False if there is none."""
        before = self._history.pop(position)
        if before is not None:
            self._put_back(position, before)
        return before is not None

    def restore(self, position: int, standing: Standing) -> None:
        """Make a frame stand as it did elsewhere; the model is not asked, and nothing can be taken back."""
        self._history.forget(position)
        made = standing.mask if standing.edited else None
        ground = None if made is None or is_empty(made) else Ground(made)
        self._put_back(position, Moment(standing, ground))
        if not standing.edited and standing.mask != self._opened.masks[position]:
            self._passed.update(range(len(self.frames)))  # whoever gave this mask had propagated

    # --- the whole video

    def carry(self, start: int | None, way: Direction) -> Iterator[int]:
        """Show the tracker's masks on the frames that no person vouches for; yields their positions."""
        assert self._tracker is not None  # the session has checked
        for answer in self._answers(self._tracker, start, way):
            self._passed.add(answer.position)
            if not self.frames[answer.position].locked:
                self._show(answer.position, answer)
                yield answer.position

    def confidence(self, position: int) -> float | None:
        """How sure the model is of a mask that it made here, 0 to 1: predicted IoU × stability."""
        score = self.frames[position].score
        return None if score is None else score * self._stabilities[position]

    def warm(self, around: int | None) -> Iterator[int]:
        """Encode frames, from a position or from those that masks come from outwards, while there is room."""
        middles = self._middles() if around is None else [around]
        positions = sorted(range(len(self.frames)), key=lambda place: _farness(place, middles))
        steps = [self._sam.warm] if self._clicks_to_sam else []  # what clicks wait for comes first
        steps += [self._tracker.warm] if self._tracker else []
        for step in steps:
            yield from takewhile(step, positions)

    # --- inside

    def _moment(self, position: int) -> Moment:
        return Moment(self.frames[position], self._sam.ground(position))

    def _put_back(self, position: int, moment: Moment) -> None:
        """Make a frame stand as it did, and with it what the model knows of it."""
        standing = moment.standing
        self.frames[position] = standing
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
        self.frames[position] = replace(self.frames[position], mask=mask, score=answer.score)
        self._stabilities[position] = answer.stability
        return mask

    def _say_what_is_shown(self, tracker: Tracker, position: int) -> None:
        """For people who wait: masks that the tracker can go on from without tracking all the way to a frame."""
        if self._catch_up is None:
            return
        for place in range(max(position - BESIDE, 0), min(position + BESIDE + 1, len(self.frames))):
            mask = self.frames[place].mask
            if mask is not None:
                tracker.show(place, mask)

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

    def _is_tracked(self, position: int) -> bool:
        """Whether propagation has come to a frame and may change it."""
        first, last = self._open_range()
        return position in self._passed - self._opened.anchors.keys() and first <= position <= last

    def _open_range(self) -> tuple[int, int]:
        """The positions that propagation may change, both inclusive."""
        return self._opened.open_range([position for position, f in enumerate(self.frames) if f.edited])

    def _middles(self) -> Sequence[int]:
        """Positions that masks come from."""
        locked = {position for position, frame in enumerate(self.frames) if frame.locked}
        return sorted(locked | self._opened.anchors.keys()) or [self._opened.first_position]


def _farness(place: int, middles: Sequence[int]) -> int:
    return min(abs(place - middle) for middle in middles)
