"""J and F of folders of PNG masks, as the evaluation tool of SA-V computes them, and its `results.csv`.

Two trees are understood, and each video of the truth tells by its own folder which of them it is:

    TRUTH/<video>/<object>/<frame>.png      SA-V: a picture an object and frame, one object in each
    TRUTH/<video>/<frame>.png               DAVIS, MOSE, YouTube-VOS: a picture a frame, its values are the objects

Predictions have the same tree. A prediction must have every frame of the truth that is scored, and may have others.
The first and the last frame of the truth are not scored. Objects which the truth never shows on a scored frame have
no score; where the released tool stops with an assertion over such an object in an SA-V tree, they are counted in
`FolderScores.unseen`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from qa.errors import EvaluationError
from qa.metrics import Score, Tally, mean_score
from qa.windows import Located, locate, locate_part, union
from storage.errors import MaskError
from storage.mask_pictures import read_mask_picture

__all__ = ["RESULTS", "FolderScores", "ObjectScore", "score_folders", "write_results"]

RESULTS = "results.csv"
"""What the released tool calls its table, in the folder of the predictions."""

Progress = Callable[[int, int], None]
"""Called with the number of videos done and of all videos."""

_ROOTS = ("Annotations", "Annotations_6fps")  # of a whole data set: the folder inside it that holds the masks
_GLOBAL = "Global score"

_Labels = NDArray[Any]
_Tallied = list[tuple[str, Score | None]]


@dataclass(frozen=True, slots=True)
class ObjectScore:
    """An object of a video, by the name of its folder or by its value in the pictures (three digits)."""

    video: str
    name: str
    score: Score


@dataclass(frozen=True, slots=True)
class FolderScores:
    """All objects that were scored, by video and name, their mean, and what was left out.

    `unpredicted` are videos of the truth without predictions, `unseen` counts objects without a score.
    """

    objects: tuple[ObjectScore, ...]
    unpredicted: tuple[str, ...] = ()
    unseen: int = 0

    @property
    def mean(self) -> Score:
        """Mean J and F over all objects of all videos, in percent; NaN when there is none."""
        return mean_score(each.score for each in self.objects)


def score_folders(
    truth: Path,
    predictions: Path,
    *,
    strict: bool = False,
    skip_ends: bool = True,
    processes: int = 1,
    progress: Progress | None = None,
) -> FolderScores:
    """Scores every video of `truth` that has a folder in `predictions`; with `strict`, all must have one.

    Videos are shared out among `processes`; one scores them in this process. Raises EvaluationError for a folder
    or picture that is missing, cannot be read, has another size than its truth, or shows several objects where
    the tree has one a picture: the message names it.
    """
    truth, predictions = _inside(truth), _inside(predictions)
    videos, unpredicted = _videos(truth, predictions, strict=strict)
    score = partial(_score_video, truth, predictions, skip_ends)
    tallied: list[_Tallied] = []
    for done, found in enumerate(_each(score, videos, processes), start=1):
        tallied.append(found)
        if progress is not None:
            progress(done, len(videos))
    pairs = [(video, *each) for video, found in zip(videos, tallied, strict=True) for each in found]
    objects = tuple(ObjectScore(video, name, score) for video, name, score in pairs if score is not None)
    return FolderScores(objects, tuple(unpredicted), len(pairs) - len(objects))


def write_results(scores: FolderScores, path: Path) -> None:
    """Writes the table of the released tool: the global score, then a row an object, with one decimal.

    Raises EvaluationError if the file cannot be written.
    """
    width = max(len(name) for name in (_GLOBAL, *(each.video for each in scores.objects)))
    lines = [f"{'sequence':<{width}},obj,  J&F,    J,    F", _line(_GLOBAL, "", scores.mean, width, pad=0)]
    lines += [_line(each.video, each.name, each.score, width, pad=4) for each in scores.objects]
    try:
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    except OSError as error:
        raise EvaluationError(f"{path} cannot be written: {error.strerror}") from error


def _line(video: str, name: str, score: Score, width: int, *, pad: int) -> str:
    numbers = ", ".join(f"{value:>{pad}.1f}" for value in (score.jf, score.j, score.f))
    return f"{video:<{width}},{name:>3}, {numbers}"


def _inside(root: Path) -> Path:
    """The folder of videos: `root`, or the masks' folder in it if it is a whole data set."""
    if not root.is_dir():
        raise EvaluationError(f"there is no folder {root}")
    return next((root / name for name in _ROOTS if (root / name).is_dir()), root)


def _videos(truth: Path, predictions: Path, *, strict: bool) -> tuple[list[str], list[str]]:
    """Videos that both folders have, and those that only the truth has."""
    true, predicted = _folders(truth), _folders(predictions)
    both = [name for name in true if name in predicted]
    missing, extra = sorted(set(true) - set(both)), sorted(set(predicted) - set(both))
    if strict and missing:
        raise EvaluationError(f"{predictions} has no predictions of {_names(missing)} of {truth}")
    if strict and extra:
        raise EvaluationError(f"{predictions} has predictions of {_names(extra)}, unknown to {truth}")
    if not both:
        raise EvaluationError(
            f"{predictions} and {truth} have no video in common; both need a folder a video, of one name"
        )
    return both, missing


