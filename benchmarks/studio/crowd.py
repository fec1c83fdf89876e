"""Eight people at one model server: whether each gets answers to their own clicks, and how long they wait.

Everybody has a clip of their own with the disc elsewhere, but for the last two, who share a ticket. Each first clicks
and has the page saved, so that the server knows who they are; then all click at the same moments. Afterwards the
same clicks are made by one person after another on tickets of their own: the masks must be the same, bit for bit.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from annotation.pages.regions import SAYS
from benchmarks.studio.bench_site import Work
from benchmarks.studio.person import Copy, Door, click_region, masks_in

__all__ = ["PEOPLE", "Act", "Outcome", "Seat", "plan", "run_alone", "run_together"]

BoolMask = NDArray[np.bool_]

PEOPLE = 8
CLICKS_A_PAGE = 3
SAVE_EVERY = 5
FIRST_CLICKS = 2
INSIDE = 0.8
"""Of an answer's pixels so many must lie within 1.6 radii of the person's own disc, or it is somebody else's."""
FOUND = 0.3
"""Of the disc's pixels so many must be in the answer."""


@dataclass(frozen=True, slots=True)
class Act:
    """One click: page, pixel."""

    page: int
    x: float
    y: float


@dataclass(slots=True)
class Seat:
    """One person: at which work, by which door, and what was answered."""

    work: Work
    copy: Copy
    door: Door
    acts: Sequence[Act]
    masks: list[BoolMask | None] = field(default_factory=list)


@dataclass(slots=True)
class Outcome:
    """What became of all clicks together."""

    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    turned_away: int = 0  # answered "busy"
    strayed: int = 0  # answers that do not lie on the person's own disc
    different: int = 0  # answers that are others than the same clicks get alone

    @property
    def ok(self) -> bool:
        """No error, and nothing mixed up."""
        return not (self.errors or self.strayed or self.different)


def plan(work: Work, person: int, clicks: int) -> list[Act]:
    """The clicks of a person: three on a page, around the middle of the disc, then on to another page."""
    acts = []
    for number in range(clicks):
        page = number // CLICKS_A_PAGE * 7 % work.clip.frames
        share = (0.2, 0.55, 0.75)[number % CLICKS_A_PAGE]
        x, y = work.clip.on_ring(page, share=share, turn=0.13 * person + 0.37 * number)
        acts.append(Act(page, x, y))
    return acts


async def run_together(seats: Sequence[Seat], *, beat_s: float) -> Outcome:
    """Everybody sits down, one after another; then all click at once, every `beat_s` seconds or as answers come."""
    outcome = Outcome()
    for seat in seats:
        await _sit_down(seat, outcome)
    outcome.seconds.clear()
    start = time.monotonic() + 0.5
    await asyncio.gather(*(_click_on(seat, outcome, start, beat_s) for seat in seats))
    return outcome


async def run_alone(seats: Sequence[Seat], together: Sequence[Seat], outcome: Outcome) -> None:
    """Make the same clicks one person after another, and count answers that differ."""
    quiet = Outcome()
    for seat, crowded in zip(seats, together, strict=True):
        await _sit_down(seat, quiet)
        await _click_on(seat, quiet, time.monotonic(), 0.0)
        outcome.different += sum(
            not _same(one, other) for one, other in zip(seat.masks, crowded.masks, strict=True)
        )
    outcome.errors += [f"alone: {error}" for error in quiet.errors]


async def _sit_down(seat: Seat, outcome: Outcome) -> None:
    """Click, have the page saved, and click again: now the server has seen the draft and knows who it is."""
    await _click(seat, seat.acts[0], outcome)
    await seat.door.save(seat.copy)
    await _click(seat, seat.acts[1], outcome)


async def _click_on(seat: Seat, outcome: Outcome, start: float, beat_s: float) -> None:
    for number, act in enumerate(seat.acts[FIRST_CLICKS:]):
        await asyncio.sleep(max(0.0, start + number * beat_s - time.monotonic()))
        await _click(seat, act, outcome)
        if number % SAVE_EVERY == SAVE_EVERY - 1:
            await seat.door.save(seat.copy)


async def _click(seat: Seat, act: Act, outcome: Outcome) -> None:
    prompt = click_region(seat.work.ticket.view, act.page, act.x, act.y)
    began = time.perf_counter()
    try:
        answer = await seat.door.ask(seat.copy, prompt)
    except (RuntimeError, OSError) as error:
        outcome.errors.append(str(error))
        seat.masks.append(None)
        return
    outcome.seconds.append(time.perf_counter() - began)
    seat.copy.take(answer)
    mask = masks_in(answer, seat.work.ticket.view).get(act.page)
    seat.masks.append(mask)
    if mask is None:
        said = [region["value"]["text"] for region in answer if region["from_name"] == SAYS]
        outcome.turned_away += "busy" in str(said)
        outcome.errors += [] if "busy" in str(said) else [f"no mask for page {act.page}: {said}"]
    elif not _on_disc(seat.work, act.page, mask):
        outcome.strayed += 1


def _on_disc(work: Work, page: int, mask: BoolMask) -> bool:
    disc = work.clip.disc(page)
    around = work.clip.disc(page, radius=1.6 * work.clip.radius)
    return bool(
        mask.any() and mask[around].sum() >= INSIDE * mask.sum() and mask[disc].sum() >= FOUND * disc.sum()
    )


def _same(one: BoolMask | None, other: BoolMask | None) -> bool:
    if one is None or other is None:
        return one is other
    return bool(np.array_equal(one, other))
