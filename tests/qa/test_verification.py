from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from qa.errors import VerificationError
from qa.verification import SimulatedVerifier, agreement, cohen_kappa, seen_iou
from qa.verifier_config import VerifierConfig
from storage.masks import Rle, empty, encode

SIDE = 32
CAREFUL = VerifierConfig(error_rate=0.0)


def square(top: int, left: int, side: int = 10) -> Rle:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[top : top + side, left : left + side] = True
    return encode(mask)


NOTHING = empty(SIDE, SIDE)
MOVING = {frame: square(2 + frame, 2) for frame in range(0, 20, 4)}
OTHER = {frame: square(18, 18) for frame in range(0, 20, 4)}
OBJECTS = {1: MOVING, 2: OTHER}


def verifier(config: VerifierConfig = CAREFUL, *, seed: int = 0) -> SimulatedVerifier:
    return SimulatedVerifier(config, {"v": OBJECTS}.__getitem__, seed=seed)


def judge(masks, *, point=(5.0, 5.0), config=CAREFUL, task_id="t", seed=0):
    return verifier(config, seed=seed).judge(masks, task_id=task_id, video_id="v", first_frame=0, point=point)


class TestVerdict:
    def test_the_reference_itself_is_satisfactory(self):
        judgement = judge(MOVING)
        assert judgement.verdict == "satisfactory"
        assert judgement.bad_range is None

    def test_an_outline_that_is_one_pixel_off_is_not_seen(self):
        shrunk = {frame: square(3 + frame, 3, 8) for frame in MOVING}  # plain IoU 0.64
        assert judge(shrunk).verdict == "satisfactory"
        assert judge(shrunk, config=replace(CAREFUL, slack_px=0)).verdict == "unsatisfactory"

    def test_bad_frames_give_their_span(self):
        lost = MOVING | {4: square(20, 2), 12: NOTHING}
        judgement = judge(lost)
        assert judgement.verdict == "unsatisfactory"
        assert judgement.reason == "wrong in 2 of 5 frames"
        assert judgement.bad_range == (4, 12)

    def test_some_bad_frames_may_be_tolerated(self):
        lost = MOVING | {4: NOTHING}
        assert judge(lost, config=replace(CAREFUL, bad_frames=0.2, mean_iou=0.7)).verdict == "satisfactory"

    def test_a_masklet_that_is_mediocre_everywhere_is_unsatisfactory(self):
        # 10x10 grown by two pixels: 14x14 = 196, of which the outer ring of 52 is off the contour
        grown = {frame: square(frame, 0, 14) for frame in MOVING} | {0: MOVING[0]}
        judgement = judge(grown)
        assert judgement.verdict == "unsatisfactory"
        assert judgement.bad_range == (4, 16)
        assert "throughout" in judgement.reason

    def test_absence_must_agree(self):
        gone = {frame: mask for frame, mask in MOVING.items() if frame < 12}
        there = SimulatedVerifier(CAREFUL, lambda _: {1: gone}, seed=0)
        seen = there.judge(MOVING, task_id="t", video_id="v", first_frame=0, point=(5, 5))
        assert (seen.verdict, seen.bad_range) == ("unsatisfactory", (12, 16))
        absent = gone | {12: NOTHING, 16: NOTHING}
        assert there.judge(absent, task_id="t", video_id="v", first_frame=0, point=(5, 5)).bad_range is None

    def test_a_few_pixels_are_not_noticed(self):
        speck = {frame: mask for frame, mask in MOVING.items() if frame < 12} | {12: square(30, 30, 2)}
        there = SimulatedVerifier(CAREFUL, lambda _: {1: speck}, seed=0)
        masks = {frame: MOVING[frame] for frame in (0, 4, 8)} | {12: NOTHING, 16: NOTHING}
        assert (
            there.judge(masks, task_id="t", video_id="v", first_frame=0, point=(5, 5)).verdict
            == "satisfactory"
        )

    def test_only_the_frames_of_the_masklet_are_judged(self):
        assert judge({0: MOVING[0], 8: MOVING[8]}).verdict == "satisfactory"

    def test_there_must_be_something_to_judge(self):
        with pytest.raises(VerificationError, match="task t: the masklet has no frame"):
            judge({})


class TestWhichObject:
    def test_a_point_on_nothing_is_no_object(self):
        judgement = judge(MOVING, point=(31, 0))
        assert (judgement.verdict, judgement.reason) == ("rejected", "not a well-defined object")

    def test_a_point_that_just_misses_still_means_the_object(self):
        assert judge(MOVING, point=(13, 13)).verdict == "satisfactory"
        assert judge(MOVING, point=(13, 13), config=replace(CAREFUL, reach_px=2)).verdict == "rejected"
        assert judge(OTHER, point=(16.6, 17.2)).verdict == "satisfactory"  # nearer to the other object

    def test_a_good_mask_of_another_object_than_was_pointed_at_is_wrong(self):
        assert judge(OTHER, point=(5, 5)).verdict == "unsatisfactory"

    def test_without_a_point_it_is_the_object_that_overlaps_most(self):
        assert judge(OTHER, point=None).verdict == "satisfactory"
        assert judge(MOVING | {4: NOTHING}, point=None).bad_range == (4, 4)

    @pytest.mark.parametrize("masks", [{0: square(8, 8)}, {0: NOTHING}, {4: MOVING[4]}])
    def test_without_a_point_and_overlap_on_the_first_frame_there_is_none(self, masks):
        assert judge(masks, point=None).verdict == "rejected"

    def test_of_a_whole_and_its_part_the_one_that_was_masked(self):
        whole, part = {0: square(0, 0, 20)}, {0: square(5, 5, 6)}
        there = SimulatedVerifier(CAREFUL, lambda _: {1: whole, 2: part}, seed=0)
        for masks in (whole, part):
            judgement = there.judge(masks, task_id="t", video_id="v", first_frame=0, point=(7, 7))
            assert judgement.verdict == "satisfactory"


