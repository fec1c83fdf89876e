"""Phase 3 as people do it: click, brush, propagate, correct, hand in; refuse, mend, accept; the round goes on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.browser import AnnotationPage, BoolMask, Point
from tests.e2e.conftest import Clip, Workplace
from tests.e2e.steps import Act, acts_of, check_masks, judge, open_annotation, select, shown_masks

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]


def test_a_masklet_from_the_first_click_to_the_retrained_model(
    workplace: Workplace, clip: Callable[[int], Clip]
) -> None:
    cells = clip(12)
    workplace.engine("ingest", str(cells.path))
    anna, bert = workplace.person("anna"), workplace.person("bert", role="verifier")
    frames = workplace.home.library.videos()[0].annotated_frames

    assert "objects are selected in 0 of 1 videos" in workplace.round(3)
    select(workplace, anna, cells.box(0), name="cell")
    workplace.round(3)
    page = open_annotation(workplace, anna, phase=3)
    acts, points = annotate(page, cells, frames)
    shown = shown_masks(page, unseen=(4, 5, 11))
    page.turn_to(6)
    anna.picture("masklet")
    page.submit()
    workplace.round(3)

    judge(workplace, anna, "satisfactory")  # of her own work: it does not count
    workplace.round(3)
    judge(workplace, bert, "unsatisfactory", bad=[(9, 10)])
    workplace.round(3)
    page = open_annotation(workplace, anna, phase=3)
    anna.picture("refused")
    check_masks_of_pages(page, shown)
    page.turn_to(8)
    mending = page.click(*cells.middle(8))
    mended = shown_masks(page)
    page.submit()
    workplace.round(3)
    judge(workplace, bert, "satisfactory")
    assert "closed" in workplace.round(3, code=0)

    check_masks(workplace, shown, revision=1)
    check_masks(workplace, mended, revision=2)
    assert acts_of(workplace, revision=1) == acts
    assert clicked(workplace, revision=1) == points
    assert clicked(workplace, revision=2) == [(frames[8], *in_pixels(mending), True)]
    assert verdicts(workplace) == [
        (1, "bert@example.com", "unsatisfactory"),
        (2, "bert@example.com", "satisfactory"),
    ]
    assert len(workplace.rows("dataset", "dataset")) == 1
    assert workplace.rows("retrain", "training")


def annotate(
    page: AnnotationPage, cells: Clip, frames: tuple[int, ...]
) -> tuple[list[Act], list[tuple[int, float, float, bool]]]:
    """Everything the page can do, once; returns the acts in order, and the clicks with their pixels."""
    x0, y0, x1, y1 = cells.box(0)
    first = page.click(*cells.middle(0))
    second = page.click(x0 - 4, y0 - 4, positive=False)
    page.turn_to(6)
    x0, y0, x1, y1 = cells.box(6)
    page.box(x0 - 1, y0 - 1, x1 + 1, y1 + 1)
    page.set_brush_size("brush", smaller=2)
    page.brush([(x0, y0), (x1, y0)])
    page.set_brush_size("eraser", smaller=2)
    page.erase([(x0, y1 - 4), (x1, y1 - 4)])
    page.person.picture("brush and eraser")
    page.wait_until_saved()
    page.turn_to(0)
    page.command("p")
    page.turn_to(9)
    third = page.click(*cells.middle(9))
    page.command("p")
    page.turn_to(3)
    page.mark("absent")
    page.wait_until_saved()
    acts = [
        ("click", frames[0]),
        ("click", frames[0]),
        ("box", frames[6]),
        ("brush", frames[6]),
        ("propagate", frames[0]),
        ("click", frames[9]),
        ("propagate", frames[9]),
        ("absent", frames[3]),
    ]
    clicks = [(frames[0], *in_pixels(first), True), (frames[0], *in_pixels(second), False)]
    return acts, [*clicks, (frames[9], *in_pixels(third), True)]


def in_pixels(sent: Point) -> Point:
    """A point on the frame's edges as the model counts: the middle of the first pixel is (0, 0)."""
    return round(sent[0] - 0.5, 3), round(sent[1] - 0.5, 3)


def clicked(workplace: Workplace, *, revision: int) -> list[tuple[int, float, float, bool]]:
    return [
        (row["frame"], round(row["x"], 3), round(row["y"], 3), row["positive"])
        for row in workplace.rows("annotate", "effort")
        if row["kind"] == "click" and row["role"] == "annotator" and row["revision"] == revision
    ]


def check_masks_of_pages(page: AnnotationPage, expected: dict[int, BoolMask]) -> None:
    """A masklet that comes back shows what was handed in."""
    for number, mask in shown_masks(page).items():
        assert (mask == expected[number]).all(), f"page {number + 1} does not show what was handed in"


def verdicts(workplace: Workplace) -> list[tuple[int, str, str]]:
    return [
        (row["revision"], row["verifier"], row["verdict"]) for row in workplace.rows("verify", "verdicts")
    ]
