"""How much a person's clicks achieve: offline and online interactive evaluation (SAM 2 paper, appendix F.1).

Objects are taken one by one. On the first frame that shows an object it gets clicks, at its middle and then at
the middle of the largest error, and is tracked to the end. Then frames are corrected, up to `rounds` of them:

- **offline**: the worst frame of the whole video is corrected, and the video is tracked again from the beginning
  with all prompts; then the worst of the frames that have no prompt yet; and so on.
- **online**: the video is seen once. Tracking pauses at the first frame whose IoU is below 0.75, which is
  corrected, and goes on from there; earlier frames stay as they are.

J&F after every number of prompted frames is a curve, its mean the score. What the same work would have cost a
person is told by a simple model of time (`TimeModel`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from model.network.sam2 import Sam2
from model.video.feature_cache import FeatureCache
from model.video.video_session import SessionConfig, VideoSession
from qa.errors import EvaluationError
from qa.evaluation import PLAIN, EvaluationVideo, Progress, evaluating, give_clicks
from qa.metric_rows import MEAN_OBJECT, MetricRow
from qa.metrics import Score, score_masklet
from storage import masks as rles
from storage.masks import Rle

__all__ = [
    "INTERACTIVE",
    "PAUSE_IOU",
    "InteractiveResult",
    "ObjectCurve",
    "TimeModel",
    "evaluate_interactive",
    "evaluate_offline",
    "evaluate_online",
]

INTERACTIVE = ("offline", "online")
"""The names of the two protocols."""

PAUSE_IOU = 0.75
"""Online tracking pauses at a frame whose IoU with the truth is below this."""

_WHOLE_VIDEO_BYTES = 1 << 40
"""Memory of answers: all are kept, as a correction starts from the answer that it corrects."""

_OBJECT = 1  # the id of the one object of each session


@dataclass(frozen=True, slots=True)
class TimeModel:
    """What a person's acts take, in seconds: the figures of the paper."""

    locate_s: float = 1.0
    """Finding the object on a frame that is to be clicked."""
    click_s: float = 1.5
    """A click."""
    examine_s: float = 30.0
    """Looking through `examine_frames` frames."""
    examine_frames: int = 300
    """Frames that `examine_s` is meant for."""

    def seconds(self, protocol: str, *, frames: int, prompted: int, clicks: int) -> float:
        """The cost of `prompted` frames with `clicks` clicks each in a video of `frames` frames.

        Offline the video is looked through before every prompt, online once.
        """
        look = self.examine_s * frames / self.examine_frames
        prompt = self.locate_s + clicks * self.click_s
        return (look + prompt) * prompted if protocol == "offline" else look + prompt * prompted


@dataclass(frozen=True, slots=True)
class ObjectCurve:
    """One object: J and F (percent) and seconds with 1, 2, … prompted frames, each of length `rounds`.

    `prompted` are the source frames in the order of their prompts. They are fewer than the rounds when nothing
    was left to correct; the curves then go on flat. `frames` were scored.
    """

    video_id: str
    object_id: int
    j: tuple[float, ...]
    f: tuple[float, ...]
    seconds: tuple[float, ...]
    prompted: tuple[int, ...]
    frames: int

    @property
    def jf(self) -> tuple[float, ...]:
        """J&F in percent by number of prompted frames."""
        return tuple((j + f) / 2 for j, f in zip(self.j, self.f, strict=True))

    def seconds_to(self, jf: float) -> float:
        """Seconds until J&F is at least `jf` percent; those of all rounds when it never is."""
        return next(
            (s for s, score in zip(self.seconds, self.jf, strict=True) if score >= jf), self.seconds[-1]
        )


