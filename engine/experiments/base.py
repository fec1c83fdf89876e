"""What an experiment is, where it lives, and how it is run: a folder, a design that is fixed once, and units.

<root>/<scale>/report.html, <name>.json, <name>.png   what was found
<root>/<scale>/<name>/                               an engine home: videos, the design, the units' results
<root>/<scale>/<name>/arms/…                         homes in which rounds of the engine run
<root>/samples                                       sample movies
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from engine.errors import EngineError, SettingsError
from engine.experiments.units import PREFIX, Unit, UnitResult, read_result, record_result
from engine.home import SETTINGS_FILE, EngineHome, create_home
from storage.commits import canonical_json

DESIGN_KEY = f"{PREFIX}/design.json"
Scale = Literal["full", "quick", "tiny"]
"""How much is done: to find something out; in minutes, to see that all of it runs; and next to nothing, for tests."""


class ExperimentError(EngineError):
    """An experiment cannot be run or reported on as asked."""


class Experiment(Protocol):
    """One experiment in its folder."""

    @property
    def name(self) -> str:
        """`phases`, `data` or `rounds`."""
        ...

    @property
    def home(self) -> EngineHome:
        """The home that holds its videos and its units' results."""
        ...

    def units(self) -> Sequence[Unit]:
        """Every unit, in an order in which each comes after those it builds on; the same at every call."""
        ...

    def run(self, unit: Unit) -> UnitResult:
        """Do one unit whose predecessors are done."""
        ...

    def sentence(self) -> str:
        """What it will do, in one sentence."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where experiments of one scale live. `root` is the folder a person names, `samples` holds the sample movies."""

    root: Path
    scale: Scale
    samples: Path

    @property
    def folder(self) -> Path:
        """The folder of this scale."""
        return self.root / self.scale

    @property
    def offline(self) -> bool:
        """Whether sample movies are used only if they are there already."""
        return self.scale != "full"

    def home(self, name: str) -> Path:
        """The home of an experiment."""
        return self.folder / name

    @classmethod
    def at(cls, root: Path, *, scale: Scale, samples: Path | None = None) -> Place:
        """The place in a folder. SettingsError if it is an engine's home: drawn videos must not get into one."""
        if (root / SETTINGS_FILE).exists():
            raise SettingsError(
                f"{root} is an engine home. Experiments bring their own videos and keep to a folder of their own: "
                "name another one with --home, or leave it out."
            )
        return cls(root, scale, samples or root / "samples")


def make_home(path: Path, settings: str) -> EngineHome:
    """The home at `path`; a new one's file ends with `settings` (TOML), an existing one stays as it is."""
    return create_home(path, more=settings)


def fix_design(home: EngineHome, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Record the design of a home's experiment, once, and give back the one that stands.

    Raises ExperimentError if the experiment was begun with another design: its results would not fit together.
    """
    data = canonical_json(dict(wanted))
    if not home.store.put_if_absent(DESIGN_KEY, data):
        stands = home.store.get(DESIGN_KEY)
        if stands != data:
            raise ExperimentError(
                f"The experiment in {home.path} was begun with another design ({_difference(stands, data)}). "
                "Run it as it was begun, or begin anew in another folder: --home."
            )
    fixed: dict[str, Any] = json.loads(data)
    return fixed


def pending(experiment: Experiment) -> list[Unit]:
    """Units without a result, in order."""
    return [unit for unit in experiment.units() if not experiment.home.store.exists(unit.key)]


def run_unit(experiment: Experiment, unit: Unit) -> UnitResult:
    """Do a unit unless it is done; its result."""
    done = read_result(experiment.home.store, unit)
    if done is not None:
        return done
    return record_result(experiment.home.store, unit, experiment.run(unit))


def run_pending(experiment: Experiment, *, on_unit: Callable[[Unit], None] | None = None) -> None:
    """Do every unit that is not done, telling `on_unit` after each."""
    for unit in pending(experiment):
        run_unit(experiment, unit)
        if on_unit is not None:
            on_unit(unit)


def results(experiment: Experiment) -> dict[str, UnitResult]:
    """Every unit's result by its name. Raises ExperimentError while one is missing."""
    found = {}
    for unit in experiment.units():
        result = read_result(experiment.home.store, unit)
        if result is None:
            raise ExperimentError(
                f"The experiment `{experiment.name}` is not finished: {unit.name} is open. "
                f"Run `engine experiment {experiment.name}` again; it goes on where it stopped."
            )
        found[unit.name] = result
    return found


@contextmanager
def only_runner(folder: Path) -> Iterator[None]:
    """Hold the folder of an experiment against a second run; ExperimentError if somebody else has it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "run.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ExperimentError(f"Another process is running the experiment in {folder}.") from None
        yield


def _difference(stands: bytes, wanted: bytes) -> str:
    """The first entry in which two designs differ, in words."""
    before, after = _flat(json.loads(stands)), _flat(json.loads(wanted))
    for key in sorted({*before, *after}):
        if before.get(key) != after.get(key):
            return f"{key} {before.get(key)} instead of {after.get(key)}"
    return "in its form"


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, entry in value.items():
        if isinstance(entry, Mapping):
            found |= _flat(entry, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = entry
    return found
