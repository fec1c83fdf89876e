"""One person at one ticket: prompts in, masks out, and every act written down before it is answered.

All methods that are jobs run in the worker's thread. What stands here follows from the ticket and the events, so a
sitting can be closed at any time and opened again; only the event log must not be lost.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from annotation.errors import ActionError, PageError
from annotation.frame_states import Standing
from annotation.pages.events import EventLog, StudioEvent, StudioEventKind
from annotation.pages.marks import (
    BoxPrompt,
    ClickPrompt,
    CommandPrompt,
    Prompt,
    command_region,
    digest_of,
    mask_region,
    read_marks,
    says_region,
)
from annotation.pages.tickets import Ticket
from annotation.server.commands import Command, changed_text, help_text, pages_text, read_command
from annotation.server.history import History, look_of
from annotation.server.reconcile import Findings, Looks, compare
from annotation.server.wire import Draft
from annotation.server.worker import Aside, Job
from annotation.session import AnnotationSession, Direction
from storage import masks as rle_masks
from storage.masks import Rle

__all__ = ["Reply", "Sitting", "prompt_key"]

BoolMask = npt.NDArray[np.bool_]

_STILL_ABSENT = "This page is marked absent. Take the mark off if the object is here: press x."
_TICK_S = 1e-3
"""Between two events at least: the log is read by time, and clocks are set back at times."""
_DIRECTIONS: Mapping[str, Direction] = {"forward": "forward", "backward": "backward", "both": "both"}


@dataclass(frozen=True, slots=True)
class Reply:
    """What to tell the page: which pages' masks, and a text (None: nothing new to say)."""

    pages: tuple[int, ...] = ()
    says: str | None = None


@dataclass(frozen=True, slots=True)
class _Carried:
    """A propagation as far as it came. before: how all pages stood; late: there was no time for the rest."""

    before: tuple[Standing, ...]
    reached: tuple[int, ...]
    late: bool


def prompt_key(prompt: Prompt) -> str:
    """What tells a prompt from every other; the same prompt delivered twice has one key.

    All commands of a page come in one region; what tells them apart is what stood in the command box, and our text
    beside it, which differs after every command.
    """
    if not isinstance(prompt, CommandPrompt):
        return prompt.region_id
    said = json.dumps([prompt.page, prompt.typed, prompt.says])
    return f"{prompt.region_id}#{hashlib.sha256(said.encode()).hexdigest()[:12]}"


