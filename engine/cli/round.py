"""`engine round`: run the flows, show where the round is, end with the right exit code."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from rich.live import Live
from rich.markup import escape
from rich.status import Status

from annotation.site import SiteError
from engine.cli.queues import queue_tables
from engine.cli.show import complain, next_step, out, say
from engine.errors import SettingsError
from engine.home import EngineHome
from engine.machine import StageOutcome, advance_round, open_round
from engine.queues import people_kind, queue_reader
from engine.references import unjudged_reason
from engine.status import RoundStatus, round_status
from storage.commits import RoundOpening

DONE, FAILED, WAITING = 0, 1, 75
HASH_LENGTH = 64
GATE_KEYS = frozenset({"promote", "reason", "delta", "delta_low", "delta_high"})
REFRESH_S = 1.0
POLL_PEOPLE_S = 30.0
"""How often `--wait` goes on with a round, whether or not anything was seen to be handed in."""
LOOK_S = 5.0
"""How often it looks at the queues of real people."""
PEOPLE = ("simulated", "label-studio")


def run_round(
    home: EngineHome,
    *,
    phase: int,
    videos: int | None,
    seed: int | None,
    annotators: str | None,
    wait: bool,
    prefect: bool,
) -> int:
    """Open or continue the round; returns the exit code."""
    if annotators not in (None, *PEOPLE):
        raise SettingsError(f"--annotators {annotators} is not known; people can be: {', '.join(PEOPLE)}.")
    opening = open_round(home, phase=phase, seed=seed, videos=videos, annotators=annotators)
    say(f"Round [bold]{opening.round_id}[/] (phase {phase}), {_who(opening, annotators)}")
    with _runner(home, prefect=prefect) as run:
        return _until_closed(home, opening, run, wait=wait)


def _who(opening: RoundOpening, asked: str | None) -> str:
    """Who works on the round; they stay for the whole round, whatever is asked later."""
    kind = people_kind(opening)
    words = "in front of [bold]Label Studio[/]" if kind == "label-studio" else "[bold]simulated[/]"
    stays = "" if asked in (None, kind) else ", as when the round was opened"
    return f"annotators and verifiers are {words}{stays}"


Run = Callable[[RoundOpening], None]
"""Takes a round as far as it can go now."""


@contextmanager
def _runner(home: EngineHome, *, prefect: bool) -> Iterator[Run]:
    """Run rounds as Prefect flows, on one server for the whole command, or by the same functions without Prefect."""
    if not prefect:
        yield lambda opening: _run_plainly(home, opening)
        return
    from flows.server import prefect_server

    with out.status("starting Prefect's server …"):
        stack = ExitStack()
        stack.enter_context(prefect_server(home.path))
    with stack:
        yield lambda opening: _run_flows(home, opening)


def _run_plainly(home: EngineHome, opening: RoundOpening) -> None:
    with progress_line(home, opening):
        advance_round(home, opening.round_id, on_stage=tell_stage)


def _run_flows(home: EngineHome, opening: RoundOpening) -> None:
    from flows.server import run_round as run

    with progress_line(home, opening):
        run(home.path, opening.phase, on_stage=tell_stage)


def _until_closed(home: EngineHome, opening: RoundOpening, run: Run, *, wait: bool) -> int:
    watch = _watch_people if people_kind(opening) == "label-studio" else _pause
    while True:
        try:
            run(opening)
            standing = round_status(home, opening)
            if standing.state == "closed" or standing.is_running or not wait:
                return _conclude(home, standing)
            watch(home, opening)
        except SiteError as error:
            if not wait:
                raise
            complain(f"{error} Trying again in {POLL_PEOPLE_S:g} s.")
            _pause(home, opening)


def _pause(home: EngineHome, opening: RoundOpening) -> None:
    time.sleep(POLL_PEOPLE_S)


def _watch_people(home: EngineHome, opening: RoundOpening) -> None:
    """Show the queues until somebody has handed something in, or it is time to go on anyway."""
    until = time.monotonic() + POLL_PEOPLE_S
    with queue_reader(home, opening) as reader, Live(console=out, transient=True) as live:
        while time.monotonic() < until:
            queues = reader.read()
            live.update(queue_tables(queues))
            if queues.has_news:
                return
            time.sleep(LOOK_S)


def tell_stage(stage: str, outcome: StageOutcome) -> None:
    if outcome.state == "done":
        shown = {key: value for key, value in outcome.summary.items() if not _is_detail(stage, key, value)}
        facts = ", ".join(f"{key} {value}" for key, value in shown.items())
        say(f"  [green]✓[/] {stage:<9} [dim]{facts}[/]")
    elif outcome.state == "skipped":
        say(f"  [green]✓[/] {stage:<9} [dim]done before[/]")


def _is_detail(stage: str, key: str, value: object) -> bool:
    """Hashes, and the gate's numbers, which its reason repeats in words when the round closes."""
    is_hash = isinstance(value, str) and len(value) == HASH_LENGTH
    return is_hash or (stage == "evaluate" and key in GATE_KEYS)


@contextmanager
def progress_line(home: EngineHome, opening: RoundOpening) -> Iterator[None]:
    """A line that shows the running stage, refreshed from the store while the work goes on."""
    stop = threading.Event()
    with out.status("starting …") as line:
        watcher = threading.Thread(target=_watch, args=(home, opening, line, stop), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            stop.set()
            watcher.join()


def _watch(home: EngineHome, opening: RoundOpening, line: Status, stop: threading.Event) -> None:
    while not stop.wait(REFRESH_S):
        standing = round_status(home, opening)
        line.update(_working_on(standing))


def _working_on(standing: RoundStatus) -> str:
    for stage in standing.stages:
        if stage.name == standing.stage:
            shards = f", {stage.shards_done} shards done" if stage.shards_done else ""
            return f"{stage.name}{shards} {stage.detail}"
    return "closing"


def _conclude(home: EngineHome, standing: RoundStatus) -> int:
    if standing.state == "closed":
        verdict = "promoted" if standing.promoted else "not promoted"
        say(f"Round [bold]{standing.id}[/] is closed; the retrained model was {verdict}.")
        if unjudged := unjudged_reason(home):
            out.print(f"[yellow]![/] {escape(unjudged)}", highlight=False)
        next_step("engine report")
        return DONE
    detail = next((stage.detail for stage in standing.stages if stage.name == standing.stage), "")
    if not standing.is_running:
        say(f"Round [bold]{standing.id}[/] waits for people in {standing.stage}: {detail}")
        next_step(f"engine round --phase {standing.phase}  (continues; exit code {WAITING} while waiting)")
        return WAITING
    complain(f"Round {standing.id} is being worked on by another process (stage {standing.stage}).")
    next_step("engine status")
    return FAILED
