"""Numeric equality with the published network, on weights and images anyone can make."""

from __future__ import annotations

import math

import pytest
import torch

from model.golden import GoldenResult, check, golden_data


@pytest.fixture(autouse=True)
def two_threads(one_thread: None) -> None:
    torch.set_num_threads(2)


def _failures(results: list[GoldenResult]) -> list[GoldenResult]:
    assert results
    return [result for result in results if not result.passed]


def test_position_codes() -> None:
    assert _failures(check(golden_data(), groups=["position"])) == []


@pytest.mark.slow
@pytest.mark.parametrize("group", ["tiny", "tiny-2.0", "small", "base_plus", "large"])
def test_network(group: str) -> None:
    assert _failures(check(golden_data(), groups=[group])) == []


def test_other_packages_add_their_numbers() -> None:
    golden = {"score": {"what": "two numbers", "good": [1.0, 2.0], "bad": 3}}
    good = check(golden, groups=[], extra={"score": lambda: {"good": (1.0, 2.0), "bad": 3.00001}})
    assert [r.passed for r in good] == [True]
    bad = check(golden, groups=[], extra={"score": lambda: {"good": [1.0, 2.5], "bad": 3}})
    assert (bad[0].error, bad[0].passed) == (0.5, False)
    missing = check(golden, groups=[], extra={"score": lambda: {"good": [1.0, 2.0]}})
    assert "bad" in missing[0].problem


def test_a_wrong_shape_is_a_failure() -> None:
    golden = dict(golden_data())
    golden["extra.pe1d"] = golden["extra.pe1d"] | {"shape": [4, 128]}
    failures = _failures(check(golden, groups=["position"]))
    assert [r.key for r in failures] == ["extra.pe1d"]
    assert math.isinf(failures[0].error)
