"""`engine status`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.markup import escape

from annotation.site import SiteError
from engine.cli.promotion import model_facts, show_decisions
from engine.cli.queues import queue_tables
from engine.cli.show import next_step, out, print_json, print_table, say
from engine.home import EngineHome
from engine.queues import people_kind, queue_reader
from engine.references import missing_references, unjudged_reason
from engine.status import RoundStatus, StageStatus, all_rounds, find_round
from storage.videos import EVALUATION_SPLITS

if TYPE_CHECKING:
    from annotation.studio.queues import Queues

MARKS = {"done": "[green]✓[/]", "running": "[yellow]▶[/]", "open": "[cyan]●[/]", "pending": "[dim]·[/]"}


def show_status(home: EngineHome, *, as_json: bool) -> None:
    """Print rounds and stages."""
    rounds = all_rounds(home)
    people = {row.id: _people_of(home, row) for row in rounds if row.state == "open"}
    videos = home.library.videos()
    training = sum(video.split == "train" for video in videos)
    judging = sum(video.split in EVALUATION_SPLITS for video in videos)
    aside = len(videos) - training - judging
    unreferenced = len(missing_references(home))
    unjudged = unjudged_reason(home) if training else ""
    if as_json:
        print_json(
            {
                "home": str(home.path),
                "videos": {
                    "train": training,
                    "eval": judging,
                    "eval_without_references": unreferenced,
                    "kept_out": aside,
                },
                "unjudged": unjudged,
                "model": model_facts(home),
                "rounds": [row.to_json() for row in rounds],
                "people": {name: _people_json(found) for name, found in people.items() if found is not None},
            }
        )
        return
    kept_out = f", {aside} kept out" if aside else ""
    without = f" ({unreferenced} without references)" if unreferenced else ""
    say(f"[bold]{home.path}[/]: {training} training videos, {judging} evaluation videos{without}{kept_out}")
    if unjudged:
        out.print(f"[yellow]![/] {escape(unjudged)}", highlight=False)
    show_decisions(home)
    if not rounds:
        next_step("engine ingest PATH…" if not videos else "engine round --phase 1")
        return
    print_table(
        ("round", "phase", "state", "now in", "model"),
        [(row.id, row.phase, row.state, _now(row), _model(row)) for row in rounds],
    )
    for stage in rounds[-1].stages:
        out.print(f"  {MARKS[stage.state]} {stage.name:<9} {_facts(stage)}", highlight=False)
    for found in people.values():
        if isinstance(found, SiteError):
            out.print(f"[yellow]![/] The queues are not known now. {escape(str(found))}", highlight=False)
        elif found is not None:
            out.print()
            out.print(queue_tables(found))


def _people_of(home: EngineHome, row: RoundStatus) -> Queues | SiteError | None:
    """The queues of a round in Label Studio, or why they are not known; None for simulated people."""
    opening = find_round(home, row.id)
    if people_kind(opening) != "label-studio":
        return None
    try:
        with queue_reader(home, opening) as reader:
            return reader.read()
    except SiteError as error:
        return error


def _people_json(found: Queues | SiteError) -> dict[str, Any]:
    return {"error": str(found)} if isinstance(found, SiteError) else found.to_json()


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