def _folders(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _frames(folder: Path, *, skip_ends: bool) -> list[str]:
    """Names of the pictures to be scored, in order."""
    names = sorted(path.name for path in folder.iterdir() if path.suffix == ".png")
    return names[1:-1] if skip_ends else names


def _names(videos: Sequence[str]) -> str:
    return ", ".join(videos[:3]) + (f" and {len(videos) - 3} more videos" if len(videos) > 3 else "")


def _each(score: Callable[[str], _Tallied], videos: Sequence[str], processes: int) -> Iterator[_Tallied]:
    """The videos' scores in their order, as they are done."""
    workers = min(processes, len(videos))
    if workers <= 1:
        yield from map(score, videos)
        return
    # new interpreters: a fork of a program with threads may hang
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_alone)
    try:
        yield from pool.map(score, videos)
    except BrokenProcessPool as error:
        raise EvaluationError("a process that scored videos died; use fewer --processes") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _alone() -> None:
    """Each of several processes has one core."""
    cv2.setNumThreads(1)


def _score_video(truth: Path, predictions: Path, skip_ends: bool, video: str) -> _Tallied:
    objects = _folders(truth / video)
    if not objects:
        return _score_pictures(truth / video, predictions / video, skip_ends=skip_ends)
    return [
        (name, _score_object(truth / video / name, predictions / video / name, skip_ends=skip_ends))
        for name in objects
    ]


def _score_object(truth: Path, prediction: Path, *, skip_ends: bool) -> Score | None:
    """The score of an object that has a folder of its own."""
    tally = Tally()
    for frame in _frames(truth, skip_ends=skip_ends):
        predicted, true = _read_pair(truth / frame, prediction / frame)
        tally.add(_only_object(predicted, prediction / frame), _only_object(true, truth / frame))
    return tally.score()


def _score_pictures(truth: Path, prediction: Path, *, skip_ends: bool) -> _Tallied:
    """The scores of all objects of a video whose pictures show them together, by ascending value."""
    tallies: dict[int, Tally] = {}
    for frame in _frames(truth, skip_ends=skip_ends):
        predicted, true = _read_pair(truth / frame, prediction / frame)
        for value, pair in _objects(predicted, true, tallies):
            tallies.setdefault(value, Tally()).add(*pair)
    return [(f"{value:03}", tallies[value].score()) for value in sorted(tallies)]


def _read_pair(truth: Path, prediction: Path) -> tuple[_Labels, _Labels]:
    """The labels of a prediction and of its truth."""
    if not prediction.exists():
        raise EvaluationError(f"{prediction} is missing; predictions need every frame of {truth.parent}")
    try:
        predicted, true = read_mask_picture(prediction), read_mask_picture(truth)
    except MaskError as error:
        raise EvaluationError(str(error)) from error
    if predicted.shape != true.shape:
        raise EvaluationError(
            f"{prediction} has {predicted.shape[0]} rows and {predicted.shape[1]} columns, "
            f"its truth {truth} has {true.shape[0]} and {true.shape[1]}"
        )
    return predicted, true


def _only_object(labels: _Labels, path: Path) -> Located:
    """The mask of a picture of one object."""
    located = locate(labels > 0)
    if located.box is not None:
        x0, y0, x1, y1 = located.box
        inside = labels[y0:y1, x0:x1]
        if np.count_nonzero(inside == inside.max()) != np.count_nonzero(inside):
            raise EvaluationError(
                f"{path} shows several objects; in this tree each object has a folder of its own"
            )
    return located


def _objects(
    predicted: _Labels, true: _Labels, known: Collection[int]
) -> Iterator[tuple[int, tuple[Located | None, Located | None]]]:
    """Each value of either picture or known before, and its mask in the prediction and in the truth."""
    size = true.shape[0], true.shape[1]
    boxes = [box for labels in (predicted, true) if (box := locate(labels > 0).box) is not None]
    if not boxes:
        yield from ((value, (None, None)) for value in known)
        return
    x0, y0, x1, y1 = union(boxes, margin=1, size=size)
    parts = predicted[y0:y1, x0:x1], true[y0:y1, x0:x1]
    part_of = partial(locate_part, corner=(x0, y0), size=size)
    for value in sorted({*known, *_values(parts[0]), *_values(parts[1])}):
        yield value, (part_of(parts[0] == value), part_of(parts[1] == value))


def _values(labels: _Labels) -> list[int]:
    """The values of a picture but 0."""
    if labels.dtype == np.uint8:  # counting is faster than sorting
        histogram = cv2.calcHist([np.ascontiguousarray(labels)], [0], None, [256], [0, 256])
        return [int(value) for value in np.flatnonzero(histogram) if value]
    return [int(value) for value in np.unique(labels) if value]
