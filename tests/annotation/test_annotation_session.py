from __future__ import annotations

import json

import numpy as np
import pytest

from annotation import ActionError, PhaseRules, Submission
from annotation.session import AnnotationSession
from annotation.simulated.time_model import SimulatedClock
from model.prompts import Box
from storage.masks import decode, empty, encode
from tests.annotation.conftest import RULES
from tests.annotation.discs import SIDE, annotate_item, disc, moving

VIDEO = moving(6)
SQUARE = np.zeros((SIDE, SIDE), bool)
SQUARE[20:40, 10:30] = True


@pytest.fixture
def clock():
    return SimulatedClock()


@pytest.fixture
def opened(tools, clock):
    """Opens a sitting on an item of the six-frame video."""

    def open_session(
        phase=1, *, video=VIDEO, numbers=None, rules=None, scores=None, catch_up=None, **changes
    ):
        return AnnotationSession(
            annotate_item(phase, **changes), video, numbers or video.numbers,
            tools=tools, rules=rules or RULES[phase], clock=clock, scores=scores, catch_up=catch_up,
        )  # fmt: skip

    return open_session


def given(**masks):
    """Reference masks of all frames, but those given by keyword `p3=mask`."""
    return {n: encode(masks.get(f"p{p}", VIDEO.truth(p))) for p, n in enumerate(VIDEO.numbers)}


def kinds(session):
    return [event.kind for event in session.submit("ann").effort]


def test_a_sitting_begins_with_the_items_masks(opened):
    session = opened(masks={0: encode(SQUARE), 8: empty(SIDE, SIDE)})
    assert len(session) == 6
    assert np.array_equal(session.masks[0], SQUARE) and not session.masks[2].any()
    assert [mask is None for mask in session.masks] == [False, True, False, True, True, True]
    assert not any(session.edited) and not any(session.locked) and set(session.scores) == {None}


def test_masks_cannot_be_changed_behind_the_sessions_back(opened):
    session = opened(masks=given())
    with pytest.raises(ValueError, match="read-only"):
        session.masks[0][0, 0] = True


@pytest.mark.parametrize("phase", [1, 2, 3])
def test_a_click_gives_a_mask_and_a_score(opened, phase):
    session = opened(phase)
    session.click(0, 18.0, 30.0)
    assert session.masks[0].shape == (SIDE, SIDE) and session.masks[0].any()
    assert 0 <= session.scores[0] <= 1
    assert session.edited[0] and session.locked[0]
    assert session.masks[1:] == (None,) * 5


@pytest.mark.parametrize("phase", [1, 2, 3])
def test_clicks_add_up(opened, phase):
    once, twice = opened(phase), opened(phase)
    once.click(0, 18.0, 30.0)
    before = once.masks[0]
    twice.click(0, 18.0, 30.0)
    assert np.array_equal(twice.masks[0], before)
    twice.click(0, 5.0, 60.0, False)
    assert not np.array_equal(twice.masks[0], before)


@pytest.mark.parametrize("phase", [1, 2, 3])
def test_a_box_starts_over(opened, phase):
    """Clicks before a box no longer count; clicks after it refine it."""
    session, answers = opened(phase), []
    for _ in range(2):
        session.brush(0, SQUARE)  # the same ground to start from
        session.click(0, 5.0, 5.0)
        session.box(0, Box(8, 20, 28, 40))
        answers.append(session.masks[0])
        session.click(0, 5.0, 6.0, False)
        assert not np.array_equal(session.masks[0], answers[-1])
    assert np.array_equal(*answers) and session.edited[0]


@pytest.mark.parametrize("phase", [1, 2, 3])
def test_brush_and_absence_are_taken_as_they_are(opened, phase):
    session = opened(phase)
    session.brush(1, SQUARE)
    session.mark_absent(2)
    assert np.array_equal(session.masks[1], SQUARE) and not session.masks[2].any()
    assert session.edited == session.locked == (False, True, True, False, False, False)


def test_a_brushed_mask_is_the_sessions_own(opened):
    session, mask = opened(3), SQUARE.copy()
    session.brush(0, mask)
    mask[:] = False
    assert np.array_equal(session.masks[0], SQUARE)
    session.propagate()
    assert session.submit("ann").masks[0].rle == encode(SQUARE)


def test_phase_1_makes_every_frame_by_itself(opened):
    session = opened(1)
    for position in range(6):
        session.brush(position, SQUARE)
    with pytest.raises(ActionError, match="Phase 1 has no tracker"):
        session.propagate()


