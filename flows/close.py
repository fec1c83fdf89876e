"""close: the round's report, its lineage record and the promotion."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from engine.machine import StageOutcome
from flows.artifacts import show_report
from flows.stage import run_stage


@flow(name="close", flow_run_name="{round_id}-close")
def close(home: str, round_id: str) -> State[StageOutcome]:
    """Promote the challenger if the gate said so, and end the round. Leaves the artifact `round-report`."""
    return run_stage(home, round_id, "close", show=show_report)
