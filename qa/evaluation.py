"""How well a model tracks: semi-supervised video object segmentation on videos whose truth is known.

Each object is prompted once, on the first frame that shows it, and tracked to the end of the video. An object
that appears later joins then, so the model has not looked ahead, and its prediction before that is empty.
Objects of a video are tracked together and independently. What is kept of a prediction is run lengths, so
memory is bounded by one frame and not by the video.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from model.clicks import centre_click
from model.network.sam2 import Sam2
from model.prompts import Box
from model.training.clips import Clip
from model.video.frame_source import ArrayFrames
from model.video.video_session import FrameSource, SessionConfig, VideoSession
from qa.errors import EvaluationError
from qa.metric_rows import MEAN_OBJECT, MetricRow
from qa.metrics import Score, mean_score, score_masklet
from storage import masks as rles
from storage.masks import Rle

__all__ = [
    "COPY_FIRST_MASK",
    "PLAIN",
    "EvaluationVideo",
    "Predictor",
    "Progress",
    "Prompter",
    "evaluate",
    "evaluate_copy",
    "evaluating",
    "give_clicks",
    "prompter",
    "score_masklets",
]

COPY_FIRST_MASK = "copy-first-mask"
"""The name `evaluate_copy` gives to its protocol."""

PLAIN = SessionConfig(fill_hole_area=0, revision_bytes=0, conditioned_cache_bytes=0)
"""How sessions behave in an evaluation: masks are not post-processed, as in the paper, and nothing is logged."""

BoolMask = NDArray[np.bool_]
Progress = Callable[[int, int], None]
"""Called with the number of videos done and of all videos."""

Prompter = Callable[[VideoSession, int, int, BoolMask], None]
"""Prompts a session: frame position, object id and true mask bool [H,W] of that frame, which is not empty."""

_Masklets = dict[int, dict[int, Rle]]
Predictor = Callable[["EvaluationVideo"], _Masklets]
"""Answers for the objects of a video that can be scored: object id → source frame → mask."""


@dataclass(frozen=True, slots=True)
class EvaluationVideo:
    """A video and its truth.

    `frames[i]` is source frame `frame_numbers[i]`; `truth` is object id → source frame → mask, and an object
    is absent where it has none. All frames are scored unless `scored_frames`, source frames too, says which
    have a known truth. Raises EvaluationError when these do not fit together.
    """

    video_id: str
    frames: FrameSource
    frame_numbers: Sequence[int]
    truth: Mapping[int, Mapping[int, Rle]]
    scored_frames: Sequence[int] | None = None

    @classmethod
    def from_clip(cls, video_id: str, clip: Clip) -> EvaluationVideo:
        """A drawn clip with all of its objects, its frames numbered from 0."""
        return cls(video_id, ArrayFrames(clip.images), range(len(clip.images)), clip.masklets())

    def __post_init__(self) -> None:
        if len(self.frame_numbers) != len(self.frames) or list(self.frame_numbers) != sorted(
            set(self.frame_numbers)
        ):
            raise self._error(f"{len(self.frames)} frames need as many frame numbers, ascending")
        if not set(self.scored).issubset(self.frame_numbers):
            raise self._error("frames are to be scored that it does not have")
        known = {frame for masks in self.truth.values() for frame in masks}
        if known and known.isdisjoint(self.frame_numbers):
            raise self._error("the truth has none of its frames; are they numbered differently?")
        sizes = {(rle.height, rle.width) for masks in self.truth.values() for rle in masks.values()}
        if sizes - {(self.frames.height, self.frames.width)}:
            raise self._error(f"the truth has masks of another size than its frames: {sorted(sizes)}")

    @property
    def scored(self) -> Sequence[int]:
        """Source frames whose truth is known; the first and the last of them do not enter the score."""
        return self.frame_numbers if self.scored_frames is None else self.scored_frames

    def starts(self) -> dict[int, int]:
        """Object id → position of the first frame that shows it, for the objects that can be scored."""
        inner = set(sorted(self.scored)[1:-1])
        starts = {}
        for object_id in sorted(self.truth):
            seen = self._positions(object_id)
            if any(self.frame_numbers[position] in inner for position in seen):
                starts[object_id] = seen[0]
        return starts

    def mask(self, object_id: int, position: int) -> BoolMask:
        """The true mask of an object, bool [H,W], on a frame that has one."""
        return rles.decode(self.truth[object_id][self.frame_numbers[position]])

    def _positions(self, object_id: int) -> list[int]:
        """Positions of the frames on which an object is visible, ascending."""
        masks = self.truth[object_id]
        return [
            position
            for position, frame in enumerate(self.frame_numbers)
            if frame in masks and not rles.is_empty(masks[frame])
        ]

    def _error(self, what: str) -> EvaluationError:
        return EvaluationError(f"video {self.video_id} cannot be evaluated: {what}")


def evaluate(
    model: Sam2,
    videos: Sequence[EvaluationVideo],
    *,
    protocol: str,
    session_config: SessionConfig | None = None,
    progress: Progress | None = None,
) -> list[MetricRow]:
    """Scores `model`: one row an object, in the order of videos and ids, and last the mean over all objects.

    `protocol` is "mask", "box" or "N-click" (say "3-click"): the true mask, its tight box, or N clicks on the
    centre of the object and then of the largest error. By default masks are not post-processed, as in the
    paper. Without any object to score, the mean is NaN.

    Raises EvaluationError for an unknown protocol, PromptError if the model does not take its prompts.
    """
    prompt = prompter(protocol)
    config = PLAIN if session_config is None else session_config
    with evaluating(model):
        predictor = partial(_track, model, prompt, config)
        return score_masklets(videos, predictor, protocol=protocol, progress=progress)


def evaluate_copy(videos: Sequence[EvaluationVideo], *, progress: Progress | None = None) -> list[MetricRow]:
    """Scores the baseline that repeats each object's first true mask on all later frames."""
    return score_masklets(videos, _copy_first_mask, protocol=COPY_FIRST_MASK, progress=progress)


