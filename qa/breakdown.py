"""Which objects a model is good at: scores by the size of objects and by whether they disappear.

An object's size is its mean area over the scored frames that show it, with the limits of 32² and 96² pixels; how
it disappears is told by the changes between visible and absent after it first appears: none (it stays), one (it
leaves) or more (it comes back). Both are as in the released files of SA-V.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from qa.bootstrap import FEWEST_DRAWN, Drawn, drawn_by, interval
from qa.evaluation import EvaluationVideo
from qa.metric_rows import MetricRow
from qa.metrics import SIZE_BUCKETS, SizeBucket, size_bucket
from storage import masks as rles

__all__ = ["PRESENCES", "GroupScore", "ObjectKind", "breakdown", "object_kinds", "overall"]

Presence = Literal["stays", "leaves", "returns"]
PRESENCES: tuple[Presence, ...] = ("stays", "leaves", "returns")

_Object = tuple[str, int]


@dataclass(frozen=True, slots=True)
class ObjectKind:
    """What sort of object it is: its mean area in pixels where it is visible, and its visibility changes."""

    area_px: float
    visibility_changes: int

    @property
    def size(self) -> SizeBucket:
        """Its size class."""
        return size_bucket(self.area_px)

    @property
    def presence(self) -> Presence:
        """Whether it stays until the end, leaves for good or comes back."""
        return PRESENCES[min(self.visibility_changes, 2)]


@dataclass(frozen=True, slots=True)
class GroupScore:
    """Mean J, F and J&F in percent of the `objects` of a group, and a 95 % interval of J&F.

    `drawn` is what the interval was drawn over; None, and no bounds, where there was too little to draw.
    """

    group: str
    objects: int
    j: float
    f: float
    jf: float
    low: float | None
    high: float | None
    drawn: Drawn | None

    @property
    def interval_words(self) -> str:
        """The bounds and what was drawn, or that there is too little to draw."""
        if self.low is None or self.high is None:
            return f"none: fewer than {FEWEST_DRAWN} objects"
        return f"{self.low:.1f} to {self.high:.1f}, over {self.drawn}"


def object_kinds(videos: Sequence[EvaluationVideo]) -> dict[_Object, ObjectKind]:
    """The kind of every object that can be scored, by video and object id."""
    return {
        (video.video_id, object_id): _kind(video, object_id)
        for video in videos
        for object_id in video.starts()
    }


def breakdown(rows: Sequence[MetricRow], kinds: Mapping[_Object, ObjectKind]) -> list[GroupScore]:
    """Scores of all objects, then by size, then by presence; groups without an object are left out.

    `rows` are of one protocol; their mean is ignored. Intervals as of `overall`.
    """
    scored = [row for row in rows if not row.is_mean]
    groups: dict[str, list[MetricRow]] = {"all": scored}
    for name in SIZE_BUCKETS:
        groups[name] = [row for row in scored if kinds[row.video_id, row.object_id].size == name]
    for presence in PRESENCES:
        groups[presence] = [row for row in scored if kinds[row.video_id, row.object_id].presence == presence]
    return [overall(members, name) for name, members in groups.items() if members]


def overall(rows: Sequence[MetricRow], group: str = "all") -> GroupScore:
    """The mean over objects, of which there is at least one; rows of means are ignored.

    The interval is drawn over videos, as objects of one video are alike; over objects if there are too few videos; and
    there is none if there are too few objects, too (`qa.bootstrap.drawn_by`).
    """
    scored = [row for row in rows if not row.is_mean]
    j, f = np.mean([(row.j, row.f) for row in scored], axis=0)
    videos = [row.video_id for row in scored]
    drawn = drawn_by(videos)
    groups = videos if drawn == "videos" else None
    low, high = interval([row.jf for row in scored], groups=groups) if drawn else (None, None)
    return GroupScore(group, len(scored), float(j), float(f), float(j + f) / 2, low, high, drawn)


def _kind(video: EvaluationVideo, object_id: int) -> ObjectKind:
    masks = video.truth[object_id]
    areas = [rles.area(masks[frame]) if frame in masks else 0 for frame in sorted(video.scored)]
    visible = [area > 0 for area in areas]
    since = visible[visible.index(True) :]
    changes = sum(a != b for a, b in pairwise(since))
    return ObjectKind(float(np.mean([area for area in areas if area])), changes)
