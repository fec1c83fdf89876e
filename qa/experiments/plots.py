"""Plots of the experiments, drawn with matplotlib: points with their intervals, on white, in the reports' colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qa.experiments.statistics import Estimate

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#94a0ae")
"""Okabe and Ito's, as in the reports."""
INK, SOFT, LINE = "#17202c", "#6a7788", "#e1e6ec"
WIDTH_IN, HEIGHT_IN, DPI = 6.0, 3.4, 150
LEGEND_ROOM = 0.12
"""What a legend needs of the height."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Estimates at places on the x axis, joined by a line."""

    label: str
    points: tuple[tuple[float, Estimate], ...]
    colour: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot beside others. y_from: where the y axis starts; level: a dashed line to compare with."""

    title: str
    y_label: str
    curves: Sequence[Curve]
    y_from: float | None = None
    level: float | None = None


def curves(panels: Sequence[Panel], *, x_label: str, x_names: Mapping[float, str]) -> Figure:
    """Panels side by side, all over the same named places."""
    width = WIDTH_IN * (1.0 if len(panels) < 3 else 0.8)
    figure = Figure(figsize=(width * len(panels), HEIGHT_IN), dpi=DPI, layout="constrained")
    for axes, panel in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        for order, curve in enumerate(panel.curves):
            _draw(axes, curve, shift=(order - (len(panel.curves) - 1) / 2) * 0.06)
        _dress(axes, title=panel.title, x_label=x_label, y_label=panel.y_label)
        axes.set_xticks(list(x_names), list(x_names.values()))
        if panel.level is not None:
            axes.axhline(panel.level, color=SOFT, linestyle="--", linewidth=1)
        if panel.y_from is not None:
            axes.set_ylim(bottom=panel.y_from)
        if any(curve.label for curve in panel.curves):
            _legend_above(axes, columns=len(panel.curves))
    return figure


def _legend_above(axes: Axes, *, columns: int) -> None:
    """A legend over everything drawn: `best` places know nothing of whiskers."""
    low, high = axes.get_ylim()
    axes.set_ylim(top=high + LEGEND_ROOM * (high - low))
    axes.legend(loc="upper left", ncols=columns, frameon=False, fontsize=9)


def bars(
    bars_of: Mapping[str, Estimate], *, y_label: str, marks: Mapping[str, float], mark_label: str
) -> Figure:
    """A bar with its interval for each name, and where given a mark of what others found."""
    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    for place, (name, estimate) in enumerate(bars_of.items()):
        axes.bar(place, estimate.value, width=0.55, color=COLOURS[0], alpha=0.85)
        _whisker(axes, place, estimate, INK)
        if name in marks:
            label = mark_label if place == min(list(bars_of).index(key) for key in marks) else None
            axes.plot(
                place, marks[name], marker="D", color=COLOURS[5], linestyle="none", label=label, zorder=4
            )
    axes.set_xticks(range(len(bars_of)), list(bars_of))
    _dress(axes, title="", x_label="", y_label=y_label)
    if marks:
        axes.legend(frameon=False, fontsize=9)
    return figure


def paired_lines(table: Mapping[str, Sequence[float]], *, y_label: str) -> Figure:
    """One thin line an object through the names, on a logarithmic axis: where it gets cheaper, and where not."""
    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    values = np.array(list(table.values()), dtype=float)  # arms, objects
    axes.plot(range(len(table)), np.maximum(values, 1e-3), color=COLOURS[0], alpha=0.35, linewidth=1)
    axes.set_yscale("log")
    axes.set_xticks(range(len(table)), list(table))
    _dress(axes, title="", x_label="", y_label=y_label)
    return figure


def _draw(axes: Axes, curve: Curve, *, shift: float) -> None:
    places = [x + shift for x, _ in curve.points]
    axes.plot(
        places,
        [estimate.value for _, estimate in curve.points],
        color=curve.colour,
        marker="o",
        markersize=6,
        label=curve.label or None,
        zorder=3,
    )
    for place, (_, estimate) in zip(places, curve.points, strict=True):
        _whisker(axes, place, estimate, curve.colour)


def _whisker(axes: Axes, place: float, estimate: Estimate, colour: str) -> None:
    if np.isfinite([estimate.low, estimate.high]).all():
        axes.plot([place, place], [estimate.low, estimate.high], color=colour, linewidth=1.4, zorder=3)


def _dress(axes: Axes, *, title: str, x_label: str, y_label: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, color=INK, fontweight="bold")
    axes.set_xlabel(x_label, color=SOFT, fontsize=9.5)
    axes.set_ylabel(y_label, color=SOFT, fontsize=9.5)
    axes.grid(axis="y", color=LINE, zorder=0)
    axes.set_axisbelow(True)
    axes.tick_params(colors=SOFT, labelsize=9)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(LINE)
