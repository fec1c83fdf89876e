"""`engine experiment`: what it says before and after, JSON, exit codes, and going on after a stop."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine.cli import main
from engine.experiments import catalogue, reporting
from engine.experiments.base import Place, make_home
from engine.experiments.units import Unit, UnitResult
from engine.home import create_home


@dataclass(frozen=True)
class Size:
    seeds: int = 1
    breaks: bool = False


class Small:
    """An experiment of a unit a seed; the last one may break."""

    name = "phases"

    def __init__(self, place: Place, size: Size, *, checkpoint: str = "") -> None:
        self.home = make_home(place.home("phases"), "")
        self.size = size

    def units(self) -> list[Unit]:
        return [Unit(f"part/{number}", {}, cost=60.0) for number in range(self.size.seeds + 1)]

    def run(self, unit: Unit) -> UnitResult:
        if self.size.breaks and unit == self.units()[-1]:
            raise KeyboardInterrupt
        return UnitResult({"name": unit.name})

    def sentence(self) -> str:
        return "Counts parts."


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"full": Size(breaks=True), "quick": Size()}
    monkeypatch.setattr(catalogue, "EXPERIMENTS", {"phases": (Small, sizes)})
    found = SimpleNamespace(values={"verdict": "It pays."})
    monkeypatch.setattr(
        reporting, "write", lambda place, experiment: (place.folder / "report.html", found.values)
    )
    catalogue.open_experiment.cache_clear()


def engine(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["engine", *map(str, arguments)])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    return ended.value.code or 0, captured.out, captured.err  # type: ignore[return-value]


def test_it_says_what_it_will_do_and_what_came_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    run = ("--home", tmp_path, "experiment", "phases", "--quick", "--no-prefect")
    code, out, _ = engine(capsys, monkeypatch, *run, "--seeds", 2)
    assert code == 0 and "Counts parts. 3 pieces of work: about 3 minutes on one free core." in out
    assert "It pays." in out and "simulated" in out and "report.html" in out
    code, out, _ = engine(capsys, monkeypatch, *run, "--seeds", 2)
    assert code == 0 and "All 3 pieces of work were done before." in out
    code, out, _ = engine(capsys, monkeypatch, *run, "--seeds", 2, "--json")
    assert code == 0 and json.loads(out)["verdict"] == "It pays."


def test_a_stopped_run_says_that_nothing_is_lost(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    run = ("--home", tmp_path, "experiment", "phases", "--no-prefect")
    code, _, err = engine(capsys, monkeypatch, *run)
    assert code == 130 and "Nothing is lost" in err
    _, out, _ = engine(capsys, monkeypatch, *run)
    assert "2 pieces of work, 1 done before: about a minute" in out


def test_an_engine_home_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    create_home(tmp_path)
    code, _, err = engine(capsys, monkeypatch, "--home", tmp_path, "experiment", "phases", "--quick")
    assert code == 2 and "is an engine home" in err
