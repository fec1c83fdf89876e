from __future__ import annotations

import math

import pytest
from pydantic import TypeAdapter, ValidationError

from qa.errors import MetricError
from qa.gate import GateConfig, decide
from qa.metric_rows import MEAN_OBJECT, MetricRow


def rows(protocol: str, *scores: float) -> list[MetricRow]:
    """One object a score, and their mean."""
    mean = sum(scores) / len(scores)
    return [
        *(MetricRow(protocol, "v", number, jf, jf, jf, 10) for number, jf in enumerate(scores)),
        MetricRow(protocol, "", MEAN_OBJECT, mean, mean, mean, 10),
    ]


BEFORE = [*rows("3-click", 60, 70, 80), *rows("mask", 80, 80, 80)]


class TestDecide:
    def test_a_better_model_is_promoted(self):
        decision = decide(
            BEFORE, [*rows("3-click", 62, 72, 82), *rows("mask", 80, 80, 80)], primary="3-click"
        )
        assert decision.promote
        assert decision.deltas == {"3-click": 2.0, "mask": 0.0}
        assert decision.delta == 2.0
        assert decision.interval == (2.0, 2.0)
        assert decision.objects == 3
        assert decision.reason == (
            "promoted: J&F +2.00 under '3-click' (95% interval +2.00 to +2.00); +0.00 under 'mask'"
        )

    def test_an_equal_model_is_promoted(self):
        assert decide(BEFORE, BEFORE, primary="mask").promote

    def test_a_worse_model_is_refused(self):
        decision = decide(
            BEFORE, [*rows("3-click", 60, 70, 79.7), *rows("mask", 80, 80, 80)], primary="3-click"
        )
        assert not decision.promote
        assert decision.delta == pytest.approx(-0.1)
        assert "'3-click' may fall by 0 at most" in decision.reason
        assert "may be chance" in decision.reason

    def test_unless_the_fall_is_tolerated(self):
        after = [*rows("3-click", 60, 70, 79.7), *rows("mask", 80, 80, 80)]
        assert decide(BEFORE, after, GateConfig(tolerance=0.5), primary="3-click").promote

    @pytest.mark.parametrize(("score", "promote"), [(79.5, True), (78.0, False)])
    def test_other_protocols_may_fall_a_little(self, score, promote):
        after = [*rows("3-click", 90, 90, 90), *rows("mask", score, score, score)]
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
        decision = decide(rows("mask", 0, 50, 99), rows("mask", 1, 51, 100), primary="mask")
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
                rows("3-click", 60, 70, 80),
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
            {"confidence": 1.0},
            {"resamples": 0},
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
