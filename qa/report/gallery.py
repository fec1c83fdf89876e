"""Filmstrips of a report: their groups, what stands over each strip, and how many fit into the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from qa.report import formats
from qa.report.choose import Choice, accepted, automatic, failed_automatic, not_accepted, shots
from qa.report.data import ExtraFilmstrip, RoundReportData, RunReportData
from qa.report.filmstrip import Filmstrip, Shot, make_filmstrip, pick_frames

PICTURE_BUDGET = 6_500_000
"""Characters of pictures in one page: with everything else it stays under 8 MB."""

MOST_ROUNDS = 6
"""Rounds of a run whose strips are shown."""

NAMELESS = ("", "object", None)
"""Names by which nobody can tell one object from another."""

_BADGES = {"satisfactory": "good", "unsatisfactory": "fair", "rejected": "poor"}


@dataclass(frozen=True, slots=True)
class Group:
    """Strips of one kind under a title; `empty` is said when there are none. left_out: for want of room."""

    title: str
    empty: str
    strips: tuple[Filmstrip, ...]
    left_out: int = 0

    @property
    def size_bytes(self) -> int:
        """Characters the pictures take in the page."""
        return sum(strip.size_bytes for strip in self.strips)


@dataclass(frozen=True, slots=True)
class Amounts:
    """How many strips of each kind to show for a round."""

    accepted: int
    not_accepted: int
    automatic: int
    failed: int


ROUND_AMOUNTS = Amounts(accepted=4, not_accepted=3, automatic=3, failed=2)
RUN_AMOUNTS = Amounts(accepted=2, not_accepted=2, automatic=1, failed=1)


def round_groups(data: RoundReportData, amounts: Amounts) -> list[Group]:
    """The groups of a round; strips are painted at once, so ask for few."""
    kinds = [
        ("Accepted masklets", _no_accepted(data), accepted(data, most=amounts.accepted)),
        (
            "Sent back or rejected",
            "No masklet was sent back or rejected in this round.",
            not_accepted(data, most=amounts.not_accepted),
        ),
        ("Automatic masklets, accepted", _no_automatic(data), automatic(data, most=amounts.automatic)),
        ("Automatic masklets, not accepted", "", failed_automatic(data, most=amounts.failed)),
    ]
    return [
        Group(title, empty, tuple(_strip(data, choice) for choice in choices))
        for title, empty, choices in kinds
        if choices or empty
    ]


def run_groups(run: RunReportData, *, taken: int = 0) -> dict[str, list[Group]]:
    """Groups of the latest rounds by round id; the newest round has first call on the room not `taken` yet."""
    shown = {one.round_id: round_groups(one, RUN_AMOUNTS) for one in run.rounds[: -MOST_ROUNDS - 1 : -1]}
    every = [group for groups in shown.values() for group in groups]
    fitted = iter(within_budget(every, PICTURE_BUDGET - taken))
    return {round_id: [next(fitted) for _ in groups] for round_id, groups in shown.items()}


def extra_groups(run: RunReportData) -> list[Group]:
    """The group of strips that belong to no round, if there are any."""
    strips = tuple(_extra(one) for one in run.extra_filmstrips)
    return within_budget([Group("", "", strips)], PICTURE_BUDGET // 2) if strips else []


def within_budget(groups: Sequence[Group], budget: int = PICTURE_BUDGET) -> list[Group]:
    """The groups without the strips that would make the page too large; later strips go first."""
    used = 0
    fitted = []
    for group in groups:
        kept = []
        for strip in group.strips:
            if used + strip.size_bytes <= budget:
                kept.append(strip)
                used += strip.size_bytes
        fitted.append(replace(group, strips=tuple(kept), left_out=len(group.strips) - len(kept)))
    return fitted


def _no_accepted(data: RoundReportData) -> str:
    if not len(data.verdicts):
        return "No masklet has been verified in this round yet."
    return "No masklet made by people was accepted in this round."


def _no_automatic(data: RoundReportData) -> str:
    if not len(data.auto_masklets):
        return "This round mined no automatic masklets."
    return "No automatic masklet was accepted in this round."


def _strip(data: RoundReportData, choice: Choice) -> Filmstrip:
    objects = dict(zip(data.plan["masklet_id"], data.plan["name"], strict=True))
    given = objects.get(choice.masklet_id, "")
    name = given if given not in NAMELESS else f"object {choice.rows['object_id'].iloc[0]}"
    return make_filmstrip(
        choice.video_id,
        shots(choice),
        data.frame,
        title=f"{name} in {data.video_names.get(choice.video_id, choice.video_id)}",
        text=" · ".join(_facts(choice)),
        badge=(choice.verdict, _BADGES.get(choice.verdict, "plain")),
    )


def _facts(choice: Choice) -> Iterator[str]:
    yield choice.masklet_id
    if choice.why:
        yield choice.why
    if choice.revision:
        yield f"revision {choice.revision}"
    yield formats.plural(len(choice.rows), "frame")
    if choice.revision:
        yield f"{choice.edited_frames} edited"
    if choice.reason and choice.verdict != "satisfactory":
        yield f"verifier: “{choice.reason}”"


def _extra(strip: ExtraFilmstrip) -> Filmstrip:
    places = {frame: place for place, frame in enumerate(strip.frame_numbers)}
    picked = [Shot(frame, strip.masks[places[frame]]) for frame in pick_frames(list(places))]
    count = len({name for masks in strip.masks for name in masks})
    return make_filmstrip(
        "",
        picked,
        lambda _, frame: strip.frames[places[frame]],
        title=strip.title,
        text=strip.text,
        badge=(formats.plural(count, "object"), "plain"),
    )
