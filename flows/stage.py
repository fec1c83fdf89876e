"""What the flow of every stage does: its open shards as tasks, then the task that brings the stage to its
commit.

A process does one shard at a time, since a shard fills the processor or the GPU; several processes (workers,
machines) share the shards of a stage through their leases. Nothing here is a record: a run killed anywhere is
simply started again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.states import Completed
from prefect.tasks import Task

from engine import machine
from engine.home import open_home
from engine.machine import StageOutcome
from flows.artifacts import SHARD_PROGRESS, Progress, show_people
from flows.logs import training_in_run_log
from flows.results import AWAITING_HUMANS, BUSY
from storage.errors import CatalogError, ObjectNotFound, StoreError

RETRIES = 2
RETRY_DELAYS_S = [5.0, 30.0]
Show: TypeAlias = Callable[[str, str, StageOutcome], None]
"""Makes an artifact of (home, round_id, outcome)."""

STATE_NAMES = {"waiting": AWAITING_HUMANS, "busy": BUSY}


def run_stage(home: str, round_id: str, stage: str, *, show: Show) -> State[StageOutcome]:
    """Take a stage as far as it can go now and say how it stands; the body of every stage's flow.

    `show` makes the artifact of a stage that got done. The state is final also when people or another process
    are at work: a waiting run holds no slot and no process. Raises what a shard raised, after every other had
    its turn.
    """
    outcome = _work(home, round_id, stage)
    if outcome.state == "waiting":
        show_people(round_id, outcome)
    elif outcome.state == "done":
        show(home, round_id, outcome)
    name = STATE_NAMES.get(outcome.state, "Completed")
    return Completed(name=name, message=outcome.message or None, data=outcome)


def is_transient(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether trying again can help: store or catalog could not be reached. Other errors are final."""
    error = state.data
    return isinstance(error, StoreError | CatalogError) and not isinstance(error, ObjectNotFound)


@task(
    name="shard",
    task_run_name="{stage}-{shard:04d}",
    cache_policy=NO_CACHE,
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAYS_S,
    retry_condition_fn=is_transient,
)
def run_shard(home: str, round_id: str, stage: str, shard: int) -> str:
    """Do one shard: `done`, `skipped` (done before) or `busy` (another process has it)."""
    with training_in_run_log():
        return machine.run_shard(open_home(Path(home)), round_id, stage, shard)


@task(
    name="finish",
    task_run_name="{stage}-finish",
    cache_policy=NO_CACHE,
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAYS_S,
    retry_condition_fn=is_transient,
)
def finish(home: str, round_id: str, stage: str) -> StageOutcome:
    """Commit the stage, or find that people are at work."""
    return machine.finish_stage(open_home(Path(home)), round_id, stage)


def _work(home: str, round_id: str, stage: str) -> StageOutcome:
    shards = machine.pending_shards(open_home(Path(home)), round_id, stage)
    busy = _run_shards(home, round_id, stage, shards).count("busy")
    if busy:
        return StageOutcome("busy", f"{busy} of {len(shards)} shards are in another process", stage)
    return finish(home, round_id, stage)


def _run_shards(home: str, round_id: str, stage: str, shards: Sequence[int]) -> list[str]:
    if not shards:
        return []
    progress = Progress(SHARD_PROGRESS, f"{round_id}: shards of {stage}", total=len(shards))
    states = []
    for shard in shards:
        states.append(run_shard(home, round_id, stage, shard, return_state=True))
        progress.advance()
    return [state.result() for state in states]
