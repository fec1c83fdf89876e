"""What the phases cost: the same objects annotated by groups of people, one protocol each (SAM 2 paper, table 1).

The design is that of the paper's appendix D.2.2: every object is annotated once by each protocol, so that protocols
are compared on the same objects; who works by which protocol is dealt by chance. Before that, SAM 2 Mask and SAM 2
are trained on masklets made by phase 1 on other videos, as the engine would have them by then; two more arms work
with the weights from before that training, to see what it changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from engine.experiments.base import Place
from engine.experiments.begun import SECONDS_PER_STEP, BegunExperiment
from engine.experiments.footage import Footage, Purpose, Reel, take_drawn, take_windows
from engine.experiments.lessons import Lesson, teach
from engine.experiments.protocol import (
    Sitting,
    Worked,
    annotate_targets,
    efforts,
    groups_of_people,
    targets,
)
from engine.experiments.units import Unit, UnitResult
from engine.home import EngineHome
from engine.phases import PromptMode
from engine.samples import Sample
from engine.training.retraining import training_video
from model.training.clips import TrainingVideo
from qa.report.formats import plural
from storage.manifests import rows_to_table, write_manifest
from storage.masks import Rle
from storage.videos import Video

NAME = "phases"
SECONDS_PER_FRAME = {1: 0.07, 2: 0.19, 3: 0.21}
"""Of one core, for an object and frame, by phase: measured with nano at 256 px."""
DRAWN_SHARE = 0.5
"""Of the helpers' training clips: against forgetting."""


@dataclass(frozen=True, slots=True)
class PhasesSize:
    """How much is done.

    drawn, colonies, windows: measured videos of each kind, with at most `objects` of each video. lessons: videos of
    each kind that are annotated to train on; 0 leaves the training out. steps, clips: of that training. seeds:
    repetitions with other people and other hands.
    """

    drawn: int
    colonies: int
    windows: int
    objects: int
    frames: int
    side: int = 256
    seeds: int = 1
    people: int = 4
    lessons: int = 0
    steps: int = 0
    clips: int = 4
    lesson_size: int = 0

    @property
    def cells(self) -> bool:
        """Whether there are windows of cells among the videos."""
        return self.windows > 0

    @property
    def trains(self) -> bool:
        """Whether the helpers are trained first."""
        return self.lessons > 0 and self.steps > 0


FULL = PhasesSize(drawn=10, colonies=4, windows=4, objects=3, frames=20, lessons=4, steps=40)
QUICK = PhasesSize(drawn=3, colonies=1, windows=1, objects=2, frames=8)
TINY = PhasesSize(
    drawn=1, colonies=0, windows=0, objects=1, frames=3, side=64, people=1, lessons=1, steps=1, clips=1
)


@dataclass(frozen=True, slots=True)
class Arm:
    """One protocol with one helper: `mode` says which training its tracker had, None the start weights."""

    name: str
    phase: int
    mode: PromptMode | None = None


def arms_of(size: PhasesSize) -> tuple[Arm, ...]:
    """The protocols that are compared; those with untrained helpers last."""
    if not size.trains:
        return Arm("phase-1", 1), Arm("phase-2", 2), Arm("phase-3", 3)
    return (
        Arm("phase-1", 1),
        Arm("phase-2", 2, "masks"),
        Arm("phase-3", 3, "all"),
        Arm("phase-2-start", 2),
        Arm("phase-3-start", 3),
    )


