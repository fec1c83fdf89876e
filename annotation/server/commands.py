"""What a person can type into the command box, and what it means."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

__all__ = ["COMMANDS", "Action", "Command", "changed_text", "help_text", "pages_text", "read_command"]

Action = Literal["forward", "backward", "both", "undo", "reset", "next", "help"]


@dataclass(frozen=True, slots=True)
class Command:
    """word: what is typed. waits: strokes matter to it, so it waits until the page has saved them. tracks: it
    propagates.
    """

    word: str
    action: Action
    about: str
    waits: bool = False
    tracks: bool = False


COMMANDS: tuple[Command, ...] = (
    Command("p", "forward", "carry the masks on from this page to the end", waits=True, tracks=True),
    Command("b", "backward", "carry them from this page back to the beginning", waits=True, tracks=True),
    Command("pp", "both", "carry them through the whole video", waits=True, tracks=True),
    Command("u", "undo", "undo the last act on this page", waits=True),
    Command("r", "reset", "put this page back as it was at the start"),
    Command("n", "next", "name the page to look at next"),
    Command("?", "help", "this help"),
)


def read_command(text: str) -> Command | None:
    """The command in a text; None if it is none."""
    word = " ".join(text.split()).lower()
    return next((command for command in COMMANDS if command.word == word), None)


def help_text(*, propagates: bool) -> str:
    """All that can be typed in a phase, in one line."""
    offered = [command for command in COMMANDS if propagates or not command.tracks]
    return "Type one of these and press Enter: " + ", ".join(
        f"{command.word} = {command.about}" for command in offered
    )


def changed_text(changed: Iterable[int], kept: Iterable[int]) -> str:
    """What a propagation did, by page from 0."""
    changed, kept = sorted(changed), sorted(kept)
    text = "No page changed" if not changed else f"{_count(changed)} changed: {pages_text(changed)}"
    return text + (f"; yours kept: {pages_text(kept)}" if kept else "") + "."


def pages_text(pages: Iterable[int]) -> str:
    """Pages as people count them, from 1, runs as ranges: "1-4, 7"."""
    runs: list[list[int]] = []
    for page in sorted(pages):
        if runs and page == runs[-1][1] + 1:
            runs[-1][1] = page
        else:
            runs.append([page, page])
    return ", ".join(f"{first + 1}" if first == last else f"{first + 1}-{last + 1}" for first, last in runs)


def _count(pages: list[int]) -> str:
    return "1 page" if len(pages) == 1 else f"{len(pages)} pages"
