"""The reports' plots: which numbers go into which picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import pandas as pd

from qa.effort import summarise
from qa.report import formats
from qa.report.data import RoundReportData, RunReportData
from qa.report.measures import deployed_jf, joined, mean_jf, outcomes, protocols
from qa.report.palette import OUTCOME_COLOURS, series_colour
from qa.report.plots import Bar, Plot, Series, line_plot, stacked_bars

KIND_COLOURS: Mapping[str, int] = MappingProxyType(
    {
        "click": 0,
        "box": 4,
        "brush": 1,
        "absent": 5,
        "locate": 2,
        "examine": 3,
        "propagate": 6,
        "submit": 5,
        "verdict": 4,
    }
)
"""Kinds of action in drawing order, each with the place of its colour."""

ORIGINS = ("phase 1", "phase 2", "phase 3", "automatic")
SMOOTH_FROM = 30  # training steps from which a running mean is drawn over the raw losses
LOSS_PARTS = ("loss_mask", "loss_dice", "loss_iou", "loss_class")


def accuracy_plots(run: RunReportData) -> list[Plot]:
    """J&F on the frozen set over the rounds, one plot a protocol: deployed model, challengers, baselines."""
    names = protocols([run.baseline, *(one.metrics for one in run.rounds)])
    return [_accuracy_plot(run, name) for name in names]


def _accuracy_plot(run: RunReportData, protocol: str) -> Plot:
    x_names = {0.0: "before", **{float(order): f"R{one.number}" for order, one in enumerate(run.rounds, 1)}}
    challengers = [mean_jf(one.metrics, role="challenger", protocol=protocol) for one in run.rounds]
    points = {order: score for order, score in enumerate(challengers, 1) if score is not None}
    won = {order for order, one in enumerate(run.rounds, 1) if one.promoted}
    in_use = {order: score for order, score in enumerate(deployed_jf(run, protocol)) if score is not None}
    copied = mean_jf(run.copy_first_mask)
    return line_plot(
        [
            Series("model in use after the round", _points(in_use, set(in_use)), series_colour(0)),
            Series("promoted", _points(points, won), series_colour(2), "points"),
            Series("not promoted", _points(points, set(points) - won), series_colour(1), "hollow"),
            Series("first mask copied", _level(copied, x_names), "var(--muted)", "dashed"),
        ],
        title=f"J&F on the frozen evaluation set, {protocol} protocol",
        x_label="round",
        y_label="J&F (0–100)",
        x_names=x_names,
    )


def _points(scores: Mapping[int, float], orders: set[int]) -> tuple[tuple[float, float], ...]:
    return tuple((float(order), score) for order, score in scores.items() if order in orders)


def _level(value: float | None, x_names: Mapping[float, str]) -> tuple[tuple[float, float], ...]:
    return () if value is None else ((min(x_names) - 0.35, value), (max(x_names) + 0.35, value))


def training_plot(data: RoundReportData) -> Plot | None:
    """Loss by step; long runs as a running mean over the pale raw values. None if the round did not train."""
    if not len(data.training):
        return None
    series = []
    for order, (split, rows) in enumerate(data.training.groupby("split", sort=True)):
        series += _loss_series(str(split), rows.sort_values("step"), "loss", series_colour(order))
    return line_plot(series, title=f"Round {data.number}: training loss", x_label="step", y_label="loss")


def loss_parts_plot(data: RoundReportData) -> Plot | None:
    """The terms of the training loss by step, smoothed; None if the round did not train."""
    if not len(data.training):
        return None
    rows = data.training[data.training["split"] == data.training["split"].iloc[0]].sort_values("step")
    parts = [name for name in LOSS_PARTS if rows[name].notna().any()]
    series = [
        _loss_series(name.removeprefix("loss_"), rows, name, series_colour(order))[-1]
        for order, name in enumerate(parts)
    ]
    return line_plot(series, title="Terms of the loss", x_label="step", y_label="loss", y_from=0)


def training_course_plots(data: RoundReportData) -> list[Plot]:
    """Learning rate, gradient norm and throughput by step: those that were recorded."""
    rows = data.training.sort_values("step")
    columns = (
        (rows, "lr", 1e6, "Learning rate", "millionths"),
        (rows, "grad_norm", 1.0, "Length of the gradient before clipping", "ℓ2 norm"),
        (data.training_speed, "throughput", 1.0, "Throughput of training", "objects a second"),
    )
    return [
        _course_plot(table, column, scale, title=title, y_label=y_label)
        for table, column, scale, title, y_label in columns
        if len(table) and table[column].notna().any()
    ]


def _course_plot(table: pd.DataFrame, column: str, scale: float, *, title: str, y_label: str) -> Plot:
    scaled = table.assign(**{column: table[column] * scale})
    series = _loss_series(column, scaled, column, series_colour(0))
    unnamed = [Series("", one.points, one.colour, one.mark) for one in series]
    return line_plot(unnamed, title=title, x_label="step", y_label=y_label, y_from=0)


def _loss_series(name: str, rows: pd.DataFrame, column: str, colour: str) -> list[Series]:
    known = rows[rows[column].notna()]
    raw = _curve(known["step"], known[column])
    if len(known) < SMOOTH_FROM:
        return [Series(name, raw, colour)]
    mean = known[column].rolling(max(5, len(known) // 15), center=True, min_periods=1).mean()
    return [Series("", raw, colour, "faint"), Series(name, _curve(known["step"], mean), colour)]


def _curve(steps: pd.Series[int], values: pd.Series[float]) -> tuple[tuple[float, float], ...]:
    return tuple((float(step), float(value)) for step, value in zip(steps, values, strict=True))


def acceptance_plot(rounds: Sequence[RoundReportData]) -> Plot | None:
    """What became of judged masklets, a bar a round and desk; None if nothing was judged."""
    bars = []
    for one in rounds:
        for desk, name in (("annotation", "people"), ("auto", "automatic")):
            result = outcomes(one.verdicts, desk)
            parts = {
                "accepted at first look": result.first_look,
                "accepted after correction": result.corrected,
                "unsatisfactory": result.unsatisfactory,
                "rejected": result.rejected,
            }
            if result.judged:
                bars.append(
                    Bar(f"R{one.number} {name}", parts, formats.percent(result.acceptance_percent, 0))
                )
    title = "What became of judged masklets"
    return stacked_bars(bars, title=title, colours=OUTCOME_COLOURS, shares=True) if bars else None


def effort_per_frame_plots(rounds: Sequence[RoundReportData]) -> list[Plot]:
    """Annotators' time per annotated frame by kind of action, in seconds and as shares, a bar a round."""
    bars = []
    for one in rounds:
        frames = summarise(one.effort, one.annotations).frames
        if frames:
            parts = {kind: value / frames for kind, value in _by_kind(one.effort, "annotator").items()}
            bars.append(Bar(f"Round {one.number}", parts, f"{formats.number(sum(parts.values()))} s"))
    if not bars:
        return []
    colours = _kind_colours(rounds)
    return [
        stacked_bars(bars, title="Annotation time per frame, in seconds", colours=colours),
        stacked_bars(
            [_in_percent(bar) for bar in bars], title="Where that time goes, in percent", colours=colours
        ),
    ]


