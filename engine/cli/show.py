"""How the command line speaks: tables, progress, JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

out = Console()
err = Console(stderr=True)


def say(text: str) -> None:
    """A line for people, on standard output."""
    out.print(text, highlight=False)


def complain(text: str) -> None:
    """An error for people, on standard error."""
    err.print(f"[bold red]Error[/] {_escape(text)}", highlight=False, soft_wrap=True)


def warn(text: str) -> None:
    """What people should know of a result, on standard error, where scripts that read JSON do not stumble on it."""
    err.print(f"[yellow]{_escape(text)}[/]", highlight=False, soft_wrap=True)


def next_step(text: str) -> None:
    """What to do next, on one line however long, so that it can be copied."""
    out.print(f"[dim]Next:[/] {text}", highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """JSON for scripts, and nothing else, on standard output."""
    print(json.dumps(value, indent=2, sort_keys=True, default=str))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "") -> None:
    """A small table; numbers are right-aligned."""
    table = Table(title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
    listed = [tuple(row) for row in rows]
    for index, column in enumerate(columns):
        numeric = bool(listed) and all(isinstance(row[index], int | float) for row in listed)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in listed:
        table.add_row(*(_escape(str(value)) for value in row))
    out.print(table)


def _escape(text: str) -> str:
    return text.replace("[", r"\[")
