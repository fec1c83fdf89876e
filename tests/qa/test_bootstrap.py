from __future__ import annotations

import numpy as np
import pytest

from qa.bootstrap import drawn_by, interval, paired_interval, ratio_interval
from qa.errors import MetricError


def plain(values, *, resamples: int = 2000, confidence: float = 0.95, seed: int = 0):
    """One draw at a time, as in a textbook."""
    rng = np.random.default_rng(seed)
    values = np.asarray(values, float)
    means = [values[rng.integers(len(values), size=len(values))].mean() for _ in range(resamples)]
    return tuple(np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2]))


class TestInterval:
    values = np.random.default_rng(5).normal(3, 2, size=40)

    def test_is_the_plain_bootstrap(self):
        assert interval(self.values) == pytest.approx(plain(self.values), abs=1e-12)
        assert paired_interval(self.values, seed=4, resamples=300, confidence=0.8) == pytest.approx(
            plain(self.values, seed=4, resamples=300, confidence=0.8), abs=1e-12
        )

    def test_is_the_same_in_several_chunks(self, monkeypatch):
        whole = interval(self.values)
        monkeypatch.setattr("qa.bootstrap._DRAWN_AT_ONCE", 100)
        assert interval(self.values) == whole

    def test_holds_the_mean_and_widens_with_confidence(self):
        low, high = interval(self.values)
        wide = interval(self.values, confidence=0.99)
        assert wide[0] < low < self.values.mean() < high < wide[1]

    def test_covers_the_true_mean_about_as_often_as_it_says(self):
        rng = np.random.default_rng(0)
        held = [
            low < 1 < high
            for low, high in (interval(rng.normal(1, 3, 30), resamples=200) for _ in range(150))
        ]
        assert 0.87 < np.mean(held) < 0.99

    def test_of_one_value_is_that_value(self):
        assert interval([7.5]) == (7.5, 7.5)


class TestGroups:
    def test_of_one_each_change_nothing(self):
        values = [1.0, 5.0, 2.0, 8.0]
        assert interval(values, groups=list("abcd")) == interval(values)

    def test_of_alike_objects_widen_the_interval(self):
        rng = np.random.default_rng(1)
        videos = np.repeat(rng.normal(0, 5, 10), 20)
        values = videos + rng.normal(0, 0.1, 200)
        low, high = interval(values)
        wide_low, wide_high = interval(values, groups=[n // 20 for n in range(200)])
        assert wide_high - wide_low > 3 * (high - low)

    def test_count_by_their_size(self):
        # a group of three ones and a group of one zero: draws give 0, 3/4 or 1
        low, high = interval([1, 1, 1, 0], groups=["a", "a", "a", "b"])
        assert (low, high) == (0.0, 1.0)


class TestRatio:
    def test_is_paired(self):
        # every object is worked on exactly 8 times faster, however long it takes
        assert ratio_interval([8, 80, 800], [1, 10, 100]) == (8.0, 8.0)

    def test_holds_the_ratio_of_sums(self):
        low, high = ratio_interval([10, 30, 50], [2, 3, 10])
        assert low < 90 / 15 < high


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: interval([]), "at least one"),
        (lambda: interval([[1.0]]), "a row of numbers"),
        (lambda: interval([1.0, float("nan")]), "1 are not"),
        (lambda: interval([1.0, 2.0], groups=["a"]), "as many groups, not 1"),
        (lambda: interval([1.0], confidence=1.0), "between 0 and 1"),
        (lambda: interval([1.0], resamples=0), "at least one draw"),
        (lambda: ratio_interval([1.0], [0.0]), "positive"),
        (lambda: ratio_interval([1.0], [1.0, 2.0]), "as many numbers above as below"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, told):
    with pytest.raises(MetricError, match=told):
        call()


def test_one_rule_says_what_is_drawn():
    assert drawn_by("abcde") == "videos"
    assert drawn_by("aabbccdd") == drawn_by("aaaaa") == "objects"
    assert drawn_by("abcd") is None and drawn_by("") is None
