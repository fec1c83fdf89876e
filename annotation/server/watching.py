"""Looking at what pages save while nobody calls: painting alone asks the model nothing, yet it is work.

Only tickets with a sign of life in the last minutes are looked at, one after another.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time

from annotation.pages.events import EventLog, StudioEvent
from annotation.server.answering import Answering
from annotation.server.config import ServerConfig
from annotation.server.desk import Desk
from annotation.server.label_studio import DraftSource
from annotation.server.wire import Draft
from annotation.server.worker import BusyError, ExpiredError, Job, Worker
from storage.errors import EngineError

__all__ = ["Watcher"]

_LOG = logging.getLogger("engine.model_server")
_FOLLOW_S = 60.0


class Watcher:
    """Writes an event for every saved draft, at the time when Label Studio saved it, and lets open sittings follow."""

    def __init__(
        self,
        answering: Answering,
        desk: Desk,
        worker: Worker,
        drafts: DraftSource,
        events: EventLog,
        *,
        config: ServerConfig,
    ) -> None:
        self._answering = answering
        self._desk = desk
        self._worker = worker
        self._drafts = drafts
        self._events = events
        self._config = config
        self._seen: dict[tuple[str, str], float] = {}  # ticket id, user -> when the draft seen last was saved

    async def run(self) -> None:
        """Look at all active tickets again and again, until cancelled."""
        while True:
            await asyncio.sleep(self._config.watch_s)
            for key in list(self._answering.activity):
                try:
                    await self.look(*key)
                except Exception:  # noqa: BLE001 - one look that failed must not end all others
                    _LOG.exception("looking at the drafts of %s failed", key[1])

    async def look(self, round_id: str, ticket_id: str) -> None:
        """Look at one ticket's drafts, if it is active and they did not come with a request just now."""
        found = self._answering.activity.get((round_id, ticket_id))
        if found is None:
            return  # forgotten while others were looked at
        when, task_id = found
        quiet_s = time.monotonic() - when
        if quiet_s > self._config.active_s:
            self._forget(round_id, ticket_id)
        if not self._config.watch_s <= quiet_s <= self._config.active_s:
            return  # nobody is there, or requests bring the drafts
        try:
            for draft in await self._drafts.drafts(task_id):
                if draft.saved_at > self._seen.get((ticket_id, draft.user), 0.0):
                    await self._take(round_id, ticket_id, draft)
                    self._answering.activity[round_id, ticket_id] = time.monotonic(), task_id
        except EngineError as error:
            _LOG.warning("drafts of %s: %s", ticket_id, error)

    async def _take(self, round_id: str, ticket_id: str, draft: Draft) -> None:
        """Write down that a draft was saved, and follow it if the person, or a stranger, sits here."""
        await asyncio.to_thread(self._events.append, round_id, saved_event(ticket_id, draft))
        self._seen[ticket_id, draft.user] = draft.saved_at
        if not self._desk.has_sitting(ticket_id, draft.user):
            return
        ticket = await asyncio.to_thread(self._desk.ticket, round_id, ticket_id)

        def follow() -> Job[None]:
            sitting = yield from self._desk.seat(ticket, draft.user, draft)
            spoilt = True
            try:
                yield from sitting.follow(draft)
                spoilt = False
            finally:
                self._desk.leave(sitting, spoilt=spoilt)

        try:
            future = self._worker.submit(ticket_id, follow, deadline=time.monotonic() + _FOLLOW_S)
            await asyncio.wrap_future(future)
        except (BusyError, ExpiredError):
            return  # the next request brings the draft again

    def _forget(self, round_id: str, ticket_id: str) -> None:
        del self._answering.activity[round_id, ticket_id]
        for key in [key for key in self._seen if key[0] == ticket_id]:
            del self._seen[key]


def saved_event(ticket_id: str, draft: Draft) -> StudioEvent:
    """The event of a draft; the same draft seen twice gives the same event."""
    who = hashlib.sha256(draft.user.encode()).hexdigest()[:12]
    return StudioEvent(
        event_id=f"draft-{who}", at=draft.saved_at, ticket_id=ticket_id, person=draft.user, kind="draft"
    )
