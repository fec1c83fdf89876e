"""`engine score`: folders of masks; `engine model evaluate`: a model by every protocol, on whatever has a truth."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli.show import err, print_json, print_table, say
from engine.errors import RoundError
from engine.home import SETTINGS_FILE, EngineHome, open_home

if TYPE_CHECKING:
    from engine.settings import Settings
    from model.network.sam2 import Sam2
    from model.video.session_config import SessionConfig
    from qa.breakdown import GroupScore
    from qa.evaluation import EvaluationVideo
    from qa.metric_rows import MetricRow

Tell = Callable[[int, int], None]

BASELINES = ("copy-first-mask", "nearest-colour")
"""Protocols that ask no model: see `qa.baselines`."""

LISTED_OBJECTS = 20
"""Objects up to which `engine score` prints them all; the file has them in any case."""


def score(
    truth: Path,
    predictions: Path,
    *,
    strict: bool,
    all_frames: bool,
    processes: int | None,
    table: Path | None,
    as_json: bool,
) -> None:
    """Print J, F and J&F of folders of masks and write the table of the released tool."""
    from qa.official import RESULTS, score_folders, write_results

    with _progress("Scoring videos") as tell:
        scores = score_folders(
            truth,
            predictions,
            strict=strict,
            skip_ends=not all_frames,
            processes=processes or _cores(),
            progress=tell,
        )
    target = table or predictions / RESULTS
    write_results(scores, target)
    mean = scores.mean
    objects = [
        {"video": each.video, "object": each.name, **_scores(each.score.j, each.score.f)}
        for each in scores.objects
    ]
    if as_json:
        left_out = {"unpredicted": list(scores.unpredicted), "unseen": scores.unseen}
        print_json({**_scores(mean.j, mean.f), "objects": objects, "results": str(target), **left_out})
        return
    rows = [("all objects", mean.count, *_rounded(mean.j, mean.f))]
    if len(scores.objects) <= LISTED_OBJECTS:
        rows += [
            (f"{each.video} {each.name}", 1, *_rounded(each.score.j, each.score.f)) for each in scores.objects
        ]
    print_table(("of", "objects", "J", "F", "J&F"), rows)
    if scores.unpredicted:
        say(f"Not scored: {len(scores.unpredicted)} videos of the truth have no folder in {predictions}")
    if scores.unseen:
        say(f"Not scored: {scores.unseen} objects that the truth never shows on a scored frame")
    say(f"Wrote [bold]{target}[/]")


def _scores(j: float, f: float) -> dict[str, float]:
    return {"j": j, "f": f, "jf": (j + f) / 2}


def _rounded(*scores: float) -> tuple[float, ...]:
    """J, F and their mean for people."""
    return tuple(round(value, 2) for value in (*scores, sum(scores) / len(scores)))


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class _Found:
    """What a protocol gave: the objects' scores, and for interactive ones the curve over prompted frames."""

    rows: list[MetricRow]
    curve: list[dict[str, float]] = field(default_factory=list)


def evaluate(
    home: Path,
    checkpoint: Path | None,
    *,
    protocols: Sequence[str],
    suite: str,
    groups: bool,
    as_json: bool,
) -> None:
    """Print J, F, J&F by protocol, with intervals, on the frozen split or on a held-out suite.

    A suite's scores have those of the baselines beside them. It needs no home; without one the weights are the
    packaged ones and settings have their defaults.
    """
    from engine.settings import load_settings
    from model.video.session_config import SessionConfig
    from qa.breakdown import breakdown, object_kinds

    opened = None if suite and not (home / SETTINGS_FILE).is_file() else open_home(home)
    settings = load_settings() if opened is None else opened.settings
    baselines = BASELINES if suite else ()
    chosen = tuple(dict.fromkeys((*(protocols or settings.evaluate.protocols), *baselines)))
    _check(chosen)
    videos = _videos(opened, suite)
    kinds = object_kinds(videos)
    if not kinds:
        raise RoundError("No object of the evaluation videos is visible between their first and last frame.")
    model = _model(opened, checkpoint, settings)
    config = SessionConfig(fill_hole_area=0, precision=settings.model.precision)
    found = {name: _run(name, model, videos, config) for name in chosen}
    scores = {name: breakdown(each.rows, kinds) for name, each in found.items()}
    if as_json:
        print_json({name: _facts(scores[name], found[name].curve) for name in chosen})
        return
    print_table(("protocol", "J", "F", "J&F", "95 % interval"), [_line(n, scores[n][0]) for n in chosen])
    for name in chosen:
        _show_details(name, scores[name], found[name].curve, groups=groups)


