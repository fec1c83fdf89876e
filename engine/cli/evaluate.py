"""`engine score`: folders of masks; `engine model evaluate`: a model by every protocol, on whatever has a truth."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from engine.cli.show import err, print_json, print_table, say, warn
from engine.errors import RoundError
from engine.home import SETTINGS_FILE, EngineHome, open_home
from engine.references import unjudged_reason

if TYPE_CHECKING:
    from engine.judging.protocols import Tell
    from engine.judging.score_table import ScoreTable
    from engine.settings import Settings
    from model.network.sam2 import Sam2
    from qa.breakdown import GroupScore
    from qa.evaluation import EvaluationVideo

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

    with _progress() as tell:
        scores = score_folders(
            truth,
            predictions,
            strict=strict,
            skip_ends=not all_frames,
            processes=processes or _cores(),
            progress=partial(tell, "Scoring videos"),
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


def evaluate(
    home: Path,
    checkpoint: Path | None,
    *,
    protocols: Sequence[str],
    suite: str,
    groups: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Print J, F, J&F by protocol, with intervals, on the frozen split or on a suite; `out` gets it all.

    A suite's scores have those of the baselines beside them. It needs no home; without one the weights are the
    packaged ones and settings have their defaults.
    """
    from engine.judging.protocols import BASELINES, check_protocols
    from engine.judging.score_table import measure
    from engine.judging.strips import write_strips
    from engine.settings import load_settings
    from model.video.session_config import SessionConfig

    opened = None if suite and not (home / SETTINGS_FILE).is_file() else open_home(home)
    settings = load_settings() if opened is None else opened.settings
    baselines = BASELINES if suite else ()
    chosen = tuple(dict.fromkeys((*(protocols or settings.evaluate.protocols), *baselines)))
    check_protocols(chosen)
    videos = _videos(opened, suite)
    model, digest = _weights(opened, checkpoint, settings)
    config = SessionConfig(fill_hole_area=0, precision=settings.model.precision)
    with _progress() as tell:
        table = measure(
            model,
            videos,
            chosen,
            session_config=config,
            suite=suite,
            checkpoint=digest,
            pictures=out is not None,
            tell=lambda what, done, of: tell(f"Evaluating, {what}", done, of),
        )
    written = (
        [] if out is None else [*table.write(out), *write_strips(model, videos, out, session_config=config)]
    )
    if table.frozen is False:
        warn(f"The suite {suite} is not as it was frozen: do not compare these numbers with others.")
    if as_json:
        print_json({each.name: each.facts() for each in table.protocols})
        return
    _show(table, groups=groups)
    if written:
        say(f"Wrote {len(written)} files: [bold]{written[0]}[/], the same as JSON, and pictures")


def _videos(home: EngineHome | None, suite: str) -> list[EvaluationVideo]:
    """What is evaluated on; there is an object in it that can be scored."""
    if suite or home is None:
        from engine.judging.suites import suite_videos

        videos = suite_videos(suite)
    else:
        from engine.judging.sets import evaluation_set

        videos = evaluation_set(home)
        if not videos:
            reason = unjudged_reason(home)
            raise RoundError(f"{reason[0].upper()}{reason[1:]}.")
    if not any(video.starts() for video in videos):
        raise RoundError("No object of the evaluation videos is visible between their first and last frame.")
    return videos


def _weights(home: EngineHome | None, checkpoint: Path | None, settings: Settings) -> tuple[Sam2, str]:
    """The weights in a file, else those in use, else the packaged ones; and their hash."""
    from engine.rounds import champion_checkpoint
    from engine.weights import load_file, load_weights
    from model.files.checkpoints import checkpoint_hash, default_checkpoint

    if checkpoint is not None or home is None:
        path = checkpoint or default_checkpoint()
        return load_file(path, settings.model), checkpoint_hash(path)
    digest = champion_checkpoint(home)
    return load_weights(home, digest), digest


def _show(table: ScoreTable, *, groups: bool) -> None:
    """The scores, the curves of interactive protocols, and the groups of objects if asked for."""
    print_table(
        ("protocol", "J", "F", "J&F", "95 % interval"),
        [_line(each.name, each.whole) for each in table.protocols],
    )
    for each in table.protocols:
        if each.curve:
            steps = [(step.frames, round(step.jf, 2), round(step.seconds, 1)) for step in each.curve]
            print_table(("prompted frames", "J&F", "seconds"), steps, title=f"\n{each.name}")
        if groups:
            kinds = [
                (score.group, score.objects, *_line("", score)[1:]) for score in (each.whole, *each.groups)
            ]
            print_table(("objects", "count", "J", "F", "J&F", "95 % interval"), kinds, title=f"\n{each.name}")


def _line(name: str, score: GroupScore) -> tuple[object, ...]:
    return (name, *_rounded(score.j, score.f), score.interval_words)


@contextmanager
def _progress() -> Iterator[Tell]:
    """A bar on standard error that goes away; the function says what it shows and moves it."""
    from rich.progress import Progress

    with Progress(console=err, transient=True) as bars:
        bar = bars.add_task("", total=None)
        yield lambda what, done, of: bars.update(bar, description=what, completed=done, total=of)
