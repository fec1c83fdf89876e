"""Phase 1, frame by frame, and phase 2, masks carried on: shorter than phase 3, each in a home of its own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.e2e.browser import AnnotationPage, Person, SelectionPage
from tests.e2e.conftest import Clip, Workplace
from tests.e2e.steps import acts_of, check_masks, judge, open_annotation, select, shown_masks

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def cells(workplace: Workplace, clip: Callable[[int], Clip]) -> Clip:
    """Take in a second of cells."""
    made = clip(6)
    workplace.engine("ingest", str(made.path))
    return made


@pytest.fixture
def frames(workplace: Workplace, cells: Clip) -> tuple[int, ...]:
    """The annotated frames."""
    return workplace.home.library.videos()[0].annotated_frames


def test_phase_1_is_done_frame_by_frame(workplace: Workplace, cells: Clip, frames: tuple[int, ...]) -> None:
    anna, bert = workplace.person("anna"), workplace.person("bert", role="verifier")
    workplace.round(1)
    select_too_much_and_mend_it(workplace, anna, cells)
    workplace.round(1)
    page = open_annotation(workplace, anna, phase=1)
    before = page.masks()
    for number in range(len(page) - 1):
        page.turn_to(number)
        page.click(*cells.middle(number))
        after = page.masks()
        later = range(number + 1, len(page))
        assert all((after[other] == before[other]).all() for other in later), (
            "a click changes its own frame only"
        )
    assert refused_command(page, "p")
    page.turn_to(len(page) - 1)
    page.mark("absent")
    shown = shown_masks(page)
    page.submit()
    workplace.round(1)
    judge(workplace, bert, "satisfactory")
    workplace.round(1, code=0)

    check_masks(workplace, shown, revision=1)
    done = acts_of(workplace, revision=1)
    assert [act for act in done if act[0] == "click"] == [("click", frame) for frame in frames[:-1]]
    assert [act for act in done if act[0] == "absent"] == [("absent", frames[-1])]


def select_too_much_and_mend_it(workplace: Workplace, anna: Person, cells: Clip) -> None:
    """Two objects where one is wanted: the task says so, and its author mends it."""
    project = workplace.site.projects["selection"]
    assert anna.label_all(project)
    page, task = SelectionPage(anna), anna.task
    page.box(*cells.box(0), name="cell")
    page.box(200, 200, 230, 230)
    page.submit()
    workplace.round(1)
    anna.open_submitted(project, task)
    anna.picture("sent back")
    assert "1 wanted" in anna.page.inner_text("body")
    page = SelectionPage(anna)
    page.remove(215, 215)
    page.submit()


def test_phase_2_carries_masks_on(workplace: Workplace, cells: Clip, frames: tuple[int, ...]) -> None:
    anna, bert = workplace.person("anna"), workplace.person("bert", role="verifier")
    workplace.round(2)
    select(workplace, anna, cells.box(0), name="cell")
    workplace.round(2)
    page = open_annotation(workplace, anna, phase=2)
    page.click(*cells.middle(0))
    page.command("p")
    assert set(page.masks()) == set(range(len(page)))
    page.turn_to(3)
    page.set_brush_size("eraser", smaller=1)
    before = page.painted()
    page.erase([cells.box(3)[:2], cells.middle(3)])
    assert page.painted().sum() < before.sum()
    page.wait_until_saved()
    kept = page.painted()
    page.command("p")
    page.check_painted(kept)  # what the person corrected stays
    shown = shown_masks(page)
    page.submit()
    workplace.round(2)
    judge(workplace, bert, "satisfactory")
    workplace.round(2, code=0)

    check_masks(workplace, shown, revision=1)
    assert acts_of(workplace, revision=1) == [
        ("click", frames[0]),
        ("propagate", frames[0]),
        ("brush", frames[3]),
        ("propagate", frames[3]),
    ]
    assert np.any(shown[len(shown) - 1])


def refused_command(page: AnnotationPage, text: str) -> str:
    """Type a command that this page does not know; returns what the server says, with every mask as it was."""
    before = page.masks()
    said = page.command(text)
    after = page.masks()
    assert set(after) == set(before) and all((after[number] == before[number]).all() for number in before)
    return said