def _check(protocols: Sequence[str]) -> None:
    """Know a wrong name before anything is loaded."""
    from qa.errors import EvaluationError
    from qa.evaluation import prompter
    from qa.interactive import INTERACTIVE

    others = (*INTERACTIVE, *BASELINES)
    for name in protocols:
        if name in others:
            continue
        try:
            prompter(name)
        except EvaluationError as error:
            raise EvaluationError(f"{error}; or {', '.join(others)}") from error


def _videos(home: EngineHome | None, suite: str) -> list[EvaluationVideo]:
    if suite or home is None:
        from engine.judging.suites import held_out

        return held_out(suite)
    from engine.stages.evaluate import evaluation_set

    videos = evaluation_set(home)
    if not videos:
        raise RoundError("There are no evaluation videos with references. Ingest some with --eval.")
    return videos


def _model(home: EngineHome | None, checkpoint: Path | None, settings: Settings) -> Sam2:
    """The weights in a file, else those in use, else the packaged ones."""
    from engine.rounds import champion_checkpoint
    from engine.weights import load_file, load_weights
    from model.files.checkpoints import default_checkpoint

    if checkpoint is not None or home is None:
        return load_file(checkpoint or default_checkpoint(), settings.model)
    return load_weights(home, champion_checkpoint(home))


def _run(name: str, model: Sam2, videos: Sequence[EvaluationVideo], config: SessionConfig) -> _Found:
    """One protocol over all videos, with a progress bar."""
    from qa.baselines import evaluate_nearest_colour
    from qa.evaluation import evaluate as evaluate_prompts
    from qa.evaluation import evaluate_copy
    from qa.interactive import INTERACTIVE, evaluate_interactive

    with _progress(f"Evaluating, {name}") as tell:
        if name in BASELINES:
            baseline = evaluate_copy if name == BASELINES[0] else evaluate_nearest_colour
            return _Found(baseline(videos, progress=tell))
        if name not in INTERACTIVE:
            return _Found(
                evaluate_prompts(model, videos, protocol=name, session_config=config, progress=tell)
            )
        result = evaluate_interactive(model, videos, protocol=name, session_config=config, progress=tell)
    curve = zip(result.jf_by_round, result.seconds_by_round, strict=True)
    steps = [
        {"frames": frames, "jf": round(jf, 2), "seconds": round(seconds, 1)}
        for frames, (jf, seconds) in enumerate(curve, start=1)
    ]
    return _Found(result.rows(), steps)


def _facts(scores: Sequence[GroupScore], curve: Sequence[dict[str, float]]) -> dict[str, Any]:
    whole, *rest = (_rounded_score(each) for each in scores)
    facts = {**whole, "groups": {each.pop("group"): each for each in rest}}
    del facts["group"]
    return {**facts, "curve": list(curve)} if curve else facts


def _rounded_score(score: GroupScore) -> dict[str, Any]:
    return {
        key: round(value, 2) if isinstance(value, float) else value for key, value in asdict(score).items()
    }


def _line(name: str, score: GroupScore) -> tuple[object, ...]:
    return (name, *_rounded(score.j, score.f), f"{score.low:.1f} to {score.high:.1f}")


def _show_details(
    name: str, scores: Sequence[GroupScore], curve: Sequence[dict[str, float]], *, groups: bool
) -> None:
    """The curve of an interactive protocol, and the groups of objects if asked for."""
    if curve:
        steps = [tuple(step.values()) for step in curve]
        print_table(("prompted frames", "J&F", "seconds"), steps, title=f"\n{name}")
    if groups:
        kinds = [(each.group, each.objects, *_line("", each)[1:]) for each in scores]
        print_table(("objects", "count", "J", "F", "J&F", "95 % interval"), kinds, title=f"\n{name}")


@contextmanager
def _progress(what: str) -> Iterator[Tell]:
    """A bar on standard error that goes away; the function moves it."""
    from rich.progress import Progress

    with Progress(console=err, transient=True) as bars:
        bar = bars.add_task(what, total=None)
        yield lambda done, total: bars.update(bar, completed=done, total=total)