@dataclass(frozen=True, slots=True)
class InteractiveResult:
    """The curves of all objects under a protocol ("offline" or "online"), and their means over objects."""

    protocol: str
    rounds: int
    clicks: int
    curves: tuple[ObjectCurve, ...]

    @property
    def j_by_round(self) -> tuple[float, ...]:
        """Mean J in percent with 1, 2, … prompted frames; NaN without any object."""
        return self._mean([curve.j for curve in self.curves])

    @property
    def f_by_round(self) -> tuple[float, ...]:
        """Mean F in percent with 1, 2, … prompted frames; NaN without any object."""
        return self._mean([curve.f for curve in self.curves])

    @property
    def jf_by_round(self) -> tuple[float, ...]:
        """Mean J&F in percent with 1, 2, … prompted frames; NaN without any object."""
        return self._mean([curve.jf for curve in self.curves])

    @property
    def seconds_by_round(self) -> tuple[float, ...]:
        """Mean seconds of a simulated annotator for a masklet with 1, 2, … prompted frames."""
        return self._mean([curve.seconds for curve in self.curves])

    @property
    def jf(self) -> float:
        """J&F in percent, mean over the numbers of prompted frames: the score of the protocol."""
        return float(np.mean(self.jf_by_round))

    @property
    def seconds(self) -> float:
        """Mean seconds for a masklet when all rounds are done."""
        return self.seconds_by_round[-1]

    def seconds_to(self, jf: float) -> float:
        """Mean seconds for a masklet until its J&F is at least `jf` percent, or all rounds are done."""
        times = [curve.seconds_to(jf) for curve in self.curves]
        return float(np.mean(times)) if times else float("nan")

    def rows(self) -> list[MetricRow]:
        """One row an object, its scores means over the rounds, and last the mean over objects."""
        rows = [self._row(c.video_id, c.object_id, c.j, c.f, c.frames) for c in self.curves]
        frames = sum(curve.frames for curve in self.curves)
        return [*rows, self._row("", MEAN_OBJECT, self.j_by_round, self.f_by_round, frames)]

    def _row(
        self, video_id: str, object_id: int, js: Sequence[float], fs: Sequence[float], frames: int
    ) -> MetricRow:
        j, f = float(np.mean(js)), float(np.mean(fs))
        return MetricRow(self.protocol, video_id, object_id, j, f, (j + f) / 2, frames)

    def _mean(self, curves: Sequence[Sequence[float]]) -> tuple[float, ...]:
        if not curves:
            return (float("nan"),) * self.rounds
        return tuple(float(value) for value in np.mean(np.array(curves), axis=0))


def evaluate_interactive(
    model: Sam2,
    videos: Sequence[EvaluationVideo],
    *,
    protocol: str,
    rounds: int = 8,
    clicks: int = 3,
    time: TimeModel | None = None,
    session_config: SessionConfig | None = None,
    progress: Progress | None = None,
) -> InteractiveResult:
    """Scores `model` under "offline" or "online"; see the top of the file.

    `rounds` frames are prompted at most, each with at most `clicks` clicks. Progress counts videos.
    Raises EvaluationError for another protocol, no round or no click, PromptError if the model does not take clicks.
    """
    if protocol not in INTERACTIVE:
        raise EvaluationError(f"protocol {protocol!r} is unknown; use {' or '.join(INTERACTIVE)}")
    if rounds < 1 or clicks < 1:
        raise EvaluationError(f"at least one frame gets at least one click, not {rounds} and {clicks}")
    config = replace(session_config or PLAIN, memory_bytes=_WHOLE_VIDEO_BYTES)
    clock = TimeModel() if time is None else time
    curves: list[ObjectCurve] = []
    with evaluating(model):
        for done, video in enumerate(videos, start=1):
            features = FeatureCache(config.feature_cache_bytes)
            for object_id, start in video.starts().items():
                sitting = _Sitting.open(model, video, object_id, start, config=config, features=features)
                passes = _PASSES[protocol](sitting, rounds, clicks)
                curves.append(_curve(sitting, passes, protocol, rounds=rounds, clicks=clicks, clock=clock))
            if progress is not None:
                progress(done, len(videos))
    return InteractiveResult(protocol, rounds, clicks, tuple(curves))


evaluate_offline = partial(evaluate_interactive, protocol="offline")
"""Corrects the worst frame of the whole video again and again."""

evaluate_online = partial(evaluate_interactive, protocol="online")
"""Corrects frames while the video is seen once."""


