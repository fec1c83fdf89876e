"""Who sits at what: a sitting for each ticket and person, opened when asked for, closed when memory is short.

Nobody says who is calling until Label Studio has saved a draft, some seconds after the first answer. Until then the
sitting belongs to nobody (person ""); the first draft that fits it, by masks that only it answered, says whose it is.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial

from annotation.errors import PageError
from annotation.frame_states import Standing
from annotation.pages.events import EventLog, StudioEvent
from annotation.pages.marks import PageMarks, read_marks
from annotation.pages.tickets import Ticket, TicketStore
from annotation.server.config import ServerConfig
from annotation.server.history import NOTHING, History, PageHistory
from annotation.server.reconcile import Looks
from annotation.server.sitting import Sitting
from annotation.server.wire import Draft
from annotation.server.worker import Aside, Job
from annotation.session import AnnotationSession

__all__ = ["Desk", "OpenSitting", "own_events"]

OpenSitting = Callable[[Ticket], AnnotationSession]

_KEPT_TICKETS = 256
_SITTING_BYTES = 1 << 20  # of a sitting besides its session
_UNSAVED_S = 4.0  # Label Studio saves a page five seconds after its first change

_Key = tuple[str, str]  # ticket id, person


class Desk:
    """All sittings. `seat`, `leave` and `warm` run in the worker's thread; jobs of one ticket one after another."""

    def __init__(
        self,
        *,
        tickets: TicketStore,
        events: EventLog,
        open_sitting: OpenSitting,
        config: ServerConfig,
        clock: Callable[[], float],
    ) -> None:
        self._store = tickets
        self._events = events
        self._open_sitting = open_sitting
        self._config = config
        self._clock = clock
        self._tickets: OrderedDict[_Key, Ticket] = OrderedDict()
        self._sittings: OrderedDict[_Key, Sitting] = OrderedDict()
        self._busy: set[_Key] = set()
        self._byte_size = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many sittings are open."""
        return len(self._sittings)

    @property
    def byte_size(self) -> int:
        """Bytes of all sittings, roughly, when somebody came or went last. Any thread."""
        return self._byte_size

    def ticket(self, round_id: str, ticket_id: str) -> Ticket:
        """A ticket, which never changes, read once. PageError (TicketError) if there is none. Any thread."""
        key = round_id, ticket_id
        with self._lock:
            found = self._tickets.get(key)
        if found is None:
            found = self._store.get(round_id, ticket_id)
            with self._lock:
                self._tickets[key] = found
                while len(self._tickets) > _KEPT_TICKETS:
                    self._tickets.popitem(last=False)
        return found

    def knows_stranger(self, ticket_id: str) -> bool:
        """Whether a caller without a name can only be who sits here without a name: their page saved nothing yet.

        Any thread.
        """
        stranger = self._sittings.get((ticket_id, ""))
        return stranger is not None and self._clock() - stranger.last_answer < _UNSAVED_S

    def has_sitting(self, ticket_id: str, person: str) -> bool:
        """Whether a person, or somebody without a name who may be that person, sits at a ticket. Any thread."""
        return (ticket_id, person) in self._sittings or (ticket_id, "") in self._sittings

    def seat(
        self, ticket: Ticket, person: str, saved: Draft | None, others: Sequence[Draft] = ()
    ) -> Job[Sitting]:
        """The sitting of a person at a ticket, opened if need be.

        saved: what their page last saved. others: drafts of the ticket; one of them may name the stranger who sits
        there, so that a caller without a name is somebody else.
        """
        for draft in (saved, *others):
            if draft is not None and draft.user:
                yield from self._name_stranger(ticket, draft)
        if not person:
            self._forget_old_stranger(ticket)
        key = ticket.ticket_id, person
        sitting = self._sittings.get(key)
        if sitting is None:
            sitting = yield from self._open(ticket, person, [saved, *others] if saved else others)
        with self._lock:
            self._sittings[key] = sitting
            self._sittings.move_to_end(key)
        self._busy.add(key)
        self._close_some()
        return sitting

    def leave(self, sitting: Sitting, *, spoilt: bool = False) -> None:
        """A job of a sitting is over. spoilt: it failed half-way, so the sitting is opened anew from its log."""
        key = sitting.ticket.ticket_id, sitting.person
        self._busy.discard(key)
        if spoilt:
            with self._lock:
                self._sittings.pop(key, None)
        self._measure()

    def warm(self) -> bool:
        """Let the sitting used last prepare one more frame; False if it has nothing to prepare."""
        with self._lock:
            latest = next(reversed(self._sittings.values()), None)
        return latest is not None and latest.warm()

    def _open(self, ticket: Ticket, person: str, drafts: Sequence[Draft]) -> Job[Sitting]:
        """A sitting that stands where its events lead to."""
        log: list[StudioEvent] = yield Aside(lambda: self._events.read(ticket.round_id, ticket.ticket_id))
        for draft in drafts:
            if draft.user:
                log = yield from self._adopt_from_log(ticket, draft, log)
        events = own_events(log, person) if person else self._recent_stranger(log)
        token = events[-1].event_id.partition("-")[0] if events and not person else secrets.token_hex(6)
        sitting = Sitting(
            ticket,
            self._open_sitting(ticket),
            person=person,
            token=token,
            events=self._events,
            clock=self._clock,
            settle_s=self._config.settle_s,
        )
        sitting.catch_up(events)
        return sitting

    def _name_stranger(self, ticket: Ticket, draft: Draft) -> Job[None]:
        """If the draft is the stranger's, they have a name now."""
        stranger = self._sittings.get((ticket.ticket_id, ""))
        if stranger is None or not _fits(draft, stranger.history, stranger.looks):
            return
        yield Aside(
            lambda: self._events.append(ticket.round_id, self._adoption(ticket, draft.user, stranger.token))
        )
        with self._lock:
            self._sittings.pop((ticket.ticket_id, ""), None)  # closed for memory meanwhile, perhaps
            known = self._sittings.pop((ticket.ticket_id, draft.user), None)
            if known is None:
                stranger.person = draft.user
                self._sittings[ticket.ticket_id, draft.user] = stranger

    def _adopt_from_log(self, ticket: Ticket, draft: Draft, log: list[StudioEvent]) -> Job[list[StudioEvent]]:
        """Strangers whose sitting was closed are only in the log; who fits the draft is the draft's person."""
        for token, events in _strangers(log).items():
            history = History.of(ticket.view, _published(ticket))
            history.replay(events)
            if _fits(draft, history, Looks(ticket.view)):
                adoption = self._adoption(ticket, draft.user, token)
                yield Aside(partial(self._events.append, ticket.round_id, adoption))
                log = [*log, adoption]
        return log

    def _adoption(self, ticket: Ticket, person: str, token: str) -> StudioEvent:
        return StudioEvent(
            event_id=f"{token}-adopted",
            at=self._clock(),
            ticket_id=ticket.ticket_id,
            person=person,
            kind="open",
            region=token,
        )

    def _recent_stranger(self, log: Sequence[StudioEvent]) -> list[StudioEvent]:
        """What the stranger did who was here a moment ago, before a restart."""
        groups = [events for events in _strangers(log).values() if self._is_recent(events[-1].at)]
        return max(groups, key=lambda events: events[-1].at, default=[])

    def _forget_old_stranger(self, ticket: Ticket) -> None:
        """A page saves a draft soon after an answer. If it never did, whoever calls now sits at a fresh page."""
        stranger = self._sittings.get((ticket.ticket_id, ""))
        if stranger is not None and not self._is_recent(stranger.last_answer):
            with self._lock:
                del self._sittings[ticket.ticket_id, ""]

    def _is_recent(self, at: float) -> bool:
        return self._clock() - at <= self._config.stranger_s

    def _measure(self) -> int:
        """Count the bytes of all sittings; nowhere but in the worker's thread, which alone changes them."""
        self._byte_size = sum(sitting.byte_size + _SITTING_BYTES for sitting in self._sittings.values())
        return self._byte_size

    def _close_some(self) -> None:
        """Close the least recently used sittings until the rest fits; never one that is at work."""
        while self._measure() > self._config.session_bytes:
            idle = next((key for key in self._sittings if key not in self._busy), None)
            if idle is None:
                return
            with self._lock:
                del self._sittings[idle]


