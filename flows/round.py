"""One round of the engine as a flow: the same code for `engine round`, for schedules and for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from prefect import Flow, flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.states import Completed

from engine import machine
from engine.home import EngineHome, open_home
from engine.machine import StageOutcome
from engine.stages.base import STAGE_NAMES
from flows.annotate import annotate
from flows.artifacts import ROUND_PROGRESS, Progress
from flows.auto import auto
from flows.close import close
from flows.dataset import dataset
from flows.evaluate import evaluate
from flows.plan import plan
from flows.prelabel import prelabel
from flows.results import AWAITING_HUMANS, BUSY, CLOSED, NOT_PROMOTED, PROMOTED, RoundResult, unwrapped
from flows.retrain import retrain
from flows.verify import verify
from storage.commits import read_commit

StageListener: TypeAlias = Callable[[str, StageOutcome], None]

STAGE_FLOWS: Mapping[str, Flow[[str, str], State[StageOutcome]]] = MappingProxyType(
    {each.name: each for each in (plan, prelabel, annotate, verify, auto, dataset, retrain, evaluate, close)}
)
"""The flow of every stage, in the order of a round."""

_listener: ContextVar[StageListener | None] = ContextVar("stage_listener", default=None)


def _run_name() -> str:
    """The id of the round that the run opens or goes on with, such as `r0002-p2`."""
    given = flow_run.parameters
    return machine.coming_round_id(open_home(Path(given["home"])), phase=given["phase"])


@flow(name="engine-round", flow_run_name=_run_name)
def engine_round(
    phase: int,
    home: str,
    seed: int | None = None,
    videos: int | None = None,
    annotators: str | None = None,
) -> State[RoundResult]:
    """Open the next round of `phase` or go on with its open one, as far as it can go now.

    `seed`, `videos` and `annotators` count only when a round is opened; without them the home's settings do.
    Ends `Promoted`, `NotPromoted` or `Closed` when the round is over, `AwaitingHumans` or `Busy` when it has
    to be re-entered later. Leaves the artifact `round-progress`.
    """
    opened = open_home(Path(home))
    opening = machine.open_round(opened, phase=phase, seed=seed, videos=videos, annotators=annotators)
    outcome = _run_stages(opened, opening.round_id)
    result = ending(opened, opening.round_id, outcome)
    return Completed(name=result.state, message=f"{result.round_id}: {result.message}", data=result)


def ending(home: EngineHome, round_id: str, outcome: StageOutcome) -> RoundResult:
    """How the round stands after the outcome of its last stage that ran."""
    if outcome.state == "waiting":
        return RoundResult(AWAITING_HUMANS, round_id, outcome.message)
    if outcome.state == "busy":
        return RoundResult(BUSY, round_id, outcome.message)
    retrained = read_commit(home.store, round_id, "retrain")
    if retrained is None or not retrained.summary.get("challenger"):
        return RoundResult(CLOSED, round_id, str(outcome.summary.get("reason", "nothing was trained")))
    state = PROMOTED if outcome.summary["promoted"] else NOT_PROMOTED
    return RoundResult(state, round_id, str(outcome.summary["reason"]))


@contextmanager
def listening(listener: StageListener | None) -> Iterator[None]:
    """Within this context, rounds run by the calling thread report every stage's outcome to `listener`."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def _run_stages(home: EngineHome, round_id: str) -> StageOutcome:
    progress = Progress(ROUND_PROGRESS, f"Stages of {round_id}", total=len(STAGE_NAMES))
    outcome = StageOutcome("done", "")
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):  # the round's own covers its stages
        for stage in STAGE_NAMES:
            outcome = _run_stage(home, round_id, stage)
            if listener := _listener.get():
                listener(stage, outcome)
            if outcome.state in ("waiting", "busy"):
                break
            progress.advance()
    return outcome


def _run_stage(home: EngineHome, round_id: str, stage: str) -> StageOutcome:
    """A stage that is done costs no flow run, only a look at its commit."""
    if machine.stage_is_done(home, round_id, stage):
        return machine.finish_stage(home, round_id, stage)
    return unwrapped(STAGE_FLOWS[stage](str(home.path), round_id))
