"""Plots as inline SVG: lines or points over a number axis, and horizontal stacked bars.

Drawn by hand rather than by a plotting library: a few kilobytes each, in the font of the page, and
colours are CSS variables, so that one picture serves light and dark mode. Each mark carries its value as
a tooltip.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from qa.report.svg import drawing, element, path, ticks

Mark = Literal["line", "points", "hollow", "dashed", "faint"]

WIDTH, HEIGHT = 480.0, 240.0
LEFT, RIGHT, TOP, BOTTOM = 48.0, 16.0, 14.0, 42.0
BAR_PX, BAR_GAP_PX, BAR_LABEL_PX = 24.0, 12.0, 96.0
MOST_DOTS = 24  # points of a line that are marked one by one
TEXT_PX = 6.6  # mean advance of a digit in 12 px text: decides whether a number fits into its bar


@dataclass(frozen=True, slots=True)
class Series:
    """Points (x, y) in one colour: a line with points, full or hollow points, a dashed or a faint line."""

    label: str
    points: tuple[tuple[float, float], ...]
    colour: str
    mark: Mark = "line"


@dataclass(frozen=True, slots=True)
class Bar:
    """One stacked bar: its label, the value of each part in drawing order, and the text behind its end."""

    label: str
    parts: Mapping[str, float]
    note: str = ""


@dataclass(frozen=True, slots=True)
class LegendEntry:
    label: str
    colour: str
    mark: Mark | Literal["block"]


@dataclass(frozen=True, slots=True)
class Plot:
    """A finished picture with its title and legend, ready for the page."""

    title: str
    svg: Markup
    legend: tuple[LegendEntry, ...]


@dataclass(frozen=True, slots=True)
class _Scale:
    """Where numbers fall inside the plot's frame."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float

    def x(self, value: float) -> float:
        return LEFT + (value - self.x_low) / (self.x_high - self.x_low) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (value - self.y_low) / (self.y_high - self.y_low) * (HEIGHT - TOP - BOTTOM)


def line_plot(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str,
    y_label: str,
    x_names: Mapping[float, str] | None = None,
    y_from: float | None = None,
) -> Plot:
    """Series over a number axis; `x_names` names places on the x axis instead of round numbers.

    The y axis starts at `y_from`, else just under the smallest value. Series without points are left out.
    """
    drawn = [one for one in series if one.points]
    scale, x_ticks, y_ticks = _frame(drawn, x_names, y_from)
    parts = [_grid(scale, y_ticks), _x_axis(scale, x_ticks, x_label), _y_title(y_label)]
    svg = drawing(*parts, *(_draw(one, scale) for one in drawn), width=WIDTH, height=HEIGHT, label=title)
    return Plot(title, svg, tuple(LegendEntry(one.label, one.colour, one.mark) for one in drawn if one.label))


def _frame(
    series: Sequence[Series], x_names: Mapping[float, str] | None, y_from: float | None
) -> tuple[_Scale, dict[float, str], list[float]]:
    xs = [x for one in series for x, _ in one.points] or [0.0]
    ys = [y for one in series for _, y in one.points] or [0.0]
    low = min(ys) - 0.04 * (max(ys) - min(ys)) if y_from is None else y_from
    y_ticks = ticks(max(low, 0.0) if min(ys) >= 0 else low, max(ys))
    if x_names is not None:
        return (
            _Scale(min(x_names) - 0.35, max(x_names) + 0.35, y_ticks[0], y_ticks[-1]),
            dict(x_names),
            y_ticks,
        )
    x_ticks = ticks(min(xs), max(xs), wanted=5)
    return _Scale(x_ticks[0], x_ticks[-1], y_ticks[0], y_ticks[-1]), {x: f"{x:g}" for x in x_ticks}, y_ticks


def _grid(scale: _Scale, y_ticks: Sequence[float]) -> Markup:
    lines = (
        element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=scale.y(value), y2=scale.y(value), class_="grid")
        for value in y_ticks
    )
    labels = (
        element("text", f"{value:g}", x=LEFT - 8, y=scale.y(value) + 4, class_="tick", text_anchor="end")
        for value in y_ticks
    )
    return Markup("").join([*lines, *labels])


