"""What the phases cost: estimates from one row a masklet, the paper's table 1 beside them, and what is to be said."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qa.experiments.page import Block, Picture, Section, shown
from qa.experiments.plots import bars, paired_lines
from qa.experiments.statistics import Estimate, Statistic, estimate, ratio, ratio_of_ratios
from qa.metrics import SIZE_BUCKETS
from qa.report import formats
from qa.report.gallery import Group
from qa.report.paper import CITATION, PAPER
from qa.report.table import Cell, Column, Table

__all__ = ["COLUMNS", "ArmFindings", "PhasesFindings", "find", "section"]

Floats = NDArray[np.float64]

COLUMNS = (
    "arm",
    "seed",
    "object",
    "kind",
    "frames",
    "annotation_s",
    "verification_s",
    "edited_percent",
    "clicks",
    "clicked_frames",
    "first_look",
    "bucket",
    "masks",
    "aligned",
    "true_iou",
    "seen_frames",
)
"""Of the table of masklets. object: video and number, the cluster. true_iou: summed over `seen_frames`."""

REFERENCE = "phase-1"
BUCKETS = ("all", *SIZE_BUCKETS)
LABELS: Mapping[str, str] = {
    "phase-1": "Phase 1: SAM",
    "phase-2": "Phase 2: SAM + SAM 2 Mask",
    "phase-3": "Phase 3: SAM 2",
    "phase-2-start": "Phase 2, untrained helper",
    "phase-3-start": "Phase 3, untrained helper",
}
EXPECTED_SPEED_UP = 5.0
_SUMS = (
    "masklets",
    "frames",
    "annotation_s",
    "verification_s",
    "edited_percent",
    "clicks",
    "clicked_frames",
    "first_look",
    "true_iou",
    "seen_frames",
)


@dataclass(frozen=True, slots=True)
class ArmFindings:
    """One protocol: what a frame costs, how often people edit and click, and how good the masks are."""

    arm: str
    phase: int
    masklets: int
    seconds_per_frame: Estimate
    speed_up: Estimate
    typical_speed_up: Estimate
    edited_percent: Estimate
    clicks_per_clicked_frame: Estimate
    alignment: Mapping[str, Estimate]
    first_look_percent: Estimate
    true_iou_percent: Estimate
    verify_seconds: Estimate
    speed_up_by_kind: Mapping[str, Estimate]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        names = (
            "seconds_per_frame",
            "speed_up",
            "typical_speed_up",
            "edited_percent",
            "clicks_per_clicked_frame",
            "first_look_percent",
        )
        plain = {
            name: getattr(self, name).to_json() for name in (*names, "true_iou_percent", "verify_seconds")
        }
        nested = {
            "alignment": {name: one.to_json() for name, one in self.alignment.items()},
            "speed_up_by_kind": {name: one.to_json() for name, one in self.speed_up_by_kind.items()},
        }
        return {"phase": self.phase, "masklets": self.masklets, **plain, **nested}


@dataclass(frozen=True, slots=True)
class PhasesFindings:
    """The comparison: every arm, over the same `objects` of `videos`, `seeds` times."""

    arms: Mapping[str, ArmFindings]
    objects: int
    seeds: int
    by_object: Mapping[str, Sequence[float]]

    @property
    def verdict(self) -> str:
        """The outcome in a sentence."""
        speed = self.arms["phase-3"].speed_up
        if math.isnan(speed.low):
            told = f"Phase 3 cost {formats.times(speed.value)} less a frame than phase 1"
            return f"{told} on {formats.plural(self.objects, 'object')}, too few for an interval."
        span = f"{formats.number(speed.low)} … {formats.number(speed.high)}"
        told = (
            f"Phase 3 costs {formats.times(speed.value)} less a frame than phase 1 "
            f"(95 % interval {span}; the paper 8.4×)."
        )
        if speed.low > 1:
            reach = "at least" if speed.value >= EXPECTED_SPEED_UP else "less than"
            return f"{told} That is {reach} the five times that were expected."
        return (
            f"{told} It cannot be told from no gain at all."
            if speed.high >= 1
            else f"{told} It does not pay."
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        arms = {name: arm.to_json() for name, arm in self.arms.items()}
        return {"verdict": self.verdict, "objects": self.objects, "seeds": self.seeds, "arms": arms}


def find(masklets: pd.DataFrame, phases: Mapping[str, int]) -> PhasesFindings:
    """Estimates from a table with `COLUMNS`; `phases` says each arm's phase, in the order to be shown."""
    arms = [arm for arm in phases if (masklets["arm"] == arm).any()]
    found = {arm: _arm(masklets, arm, phases[arm]) for arm in arms}
    costs = masklets.groupby(["object", "arm"])[["annotation_s", "frames"]].sum()
    per_frame = (costs["annotation_s"] / costs["frames"]).unstack("arm")
    main = [arm for arm in arms if arm in ("phase-1", "phase-2", "phase-3")]
    return PhasesFindings(
        arms=found,
        objects=masklets["object"].nunique(),
        seeds=masklets["seed"].nunique(),
        by_object={arm: [float(value) for value in per_frame[arm]] for arm in main},
    )


