"""`p` on a whole clip: from Enter to the last mask in the page, beside what the network alone needs for it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from annotation.assistance import SessionTools
from annotation.session import AnnotationSession
from benchmarks.studio.bench_site import BenchSite, Work
from benchmarks.studio.clicks import press
from benchmarks.studio.machine import load_average
from benchmarks.studio.server_times import ServerTimes
from benchmarks.studio.stopwatch import Wait, start_watch, take_wait
from engine.phases import phase
from engine.weights import load_weights

if TYPE_CHECKING:
    from tests.e2e.browser import AnnotationPage

__all__ = ["CarryRow", "measure_carrying", "model_seconds"]


@dataclass(frozen=True, slots=True)
class CarryRow:
    """One `p`: how long it took in the page and at the server, and how many pages changed."""

    wait: Wait
    server_s: float
    model_s: float
    load: float


class _Clock:
    def now_s(self) -> float:
        return time.monotonic()


def measure_carrying(page: AnnotationPage, work: Work, times: ServerTimes) -> CarryRow:
    """Click on the first page, then type p and Enter at once: the page has not been saved since the click."""
    page.turn_to(0)
    page.take("click")
    start_watch(page.page, 0)
    press(page, *work.clip.centre(0))
    take_wait(page.page)
    page.wait_until_painted()
    field = page.page.locator("input[name=cmd]")
    field.fill("p")
    before = times.read()
    start_watch(page.page, None)
    field.press("Enter")
    wait = take_wait(page.page)
    after = times.read()
    page.leave_fields()
    return CarryRow(wait, after.server_s - before.server_s, after.model_s - before.model_s, load_average())


def model_seconds(site: BenchSite, work: Work) -> float:
    """What the same click and the same `p` take in a session alone, in this process: the `p` only, in seconds."""
    torch.set_num_threads(1)
    video = site.home.library.get(work.ticket.item.video_id)
    tools = SessionTools(load_weights(site.home, work.ticket.checkpoint_hash))
    frames = site.home.library.frames(video)
    session = AnnotationSession(
        work.ticket.item, frames, video.annotated_frames, tools=tools, rules=phase(3).rules, clock=_Clock()
    )
    session.click(0, *work.clip.centre(0))
    began = time.perf_counter()
    session.propagate(0)
    return time.perf_counter() - began