@dataclass(slots=True)
class _Sitting:
    """One object under correction: its session, its present masks on frames with a known truth, and its prompts.

    Frames are positions in the video; `stop` is one beyond the last that is tracked.
    """

    session: VideoSession
    video: EvaluationVideo
    object_id: int
    start: int
    stop: int
    scored: frozenset[int]
    masks: dict[int, Rle] = field(default_factory=dict)
    prompted: list[int] = field(default_factory=list)

    @classmethod
    def open(
        cls,
        model: Sam2,
        video: EvaluationVideo,
        object_id: int,
        start: int,
        *,
        config: SessionConfig,
        features: FeatureCache,
    ) -> _Sitting:
        """A session that shares the encoded frames of other objects of the video."""
        session = VideoSession(model, video.frames, config=config, features=features)
        places = {frame: position for position, frame in enumerate(video.frame_numbers)}
        scored = frozenset(places[frame] for frame in video.scored)
        return cls(session, video, object_id, start, max(scored) + 1, scored)

    def truth(self, position: int) -> Rle:
        """The true mask of a frame, empty where the object is absent."""
        found = self.video.truth[self.object_id].get(self.video.frame_numbers[position])
        return rles.empty(self.video.frames.height, self.video.frames.width) if found is None else found

    def iou(self, position: int) -> float:
        """How good the present mask of a frame with a known truth is, 0…1."""
        return rles.iou(self.masks[position], self.truth(position))

    def prompt(self, position: int, clicks: int) -> None:
        """Click on the errors of a frame; the first prompt of all starts from nothing."""
        mask = self.masks.get(position)
        before = None if mask is None else rles.decode(mask)
        give_clicks(
            self.session,
            position,
            _OBJECT,
            rles.decode(self.truth(position)),
            count=clicks,
            prediction=before,
        )
        self.prompted.append(position)

    def track(self, start: int) -> None:
        """Track from a frame to the end and keep the masks."""
        for result in self.session.propagate(start=start, stop=self.stop):
            if result.frame in self.scored:
                self.masks[result.frame] = rles.encode(result.masks[0])

    def score(self) -> Score:
        """J and F of the present masks."""
        frames = self.video.frame_numbers
        masklet = {frames[position]: mask for position, mask in self.masks.items()}
        score = score_masklet(masklet, self.video.truth[self.object_id], frames=self.video.scored)
        assert score is not None, "objects that are never seen on scored frames do not start"
        return score


def _offline(sitting: _Sitting, rounds: int, clicks: int) -> Iterator[None]:
    """Prompts a frame and tracks the whole video, `rounds` times; the first frame is always the first."""
    worst: int | None = sitting.start
    while worst is not None and len(sitting.prompted) < rounds:
        sitting.prompt(worst, clicks)
        sitting.track(sitting.start)
        yield
        worst = _worst(sitting)


def _worst(sitting: _Sitting) -> int | None:
    """The frame with the lowest IoU that has no prompt yet, the earliest of equals; None if none has an error."""
    ious = {
        position: sitting.iou(position)
        for position in sorted(sitting.masks)
        if position not in sitting.prompted
    }
    worst = min(ious, key=lambda position: ious[position], default=None)
    return None if worst is None or ious[worst] == 1 else worst


def _online(sitting: _Sitting, rounds: int, clicks: int) -> Iterator[None]:
    """Prompts where tracking would pause, `rounds` times, each time tracking from there to the end.

    To the end, as this is what comes out if no further frame may be prompted; where the next pause is, is the
    same whether or not tracking went beyond it, as it looks at earlier frames only.
    """
    pause: int | None = sitting.start
    while pause is not None and len(sitting.prompted) < rounds:
        sitting.prompt(pause, clicks)
        sitting.track(pause)
        yield
        pause = _next_pause(sitting)


def _next_pause(sitting: _Sitting) -> int | None:
    """The first frame after the last prompt that is too bad to go on."""
    later = (position for position in sorted(sitting.masks) if position > sitting.prompted[-1])
    return next((position for position in later if sitting.iou(position) < PAUSE_IOU), None)


_PASSES: dict[str, Callable[[_Sitting, int, int], Iterator[None]]] = {"offline": _offline, "online": _online}


def _curve(
    sitting: _Sitting, passes: Iterator[None], protocol: str, *, rounds: int, clicks: int, clock: TimeModel
) -> ObjectCurve:
    """Goes through all passes and scores each; flat from where there was nothing left to correct."""
    scores = [sitting.score() for _ in passes]
    frames = sitting.stop - sitting.start
    seconds = [
        clock.seconds(protocol, frames=frames, prompted=prompted, clicks=clicks)
        for prompted in range(1, len(scores) + 1)
    ]
    rest = rounds - len(scores)
    return ObjectCurve(
        video_id=sitting.video.video_id,
        object_id=sitting.object_id,
        j=tuple(score.j for score in scores) + (scores[-1].j,) * rest,
        f=tuple(score.f for score in scores) + (scores[-1].f,) * rest,
        seconds=tuple(seconds) + (seconds[-1],) * rest,
        prompted=tuple(sitting.video.frame_numbers[position] for position in sitting.prompted),
        frames=scores[-1].count,
    )
