"""The measurements of the site, without a site: clips, plans, checks of answers, and figures."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotation.pages.marks import mask_region, says_region
from annotation.pages.tickets import Ticket
from annotation.pages.views import PageView
from annotation.work import WorkItem
from benchmarks.studio.bench_site import Work
from benchmarks.studio.clicks import ClickRow, plan
from benchmarks.studio.clips import CELLS, Clip
from benchmarks.studio.crowd import Outcome, Seat, run_alone, run_together
from benchmarks.studio.crowd import plan as crowd_plan
from benchmarks.studio.person import Copy, click_region
from benchmarks.studio.report import (
    CLICK_HEAD,
    CROWD_HEAD,
    ClickFigures,
    CrowdFigures,
    percentile,
    table,
    write_blocks,
)
from benchmarks.studio.stopwatch import Wait

FRAMES = 6


def work_on(clip: Clip) -> Work:
    view = PageView(
        frames=tuple(range(clip.frames)),
        source_height=clip.height,
        source_width=clip.width,
        height=clip.height,
        width=clip.width,
    )
    item = WorkItem(
        task_id=f"disc-{clip.number}",
        round_id="r",
        desk="annotation",
        kind="annotate",
        video_id="v",
        phase=3,
        first_frame=0,
        name="disc",
    )
    ticket = Ticket(ticket_id=item.task_id, item=item, view=view, checkpoint_hash="0")
    return Work(ticket, clip.number, clip, {}, [])


class Model:
    """A door behind which the true disc is known; `wrong` is the number of a clip that gets another's."""

    def __init__(self, *, wrong: int | None = None, busy: bool = False) -> None:
        self.saved = 0
        self._wrong = wrong
        self._busy = busy

    async def ask(self, copy: Copy, prompt: dict[str, Any]) -> list[dict[str, Any]]:
        clip, page = copy.work.clip, prompt["item_index"]
        if self._busy:
            return [says_region(page, "busy, click again")]
        shown = Clip(clip.number + 1, clip.frames) if clip.number == self._wrong else clip
        return [mask_region(page, shown.disc(page), copy.work.ticket.view)]

    async def save(self, copy: Copy) -> None:
        self.saved += 1


def seats(door: Model, people: int = 3) -> list[Seat]:
    works = [work_on(Clip(number, FRAMES)) for number in range(people)]
    return [Seat(work, Copy.opened(work, ""), door, crowd_plan(work, 0, 5)) for work in works]


def crowd(door: Model, alone: Model) -> Outcome:
    async def both() -> Outcome:
        together = seats(door)
        outcome = await run_together(together, beat_s=0.0)
        await run_alone(seats(alone), together, outcome)
        return outcome

    return asyncio.run(both())


def test_discs_of_different_clips_lie_apart():
    clips = [Clip(number, 30) for number in range(CELLS[0] * CELLS[1])]
    total = sum(clip.disc(frame).astype(int) for clip in clips for frame in (0,))
    assert total.max() == 1
    for clip in clips:
        for frame in (0, 13, 29):
            x, y = clip.centre(frame)
            assert clip.radius < x < clip.width - clip.radius
            assert clip.radius < y < clip.height - clip.radius


def test_a_disc_is_brighter_than_its_ground():
    clip = Clip(1, 2, height=120, width=214, radius=16)
    picture, disc = clip.pictures()[1].astype(int), clip.disc(1)
    assert picture.shape == (120, 214, 3)
    assert picture[disc].sum(axis=1).min() > picture[~disc].sum(axis=1).max()


def test_a_click_is_sent_as_the_page_sends_it():
    region = click_region(work_on(Clip(0, 3)).ticket.view, 2, 0.0, 479.0, positive=False)
    assert (region["from_name"], region["item_index"], region["is_positive"]) == ("click", 2, False)
    assert region["value"]["x"] == pytest.approx(50 / 854)
    assert region["value"]["y"] == pytest.approx(100 - 50 / 480)


def test_clicks_visit_new_pages_and_come_back():
    pages = list(plan(24, 24))
    assert len({page for page, returned in pages if not returned}) == 16
    assert all(page in {earlier for earlier, _ in pages[:n]} for n, (page, back) in enumerate(pages) if back)
    assert max(page for page, _ in pages) > 18
    assert len(list(plan(2, 9))) == 9


def test_a_crowd_that_gets_its_own_masks_is_well():
    door = Model()
    outcome = crowd(door, Model())
    assert outcome.ok
    assert len(outcome.seconds) == 3 * 3
    assert door.saved == 3


def test_a_mask_of_somebody_else_is_noticed():
    outcome = crowd(Model(wrong=1), Model())
    assert (outcome.strayed, outcome.different) == (5, 5)
    assert not outcome.ok


def test_who_is_turned_away_is_counted():
    outcome = crowd(Model(busy=True), Model(busy=True))
    assert (outcome.turned_away, outcome.errors) == (15, [])


def test_the_stopwatch_of_the_page_is_read():
    seen = {
        "pressed": 100.0,
        "asked": 110.0,
        "answered": 160.0,
        "painted": 250.0,
        "pages": [4],
        "how": "drawn",
    }
    assert Wait.from_page(seen) == Wait(0.01, 0.05, 0.15, (4,))
    assert Wait.from_page({**seen, "how": "unchanged", "painted": None}).painted_s is None
    with pytest.raises(TimeoutError, match="asked for nothing"):
        Wait.from_page({"pressed": 1.0, "how": "silent"})


@pytest.mark.parametrize(("share", "expected"), [(0.5, 5), (0.95, 10), (0.9, 9), (0.01, 1)])
def test_percentiles_are_values_that_were_measured(share: float, expected: float):
    assert percentile([float(n) for n in np.random.default_rng(0).permutation(10) + 1], share) == expected


def test_figures_become_lines_of_a_table():
    waits = [Wait(0.1, 0.1, 0.3, (1,)), Wait(0.1, 0.1, 0.4, (2,)), Wait(0.1, 0.1, None, ())]
    rows = [ClickRow(1, False, wait, 0.05, 0.03, load=1.0) for wait in waits]
    cells = ClickFigures(24, 2.0, rows).cells()
    assert len(cells) == len(CLICK_HEAD)
    assert list(cells[:7]) == ["24", "2", "2.00", "0.30", "0.40", "0.40", "0.30"]
    crowded = CrowdFigures("Label Studio", "at once", Outcome(seconds=[0.1]), 2.0).cells()
    assert len(crowded) == len(CROWD_HEAD)
    assert table(["a", "b"], [["1", "2"]]).splitlines() == ["| a | b |", "| --- | --- |", "| 1 | 2 |"]


def test_a_measured_block_replaces_its_own_only(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text(
        "a\n<!-- measured: x -->\nold\n<!-- end measured -->\n<!-- measured: y -->\nkept\n<!-- end measured -->\n"
    )
    write_blocks(page, {"x": "new"})
    assert page.read_text().splitlines()[1:4] == ["<!-- measured: x -->", "new", "<!-- end measured -->"]
    assert "kept" in page.read_text()