@pytest.mark.parametrize("phase", [2, 3])
def test_propagation_fills_the_video_and_keeps_what_people_made(opened, phase):
    session = opened(phase)
    session.brush(2, SQUARE)
    session.mark_absent(4)
    assert session.propagate() == {0, 1, 3, 5}
    assert all(mask is not None for mask in session.masks)
    assert np.array_equal(session.masks[2], SQUARE) and not session.masks[4].any()
    assert session.edited == (False, False, True, False, True, False)
    assert session.propagate(3) == {3, 5}


@pytest.mark.parametrize("phase", [2, 3])
def test_corrections_hold_and_change_later_frames(opened, phase):
    session = opened(phase)
    session.brush(0, VIDEO.truth(0))
    session.propagate()
    masks, scores = session.masks, session.scores
    session.click(3, 30.0, 30.0)
    session.click(3, 60.0, 5.0, False)
    preview = session.masks[3]
    session.propagate(3)
    assert np.array_equal(session.masks[3], preview)
    assert all(np.array_equal(a, b) for a, b in zip(masks[:3], session.masks[:3], strict=True))
    assert (
        scores[:3] == session.scores[:3] and scores[4] != session.scores[4] and scores[5] != session.scores[5]
    )


def test_phase_3_refines_and_phase_2_starts_anew(opened):
    """On equal predictions the same click gives SAM's mask in phase 2, something else in phase 3."""
    answers = {}
    for phase in (1, 2, 3):
        session = opened(phase, masks=given())
        session.click(3, 30.0, 30.0)
        answers[phase] = session.masks[3]
    assert np.array_equal(answers[1], answers[2])
    assert not np.array_equal(answers[2], answers[3])


def test_accepted_masks_are_prompts_too(opened):
    session = opened(2, masks=given())
    session.accept(0)
    assert session.locked[0] and not session.edited[0]
    assert session.propagate() == {1, 2, 3, 4, 5}


def test_a_revision_changes_only_its_bad_range(opened):
    masks = given(p2=SQUARE, p3=SQUARE)
    session = opened(3, revision=2, masks=masks, bad_range=(8, 12))
    assert list(session.bad_positions) == [2, 3]
    session.click(2, 26.0, 30.0)
    assert session.propagate() == {3}
    kept = [np.array_equal(session.masks[p], VIDEO.truth(p)) for p in (0, 1, 4, 5)]
    assert kept == [True] * 4


def test_a_bad_range_grows_with_what_people_edit(opened):
    session = opened(2, revision=2, masks=given(), bad_range=(8, 8))
    session.brush(4, SQUARE)
    assert session.propagate() == {2, 3}


@pytest.mark.parametrize("bad_range", [(0, 20), (0, 4), (16, 99), (50, 60)])
@pytest.mark.parametrize("phase", [2, 3])
def test_any_bad_range_can_be_worked_on(opened, phase, bad_range):
    session = opened(phase, revision=2, masks=given(), bad_range=bad_range)
    for position in (0, 3, 5):
        session.click(position, 30.0, 30.0)
        session.propagate(position)
    session.propagate()
    assert len(session.submit("ann").masks) == 6


def test_what_is_handed_in(opened, clock):
    session = opened(2, masks=given())
    clock.advance(2.0)
    session.examine(0)
    clock.advance(1.5)
    session.click(1, 22.5, 30.0)
    clock.advance(1.5)
    session.click(1, 5.0, 6.0, False)
    clock.advance(4.25)
    session.brush(2, SQUARE)
    submission = session.submit("ann")
    assert [mask.frame for mask in submission.masks] == [0, 4, 8, 12, 16, 20]
    assert [mask.clicks for mask in submission.masks] == [0, 2, 0, 0, 0, 0]
    assert [mask.edited for mask in submission.masks] == [False, True, True, False, False, False]
    assert np.array_equal(decode(submission.masks[2].rle), SQUARE)
    assert [(e.kind, e.frame, e.x, e.y, e.positive, e.at_s, e.duration_s) for e in submission.effort] == [
        ("examine", 0, None, None, None, 0.0, 2.0),
        ("click", 4, 22.5, 30.0, True, 2.0, 1.5),
        ("click", 4, 5.0, 6.0, False, 3.5, 1.5),
        ("brush", 8, None, None, None, 5.0, 4.25),
        ("submit", None, None, None, None, 9.25, 0.0),
    ]
    assert Submission.from_json(json.loads(json.dumps(submission.to_json()))) == submission


def test_every_act_is_written_down(opened):
    session = opened(3)
    session.locate(0)
    session.box(0, Box(8, 20, 28, 40))
    session.click(0, 18.0, 30.0)
    session.propagate()
    session.examine(1)
    session.accept(2)
    session.mark_absent(3)
    session.brush(4, SQUARE)
    expected = ["locate", "box", "click", "propagate", "examine", "examine", "absent", "brush", "submit"]
    assert kinds(session) == expected


