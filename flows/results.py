"""What a round's flow says when it ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

T = TypeVar("T")

AWAITING_HUMANS = "AwaitingHumans"
BUSY = "Busy"
PROMOTED = "Promoted"
NOT_PROMOTED = "NotPromoted"
CLOSED = "Closed"
IDLE = "Idle"


@dataclass(frozen=True, slots=True)
class RoundResult:
    """How a round stands after a run; `state` is also the name of the flow run's final state.

    state: `Promoted`, `NotPromoted` or `Closed` (nothing was trained) when the round is over,
    `AwaitingHumans` when people have work, `Busy` when another process is at work on it.
    """

    state: str
    round_id: str
    message: str

    @property
    def over(self) -> bool:
        """Whether the round is closed."""
        return self.state in (PROMOTED, NOT_PROMOTED, CLOSED)


def unwrapped(returned: State[T]) -> T:
    """What calling a flow gives: the data of the state it returns. Prefect's types do not say so."""
    return cast("T", returned)
