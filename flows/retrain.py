"""retrain: new weights from what was verified."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from engine.machine import StageOutcome
from flows.artifacts import show_numbers
from flows.stage import run_stage


@flow(name="retrain", flow_run_name="{round_id}-retrain")
def retrain(home: str, round_id: str) -> State[StageOutcome]:
    """Train the phase's model on the data set; goes on from the last saved step if it was cut off. Leaves the
    artifact `stage-retrain`.
    """
    return run_stage(home, round_id, "retrain", show=show_numbers)
