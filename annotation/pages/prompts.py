"""The prompt in a request for help: a click, a box or a command, in source pixels."""

from __future__ import annotations

from dataclasses import dataclass

from annotation.pages.regions import BOX, CLICK, COMMAND, SAYS, Region, read_box, read_point, read_regions
from annotation.pages.views import PageView
from model.prompts import Box

__all__ = ["BoxPrompt", "ClickPrompt", "CommandPrompt", "Prompt", "read_prompt"]


@dataclass(frozen=True, slots=True)
class ClickPrompt:
    """A click in source pixels."""

    region_id: str
    page: int
    x: float
    y: float
    positive: bool


@dataclass(frozen=True, slots=True)
class BoxPrompt:
    """A box in source pixels."""

    region_id: str
    page: int
    box: Box


@dataclass(frozen=True, slots=True)
class CommandPrompt:
    """A command that was entered.

    The region's id stays the same for all commands of a page: what tells a command from the one before are `typed`, all
    texts that stand in the command box, newest last, and `says`, the server's text on that page.
    """

    region_id: str
    page: int
    text: str
    typed: tuple[str, ...]
    says: str


Prompt = ClickPrompt | BoxPrompt | CommandPrompt


def read_prompt(context_result: object, view: PageView) -> Prompt | None:
    """The newest prompt of a request, None if it holds none.

    Only the last one counts: earlier ones may lie on other pages, and one click may arrive twice under one id.
    """
    regions = read_regions(context_result, view)
    prompts = [region for region in regions if region.control in (CLICK, BOX, COMMAND)]
    if not prompts:
        return None
    last = prompts[-1]
    if last.control == CLICK:
        x, y = read_point(last, view)
        return ClickPrompt(last.id, last.page, x, y, _positive(last))
    if last.control == BOX:
        return BoxPrompt(last.id, last.page, read_box(last, view))
    typed = last.texts()
    if not typed:
        return None
    says = [region for region in regions if region.control == SAYS and region.page == last.page]
    return CommandPrompt(
        last.id, last.page, typed[-1].strip(), typed, "\n".join(says[-1].texts()) if says else ""
    )


def _positive(region: Region) -> bool:
    """A click that came back from a draft has lost its sign, and was a positive one unless it says otherwise."""
    positive = region.entry.get("is_positive", True)
    if not isinstance(positive, bool):
        raise region.wrong(f"has is_positive = {positive!r:.20} instead of true or false")
    return positive
