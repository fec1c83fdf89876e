"""What the work of people cost: seconds a frame, edited frames, clicks, verification, from effort events.

The measures are those of table 1 of the SAM 2 paper. Every act of a person is one row of the `effort`
manifest; `annotations` says which frames came of it. All revisions of a masklet cost time, but its frames
count once: work that had to be redone makes a frame dearer. Masks without any event (imported ones) are no
work and do not count.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import pandas as pd

from qa.tables import Rows, as_table

__all__ = ["EffortSummary", "by_person", "by_phase", "by_role", "summarise"]

_EFFORT = ["round_id", "masklet_id", "revision", "actor", "role", "kind", "frame", "duration_s"]
_ANNOTATIONS = ["masklet_id", "frame", "edited", "phase"]


@dataclass(frozen=True, slots=True)
class EffortSummary:
    """The cost of some work: sums, and the ratios of the paper as properties (NaN where nothing divides).

    `masklets` were worked on by annotators and have `frames` annotated frames, `edited_percent` of which
    (mean over masklets of each one's share) a person edited in any revision. `clicks` fell on
    `clicked_frames`. `verdicts` were given on `verified_masklets`. Times are in seconds.
    """

    masklets: int
    frames: int
    edited_percent: float
    clicks: int
    clicked_frames: int
    verified_masklets: int
    verdicts: int
    selection_s: float
    annotation_s: float
    verification_s: float

    @property
    def seconds_per_frame(self) -> float:
        """Annotation time by annotated frames."""
        return _ratio(self.annotation_s, self.frames)

    @property
    def clicks_per_clicked_frame(self) -> float:
        """Clicks by frames with at least one."""
        return _ratio(self.clicks, self.clicked_frames)

    @property
    def verify_seconds_per_masklet(self) -> float:
        """Verification time by masklets judged, however often each was."""
        return _ratio(self.verification_s, self.verified_masklets)

    @property
    def frames_per_hour(self) -> float:
        """Annotated frames an hour of annotation."""
        return _ratio(3600 * self.frames, self.annotation_s)

    @property
    def masklets_per_hour(self) -> float:
        """Masklets an hour of selection, annotation and verification together."""
        return _ratio(3600 * self.masklets, self.selection_s + self.annotation_s + self.verification_s)

    def to_row(self) -> dict[str, float]:
        """All fields and ratios by name, for a table."""
        return {
            **asdict(self),
            "seconds_per_frame": self.seconds_per_frame,
            "clicks_per_clicked_frame": self.clicks_per_clicked_frame,
            "verify_seconds_per_masklet": self.verify_seconds_per_masklet,
            "frames_per_hour": self.frames_per_hour,
            "masklets_per_hour": self.masklets_per_hour,
        }


def summarise(effort: Rows, annotations: Rows) -> EffortSummary:
    """The cost of everything in `effort`, with the frames that `annotations` has for the masklets in it.

    Raises MetricError when a column of the `effort` or `annotations` manifest is missing.
    """
    return _summarise(_effort(effort), _annotations(annotations))


def by_phase(effort: Rows, annotations: Rows) -> pd.DataFrame:
    """One row a phase: phase, the fields and ratios of `EffortSummary`, and speed_up.

    `speed_up` is phase 1's seconds a frame by this phase's, NaN without phase 1. Events of a masklet without
    annotated frames belong to the phase of their round; rounds that have no annotated frame at all are left
    out.
    """
    events, masks = _effort(effort), _annotations(annotations)
    phases = _phases(events, masks)
    known = sorted(int(phase) for phase in phases.dropna().unique())
    table = _table("phase", [(phase, _summarise(events[phases == phase], masks)) for phase in known])
    base = table.loc[table["phase"] == 1, "seconds_per_frame"]
    table["speed_up"] = (base.iloc[0] if len(base) else math.nan) / table["seconds_per_frame"]
    return table


def by_person(effort: Rows, annotations: Rows) -> pd.DataFrame:
    """One row a person: actor, and the fields and ratios of `EffortSummary` for what they worked on."""
    events, masks = _effort(effort), _annotations(annotations)
    actors = sorted(events["actor"].unique())
    return _table("actor", [(actor, _summarise(events[events["actor"] == actor], masks)) for actor in actors])


def by_role(effort: Rows) -> pd.DataFrame:
    """One row a role: role, people, masklets, events, duration_s, seconds_per_masklet."""
    events = _effort(effort)
    columns = ["role", "people", "masklets", "events", "duration_s", "seconds_per_masklet"]
    rows = []
    for role in sorted(events["role"].unique()):
        part = events[events["role"] == role]
        masklets, seconds = part["masklet_id"].nunique(), float(part["duration_s"].sum())
        people = part["actor"].nunique()
        rows.append((role, people, masklets, len(part), seconds, _ratio(seconds, masklets)))
    return pd.DataFrame(rows, columns=columns)


def _summarise(events: pd.DataFrame, masks: pd.DataFrame) -> EffortSummary:
    annotation = events[events["role"] == "annotator"]
    verification = events[events["role"] == "verifier"]
    clicks = annotation[annotation["kind"] == "click"]
    done = masks[masks["masklet_id"].isin(annotation["masklet_id"])]
    verdicts = verification[["masklet_id", "revision", "actor"]]
    return EffortSummary(
        masklets=annotation["masklet_id"].nunique(),
        frames=len(done),
        edited_percent=_edited_percent(done),
        clicks=len(clicks),
        clicked_frames=len(clicks.drop_duplicates(["masklet_id", "frame"])),
        verified_masklets=verification["masklet_id"].nunique(),
        verdicts=len(verdicts.drop_duplicates()),
        selection_s=float(events.loc[events["role"] == "selector", "duration_s"].sum()),
        annotation_s=float(annotation["duration_s"].sum()),
        verification_s=float(verification["duration_s"].sum()),
    )


def _edited_percent(masks: pd.DataFrame) -> float:
    if masks.empty:
        return math.nan
    return float(100 * masks.groupby("masklet_id")["edited"].mean().mean())


def _effort(rows: Rows) -> pd.DataFrame:
    """Every act; pauses (`idle`) are none."""
    events = as_table(rows, _EFFORT, name="effort events")
    return events[events["kind"] != "idle"]


def _annotations(rows: Rows) -> pd.DataFrame:
    """One row a masklet and frame: masklet_id, frame, phase, and whether any revision edited it."""
    table = as_table(rows, _ANNOTATIONS, name="annotations")
    frames = table.groupby(["masklet_id", "frame"], as_index=False)
    return frames.agg({"edited": "max", "phase": "max"}).astype({"edited": float})


def _phases(events: pd.DataFrame, masks: pd.DataFrame) -> pd.Series[float]:
    """The phase of each event: that of its masklet, else of another masklet of its round, else NaN."""
    of_masklet = masks.drop_duplicates("masklet_id").set_index("masklet_id")["phase"]
    phases = events["masklet_id"].map(of_masklet).astype(float)
    of_round = phases.groupby(events["round_id"]).first()
    return phases.fillna(events["round_id"].map(of_round))


def _table(key: str, rows: list[tuple[object, EffortSummary]]) -> pd.DataFrame:
    columns = [key, *EffortSummary(0, 0, 0.0, 0, 0, 0, 0, 0.0, 0.0, 0.0).to_row()]
    return pd.DataFrame([{key: value, **summary.to_row()} for value, summary in rows], columns=columns)


def _ratio(amount: float, by: float) -> float:
    return amount / by if by else math.nan
