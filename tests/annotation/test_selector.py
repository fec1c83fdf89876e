from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from annotation import PeopleError, WorkItem
from annotation.simulated import SimulationConfig, TimeModel
from annotation.simulated.references import find_object, open_book, truth_at
from annotation.simulated.selector import challenge, select_objects
from annotation.simulated.team import Person
from model.prompts import Box
from storage.masks import decode, encode
from tests.annotation.discs import disc

FRAMES = (0, 4, 8, 12)
STILL, MOVING, BLINKING, TINY, LATE = 1, 2, 3, 4, 5
PERSON = Person("ann", 1.0, 0.0, 0.0)


def references():
    return {
        STILL: {n: encode(disc(12, 12, 8)) for n in FRAMES},
        MOVING: {n: encode(disc(20 + n, 45, 7)) for n in FRAMES},
        BLINKING: {n: encode(disc(50, 12, 6)) for n in FRAMES if n != 8},
        TINY: {n: encode(disc(60, 60, 1)) for n in FRAMES},
        LATE: {n: encode(disc(45, 30, 6)) for n in FRAMES[2:]},
    }


def item(**changes):
    values = {
        "task_id": "r1-v-select", "round_id": "r1", "desk": "selection", "kind": "select", "video_id": "v",
        "phase": 1, "first_frame": 0, "wanted": 3,
    }  # fmt: skip
    return WorkItem(**{**values, **changes})


def select(work, seed=0, **config):
    return select_objects(
        work, references(), FRAMES, PERSON,
        config=SimulationConfig(**config), times=TimeModel(), chance=np.random.default_rng(seed),
    )  # fmt: skip


def chosen(submission):
    """Which reference object each selection points at."""
    return [
        next(
            n for n, masks in references().items() if 0 in masks and decode(masks[0])[round(s.y), round(s.x)]
        )
        for s in submission.selections
    ]


def test_visible_large_enough_objects_are_chosen_once_each():
    assert sorted(chosen(select(item(wanted=9)))) == [STILL, MOVING, BLINKING]
    assert len(select(item(wanted=1)).selections) == 1


def test_taken_objects_are_left_alone():
    taken = (encode(disc(13, 12, 8)), encode(disc(50, 12, 6)))
    assert chosen(select(item(taken=taken))) == [MOVING]


def test_nothing_to_select_is_an_answer():
    submission = select(item(), min_object_px=10_000)
    assert submission.selections == () and submission.effort


def test_challenging_objects_come_first():
    firsts = Counter(chosen(select(item(wanted=1), seed, challenging_share=1.0))[0] for seed in range(60))
    assert firsts[MOVING] + firsts[BLINKING] > 55
    even = Counter(chosen(select(item(wanted=1), seed, challenging_share=0.0))[0] for seed in range(60))
    assert even[STILL] > 10


def test_challenge_of_moving_vanishing_and_still_objects():
    scores = {n: challenge(masks, FRAMES) for n, masks in references().items()}
    assert scores[STILL] == 0.0
    assert scores[MOVING] > 0.4 and scores[BLINKING] == 0.25


def test_a_selection_points_at_its_object():
    for selection in select(item()).selections:
        assert selection.name == "object" and selection.first_frame == 0
        assert selection.box.x0 <= selection.x <= selection.box.x1
        assert selection.box.y0 <= selection.y <= selection.box.y1


def test_the_effort_adds_up():
    submission = select(item())
    events = submission.effort
    assert Counter(e.kind for e in events) == {"examine": 4, "locate": 3, "click": 3, "box": 3, "submit": 1}
    assert sum(e.duration_s for e in events) == pytest.approx(4 * 0.1 + 3 * (1.0 + 1.5 + 3.0))
    assert [e.at_s for e in events] == pytest.approx(np.cumsum([0] + [e.duration_s for e in events])[:-1])


def test_the_same_item_is_selected_the_same():
    assert json.dumps(select(item()).to_json()) == json.dumps(select(item()).to_json())


@pytest.mark.parametrize(
    ("changes", "meant"),
    [
        ({"point": (12.0, 12.0)}, STILL),
        ({"point": (12.0, 23.0)}, STILL),  # a little beside it
        ({"point": (32.0, 32.0)}, None),
        ({"point": (45.0, 30.0)}, None),  # not there yet on the first frame
        ({"point": (45.0, 30.0), "first_frame": 8}, LATE),
        ({"box": Box(43, 5, 57, 19)}, BLINKING),
        ({"box": Box(30, 30, 31, 31)}, None),
        ({"masks": {0: encode(disc(22, 45, 7))}}, MOVING),
        ({}, None),
    ],
)
def test_finding_the_object_that_is_meant(changes, meant):
    found = find_object(item(kind="annotate", **changes), references())
    assert found == (None if meant is None else references()[meant])


@pytest.mark.parametrize(
    ("changes", "meant"),
    [
        ({}, "part"),
        ({"box": Box(10, 10, 50, 50)}, "whole"),
        ({"box": Box(24, 24, 36, 36)}, "part"),
        ({"masks": {0: encode(disc(30, 30, 19))}}, "whole"),
    ],
)
def test_parts_and_wholes_under_one_point(changes, meant):
    objects = {1: {0: encode(disc(30, 30, 20))}, 2: {0: encode(disc(30, 30, 6))}}
    found = find_object(item(kind="annotate", point=(30.0, 30.0), **changes), objects)
    assert found == objects[{"whole": 1, "part": 2}[meant]]


def test_references_must_be_there_and_fit():
    with pytest.raises(PeopleError, match="no reference masks"):
        open_book(lambda video_id: {}, "v")
    with pytest.raises(PeopleError, match="frame 0"):
        truth_at(references()[STILL], 0, (10, 10))
    assert not truth_at(references()[BLINKING], 8, (64, 64)).any()
