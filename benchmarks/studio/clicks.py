"""Clicks in the page, one after another as a person makes them, on pages here and there of one clip."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.studio.bench_site import BenchSite, Work
from benchmarks.studio.machine import load_average
from benchmarks.studio.server_times import ServerTimes
from benchmarks.studio.stopwatch import Wait, start_watch, take_wait

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.e2e.browser import AnnotationPage

__all__ = ["ClickRow", "measure_clicks", "plan", "press", "sit_down"]

EMAIL = "clicker@example.com"
REVISIT_EVERY = 3
"""Every third click comes back to a page that was clicked on before."""

_OPENED = "task => window.Htx?.task?.id === task && Htx.annotationStore.selected && !Htx.isLoading"
_TURN = "number => Htx.annotationStore.selected.names.get('frames').setCurrentImage(number)"
_STRIDE = 0.381966  # of the clip: pages in an order that jumps about
_MARGIN_PX = 5  # to the mask: pixels of the screen are not those of the frame
_RINGS = (0.88, 0.6, 1.35)  # of the disc's radius; outside, the click takes away
_TURNS = 16


@dataclass(frozen=True, slots=True)
class ClickRow:
    """A click: where, whether the page had been clicked on before, and how long it took."""

    page: int
    returned: bool
    wait: Wait
    server_s: float  # from arrival to answer at the model server
    model_s: float  # of that, what the network's thread was held
    load: float  # load average of the machine


def sit_down(browser: Browser, site: BenchSite, work: Work) -> tuple[AnnotationPage, float]:
    """Open a task as somebody who has done this before; also returns the seconds until the page can be used."""
    from tests.e2e.browser import AnnotationPage, Person

    person = Person(
        browser, site.site.public_url, email=EMAIL, password=site.member(EMAIL), pictures=site.home.path
    )
    began = time.perf_counter()
    project = site.site.projects["annotation-3"]
    person.page.goto(f"{site.site.public_url}/projects/{project}/data?task={work.task_id}")
    person.page.wait_for_function(_OPENED, arg=work.task_id)
    page = AnnotationPage(person)
    opened_s = time.perf_counter() - began
    page.switch_on_assistance()
    return page, opened_s


def measure_clicks(
    page: AnnotationPage, work: Work, times: ServerTimes, *, count: int, pause_s: float
) -> Iterator[ClickRow]:
    """Click `count` times, each after a pause in which a person would look."""
    for number, (where, returned) in enumerate(plan(work.clip.frames, count)):
        turn_to(page, where)
        page.take("click")
        x, y, positive = _free_point(page, work, where, first_turn=number)
        time.sleep(pause_s)
        before = times.read()
        start_watch(page.page, where)
        press(page, x, y, positive=positive)
        wait = take_wait(page.page)
        after = times.read()
        page.wait_until_painted()
        yield ClickRow(
            where,
            returned,
            wait,
            after.server_s - before.server_s,
            after.model_s - before.model_s,
            load_average(),
        )


def turn_to(page: AnnotationPage, number: int) -> None:
    """Open a page at once; with the keys it takes a turn for each page between."""
    page.page.evaluate(_TURN, number)
    page.turn_to(number)


def press(page: AnnotationPage, x: float, y: float, *, positive: bool = True) -> None:
    """Press the mouse at a pixel of the frame, with Alt for a negative click, and wait for nothing."""
    if not positive:
        page.page.keyboard.down("Alt")
    page._press_at(x, y)
    if not positive:
        page.page.keyboard.up("Alt")


def plan(frames: int, count: int) -> Iterator[tuple[int, bool]]:
    """Pages to click on, and whether each was clicked on before: new ones that jump about, and returns."""
    visited: list[int] = []
    for number in range(count):
        returns = number % REVISIT_EVERY == REVISIT_EVERY - 1
        if returns:
            yield visited[(number * 5) % len(visited)], True
            continue
        page = round(len(visited) * _STRIDE * frames) % frames
        while page in visited and len(visited) < frames:
            page = (page + 1) % frames
        yield page, page in visited
        visited.append(page)


def _free_point(
    page: AnnotationPage, work: Work, where: int, *, first_turn: int
) -> tuple[float, float, bool]:
    """A place in the disc that the mask does not cover, or one outside to click away: (x, y, positive).

    A click on a mask only selects it.
    """
    shown = page.painted()
    for share in _RINGS:
        for turn in range(_TURNS):
            x, y = work.clip.on_ring(where, share=share, turn=(first_turn * 5 + turn) / _TURNS)
            inside = _MARGIN_PX <= x < work.clip.width and _MARGIN_PX <= y < work.clip.height
            if inside and not shown[_around(y), _around(x)].any():
                return x, y, share < 1
    raise RuntimeError(f"the mask of page {where} covers all of the disc and what is around it")


def _around(place: float) -> slice:
    return slice(int(place) - _MARGIN_PX, int(place) + _MARGIN_PX + 1)
