"""Every way to be scored by its name: prompts on the first frame, people who correct, and answers without a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from model.network.sam2 import Sam2
from model.video.session_config import SessionConfig
from qa.baselines import NEAREST_COLOUR, evaluate_nearest_colour
from qa.errors import EvaluationError
from qa.evaluation import COPY_FIRST_MASK, EvaluationVideo, Progress, evaluate, evaluate_copy, prompter
from qa.interactive import INTERACTIVE, evaluate_interactive
from qa.metric_rows import MetricRow

BASELINES = (COPY_FIRST_MASK, NEAREST_COLOUR)
"""Protocols that ask no model: see `qa.baselines`."""

Tell = Callable[[str, int, int], None]
"""Called with what is being measured, the videos done and all videos."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a person who corrects has after so many prompted frames: J&F in percent, and the seconds it took."""

    frames: int
    jf: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Answered:
    """What a protocol gave: rows as of `qa.evaluation.evaluate`, and a curve where a person corrects."""

    rows: list[MetricRow]
    curve: tuple[Step, ...] = ()


def check_protocols(names: Sequence[str]) -> None:
    """Know a wrong name before anything is loaded. Raises EvaluationError."""
    others = (*INTERACTIVE, *BASELINES)
    for name in names:
        if name in others:
            continue
        try:
            prompter(name)
        except EvaluationError as error:
            raise EvaluationError(f"{error}; or {', '.join(others)}") from error


def answer(
    name: str,
    model: Sam2,
    videos: Sequence[EvaluationVideo],
    *,
    session_config: SessionConfig,
    progress: Progress | None = None,
) -> Answered:
    """Scores the model, or a baseline, by the protocol of that name."""
    if name == COPY_FIRST_MASK:
        return Answered(evaluate_copy(videos, progress=progress))
    if name == NEAREST_COLOUR:
        return Answered(evaluate_nearest_colour(videos, progress=progress))
    if name not in INTERACTIVE:
        return Answered(
            evaluate(model, videos, protocol=name, session_config=session_config, progress=progress)
        )
    result = evaluate_interactive(
        model, videos, protocol=name, session_config=session_config, progress=progress
    )
    curve = zip(result.jf_by_round, result.seconds_by_round, strict=True)
    return Answered(
        result.rows(), tuple(Step(frames, jf, seconds) for frames, (jf, seconds) in enumerate(curve, start=1))
    )
