"""verify: other people's verdicts on whole masklets."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from engine.machine import StageOutcome
from flows.artifacts import show_numbers
from flows.stage import run_stage


@flow(name="verify", flow_run_name="{round_id}-verify")
def verify(home: str, round_id: str) -> State[StageOutcome]:
    """Write down the verdicts on the planned masklets. Leaves the artifact `stage-verify`."""
    return run_stage(home, round_id, "verify", show=show_numbers)