def prompter(protocol: str) -> Prompter:
    """What gives an object its prompt under a protocol. Raises EvaluationError if the protocol is unknown."""
    if protocol == "mask":
        return _give_mask
    if protocol == "box":
        return _give_box
    clicks = re.fullmatch(r"([1-9]\d?)-click", protocol)
    if clicks is None:
        raise EvaluationError(
            f"protocol {protocol!r} is unknown; use mask, box or a number of clicks: 3-click"
        )
    return partial(give_clicks, count=int(clicks[1]))


def score_masklets(
    videos: Sequence[EvaluationVideo],
    predictor: Predictor,
    *,
    protocol: str,
    progress: Progress | None = None,
) -> list[MetricRow]:
    """Scores what `predictor` answers for each video; rows as those of `evaluate`, under the name `protocol`."""
    if len({video.video_id for video in videos}) < len(videos):
        raise EvaluationError("a video is to be evaluated twice; every video may be there once")
    scores: dict[tuple[str, int], Score] = {}
    for done, video in enumerate(videos, start=1):
        for object_id, masks in predictor(video).items():
            score = score_masklet(masks, video.truth[object_id], frames=video.scored)
            if score is not None:
                scores[video.video_id, object_id] = score
        if progress is not None:
            progress(done, len(videos))
    rows = [_row(protocol, *key, score, score.count) for key, score in scores.items()]
    frames = sum(score.count for score in scores.values())
    return [*rows, _row(protocol, "", MEAN_OBJECT, mean_score(scores.values()), frames)]


def _row(protocol: str, video_id: str, object_id: int, score: Score, frames: int) -> MetricRow:
    return MetricRow(protocol, video_id, object_id, score.j, score.f, score.jf, frames)


def _track(model: Sam2, prompt: Prompter, config: SessionConfig, video: EvaluationVideo) -> _Masklets:
    """The model's masklets of all objects that can be scored, on the frames that are."""
    starts = video.starts()
    masklets: _Masklets = {object_id: {} for object_id in starts}
    scored = set(video.scored)
    for position, object_id, mask in _tracked_masks(model, prompt, config, video, starts):
        if video.frame_numbers[position] in scored:
            masklets[object_id][video.frame_numbers[position]] = rles.encode(mask)
    return masklets


def _tracked_masks(
    model: Sam2,
    prompt: Prompter,
    config: SessionConfig,
    video: EvaluationVideo,
    starts: Mapping[int, int],
) -> Iterator[tuple[int, int, BoolMask]]:
    """(position, object id, mask bool [H,W]) of every object from its start to the last scored frame."""
    if not starts:
        return
    session = VideoSession(model, video.frames, config=config)
    first, last = min(starts.values()), list(video.frame_numbers).index(max(video.scored))

    def prompt_starting(position: int) -> None:
        for object_id, start in starts.items():
            if start == position and object_id not in session.object_ids:
                prompt(session, position, object_id, video.mask(object_id, position))

    prompt_starting(first)
    for result in session.propagate_in_batches(start=first, stop=last + 1):
        for object_id, mask in zip(result.object_ids, result.each_mask(), strict=True):
            yield result.frame, object_id, mask
        prompt_starting(result.frame + 1)


def _copy_first_mask(video: EvaluationVideo) -> _Masklets:
    return {
        object_id: dict.fromkeys(
            video.frame_numbers[start:], video.truth[object_id][video.frame_numbers[start]]
        )
        for object_id, start in video.starts().items()
    }


def _give_mask(session: VideoSession, position: int, object_id: int, truth: BoolMask) -> None:
    session.add_mask(position, object_id, truth)


def _give_box(session: VideoSession, position: int, object_id: int, truth: BoolMask) -> None:
    """The tight box, its corners the outermost pixels, as in training."""
    rows, columns = np.flatnonzero(truth.any(axis=1)), np.flatnonzero(truth.any(axis=0))
    box = Box(float(columns[0]), float(rows[0]), float(columns[-1]), float(rows[-1]))
    session.add_points(position, object_id, (), box=box)


def give_clicks(
    session: VideoSession,
    position: int,
    object_id: int,
    truth: BoolMask,
    *,
    count: int,
    prediction: BoolMask | None = None,
) -> None:
    """Up to `count` clicks, each at the middle of the largest error of the mask that the clicks before it gave.

    The first of them answers `prediction` bool [H,W], by default nothing, so that it is at the middle of the
    object. Clicking ends when there is no error.
    """
    present = np.zeros_like(truth) if prediction is None else prediction
    for _ in range(count):
        if np.array_equal(present, truth):
            return
        click = centre_click(truth, present)
        present = session.add_points(position, object_id, [click]).masks[0]


@contextmanager
def evaluating(model: Sam2) -> Iterator[None]:
    """Evaluation mode, and afterwards the mode it was in."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