def _x_axis(scale: _Scale, names: Mapping[float, str], label: str) -> Markup:
    floor = HEIGHT - BOTTOM
    marks = (
        element("text", name, x=scale.x(value), y=floor + 18, class_="tick", text_anchor="middle")
        for value, name in names.items()
    )
    title = element(
        "text", label, x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 6, class_="axis", text_anchor="middle"
    )
    line = element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=floor, y2=floor, class_="base")
    return Markup("").join([line, *marks, title])


def _y_title(label: str) -> Markup:
    middle = (TOP + HEIGHT - BOTTOM) / 2
    return element(
        "text",
        label,
        x=12.0,
        y=middle,
        class_="axis",
        text_anchor="middle",
        transform=f"rotate(-90 12 {middle:g})",
    )


def _draw(series: Series, scale: _Scale) -> Markup:
    places = [(scale.x(x), scale.y(y)) for x, y in series.points]
    pieces = []
    if series.mark in ("line", "dashed", "faint"):
        style = f"stroke:{series.colour}"
        pieces.append(element("path", d=path(places), class_=f"line {series.mark}", style=style))
    if series.mark in ("points", "hollow") or (series.mark == "line" and len(places) <= MOST_DOTS):
        pieces += [
            _dot(series, place, value) for place, (_, value) in zip(places, series.points, strict=True)
        ]
    return Markup("").join(pieces)


def _dot(series: Series, place: tuple[float, float], value: float) -> Markup:
    hollow = series.mark == "hollow"
    style = f"stroke:{series.colour};fill:{'var(--card)' if hollow else series.colour}"
    tip = element("title", f"{series.label}: {value:.4g}")
    return element(
        "circle", tip, cx=place[0], cy=place[1], r=5.0 if hollow else 4.0, class_="dot", style=style
    )


def stacked_bars(
    bars: Sequence[Bar], *, title: str, colours: Mapping[str, str], unit: str = "", shares: bool = False
) -> Plot:
    """Horizontal bars of parts in the order of `colours`; with `shares`, every bar fills the width."""
    used = [name for name in colours if any(bar.parts.get(name, 0) > 0 for bar in bars)]
    totals = [sum(bar.parts.values()) for bar in bars]
    longest = max(totals, default=0) or 1.0
    height = len(bars) * (BAR_PX + BAR_GAP_PX) + BAR_GAP_PX
    rows = [
        _bar(
            bar,
            used,
            colours,
            top=BAR_GAP_PX + row * (BAR_PX + BAR_GAP_PX),
            full=(totals[row] if shares else longest) or 1.0,
        )
        for row, bar in enumerate(bars)
    ]
    svg = drawing(
        *rows, width=WIDTH, height=height, label=f"{title} ({unit})" if unit else title, kind="bars"
    )
    return Plot(title, svg, tuple(LegendEntry(name, colours[name], "block") for name in used))


def _bar(bar: Bar, names: Sequence[str], colours: Mapping[str, str], *, top: float, full: float) -> Markup:
    room = WIDTH - BAR_LABEL_PX - len(bar.note) * TEXT_PX - 16
    left = BAR_LABEL_PX
    pieces = [element("text", bar.label, x=left - 10, y=top + 16.5, class_="tick strong", text_anchor="end")]
    for name in names:
        value = bar.parts.get(name, 0.0)
        width = value / full * room
        if width > 0:
            pieces.append(_block(name, value, colours[name], left=left, top=top, width=width))
        left += width
    pieces.append(element("text", bar.note, x=left + 8, y=top + 16.5, class_="tick"))
    return Markup("").join(pieces)


def _block(name: str, value: float, colour: str, *, left: float, top: float, width: float) -> Markup:
    text = f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.1f}"
    tip = element("title", f"{name}: {text}")
    shown = max(width - 1.5, 0.5)  # a hair of background between neighbours
    block = element("rect", tip, x=left, y=top, width=shown, height=BAR_PX, rx=3.0, style=f"fill:{colour}")
    if len(text) * TEXT_PX + 8 > width:
        return block
    ink = f"fill:{colour.replace('--', '--on-')}"
    number = element(
        "text", text, x=left + shown / 2, y=top + 16.5, class_="inside", text_anchor="middle", style=ink
    )
    return Markup("").join([block, number])
