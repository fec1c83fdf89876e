"""What is timed: sizes, batches and prompts, as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from model.training.prompt_simulation import PromptPlan, PromptRecipe

__all__ = ["ROWS", "StepRow", "choose"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """One line of the table."""

    id: str
    title: str
    size: str
    image_size: int
    plan: PromptPlan
    clips: int = 2
    frames: int = 8
    objects: int = 2  # of each clip
    correction_clicks: int = 7

    @property
    def recipe(self) -> PromptRecipe:
        return PromptRecipe(correction_clicks=self.correction_clicks)


_MASK = PromptPlan(("mask",), (0,))
_CLICKS = PromptPlan(
    ("click", "box"), (0, 4), (0, 4)
)  # two prompted frames, both corrected: the longest step

ROWS = (
    StepRow(id="nano-mask", title="nano, 128 px, mask prompt", size="nano", image_size=128, plan=_MASK),
    StepRow(
        id="nano-clicks",
        title="nano, 128 px, clicks and corrections",
        size="nano",
        image_size=128,
        plan=_CLICKS,
    ),
    StepRow(id="tiny-mask", title="tiny, 256 px, mask prompt", size="tiny", image_size=256, plan=_MASK),
    StepRow(
        id="tiny-clicks",
        title="tiny, 256 px, clicks and corrections",
        size="tiny",
        image_size=256,
        plan=_CLICKS,
    ),
)


def choose(names: Sequence[str]) -> list[StepRow]:
    """Rows whose id begins like one of `names`, all without names. Raises ValueError for a name that fits none."""
    for name in names:
        if not any(row.id.startswith(name) for row in ROWS):
            raise ValueError(f"no row begins with {name}; there are {', '.join(row.id for row in ROWS)}")
    return [row for row in ROWS if not names or row.id.startswith(tuple(names))]
