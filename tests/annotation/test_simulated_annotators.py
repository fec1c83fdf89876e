from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from annotation import PeopleError, Submission
from annotation.assistance import Answer, SessionTools
from annotation.simulated import SimulationConfig, TimeModel
from annotation.simulated.brush import mask_iou
from annotation.simulated.team import meet
from annotation.simulated.workforce import SimulatedAnnotators, VideoFrames
from storage.masks import decode, empty, encode
from tests.annotation.conftest import RULES
from tests.annotation.discs import SIDE, annotate_item, disc, moving

VIDEO = moving(6, absent=(4,))
PHASES = [1, 2, 3]


@pytest.fixture
def workforce(tools):
    """A team of two on the six-frame video, with the micro network unless other tools are given."""

    def hire(*, with_tools=None, seed=0, config=None, times=None, video=VIDEO, objects=None):
        return SimulatedAnnotators(
            ("ann", "bob"),
            references=lambda video_id: {7: video.reference()} if objects is None else objects,
            frames_of=lambda video_id: VideoFrames(video, video.numbers),
            tools_of=lambda item: with_tools or tools,
            rules_of=RULES.__getitem__,
            config=config,
            times=times,
            seed=seed,
        )

    return hire


class Oracle:
    """Tools whose model is always right once it has any prompt; with `blind` frames it tracks nothing."""

    def __init__(self, video=VIDEO, blind=()):
        self.video, self.blind, self.has_prompts = video, blind, False

    def image_assistant(self, video, frames):
        return self

    def tracker(self, video, frames, rules, *, catch_up):
        return self

    def ground(self, position):
        return None

    def answer(self, position, clicks, box):
        return Answer(position, self.video.truth(position), 1.0)

    def refine(self, position, clicks, box):
        self.has_prompts = True
        return self.answer(position, clicks, box)

    def start_from(self, *masks):
        self.has_prompts = self.has_prompts or any(masks)

    def set_mask(self, position, mask):
        self.has_prompts = True

    def propagate(self, first, last, *, forward_only):
        for position in range(first, last + 1):
            mask = self.video.truth(position)
            yield Answer(position, mask & False if position in self.blind else mask, 1.0)


def proposals(**changed):
    """The reference on all frames as the item's masks, but those given by keyword `p3=mask`."""
    return {n: encode(changed.get(f"p{p}", VIDEO.truth(p))) for p, n in enumerate(VIDEO.numbers)}


def text(submission):
    return json.dumps(submission.to_json(), sort_keys=True)


def agreements(submission):
    return [mask_iou(decode(m.rle), VIDEO.truth(p)) for p, m in enumerate(submission.masks)]


