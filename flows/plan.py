"""plan: which videos and which objects the round takes on."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from engine.machine import StageOutcome
from flows.artifacts import show_numbers
from flows.stage import run_stage


@flow(name="plan", flow_run_name="{round_id}-plan")
def plan(home: str, round_id: str) -> State[StageOutcome]:
    """Choose videos, and have objects selected in them. Leaves the artifact `stage-plan`."""
    return run_stage(home, round_id, "plan", show=show_numbers)
