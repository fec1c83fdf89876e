"""The clock's door: go on with every open round. Cheap when there is none, and safe to run at any time and
twice.
"""

from __future__ import annotations

from pathlib import Path

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from engine.home import open_home
from engine.rounds import open_rounds
from flows.results import IDLE, RoundResult, unwrapped
from flows.round import engine_round


@flow(name="advance")
def advance(home: str) -> State[list[RoundResult]]:
    """Re-enter every open round; ends `Idle` if there is none, else with the state of the last one."""
    results = [
        unwrapped(engine_round(phase=opening.phase, home=home))
        for opening in open_rounds(open_home(Path(home)))
    ]
    if not results:
        return Completed(name=IDLE, message="No round is open.", data=[])
    message = "; ".join(f"{result.round_id} {result.state}: {result.message}" for result in results)
    return Completed(name=results[-1].state, message=message, data=results)
