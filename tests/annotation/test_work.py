from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotation import (
    EffortEvent,
    FrameMask,
    PhaseRules,
    RecordError,
    Selection,
    Submission,
    Verdict,
    WorkItem,
    submission_id,
)
from annotation.errors import AnnotationError
from model.prompts import Box
from storage.masks import Rle, empty, encode

SQUARE = encode(np.pad(np.ones((2, 2), bool), 1))


def item(**changes):
    values = {
        "task_id": "t", "round_id": "r", "desk": "annotation", "kind": "annotate", "video_id": "v",
        "phase": 3, "first_frame": 0,
    }  # fmt: skip
    return WorkItem(**{**values, **changes})


def full_item():
    return item(
        masklet_id="m", object_id=4, revision=2, point=(1.5, 2.0), box=Box(0, 0, 3, 3.5), name="object",
        masks={8: SQUARE, 0: empty(4, 4)}, bad_range=(0, 8), excluded_people=frozenset({"b", "a"}), wanted=3,
        taken=(SQUARE,), scores={8: 0.5, 0: 0.75},
    )  # fmt: skip


def submission(**changes):
    values = {
        "submission_id": "s", "task_id": "t", "actor": "ann",
        "selections": (Selection(0, 1.0, 2.0, Box(0, 0, 3, 3), "object"), Selection(4, 1.0, 2.0, None, "a")),
        "masks": (FrameMask(0, SQUARE, True, 3, True), FrameMask(4, empty(4, 4), False, 0, False)),
        "verdict": Verdict("unsatisfactory", "wrong", (0, 4)),
        "effort": (EffortEvent("click", 0, 1.0, 2.0, True, 0.0, 1.5),
                   EffortEvent("submit", None, None, None, None, 1.5, 0.0)),
    }  # fmt: skip
    return Submission(**{**values, **changes})


def frame_mask(frame):
    return FrameMask(frame, SQUARE, True, 0, True)


def through_text(value):
    return json.loads(json.dumps(value.to_json()))


@pytest.mark.parametrize("value", [item(), full_item(), item(kind="select", desk="selection", name="")])
def test_work_items_survive_json(value):
    assert WorkItem.from_json(through_text(value)) == value


@pytest.mark.parametrize(
    "value", [submission(), submission(verdict=None, masks=(), selections=(), effort=())]
)
def test_submissions_survive_json(value):
    assert Submission.from_json(through_text(value)) == value


def test_what_was_added_later_is_written_only_where_it_says_something():
    mask = FrameMask(0, SQUARE, edited=True, clicks=1, locked=True)
    assert "occluded" not in mask.to_json()
    hidden = replace(mask, occluded=True)
    assert FrameMask.from_json(through_text(hidden)) == hidden
    assert "helpers" not in submission().to_json()
    helped = replace(submission(), helpers=frozenset({"zoe", "bob"}))
    assert Submission.from_json(through_text(helped)) == helped
    assert "reason" not in item().to_json()
    refused = replace(item(), reason="the tail is missing")
    assert WorkItem.from_json(through_text(refused)) == refused


def test_equal_items_give_equal_text():
    a = full_item()
    b = item(
        **{name: getattr(a, name) for name in WorkItem.__slots__} | {"masks": dict(sorted(a.masks.items()))}
    )
    assert json.dumps(a.to_json()) == json.dumps(b.to_json())


@given(
    kind=st.sampled_from(["click", "box", "brush", "examine", "propagate"]),
    frame=st.none() | st.integers(0, 10**6),
    x=st.none() | st.floats(-1e6, 1e6),
    positive=st.none() | st.booleans(),
    at_s=st.floats(0, 1e6),
)
def test_events_survive_json(kind, frame, x, positive, at_s):
    event = EffortEvent(kind, frame, x, x, positive, at_s, at_s)
    assert EffortEvent.from_json(through_text(event)) == event


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"kind": "tidy"}, "'kind'"),
        ({"desk": "kitchen"}, "'desk'"),
        ({"phase": 4}, "'phase'"),
        ({"task_id": ""}, "'task_id'"),
        ({"first_frame": -1}, "'first_frame'"),
        ({"revision": -1}, "'revision'"),
        ({"wanted": -1}, "'wanted'"),
        ({"bad_range": (5, 4)}, "'bad_range'"),
    ],
)
def test_a_bad_work_item_is_refused_by_name(change, named):
    with pytest.raises(RecordError, match=named):
        item(**change)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("phase", "3"),
        ("phase", True),
        ("first_frame", 0.5),
        ("task_id", 7),
        ("point", [1.0]),
        ("point", [1.0, "2"]),
        ("point", [1.0, math.inf]),
        ("box", [3, 0, 1, 1]),
        ("box", 5),
        ("bad_range", [1]),
        ("bad_range", [0, 1.5]),
        ("masks", {"0": {}}),
        ("masks", [{"frame": 0}]),
        ("masks", [{"frame": 0, "rle": {"size": [4, 4], "counts": "?"}}]),
        ("taken", ["x"]),
        ("excluded_people", [1]),
        ("object_id", "1"),
    ],
)
def test_json_of_the_wrong_type_is_refused_by_name(field, value):
    record = full_item().to_json() | {field: value}
    with pytest.raises(RecordError, match=f"{field}|rle"):
        WorkItem.from_json(record)


def test_missing_and_unknown_fields_are_refused():
    record = item().to_json()
    with pytest.raises(RecordError, match="no field 'colour'"):
        WorkItem.from_json(record | {"colour": 1})
    del record["name"]
    with pytest.raises(RecordError, match="lacks the field 'name'"):
        WorkItem.from_json(record)
    with pytest.raises(RecordError, match="JSON object"):
        Submission.from_json([1])


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: EffortEvent("nap", 0, None, None, None, 0.0, 1.0), "'kind'"),
        (lambda: EffortEvent("click", 0, 1.0, 1.0, True, 0.0, -1.0), "'duration_s'"),
        (lambda: Verdict("fine", ""), "'verdict'"),
        (lambda: Verdict("unsatisfactory", "", (3, 1)), "'bad_range'"),
        (lambda: Selection(-1, 0.0, 0.0, None, "object"), "'first_frame'"),
        (lambda: FrameMask(0, SQUARE, True, -1, True), "'clicks'"),
        (lambda: submission(actor=""), "'actor'"),
        (lambda: submission(masks=(frame_mask(4), frame_mask(0))), "'masks'"),
        (lambda: PhaseRules(4, False, "none"), "'phase'"),
        (lambda: PhaseRules(2, True, "some"), "'tracker_prompts'"),
        (lambda: PhaseRules(1, True, "none"), "contradict"),
        (lambda: PhaseRules(2, False, "masks"), "contradict"),
    ],
)  # fmt: skip
def test_records_check_themselves(make, named):
    with pytest.raises(AnnotationError, match=named):
        make()


def test_masks_stay_pixel_exact():
    rng = np.random.default_rng(0)
    rle = encode(rng.random((17, 23)) > 0.5)
    back = Submission.from_json(through_text(submission(masks=(FrameMask(3, rle, False, 0, True),))))
    assert back.masks[0].rle == rle == Rle(17, 23, rle.counts)


def test_submission_ids_are_stable_and_safe():
    assert submission_id("a/b", "ann") == submission_id("a/b", "ann") != submission_id("a/b", "bob")
    assert set(submission_id("ä /..", "ö")) <= set("0123456789abcdef")
