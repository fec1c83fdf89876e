"""What each phase's data is worth: equal training on more and more of it (SAM 2 paper, table 2).

A round in each phase collects masklets, all with the same weights. Then models are trained from one start with
equal steps: on the base data alone (drawn clips, what the packaged weights were made of), and with the masklets of
phase 1, of phases 1 and 2, of all three, and with the automatic ones besides. They are compared on held-out videos of
kinds that the packaged weights were made for, and of one, growing colonies, that they have never seen.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from engine.experiments.base import Place
from engine.experiments.begun import SECONDS_PER_ROUND_FRAME, SECONDS_PER_STEP, BegunExperiment
from engine.experiments.footage import Footage, Reel, take_drawn, take_windows
from engine.experiments.lessons import Lesson, teach
from engine.experiments.turning import ArmHome, dataset_rows, round_result, turn_round
from engine.experiments.units import Unit, UnitResult
from engine.home import EngineHome
from engine.stages.base import Row
from qa.report.formats import plural

NAME = "data"
START = "start"
BASE = "base"
PROTOCOLS = ("3-click", "mask")
SECONDS_PER_SCORED_FRAME = {"drawn": 0.2, "colonies": 0.2, "cells": 0.55}
"""By all protocols together; the CHO movie is larger and has more objects."""
PHASES = (1, 2, 3)
TRAINED: tuple[str, ...] = (BASE, "phase-1", "phase-2", "phase-3", "auto")
"""Rows of the table, each with all data of those above it."""


@dataclass(frozen=True, slots=True)
class DataSize:
    """How much is done.

    drawn, colonies: videos to annotate beside the windows of cells. videos, objects: of each round. seeds: trainings
    of each row. clips: of a step. evaluated: held-out videos of either drawn kind.
    """

    drawn: int
    colonies: int
    videos: int
    objects: int
    frames: int
    seeds: int
    steps: int
    evaluated: int
    side: int = 256
    cells: bool = True
    mined: int = 2
    mined_masklets: int = 8
    lesson_size: int = 128
    lesson_frames: int = 4
    clips: int = 4
    base_share: float = 0.5


FULL = DataSize(drawn=4, colonies=6, videos=6, objects=3, frames=20, seeds=3, steps=80, evaluated=5)
QUICK = DataSize(
    drawn=2,
    colonies=1,
    videos=2,
    objects=1,
    frames=6,
    seeds=1,
    steps=4,
    evaluated=2,
    mined=1,
    mined_masklets=4,
    lesson_frames=2,
    clips=1,
)


class DataExperiment(BegunExperiment[DataSize]):
    """The comparison of data sets in its folder."""

    name = NAME

    def __init__(self, place: Place, size: DataSize, *, checkpoint: str = "") -> None:
        super().__init__(place, size, checkpoint=checkpoint)
        self.arm = self._arm(checkpoint)

    @cached_property
    def collecting(self) -> EngineHome:
        """The home whose rounds collect the data."""
        return self.arm.open([sample for sample in self.samples if sample.split == "train"])

    @cached_property
    def held_out(self) -> Footage:
        """The videos that models are compared on; nothing of them is annotated or trained on."""
        reel = Reel(self.size.frames, self.size.side, self.size.objects)
        drawn = take_drawn(self.home, "evaluate", self.size.evaluated, reel)
        colonies = take_drawn(self.home, "evaluate", self.size.evaluated, reel.of_colonies)
        cells = [sample for sample in self.samples if sample.split == "eval"]
        return Footage(drawn, take_windows(self.home, cells, frames=self.size.frames), colonies)

    def units(self) -> list[Unit]:
        """Collecting, training, scoring."""
        rounds = self._round_units()
        trainings = self._training_units(rounds[-1].key)
        keys = {START: "", **{unit.name.removeprefix("train/"): unit.key for unit in trainings}}
        return [*rounds, *trainings, *self._scoring_units(keys)]

    def run(self, unit: Unit) -> UnitResult:
        """Do one unit."""
        kind, *rest = unit.name.split("/")
        if kind == "collect":
            phase = int(rest[0].removeprefix("phase-"))
            turn_round(self.collecting, phase, phase)
            return round_result(self.collecting, f"r{phase:04d}-p{phase}", evaluated=False)
        if kind == "train":
            return self._train(unit, rest[0], int(rest[1].removeprefix("seed-")))
        return self._score(weights="/".join(rest[:-1]), suite=rest[-1])

    def sentence(self) -> str:
        """What it will do."""
        size = self.size
        cells = " and the CHO movie" if self.held_out.cells else ""
        drawn = f"{plural(size.evaluated, 'held-out drawn video')}, {size.evaluated} of colonies"
        return (
            f"Collects masklets in a round of each phase, trains {len(TRAINED)} x {size.seeds} models from the same "
            f"weights for {size.steps} steps each, and compares them on {drawn}{cells}."
        )

    def rows_of(self, name: str) -> list[Row]:
        """The masklets that a row of the table is trained on."""
        return [row for row in self._collected() if _place_of(row) <= TRAINED.index(name)]

    def _arm(self, checkpoint: str) -> ArmHome:
        size = self.size
        return ArmHome(
            path=self.place.home(NAME) / "arms" / "collect",
            checkpoint=checkpoint,
            videos=size.videos,
            objects=size.objects,
            drawn=size.drawn,
            reel=Reel(size.frames, size.side, size.objects),
            colonies=size.colonies,
            frames=size.frames,
            mined=size.mined,
            mined_masklets=size.mined_masklets,
            retrains=False,
        )

    def _round_units(self) -> list[Unit]:
        videos = sorted(video.video_id for video in self.collecting.library.videos())
        inputs = {"start": self.start, "videos": videos, "settings": self.collecting.settings.hash()}
        cost = SECONDS_PER_ROUND_FRAME * self.size.videos * self.size.objects * self.size.frames
        return [Unit(f"collect/phase-{phase}", {**inputs, "phase": phase}, cost=cost) for phase in PHASES]

    def _training_units(self, collected: str) -> list[Unit]:
        return [
            Unit(
                f"train/{name}/seed-{seed}",
                {
                    "start": self.start,
                    "data": "" if name == BASE else collected,
                    "lesson": asdict(self._lesson(seed)),
                },
                cost=SECONDS_PER_STEP * self.size.steps * self.size.clips,
            )
            for name in TRAINED
            for seed in range(self.size.seeds)
        ]

    def _scoring_units(self, keys: dict[str, str]) -> list[Unit]:
        return [
            Unit(
                f"score/{name}/{suite}",
                {
                    "start": self.start,
                    "weights": key,
                    "videos": [video.video_id for video in videos],
                    "protocols": list(PROTOCOLS),
                },
                cost=SECONDS_PER_SCORED_FRAME[suite] * self.size.frames * len(videos),
            )
            for name, key in keys.items()
            for suite, videos in self.held_out.by_kind.items()
        ]

    def _lesson(self, seed: int) -> Lesson:
        size = self.size
        return Lesson(
            steps=size.steps,
            frames=size.lesson_frames,
            objects=3,
            image_size=size.lesson_size,
            drawn_share=size.base_share,
            clips=size.clips,
            seed=seed,
        )

    def _train(self, unit: Unit, name: str, seed: int) -> UnitResult:
        from engine.training.retraining import training_videos

        rows = self.rows_of(name)
        videos = training_videos(self.collecting, rows) if rows else []
        folder: Path = self.home.work / unit.name
        held_out = {video.group for video in self.held_out.all}
        result = teach(self.home, self.start, videos, self._lesson(seed), folder=folder, forbidden=held_out)
        return UnitResult({**result.values, "masklets": len(rows)}, result.files, result.measured)

    def _collected(self) -> list[Row]:
        return dataset_rows(self.collecting, self.done(self._round_units()[-1]).files)

    def _score(self, *, weights: str, suite: str) -> UnitResult:
        from engine.judging.sets import evaluation_video
        from engine.weights import load_weights
        from model.video.session_config import SessionConfig
        from qa.evaluation import evaluate

        videos = self.held_out.by_kind[suite]
        model = load_weights(self.home, self._weights(weights))
        config = SessionConfig(fill_hole_area=0, precision=self.home.settings.model.precision)
        names = {video.video_id: video.name for video in videos}
        films = [evaluation_video(self.home, video) for video in videos]
        rows = [
            {
                "protocol": protocol,
                "video": names[row.video_id],
                "object_id": row.object_id,
                "jf": round(row.jf, 6),
            }
            for protocol in PROTOCOLS
            for row in evaluate(model, films, protocol=protocol, session_config=config)
            if not row.is_mean
        ]
        return UnitResult(values={"scores": rows})

    def _weights(self, name: str) -> str:
        if name == START:
            return self.start
        rounds = self._round_units()
        return self.trained(self._training_units(rounds[-1].key), f"train/{name}")


def _place_of(row: Row) -> int:
    """The first row of the table that a masklet of the data set belongs to."""
    return TRAINED.index("auto" if row["origin"] == "auto" else f"phase-{row['phase']}")
