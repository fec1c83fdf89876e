"""`engine status`."""

from __future__ import annotations

from engine.cli.show import next_step, out, print_json, print_table, say
from engine.home import EngineHome
from engine.status import RoundStatus, StageStatus, all_rounds

MARKS = {"done": "[green]✓[/]", "running": "[yellow]▶[/]", "open": "[cyan]●[/]", "pending": "[dim]·[/]"}


def show_status(home: EngineHome, *, as_json: bool) -> None:
    """Print rounds and stages."""
    rounds = all_rounds(home)
    videos = home.library.videos()
    training = sum(video.split == "train" for video in videos)
    if as_json:
        print_json(
            {
                "home": str(home.path),
                "videos": {"train": training, "eval": len(videos) - training},
                "rounds": [row.to_json() for row in rounds],
            }
        )
        return
    say(f"[bold]{home.path}[/]: {training} training videos, {len(videos) - training} evaluation videos")
    if not rounds:
        next_step("engine ingest PATH…" if not videos else "engine round --phase 1")
        return
    print_table(
        ("round", "phase", "state", "now in", "model"),
        [(row.id, row.phase, row.state, _now(row), _model(row)) for row in rounds],
    )
    for stage in rounds[-1].stages:
        out.print(f"  {MARKS[stage.state]} {stage.name:<9} {_facts(stage)}", highlight=False)


def _now(row: RoundStatus) -> str:
    return "" if row.state == "closed" else row.stage


def _model(row: RoundStatus) -> str:
    if row.state == "open":
        return row.checkpoint_before[:12]
    change = "promoted" if row.promoted else "kept"
    return f"{row.checkpoint_after[:12]} ({change})"


def _facts(stage: StageStatus) -> str:
    if stage.detail:
        return stage.detail
    facts = (f"{key} {value}" for key, value in stage.summary.items() if len(str(value)) < 64)
    return ", ".join(facts)
