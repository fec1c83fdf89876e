"""What the experiments share: how one is begun in its folder, and what it has from then on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from engine.experiments.base import Place, fix_design, make_home
from engine.experiments.footage import sample_windows
from engine.experiments.units import Unit, UnitResult, read_result
from engine.home import EngineHome
from engine.rounds import base_checkpoint, store_checkpoint, weights_path

SECONDS_PER_STEP = 0.55
SECONDS_PER_ROUND_FRAME = 0.4
"""Of one core: for a training step, and for an object and frame of a round from planning to verification; as measured
with nano at 256 px."""

SETTINGS = """
[model]
checkpoint = "{checkpoint}"
threads = 1
"""


class Size(Protocol):
    """How much an experiment does: a dataclass of plain values."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def cells(self) -> bool:
        """Whether movies of cells are used where they can be had, beside the drawn videos."""
        ...


S = TypeVar("S", bound=Size)


class BegunExperiment(Generic[S]):
    """An experiment in its folder: its home, the weights it starts from, the sample movies and the fixed design."""

    name: ClassVar[str]

    def __init__(self, place: Place, size: S, *, checkpoint: str = "") -> None:
        self.place = place
        self.size = size
        self.home: EngineHome = make_home(place.home(self.name), SETTINGS.format(checkpoint=checkpoint))
        self.start = self._start(checkpoint)
        self.samples = sample_windows(place.samples, offline=place.offline) if size.cells else []
        self.design = fix_design(self.home, self._wanted())

    def _start(self, checkpoint: str) -> str:
        """Hash of the weights asked for, or of those that the experiment was begun with; RoundError without them."""
        if not checkpoint:
            return base_checkpoint(self.home)
        return store_checkpoint(self.home, weights_path(checkpoint, "--from"))

    def done(self, unit: Unit) -> UnitResult:
        """The result of a unit that others build on."""
        result = read_result(self.home.store, unit)
        assert result is not None, "units come after those they build on"
        return result

    def trained(self, trainings: Sequence[Unit], name: str) -> str:
        """The weights that the training of that name gave."""
        (unit,) = (unit for unit in trainings if unit.name == name)
        return str(self.done(unit).values["weights"])

    def _wanted(self) -> dict[str, Any]:
        return {
            "experiment": self.name,
            "size": asdict(self.size),
            "start": self.start,
            "cells": bool(self.samples),
            "settings": self.home.settings.snapshot(),
        }
