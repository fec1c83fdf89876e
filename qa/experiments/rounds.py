"""Whether the loop pays: the cost of an accepted masklet and J&F by round, with retraining and without."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from qa.experiments.page import Block, Picture, Section, shown, shown_difference
from qa.experiments.plots import COLOURS, Curve, Panel, curves
from qa.experiments.statistics import Estimate, Statistic, estimate, ratio, ratio_of_ratios
from qa.report import formats
from qa.report.table import Cell, Column, Table

__all__ = ["COST_COLUMNS", "SCORE_COLUMNS", "RoundFindings", "RoundsFindings", "figure", "find", "section"]

COST_COLUMNS = (
    "arm",
    "seed",
    "round",
    "video",
    "people_s",
    "annotate_s",
    "frames",
    "accepted",
    "auto",
    "planned",
)
"""Of the table of costs, a row a video and round."""
SCORE_COLUMNS = ("arm", "seed", "round", "protocol", "object", "jf")
"""Of the table of scores: the models in use after a round; round 0 is the start."""

LOOP, STILL = "loop", "still"
NAMES = {LOOP: "with retraining", STILL: "without"}
PROTOCOL = "3-click"
TITLE = "Whether the loop pays"


@dataclass(frozen=True, slots=True)
class RoundFindings:
    """One round of one arm: people's seconds for an accepted masklet and for a frame, and J&F after it."""

    cost: Estimate
    seconds_per_frame: Estimate
    accepted: int
    auto: int
    planned: int
    jf: Mapping[str, Estimate]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        scores = {name: one.to_json() for name, one in self.jf.items()}
        counts = {"accepted": self.accepted, "auto": self.auto, "planned": self.planned}
        return {
            "seconds_per_accepted": self.cost.to_json(),
            "seconds_per_frame": self.seconds_per_frame.to_json(),
            **counts,
            "jf": scores,
        }


