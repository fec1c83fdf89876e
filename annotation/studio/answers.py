"""From an annotation in Label Studio to what the engine counts: masks in source pixels, selections, a verdict.

A page shows masks smaller than they are. Where a page's mask is what one of the masks in the log looks like there,
that one is taken, exact to the pixel; only what a person painted by hand is brought back from the page's size.
Label Studio checks nothing, so everything is checked here; whatever is wrong is said in words meant for its author.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from annotation.errors import PageError
from annotation.pages.events import StudioEvent
from annotation.pages.marks import PageMarks, read_marks, read_selections, read_verdict
from annotation.pages.regions import BAD
from annotation.pages.tickets import Ticket
from annotation.pages.views import PageView
from annotation.studio.effort import annotation_effort, of_person, selection_effort, verdict_effort
from annotation.studio.ledger import Answer, Received
from annotation.work import EventKind, FrameMask, Submission, submission_id
from storage.masks import Rle, decode, empty, encode, is_empty

__all__ = ["read_answer"]

BoolMask = NDArray[np.bool_]

_LATEST_EVENT_S = 60.0
"""Acts of the log this long after a submission still belong to it: clocks of two machines differ."""

_PROMPTS = frozenset({"click", "box", "mask", "brush", "absent"})
"""Events by which a person makes or changes the mask of their frame."""


def read_answer(
    ticket: Ticket, received: Received, events: Sequence[StudioEvent], *, idle_s: float
) -> Answer:
    """What an annotation hands in for its ticket. PageError says what its author has to mend."""
    if not received.is_authors_own:
        raise PageError(
            "It was not its author, or nobody knows who, that saved this annotation last; "
            "hand it in again under your own account."
        )
    read = {"select": _selections, "annotate": _masks, "verify": _verdict}[ticket.item.kind]
    return Answer(
        ticket_id=ticket.ticket_id,
        annotation_id=received.annotation_id,
        content=received.content,
        updated_at=received.updated_at,
        lead_time_s=_lead_time_s(received),
        submission=read(ticket, received, events, idle_s),
    )


def _selections(
    ticket: Ticket, received: Received, events: Sequence[StudioEvent], idle_s: float
) -> Submission:
    item = replace(ticket.item, name=ticket.item.name or "object")  # what an object without a name is called
    chosen = read_selections(received.raw.get("result"), ticket.view, item)
    if len(chosen) > item.wanted:
        raise PageError(
            f"{len(chosen)} objects are chosen, {item.wanted} wanted: remove {len(chosen) - item.wanted}."
        )
    effort = selection_effort(chosen, lead_time_s=_lead_time_s(received), idle_s=idle_s)
    return Submission(
        submission_id=submission_id(item.task_id, received.actor),
        task_id=item.task_id,
        actor=received.actor,
        selections=chosen,
        effort=effort,
    )


def _verdict(ticket: Ticket, received: Received, events: Sequence[StudioEvent], idle_s: float) -> Submission:
    item = ticket.item
    verdict = read_verdict(received.raw.get("result"), ticket.view)
    stretches = sum(region["from_name"] == BAD for region in received.raw["result"])
    return Submission(
        submission_id=submission_id(item.task_id, received.actor),
        task_id=item.task_id,
        actor=received.actor,
        verdict=verdict,
        effort=verdict_effort(stretches, lead_time_s=_lead_time_s(received), idle_s=idle_s),
    )


def _masks(ticket: Ticket, received: Received, events: Sequence[StudioEvent], idle_s: float) -> Submission:
    item, view = ticket.item, ticket.view
    handed_in_at = _seconds(received.updated_at)
    own = of_person(events, received.actor)
    own = [event for event in own if event.at <= handed_in_at + _LATEST_EVENT_S]
    marks = read_marks(received.raw.get("result"), view)
    histories = _histories(ticket, own)
    frames = [_frame(ticket, marks, page, histories[frame]) for page, frame in enumerate(view.frames)]
    missing = [frame for frame, found in zip(view.frames, frames, strict=True) if found is None]
    if missing:
        raise PageError(
            f"{_listed(missing)} neither a mask nor the mark `absent`. Annotate {_them(missing)}, or mark the "
            "object absent there, then press Update."
        )
    found = [one for one in frames if one is not None]
    unseen = [(one.unseen, one.mask.frame) for one in found if one.unseen is not None]
    return Submission(
        submission_id=submission_id(item.task_id, received.actor),
        task_id=item.task_id,
        actor=received.actor,
        masks=tuple(one.mask for one in found),
        effort=annotation_effort(
            own, unseen, handed_in_at=handed_in_at, lead_time_s=_lead_time_s(received), idle_s=idle_s
        ),
    )


@dataclass(slots=True)
class _History:
    """What a frame looked like, oldest first; each state with whether the person's own act had made it.

    published: the mask it started from, None if it had none. faced: the person had the frame before them when its
    newest state came about; propagation reaches others.
    """

    published: Rle | None = None
    states: list[tuple[Rle | None, bool]] = field(default_factory=list)
    clicks: int = 0
    marked_absent: bool = False
    prompted_after_absent: bool = False
    faced: bool = False

    @property
    def latest(self) -> Rle | None:
        return self.states[-1][0] if self.states else self.published

    def follow(self, event: StudioEvent, frame: int) -> None:
        """Take in an event that touched the frame."""
        own = event.frame == frame
        if own and event.kind == "click":
            self.clicks += 1
        if own and event.kind in _PROMPTS:
            self.prompted_after_absent = self.marked_absent and event.kind != "absent"
            self.marked_absent = self.marked_absent or event.kind == "absent"
        if own and event.kind == "visible":
            self.marked_absent = self.prompted_after_absent = False
        if frame in event.answers or event.kind in ("undo", "reset"):
            self._show(event.answers.get(frame), by_hand=own and event.kind in _PROMPTS)
            self.faced = own or event.kind == "undo"

    def newest_of(self, mask: BoolMask, view: PageView) -> BoolMask:
        """What a page that hands in `mask` really shows.

        Label Studio hands in what it loaded for every page that was never turned to, whatever an answer put there
        since. So where the newest state came from elsewhere, an older one means the newest.
        """
        if self.faced or self.latest is None:
            return mask
        known = any(
            rle is not None and np.array_equal(view.shown(decode(rle)), mask) for rle, _ in self.states
        )
        return view.shown(decode(self.latest)) if known else mask

    def _show(self, rle: Rle | None, *, by_hand: bool) -> None:
        """A new state; an answer that repeats a mask, or goes back to an earlier one, keeps who made it."""
        earlier = [edited for known, edited in self.states if known == rle]
        self.states.append((rle, by_hand or (bool(earlier) and earlier[-1])))


def _histories(ticket: Ticket, events: Sequence[StudioEvent]) -> dict[int, _History]:
    """Every frame's states: what was published, then what each event left."""
    published = {**ticket.item.masks, **ticket.carried}
    histories = {
        frame: _History(published.get(frame), [(published.get(frame), False)]) for frame in ticket.view.frames
    }
    for event in events:
        for frame in _touched(event) & histories.keys():
            histories[frame].follow(event, frame)
    return histories


