"""Simulated persons: who they are, and who takes which item.

All chance comes from `generator(seed, …)`, named by what it decides; nothing depends on the order of work
or on time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from annotation.errors import PeopleError
from annotation.simulated.config import SimulationConfig

__all__ = ["Person", "SimulatedPool", "generator", "meet"]


def generator(seed: int, *names: str) -> np.random.Generator:
    """The random generator for one decision: the same `seed` and `names` always give the same numbers."""
    digest = hashlib.sha256("\n".join((str(seed), *names)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


@dataclass(frozen=True, slots=True)
class Person:
    """One simulated person. slowness multiplies every time; the jitters are pixels of their hand."""

    name: str
    slowness: float
    click_jitter_px: float
    brush_jitter_px: float


def meet(name: str, config: SimulationConfig, seed: int) -> Person:
    """The person of that name, always the same one for a seed."""
    chance = generator(seed, "person", name)
    slowness = float(np.clip(np.exp(chance.normal(0.0, config.speed_spread)), 0.5, 2.0))
    steadiness = float(chance.uniform(0.5, 1.5))
    return Person(name, slowness, config.click_jitter_px * steadiness, config.brush_jitter_px * steadiness)


class SimulatedPool:
    """A team of one role; who takes an item depends on the seed, the task and who may not."""

    def __init__(self, names: Sequence[str], *, seed: int = 0) -> None:
        if not names or len(set(names)) != len(names):
            raise PeopleError(f"A team needs at least one person and no name twice, not {list(names)}.")
        self._names = tuple(names)
        self._seed = seed

    def choose(self, task_id: str, excluded: Iterable[str] = ()) -> str:
        """Who takes `task_id`. Raises PeopleError if everyone is excluded."""
        willing = sorted(set(self._names) - set(excluded))
        if not willing:
            raise PeopleError(
                f"Nobody is left to take {task_id}: all of {', '.join(self._names)} are excluded. Add people."
            )
        return willing[int(generator(self._seed, "pool", task_id).integers(len(willing)))]
