"""What each phase's data is worth: J&F after equal training on more and more of it, the paper's table 2 beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from qa.experiments.page import STACKED, Block, Picture, Section, shown, shown_difference, stacked
from qa.experiments.paper import WORTH, WORTH_CITATION
from qa.experiments.plots import COLOURS, Curve, Panel, curves
from qa.experiments.statistics import Estimate, crossed_mean
from qa.report import formats
from qa.report.gallery import Group
from qa.report.table import Cell, Column, Table

__all__ = ["COLUMNS", "BASE", "DataFindings", "find", "section"]  # noqa: RUF022  in the order of use

COLUMNS = ("row", "seed", "suite", "protocol", "object", "jf")
"""Of the table of scores; the row `start` is the weights before any training, without seeds."""

START, BASE = "start", "base"
SUITES: Mapping[str, str] = {
    "colonies": "colonies, a new kind",
    "cells": "CHO, real cells",
    "drawn": "drawn, held out",
}
NAMES: Mapping[str, str] = {
    "start": "before training",
    "base": "base: drawn clips",
    "phase-1": "+ phase 1",
    "phase-2": "+ phase 2",
    "phase-3": "+ phase 3 (all by people)",
    "auto": "+ auto (people and machine)",
}
MAIN_PROTOCOL = "3-click"

Scored = tuple[str, str]
"""A suite and a protocol."""


@dataclass(frozen=True, slots=True)
class DataRow:
    """One row of the table: masklets trained on, people's seconds for them, and scores by suite and protocol."""

    name: str
    masklets: int
    people_s: float
    scores: Mapping[Scored, Estimate]
    over_base: Mapping[Scored, Estimate]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        scores = {"/".join(key): one.to_json() for key, one in self.scores.items()}
        over_base = {"/".join(key): one.to_json() for key, one in self.over_base.items()}
        return {"masklets": self.masklets, "people_s": self.people_s, "jf": scores, "jf_over_base": over_base}


@dataclass(frozen=True, slots=True)
class DataFindings:
    """The table, its rows in order, and how many trainings are behind each."""

    rows: Mapping[str, DataRow]
    seeds: int
    scored: tuple[Scored, ...]

    @property
    def verdict(self) -> str:
        """The outcome in a sentence."""
        mined = self.rows["auto"].masklets - self.rows["phase-3"].masklets
        gains = [self._told(suite) for suite, protocol in self.scored if protocol == MAIN_PROTOCOL]
        told = (
            f"What all masklets made by people change in J&F ({MAIN_PROTOCOL}), against equal training without them: "
            f"{'; '.join(gains)}."
        )
        return (
            told
            if mined
            else f"{told} No automatic masklet was accepted, so the last row repeats the one above."
        )

    def _told(self, suite: str) -> str:
        """A suite's gain in words."""
        gain = self.rows["phase-3"].over_base[suite, MAIN_PROTOCOL]
        meaning = "a gain" if gain.low > 0 else "a loss" if gain.high < 0 else "may be chance"
        return f"{SUITES[suite]} {shown_difference(gain)}, {meaning}"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        rows = {name: row.to_json() for name, row in self.rows.items()}
        return {"verdict": self.verdict, "seeds": self.seeds, "rows": rows}


def find(scores: pd.DataFrame, masklets: Mapping[str, int], people_s: Mapping[str, float]) -> DataFindings:
    """Estimates from a table with `COLUMNS`; `masklets` and `people_s` are each row's data and their cost."""
    scored = tuple(
        (suite, protocol)
        for suite in SUITES
        for protocol in (MAIN_PROTOCOL, "mask")
        if len(scores[(scores["suite"] == suite) & (scores["protocol"] == protocol)])
    )
    names = [name for name in NAMES if (scores["row"] == name).any()]
    tables = {(name, *key): _table_of(scores, name, key) for name in names for key in scored}
    rows = {
        name: DataRow(
            name=name,
            masklets=masklets.get(name, 0),
            people_s=round(people_s.get(name, 0.0), 1),
            scores={key: crossed_mean(tables[name, *key]) for key in scored},
            over_base={key: crossed_mean(tables[name, *key] - tables[BASE, *key]) for key in scored},
        )
        for name in names
    }
    return DataFindings(rows, int(scores.loc[scores["row"] == BASE, "seed"].nunique()), scored)


