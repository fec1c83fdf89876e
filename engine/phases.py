"""The three phases as one table: which model helps, what it may be asked, what is retrained (SAM 2, §5.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from annotation.work import PhaseRules
from engine.errors import RoundError

PromptMode = Literal["masks", "all"]


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase of the data engine.

    number: 1, 2 or 3. helper: the model people are helped by, in the paper's words. rules: what the annotation tool
    allows. train_prompts: prompts simulated when the model is retrained after the round ("masks" trains SAM 2 Mask,
    "all" trains SAM 2). gate_protocol: the evaluation protocol that decides promotion. mines: whether automatic
    masklets are generated (they need a tracker that takes clicks).
    """

    number: int
    helper: str
    rules: PhaseRules
    train_prompts: PromptMode
    gate_protocol: str
    mines: bool


PHASES: tuple[Phase, ...] = (
    Phase(
        number=1,
        helper="SAM",
        rules=PhaseRules(phase=1, propagates=False, tracker_prompts="none"),
        train_prompts="masks",
        gate_protocol="mask",
        mines=False,
    ),
    Phase(
        number=2,
        helper="SAM 2 Mask",
        rules=PhaseRules(phase=2, propagates=True, tracker_prompts="masks"),
        train_prompts="masks",
        gate_protocol="mask",
        mines=False,
    ),
    Phase(
        number=3,
        helper="SAM 2",
        rules=PhaseRules(phase=3, propagates=True, tracker_prompts="all"),
        train_prompts="all",
        gate_protocol="3-click",
        mines=True,
    ),
)
"""Architecture §4: phases are data."""


def phase(number: int) -> Phase:
    """The phase of that number; RoundError otherwise."""
    for row in PHASES:
        if row.number == number:
            return row
    raise RoundError(f"There is no phase {number}. Choose 1 (SAM), 2 (SAM 2 Mask) or 3 (SAM 2).")
