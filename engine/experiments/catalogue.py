"""The experiments by name, and opening one as a person asked for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from engine.errors import SettingsError
from engine.experiments import data, phases, rounds
from engine.experiments.base import Experiment, Place, Scale

EXPERIMENTS: Mapping[str, tuple[Callable[..., Experiment], Mapping[Scale, Any]]] = MappingProxyType(
    {
        phases.NAME: (
            phases.PhasesExperiment,
            {"full": phases.FULL, "quick": phases.QUICK, "tiny": phases.TINY},
        ),
        data.NAME: (data.DataExperiment, {"full": data.FULL, "quick": data.QUICK}),
        rounds.NAME: (
            rounds.RoundsExperiment,
            {"full": rounds.FULL, "quick": rounds.QUICK},
        ),
        rounds.COLONIES: (
            rounds.ColoniesExperiment,
            {"full": rounds.FULL_COLONIES, "quick": rounds.QUICK_COLONIES},
        ),
    }
)
"""Class and sizes of each."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a person asked for: which experiment, in which folder, from which weights (empty: the packaged nano).

    seeds: repetitions, 0 for as many as the scale has. samples: where the sample movies lie, empty for the folder.
    """

    name: str
    root: Path
    scale: Scale = "full"
    checkpoint: str = ""
    seeds: int = 0
    samples: str = ""

    @property
    def place(self) -> Place:
        """Where it lives. SettingsError if the folder is an engine's home."""
        return Place.at(self.root, scale=self.scale, samples=Path(self.samples) if self.samples else None)


@lru_cache(maxsize=1)
def open_experiment(request: Request) -> Experiment:
    """The experiment that was asked for, its homes and videos made where they are not there yet.

    Raises SettingsError for an unknown name, ExperimentError if the folder holds a run of another design.
    """
    if request.name not in EXPERIMENTS:
        raise SettingsError(
            f"There is no experiment {request.name!r}; there are {', '.join(sorted(EXPERIMENTS))}."
        )
    make, sizes = EXPERIMENTS[request.name]
    size = sizes[request.scale]
    if request.seeds:
        size = replace(size, seeds=request.seeds)
    checkpoint = (
        str(Path(request.checkpoint).resolve()) if Path(request.checkpoint).is_file() else request.checkpoint
    )
    return make(request.place, size, checkpoint=checkpoint)
