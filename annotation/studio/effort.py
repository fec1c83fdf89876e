"""What a submission cost its author, exactly as the log of the pages has it.

Every click is one event, however often it was delivered. An act lasts since the one before, but no longer than
`idle_s`: what a pause has beyond that is idle, and no work. Strokes and marks that came to light only at the next
request, or in the submission itself, share the time until then with it.

Label Studio's `lead_time` (wall clock since the page was loaded) is used where the log cannot know: for the look before
the first act, and for pages without a model behind them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from annotation.pages.events import StudioEvent, StudioEventKind
from annotation.work import EffortEvent, EventKind, Selection

__all__ = ["Act", "annotation_effort", "of_person", "selection_effort", "verdict_effort", "working_s"]

_KINDS: dict[StudioEventKind, EventKind] = {
    "click": "click",
    "box": "box",
    "mask": "brush",
    "brush": "brush",
    "absent": "absent",
    "occluded": "examine",
    "visible": "examine",
    "undo": "undo",
    "reset": "reset",
    "refused": "examine",
}
_COMMANDS: dict[str, EventKind] = {
    "p": "propagate",
    "b": "propagate",
    "pp": "propagate",
    "u": "undo",
    "r": "reset",
    "n": "locate",
}
_SEEN_LATE: frozenset[StudioEventKind] = frozenset({"mask", "brush", "absent", "occluded", "visible", "undo"})
"""What the model server may learn of only from a later draft."""


@dataclass(frozen=True, slots=True)
class Act:
    """One act. at: when it was seen, in seconds since 1970. late: it was done some time before."""

    kind: EventKind
    at: float
    frame: int | None = None
    x: float | None = None
    y: float | None = None
    positive: bool | None = None
    late: bool = False


def of_person(events: Sequence[StudioEvent], person: str) -> list[StudioEvent]:
    """A person's events, each once, by time.

    Acts from before anybody knew who it was carry a token in front of their ids; the `open` event of the person they
    turned out to be names it. Such acts that nobody claimed belong to whoever hands in.
    """
    claims = {event.region: event.person.lower() for event in events if event.kind == "open" and event.region}
    found: dict[object, StudioEvent] = {}
    for event in sorted(events, key=lambda event: event.order):
        if _author(event, claims) in (person, ""):
            found.setdefault(_identity(event), event)
    return list(found.values())


def annotation_effort(
    events: Sequence[StudioEvent],
    unseen: Sequence[tuple[EventKind, int]],
    *,
    handed_in_at: float,
    lead_time_s: float,
    idle_s: float,
) -> tuple[EffortEvent, ...]:
    """The effort of one person at one ticket.

    events: theirs, by time (see `of_person`). unseen: acts that only the submission tells of, with their source frames.
    handed_in_at: when, in seconds since 1970.
    """
    acts = [act for event in events if (act := _act(event)) is not None]
    handed_in_at = max([handed_in_at, *(act.at for act in acts)])
    acts += [Act(kind, handed_in_at, frame, late=True) for kind, frame in unseen]
    acts.append(Act("submit", handed_in_at))
    first = min((event.at for event in events), default=handed_in_at)
    loaded = min(first, max(handed_in_at - lead_time_s, first - idle_s * (1 + len(unseen))))
    return tuple(_timed(acts, start=loaded, idle_s=idle_s))


def selection_effort(
    selections: Sequence[Selection], *, lead_time_s: float, idle_s: float
) -> tuple[EffortEvent, ...]:
    """The effort of choosing objects: all of them took the time the page was open."""
    acts = [
        Act("box" if one.box else "click", lead_time_s, one.first_frame, one.x, one.y, late=True)
        for one in selections
    ]
    return tuple(_timed([*acts, Act("submit", lead_time_s)], start=0.0, idle_s=idle_s))


def verdict_effort(stretches: int, *, lead_time_s: float, idle_s: float) -> tuple[EffortEvent, ...]:
    """The effort of judging a masklet and marking some `stretches` of it: the time the page was open."""
    return tuple(_timed([Act("verdict", lead_time_s)], start=0.0, idle_s=idle_s * (2 + stretches)))


def working_s(effort: Iterable[EffortEvent]) -> float:
    """Seconds of work, pauses left out."""
    return round(sum(event.duration_s for event in effort), 3)


def _act(event: StudioEvent) -> Act | None:
    """The act that an event tells of; None for what the pages and the server do among themselves."""
    kind = _COMMANDS.get(event.text.strip(), "examine") if event.kind == "command" else _KINDS.get(event.kind)
    if kind is None:
        return None
    late = event.kind in _SEEN_LATE and not event.region
    x, y = _middle(event.text) if event.kind == "box" else (event.x, event.y)
    return Act(kind, event.at, event.frame, x, y, event.positive, late=late)


def _middle(corners: str) -> tuple[float | None, float | None]:
    """The middle of a box that the log has as `[x0, y0, x1, y1]`."""
    try:
        x0, y0, x1, y1 = map(float, json.loads(corners))
    except (ValueError, TypeError):
        return None, None
    return (x0 + x1) / 2, (y0 + y1) / 2


def _author(event: StudioEvent, claims: dict[str, str]) -> str:
    if event.person:
        return event.person.lower()
    token = event.event_id.partition("-")[0]
    return claims.get(token, "")


def _identity(event: StudioEvent) -> object:
    """The same prompt of a page is one act, also when it was sent again after the server had forgotten it."""
    if event.region and event.kind != "open":
        return event.kind, event.region
    return event.event_id


def _timed(acts: Sequence[Act], *, start: float, idle_s: float) -> Iterator[EffortEvent]:
    """Acts in their order with begin and duration, counted from `start`."""
    before = start
    for group in _groups(acts):
        now = max(before, group[-1].at)
        share = min((now - before) / len(group), idle_s)
        begin = now - share * len(group)
        if begin - before > 1e-3:
            yield EffortEvent("idle", None, None, None, None, round(before - start, 3), 0.0)
        for number, act in enumerate(group):
            at_s = round(begin + share * number - start, 3)
            yield EffortEvent(
                act.kind, act.frame, act.x, act.y, act.positive, max(at_s, 0.0), round(share, 3)
            )
        before = now


def _groups(acts: Sequence[Act]) -> Iterator[list[Act]]:
    """Acts that were seen late, together with the one after them."""
    group: list[Act] = []
    for act in acts:
        group.append(act)
        if not act.late:
            yield group
            group = []
    if group:
        yield group