def test_frames_without_masks_cannot_be_handed_in(opened):
    session = opened(1)
    session.brush(0, SQUARE)
    with pytest.raises(
        ActionError, match="5 of 6 frames of m1-annotate-1 have no mask yet: 4, 8, 12, 16, 20"
    ):
        session.submit("ann")


@pytest.mark.parametrize("position", [-1, 6])
@pytest.mark.parametrize(
    "act",
    [
        lambda s, p: s.examine(p),
        lambda s, p: s.locate(p),
        lambda s, p: s.accept(p),
        lambda s, p: s.click(p, 1.0, 1.0),
        lambda s, p: s.box(p, Box(1, 1, 2, 2)),
        lambda s, p: s.brush(p, SQUARE),
        lambda s, p: s.mark_absent(p),
        lambda s, p: s.frame_number(p),
    ],
)
def test_positions_must_be_in_the_video(opened, act, position):
    with pytest.raises(ActionError, match=f"Position {position} is outside the video"):
        act(opened(3, masks=given()), position)


def test_propagation_must_start_in_the_video(opened):
    session = opened(2, masks=given())
    with pytest.raises(ActionError, match="Position 6 is outside"):
        session.propagate(6)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda s: s.click(0, 65.0, 1.0), "outside the frame"),
        (lambda s: s.click(0, float("nan"), 1.0), "not finite"),
        (lambda s: s.box(0, Box(0, 0, 99, 9)), "leaves the frame"),
        (lambda s: s.brush(0, SQUARE[:-1]), r"must be bool \(64, 64\)"),
        (lambda s: s.brush(0, SQUARE.astype(np.uint8)), "not uint8"),
        (lambda s: s.accept(1), "no mask to accept"),
        (lambda s: s.propagate(), "nothing to propagate"),
    ],
)
def test_bad_acts_are_refused(opened, act, message):
    session = opened(2)
    with pytest.raises(ActionError, match=message):
        act(session)
    assert list(session.masks) == [None] * 6 and not any(session.edited)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "verify"}, "item to verify"),
        ({"kind": "select"}, "item to select"),
        ({"rules": RULES[2]}, "belongs to phase 1, the rules to phase 2"),
        ({"numbers": (0, 4)}, "6 frames but 2 frame numbers"),
        ({"first_frame": 2}, "first frame 2 is not an annotated frame"),
        ({"masks": {4: empty(10, 12)}}, "mask of frame 4 is 10x12 pixels, the video 64x64"),
    ],
)
def test_items_that_do_not_fit_are_refused(opened, changes, message):
    with pytest.raises(ActionError, match=message):
        opened(1, **changes)


def test_masks_of_other_frames_than_the_annotated_are_ignored(opened):
    session = opened(1, masks={**given(), 3: encode(SQUARE)})
    assert [mask.frame for mask in session.submit("ann").masks] == list(VIDEO.numbers)


@pytest.mark.parametrize("phase", [2, 3])
def test_several_sittings_on_one_video_go_on_side_by_side(opened, phase):
    def acts(session):
        yield session.click(0, 18.0, 30.0)
        yield session.propagate()
        yield session.brush(3, SQUARE)
        yield session.propagate(3)

    alone = opened(phase)
    list(acts(alone))
    first, second = opened(phase), opened(phase)
    for _ in zip(acts(first), acts(second), strict=True):
        pass
    assert first.standing(5) == second.standing(5) == alone.standing(5)


def test_sittings_do_not_influence_each_other(opened):
    def sit():
        session = opened(3, masks=given())
        session.click(2, 26.0, 30.0)
        session.propagate(2)
        return json.dumps(session.submit("ann").to_json())

    alone = sit()
    other = opened(3)
    other.brush(5, SQUARE)
    other.propagate()
    assert sit() == alone


def test_frames_are_encoded_once_for_all_sittings_on_a_video(opened, model, monkeypatch):
    encoded = []
    encode_images = type(model).encode_images
    monkeypatch.setattr(
        type(model), "encode_images", lambda self, images: encoded.append(1) or encode_images(self, images)
    )
    for _ in range(3):
        session = opened(3)
        session.click(0, 18.0, 30.0)
        session.propagate()
    assert len(encoded) == len(VIDEO)


def test_rules_decide_not_the_phase_number(opened):
    """A tracker that takes masks only is not asked to understand clicks, whatever the phase is called."""
    session = opened(3, rules=PhaseRules(3, True, "masks"))
    session.click(0, 18.0, 30.0)
    assert session.propagate() == {1, 2, 3, 4, 5}


def test_disc_is_where_the_tests_think():
    assert np.array_equal(VIDEO.truth(0), disc(18, 30, 10)) and VIDEO.truth(0).sum() > 300
