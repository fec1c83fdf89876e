"""What people need beyond clicking: taking back, starting over, directions, suggestions, rebuilding, warming up."""

from __future__ import annotations

import numpy as np
import pytest

from annotation import ActionError
from annotation.assistance import SessionTools
from annotation.frame_states import Standing
from annotation.session import AnnotationSession
from annotation.simulated.brush import mask_iou
from annotation.simulated.time_model import SimulatedClock
from model.files.checkpoints import default_checkpoint, load_checkpoint
from model.prompts import Box, Click
from model.video.session_config import SessionConfig
from storage.masks import decode, empty, encode
from tests.annotation.conftest import RULES
from tests.annotation.discs import SIDE, DiscVideo, annotate_item, disc, moving

VIDEO = moving(6)
SQUARE = np.zeros((SIDE, SIDE), bool)
SQUARE[20:40, 10:30] = True
PHASES = [1, 2, 3]
ACTS = {
    "click": lambda s, p: s.click(p, 30.0, 30.0),
    "unclick": lambda s, p: s.click(p, 50.0, 8.0, False),
    "box": lambda s, p: s.box(p, Box(8, 20, 28, 40)),
    "brush": lambda s, p: s.brush(p, SQUARE),
    "absent": lambda s, p: s.mark_absent(p),
    "accept": lambda s, p: s.accept(p),
    "reset": lambda s, p: s.reset(p),
}


def sit(tools, phase=3, *, video=VIDEO, scores=None, catch_up=None, **changes):
    changes = {"masks": given(video), **changes}
    return AnnotationSession(
        annotate_item(phase, **changes), video, video.numbers,
        tools=tools, rules=RULES[phase], clock=SimulatedClock(), scores=scores, catch_up=catch_up,
    )  # fmt: skip


def given(video=VIDEO):
    """The reference masks, a little beside the point."""
    return {n: encode(np.roll(video.truth(p), 2, axis=1)) for p, n in enumerate(video.numbers)}


def standings(session):
    return {position: session.standing(position) for position in range(len(session))}


def busy(session, seed, acts=12):
    """Random acts on random frames."""
    chance = np.random.default_rng(seed)
    for _ in range(acts):
        name = str(chance.choice([*ACTS, "undo", "propagate"]))
        position = int(chance.integers(len(session)))
        if name == "undo":
            session.undo(position)
        elif name == "propagate":
            if session.rules.propagates:
                session.propagate(position)
        elif name != "accept" or session.masks[position] is not None:
            ACTS[name](session, position)
    return session


# --- undo and reset


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("catch_up", [None, 2])
@pytest.mark.parametrize("phase", PHASES)
def test_undo_takes_back_the_last_act_on_a_frame(tools, phase, catch_up, act):
    session = sit(tools, phase, catch_up=catch_up)
    session.click(2, 24.0, 30.0)
    before = standings(session)
    ACTS[act](session, 2)
    ACTS["brush"](session, 4)
    after = session.standing(4)
    if act != "accept":  # the frame is accepted already: nothing happened
        assert session.undo(2)
        assert standings(session) == {**before, 4: after}
    assert session.undo(2) and session.undo(4)
    assert standings(session) == standings(sit(tools, phase))
    assert not session.undo(2) and not session.undo(0)


@pytest.mark.parametrize("phase", [1, 2])
def test_after_undo_the_next_click_is_as_if_nothing_had_been(tools, phase):
    once, twice = sit(tools, phase), sit(tools, phase)
    for session in (once, twice):
        session.click(1, 20.0, 30.0)
        session.click(1, 5.0, 5.0, False)
    ACTS["brush"](twice, 1)
    ACTS["click"](twice, 1)
    assert twice.undo(1) and twice.undo(1)
    for session in (once, twice):
        session.click(1, 22.0, 34.0)
    assert once.standing(1) == twice.standing(1)


@pytest.mark.parametrize("phase", [2, 3])
def test_what_was_taken_back_does_not_flow_on(tools, phase):
    quiet, session = sit(tools, phase), sit(tools, phase)
    for act in ("brush", "absent"):
        ACTS[act](session, 2)
    session.click(3, 5.0, 50.0)
    assert session.undo(2) and session.undo(2) and session.undo(3)
    assert session.propagate() == quiet.propagate()
    assert standings(session) == standings(quiet)


def test_a_frame_that_was_propagated_over_comes_back_when_its_act_is_taken_back(tools):
    session = sit(tools)
    session.propagate()
    before = session.standing(3)
    session.click(3, 5.0, 50.0)
    session.propagate()
    assert session.undo(3) and session.standing(3) == before
    assert 3 in session.propagate()


