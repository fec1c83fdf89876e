"""What people do in every phase: choose the object, judge a masklet; and what is compared afterwards."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

import numpy as np

from tests.e2e.browser import AnnotationPage, BoolMask, Person, SelectionPage, VerificationPage
from tests.e2e.conftest import Workplace

Act = tuple[str, int | None]
"""A kind of act and the source frame it was on."""

Verdict = Literal["satisfactory", "unsatisfactory", "reject"]

QUIET_KINDS = frozenset({"idle", "submit"})


def select(
    workplace: Workplace, person: Person, box: tuple[float, float, float, float], *, name: str
) -> None:
    """Choose one object in the frame that waits."""
    assert person.label_all(workplace.site.projects["selection"])
    page = SelectionPage(person)
    page.box(*box, name=name)
    person.picture("selection")
    page.submit()


def open_annotation(workplace: Workplace, person: Person, *, phase: int) -> AnnotationPage:
    """Let the person be handed the annotation that waits; the toggles are switched on the first time."""
    assert person.label_all(workplace.site.projects[f"annotation-{phase}"])
    page = AnnotationPage(person)
    page.switch_on_assistance()
    return page


def judge(
    workplace: Workplace, person: Person, verdict: Verdict, *, bad: Sequence[tuple[int, int]] = ()
) -> None:
    """Judge the masklet that waits; `bad`: stretches of pages, from 1."""
    assert person.label_all(workplace.site.projects["verification"])
    page = VerificationPage(person)
    for first, last in bad:
        page.mark(first, last)
    page.judge(verdict)
    person.picture(f"verdict-{verdict}")
    page.submit()


def shown_masks(page: AnnotationPage, *, unseen: Collection[int] = ()) -> dict[int, BoolMask]:
    """The masks of all pages, compared with the pixels that they really paint; `unseen` pages are not turned to.

    A page marked absent has no mask, whatever is still painted there.
    """
    told, nothing = page.masks(), np.zeros(page.size, dtype=np.bool_)
    for number in range(len(page)):
        if number not in unseen:
            page.turn_to(number)
            painted = page.painted()
            assert (painted == told.get(number, nothing)).all(), (
                f"page {number + 1} paints other pixels than it holds"
            )
    absent = page.marked("absent")
    return {number: nothing if number in absent else told.get(number, nothing) for number in range(len(page))}


def check_masks(workplace: Workplace, shown: Mapping[int, BoolMask], *, revision: int) -> None:
    """The manifest holds the masks that the pages showed, pixel by pixel."""
    kept = workplace.masks(revision=revision)
    frames = sorted(kept)
    assert len(frames) == len(shown)
    for number, frame in enumerate(frames):
        difference = int((kept[frame] ^ shown[number]).sum())
        assert difference == 0, f"frame {frame} (page {number + 1}) differs by {difference} pixels"


def acts_of(workplace: Workplace, *, revision: int) -> list[Act]:
    """What the manifest of efforts says the annotator of a revision did, in order."""
    return [
        (row["kind"], row["frame"])
        for row in workplace.rows("annotate", "effort")
        if row["role"] == "annotator" and row["revision"] == revision and row["kind"] not in QUIET_KINDS
    ]
