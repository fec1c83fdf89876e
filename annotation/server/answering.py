"""Seeing a request through: who is asking, has the page saved what matters, whose turn is it, what do we say.

Whatever goes wrong with a prompt is told to the person in the page, as a text beside the command box; Label Studio
itself shows nothing when a request fails.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from annotation.errors import PageError
from annotation.pages.marks import CommandPrompt, Prompt, command_region, read_marks, read_prompt, says_region
from annotation.pages.tickets import Ticket
from annotation.pages.views import PageView
from annotation.server.auth import RateLimit
from annotation.server.commands import read_command
from annotation.server.config import ServerConfig
from annotation.server.desk import Desk
from annotation.server.label_studio import DraftError, DraftSource
from annotation.server.outbox import Outbox
from annotation.server.sitting import Sitting
from annotation.server.wire import Draft, PredictRequest, newest
from annotation.server.worker import Aside, BusyError, Done, ExpiredError, Job, Worker
from storage.errors import EngineError

__all__ = ["Answering", "Outcome"]

_KEPT_OUTBOXES = 1024
_LOG = logging.getLogger("engine.model_server")

_FAILED = "Something went wrong here; what, is in the model server's log. Do it once more."
_LATE = "This took too long. Do it once more."
_NOT_SAVED = "Your last strokes have not arrived yet. Type the command once more."
_STOPPED = "The model server has stopped working; nothing is lost. Whoever runs it: engine studio up."
_TOO_FAST = "This is faster than the model can answer. Wait a moment, then do it once more."


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a request came to. kind, result: of fixed sets, for the log and the metrics. page: None if none."""

    regions: Sequence[dict[str, Any]] = ()
    kind: str = "other"
    result: str = "answered"
    page: int | None = None
    waited_s: float = 0.0
    worked_s: float = 0.0
    aside_s: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class _Visit:
    """One prompt on its way: the caller's name if known, what their page saved last, and where the answer goes.

    saving: what the page will have saved, for prompts that must wait for it.
    """

    ticket: Ticket
    prompt: Prompt
    person: str
    saved: Draft | None
    others: tuple[Draft, ...]
    saving: Future[Draft | None] | None
    outbox: Outbox
    number: int
    deadline: float

    def expired(self) -> bool:
        """Whether it is high time to answer."""
        return time.monotonic() > self.deadline - _ANSWERING_S


class _NotSavedError(Exception):
    """The page did not save in time."""