@dataclass(frozen=True, slots=True)
class RoundsFindings:
    """Both arms round by round, and their difference over the rounds after the first.

    relative_cost: an accepted masklet's cost with retraining by that without (below 1: the loop is cheaper).
    gain: J&F after the last round, with retraining less without. training_s: seconds of the machine for retraining,
    a round.
    """

    rounds: Mapping[tuple[str, int], RoundFindings]
    relative_cost: Estimate
    relative_by_round: Mapping[int, Estimate]
    relative_frame: Estimate
    gain: Mapping[str, Estimate]
    start: Mapping[str, Estimate]
    seeds: int
    promoted: int
    retrained: int
    training_s: float

    @property
    def pays(self) -> bool | None:
        """Whether an accepted masklet gets cheaper: yes, no, or None where the interval holds both.

        No, too, when no retrained model was let through: then both arms did the same work.
        """
        if not self.promoted:
            return False
        if self.relative_cost.high < 1:
            return True
        return False if self.relative_cost.low > 1 else None

    @property
    def verdict(self) -> str:
        """The outcome in a sentence."""
        if not self.promoted:
            return (
                f"The loop does not pay here: none of {self.retrained} retrained models passed the gate, so both arms "
                "did the same work."
            )
        one = self.relative_cost
        low, high = 100 * (one.low - 1), 100 * (one.high - 1)
        if math.isnan(one.value):
            return "Nothing was accepted in one of the arms, so what a masklet costs cannot be compared."
        change = f"{formats.signed(100 * (one.value - 1), 0)} %"
        span = (
            ""
            if math.isnan(low)
            else f" (95 % interval {formats.signed(low, 0)} … {formats.signed(high, 0)} %)"
        )
        answer = {
            True: "The loop pays",
            False: "The loop does not pay here",
            None: "Whether the loop pays cannot be told from this run",
        }[self.pays]
        gain = self.gain.get(PROTOCOL)
        ending = "" if gain is None else f"; J&F ({PROTOCOL}) of the last models by {shown_difference(gain)}"
        return (
            f"{answer}: after the first round, people's time for an accepted masklet differs by {change} from that "
            f"without retraining{span}{ending}."
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        rounds = {f"{arm}/round-{number}": one.to_json() for (arm, number), one in self.rounds.items()}
        return {
            "verdict": self.verdict,
            "pays": self.pays,
            "relative_cost": self.relative_cost.to_json(),
            "relative_cost_by_round": {str(n): one.to_json() for n, one in self.relative_by_round.items()},
            "relative_seconds_per_frame": self.relative_frame.to_json(),
            "jf_gain": {name: one.to_json() for name, one in self.gain.items()},
            "jf_start": {name: one.to_json() for name, one in self.start.items()},
            "seeds": self.seeds,
            "retrained": self.retrained,
            "promoted": self.promoted,
            "training_s_per_round": round(self.training_s, 1),
            "rounds": rounds,
        }


def find(
    costs: pd.DataFrame, scores: pd.DataFrame, *, retrained: int, promoted: int, training_s: float
) -> RoundsFindings:
    """Estimates from tables with `COST_COLUMNS` and `SCORE_COLUMNS`; clusters are a seed's videos, then objects."""
    last = int(costs["round"].max())
    later = costs[costs["round"] > 1]
    protocols = list(dict.fromkeys(scores["protocol"]))
    return RoundsFindings(
        rounds={
            (arm, number): _round(costs, scores, arm, number, protocols)
            for arm in (LOOP, STILL)
            for number in range(1, last + 1)
        },
        relative_cost=_relative(later, "people_s", "accepted"),
        relative_by_round={
            number: one
            for number in range(1, last + 1)
            if not math.isnan(
                (one := _relative(costs[costs["round"] == number], "people_s", "accepted")).value
            )
        },
        relative_frame=_relative(later, "annotate_s", "frames"),
        gain={name: _gain(scores, name, last) for name in protocols},
        start={name: _score(scores, LOOP, 0, name) for name in protocols},
        seeds=int(costs["seed"].nunique()),
        promoted=promoted,
        retrained=retrained,
        training_s=training_s,
    )


def figure(findings: RoundsFindings) -> Figure:
    """The picture of the comparison: cost of each arm, their ratio, and J&F."""
    last = max(number for _, number in findings.rounds)
    numbers = range(1, last + 1)
    costs, scores = [], []
    for order, arm in enumerate((LOOP, STILL)):
        points = [(float(n), findings.rounds[arm, n].cost) for n in numbers]
        costs.append(
            Curve(NAMES[arm], tuple(p for p in points if not math.isnan(p[1].value)), COLOURS[order])
        )
        jf = [
            (float(n), findings.rounds[arm, n].jf[PROTOCOL])
            for n in numbers
            if PROTOCOL in findings.rounds[arm, n].jf
        ]
        before = [(0.0, findings.start[PROTOCOL])] if PROTOCOL in findings.start else []
        scores.append(Curve(NAMES[arm], (*before, *jf), COLOURS[order]))
    relative = Curve("", tuple((float(n), one) for n, one in findings.relative_by_round.items()), COLOURS[2])
    panels = [
        Panel("What an accepted masklet costs", "seconds of people", costs, y_from=0.0),
        Panel("The same, with : without retraining", "ratio (below 1: cheaper)", [relative], level=1.0),
        Panel("How good the model in use is", f"J&F, {PROTOCOL} (0–100)", scores),
    ]
    return curves(
        panels, x_label="round", x_names={float(n): str(n) if n else "start" for n in (0, *numbers)}
    )


def section(
    findings: RoundsFindings,
    *,
    name: str = "rounds",
    title: str = TITLE,
    about: str,
    assumptions: Sequence[str],
    versions: Sequence[str],
) -> Section:
    """The experiment's part of the page."""
    training = formats.duration(findings.training_s)
    sentences = (
        about,
        f"The gate let {findings.promoted} of {findings.retrained} retrained models through. Retraining took the "
        f"machine {training} a round; no cost of people.",
    )
    return Section(
        name=name,
        title=title,
        verdict=findings.verdict,
        sentences=sentences,
        blocks=(
            Block(
                "By round",
                _table(findings),
                note="In brackets: 95 % bootstrap intervals, over a seed's videos for costs and over objects for J&F. "
                "Cost: seconds of selecting, annotating and verifying, by masklets that entered the data set (mined "
                "ones too). The gate decides by the same frozen videos on which J&F is shown.",
            ),
            Block("With retraining against without, after the first round", _answer(findings)),
        ),
        pictures=(Picture.of("Cost and J&F by round, with retraining and without", figure(findings)),),
        assumptions=tuple(assumptions),
        code_versions=tuple(versions),
    )


def _round(
    costs: pd.DataFrame, scores: pd.DataFrame, arm: str, number: int, protocols: Sequence[str]
) -> RoundFindings:
    rows = costs[(costs["arm"] == arm) & (costs["round"] == number)]
    clusters = _clusters(rows)
    return RoundFindings(
        cost=estimate(_numbers(rows, "people_s", "accepted"), clusters, ratio(0, 1)),
        seconds_per_frame=estimate(_numbers(rows, "annotate_s", "frames"), clusters, ratio(0, 1)),
        accepted=int(rows["accepted"].sum()),
        auto=int(rows["auto"].sum()),
        planned=int(rows["planned"].sum()),
        jf={name: _score(scores, arm, number, name) for name in protocols},
    )


def _relative(costs: pd.DataFrame, top: str, bottom: str) -> Estimate:
    """One arm's ratio by the other's, over clusters of all rounds of a seed's video, in both arms together."""
    if costs.empty:
        return Estimate(math.nan)
    of_arm = {
        arm: np.where((costs["arm"] == arm).to_numpy()[:, None], _numbers(costs, top, bottom), 0.0)
        for arm in (LOOP, STILL)
    }
    statistic: Statistic = ratio_of_ratios((0, 1), (2, 3))
    return estimate(np.hstack([of_arm[LOOP], of_arm[STILL]]), _clusters(costs), statistic)


def _gain(scores: pd.DataFrame, protocol: str, last: int) -> Estimate:
    rows = scores[(scores["round"] == last) & (scores["protocol"] == protocol)]
    wide = rows.pivot_table(index="object", columns="arm", values="jf")
    if LOOP not in wide or STILL not in wide:
        return Estimate(math.nan)
    return _mean((wide[LOOP] - wide[STILL]).dropna())


def _score(scores: pd.DataFrame, arm: str, number: int, protocol: str) -> Estimate:
    rows = scores[(scores["arm"] == arm) & (scores["round"] == number) & (scores["protocol"] == protocol)]
    return _mean(rows.groupby("object")["jf"].mean())


def _mean(by_object: pd.Series[float]) -> Estimate:
    if by_object.empty:
        return Estimate(math.nan)
    values = by_object.to_numpy(dtype=np.float64)
    table = np.column_stack([values, np.ones(len(values))])
    return estimate(table, [str(name) for name in by_object.index], ratio(0, 1))


def _numbers(rows: pd.DataFrame, *columns: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    return rows[list(columns)].to_numpy(dtype=np.float64)


def _clusters(rows: pd.DataFrame) -> list[tuple[int, str]]:
    return list(zip(rows["seed"].astype(int), rows["video"].astype(str), strict=True))


def _table(findings: RoundsFindings) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for number in sorted({number for _, number in findings.rounds}):
        for arm in (LOOP, STILL):
            one = findings.rounds[arm, number]
            scores = [shown(one.jf.get(name)) for name in findings.start]
            kept = f"{one.accepted} ({one.auto})"
            frame = shown(one.seconds_per_frame, 2)
            rows.append((f"{number}, {NAMES[arm]}", kept, shown(one.cost), frame, *scores))
    return Table(
        columns=(
            Column("Round", numeric=False),
            Column("Accepted (mined)"),
            Column("Seconds per accepted masklet"),
            Column("Annotator's seconds per frame"),
            *(Column("J&F after it", name) for name in findings.start),
        ),
        rows=tuple(rows),
    )


def _answer(findings: RoundsFindings) -> Table:
    answer = {True: "yes", False: "no", None: "cannot be told"}[findings.pays]
    gains = [
        (f"J&F after the last round, {name}, points", shown_difference(one))
        for name, one in findings.gain.items()
    ]
    return Table(
        columns=(Column("", numeric=False), Column("with : without")),
        rows=(
            ("Cost of an accepted masklet", shown(findings.relative_cost, 2, "×")),
            ("Annotator's seconds per frame", shown(findings.relative_frame, 2, "×")),
            *gains,
            ("Does the loop pay?", answer),
        ),
    )
