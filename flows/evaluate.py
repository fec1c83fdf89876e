"""evaluate: champion and challenger on the frozen split."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from engine.machine import StageOutcome
from flows.artifacts import show_numbers
from flows.stage import run_stage


@flow(name="evaluate", flow_run_name="{round_id}-evaluate")
def evaluate(home: str, round_id: str) -> State[StageOutcome]:
    """Measure J&F of both weights and ask the gate. Leaves the artifact `stage-evaluate`."""
    return run_stage(home, round_id, "evaluate", show=show_numbers)