class TestSlips:
    always = VerifierConfig(error_rate=1.0)

    def test_turn_verdicts_over(self):
        slip = judge(MOVING, config=self.always)
        assert slip.verdict == "unsatisfactory"
        assert slip.bad_range is not None and slip.bad_range[0] in MOVING
        assert judge(MOVING | {4: NOTHING}, config=self.always).verdict == "satisfactory"
        assert judge(MOVING, point=(31, 0), config=self.always).verdict == "satisfactory"

    def test_come_at_their_rate(self):
        often = VerifierConfig(error_rate=0.2)
        slips = [judge(MOVING, config=often, task_id=f"t{n}").verdict != "satisfactory" for n in range(500)]
        assert 0.15 < sum(slips) / 500 < 0.25

    def test_depend_on_seed_and_task_alone(self):
        half = VerifierConfig(error_rate=0.5)
        tasks = [f"t{n}" for n in range(40)]
        one = {task: judge(MOVING, config=half, task_id=task) for task in tasks}
        again = {task: judge(MOVING, config=half, task_id=task) for task in reversed(tasks)}
        other = {task: judge(MOVING, config=half, task_id=task, seed=1) for task in tasks}
        assert one == again
        assert one != other


def test_duration_is_looking_and_deciding():
    assert judge(MOVING).duration_s == pytest.approx(5 * 0.1 + 2)


class TestSeenIou:
    def test_without_slack_is_the_plain_iou(self):
        a, b = np.zeros((2, 1, 4), bool)
        a[0, :3], b[0, 1:] = True, True
        assert seen_iou(a, b, slack_px=0) == 0.5

    def test_counts_only_errors_off_the_contour(self):
        a, b = np.zeros((2, 1, 9), bool)
        a[0, 1:5] = True
        b[0, 1:8] = True  # wrong: columns 5, 6, 7; column 7 touches the contour of b
        assert seen_iou(a, b, slack_px=1) == pytest.approx(1 - 2 / 7)


class TestConfig:
    @pytest.mark.parametrize(
        "wrong", [{"min_iou": 1.5}, {"error_rate": -0.1}, {"slack_px": -1}, {"decide_s": math.nan}]
    )
    def test_is_checked(self, wrong):
        with pytest.raises(VerificationError, match=next(iter(wrong))):
            VerifierConfig(**wrong)

    def test_refuses_unknown_settings(self):
        with pytest.raises(ValidationError, match="min_iuo"):
            TypeAdapter(VerifierConfig).validate_python({"min_iuo": 0.5})


class TestAgreement:
    @pytest.mark.parametrize(
        ("pairs", "expected"),
        [
            ([("a", "a"), ("b", "b")], 1.0),
            ([("a", "b"), ("b", "a")], -1.0),
            # 20 yes/yes, 15 no/no, 5 yes/no, 10 no/yes: (0.7 - 0.5) / (1 - 0.5)
            ([("y", "y")] * 20 + [("n", "n")] * 15 + [("y", "n")] * 5 + [("n", "y")] * 10, 0.4),
        ],
    )
    def test_kappa(self, pairs, expected):
        assert cohen_kappa(pairs) == pytest.approx(expected)

    @pytest.mark.parametrize("pairs", [[], [("a", "a"), ("a", "a")]])
    def test_kappa_is_undefined_without_variety(self, pairs):
        assert math.isnan(cohen_kappa(pairs))

    def test_pairs_the_verdicts_on_one_revision(self):
        verdicts = [
            {"masklet_id": masklet, "revision": revision, "verifier": who, "verdict": verdict}
            for masklet, revision, who, verdict in [
                ("m1", 1, "ann", "unsatisfactory"),
                ("m1", 2, "bob", "satisfactory"),  # another revision: judged once
                ("m2", 1, "bob", "satisfactory"),
                ("m2", 1, "ann", "satisfactory"),
                ("m3", 1, "ann", "rejected"),
                ("m3", 1, "bob", "rejected"),
                ("m4", 1, "bob", "unsatisfactory"),
                ("m4", 1, "ann", "satisfactory"),
                ("m4", 1, "cid", "unsatisfactory"),  # a third opinion
            ]
        ]
        result = agreement(verdicts)
        assert result.masklets == 3
        assert result.share == pytest.approx(2 / 3)
        # ann: s r s, bob: s r u -> expected (2*1 + 1*1) / 9 = 1/3
        assert result.kappa == pytest.approx((2 / 3 - 1 / 3) / (2 / 3))

    def test_without_verdicts(self):
        result = agreement([])
        assert result.masklets == 0
        assert math.isnan(result.share)
