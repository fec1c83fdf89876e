"""auto: the model mines masklets by itself."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from engine.machine import StageOutcome
from flows.artifacts import show_numbers
from flows.stage import run_stage


@flow(name="auto", flow_run_name="{round_id}-auto")
def auto(home: str, round_id: str) -> State[StageOutcome]:
    """Prompt with grids, track, clean, and send the candidates to verification; waits for the verdicts.
    Leaves the artifact `stage-auto`.
    """
    return run_stage(home, round_id, "auto", show=show_numbers)
