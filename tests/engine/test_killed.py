"""A round that is killed goes on where it was and ends with the same hashes as one that was not."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.home import EngineHome
from engine.machine import advance_round, open_round
from storage.commits import chain

KILLER = Path(__file__).with_name("killer.py")


def hashes(home: EngineHome) -> list[str]:
    return [f"{commit.round_id}/{commit.stage}/{commit.hash}" for commit in chain(home.store)]


@pytest.fixture(scope="module")
def undisturbed(make_home: Callable[..., EngineHome]) -> EngineHome:
    home = make_home("undisturbed")
    advance_round(home, open_round(home, phase=2).round_id)
    return home


KILLS = [
    ("inbox/.*/selection/", "after", 1),
    ("prelabel/shards/", "before", 2),
    ("inbox/.*/annotation/.*-annotate-", "after", 1),
    ("annotate/commit.json", "before", 1),
    ("training-step", "after", 2),
    ("^checkpoints/", "before", 1),
    ("evaluate/shards/", "after", 1),
    ("close/commit.json", "before", 1),
]
"""Moments in the order in which a round comes to them: what is written (or a step), before or after, which of many."""


@pytest.mark.slow
@pytest.mark.timeout(1800)  # half a minute where nothing else runs
def test_a_round_that_is_killed_again_and_again_ends_as_an_undisturbed_one(
    make_home: Callable[..., EngineHome], undisturbed: EngineHome
) -> None:
    killed = make_home("killed")
    open_round(killed, phase=2)  # puts the base weights, so that `checkpoints/` means the retrained ones
    done = [0]
    for pattern, when, count in KILLS:
        command = [sys.executable, str(KILLER), str(killed.path), "2", pattern, when, str(count)]
        assert subprocess.run(command, check=False).returncode == -signal.SIGKILL, pattern
        done.append(len(hashes(killed)))
        assert hashes(killed) == hashes(undisturbed)[: done[-1]], pattern
    assert done == sorted(done) and len(set(done)) > 4, "it gets further, and was killed in several stages"
    outcome = advance_round(killed, open_round(killed, phase=2).round_id)
    assert outcome.state == "done"
    assert hashes(killed) == hashes(undisturbed)
    assert killed.catalog.snapshot() == undisturbed.catalog.snapshot()