def _touched(event: StudioEvent) -> set[int]:
    """Frames an event is about; one that takes back acts names the frames that have no mask any more."""
    frames = {*event.answers, *(() if event.frame is None else (event.frame,))}
    if event.kind == "undo":
        frames |= {int(frame) for frame in event.text.split(",") if frame.isdigit()}
    return frames


@dataclass(frozen=True, slots=True)
class _Found:
    """One frame of a submission, and the act that only the submission tells of."""

    mask: FrameMask
    unseen: EventKind | None = None


def _frame(ticket: Ticket, marks: PageMarks, page: int, history: _History) -> _Found | None:
    """The frame a page shows; None if it has neither a mask nor a mark, and never had."""
    view = ticket.view
    frame = view.frame_of(page)
    mask, mark = marks.mask(page, view), marks.visibility.get(page)
    if mark == "absent":
        return _absent(view, page, mask, history)
    if mask is not None:
        mask = history.newest_of(mask, view)
    if mask is None or not mask.any():
        return _without_mask(ticket, frame, mask, history, occluded=mark == "occluded")
    for rle, edited in reversed(history.states):
        if rle is not None and np.array_equal(view.shown(decode(rle)), mask):
            return _Found(_frame_mask(frame, rle, edited, history, occluded=mark == "occluded"))
    base = None if history.latest is None else decode(history.latest)
    rle = encode(view.source(mask, base=base))
    return _Found(_frame_mask(frame, rle, True, history, occluded=mark == "occluded"), "brush")


def _absent(view: PageView, page: int, mask: BoolMask | None, history: _History) -> _Found:
    frame = view.frame_of(page)
    if history.prompted_after_absent and mask is not None and mask.any():
        raise PageError(
            f"Page {page + 1} (frame {frame}) is marked absent, but the object got a mask there after that: "
            "take back the mark or the mask, then press Update."
        )
    rle = empty(view.source_height, view.source_width)
    return _Found(_frame_mask(frame, rle, True, history), None if history.marked_absent else "absent")


def _without_mask(
    ticket: Ticket, frame: int, mask: BoolMask | None, history: _History, *, occluded: bool
) -> _Found | None:
    """A page without mask or mark: right where the object was absent before, an act of hand where it was not."""
    latest, view = history.latest, ticket.view
    nothing = empty(view.source_height, view.source_width)
    if latest is not None and is_empty(latest):
        edited = history.states[-1][1]
        if ticket.item.phase == 1 and ticket.item.revision == 1 and not edited and not occluded:
            return None  # an empty proposal is no person's word, and in phase 1 every frame needs one
        return _Found(_frame_mask(frame, nothing, edited, history, occluded=occluded))
    if latest is None or (mask is None and (ticket.item.phase == 1 or history.published is None)):
        return None  # never had one, or the only one was taken back
    return _Found(_frame_mask(frame, nothing, True, history, occluded=occluded), "absent")


def _frame_mask(
    frame: int, rle: Rle, edited: bool, history: _History, *, occluded: bool = False
) -> FrameMask:
    return FrameMask(
        frame=frame, rle=rle, edited=edited, clicks=history.clicks, locked=edited, occluded=occluded
    )


def _lead_time_s(received: Received) -> float:
    value = received.raw.get("lead_time")
    return max(float(value), 0.0) if isinstance(value, int | float) else 0.0


def _seconds(moment: str) -> float:
    try:
        return datetime.fromisoformat(moment).timestamp()
    except ValueError as error:
        raise PageError(f"The time of this annotation, {moment!r:.40}, is none.") from error


def _listed(frames: Sequence[int]) -> str:
    shown = ", ".join(map(str, frames[:8])) + (", …" if len(frames) > 8 else "")
    return f"Frame {shown} has" if len(frames) == 1 else f"Frames {shown} have"


def _them(frames: Sequence[int]) -> str:
    return "it" if len(frames) == 1 else "them"