def section(
    findings: PhasesFindings,
    *,
    about: str,
    strips: Sequence[Group],
    assumptions: Sequence[str],
    versions: Sequence[str],
) -> Section:
    """The experiment's part of the page."""
    main = [arm for arm in findings.arms if arm in LABELS and not arm.endswith("-start")]
    extra = [arm for arm in findings.arms if arm.endswith("-start")]
    blocks = [
        Block(
            "The same objects, one protocol each, beside the paper",
            _table(findings, main),
            note=f"In brackets: 95 % cluster-bootstrap interval over {findings.objects} objects, the same in every "
            f"column. {CITATION} Alignment: share of masks with IoU above 0.75 to the phase-1 mask of the same object "
            "and frame, by the object's area where it first appears (32², 96² px). Typical: the "
            "geometric mean over objects.",
            kind="phases",
        ),
        Block("By kind of video: speed-up over phase 1", _kinds(findings)),
    ]
    if extra:
        blocks.append(
            Block(
                "What training the helpers changed",
                _trained(findings, extra),
                about="The same protocols, with the helpers as they were before they were trained on phase-1 masklets.",
            )
        )
    return Section(
        name="phases",
        title="What the phases cost",
        verdict=findings.verdict,
        sentences=(about,),
        blocks=tuple(blocks),
        pictures=_pictures(findings, main),
        strips=tuple(strips),
        assumptions=tuple(assumptions),
        code_versions=tuple(versions),
    )


def _arm(masklets: pd.DataFrame, arm: str, phase: int) -> ArmFindings:
    wide, clusters = _wide(masklets, [REFERENCE, arm])
    place = {name: (index, index + len(_SUMS)) for index, name in enumerate(_SUMS)}

    def of(statistic: Statistic) -> Estimate:
        return estimate(wide, clusters, statistic)

    def mine(top: str, bottom: str) -> Estimate:
        return of(ratio(place[top][1], place[bottom][1]))

    own = masklets[masklets["arm"] == arm]
    seconds, frames = place["annotation_s"], place["frames"]
    speed_up = ratio_of_ratios((seconds[0], frames[0]), (seconds[1], frames[1]))
    return ArmFindings(
        arm=arm,
        phase=phase,
        masklets=len(own),
        seconds_per_frame=mine("annotation_s", "frames"),
        speed_up=of(speed_up),
        typical_speed_up=_typical(wide, clusters, place),
        edited_percent=mine("edited_percent", "masklets"),
        clicks_per_clicked_frame=mine("clicks", "clicked_frames"),
        alignment={} if arm == REFERENCE else _alignment(own),
        first_look_percent=_hundred(mine("first_look", "masklets")),
        true_iou_percent=_hundred(mine("true_iou", "seen_frames")),
        verify_seconds=mine("verification_s", "masklets"),
        speed_up_by_kind={
            str(kind): estimate(*_wide(rows, [REFERENCE, arm]), speed_up)
            for kind, rows in masklets.groupby("kind")
            if (rows["arm"] == arm).any()
        },
    )


def _typical(wide: Floats, clusters: Sequence[str], place: Mapping[str, tuple[int, int]]) -> Estimate:
    """The geometric mean of objects' speed-ups: hard objects, which cost most, count no more than others."""
    seconds, frames = wide[:, place["annotation_s"]], wide[:, place["frames"]]
    per_frame = np.maximum(seconds, 1e-3) / frames
    logs = np.log(per_frame[:, 0] / per_frame[:, 1])
    mean = ratio(0, 1)
    return estimate(np.column_stack([logs, np.ones_like(logs)]), clusters, lambda sums: np.exp(mean(sums)))


def _wide(masklets: pd.DataFrame, arms: Sequence[str]) -> tuple[Floats, list[str]]:
    """One row an object: the sums of the first arm, then of the second; objects that both have."""
    table = masklets.assign(masklets=1)
    first, second = (table[table["arm"] == arm].groupby("object")[list(_SUMS)].sum() for arm in arms)
    joined = first.join(second.add_suffix("_second"), how="inner")
    return joined.to_numpy(dtype=np.float64), [str(name) for name in joined.index]


def _alignment(rows: pd.DataFrame) -> dict[str, Estimate]:
    """Percent of masks aligned with phase 1, by size; an object's size is that in phase 1."""
    found = {}
    for bucket in BUCKETS:
        part = rows if bucket == "all" else rows[rows["bucket"] == bucket]
        if part["masks"].sum():
            sums = part[["aligned", "masks"]].to_numpy(dtype=np.float64)
            found[bucket] = _hundred(estimate(sums, list(part["object"]), ratio(0, 1)))
    return found


