"""prelabel: the model's masks, made before people look."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from engine.machine import StageOutcome
from flows.artifacts import show_numbers
from flows.stage import run_stage


@flow(name="prelabel", flow_run_name="{round_id}-prelabel")
def prelabel(home: str, round_id: str) -> State[StageOutcome]:
    """Let the phase's model propose masks for every planned object. Leaves the artifact `stage-prelabel`."""
    return run_stage(home, round_id, "prelabel", show=show_numbers)
