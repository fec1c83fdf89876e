"""Annotating given objects of a video by one phase's protocol, outside any round: the bench of the experiments.

The people, the annotation session, verification and its loop back to annotation are those of rounds. What differs
is that objects are given, not selected, and that masklets begin from nothing: there are no masks made beforehand,
as in the paper's comparison of its phases.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annotation.assistance import SessionTools
from annotation.simulated.team import SimulatedPool, generator
from annotation.simulated.workforce import SimulatedAnnotators, VideoFrames
from annotation.work import Submission, WorkItem
from engine.home import EngineHome
from engine.people import handed_in
from engine.phases import phase
from engine.stages.annotate import effort_rows, revision_rows
from engine.stages.base import Row
from engine.stages.verify import verdict_rows
from engine.workbench import Candidate, MaskletWork, Workbench, fold
from model.clicks import centre_click
from model.prompts import Box
from qa.effort import EffortSummary, summarise
from qa.verification import SimulatedVerifier
from storage import masks as rles
from storage.videos import Video

VERIFIERS = ("verifier-1", "verifier-2")


@dataclass(frozen=True, slots=True)
class Target:
    """An object to annotate: its number among the references, and a point and box on the frame it is met on."""

    number: int
    first_frame: int
    point: tuple[float, float]
    box: Box


@dataclass(frozen=True, slots=True)
class Sitting:
    """One group of people at work by one protocol.

    name: of the arm and its repetition, part of every masklet's id. people: the group. tools: what helps them.
    """

    name: str
    phase: int
    people: tuple[str, ...]
    tools: SessionTools
    seed: int


@dataclass(frozen=True, slots=True)
class Worked:
    """What people made of the objects of a video, as rows of the engine's manifests."""

    annotations: list[Row]
    effort: list[Row]
    verdicts: list[Row]
    works: tuple[MaskletWork, ...]


def targets(home: EngineHome, video: Video, *, most: int, seed: int) -> list[Target]:
    """At most `most` objects that the video's first annotated frame shows large enough, drawn by the seed."""
    first = video.annotated_frames[0]
    least_px = home.settings.simulation.min_object_px
    seen = {
        number: masks[first]
        for number, masks in sorted(home.references.read(video.video_id).items())
        if first in masks and rles.area(masks[first]) >= least_px
    }
    order = generator(seed, "targets", video.name).permutation(len(seen))[:most]
    chosen = sorted(list(seen)[int(index)] for index in order)
    return [_target(number, first, rles.decode(seen[number])) for number in chosen]


def annotate_targets(home: EngineHome, video: Video, objects: Sequence[Target], sitting: Sitting) -> Worked:
    """Let a group annotate the objects, and others verify them, until every masklet is settled."""
    candidates = [_candidate(video, target, sitting) for target in objects]
    annotators, verifier = _annotators(home, video, sitting), _Verifier(home, sitting.seed)
    received: dict[str, Submission] = {}
    bench = _bench(home, sitting, candidates, received)
    while not bench.done:
        for item in bench.open_items():
            received[item.task_id] = verifier.work(item) if item.kind == "verify" else annotators.work(item)
        bench = _bench(home, sitting, candidates, received)
    return Worked(
        list(revision_rows(bench.works)),
        list(effort_rows(sitting.name, bench.works, received)),
        list(verdict_rows(bench)),
        bench.works,
    )


def efforts(worked: Worked) -> Iterator[tuple[MaskletWork, EffortSummary]]:
    """Every masklet with what it cost."""
    for work in worked.works:
        name = work.candidate.masklet_id
        yield work, summarise(_of(worked.effort, name), _of(worked.annotations, name))


def groups_of_people(names: Sequence[str], *, each: int, seed: int, video: str) -> dict[str, tuple[str, ...]]:
    """As many people as are needed, dealt to the named groups at random, anew for every video.

    Nobody works on a video by two protocols, and over the videos everybody comes to work by all of them: a group
    that stayed together would put the speed of its people into its protocol's costs.
    """
    people = [f"annotator-{number:02d}" for number in range(1, each * len(names) + 1)]
    dealt = generator(seed, "groups", video).permutation(len(people))
    return {
        name: tuple(sorted(people[int(index)] for index in dealt[place * each : (place + 1) * each]))
        for place, name in enumerate(names)
    }


class _Verifier:
    """People of another role who judge what was handed in; a function of (seed, item)."""

    def __init__(self, home: EngineHome, seed: int) -> None:
        self._pool = SimulatedPool(VERIFIERS, seed=seed)
        self._judge = SimulatedVerifier(home.settings.verifier, home.references.read, seed=seed)

    def work(self, item: WorkItem) -> Submission:
        actor = self._pool.choose(item.task_id, item.excluded_people)
        judgement = self._judge.judge(
            item.masks,
            task_id=item.task_id,
            video_id=item.video_id,
            first_frame=item.first_frame,
            point=item.point,
        )
        return handed_in(item, actor, judgement)


def _annotators(home: EngineHome, video: Video, sitting: Sitting) -> SimulatedAnnotators:
    frames = VideoFrames(home.library.frames(video), video.annotated_frames)
    return SimulatedAnnotators(
        sitting.people,
        references=home.references.read,
        frames_of=lambda _: frames,
        tools_of=lambda _: sitting.tools,
        rules_of=lambda number: phase(number).rules,
        config=home.settings.simulation,
        times=home.settings.time,
        seed=sitting.seed,
    )


def _bench(
    home: EngineHome, sitting: Sitting, candidates: Sequence[Candidate], received: dict[str, Submission]
) -> Workbench:
    most = home.settings.round.max_reannotations
    return fold(sitting.name, "annotation", candidates, received, max_reannotations=most)


def _target(number: int, frame: int, truth: NDArray[np.bool_]) -> Target:
    click = centre_click(truth)
    rows, columns = np.flatnonzero(truth.any(axis=1)), np.flatnonzero(truth.any(axis=0))
    box = Box(float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    return Target(number, frame, (click.x, click.y), box)


def _candidate(video: Video, target: Target, sitting: Sitting) -> Candidate:
    return Candidate(
        masklet_id=f"{video.video_id[:8]}-{target.number:03d}-{sitting.name}",
        video_id=video.video_id,
        object_id=target.number,
        phase=sitting.phase,
        first_frame=target.first_frame,
        point=target.point,
        box=target.box,
        name="object",
        masks={},
    )


def _of(rows: Iterable[Row], masklet_id: str) -> list[Row]:
    return [row for row in rows if row["masklet_id"] == masklet_id]
