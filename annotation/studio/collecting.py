"""What people handed in, taken into the engine's own record.

Label Studio is polled by the time of change, a little further back than last time; that is the truth, a webhook only
says when to look. Every annotation is kept as it came, then judged: the first valid one to a ticket counts. One that
cannot be used stays with its author: the task says why, and when they update it, it is judged again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from annotation.errors import PageError, RecordError, TicketError
from annotation.pages.events import EventLog
from annotation.pages.tickets import Ticket, TicketStore
from annotation.studio.answers import read_answer
from annotation.studio.client import StudioClient, TaskError, TaskHead
from annotation.studio.ledger import Ledger, Received
from annotation.studio.notices import notice, with_refusal, wrong_person_notice
from storage.errors import ObjectNotFound
from storage.objects import ObjectStore

__all__ = ["Collector", "Polled"]

OVERLAP = timedelta(minutes=2)
"""How far back a poll looks beyond the newest change seen: changes may become visible out of order."""

_AS_IMPORTED = timedelta(milliseconds=500)
"""A task that changed no later than this after it was made has never been touched."""


class Polled:
    """How far each project of a round was polled; only saves work, and may be deleted at any time."""

    def __init__(self, store: ObjectStore, round_id: str) -> None:
        self._store = store
        self._folder = f"studio/polled/{round_id}"

    def newest(self, project: int) -> datetime | None:
        """The newest change of a project that was taken in; None before the first poll."""
        try:
            until = json.loads(self._store.get(f"{self._folder}/{project}.json"))["until"]
            return datetime.fromisoformat(until)
        except (ObjectNotFound, ValueError, KeyError, TypeError):
            return None

    def since(self, project: int) -> datetime | None:
        """From when on changes of a project have to be looked at; None: all of them."""
        newest = self.newest(project)
        return None if newest is None else newest - OVERLAP

    def until(self, project: int, newest: datetime) -> None:
        """Everything that changed up to `newest` was taken in."""
        data = json.dumps({"until": newest.isoformat()}).encode()
        self._store.put(f"{self._folder}/{project}.json", data)


class Collector:
    """Takes in what was handed in for one round. ledger_of: the ledger of a desk."""

    def __init__(
        self,
        client: StudioClient,
        tickets: TicketStore,
        events: EventLog,
        polled: Polled,
        ledger_of: Callable[[str], Ledger],
        *,
        round_id: str,
        idle_s: float,
    ) -> None:
        self._client = client
        self._tickets = tickets
        self._events = events
        self._polled = polled
        self._ledger_of = ledger_of
        self._round_id = round_id
        self._idle_s = idle_s

    def collect(self, projects: Iterable[int]) -> list[TaskError]:
        """Take in everything new in these projects; returns what is wrong with tasks that cannot be read."""
        return [error for project in projects for error in self._collect(project)]

    def _collect(self, project: int) -> list[TaskError]:
        since = self._polled.since(project)
        heads = list(self._client.tasks(project, round_id=self._round_id, since=since))
        errors = [error for head in sorted(heads, key=_changed) if (error := self._try(head))]
        if heads and not errors:  # else all of them are looked at again
            self._polled.until(project, max(map(_changed, heads)))
        return errors

    def _try(self, head: TaskHead) -> TaskError | None:
        try:
            self._take(head)
        except TaskError as error:
            return error
        return None

    def _take(self, head: TaskHead) -> None:
        if not head.annotations and head.updated_at - head.created_at < _AS_IMPORTED:
            return
        try:
            ticket = self._tickets.get(self._round_id, head.ticket_id)
        except (PageError, TicketError):
            return  # somebody put a task of their own into the project: none of our business
        task = self._client.task(head.id)
        if task is None:
            return
        for received in _received(ticket, task):
            self._judge(ticket, received)
        self._say(ticket, task)

    def _judge(self, ticket: Ticket, received: Received) -> None:
        ledger = self._ledger_of(ticket.item.desk)
        try:
            ledger.keep(received)
            if received.raw.get("was_cancelled"):
                ledger.skip(received)
            elif not ledger.has_judged(received):
                self._take_answer(ticket, received, ledger)
        except (PageError, RecordError) as error:
            ledger.refuse(received, str(error))

    def _take_answer(self, ticket: Ticket, received: Received, ledger: Ledger) -> None:
        events = self._events.read(self._round_id, ticket.ticket_id)
        answer = read_answer(ticket, received, events, idle_s=self._idle_s)
        if received.actor in ticket.item.excluded_people:
            ledger.invalidate(answer)
        else:
            ledger.accept(answer)

    def _say(self, ticket: Ticket, task: Mapping[str, Any]) -> None:
        """Make the task say what became of what was handed in."""
        text = self._notice(ticket, _received(ticket, task))
        data = task.get("data")
        if isinstance(data, Mapping) and data.get("notice") != text:
            self._client.set_data(int(task["id"]), {**data, "notice": text})

    def _notice(self, ticket: Ticket, present: Iterable[Received]) -> str:
        ledger, text = self._ledger_of(ticket.item.desk), notice(ticket)
        if ledger.answer(ticket.ticket_id) is not None:
            return text
        if ledger.invalid(ticket.ticket_id) is not None:
            return wrong_person_notice(text)
        reasons = [reason for received in present if (reason := ledger.refusal(received))]
        return with_refusal(text, reasons[-1]) if reasons else text


def _changed(head: TaskHead) -> datetime:
    return head.updated_at


def _received(ticket: Ticket, task: Mapping[str, Any]) -> list[Received]:
    """The annotations of a task, the one changed longest ago first."""
    found = [Received.from_raw(ticket.ticket_id, raw) for raw in task.get("annotations") or ()]
    return sorted(found, key=lambda received: (received.updated_at, received.annotation_id))