def _hundred(one: Estimate) -> Estimate:
    return Estimate(100 * one.value, 100 * one.low, 100 * one.high, one.clusters)


def _table(findings: PhasesFindings, arms: Sequence[str]) -> Table:
    f = formats
    rows: list[tuple[str, list[tuple[str, str]]]] = [
        ("Seconds per frame", [_pair(findings, arm, "seconds_per_frame", 2) for arm in arms]),
        ("Speed-up over phase 1", [_pair(findings, arm, "speed_up", 1, "×") for arm in arms]),
        (
            "… of a typical object",
            [(shown(findings.arms[arm].typical_speed_up, 1, "×"), f.NOT_AVAILABLE) for arm in arms],
        ),
        ("Edited frames, %", [_pair(findings, arm, "edited_percent", 1) for arm in arms]),
        ("Clicks per clicked frame", [_pair(findings, arm, "clicks_per_clicked_frame", 2) for arm in arms]),
    ]
    for bucket in BUCKETS:
        name = "Alignment to phase 1, %" if bucket == "all" else f"… {bucket} objects"
        pairs = []
        for arm in arms:
            one = findings.arms[arm]
            published = PAPER[one.phase].alignment.get(bucket)
            pairs.append((shown(one.alignment.get(bucket), 1), f.number(published)))
        rows.append((name, pairs))
    for name, attribute in (
        ("IoU with the truth, %", "true_iou_percent"),
        ("Accepted at first look, %", "first_look_percent"),
        ("Verifier's seconds per masklet", "verify_seconds"),
    ):
        rows.append(
            (name, [(shown(getattr(findings.arms[arm], attribute), 1), f.NOT_AVAILABLE) for arm in arms])
        )
    body: list[tuple[Cell, ...]] = [
        (name, *(cell for pair in pairs for cell in pair)) for name, pairs in rows
    ]
    return Table(
        columns=(Column("", numeric=False), *((Column("ours"), Column("paper")) * len(arms))),
        rows=tuple(body),
        groups=(("", "", 1), *((LABELS[arm], "", 2) for arm in arms)),
        minor_rows=frozenset(order for order, row in enumerate(body) if str(row[0]).startswith("…")),
    )


def _pair(findings: PhasesFindings, arm: str, attribute: str, digits: int, unit: str = "") -> tuple[str, str]:
    one = findings.arms[arm]
    published = float(getattr(PAPER[one.phase], attribute))
    return shown(getattr(one, attribute), digits, unit), f"{formats.number(published, digits)}{unit}"


def _kinds(findings: PhasesFindings) -> Table:
    arms = [arm for arm in findings.arms if arm != REFERENCE]
    kinds = sorted({kind for arm in arms for kind in findings.arms[arm].speed_up_by_kind})
    return Table(
        columns=(Column("", numeric=False), *(Column(LABELS[arm]) for arm in arms)),
        rows=tuple(
            (kind, *(shown(findings.arms[arm].speed_up_by_kind.get(kind), 1, "×") for arm in arms))
            for kind in kinds
        ),
    )


def _trained(findings: PhasesFindings, arms: Sequence[str]) -> Table:
    pairs = [(arm.removesuffix("-start"), arm) for arm in arms]
    named = (("Seconds per frame", "seconds_per_frame", 2), ("Speed-up over phase 1", "speed_up", 1))
    measures = (
        *named,
        ("Edited frames, %", "edited_percent", 1),
        ("IoU with the truth, %", "true_iou_percent", 1),
    )
    return Table(
        columns=(
            Column("", numeric=False),
            *(Column(label) for pair in pairs for label in (LABELS[pair[0]], LABELS[pair[1]])),
        ),
        rows=tuple(
            (name, *(shown(getattr(findings.arms[arm], attribute), digits) for pair in pairs for arm in pair))
            for name, attribute, digits in measures
        ),
    )


def _pictures(findings: PhasesFindings, arms: Sequence[str]) -> tuple[Picture, ...]:
    speed = {f"phase {findings.arms[arm].phase}": findings.arms[arm].speed_up for arm in arms}
    published = {
        f"phase {findings.arms[arm].phase}": PAPER[findings.arms[arm].phase].speed_up for arm in arms
    }
    by_object = {arm.replace("-", " "): values for arm, values in findings.by_object.items()}
    faster = bars(
        speed,
        y_label="times",
        marks=published,
        mark_label="paper, with people",
    )
    lines = paired_lines(by_object, y_label="seconds per frame")
    return (
        Picture.of("How much cheaper a frame is than in phase 1", faster),
        Picture.of("Seconds per frame of every object, one line each", lines),
    )
