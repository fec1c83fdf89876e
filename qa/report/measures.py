"""The numbers of the reports, from the tables of one or several rounds.

Effort and alignment are `qa.effort` and `qa.alignment`; here they are only asked phase by phase and round
by round, and joined with what verifiers, the data set and the gate say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from qa.alignment import Alignment, align
from qa.effort import EffortSummary, summarise
from qa.metric_rows import MEAN_OBJECT
from qa.report.data import RoundReportData, RunReportData

BUCKETS = ("all", "small", "medium", "large")


@dataclass(frozen=True, slots=True)
class SameObjects:
    """The controlled comparison: phase-1 objects annotated again, so that only the way of working differs."""

    objects: int
    seconds_per_frame: float
    phase_1_seconds_per_frame: float

    @property
    def speed_up(self) -> float:
        """How many times cheaper a frame was than in phase 1."""
        return self.phase_1_seconds_per_frame / self.seconds_per_frame if self.seconds_per_frame else math.nan


@dataclass(frozen=True, slots=True)
class PhaseMeasures:
    """One column of the phase table: a phase's rounds together, or a single round."""

    phase: int
    rounds: int
    effort: EffortSummary
    speed_up: float
    same_objects: SameObjects | None
    alignment: dict[str, Alignment]
    masklets: int
    automatic: int
    retrains: int
    promotions: int


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of the masklets that one desk's verifiers judged.

    first_look: accepted as first shown (at the desk for automatic masklets: as the model made them); corrected:
    accepted after people worked on them again; unsatisfactory, rejected: by the last verdict.
    """

    judged: int
    first_look: int
    corrected: int
    unsatisfactory: int
    rejected: int
    verdicts: int

    @property
    def accepted(self) -> int:
        """Accepted in the end."""
        return self.first_look + self.corrected

    @property
    def acceptance_percent(self) -> float:
        """Accepted in the end, of all judged; NaN without any."""
        return 100 * self.accepted / self.judged if self.judged else math.nan

    @property
    def first_look_percent(self) -> float:
        """Accepted when first judged, of all judged; NaN without any."""
        return 100 * self.first_look / self.judged if self.judged else math.nan


def measure(rounds: Sequence[RoundReportData], history: Sequence[RoundReportData]) -> PhaseMeasures:
    """The measures of some rounds of one phase; `history` is all rounds, to compare with phase 1."""
    effort, annotations = effort_of(rounds)
    phase_1 = [one for one in history if one.phase == 1]
    base = summarise(*effort_of(phase_1)).seconds_per_frame
    summary = summarise(effort, annotations)
    ids = {one.round_id for one in rounds}
    gained = _newest_dataset(history, default=rounds)
    gained = gained[gained["round_id"].isin(ids)]
    return PhaseMeasures(
        phase=rounds[0].phase,
        rounds=len(rounds),
        effort=summary,
        speed_up=base / summary.seconds_per_frame if summary.seconds_per_frame else math.nan,
        same_objects=_same_objects(rounds, phase_1),
        alignment=_alignment(rounds, phase_1),
        masklets=int((gained["origin"] == "manual").sum()),
        automatic=int((gained["origin"] == "auto").sum()),
        retrains=sum(len(one.training) > 0 for one in rounds),
        promotions=sum(one.promoted for one in rounds),
    )


def measure_phases(history: Sequence[RoundReportData]) -> list[PhaseMeasures]:
    """One entry a phase that has rounds, in order."""
    phases = sorted({one.phase for one in history})
    return [measure([one for one in history if one.phase == phase], history) for phase in phases]


def effort_of(rounds: Sequence[RoundReportData]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Effort events and annotations of the rounds, one below the other."""
    return joined([one.effort for one in rounds]), joined([one.annotations for one in rounds])


def joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables one below the other, without the empty ones: their columns have no types worth keeping."""
    filled = [table for table in tables if len(table)]
    if not filled:
        return tables[0].copy() if tables else pd.DataFrame()
    return pd.concat(filled, ignore_index=True)


def outcomes(verdicts: pd.DataFrame, desk: str) -> Outcomes:
    """What became of the masklets judged at a desk, by the verdicts on their first and last revisions."""
    rows = verdicts[verdicts["desk"] == desk].sort_values(["masklet_id", "revision"], kind="stable")
    first = rows.drop_duplicates("masklet_id", keep="first").set_index("masklet_id")["verdict"]
    last = rows.drop_duplicates("masklet_id", keep="last").set_index("masklet_id")["verdict"]
    accepted_first = first == "satisfactory"
    return Outcomes(
        judged=len(last),
        first_look=int(accepted_first.sum()),
        corrected=int(((last == "satisfactory") & ~accepted_first).sum()),
        unsatisfactory=int((last == "unsatisfactory").sum()),
        rejected=int((last == "rejected").sum()),
        verdicts=len(rows),
    )


def mean_jf(metrics: pd.DataFrame, *, role: str | None = None, protocol: str | None = None) -> float | None:
    """J&F (0–100) of that role's model under that protocol (of any, if None); None if not measured."""
    rows = metrics if role is None else metrics[metrics["role"] == role]
    rows = rows if protocol is None else rows[rows["protocol"] == protocol]
    mean = rows[rows["object_id"] == MEAN_OBJECT]
    scores = (mean if len(mean) else rows)["jf"].dropna()
    return float(scores.mean()) if len(scores) else None


def deployed_jf(run: RunReportData, protocol: str) -> list[float | None]:
    """J&F of the model in use before the first round and after each; what was not measured keeps the last value."""
    champions = [mean_jf(one.metrics, role="champion", protocol=protocol) for one in run.rounds]
    measured = [mean_jf(run.baseline, protocol=protocol), *champions]
    values = [next((score for score in measured if score is not None), None)]
    for one, champion in zip(run.rounds, champions, strict=True):
        challenger = mean_jf(one.metrics, role="challenger", protocol=protocol)
        score = challenger if one.promoted else champion
        values.append(values[-1] if score is None else score)
    return values


def protocols(tables: Sequence[pd.DataFrame]) -> list[str]:
    """Protocols by which models were evaluated, sorted, clicks after masks; role `base` is no model."""
    models = [table[table["role"] != "base"] for table in tables]
    names = {str(name) for table in models for name in table["protocol"].dropna().unique()}
    return sorted(names, key=lambda name: ("click" in name, name))


def _newest_dataset(history: Sequence[RoundReportData], default: Sequence[RoundReportData]) -> pd.DataFrame:
    versions = [one.dataset for one in [*default, *history] if len(one.dataset)]
    return versions[-1] if versions else default[0].dataset


def _alignment(rounds: Sequence[RoundReportData], phase_1: Sequence[RoundReportData]) -> dict[str, Alignment]:
    if rounds[0].phase == 1 or not phase_1:
        return {}
    scores = align(effort_of(rounds)[1], effort_of(phase_1)[1])
    return {score.bucket: score for score in scores}


def _same_objects(
    rounds: Sequence[RoundReportData], phase_1: Sequence[RoundReportData]
) -> SameObjects | None:
    """Cost of the control objects here and in phase 1; None when none was annotated in both."""
    effort, annotations = effort_of(rounds)
    effort_1, annotations_1 = effort_of(phase_1)
    if rounds[0].phase == 1 or not len(annotations) or not len(annotations_1):
        return None
    plan = joined([one.plan for one in rounds])
    control = set(plan.loc[plan["reason"] == "control", "masklet_id"])
    again = annotations[annotations["masklet_id"].isin(control)]
    objects = set(_objects(again)) & set(_objects(annotations_1))
    if not objects:
        return None
    now = _cost(effort, again[_objects(again).isin(objects)])
    then = _cost(effort_1, annotations_1[_objects(annotations_1).isin(objects)])
    return SameObjects(len(objects), now, then)


def _objects(annotations: pd.DataFrame) -> pd.Series[str]:
    return annotations["video_id"].astype(str) + "/" + annotations["object_id"].astype(str)


def _cost(effort: pd.DataFrame, annotations: pd.DataFrame) -> float:
    events = effort[effort["masklet_id"].isin(annotations["masklet_id"])]
    return summarise(events, annotations).seconds_per_frame
