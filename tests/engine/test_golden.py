"""`engine model check`: a line per key, exit code 1 on a miss. The network's own keys are checked in tests/model."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from engine.cli import main
from engine.golden import EXTRA, check_all
from model.golden import golden_data


@pytest.fixture
def _no_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.golden.golden_groups", dict)  # they take minutes


@pytest.mark.usefixtures("_no_networks")
def test_losses_clicks_and_metrics_are_reproduced() -> None:
    record = golden_data()
    results = list(check_all({key: record[key] for key in EXTRA}))
    assert {result.key for result in results} == set(EXTRA)
    assert [result for result in results if not result.passed] == []


@pytest.mark.usefixtures("_no_networks")
@pytest.mark.parametrize(
    ("change", "code", "line"),
    [
        ({}, 0, "ok   jf"),
        ({"jf": {"half": [51.0, 60.416666666666664]}}, 1, "MISS jf"),
        ({"made.up": {"shape": [1], "std": 0.0, "mean": 0.0, "idx": [0], "val": [0.0]}}, 1, "MISS made.up"),
    ],
)
def test_the_command_ends_with_1_on_a_miss(
    tmp_path: Path, capsys, monkeypatch, change: dict[str, object], code: int, line: str
) -> None:
    record = {key: golden_data()[key] for key in EXTRA} | change
    path = tmp_path / "golden.json"
    path.write_text(json.dumps(record))
    monkeypatch.setattr(sys, "argv", ["engine", "model", "check", "--golden", str(path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code or 0) == code
    assert line in capsys.readouterr().out


def test_a_golden_file_that_cannot_be_read_is_named(tmp_path: Path, capsys, monkeypatch) -> None:
    path = tmp_path / "golden.json"
    path.write_text("{")
    monkeypatch.setattr(sys, "argv", ["engine", "model", "check", "--golden", str(path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "golden.json" in capsys.readouterr().err
