"""Does the loop pay: rounds of the whole engine against the same rounds without retraining.

Both arms turn rounds of phase 3 in homes of their own, with the same videos, seeds and people; one retrains after
every round and works on with the new weights if the gate lets them pass, the other keeps those it began with. The
first round is the same in both: nothing has been retrained yet. `rounds` turns them on videos of the kinds that the
packaged weights were made for, `colonies` on a kind that they have never seen.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from engine.experiments.base import Place
from engine.experiments.begun import SECONDS_PER_ROUND_FRAME, SECONDS_PER_STEP, BegunExperiment
from engine.experiments.footage import DrawnKind, Reel
from engine.experiments.turning import ArmHome, round_result, turn_round
from engine.experiments.units import Unit, UnitResult
from engine.home import EngineHome

NAME = "rounds"
COLONIES = "colonies"
LOOP, STILL = "loop", "still"
ARMS = (LOOP, STILL)
PHASE = 3
SECONDS_PER_JUDGED = 3.5
SECONDS_PER_SCORED_FRAME = 0.3
"""Of one core: for a retention clip or timed object, and for a frame of the frozen set, with nano."""


@dataclass(frozen=True, slots=True)
class RoundsSize:
    """How much is done.

    rounds, seeds: of each arm. videos, objects: planned by each round. drawn: videos to annotate beside the windows
    of cells. evaluated: drawn videos of the frozen set, with the CHO movie if there are cells. steps, clips,
    lesson_size: of each retraining. retention: clips of the retention set. timed: objects of each set whose correction
    is timed.
    """

    rounds: int
    seeds: int
    videos: int
    objects: int
    drawn: int
    frames: int
    steps: int
    evaluated: int
    side: int = 256
    cells: bool = True
    mined: int = 1
    mined_masklets: int = 8
    clips: int = 4
    lesson_size: int = 0
    retention: int = 12
    timed: int = 5
    kind: DrawnKind = "things"


FULL = RoundsSize(rounds=4, seeds=2, videos=4, objects=2, drawn=8, frames=16, steps=40, evaluated=3)
QUICK = RoundsSize(
    rounds=2,
    seeds=1,
    videos=2,
    objects=1,
    drawn=2,
    frames=6,
    steps=3,
    evaluated=1,
    mined=1,
    mined_masklets=3,
    clips=1,
    retention=1,
    timed=1,
)
FULL_COLONIES = replace(FULL, drawn=16, evaluated=6, cells=False, kind="colonies")
QUICK_COLONIES = replace(QUICK, cells=False, kind="colonies")


class RoundsExperiment(BegunExperiment[RoundsSize]):
    """The comparison of rounds with and without retraining in its folder."""

    name = NAME

    def __init__(self, place: Place, size: RoundsSize, *, checkpoint: str = "") -> None:
        super().__init__(place, size, checkpoint=checkpoint)
        self._checkpoint = checkpoint
        self._homes: dict[tuple[str, int], EngineHome] = {}

    def arm_home(self, arm: str, seed: int) -> EngineHome:
        """The home in which an arm's rounds turn."""
        if (arm, seed) not in self._homes:
            self._homes[arm, seed] = self._arm(arm, seed).open(self.samples)
        return self._homes[arm, seed]

    def units(self) -> list[Unit]:
        """Every round; the arms take turns, so that a run that was cut short compares what there is."""
        return [
            self._unit(arm, seed, number)
            for seed in range(self.size.seeds)
            for number in range(1, self.size.rounds + 1)
            for arm in ARMS
        ]

    def run(self, unit: Unit) -> UnitResult:
        """Take one round to its end."""
        arm, seed, number = _parts(unit)
        home = self.arm_home(arm, seed)
        return round_result(home, turn_round(home, number, PHASE))

    def sentence(self) -> str:
        """What it will do."""
        size = self.size
        what = "films of growing colonies" if size.kind == "colonies" else "videos"
        return (
            f"Turns {size.rounds} rounds of phase 3 with retraining and {size.rounds} without, on the same {what} with "
            f"the same simulated people, {times(size.seeds)}, and compares what an accepted masklet costs."
        )

    def _arm(self, arm: str, seed: int) -> ArmHome:
        size = self.size
        return ArmHome(
            path=self.place.home(self.name) / "arms" / f"{arm}-{seed}",
            checkpoint=self._checkpoint,
            videos=size.videos,
            objects=size.objects,
            drawn=size.drawn,
            reel=Reel(size.frames, size.side, 3, size.kind),
            frames=size.frames,
            seed=seed,
            evaluated=size.evaluated,
            mined=size.mined,
            mined_masklets=size.mined_masklets,
            retrains=arm == LOOP,
            steps=size.steps,
            clips=size.clips,
            lesson_size=size.lesson_size,
            retention=size.retention,
            timed=size.timed,
        )

    def _unit(self, arm: str, seed: int, number: int) -> Unit:
        size = self.size
        work = SECONDS_PER_ROUND_FRAME * size.videos * size.objects * size.frames
        training = SECONDS_PER_STEP * size.steps * size.clips if arm == LOOP else 0.0
        scoring = SECONDS_PER_SCORED_FRAME * size.frames * (size.evaluated + 1)
        scoring += SECONDS_PER_JUDGED * max(size.retention, size.timed)
        inputs = {
            "start": self.start,
            "size": asdict(size),
            "cells": bool(self.samples),
            "arm": arm,
            "seed": seed,
        }
        fresh = 2 if number == 1 and arm == LOOP else 1 if arm == LOOP or number == 1 else 0
        return Unit(
            f"{arm}/seed-{seed}/round-{number}",
            {**inputs, "round": number, "settings": self.home.settings.snapshot()},
            cost=work + training + fresh * scoring,
        )


class ColoniesExperiment(RoundsExperiment):
    """The same comparison on growing colonies."""

    name = COLONIES


def _parts(unit: Unit) -> tuple[str, int, int]:
    """Arm, seed and round of a unit."""
    arm, seed, number = unit.name.split("/")
    return arm, int(seed.removeprefix("seed-")), int(number.removeprefix("round-"))


def times(count: int) -> str:
    """`once`, `twice`, `3 times`."""
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