class Answering:
    """Answers prompts. Deadlines run on a clock that never jumps."""

    def __init__(
        self,
        desk: Desk,
        worker: Worker,
        drafts: DraftSource,
        *,
        config: ServerConfig,
    ) -> None:
        self._desk = desk
        self._worker = worker
        self._drafts = drafts
        self._config = config
        self._rate = RateLimit(per_s=config.rate_per_s, burst=config.rate_burst)
        self._outboxes: OrderedDict[tuple[str, str], Outbox] = OrderedDict()
        self._turns: dict[str, asyncio.Lock] = {}
        self._at_turns: dict[str, int] = {}
        self.activity: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()

    async def answer(
        self, call: PredictRequest, *, arrived: float, gone: Callable[[], Awaitable[bool]]
    ) -> Outcome:
        """What to answer a call with a context. arrived: when it came (monotonic); gone: whether nobody waits."""
        page = call.page
        try:
            return await self._answer(call, arrived, gone)
        except BusyError as error:
            return _told(page, f"Busy: {error.ahead} people are ahead. Do it once more in a moment.", "busy")
        except (ExpiredError, TimeoutError):
            return _told(page, _LATE, "late")
        except EngineError as error:
            return _told(page, str(error), "refused")

    async def _answer(
        self, call: PredictRequest, arrived: float, gone: Callable[[], Awaitable[bool]]
    ) -> Outcome:
        saved, person = await self._caller(call)
        outbox = self._outbox(call.ticket_id, person)
        number = outbox.arrived(arrived)
        if not call.context:
            return Outcome(result="empty")
        if not self._rate.allows(call.ticket_id, arrived):
            return _told(call.page, _TOO_FAST, "busy")
        ticket = await asyncio.to_thread(self._desk.ticket, call.round_id, call.ticket_id)
        prompt = read_prompt(call.context, ticket.view)
        if prompt is None:
            return Outcome(result="empty")
        self._note_activity(call, arrived)
        deadline = arrived + self._config.deadline_s
        async with _Turn(self._turns, self._at_turns, call.ticket_id):
            if not self._worker.alive:
                raise PageError(_STOPPED)
            if self._worker.full:
                raise BusyError(self._worker.waiting)
            others = await self._others(call.task_id, ticket, saved)
            saving: Future[Draft | None] | None = Future() if _waits(prompt, ticket) else None
            visit = _Visit(ticket, prompt, person, saved, others, saving, outbox, number, deadline)
            future = self._worker.submit(ticket.ticket_id, lambda: self._job(visit), deadline=deadline)
        fetching = saving and asyncio.create_task(self._fetch(saving, prompt, call, ticket.view))
        try:
            done = await self._result(asyncio.wrap_future(future), deadline, gone)
        except _NotSavedError:
            return _told(prompt.page, _NOT_SAVED, "unsaved", prompt)
        finally:
            if fetching and saving:
                fetching.cancel()
                _settle(saving, None)
        kind = _kind(prompt)
        return Outcome(done.value, kind, "answered", prompt.page, done.waited_s, done.worked_s, done.aside_s)

    def _job(self, visit: _Visit) -> Job[list[dict[str, Any]]]:
        """All that happens in the worker's thread for one prompt."""
        person = visit.saved.user if visit.saved is not None and visit.saved.user else visit.person
        sitting = yield from self._desk.seat(visit.ticket, person, visit.saved, visit.others)
        spoilt = True
        try:
            trouble = yield from self._follow(sitting, visit, visit.saved)
            if visit.saving is not None and not sitting.has_answered(visit.prompt):
                sitting, trouble = yield from self._wait_saved(sitting, visit, visit.saving)
            regions = yield from self._work(sitting, visit, trouble)
            spoilt = False
            return regions
        except _NotSavedError:
            sitting.withdraw()
            spoilt = False
            raise
        finally:
            self._desk.leave(sitting, spoilt=spoilt)

    def _wait_saved(
        self, sitting: Sitting, visit: _Visit, saving: Future[Draft | None]
    ) -> Job[tuple[Sitting, str]]:
        """Work ahead until the page has saved, and take in what it saved, and whose page it is."""
        yield from sitting.begin(visit.prompt, expired=visit.expired)
        saved: Draft | None = yield saving
        if saved is None:
            raise _NotSavedError
        seated = yield from self._desk.seat(visit.ticket, saved.user, saved)
        if seated is not sitting:
            sitting.withdraw()
            self._desk.leave(sitting)
        trouble = yield from self._follow(seated, visit, saved)
        return seated, trouble

    def _follow(self, sitting: Sitting, visit: _Visit, saved: Draft | None) -> Job[str]:
        """Follow what the page saved; returns what is wrong with it."""
        if saved is not None:
            try:
                visit.outbox.shown((yield from sitting.follow(saved)))
            except PageError as error:
                return f"What the page saved cannot be read. {error}"
        return ""

    def _work(self, sitting: Sitting, visit: _Visit, trouble: str) -> Job[list[dict[str, Any]]]:
        reply = yield from sitting.act(visit.prompt, expired=visit.expired)
        says = " ".join(filter(None, (trouble, reply.says))) or reply.says
        pages = visit.outbox.send(visit.number, reply.pages, time.monotonic())
        regions: list[dict[str, Any]] = yield Aside(lambda: sitting.regions(visit.prompt, pages, says))
        return regions

    async def _fetch(
        self, saving: Future[Draft | None], prompt: Prompt, call: PredictRequest, view: PageView
    ) -> None:
        """Tell the job what the page saved, or that it did not."""
        found = None
        try:
            found = await self._saved_with(prompt, call, view)
        finally:
            _settle(saving, found)

    async def _result(
        self,
        future: asyncio.Future[Done[list[dict[str, Any]]]],
        deadline: float,
        gone: Callable[[], Awaitable[bool]],
    ) -> Done[list[dict[str, Any]]]:
        """Wait for a job; one that has not begun when nobody waits for it any more is dropped."""
        while not future.done():
            await asyncio.wait({future}, timeout=0.5)
            if not future.done() and (time.monotonic() > deadline + _ANSWERING_S or await gone()):
                future.cancel()
                raise TimeoutError
        if future.cancelled():
            raise TimeoutError
        try:
            return future.result()
        except (EngineError, ExpiredError, _NotSavedError):
            raise
        except Exception as error:
            _LOG.exception("a job failed")
            raise PageError(_FAILED) from error

    async def _caller(self, call: PredictRequest) -> tuple[Draft | None, str]:
        """What the caller's page saved last, and who they are: a draft is theirs; so is the only annotation."""
        saved = newest(call.drafts)
        if saved is not None:
            return saved, saved.user
        if len(call.annotations) != 1:
            return None, ""
        handed_in = call.annotations[0]
        try:
            person = handed_in.user or await self._drafts.email(handed_in.user_id)
        except DraftError as error:
            _LOG.warning("%s", error)
            person = ""
        return (replace(handed_in, user=person), person) if person else (None, "")

    async def _others(self, task_id: int, ticket: Ticket, saved: Draft | None) -> tuple[Draft, ...]:
        """For a caller without a name: all drafts, to tell them from somebody who had no name before."""
        if saved is not None or self._desk.knows_stranger(ticket.ticket_id):
            return ()
        try:
            async with asyncio.timeout(_ASKING_S):
                return await self._drafts.drafts(task_id)
        except (DraftError, TimeoutError) as error:
            _LOG.warning("no drafts of task %d: %s", task_id, error)
            return ()

    async def _saved_with(
        self,
        prompt: Prompt,
        call: PredictRequest,
        view: PageView,
    ) -> Draft | None:
        """The draft in which a command stands, and with it every stroke before it; None if it does not come in time."""
        found = _holding(prompt, call.drafts, view)
        until = time.monotonic() + self._config.draft_wait_s
        while found is None and time.monotonic() < until:
            await asyncio.sleep(self._config.draft_poll_s)
            try:
                found = _holding(prompt, await self._drafts.drafts(call.task_id), view)
            except DraftError as error:
                _LOG.warning("%s", error)
        return found

    def _outbox(self, ticket_id: str, person: str) -> Outbox:
        """The outbox of a caller; whose name is new takes over the stranger's."""
        key = ticket_id, person
        if key not in self._outboxes:
            stranger = self._outboxes.pop((ticket_id, ""), None)
            self._outboxes[key] = stranger or Outbox(self._config.repeat_s)
        self._outboxes.move_to_end(key)
        while len(self._outboxes) > _KEPT_OUTBOXES:
            self._outboxes.popitem(last=False)
        return self._outboxes[key]

    def _note_activity(self, call: PredictRequest, now: float) -> None:
        key = call.round_id, call.ticket_id
        self.activity[key] = now, call.task_id
        self.activity.move_to_end(key)
        while len(self.activity) > _KEPT_OUTBOXES:
            self.activity.popitem(last=False)


