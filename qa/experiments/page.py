"""The page: one self-contained HTML document for all experiments of a folder, in the style of the reports."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from qa.experiments.statistics import Estimate
from qa.report import formats
from qa.report.filmstrip import Filmstrip, Thumbnail
from qa.report.gallery import Group, within_budget
from qa.report.table import Column, Table

STACKED = "stacked"
"""The kind of a block whose columns are so many that intervals stand under their values."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A plot: what it shows in words, and its picture as a `data:` address."""

    title: str
    address: str

    @classmethod
    def of(cls, title: str, figure: Figure) -> Picture:
        """A figure as SVG."""
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
        return cls(title, "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii"))


@dataclass(frozen=True, slots=True)
class Block:
    """A table with what stands over and under it."""

    title: str
    table: Table
    about: str = ""
    note: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """One experiment on the page."""

    name: str
    title: str
    verdict: str
    sentences: tuple[str, ...]
    blocks: tuple[Block, ...]
    pictures: tuple[Picture, ...] = ()
    strips: tuple[Group, ...] = ()
    assumptions: tuple[str, ...] = field(default=())
    code_versions: tuple[str, ...] = ()


def render(sections: Sequence[Section], *, title: str, quick: bool) -> str:
    """The page as an HTML document."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("qa.experiments"), PackageLoader("qa.report")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = [(section, within_budget(section.strips, 2_000_000)) for section in sections]
    return environment.get_template("experiments.html").render(sections=shown, title=title, quick=quick)


def write_section(section: Section, path: Path) -> None:
    """Keep a section for pages that are written later."""
    path.write_text(json.dumps(asdict(section), default=sorted), encoding="utf-8")


def read_section(path: Path) -> Section:
    """The inverse of `write_section`."""
    value = json.loads(path.read_text(encoding="utf-8"))
    return Section(
        name=value["name"],
        title=value["title"],
        verdict=value["verdict"],
        sentences=tuple(value["sentences"]),
        assumptions=tuple(value["assumptions"]),
        code_versions=tuple(value["code_versions"]),
        blocks=tuple(Block(**{**block, "table": _table(block["table"])}) for block in value["blocks"]),
        pictures=tuple(Picture(**picture) for picture in value["pictures"]),
        strips=tuple(_group(group) for group in value["strips"]),
    )


def _table(value: dict[str, Any]) -> Table:
    return Table(
        columns=tuple(Column(**column) for column in value["columns"]),
        rows=tuple(tuple(row) for row in value["rows"]),
        note=value["note"],
        groups=tuple((label, note, count) for label, note, count in value["groups"]),
        minor_rows=frozenset(value["minor_rows"]),
    )


def _group(value: dict[str, Any]) -> Group:
    strips = tuple(
        Filmstrip(
            **{
                **strip,
                "badge": tuple(strip["badge"]),
                "thumbnails": tuple(Thumbnail(**t) for t in strip["thumbnails"]),
            }
        )
        for strip in value["strips"]
    )
    return Group(value["title"], value["empty"], strips, value["left_out"])


def shown(estimate: Estimate | None, digits: int = 1, unit: str = "") -> str:
    """`4.5 (4.1 … 4.9)`; an en dash for what is not known."""
    if estimate is None:
        return formats.NOT_AVAILABLE
    value = formats.number(estimate.value, digits)
    if value == formats.NOT_AVAILABLE:
        return value
    low, high = formats.number(estimate.low, digits), formats.number(estimate.high, digits)
    interval = "" if formats.NOT_AVAILABLE in (low, high) else f" ({low} … {high})"
    return f"{value}{unit}{interval}"


def shown_difference(estimate: Estimate | None, digits: int = 1) -> str:
    """`+1.2 (−0.3 … +2.5)`."""
    if estimate is None:
        return formats.NOT_AVAILABLE
    low, high = formats.signed(estimate.low, digits), formats.signed(estimate.high, digits)
    interval = "" if formats.NOT_AVAILABLE in (low, high) else f" ({low} … {high})"
    return f"{formats.signed(estimate.value, digits)}{interval}"


def stacked(text: str) -> str:
    """What `shown` and `shown_difference` give as two lines, for a block of the kind `STACKED`."""
    return text.replace(" (", "\n(")
