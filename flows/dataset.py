"""dataset: the accepted masklets become part of the data set."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from engine.machine import StageOutcome
from flows.artifacts import show_numbers
from flows.stage import run_stage


@flow(name="dataset", flow_run_name="{round_id}-dataset")
def dataset(home: str, round_id: str) -> State[StageOutcome]:
    """Make the next version of the data set, with splits that do not leak. Leaves the artifact `stage-
    dataset`.
    """
    return run_stage(home, round_id, "dataset", show=show_numbers)