def test_only_so_many_acts_are_kept(tools):
    session = sit(tools, 1)
    for _ in range(70):
        session.brush(0, SQUARE)
    assert [session.undo(0) for _ in range(65)] == [True] * 64 + [False]


@pytest.mark.parametrize("phase", PHASES)
def test_reset_gives_the_items_mask_back_where_nothing_was_tracked(tools, phase):
    session = sit(tools, phase)
    session.click(2, 24.0, 30.0)
    session.click(2, 5.0, 5.0, False)
    before = session.standing(2)
    session.reset(2)
    assert session.standing(2) == Standing(given()[8])
    assert session.undo(2) and session.standing(2) == before


def test_reset_where_there_was_no_mask(tools):
    session = sit(tools, 1, masks={})
    session.brush(0, SQUARE)
    session.reset(0)
    assert session.standing(0) == Standing()


@pytest.mark.parametrize("catch_up", [None, 2])
@pytest.mark.parametrize("phase", [2, 3])
def test_reset_asks_the_tracker_where_it_has_been(tools, phase, catch_up):
    session = sit(tools, phase, catch_up=catch_up)
    session.propagate()
    tracked = session.standing(3)
    session.brush(3, SQUARE)
    session.reset(3)
    after = session.standing(3)
    assert not after.edited and not after.locked and after.score is not None
    assert mask_iou(decode(after.mask), decode(tracked.mask)) > 0.7
    assert 3 in session.propagate()


def test_reset_of_the_first_frame_leaves_the_items_mask_to_track_from(tools):
    session, quiet = sit(tools), sit(tools)
    session.brush(0, SQUARE)
    session.reset(0)
    assert session.propagate() == quiet.propagate() and standings(session) == standings(quiet)


def test_reset_of_the_only_mask_leaves_nothing_to_propagate(tools):
    session = sit(tools, masks={})
    session.click(2, 26.0, 30.0)
    session.propagate()
    session.reset(2)
    with pytest.raises(ActionError, match="nothing to propagate"):
        session.propagate()
    session.click(2, 26.0, 30.0)
    assert len(session.propagate()) == 5


def test_a_reset_frame_no_longer_widens_the_bad_range(tools):
    session = sit(tools, 2, revision=2, bad_range=(8, 8))
    session.brush(4, SQUARE)
    assert session.propagate() == {2, 3}
    session.reset(4)
    assert session.standing(4) == Standing(given()[16])
    assert session.propagate() == {2}


# --- propagation


@pytest.mark.parametrize(
    ("start", "direction", "changed"),
    [
        (None, None, {0, 1, 3, 4, 5}),
        (None, "both", {0, 1, 3, 4, 5}),
        (None, "forward", {3, 4, 5}),
        (None, "backward", {0, 1}),
        (3, None, {3, 4, 5}),
        (3, "forward", {3, 4, 5}),
        (3, "backward", {0, 1, 3}),
        (3, "both", {0, 1, 3, 4, 5}),
        (0, "backward", {0}),
    ],
)
def test_directions(tools, start, direction, changed):
    session = sit(tools, 2, masks={})
    session.brush(2, SQUARE)
    assert session.propagate(start, direction=direction) == changed
    assert {p for p, mask in enumerate(session.masks) if mask is not None} == changed | {2}


@pytest.mark.parametrize(("direction", "changed"), [("forward", {3}), ("backward", {2}), ("both", {2, 3})])
def test_directions_keep_to_the_bad_range(tools, direction, changed):
    session = sit(tools, 3, revision=2, bad_range=(8, 12))
    origin = {"forward": 3, "backward": 2, "both": 2}[direction]
    assert session.propagate(origin, direction=direction) == changed


def test_propagation_can_be_watched_and_left(tools):
    session, other = sit(tools), sit(tools)
    before = standings(session)
    steps = session.propagating(1, direction="forward")
    assert [next(steps), next(steps)] == [1, 2]
    other.propagate()  # somebody else at the same video, in between
    assert next(steps) == 3
    del steps
    assert session.standing(3) != before[3] and session.standing(4) == before[4]
    assert session.propagate(4) == {4, 5}
    quiet = sit(tools)
    quiet.propagate(1)
    assert standings(session) == standings(quiet)


def test_refusals_come_at_once(tools):
    with pytest.raises(ActionError, match="Phase 1 has no tracker"):
        sit(tools, 1).propagating()


# --- clicks on what is there


@pytest.fixture(scope="module")
def nano():
    """The packaged network: tests of what answers look like need one that has learnt something."""
    return SessionTools(load_checkpoint(default_checkpoint(), image_size=128))


