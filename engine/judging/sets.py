"""What models are judged on: the frozen evaluation set, and the retention set that shows what they have forgotten.

The retention set is small: a few drawn clips, always the same ones, with every kind of object that the packaged weights
were made for, and the videos that were ingested as `retention` with references.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from engine.home import EngineHome
from engine.judging.pinned import JudgedOn, reference_set
from engine.settings import EvaluateSettings
from model.network.sam2 import Sam2
from model.training.synthetic import SyntheticClips
from model.video.session_config import SessionConfig
from qa.evaluation import EvaluationVideo, evaluate
from qa.interactive import evaluate_online
from qa.metric_rows import RETENTION, MetricRow
from storage.videos import Video

ONLINE = "online"
"""The protocol that tells an annotator's seconds: the video is seen once and corrected where it goes wrong."""

DRAWN_SEED = 20_240_801
DRAWN_FRAMES, DRAWN_OBJECTS, DRAWN_PX = 6, 2, 128


@dataclass(frozen=True, slots=True)
class Judged:
    """A set of videos; `suite` is empty for the frozen evaluation set."""

    suite: str
    videos: Sequence[EvaluationVideo]


def judged_sets(home: EngineHome, pinned: Sequence[JudgedOn], settings: EvaluateSettings) -> list[Judged]:
    """The sets that both models are scored on; the retention set only where it has videos."""
    suites = {suite: [one for one in pinned if one.suite == suite] for suite in ("", RETENTION)}
    kept = [*retention_clips(settings.retention_clips), *judged_videos(home, suites[RETENTION])]
    return [Judged("", judged_videos(home, suites[""])), *([Judged(RETENTION, kept)] if kept else [])]


def judged_names(pinned: Sequence[JudgedOn], settings: EvaluateSettings) -> set[tuple[str, str]]:
    """(suite, video id) of everything in `judged_sets`, without drawing or reading it."""
    drawn = {(RETENTION, _drawn_name(number)) for number in range(settings.retention_clips)}
    return drawn | {(one.suite, one.video_id) for one in pinned}


def judged_videos(home: EngineHome, judged: Sequence[JudgedOn]) -> list[EvaluationVideo]:
    """Videos with their frames and the references that count."""
    return [evaluation_video(home, home.library.get(one.video_id), key=one.references) for one in judged]


def evaluation_set(home: EngineHome) -> list[EvaluationVideo]:
    """The evaluation videos that have references, with the newest of each."""
    return judged_videos(home, [one for one in reference_set(home) if not one.suite])


def evaluation_video(home: EngineHome, video: Video, *, key: str = "") -> EvaluationVideo:
    """A video that has references, with its frames; `key` names the version, by default the newest."""
    return EvaluationVideo(
        video_id=video.video_id,
        frames=home.library.frames(video),
        frame_numbers=video.annotated_frames,
        truth=home.references.read(video.video_id, key=key),
    )


def score(
    model: Sam2, judged: Judged, settings: EvaluateSettings, *, session_config: SessionConfig
) -> list[MetricRow]:
    """J&F by every protocol of the settings, and an annotator's seconds for some of the objects."""
    rows = [
        row
        for protocol in settings.protocols
        for row in evaluate(model, judged.videos, protocol=protocol, session_config=session_config)
    ]
    rows += online_rows(model, judged.videos, settings.online_objects, session_config=session_config)
    return [replace(row, suite=judged.suite) for row in rows]


def online_rows(
    model: Sam2, videos: Sequence[EvaluationVideo], objects: int, *, session_config: SessionConfig
) -> list[MetricRow]:
    """What at most `objects` objects, evenly chosen, cost a simulated annotator, and their J&F then."""
    chosen = list(_some_objects(videos, objects))
    result = evaluate_online(model, chosen, session_config=session_config) if chosen else None
    return [
        MetricRow(
            protocol=ONLINE,
            video_id=curve.video_id,
            object_id=curve.object_id,
            j=curve.j[-1],
            f=curve.f[-1],
            jf=curve.jf[-1],
            frames=curve.frames,
            seconds=curve.seconds[-1],
        )
        for curve in (result.curves if result else ())
    ]


def retention_clips(count: int) -> list[EvaluationVideo]:
    """Drawn clips, always the same ones: clip n depends on n alone."""
    return [_drawn_clip(number) for number in range(count)]


def _drawn_name(number: int) -> str:
    return f"drawn-{number:02d}"


@cache
def _drawn_clip(number: int) -> EvaluationVideo:
    rng = np.random.default_rng([DRAWN_SEED, number])
    clip = SyntheticClips().clip(number, rng, frames=DRAWN_FRAMES, objects=DRAWN_OBJECTS, size=DRAWN_PX)
    return EvaluationVideo.from_clip(_drawn_name(number), clip)


def _some_objects(videos: Sequence[EvaluationVideo], count: int) -> Iterator[EvaluationVideo]:
    """The videos with `count` of all their objects, evenly chosen; videos left without any are left out."""
    names = [(video.video_id, object_id) for video in videos for object_id in video.starts()]
    places = np.linspace(0, len(names) - 1, min(count, len(names))).round().astype(int)
    chosen = {names[place] for place in places}
    for video in videos:
        truth = {key: masks for key, masks in video.truth.items() if (video.video_id, key) in chosen}
        if truth:
            yield replace(video, truth=truth)