_ASKING_S = 1.0
"""How long a click waits for what Label Studio has to say about others."""

_ANSWERING_S = 5.0
"""Kept for writing down and packing an answer, of the time until the deadline."""


class _Turn:
    """Requests of one ticket go on in the order in which they came, also while one waits for a draft."""

    def __init__(self, locks: dict[str, asyncio.Lock], users: dict[str, int], key: str) -> None:
        self._locks, self._users, self._key = locks, users, key

    async def __aenter__(self) -> None:
        lock = self._locks.setdefault(self._key, asyncio.Lock())
        self._users[self._key] = self._users.get(self._key, 0) + 1
        await lock.acquire()

    async def __aexit__(self, *error: object) -> None:
        self._locks[self._key].release()
        self._users[self._key] -= 1
        if not self._users[self._key]:
            del self._locks[self._key], self._users[self._key]


def _waits(prompt: Prompt, ticket: Ticket) -> bool:
    """Whether strokes that the page may not have saved yet matter to a prompt."""
    command = read_command(prompt.text) if isinstance(prompt, CommandPrompt) else None
    return command is not None and command.waits and not (command.tracks and ticket.item.phase == 1)


def _holding(prompt: Prompt, drafts: Sequence[Draft], view: PageView) -> Draft | None:
    """The draft that was saved after a command was typed: it shows the command box and our text as they were then."""
    assert isinstance(prompt, CommandPrompt)
    for draft in drafts:
        try:
            marks = read_marks(draft.result, view)
        except PageError:
            continue  # of somebody else; the person's own is judged when it is followed
        typed = prompt.region_id in marks.ids and marks.typed(prompt.page) == prompt.typed
        if typed and marks.says.get(prompt.page, "") == prompt.says:
            return draft
    return None


def _settle(saving: Future[Draft | None], found: Draft | None) -> None:
    """Nobody waits for it any longer, whatever happened."""
    if not saving.done():
        saving.set_result(found)


def _told(page: int, text: str, result: str, prompt: Prompt | None = None) -> Outcome:
    """Nothing but a text."""
    clear = [command_region(prompt.region_id, page)] if isinstance(prompt, CommandPrompt) else []
    kind = "other" if prompt is None else _kind(prompt)
    return Outcome([*clear, says_region(page, text)], kind, result, page)


def _kind(prompt: Prompt) -> str:
    if isinstance(prompt, CommandPrompt):
        command = read_command(prompt.text)
        return command.action if command else "unknown"
    return type(prompt).__name__.removesuffix("Prompt").lower()
