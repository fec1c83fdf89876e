"""Which masklets a report shows: a few that stand for the rest, always the same ones for the same tables."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from qa.report.data import RoundReportData
from qa.report.filmstrip import Shot, pick_frames
from storage.masks import Rle, area, decode

ACCEPTED = "satisfactory"


@dataclass(frozen=True, slots=True)
class Choice:
    """One masklet revision to show, the verdict on it, and why this one."""

    masklet_id: str
    revision: int
    video_id: str
    verdict: str
    reason: str
    why: str
    bad_range: tuple[int, int] | None
    rows: pd.DataFrame
    """Its frames: columns frame, height, width, counts, edited, clicks."""

    @property
    def edited_frames(self) -> int:
        """Frames a person edited."""
        return int(self.rows["edited"].sum())


def accepted(data: RoundReportData, *, most: int) -> list[Choice]:
    """Accepted masklets made by people: the typical one, the one that took most edits, then others evenly.

    Automatic masklets that people had to correct are among them.
    """
    made = _judged(data, "annotation", ACCEPTED)
    corrected = [one for one in _judged(data, "auto", ACCEPTED) if one.revision > 0]
    return _choose(made + corrected, most=most, measure="edited", extreme="most edited frames")


def not_accepted(data: RoundReportData, *, most: int) -> list[Choice]:
    """Masklets that verifiers sent back or rejected, rejected ones first."""
    rejected = _judged(data, "annotation", "rejected")
    sent_back = _judged(data, "annotation", "unsatisfactory")
    chosen = _choose(rejected, most=max(1, most // 2), measure="area", extreme="largest")
    return chosen + _choose(sent_back, most=most - len(chosen), measure="area", extreme="largest")


def automatic(data: RoundReportData, *, most: int) -> list[Choice]:
    """Accepted masklets that the model found by itself: the typical and the largest one, then others."""
    found = [one for one in _judged(data, "auto", ACCEPTED) if one.revision == 0]
    return _choose(found, most=most, measure="area", extreme="largest")


def failed_automatic(data: RoundReportData, *, most: int) -> list[Choice]:
    """Masklets the model found by itself and verifiers did not accept."""
    failed = _judged(data, "auto", "unsatisfactory") + _judged(data, "auto", "rejected")
    failed = [one for one in failed if one.revision == 0]
    return _choose(failed, most=most, measure="area", extreme="largest")


def shots(choice: Choice) -> list[Shot]:
    """The frames of the masklet worth showing: edited ones and those marked wrong are preferred."""
    rows = {int(row["frame"]): row for row in choice.rows.to_dict("records")}
    low, high = choice.bad_range or (1, 0)
    notable = [frame for frame, row in rows.items() if row["edited"] or low <= frame <= high]
    return [
        Shot(
            frame=frame,
            masks={0: decode(_rle(rows[frame]))},
            edited=bool(rows[frame]["edited"]),
            flagged=low <= frame <= high,
        )
        for frame in pick_frames(list(rows), keep=notable)
    ]


def _rle(row: Mapping[Hashable, Any]) -> Rle:
    return Rle(int(row["height"]), int(row["width"]), str(row["counts"]))


def _judged(data: RoundReportData, desk: str, verdict: str) -> list[Choice]:
    """Every masklet revision with that verdict at that desk, whose masks are at hand, by masklet id.

    With several verdicts on one revision, the last verifier's row stands for it.
    """
    verdicts = data.verdicts[(data.verdicts["desk"] == desk) & (data.verdicts["verdict"] == verdict)]
    last = verdicts.drop_duplicates(["masklet_id", "revision"], keep="last")
    found = [_choice(data, row) for row in last.sort_values(["masklet_id", "revision"]).to_dict("records")]
    return [one for one in found if len(one.rows)]


def _choice(data: RoundReportData, verdict: Mapping[Hashable, Any]) -> Choice:
    masklet_id, revision = str(verdict["masklet_id"]), int(verdict["revision"])
    rows = _masks(data, masklet_id, revision)
    marked = pd.notna(verdict["bad_from"]) and pd.notna(verdict["bad_to"])
    return Choice(
        masklet_id=masklet_id,
        revision=revision,
        video_id=str(rows["video_id"].iloc[0]) if len(rows) else "",
        verdict=str(verdict["verdict"]),
        reason=str(verdict["reason"] or ""),
        why="",
        bad_range=(int(verdict["bad_from"]), int(verdict["bad_to"])) if marked else None,
        rows=rows,
    )


def _masks(data: RoundReportData, masklet_id: str, revision: int) -> pd.DataFrame:
    """The revision's frames; an automatic masklet's own masks are its revision 0."""
    made = data.annotations
    rows = made[(made["masklet_id"] == masklet_id) & (made["revision"] == revision)]
    if not len(rows):
        auto = data.auto_masklets[data.auto_masklets["masklet_id"] == masklet_id]
        rows = auto.assign(edited=False, clicks=0)
    return rows.sort_values("frame").drop_duplicates("frame", keep="last")


def _choose(candidates: Sequence[Choice], *, most: int, measure: str, extreme: str) -> list[Choice]:
    """The middle one by the measure, the highest one, then even steps; different masklets only."""
    unique = {one.masklet_id: one for one in candidates}
    ranked = sorted(unique.values(), key=lambda one: (_measure(one, measure), one.masklet_id))
    if not ranked or most < 1:
        return []
    places = [(len(ranked) - 1) // 2, len(ranked) - 1, *_halvings(len(ranked))]
    chosen = list(dict.fromkeys(places))[:most]
    middle, most_of_all = (_measure(ranked[place], measure) for place in places[:2])
    names = {0: "typical", 1: extreme} if most_of_all > middle else {}
    return [replace(ranked[place], why=names.get(order, "")) for order, place in enumerate(chosen)]


def _halvings(count: int) -> list[int]:
    """Places 0…count-1 in an order that spreads: quarters, then eighths and so on, then whatever is left."""
    places = [count * part // pieces for pieces in (4, 8, 16) for part in range(pieces)]
    return [*places, *range(count)]


def _measure(choice: Choice, measure: str) -> float:
    if measure == "edited":
        return float(choice.edited_frames)
    return float(max(area(_rle(row)) for row in choice.rows.to_dict("records")))