def _in_percent(bar: Bar) -> Bar:
    total = sum(bar.parts.values()) or 1.0
    return Bar(bar.label, {name: round(100 * value / total) for name, value in bar.parts.items()})


def effort_plot(data: RoundReportData) -> Plot | None:
    """All seconds of work in a round, a bar a role, split by kind of action; None without effort."""
    roles = [role for role in ("selector", "annotator", "verifier") if (data.effort["role"] == role).any()]
    bars = []
    for role in roles:
        parts = _by_kind(data.effort, role)
        bars.append(Bar(f"{role}s", parts, formats.duration(sum(parts.values()))))
    title = "Time of people by kind of action"
    return stacked_bars(bars, title=title, unit="s", colours=_kind_colours([data])) if bars else None


def _by_kind(effort: pd.DataFrame, role: str) -> dict[str, float]:
    sums = effort[effort["role"] == role].groupby("kind")["duration_s"].sum()
    return {str(kind): float(value) for kind, value in sums.items()}


def _kind_colours(rounds: Sequence[RoundReportData]) -> dict[str, str]:
    """A colour a kind of action that took time, always the same one for the same kind."""
    events = joined([one.effort for one in rounds])
    used = set(events.loc[events["duration_s"] > 0, "kind"])
    kinds = [kind for kind in KIND_COLOURS if kind in used] + sorted(used - set(KIND_COLOURS))
    return {kind: series_colour(KIND_COLOURS.get(kind, 6)) for kind in kinds}


def dataset_plot(rounds: Sequence[RoundReportData]) -> Plot | None:
    """Masklets of the data set after each round by where they came from; None while it is empty."""
    versions = [(one, one.dataset) for one in rounds if len(one.dataset)]
    bars = [
        Bar(f"after R{one.number}", _origins(table), formats.count(len(table))) for one, table in versions
    ]
    colours = {name: series_colour(order) for order, name in enumerate(ORIGINS)}
    return stacked_bars(bars, title="Masklets in the data set", colours=colours) if bars else None


def _origins(dataset: pd.DataFrame) -> dict[str, float]:
    automatic = dataset["origin"] == "auto"
    phases = {
        f"phase {phase}": float(((dataset["phase"] == phase) & ~automatic).sum()) for phase in (1, 2, 3)
    }
    return {**phases, "automatic": float(automatic.sum())}


def stage_plot(data: RoundReportData) -> Plot | None:
    """Measured machine time by stage; None if it was not measured."""
    bars = [
        Bar(stage, {"machine time": seconds}, formats.duration(seconds))
        for stage, seconds in data.stage_seconds.items()
    ]
    colours = {"machine time": "var(--c6)"}
    return stacked_bars(bars, title="Machine time by stage", unit="s", colours=colours) if bars else None
