"""Tickets become tasks in Label Studio: the ticket into the store first, then its pictures, then the task.

Each step is repeated harmlessly, so the engine may be killed between any two: a ticket is put once, pictures are
made once, and a task is imported only when no task shows that ticket. Should there be two all the same (an import whose
answer was lost), the older one stays, and the other goes unless somebody has begun it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from annotation.errors import TicketError
from annotation.pages.configs import page_kind
from annotation.pages.marks import mask_region, taken_region
from annotation.pages.tickets import Ticket, TicketStore
from annotation.studio.client import StudioClient, TaskHead
from annotation.studio.notices import notice
from storage.masks import decode, is_empty

__all__ = ["Published", "Publisher", "TaskPictures"]

TaskPictures = Callable[[Ticket], Mapping[str, Any]]
"""Makes a ticket's pictures and clips, once, and gives the entries of the task's data that point at them."""


class Published:
    """The tasks of a round as Label Studio lists them now, by ticket."""

    def __init__(self, heads: Iterable[TaskHead]) -> None:
        self._by_ticket: dict[str, list[TaskHead]] = {}
        for head in heads:
            self._by_ticket.setdefault(head.ticket_id, []).append(head)

    def of(self, ticket_id: str) -> list[TaskHead]:
        """Tasks that show a ticket, the oldest first."""
        return sorted(self._by_ticket.get(ticket_id, ()), key=lambda head: head.id)

    def of_item(self, task_id: str) -> list[TaskHead]:
        """Tasks of all tickets of a work item."""
        return [
            head
            for ticket_id in self._by_ticket
            if _belongs(ticket_id, task_id)
            for head in self.of(ticket_id)
        ]


class Publisher:
    """Publishes tickets in a site's projects (by kind of page)."""

    def __init__(
        self,
        client: StudioClient,
        tickets: TicketStore,
        pictures: TaskPictures,
        *,
        projects: Mapping[str, int],
        model_version: str,
    ) -> None:
        self._client = client
        self._tickets = tickets
        self._pictures = pictures
        self._projects = projects
        self._model_version = model_version

    def publish(self, ticket: Ticket, published: Published) -> None:
        """Make sure that exactly one task shows the ticket to people."""
        tasks = published.of(ticket.ticket_id)
        if tasks:
            self._remove_idle(tasks[1:])
            return
        ticket = self._kept(ticket)
        data = {**_texts(ticket), **self._pictures(ticket)}
        self._client.add_task(self._projects[page_kind(ticket.item)], data, self._predictions(ticket))

    def withdraw(self, task_id: str, published: Published) -> None:
        """Remove tasks of a work item that is done, where nobody has begun them."""
        self._remove_idle(published.of_item(task_id))

    def _kept(self, ticket: Ticket) -> Ticket:
        """The ticket as it was put the first time: what people may have seen is what counts."""
        try:
            return self._tickets.get(ticket.round_id, ticket.ticket_id)
        except TicketError:
            self._tickets.put(ticket)
            return ticket

    def _remove_idle(self, tasks: Iterable[TaskHead]) -> None:
        for head in tasks:
            if not head.annotations and not head.has_draft:
                self._client.delete_task(head.id)

    def _predictions(self, ticket: Ticket) -> list[dict[str, Any]]:
        regions = _taken(ticket) if ticket.item.kind == "select" else _masks(ticket)
        return [{"model_version": self._model_version, "result": regions}] if regions else []


def _texts(ticket: Ticket) -> dict[str, Any]:
    item = ticket.item
    return {
        "ticket_id": ticket.ticket_id,
        "round_id": item.round_id,
        "kind": item.kind,
        "phase": item.phase,
        "video_id": item.video_id,
        "masklet_id": item.masklet_id or "",
        "object_name": item.name or "object",
        "notice": notice(ticket),
    }


def _masks(ticket: Ticket) -> list[dict[str, Any]]:
    """The masks to start from; where the object is absent, the page shows none."""
    if ticket.item.kind != "annotate":
        return []
    view, masks = ticket.view, {**ticket.item.masks, **ticket.carried}
    return [
        mask_region(view.page_of(frame), view.shown(decode(rle)), view)
        for frame, rle in sorted(masks.items())
        if frame in view.frames and not is_empty(rle)
    ]


def _taken(ticket: Ticket) -> list[dict[str, Any]]:
    """Objects that are annotated already, on the one page that there is."""
    view = ticket.view
    return [
        taken_region(number, 0, view.shown(decode(rle)), view)
        for number, rle in enumerate(ticket.item.taken)
        if not is_empty(rle)
    ]


def _belongs(ticket_id: str, task_id: str) -> bool:
    """Whether a ticket is one of a work item: its own id, or that with a window or an attempt behind it."""
    rest = ticket_id.removeprefix(task_id)
    if len(rest) == len(ticket_id):
        return False
    return not rest or (rest[:2] in ("-w", "-a") and rest[2:].isdigit())