LONG = DiscVideo([(40.0 + 2 * t, 48.0) for t in range(24)], radius=20.0, side=128)


@pytest.mark.parametrize("phase", PHASES)
def test_a_click_keeps_most_of_a_painted_mask(nano, phase):
    session = sit(nano, phase, video=LONG, masks={}, catch_up=2)
    painted = disc(40, 48, 20, side=128)
    painted[:, 48:] = False
    session.brush(0, painted)
    session.click(0, 52.0, 48.0)
    kept = session.masks[0]
    assert (kept & painted).sum() > 0.8 * painted.sum() and kept.sum() > painted.sum()
    session.brush(1, painted)
    session.click(1, 100.0, 100.0, False)
    assert (session.masks[1] & painted).sum() > 0.6 * painted.sum()


def test_a_click_far_from_everything_refines_what_is_shown_without_tracking_there(nano):
    frames = CountingFrames(LONG)
    session = sit(SessionTools(nano.model), 3, video=frames, catch_up=4)
    session.click(20, 80.0, 60.0)
    assert set(frames.asked) == {0, 18, 19, 20}
    assert mask_iou(session.masks[20], LONG.truth(20)) > 0.7
    assert session.standing(19) == Standing(given(LONG)[19 * 4])


def test_a_click_far_from_everything_starts_a_mask_where_there_is_none(nano):
    frames = CountingFrames(LONG)
    session = sit(SessionTools(nano.model), 3, video=frames, catch_up=4, masks={0: encode(LONG.truth(0))})
    session.click(20, 80.0, 48.0)
    assert set(frames.asked) == {0, 20}
    assert mask_iou(session.masks[20], LONG.truth(20)) > 0.5


def test_a_click_after_absent_finds_the_object_again(nano):
    session = sit(nano, 3, video=LONG, catch_up=4)
    session.mark_absent(2)
    session.click(2, 44.0, 48.0)
    assert mask_iou(session.masks[2], LONG.truth(2)) > 0.5


class CountingFrames(DiscVideo):
    """A video, with a note of every frame that was asked for."""

    def __init__(self, video):
        super().__init__(video.centres, radius=video.radius, side=video.side)
        self.asked = []

    def __getitem__(self, position):
        self.asked.append(position)
        return super().__getitem__(position)


# --- suggestions


def test_the_least_sure_frames_are_suggested(tools):
    scores = {0: 0.9, 4: 0.8, 8: 0.3, 12: 0.35, 16: 0.5, 20: 0.99}
    session = sit(tools, 1, scores=scores)
    assert session.suggest(3) == (2, 3, 4)
    session.accept(2)
    assert session.suggest(2) == (3, 4)
    assert set(session.suggest(9)) == {0, 1, 3, 4, 5}


def test_suggestions_keep_their_distance_in_a_long_video(tools):
    video = moving(36)
    session = sit(tools, 1, video=video, scores={n: n / 1000 for n in video.numbers})
    assert session.suggest(3) == (0, 3, 6)
    session.brush(4, SQUARE)
    assert session.suggest(3) == (0, 7, 10)


def test_frames_without_a_mask_are_suggested_first(tools):
    masks = {number: mask for number, mask in given().items() if number not in (4, 16)}
    session = sit(tools, 1, masks=masks, scores={0: 0.1})
    assert session.suggest(1) == (1,) and session.suggest(3) == (1, 4, 0)


def test_without_scores_the_frames_farthest_from_those_looked_at_are_suggested(tools):
    session = sit(tools, 1)
    session.accept(0)
    assert session.suggest(2) == (5, 2)


def test_scores_of_the_sitting_replace_those_given(tools):
    session = sit(tools, 3, scores=dict.fromkeys(VIDEO.numbers, 0.0))
    session.propagate()
    sure = {p: session.standing(p).score for p in range(1, 6)}
    assert all(sure.values())
    assert session.suggest(1) != (0,)


def test_when_all_is_accepted_nothing_is_suggested(tools):
    session = sit(tools, 1)
    for position in range(6):
        session.accept(position)
    assert session.suggest(3) == ()


# --- rebuilding a sitting


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("phase", PHASES)
def test_a_sitting_can_be_rebuilt_from_how_its_frames_stand(tools, phase, seed):
    session = busy(sit(tools, phase), seed)
    again = sit(SessionTools(tools.model), phase)
    again.restore(standings(session))
    assert standings(again) == standings(session)
    assert again.edited == session.edited and again.locked == session.locked
    assert not again.undo(2)
    again.click(2, 24.0, 30.0)
    assert again.standing(2).clicks == (*session.standing(2).clicks, Click(24.0, 30.0))
    assert again.standing(2).click_count == session.standing(2).click_count + 1
    if phase > 1:
        session.undo(2)
        session.click(2, 24.0, 30.0)
        assert again.propagate() == session.propagate()


