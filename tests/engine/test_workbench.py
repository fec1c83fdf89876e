from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from annotation.work import FrameMask, Submission, Verdict, VerdictName
from engine.workbench import Candidate, Workbench, fold, task_id
from storage.masks import Rle, encode

DOT = encode(np.eye(4, dtype=bool))
MAX = 2


def candidate(name: str = "m", **changes: object) -> Candidate:
    values: dict[str, object] = {
        "masklet_id": name,
        "video_id": "v",
        "object_id": 1,
        "phase": 3,
        "first_frame": 0,
        "point": (1.0, 1.0),
        "box": None,
        "name": "object",
        "masks": {0: DOT, 4: DOT},
    }
    return Candidate(**{**values, **changes})  # type: ignore[arg-type]


def masks(revision: int, actor: str = "ann", rle: Rle = DOT) -> Submission:
    return Submission(
        submission_id=f"s{revision}",
        task_id=task_id("m", "annotate", revision),
        actor=actor,
        masks=tuple(FrameMask(frame, rle, edited=True, clicks=1, locked=False) for frame in (0, 4)),
    )


def verdict(revision: int, name: VerdictName, actor: str = "ver") -> Submission:
    bad = (4, 4) if name == "unsatisfactory" else None
    return Submission(
        submission_id=f"v{revision}",
        task_id=task_id("m", "verify", revision),
        actor=actor,
        verdict=Verdict(name, "because", bad),
    )


def bench(*submissions: Submission, **changes: object) -> Workbench:
    handed_in = {submission.task_id: submission for submission in submissions}
    return fold("r0001-p3", "annotation", [candidate(**changes)], handed_in, max_reannotations=MAX)  # type: ignore[arg-type]


U, S, R = "unsatisfactory", "satisfactory", "rejected"


@pytest.mark.parametrize(
    ("handed_in", "state", "next_task"),
    [
        ([], "to_annotate", "m-annotate-1"),
        ([masks(1)], "to_verify", "m-verify-1"),
        ([masks(1), verdict(1, S)], "accepted", None),
        ([masks(1), verdict(1, R)], "rejected", None),
        ([masks(1), verdict(1, U)], "to_annotate", "m-annotate-2"),
        ([masks(1), verdict(1, U), masks(2)], "to_verify", "m-verify-2"),
        ([masks(1), verdict(1, U), masks(2), verdict(2, U), masks(3)], "to_verify", "m-verify-3"),
        ([masks(1), verdict(1, U), masks(2), verdict(2, U), masks(3), verdict(3, U)], "escalated", None),
        ([verdict(1, S)], "to_annotate", "m-annotate-1"),  # a verdict on nothing waits for its revision
    ],
)
def test_a_masklet_follows_what_was_handed_in(handed_in, state, next_task) -> None:
    result = bench(*handed_in)
    assert result.works[0].state == state
    assert [item.task_id for item in result.open_items()] == ([next_task] if next_task else [])
    assert result.done == (next_task is None)


@pytest.mark.parametrize(
    ("refine", "handed_in", "state"),
    [
        (True, [], "to_verify"),
        (True, [verdict(0, S)], "accepted"),
        (False, [verdict(0, U)], "failed"),
        (True, [verdict(0, U)], "to_annotate"),
        (True, [verdict(0, U), masks(1), verdict(1, S)], "accepted"),
        (False, [verdict(0, R)], "rejected"),
    ],
)
def test_a_mined_masklet_starts_at_its_verification(refine, handed_in, state) -> None:
    result = bench(*handed_in, mined=True, refine_if_failed=refine)
    assert result.works[0].state == state


def test_the_order_of_arrival_changes_nothing() -> None:
    together = [masks(1), verdict(1, U), masks(2), verdict(2, S)]
    assert bench(*together).works == bench(*reversed(together)).works


def test_a_verifier_may_not_be_one_of_the_annotators() -> None:
    (item,) = bench(masks(1, "ann"), verdict(1, U), masks(2, "bob")).open_items()
    assert item.excluded_people == {"ann", "bob"}


def test_everybody_who_made_a_part_is_excluded_from_verifying() -> None:
    shared = replace(masks(1, "ann"), helpers=frozenset({"bob"}))
    (item,) = bench(shared).open_items()
    assert item.excluded_people == {"ann", "bob"}


def test_a_masklet_comes_back_with_its_masks_and_the_bad_range() -> None:
    changed = encode(np.ones((4, 4), dtype=bool))
    (item,) = bench(masks(1, rle=changed), verdict(1, U)).open_items()
    assert item.masks == {0: changed, 4: changed}
    assert item.bad_range == (4, 4)
    assert item.reason == "because"
    assert item.revision == 2


def test_the_first_item_shows_the_pre_labels_and_how_sure_the_model_is_of_them() -> None:
    (item,) = bench(scores={0: 0.9, 4: 0.4}).open_items()
    assert dict(item.masks) == {0: DOT, 4: DOT}
    assert item.scores == {0: 0.9, 4: 0.4}


def test_the_models_opinion_is_not_of_masks_that_people_made() -> None:
    (item,) = bench(masks(1), verdict(1, U), scores={0: 0.9, 4: 0.4}).open_items()
    assert not item.scores


def test_counts_are_said_in_words() -> None:
    assert bench(masks(1)).describe() == "0 of 1 masklets done, 0 to annotate, 1 to verify"