class PhasesExperiment(BegunExperiment[PhasesSize]):
    """The comparison of the phases in its folder."""

    name = NAME

    def __init__(self, place: Place, size: PhasesSize, *, checkpoint: str = "") -> None:
        super().__init__(place, size, checkpoint=checkpoint)
        self.arms = arms_of(size)

    @cached_property
    def measured(self) -> Footage:
        """The videos whose objects are compared."""
        size = self.size
        return self._footage("measure", size.drawn, size.colonies, self._windows[: size.windows])

    @cached_property
    def lessons(self) -> Footage:
        """The videos that are annotated to train on; none of them is measured."""
        size = self.size
        if not size.trains:
            return Footage()
        windows = self._windows[size.windows :][: size.lessons]
        return self._footage("annotate", size.lessons, size.lessons if size.colonies else 0, windows)

    def units(self) -> list[Unit]:
        """Lessons, training, then every arm, repetition and video."""
        lessons = self._lesson_units()
        trainings = self._training_units(lessons)
        needs = {unit.name: unit.key for unit in trainings}
        return [*lessons, *trainings, *self._measuring_units(needs)]

    def run(self, unit: Unit) -> UnitResult:
        """Do one unit."""
        kind, *rest = unit.name.split("/")
        if kind == "train":
            return self._train(unit, "masks" if rest == ["masks"] else "all")
        if kind == "lesson":
            return self._annotate(Arm("lesson", 1), unit, seed=0, video_name=rest[0])
        (arm,) = (arm for arm in self.arms if arm.name == kind)
        return self._annotate(arm, unit, seed=int(rest[0].removeprefix("seed-")), video_name=rest[1])

    def sentence(self) -> str:
        """What it will do."""
        size, cells = self.size, len(self.measured.cells)
        films = plural(size.drawn + size.colonies, "drawn video") + (
            f" and {plural(cells, 'window')} of cells" if cells else ""
        )
        first = (
            "Trains SAM 2 Mask and SAM 2 on phase-1 masklets of other videos; then the"
            if size.trains
            else "The"
        )
        seeds = f", {size.seeds} times over" if size.seeds > 1 else ""
        return (
            f"{first} same objects of {films} are annotated by {len(self.arms)} groups of simulated people, one "
            f"protocol each{seeds}, and the phases' costs compared."
        )

    @property
    def _windows(self) -> list[Sample]:
        """Windows of cells: the first are measured, the next are lessons."""
        return [sample for sample in self.samples if sample.split == "train"]

    def _footage(self, purpose: Purpose, drawn: int, colonies: int, windows: Sequence[Sample]) -> Footage:
        reel = Reel(self.size.frames, self.size.side, self.size.objects)
        return Footage(
            take_drawn(self.home, purpose, drawn, reel),
            take_windows(self.home, windows, frames=self.size.frames),
            take_drawn(self.home, purpose, colonies, reel.of_colonies),
        )

    def _inputs(self, **more: Any) -> dict[str, Any]:
        kept = ("simulation", "time", "verifier")
        settings = {section: self.design["settings"][section] for section in kept}
        return {"start": self.start, "settings": settings, "objects": self.size.objects, **more}

    def _lesson_units(self) -> list[Unit]:
        return [
            Unit(
                f"lesson/{video.name}",
                self._inputs(video=video.video_id, phase=1),
                cost=self._seconds(video, 1),
            )
            for video in self.lessons.all
        ]

    def _training_units(self, lessons: Sequence[Unit]) -> list[Unit]:
        inputs = self._inputs(
            lessons=[unit.key for unit in lessons],
            steps=self.size.steps,
            clips=self.size.clips,
            image_size=self.size.lesson_size,
        )
        modes = ("masks", "all") if self.size.trains else ()
        cost = SECONDS_PER_STEP * self.size.steps * self.size.clips
        return [Unit(f"train/{mode}", {**inputs, "mode": mode}, cost=cost) for mode in modes]

    def _measuring_units(self, trained: Mapping[str, str]) -> list[Unit]:
        return [
            Unit(
                f"{arm.name}/seed-{seed}/{video.name}",
                self._inputs(
                    video=video.video_id,
                    phase=arm.phase,
                    seed=seed,
                    people=self.size.people,
                    dealt="by video",
                    arms=[one.name for one in self.arms],
                    weights=trained[f"train/{arm.mode}"] if arm.mode else "",
                ),
                cost=self._seconds(video, arm.phase),
            )
            for arm in self.arms
            for seed in range(self.size.seeds)
            for video in self.measured.all
        ]

    def _seconds(self, video: Video, phase: int) -> float:
        return SECONDS_PER_FRAME[phase] * len(video.annotated_frames) * self.size.objects

    def _annotate(self, arm: Arm, unit: Unit, *, seed: int, video_name: str) -> UnitResult:
        from annotation.assistance import SessionTools
        from engine.weights import load_weights
        from model.video.session_config import SessionConfig

        (video,) = (video for video in (*self.lessons.all, *self.measured.all) if video.name == video_name)
        start = load_weights(self.home, self.start)
        tracker = load_weights(self.home, self._weights(arm))
        config = SessionConfig(precision=self.home.settings.model.precision)
        names = [one.name for one in self.arms]
        groups = groups_of_people(names, each=self.size.people, seed=seed, video=video.name)
        sitting = Sitting(
            name=f"{arm.name}-s{seed}",
            phase=arm.phase,
            people=groups.get(arm.name, groups["phase-1"]),
            tools=SessionTools(tracker, config=config, sam=start),
            seed=seed,
        )
        objects = targets(self.home, video, most=self.size.objects, seed=0)
        worked = annotate_targets(self.home, video, objects, sitting)
        return self._result(unit, worked)

    def _weights(self, arm: Arm) -> str:
        if arm.mode is None:
            return self.start
        return self.trained(self._training_units(self._lesson_units()), f"train/{arm.mode}")

    def _result(self, unit: Unit, worked: Worked) -> UnitResult:
        prefix = f"{unit.key.removesuffix('.json')}"
        files = tuple(
            write_manifest(self.home.store, prefix, schema, rows_to_table(schema, rows), schema)
            for schema, rows in (
                ("annotations", worked.annotations),
                ("effort", worked.effort),
                ("verdicts", worked.verdicts),
            )
        )
        return UnitResult(
            values={"masklets": [_masklet(work, cost) for work, cost in efforts(worked)]}, files=files
        )

    def _train(self, unit: Unit, mode: PromptMode) -> UnitResult:
        size = self.size
        lesson = Lesson(
            steps=size.steps,
            frames=4,
            objects=size.objects,
            image_size=size.lesson_size,
            drawn_share=DRAWN_SHARE,
            clips=size.clips,
            mode=mode,
        )
        folder = self.home.work / unit.name
        return teach(self.home, self.start, self._training_videos(), lesson, folder=folder)

    def _training_videos(self) -> list[TrainingVideo]:
        """Accepted masklets of the lessons."""
        videos = []
        for unit, video in zip(self._lesson_units(), self.lessons.all, strict=True):
            done = self.done(unit)
            accepted = {
                row["masklet_id"]: row["revision"] for row in done.values["masklets"] if row["accepted"]
            }
            masklets = list(last_masks(self.home, done, accepted).values())
            if masklets:
                videos.append(training_video(self.home, video, masklets))
        return videos


def last_masks(
    home: EngineHome, result: UnitResult, revisions: Mapping[str, int]
) -> dict[str, dict[int, Rle]]:
    """Masks by source frame of the named masklets, in the revision given for each."""
    from storage.manifests import read_manifest

    masks: dict[str, dict[int, Rle]] = {name: {} for name in revisions}
    for row in read_manifest(home.store, result.file("annotations")).to_pylist():
        if revisions.get(row["masklet_id"]) == row["revision"]:
            masks[row["masklet_id"]][row["frame"]] = Rle(row["height"], row["width"], row["counts"])
    return masks


def _masklet(work: Any, cost: Any) -> dict[str, Any]:
    """A masklet's outcome and cost as plain values."""
    return {
        "masklet_id": work.candidate.masklet_id,
        "object_id": work.candidate.object_id,
        "revision": work.latest.number,
        "accepted": work.state == "accepted",
        "state": work.state,
        "frames": cost.frames,
        "edited_percent": round(cost.edited_percent, 6),
        "clicks": cost.clicks,
        "clicked_frames": cost.clicked_frames,
        "annotation_s": round(cost.annotation_s, 3),
        "verification_s": round(cost.verification_s, 3),
    }
