from __future__ import annotations

import math

import pytest
from pydantic import TypeAdapter, ValidationError

from qa.errors import MetricError
from qa.gate import UNCERTAIN, GateConfig, decide
from qa.metric_rows import MEAN_OBJECT, MetricRow
from storage.manifests import rows_to_table


def rows(protocol: str, *scores: float) -> list[MetricRow]:
    """One object a score, and their mean."""
    mean = sum(scores) / len(scores)
    return [
        *(MetricRow(protocol, "v", number, jf, jf, jf, 10) for number, jf in enumerate(scores)),
        MetricRow(protocol, "", MEAN_OBJECT, mean, mean, mean, 10),
    ]


BEFORE = [*rows("3-click", 60, 70, 80, 60, 70, 80), *rows("mask", *[80] * 6)]


class TestDecide:
    def test_a_better_model_is_promoted(self):
        decision = decide(
            BEFORE, [*rows("3-click", 62, 72, 82, 62, 72, 82), *rows("mask", *[80] * 6)], primary="3-click"
        )
        assert decision.promote
        assert decision.deltas == {"3-click": 2.0, "mask": 0.0}
        assert decision.delta == 2.0
        assert decision.interval == (2.0, 2.0)
        assert decision.objects == 6
        assert decision.reason == (
            "promoted: J&F +2.00 under '3-click' (95% interval +2.00 to +2.00); "
            "+0.00 under 'mask' (95% interval +0.00 to +0.00)"
        )

    def test_an_equal_model_is_promoted(self):
        assert decide(BEFORE, BEFORE, primary="mask").promote

    def test_a_worse_model_is_refused(self):
        decision = decide(
            BEFORE,
            [*rows("3-click", 60, 70, 79.7, 60, 70, 79.7), *rows("mask", *[80] * 6)],
            primary="3-click",
        )
        assert not decision.promote
        assert decision.delta == pytest.approx(-0.1)
        assert "'3-click' may fall by 0 at most" in decision.reason
        assert "may be chance" in decision.reason

    def test_unless_the_fall_is_tolerated(self):
        after = [*rows("3-click", 60, 70, 79.7, 60, 70, 79.7), *rows("mask", *[80] * 6)]
        assert decide(BEFORE, after, GateConfig(tolerance=0.5), primary="3-click").promote

    @pytest.mark.parametrize(("score", "promote"), [(79.5, True), (78.0, False)])
    def test_other_protocols_may_fall_a_little(self, score, promote):
        after = [*rows("3-click", *[90] * 6), *rows("mask", *[score] * 6)]
        decision = decide(BEFORE, after, primary="3-click")
        assert decision.promote is promote
        assert promote or decision.reason.endswith("'mask' may fall by 1 at most")


class TestInterval:
    before = rows("mask", *([50] * 20))
    after = rows("mask", *(50 + (-1) ** n * n / 10 for n in range(20)))

    def test_is_the_same_for_the_same_seed_and_holds_the_delta(self):
        one, two = (decide(self.before, self.after, primary="mask") for _ in range(2))
        other = decide(self.before, self.after, GateConfig(seed=1), primary="mask")
        assert one == two
        assert one.interval is not None and one.delta is not None
        assert one.interval[0] < one.delta < one.interval[1]
        assert other.interval != one.interval

    def test_pairs_objects(self):
        # objects differ by 100 points, the models by exactly 1 on each: no doubt about the difference
        decision = decide(rows("mask", 0, 50, 99, 20, 70), rows("mask", 1, 51, 100, 21, 71), primary="mask")
        assert decision.interval == (1.0, 1.0)

    def test_does_not_depend_on_the_order_of_rows(self):
        assert decide(self.before[::-1], self.after, primary="mask") == decide(
            self.before, self.after[::-1], primary="mask"
        )


