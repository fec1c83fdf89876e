"""A home that has something to train on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engine.home import EngineHome
from engine.machine import advance_round, open_round


@pytest.fixture(scope="module")
def home_after_a_round(make_home: Callable[..., EngineHome]) -> EngineHome:
    """A home after one round, the same for all tests of a module."""
    home = make_home("worked")
    opening = open_round(home, phase=1)
    assert advance_round(home, opening.round_id).state == "done"
    return home
