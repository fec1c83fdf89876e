"""What a table of the page is made of."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from qa.report.svg import element

Cell = str | Markup


@dataclass(frozen=True, slots=True)
class Column:
    """A column's head: its label, its unit in smaller type, and whether it holds numbers."""

    label: str
    unit: str = ""
    numeric: bool = True


@dataclass(frozen=True, slots=True)
class Table:
    """A finished table. `groups` are heads over columns: (label, note, how many)."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    groups: tuple[tuple[str, str, int], ...] = ()
    minor_rows: frozenset[int] = frozenset()


def badge(label: str, kind: str) -> Markup:
    """A coloured label; kind is good, fair, poor or plain."""
    return element("span", label, class_=f"badge {kind}")


def code(text: str) -> Markup:
    """A hash or id in monospaced type."""
    return element("code", text)