def acts(submission):
    """(kind, position) of every act but looking and handing in."""
    return [
        (event.kind, None if event.frame is None else event.frame // 4)
        for event in submission.effort
        if event.kind not in ("examine", "locate", "submit")
    ]


def edited(submission):
    return [position for position, mask in enumerate(submission.masks) if mask.edited]


@pytest.mark.parametrize("phase", PHASES)
def test_masklets_end_up_right_even_with_a_useless_model(workforce, phase):
    submission = workforce().work(annotate_item(phase))
    assert min(agreements(submission)) >= 0.9
    assert [m.frame for m in submission.masks] == list(VIDEO.numbers)


@pytest.mark.parametrize("phase", PHASES)
def test_the_same_item_gives_the_same_bytes(workforce, model, phase):
    item = annotate_item(phase)
    first = text(workforce().work(item))
    busy = workforce(with_tools=SessionTools(model))
    busy.work(annotate_item(3, task_id="another"))
    assert text(busy.work(item)) == first
    assert text(Submission.from_json(json.loads(first))) == first


def test_seed_and_task_make_the_difference(workforce):
    hands = {text(workforce(seed=seed).work(annotate_item(1, task_id=t))) for seed in (0, 1) for t in "ab"}
    assert len(hands) == 4


@pytest.mark.parametrize("phase", PHASES)
def test_seconds_are_the_sum_of_the_time_model(workforce, phase):
    times = TimeModel(propagate_s=0.5, submit_s=2.0)
    submission = workforce(times=times).work(annotate_item(phase))
    slowness = meet(submission.actor, SimulationConfig(), 0).slowness
    cost = {
        "examine": times.examine_s_per_frame, "locate": times.locate_s, "click": times.click_s,
        "absent": times.absent_s, "propagate": times.propagate_s, "submit": times.submit_s,
    }  # fmt: skip
    for event in submission.effort:
        if event.kind == "brush":
            assert event.duration_s > times.brush_base_s * slowness
        else:
            assert event.duration_s == pytest.approx(cost[event.kind] * slowness, abs=6e-4)
    ends = np.cumsum([event.duration_s for event in submission.effort])
    assert [event.at_s for event in submission.effort[1:]] == pytest.approx(ends[:-1].tolist())


def test_mending_a_little_is_quicker_than_painting_anew(workforce):
    bitten = VIDEO.truth(0) & ~disc(18, 40, 9)
    assert 0.5 < mask_iou(bitten, VIDEO.truth(0)) < 0.85
    config, seconds = SimulationConfig(max_clicks=0, brush_error_share=0.0), {}
    for name, mask in {"mend": bitten, "anew": bitten & False, "blot": ~VIDEO.truth(0)}.items():
        submission = workforce(config=config).work(annotate_item(1, masks=proposals(p0=mask)))
        seconds[name] = next(event.duration_s for event in submission.effort if event.kind == "brush")
    assert seconds["mend"] < seconds["anew"] == seconds["blot"]


def test_phase_1_makes_every_frame_and_tracks_nothing(workforce):
    submission = workforce(with_tools=Oracle()).work(annotate_item(1))
    assert acts(submission) == [
        ("click", 0),
        ("click", 1),
        ("click", 2),
        ("click", 3),
        ("absent", 4),
        ("click", 5),
    ]
    assert Counter(e.kind for e in submission.effort)["examine"] == 6
    assert edited(submission) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("phase", [2, 3])
def test_a_good_tracker_needs_one_click(workforce, phase):
    submission = workforce(with_tools=Oracle()).work(annotate_item(phase))
    assert acts(submission) == [("click", 0), ("propagate", None)]
    assert edited(submission) == [0] and submission.masks[0].clicks == 1


@pytest.mark.parametrize("phase", [2, 3])
def test_the_first_wrong_frame_is_corrected_and_propagated(workforce, phase):
    submission = workforce(with_tools=Oracle(blind=(2, 5))).work(annotate_item(phase))
    assert acts(submission) == [
        ("click", 0), ("propagate", None), ("click", 2), ("propagate", 2), ("click", 5), ("propagate", 5),
    ]  # fmt: skip
    assert edited(submission) == [0, 2, 5]


@pytest.mark.parametrize("phase", PHASES)
def test_good_proposals_cost_only_a_look(workforce, phase):
    submission = workforce().work(annotate_item(phase, masks=proposals()))
    assert acts(submission) == [] and edited(submission) == []
    assert [m.rle for m in submission.masks] == list(proposals().values())


def test_a_mask_where_the_object_is_absent_is_taken_away(workforce):
    item = annotate_item(3, masks=proposals(p4=disc(30, 30, 3)))
    assert acts(workforce(with_tools=Oracle()).work(item)) == [("absent", 4), ("propagate", 4)]


@pytest.mark.parametrize(("correct", "order"), [("first", [1, 3]), ("worst", [3])])
def test_which_wrong_frame_comes_first(workforce, correct, order):
    item = annotate_item(3, masks=proposals(p1=disc(25, 30, 10), p3=disc(60, 60, 3)))
    config = SimulationConfig(correct=correct)
    submission = workforce(with_tools=Oracle(blind=(3,)), config=config).work(item)
    assert edited(submission) == order


def test_clicks_stop_when_they_do_not_help(workforce):
    submission = workforce().work(annotate_item(1))
    assert {m.clicks for p, m in enumerate(submission.masks) if p != 4} <= {2, 3, 4, 5, 6}
    assert all(("brush", p) in acts(submission) for p in (0, 1, 2, 3, 5))


@pytest.mark.parametrize("max_clicks", [0, 1])
def test_no_more_clicks_than_allowed(workforce, max_clicks):
    submission = workforce(config=SimulationConfig(max_clicks=max_clicks)).work(annotate_item(3))
    assert max(m.clicks for m in submission.masks) == max_clicks


@pytest.mark.parametrize("phase", [2, 3])
def test_people_do_not_edit_more_than_they_are_willing_to(workforce, phase):
    config = SimulationConfig(max_edited_share=0.5)
    submission = workforce(config=config).work(annotate_item(phase))
    assert len(edited(submission)) == 3 and len(submission.masks) == 6


@pytest.mark.parametrize("phase", PHASES)
def test_a_revision_begins_with_the_bad_range(workforce, phase):
    item = annotate_item(
        phase, revision=2, masks=proposals(p2=disc(60, 60, 3), p3=disc(60, 60, 3)), bad_range=(8, 12)
    )
    submission = workforce().work(item)
    assert next(e.frame for e in submission.effort if e.kind == "examine") == 8
    assert edited(submission) == [2, 3] and min(agreements(submission)) >= 0.9


@pytest.mark.parametrize(("bad_range", "order"), [(None, []), ((4, 8), [1])])
def test_people_look_harder_where_a_verifier_complained(workforce, bad_range, order):
    almost = disc(22, 30, 9)  # IoU 0.81 with the reference
    assert 0.75 < mask_iou(almost, VIDEO.truth(1)) < 0.85
    item = annotate_item(3, revision=2, masks=proposals(p1=almost), bad_range=bad_range)
    assert edited(workforce(with_tools=Oracle()).work(item)) == order


def test_an_object_that_nobody_can_see_is_left_to_the_verifier(workforce):
    lost = {"point": (60.0, 5.0)}
    kept = workforce().work(annotate_item(3, masks=proposals(), **lost))
    assert [m.rle for m in kept.masks] == list(proposals().values()) and acts(kept) == []
    bare = workforce().work(annotate_item(3, **lost))
    assert {m.rle for m in bare.masks} == {empty(SIDE, SIDE)}


def test_first_frames_in_the_middle_are_tracked_both_ways(workforce):
    item = annotate_item(3, first_frame=8, point=(26.0, 30.0))
    submission = workforce(with_tools=Oracle()).work(item)
    assert acts(submission) == [("click", 2), ("propagate", None)]
    assert agreements(submission) == [1.0] * 6


def test_excluded_people_do_not_work(workforce):
    for task in "abcdef":
        item = annotate_item(1, task_id=task, excluded_people=frozenset({"ann"}), masks=proposals())
        assert workforce().work(item).actor == "bob"


def test_select_items_are_done_too(workforce):
    item = annotate_item(1, kind="select", desk="selection", point=None, wanted=2)
    submission = workforce().work(item)
    assert [(s.first_frame, s.x, s.y) for s in submission.selections] == [(0, 18.0, 30.0)]
    assert submission.masks == ()


@pytest.mark.parametrize(
    ("changes", "objects", "message"),
    [
        ({"kind": "verify"}, None, "item to verify"),
        ({}, {}, "no reference masks"),
        ({"excluded_people": frozenset({"ann", "bob"})}, None, "Nobody is left"),
    ],
)
def test_work_that_nobody_can_do(workforce, changes, objects, message):
    with pytest.raises(PeopleError, match=message):
        workforce(objects=objects).work(annotate_item(1, **changes))