class Sitting:
    """A session, its history, and the log that both can be made of again.

    token: begins the ids of all events of this sitting. settle_s: see `reconcile`.
    """

    def __init__(
        self,
        ticket: Ticket,
        session: AnnotationSession,
        *,
        person: str,
        token: str,
        events: EventLog,
        clock: Callable[[], float],
        settle_s: float,
    ) -> None:
        self.ticket = ticket
        self.session = session
        self.person = person
        self.token = token
        self.view = ticket.view
        self.history = History.of(self.view, [session.standing(page) for page in range(len(self.view))])
        self.looks = Looks(self.view)
        self.last_answer = clock()
        self._written_at = 0.0
        self._events = events
        self._clock = clock
        self._settle_s = settle_s
        self._replies: dict[str, Reply] = {}
        self._talking: set[int] = set()
        self._outdated: frozenset[int] = frozenset()
        self._ahead: _Carried | None = None
        self._warm: Iterator[int] | None = None

    @property
    def byte_size(self) -> int:
        """Bytes held, roughly."""
        return self.session.byte_size

    def catch_up(self, events: Sequence[StudioEvent]) -> None:
        """Stand where these events, which happened before, lead to."""
        self._written_at = max((event.at for event in events), default=0.0)
        touched = self.history.replay(events)
        self.session.restore({page: self.history[page].current.standing for page in sorted(touched)})

    def begin(self, prompt: Prompt, *, expired: Callable[[], bool]) -> Job[None]:
        """Do the work of a propagation ahead, while the page has not saved what it will start from.

        Nothing of it counts until `act`; if it turns out that the person painted or undid something, it is forgotten.
        """
        command = read_command(prompt.text) if isinstance(prompt, CommandPrompt) else None
        if command is None or not command.tracks:
            return
        try:
            self._ahead = yield from self._carry(command, prompt.page, expired)
        except ActionError:
            self._ahead = None  # perhaps what is painted, and not saved yet, makes it possible

    def withdraw(self) -> None:
        """Forget what was done ahead."""
        if self._ahead is not None:
            before, self._ahead = self._ahead.before, None
            changed = {page: was for page, was in enumerate(before) if was != self.session.standing(page)}
            self.session.restore(changed)

    def follow(self, draft: Draft) -> Job[list[int]]:
        """Do what a draft says the person did; returns the pages that it shows as they stand. PageError if damaged."""
        marks = read_marks(draft.result, self.view)
        found = compare(marks, draft.saved_at, self.history, self.looks, settle_s=self._settle_s)
        if found.restored or found.brushed or found.absent:
            self.withdraw()
        if found.restored:
            yield from self._go_back(found.restored)
        for page, shown in found.brushed.items():
            mask = self.view.source(shown, base=self._mask(page))
            self.session.brush(page, mask)
            yield from self._note("brush", page, changed=(page,))
        for page in found.absent:
            self.session.mark_absent(page)
            yield from self._note("absent", page, changed=(page,))
        yield from self._flag(found)
        self._outdated = frozenset(found.outdated)
        return found.shown

    def has_answered(self, prompt: Prompt) -> bool:
        """Whether a prompt was acted on before."""
        return prompt_key(prompt) in self.history.prompts

    def act(self, prompt: Prompt, *, expired: Callable[[], bool]) -> Job[Reply]:
        """Answer a prompt; one that was answered before is answered again, and nothing else happens.

        expired: whether it is high time to answer; a propagation then ends where it is.
        """
        key = prompt_key(prompt)
        if key in self.history.prompts:
            return self._replies.get(key) or Reply(self.history.prompts[key])
        try:
            reply = yield from self._act(prompt, key, expired)
        except (ActionError, PageError) as error:
            yield from self._note("refused", prompt.page, text=str(error), region=key)
            reply = Reply(says=str(error))
        self._replies[key] = reply
        return reply

    def regions(self, prompt: Prompt, pages: Sequence[int], says: str | None) -> list[dict[str, Any]]:
        """An answer's regions: masks as they stand, the text, and an empty command box. Runs in any thread."""
        found = [self._region(page) for page in pages]
        page = prompt.page
        if isinstance(prompt, CommandPrompt):
            found.append(command_region(prompt.region_id, page))
        if says is None and page in self._talking:
            says = "Done."
        if says is not None:
            self._talking.add(page)
            found.append(says_region(page, f"{self.history.acts}. {says}"))
        return found

    def warm(self) -> bool:
        """Prepare one more frame for what may come; False when nothing is left to prepare."""
        if self._warm is None:
            self._warm = self.session.warm()
        return next(self._warm, None) is not None

    def _act(self, prompt: Prompt, key: str, expired: Callable[[], bool]) -> Job[Reply]:
        page = prompt.page
        marked_absent = self.history[page].current.absent
        if isinstance(prompt, ClickPrompt):
            self.session.click(page, prompt.x, prompt.y, prompt.positive)
            place = {"x": prompt.x, "y": prompt.y, "positive": prompt.positive}
            yield from self._note("click", page, changed=(page,), region=key, **place)
        elif isinstance(prompt, BoxPrompt):
            self.session.box(page, prompt.box)
            box = prompt.box
            text = json.dumps([box.x0, box.y0, box.x1, box.y1])
            yield from self._note("box", page, changed=(page,), region=key, text=text)
        else:
            return (yield from self._obey(prompt, key, expired))
        return Reply((page,), _STILL_ABSENT if marked_absent else self._remark(page))

    def _obey(self, prompt: CommandPrompt, key: str, expired: Callable[[], bool]) -> Job[Reply]:
        command = read_command(prompt.text)
        if command is None:
            raise ActionError(f"{prompt.text[:40]!r} is no command. {self._help()}")
        if command.tracks:
            return (yield from self._propagate(command, prompt.page, key, expired))
        if command.action == "undo":
            return (yield from self._undo(prompt.page, key))
        if command.action == "reset":
            self.session.reset(prompt.page)
            yield from self._note("reset", prompt.page, changed=(prompt.page,), text=command.word, region=key)
            return Reply((prompt.page,), "This page is as if nobody had been there.")
        says = self._suggestion() if command.action == "next" else self._help()
        yield from self._note("command", prompt.page, text=command.word, region=key)
        return Reply(says=says)

    def _propagate(self, command: Command, page: int, key: str, expired: Callable[[], bool]) -> Job[Reply]:
        """Carry masks on, unless that was done ahead, and write down what changed."""
        ahead, self._ahead = self._ahead, None
        carried = ahead or (yield from self._carry(command, page, expired))
        changed = [
            place for place in sorted(carried.reached) if self._rle(place) != carried.before[place].mask
        ]
        yield from self._note("command", page, changed=changed, text=command.word, region=key)
        says = changed_text(changed, self._kept(command, page))
        if carried.late:
            where = "" if command.action == "both" else f" on page {carried.reached[-1] + 1}"
            says += f" There was no time for the rest: type {command.word} once more{where}."
        return Reply(tuple(sorted({*changed, *self._outdated})), says)

    def _carry(self, command: Command, page: int, expired: Callable[[], bool]) -> Job[_Carried]:
        """Propagate frame by frame, letting others have their turn in between."""
        before = tuple(self.session.standing(place) for place in range(len(self.view)))
        start = None if command.action == "both" else page
        reached: list[int] = []
        for position in self.session.propagating(start, direction=_DIRECTIONS[command.action]):
            reached.append(position)
            if expired():
                return _Carried(before, tuple(reached), True)
            yield None
        return _Carried(before, tuple(reached), False)

    def _kept(self, command: Command, page: int) -> list[int]:
        """Pages of the person that lay in the way of a propagation."""
        first = page if command.action == "forward" else 0
        last = page if command.action == "backward" else len(self.view) - 1
        return [place for place in range(first, last + 1) if self.session.locked[place]]

    def _undo(self, page: int, key: str) -> Job[Reply]:
        """Take back the last act on a page."""
        past = self.history[page]
        if past.place == 0:
            raise ActionError("There is nothing to undo on this page.")
        yield from self._go_back({page: past.place - 1}, region=key)
        return Reply((page,), "Undone.")

    def _go_back(self, places: Mapping[int, int], region: str = "") -> Job[None]:
        """Make pages stand as they did in earlier versions (or in later ones that were undone)."""
        for page, place in places.items():
            version = self.history[page].versions[place]
            one_back = place == self.history[page].place - 1
            if not (one_back and self.session.undo(page) and self._rle(page) == version.standing.mask):
                self.session.restore({page: version.standing})
        nothing = [self.view.frame_of(page) for page in places if self._rle(page) is None]
        only = next(iter(places)) if len(places) == 1 else None
        text = ",".join(map(str, nothing))
        yield from self._note("undo", only, changed=tuple(places), text=text, region=region)

    def _flag(self, found: Findings) -> Job[None]:
        for page in found.occluded:
            yield from self._note("occluded", page)
        for page in found.visible:
            yield from self._note("visible", page)

    def _note(
        self,
        kind: StudioEventKind,
        page: int | None,
        *,
        changed: Sequence[int] = (),
        **values: Any,
    ) -> Job[None]:
        """Write down an act with the masks it left on the changed pages; only then it counts."""
        left = {self.view.frame_of(place): self.session.standing(place) for place in changed}
        event = StudioEvent(
            event_id=f"{self.token}-{uuid.uuid4().hex[:12]}",
            at=max(self._clock(), self._written_at + _TICK_S),
            ticket_id=self.ticket.ticket_id,
            person=self.person,
            kind=kind,
            frame=None if page is None else self.view.frame_of(page),
            answers={frame: now.mask for frame, now in left.items() if now.mask is not None},
            scores={frame: now.score for frame, now in left.items() if now.score is not None},
            **values,
        )
        yield Aside(lambda: self._events.append(self.ticket.round_id, event))
        self.history.apply(event)
        self._written_at = event.at
        self.last_answer = self._clock()

    def _remark(self, page: int) -> str | None:
        """What a person must know about an answer that the picture does not show."""
        if self.session.standing(page).mask is not None and self._mask(page).any():
            return None
        return "The model sees no object here: click on it again, or paint it."

    def _suggestion(self) -> str:
        pages = self.session.suggest(3)
        if not pages:
            return "No page needs another look: all others are yours already."
        others = f" (then {pages_text(pages[1:])})" if pages[1:] else ""
        return f"Look at page {pages[0] + 1} of {len(self.view)}{others}."

    def _help(self) -> str:
        return help_text(propagates=self.session.rules.propagates)

    def _region(self, page: int) -> dict[str, Any]:
        """The mask of a page as it stands; nothing there is an empty mask."""
        standing = self.session.standing(page)
        shown = self.view.shown(self._mask(page))
        region = mask_region(page, shown, self.view, score=standing.score)
        self.looks.keep(digest_of((region["value"]["imageDataURL"],)), look_of(shown))
        return region

    def _mask(self, page: int) -> BoolMask:
        """Source pixels; nothing there is an empty mask."""
        rle = self._rle(page)
        return np.zeros(self.session.shape, bool) if rle is None else rle_masks.decode(rle)

    def _rle(self, page: int) -> Rle | None:
        return self.session.standing(page).mask
