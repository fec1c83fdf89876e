"""annotate: people make the masklets with the model's help."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from engine.machine import StageOutcome
from flows.artifacts import show_numbers
from flows.stage import run_stage


@flow(name="annotate", flow_run_name="{round_id}-annotate")
def annotate(home: str, round_id: str) -> State[StageOutcome]:
    """Publish the work and take what people hand in; waits until every masklet has its last verdict. Leaves
    the artifact `stage-annotate`.
    """
    return run_stage(home, round_id, "annotate", show=show_numbers)
