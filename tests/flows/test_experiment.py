"""Experiments as flows: every open unit once, told as it comes, and only what is open."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from engine.errors import RoundError
from engine.experiments.catalogue import Request
from engine.experiments.units import Unit, UnitResult, read_result
from engine.home import EngineHome
from flows import experiment as flow
from flows.experiment import run_experiment

pytestmark = pytest.mark.usefixtures("prefect_api")


@dataclass
class Counting:
    """An experiment of three units that counts what is done; `fails` names one that does not work yet."""

    home: EngineHome
    name: str = "counting"
    fails: str = ""
    ran: list[str] = field(default_factory=list)

    def units(self) -> list[Unit]:
        return [Unit(f"part/{number}", {"number": number}) for number in range(3)]

    def run(self, unit: Unit) -> UnitResult:
        if unit.name == self.fails:
            raise RoundError("not yet")
        self.ran.append(unit.name)
        return UnitResult({"number": unit.inputs["number"]})

    def sentence(self) -> str:
        return "Counts."


def test_a_run_that_failed_goes_on_at_the_unit(home: EngineHome, monkeypatch: pytest.MonkeyPatch):
    counting = Counting(home, fails="part/1")
    monkeypatch.setattr(flow, "open_experiment", lambda request: counting)
    request = Request("counting", Path("anywhere"))
    heard: list[str] = []
    with pytest.raises(RoundError, match="not yet"):
        run_experiment(request, on_unit=lambda unit: heard.append(unit.name))
    assert heard == counting.ran == ["part/0"]
    counting.fails = ""
    run_experiment(request, on_unit=lambda unit: heard.append(unit.name))
    run_experiment(request)
    assert heard == counting.ran == ["part/0", "part/1", "part/2"]
    found = [read_result(home.store, unit) for unit in counting.units()]
    assert [one.values["number"] for one in found if one] == [0, 1, 2]