def section(
    findings: DataFindings,
    *,
    about: str,
    strips: Sequence[Group],
    assumptions: Sequence[str],
    versions: Sequence[str],
) -> Section:
    """The experiment's part of the page."""
    seeds = formats.plural(findings.seeds, "training")
    blocks = (
        Block(
            "J&F after equal training, beside the paper",
            _scores_table(findings),
            note=f"In brackets: 95 % bootstrap interval over objects and over {seeds} a row. {WORTH_CITATION}",
            kind=STACKED,
        ),
        Block(
            "Against the base row, paired by object and training",
            _gains_table(findings),
            note="Points of J&F. Where the interval holds 0, the data cannot be told from no data.",
            kind=STACKED,
        ),
    )
    return Section(
        name="data",
        title="What each phase's data is worth",
        verdict=findings.verdict,
        sentences=(about,),
        blocks=blocks,
        pictures=(Picture.of("J&F by training data", _plot(findings)),),
        strips=tuple(strips),
        assumptions=tuple(assumptions),
        code_versions=tuple(versions),
    )


def _table_of(scores: pd.DataFrame, name: str, key: Scored) -> np.ndarray[Any, np.dtype[np.float64]]:
    """J&F [S,N] of a row's trainings and objects."""
    rows = scores[(scores["row"] == name) & (scores["suite"] == key[0]) & (scores["protocol"] == key[1])]
    return rows.pivot(index="seed", columns="object", values="jf").to_numpy(dtype=np.float64)


def _scores_table(findings: DataFindings) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name, row in findings.rows.items():
        published = WORTH.get(name)
        paper = (
            [formats.number(value) for value in published[1:]] if published else [formats.NOT_AVAILABLE] * 2
        )
        cost = formats.duration(row.people_s) if row.people_s else formats.NOT_AVAILABLE
        mine = [stacked(shown(row.scores[key])) for key in findings.scored]
        rows.append((NAMES[name], formats.count(row.masklets), cost, *mine, *paper))
    return Table(
        columns=(
            Column("Trained on", numeric=False),
            Column("Masklets"),
            Column("People"),
            *(Column(SUITES[suite], protocol) for suite, protocol in findings.scored),
            Column("paper: SA-V val", "3-click"),
            Column("paper: 9 others", "3-click"),
        ),
        rows=tuple(rows),
    )


def _gains_table(findings: DataFindings) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (NAMES[name], *(stacked(shown_difference(row.over_base[key])) for key in findings.scored))
        for name, row in findings.rows.items()
        if name not in (START, BASE)
    ]
    return Table(
        columns=(
            Column("Trained on", numeric=False),
            *(Column(SUITES[suite], protocol) for suite, protocol in findings.scored),
        ),
        rows=tuple(rows),
    )


def _plot(findings: DataFindings) -> Any:
    names = list(findings.rows)
    x_names = {
        float(place): name.replace("phase-", "+ p").replace("auto", "+ auto")
        for place, name in enumerate(names)
    }
    panels = []
    for suite in dict.fromkeys(suite for suite, _ in findings.scored):
        shown_here = [
            Curve(
                protocol,
                tuple(
                    (float(place), findings.rows[name].scores[suite, protocol])
                    for place, name in enumerate(names)
                ),
                COLOURS[order],
            )
            for order, protocol in enumerate(one for owner, one in findings.scored if owner == suite)
        ]
        panels.append(Panel(SUITES[suite], "J&F (0–100)", shown_here))
    return curves(panels, x_label="trained on", x_names=x_names)
