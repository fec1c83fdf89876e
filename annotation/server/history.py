"""What each page has looked like, in order: the memory by which the server understands undo, and starts again.

The history of a sitting follows from its ticket and its events alone, so it is the same after a restart. A page's look
is a digest of its mask in shown pixels: two pictures that show the same have the same look, however they are packed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from annotation.frame_states import Standing
from annotation.pages.events import StudioEvent
from annotation.pages.views import PageView
from model.prompts import Box, Click
from storage import masks as rle_masks
from storage.masks import Rle

__all__ = ["NOTHING", "History", "PageHistory", "Version", "look_of"]

BoolMask = npt.NDArray[np.bool_]
T = TypeVar("T")

NOTHING = ""
"""The look of a page that shows no mask, be it empty or not there."""

_KEPT_VERSIONS = 64


def look_of(shown: BoolMask | None) -> str:
    """The look of a mask in shown pixels, bool [h, w]."""
    if shown is None or not shown.any():
        return NOTHING
    return hashlib.sha256(np.packbits(shown).tobytes()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Version:
    """A page after one act.

    event_id: of the act, empty for what was published. at: when the server had answered it. standing: what the
    annotation tool knows of the frame, its mask in source pixels. absent: the person marked the object as not there.
    faced: the person had this page before them when it came about; propagation reaches others.
    """

    event_id: str = ""
    at: float = 0.0
    standing: Standing = field(default_factory=Standing)
    look: str = NOTHING
    absent: bool = False
    faced: bool = False


@dataclass(slots=True)
class PageHistory:
    """Versions of one page, oldest first, and which of them stands. seen: some draft showed it."""

    versions: list[Version]
    place: int = 0
    seen: bool = False

    @property
    def current(self) -> Version:
        """What stands on the page."""
        return self.versions[self.place]

    def add(self, version: Version) -> None:
        """A new state; what was undone before is gone for good. The first version stays, of the others the newest."""
        kept = [*self.versions[: self.place + 1], version]
        self.versions = [kept[0], *kept[1:][-_KEPT_VERSIONS:]]
        self.place = len(self.versions) - 1
        self.seen = False

    def find(self, look: str, *, absent: bool) -> int | None:
        """The version that looks so and was reached last, the current one aside; what was undone comes last."""
        for place in self._others():
            version = self.versions[place]
            if version.absent == absent and (absent or version.look == look):
                return place
        return None

    def find_mask(self, mask: Rle | None) -> int | None:
        """Like `find`, for exactly this mask."""
        return next((place for place in self._others() if self.versions[place].standing.mask == mask), None)

    def _others(self) -> tuple[int, ...]:
        return *reversed(range(self.place)), *range(self.place + 1, len(self.versions))


@dataclass(slots=True)
class History:
    """All pages of a ticket as one person sees them.

    answered: for each prompt that was acted on, by its key, the pages of its answer.
    """

    view: PageView
    pages: list[PageHistory]
    occluded: set[int] = field(default_factory=set)
    prompts: dict[str, tuple[int, ...]] = field(default_factory=dict)
    acts: int = 0

    @classmethod
    def of(cls, view: PageView, standings: Sequence[Standing]) -> History:
        """What was published, by page."""
        first = [Version(standing=standing, look=cls._look(view, standing.mask)) for standing in standings]
        return cls(view, [PageHistory([version]) for version in first])

    @staticmethod
    def _look(view: PageView, mask: Rle | None) -> str:
        return NOTHING if mask is None else look_of(view.shown(rle_masks.decode(mask)))

    def __getitem__(self, page: int) -> PageHistory:
        return self.pages[page]

    def replay(self, events: Iterable[StudioEvent]) -> frozenset[int]:
        """Apply events in order; returns the pages that they touched."""
        touched: set[int] = set()
        for event in events:
            touched.update(self.apply(event))
        return frozenset(touched)

    def apply(self, event: StudioEvent) -> tuple[int, ...]:
        """Follow an event; returns the pages whose state it changed."""
        self.acts += 1
        pages = self._follow(event)
        if event.region:
            self.prompts[event.region] = pages
        return pages

    def _follow(self, event: StudioEvent) -> tuple[int, ...]:
        if event.kind in ("occluded", "visible"):
            self._flag(event)
            return ()
        if event.kind == "undo":
            return self._move(event)
        frames = set(event.answers) | ({_known(event.frame)} if event.kind == "reset" else set())
        pages = tuple(self.view.page_of(frame) for frame in sorted(frames))
        for page in pages:
            self.pages[page].add(self._after(event, page))
        return pages

    def _after(self, event: StudioEvent, page: int) -> Version:
        """The version that an event makes of a page's current one."""
        frame = self.view.frame_of(page)
        mask, score = event.answers.get(frame), event.scores.get(frame)
        before = self.pages[page].current.standing
        return Version(
            event.event_id,
            event.at,
            _acted(replace(before, mask=mask, score=score), event),
            self._look(self.view, mask),
            absent=event.kind == "absent",
            faced=event.frame == frame,
        )

    def _move(self, event: StudioEvent) -> tuple[int, ...]:
        """Go back (or forward again) to the version with the mask that the event names."""
        nothing = [int(frame) for frame in event.text.split(",") if frame]
        masks: dict[int, Rle | None] = {**event.answers, **dict.fromkeys(nothing)}
        for frame, mask in masks.items():
            history = self.pages[self.view.page_of(frame)]
            place = history.find_mask(mask)
            if place is not None:
                history.place = place
                history.versions[place] = replace(history.current, at=event.at, faced=True)
        return tuple(self.view.page_of(frame) for frame in sorted(masks))

    def _flag(self, event: StudioEvent) -> None:
        page = self.view.page_of(_known(event.frame))
        (self.occluded.add if event.kind == "occluded" else self.occluded.discard)(page)


def _acted(standing: Standing, event: StudioEvent) -> Standing:
    """What an act by the person does to a frame, besides its mask."""
    if event.kind == "command":
        return standing
    if event.kind == "reset":
        return Standing(standing.mask, standing.score)
    clicks: tuple[Click, ...] = ()
    box, count = None, standing.click_count
    if event.kind == "click":
        click = Click(_known(event.x), _known(event.y), event.positive is not False)
        clicks, box, count = (*standing.clicks, click), standing.box, count + 1
    elif event.kind == "box":
        box = Box(*json.loads(event.text))
    return replace(standing, clicks=clicks, box=box, click_count=count, edited=True, locked=True)


def _known(value: T | None) -> T:
    assert value is not None  # we wrote the event ourselves
    return value
