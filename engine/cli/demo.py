"""`engine demo`: the whole loop on real cell movies: ingest, a round in each phase, and the report.

Everything is real but the people: the videos, the network and its retraining, the flows, the manifests, the catalog.
A natural video without references is mined as well, to show that such video goes through.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from engine.cli.ingest import ingest_paths, ingest_sample, show_outcomes
from engine.cli.round import progress_line, tell_stage
from engine.cli.show import next_step, out, say
from engine.home import EngineHome, create_home
from engine.machine import open_round
from engine.status import RoundStatus, all_rounds

DEMO_SETTINGS = """
# Small rounds, so that the demo ends within minutes on two cores.
[round]
videos = 3
objects_per_video = 2
control_objects = 2
seed = {seed}

[model]
# One thread: the other core serves Prefect, and threads that wait for each other on busy cores cost minutes.
threads = 1

[auto]
videos = 2
max_masklets_per_video = 10
failure_share = 0.5

[grid]
max_masklets = 24

[evaluate]
retention_clips = 6
online_objects = 2

[retrain]
steps = 25
"""


@dataclass(frozen=True, slots=True)
class MinedClip:
    """What is mined from the natural video for the report: every `step`-th annotated frame, `frames` of them."""

    frames: int = 8
    step: int = 1


def run_demo(path: Path, *, seed: int) -> None:
    """Run the demo in the home at `path`; killed anywhere, running it again goes on where it stopped."""
    started = time.monotonic()
    home = _demo_home(path, seed=seed)
    say("[bold]1. Videos[/]: cell movies (HeLa to annotate and train on, CHO for evaluation only)")
    show_outcomes(ingest_sample(home, windows=6), as_json=False)
    _run_rounds(home)
    say("[bold]5. A natural video without references[/]: automatic masklets, nobody to verify them")
    files = _report(home)
    for standing in all_rounds(home):
        _summarise(standing)
    say(f"Done in {(time.monotonic() - started) / 60:.1f} minutes. The people in this run are simulated.")
    next_step(f"open {files[-1]} in a browser")


def _demo_home(path: Path, *, seed: int) -> EngineHome:
    return create_home(path, more=DEMO_SETTINGS.format(seed=seed))


def _run_rounds(home: EngineHome) -> None:
    """A round in each phase, on one Prefect server; closed ones are not run again."""
    from flows.server import prefect_server, run_round

    closed = {standing.phase for standing in all_rounds(home) if standing.state == "closed"}
    with prefect_server(home.path):
        for phase in (1, 2, 3):
            say(f"[bold]{phase + 1}. Round in phase {phase}[/]")
            if phase in closed:
                say("  done before")
                continue
            opening = open_round(home, phase=phase)
            with progress_line(home, opening):
                run_round(home.path, phase, on_stage=tell_stage)


def _report(home: EngineHome) -> list[Path]:
    from engine.mining import mine_clip
    from engine.reporting import write_reports
    from engine.samples import bikes_path

    with out.status("mining the natural video …"):
        (taken,) = ingest_paths(
            home, [bikes_path(home.path / "samples")], split="eval", group="natural", metadata=None
        )
        assert taken.outcome.video is not None, taken.outcome.reason
        strip = mine_clip(home, taken.outcome.video, frames=MinedClip().frames, step=MinedClip().step)
    with out.status("writing the report …"):
        return write_reports(home, extra=[strip])


def _summarise(standing: RoundStatus) -> None:
    verdict = "promoted" if standing.promoted else "not promoted"
    scores = {key: value for stage in standing.stages for key, value in stage.summary.items() if "J&F" in key}
    shown = ", ".join(f"{key} {value}" for key, value in scores.items())
    say(f"{standing.id}: retrained model {verdict}; {shown}")
