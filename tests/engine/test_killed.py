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


@pytest.mark.parametrize(
    ("pattern", "when", "count"),
    [
        ("inbox/.*/selection/", "after", 1),
        ("prelabel/shards/", "before", 2),
        ("inbox/.*/annotation/.*-annotate-", "after", 1),
        ("annotate/commit.json", "before", 1),
        ("training-step", "after", 2),
        ("^checkpoints/", "before", 1),
        ("evaluate/shards/", "after", 1),
        ("close/commit.json", "before", 1),
    ],
)
def test_a_killed_round_ends_as_an_undisturbed_one(
    make_home: Callable[..., EngineHome], undisturbed: EngineHome, pattern: str, when: str, count: int
) -> None:
    killed = make_home("killed")
    open_round(killed, phase=2)  # puts the base weights, so that `checkpoints/` means the retrained ones
    command = [sys.executable, str(KILLER), str(killed.path), "2", pattern, when, str(count)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert len(hashes(killed)) < 9
    outcome = advance_round(killed, open_round(killed, phase=2).round_id)
    assert outcome.state == "done"
    assert hashes(killed) == hashes(undisturbed)
    assert killed.catalog.snapshot() == undisturbed.catalog.snapshot()