class TestRefusals:
    @pytest.mark.parametrize(
        ("champion", "challenger", "reason"),
        [
            (BEFORE, [], "the challenger was not evaluated with the protocol '3-click'"),
            (
                BEFORE,
                rows("3-click", 60, 70, 80, 60, 70, 80),
                "the challenger was not evaluated with the protocol 'mask'",
            ),
            (rows("mask", 1), rows("mask", 1), "the champion was not evaluated with the protocol '3-click'"),
            (
                rows("3-click", 60, 70),
                rows("3-click", 60, 70, 80),
                "under '3-click' only one model was scored on v/2",
            ),
            (
                rows("3-click", 60),
                rows("3-click", math.nan),
                "the challenger's score of object 0 of video v under '3-click' is not a number",
            ),
            (
                [*rows("3-click", 60), *rows("3-click", 60)],
                rows("3-click", 60),
                "the champion has two scores of object 0 of video v",
            ),
            (
                [MetricRow("3-click", "", MEAN_OBJECT, math.nan, math.nan, math.nan, 0)],
                rows("3-click", 60),
                "the champion's score of the mean under '3-click' is not a number",
            ),
        ],
    )
    def test_what_cannot_be_compared_is_not_promoted(self, champion, challenger, reason):
        decision = decide(champion, challenger, primary="3-click")
        assert not decision.promote
        assert decision.reason.startswith(f"refused: {reason}")
        assert decision.delta is None
        assert decision.interval is None


class TestConfig:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"tolerance": -1.0},
            {"retention_tolerance": math.nan},
            {"floor_tolerance": -0.1},
            {"confidence": 1.0},
            {"resamples": 0},
            {"seconds_tolerance": -1.0},
            {"uncertain": "maybe"},
        ],
    )
    def test_is_checked(self, wrong):
        with pytest.raises(MetricError):
            GateConfig(**wrong)

    def test_refuses_unknown_settings(self):
        adapter = TypeAdapter(GateConfig)
        assert adapter.validate_python({"tolerance": 0.5}).tolerance == 0.5
        with pytest.raises(ValidationError, match="tolerence"):
            adapter.validate_python({"tolerence": 0.5})


def several(protocol: str, *scores: float, suite: str = "", seconds: bool = False) -> list[MetricRow]:
    """One video and object a score."""
    return [
        MetricRow(protocol, f"v{n}", 1, 60, 60, 60, 10, suite, value)
        if seconds
        else MetricRow(protocol, f"v{n}", 1, value, value, value, 10, suite)
        for n, value in enumerate(scores)
    ]


