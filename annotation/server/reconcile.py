"""What a saved page tells that nobody told us: strokes of the brush, marks, and what was undone in the page.

The page is never asked; it saves a draft some seconds after a change. A draft speaks of a page only if it was saved
after our last answer there had time to arrive; before that, what it shows may simply be old. And of pages that the
person never turned to, Label Studio saves what it loaded, whatever has come since: there an older state means nothing.
So it does now and then for a page that is being turned; but undo in the page takes an answer back on all its pages.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from annotation.pages.marks import PageMarks
from annotation.pages.views import PageView
from annotation.server.history import NOTHING, History, PageHistory, look_of

__all__ = ["Findings", "Looks", "compare"]

BoolMask = npt.NDArray[np.bool_]


class Looks:
    """The looks of pictures seen before, so that each is unpacked only once."""

    def __init__(self, view: PageView, *, kept: int = 1024) -> None:
        self._view = view
        self._kept = kept
        self._looks: OrderedDict[str, str] = OrderedDict()

    def of(self, marks: PageMarks, page: int) -> str:
        """The look of a page in a draft. PageError if its picture is damaged."""
        digest = marks.digest(page)
        if not digest:
            return NOTHING
        if digest not in self._looks:
            self.keep(digest, look_of(marks.mask(page, self._view)))
        self._looks.move_to_end(digest)
        return self._looks[digest]

    def keep(self, digest: str, look: str) -> None:
        """Remember what a picture looks like."""
        self._looks[digest] = look
        while len(self._looks) > self._kept:
            self._looks.popitem(last=False)


@dataclass(slots=True)
class Findings:
    """What happened, by page. restored: to which version it went back; brushed: its mask in shown pixels; shown: pages
    that look as they should; outdated: pages that look as they once did, though nobody undid anything.
    """

    shown: list[int] = field(default_factory=list)
    outdated: list[int] = field(default_factory=list)
    restored: dict[int, int] = field(default_factory=dict)
    brushed: dict[int, BoolMask] = field(default_factory=dict)
    absent: list[int] = field(default_factory=list)
    occluded: list[int] = field(default_factory=list)
    visible: list[int] = field(default_factory=list)


def compare(
    marks: PageMarks, saved_at: float, history: History, looks: Looks, *, settle_s: float
) -> Findings:
    """Set a draft against the history. PageError when a picture in it is damaged."""
    found = Findings()
    seen: list[tuple[str, bool]] = []
    for page in range(len(history.pages)):
        _compare_flag(marks, page, history, found)
        absent = marks.visibility.get(page) == "absent"
        seen.append((NOTHING if absent else looks.of(marks, page), absent))
    standing = _standing_answers(history, seen)
    for page, (past, (look, absent)) in enumerate(zip(history.pages, seen, strict=True)):
        if _stands(past, look, absent):
            past.seen = True
            found.shown.append(page)
            continue
        if saved_at <= past.current.at + settle_s:
            continue
        earlier = past.find(look, absent=absent)
        loaded = not past.seen or (look != NOTHING and past.current.event_id in standing)
        if earlier is not None and loaded and not (absent or past.current.faced):
            found.outdated.append(page)
        elif earlier is not None:
            found.restored[page] = earlier
        elif absent:
            found.absent.append(page)
        else:
            mask = marks.mask(page, history.view)
            found.brushed[page] = (
                np.zeros((history.view.height, history.view.width), bool) if mask is None else mask
            )
    return found


def _stands(past: PageHistory, look: str, absent: bool) -> bool:
    now = past.current
    return now.absent == absent and (absent or now.look == look)


def _standing_answers(history: History, seen: Sequence[tuple[str, bool]]) -> set[str]:
    """Acts whose masks a draft shows on a page where they can be told from what was there before."""
    return {
        past.current.event_id
        for past, (look, absent) in zip(history.pages, seen, strict=True)
        if past.place > 0
        and _stands(past, look, absent)
        and (past.versions[past.place - 1].look, past.versions[past.place - 1].absent) != (look, absent)
    }


def _compare_flag(marks: PageMarks, page: int, history: History, found: Findings) -> None:
    occluded = marks.visibility.get(page) == "occluded"
    if occluded != (page in history.occluded):
        (found.occluded if occluded else found.visible).append(page)