def own_events(log: Sequence[StudioEvent], person: str) -> list[StudioEvent]:
    """Events of a person: those with their name, and what they did before their name was known."""
    adopted = {
        event.region for event in log if event.kind == "open" and event.person == person and event.region
    }
    return [
        event
        for event in log
        if event.person == person or (not event.person and event.event_id.partition("-")[0] in adopted)
    ]


def _strangers(log: Sequence[StudioEvent]) -> dict[str, list[StudioEvent]]:
    """Events of people without a name, by sitting."""
    adopted = {event.region for event in log if event.kind == "open"}
    groups: dict[str, list[StudioEvent]] = {}
    for event in log:
        token = event.event_id.partition("-")[0]
        if not event.person and event.kind != "submit" and token not in adopted:
            groups.setdefault(token, []).append(event)
    return groups


def _published(ticket: Ticket) -> list[Standing]:
    """What a page showed before anybody came."""
    masks = {**ticket.item.masks, **ticket.carried}
    return [Standing(masks.get(frame)) for frame in ticket.view.frames]


def _fits(draft: Draft, history: History, looks: Looks) -> bool:
    """Whether a draft holds a mask, or a command, that only this sitting can have given it before it was saved."""
    try:
        marks = read_marks(draft.result, history.view)
        return _has_command(marks, history) or any(
            looks.of(marks, page) in _answered_looks(past, draft.saved_at)
            for page, past in enumerate(history.pages)
        )
    except PageError:
        return False


def _answered_looks(past: PageHistory, until: float) -> set[str]:
    """How a page looked after answers, where it did not look so before."""
    answered = {version.look for version in past.versions[1:] if version.at < until}
    return answered - {NOTHING, past.versions[0].look}


def _has_command(marks: PageMarks, history: History) -> bool:
    return any("#" in key and key.partition("#")[0] in marks.ids for key in history.prompts)