def test_propagation_goes_on_alike_in_a_rebuilt_sitting(nano):
    session = sit(nano, 3, video=LONG)
    session.propagate()
    session.brush(6, LONG.truth(6))
    session.click(12, 70.0, 48.0)
    again = sit(nano, 3, video=LONG)
    again.restore(standings(session))
    for one in (session, again):
        one.propagate()
    pairs = zip(session.masks, again.masks, strict=True)
    assert np.mean([mask_iou(mine, its) for mine, its in pairs]) > 0.85


def test_restoring_asks_nothing_of_the_model(tools, monkeypatch):
    session = busy(sit(tools, 3), 4)
    again = sit(SessionTools(tools.model), 3)
    monkeypatch.setattr(type(tools.model), "encode_images", None)
    again.restore(standings(session))
    again.suggest(3)
    assert standings(again) == standings(session)


def test_clicks_on_a_rebuilt_frame_refine_its_mask(nano):
    session = sit(nano, 1, video=LONG, masks={})
    session.restore({0: Standing(encode(LONG.truth(0)), 0.9, (Click(40.0, 48.0),), None, 1, True, True)})
    session.click(0, 90.0, 100.0, False)
    assert mask_iou(session.masks[0], LONG.truth(0)) > 0.6


@pytest.mark.parametrize(
    ("standings", "message"),
    [({6: Standing()}, "Position 6 is outside"), ({1: Standing(empty(9, 9))}, "source frame 4 is not")],
)
def test_what_does_not_fit_is_not_restored(tools, standings, message):
    session = sit(tools)
    with pytest.raises(ActionError, match=message):
        session.restore({0: Standing(), **standings})
    assert session.standing(0) == Standing(given()[0])


# --- warming up, and what all of it takes


@pytest.mark.parametrize("phase", PHASES)
def test_warm_frames_are_encoded_from_the_anchors_outwards(model, phase, monkeypatch):
    session = sit(SessionTools(model), phase, masks={12: given()[12]})
    steps = session.warm()
    assert [next(steps) for _ in range(3)] == [3, 2, 4]
    for _ in session.warm(around=5):
        pass
    monkeypatch.setattr(type(model), "encode_images", None)  # from here on no frame is encoded
    session.click(5, 38.0, 30.0)
    assert list(session.warm()) and session.standing(5).edited


def test_warming_up_stops_when_there_is_no_room(model):
    tools = SessionTools(model)
    one = sit(tools)
    next(one.warm())
    frame = tools.byte_size
    tight = SessionTools(model, config=SessionConfig(feature_cache_bytes=3 * frame), kept_videos=1)
    assert len(list(sit(tight).warm())) == 3
    assert tight.byte_size == 3 * frame


def test_videos_that_nobody_is_at_make_room_first(model):
    tools = SessionTools(model)
    next(sit(tools).warm())
    frame = tools.byte_size
    tools = SessionTools(model, config=SessionConfig(feature_cache_bytes=6 * frame), kept_videos=2)
    sits = {name: sit(tools, video_id=name) for name in "abc"}
    assert len(list(sits["a"].warm())) == len(list(sits["b"].warm())) == 6
    assert list(sits["c"].warm()) == []  # all room is taken by people at work
    del sits["b"]
    assert len(list(sits["c"].warm())) == 6
    assert tools.byte_size <= 12 * frame
    assert len(list(sits["a"].warm())) == 6  # still there


def test_a_window_of_a_video_has_features_of_its_own(model):
    """Position 0 of one window is not position 0 of another."""
    tools = SessionTools(model)
    whole = sit(tools)
    whole.propagate()
    part = DiscVideo(VIDEO.centres[3:])
    numbers = VIDEO.numbers[3:]

    def window(tools):
        item = annotate_item(3, first_frame=12, masks={12: given()[12]})
        session = AnnotationSession(item, part, numbers, tools=tools, rules=RULES[3], clock=SimulatedClock())
        session.propagate()
        return standings(session)

    assert window(tools) == window(SessionTools(model))


def test_bytes_grow_with_what_is_held(tools):
    session = sit(tools)
    sizes = [session.byte_size]
    session.propagate()
    sizes.append(session.byte_size)
    for _ in range(10):
        session.click(2, 24.0, 30.0)
    sizes.append(session.byte_size)
    assert sizes == sorted(set(sizes)) and sizes[-1] < 2**20