class TestChance:
    """A challenger that is better on the whole, but not surely."""

    before = several("mask", *([50] * 8))
    lucky = several("mask", 44, 56, 44, 57, 44, 57, 49, 57)

    def test_is_promoted_by_default_but_not_silently(self):
        decision = decide(self.before, self.lucky, primary="mask")
        assert decision.promote and not decision.sure
        assert decision.delta == pytest.approx(1.0)
        assert "may be chance" in decision.reason
        assert decision.criteria[0].verdict == "passed, may be chance"

    @pytest.mark.parametrize(
        ("uncertain", "promote"), [("gain", True), ("mean", True), ("promote", True), ("refuse", False)]
    )
    def test_the_setting_decides_what_chance_may_have_decided(self, uncertain, promote):
        decision = decide(self.before, self.lucky, GateConfig(uncertain=uncertain), primary="mask")
        assert decision.promote is promote
        assert promote or "decided by gate.uncertain = refuse" in decision.reason

    @pytest.mark.parametrize(
        ("uncertain", "promote"), [("gain", False), ("mean", False), ("promote", True), ("refuse", False)]
    )
    def test_a_fall_inside_its_interval(self, uncertain, promote):
        decision = decide(self.lucky, self.before, GateConfig(uncertain=uncertain), primary="mask")
        assert decision.promote is promote and not decision.sure

    @pytest.mark.parametrize("than", ["champion", "start"])
    def test_a_sure_gain_outweighs_a_fall_that_may_be_chance_and_no_other(self, than):
        better = several("mask", *([60] * 8))
        kept = several("mask", *([50] * 8), suite="retention")
        unsure = several("mask", 40, 58, 39, 59, 41, 54, 38, 52, suite="retention")  # 2.4 lower on average
        worse = several("mask", *([45] * 8), suite="retention")

        def promoted(gained, kept_after, uncertain):
            before = unsure if than == "start" and kept_after is unsure else kept
            start = kept if than == "start" else ()
            config = GateConfig(uncertain=uncertain)
            return decide(
                self.before + before, gained + kept_after, config, primary="mask", start=start
            ).promote

        assert promoted(better, unsure, "gain") and not promoted(better, unsure, "mean")
        assert not promoted(better, worse, "gain"), "a fall that is sure"
        slightly = several("mask", *([52] * 8))
        assert not promoted(slightly, unsure, "gain"), "a fall that is larger than the gain"
        assert not promoted(self.lucky, unsure, "gain"), "a gain that may be chance"

    @pytest.mark.parametrize("uncertain", UNCERTAIN)
    def test_what_is_sure_is_not_a_matter_of_settings(self, uncertain):
        config = GateConfig(uncertain=uncertain)
        worse = several("mask", *([40] * 8))
        assert not decide(self.before, worse, config, primary="mask").promote
        assert decide(worse, self.before, config, primary="mask").promote

    def test_whole_videos_are_drawn_where_there_are_enough(self):
        """Fifty objects of five videos, alike within each: as unsure as five numbers."""
        of_videos = [(video, n) for video in range(5) for n in range(10)]
        before = [MetricRow("mask", f"v{video}", n, 50, 50, 50, 9) for video, n in of_videos]
        after = [
            MetricRow("mask", f"v{video}", n, *[50 + (-8, 3, 5, 6, 4)[video]] * 3, 9)
            for video, n in of_videos
        ]
        decision = decide(before, after, primary="mask")
        assert decision.interval is not None and decision.interval[0] < -2
        few = [row for row in before if row.video_id != "v4"], [row for row in after if row.video_id != "v4"]
        objects = decide(*few, primary="mask")
        assert objects.criteria[0].videos == 4
        assert objects.interval is not None and objects.interval[0] > -2

    @pytest.mark.parametrize("uncertain", UNCERTAIN)
    def test_with_too_few_objects_there_is_no_interval_and_nothing_is_sure(self, uncertain):
        config = GateConfig(uncertain=uncertain)
        few, better, worse = (rows("mask", *([score] * 4)) for score in (50, 60, 40))
        decision = decide(few, better, config, primary="mask")
        assert decision.interval is None and not decision.sure
        assert decision.promote is (uncertain != "refuse")
        assert "(no interval: fewer than 5 objects, so the difference may be chance)" in decision.reason
        row = decision.criteria[0].to_row(round_id="r0001-p2", checkpoint_hash="abc")
        assert (row["low"], row["high"], row["jf"]) == (None, None, 10)
        assert rows_to_table("metrics", [row]).num_rows == 1
        assert not decide(few, worse, config, primary="mask").promote


class TestRetentionAndSeconds:
    before = (*several("mask", *([50] * 6)), *several("mask", *([70] * 6), suite="retention"))

    def test_what_was_forgotten_refuses(self):
        after = [*several("mask", *([60] * 6)), *several("mask", *([68] * 6), suite="retention")]
        decision = decide(self.before, after, primary="mask")
        assert not decision.promote
        assert "'mask' on the retention set may fall by 1 at most" in decision.reason
        assert decision.deltas == {"mask": 10.0}
        assert [(one.suite, one.passed) for one in decision.criteria] == [("", True), ("retention", False)]

    @pytest.mark.parametrize(("seconds", "promote"), [(19, True), (20.9, True), (21.1, False)])
    def test_people_must_not_become_slower(self, seconds, promote):
        before = [*self.before, *several("online", *([20] * 6), seconds=True)]
        after = [*self.before, *several("online", *([seconds] * 6), seconds=True)]
        decision = decide(before, after, primary="mask")
        assert decision.promote is promote
        (timed,) = (one for one in decision.criteria if one.measure == "seconds")
        assert timed.delta == pytest.approx(seconds - 20) and timed.allowed == pytest.approx(1.0)
        assert promote or "'online' may take 1.0 s more at most" in decision.reason

    def test_seconds_that_only_one_model_has_refuse(self):
        before = [*self.before, *several("online", 20, 20, seconds=True)]
        after = [*self.before, *several("online", 20, 20)]
        decision = decide(before, after, primary="mask")
        assert not decision.promote and "only one model's seconds" in decision.reason

    def test_a_set_that_only_one_model_saw_refuses(self):
        decision = decide(self.before, self.before[:6], primary="mask")
        assert not decision.promote and "on the retention set" in decision.reason

    def test_rows_of_the_gate_hold_interval_and_verdict(self):
        after = [*several("mask", *([60] * 6)), *several("mask", *([68] * 6), suite="retention")]
        rows = [
            one.to_row(round_id="r0001-p2", checkpoint_hash="abc")
            for one in decide(self.before, after, primary="mask").criteria
        ]
        assert rows_to_table("metrics", rows).num_rows == 2
        assert rows[0]["suite"] is None and rows[1]["suite"] == "retention"
        assert (rows[0]["jf"], rows[0]["low"], rows[0]["high"], rows[0]["verdict"]) == (10, 10, 10, "passed")
        assert rows[1]["verdict"] == "failed" and rows[1]["allowed"] == 1.0


class TestFloor:
    """What many rounds may lose together on the retention set."""

    evaluation = several("mask", *([50] * 6))

    def kept(self, score: float) -> list[MetricRow]:
        return [*self.evaluation, *several("mask", *([score] * 6), suite="retention")]

    @pytest.mark.parametrize(("score", "promote"), [(68.2, True), (67.9, False)])
    def test_a_small_fall_that_is_one_too_many_refuses(self, score, promote):
        """The round's own fall is 0.5 points, within what is allowed."""
        decision = decide(self.kept(score + 0.5), self.kept(score), primary="mask", start=self.kept(70))
        assert decision.promote is promote
        (floor,) = (one for one in decision.criteria if one.against == "start")
        assert (floor.suite, floor.allowed, floor.passed) == ("retention", 2.0, promote)
        assert (
            f"{score - 70:+.2f} under 'mask' on the retention set against the weights this home began with"
            in (decision.reason)
        )

    def test_ten_rounds_lose_no_more_than_the_floor(self):
        start = champion = 70.0
        for _ in range(10):
            challenger = champion - 0.9
            rows = (self.kept(champion), self.kept(challenger))
            champion = (
                challenger if decide(*rows, primary="mask", start=self.kept(start)).promote else champion
            )
        assert champion == pytest.approx(68.2)

    def test_a_fall_since_the_start_has_an_interval(self):
        unsure = [*self.evaluation, *several("mask", 50, 90, 50, 90, 50, 70, suite="retention")]
        decision = decide(unsure, unsure, GateConfig(uncertain="refuse"), primary="mask", start=self.kept(68))
        (floor,) = (one for one in decision.criteria if one.against == "start")
        assert floor.low < -2 < floor.high and not floor.sure and not decision.promote

    def test_only_jf_on_the_retention_set_is_compared_with_the_start(self):
        timed = several("online", *([20] * 6), seconds=True)
        decision = decide(self.kept(70), self.kept(70), primary="mask", start=[*self.kept(70), *timed])
        assert [one.suite for one in decision.criteria if one.against == "start"] == ["retention"]

    def test_other_objects_refuse(self):
        start = several("mask", *([70] * 5), suite="retention")
        decision = decide(self.kept(70), self.kept(70), primary="mask", start=start)
        assert not decision.promote and "only one model was scored on v5/1" in decision.reason

    def test_its_row_has_a_role_of_its_own(self):
        decision = decide(self.kept(70), self.kept(69), primary="mask", start=self.kept(70))
        rows = [one.to_row(round_id="r0001-p2", checkpoint_hash="abc") for one in decision.criteria]
        assert [(row["role"], row["suite"], row["allowed"]) for row in rows] == [
            ("gate", None, 0.0),
            ("gate", "retention", 1.0),
            ("floor", "retention", 2.0),
        ]
