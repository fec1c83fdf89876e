"""Alignment with phase 1: do faster ways of annotating still give the masks that careful work gives?

Phase 1 draws every frame by hand and is the quality reference. The alignment score of later phases is the
share of masks whose IoU with the phase-1 mask of the same video, object and frame is above 0.75, overall and
by the size the object has where it first appears (data engine of SAM 2, table 1).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from qa.metrics import SIZE_BUCKETS, SizeBucket, size_bucket
from qa.tables import Rows, as_table
from storage import masks as rles
from storage.masks import Rle

__all__ = ["ALIGNED_IOU", "Alignment", "align", "align_by_phase"]

ALIGNED_IOU = 0.75

Bucket = SizeBucket | Literal["all"]

_BUCKETS: tuple[Bucket, ...] = ("all", *SIZE_BUCKETS)
_OBJECT = ["video_id", "object_id"]
_MASK = ["height", "width", "counts"]
_NEEDED = ["masklet_id", "revision", *_OBJECT, "frame", *_MASK]


@dataclass(frozen=True, slots=True)
class Alignment:
    """How many of `masks` compared with phase 1 are `aligned`, for objects of one size (or of all sizes)."""

    bucket: Bucket
    objects: int
    masks: int
    aligned: int

    @property
    def share(self) -> float:
        """Aligned masks in percent; NaN when none was compared."""
        return 100 * self.aligned / self.masks if self.masks else math.nan


def align(annotations: Rows, phase_1: Rows, *, threshold: float = ALIGNED_IOU) -> tuple[Alignment, ...]:
    """Compares masks with phase-1 masks of the same objects: one `Alignment` for "all" and one a size bucket.

    Both tables have the columns of the `annotations` manifest. Of several revisions or masklets of an object
    the last counts. Frames that only one table has, and frames where both say the object is absent, are not
    masks and do not count; a mask against an absence does, as not aligned.
    """
    compared = _compare(annotations, phase_1, threshold)
    return tuple(
        _summary(bucket, compared if bucket == "all" else compared[compared["bucket"] == bucket])
        for bucket in _BUCKETS
    )


def align_by_phase(annotations: Rows, *, threshold: float = ALIGNED_IOU) -> pd.DataFrame:
    """Alignment of every later phase with the phase-1 rows of the same table.

    Columns: phase, bucket, objects, masks, aligned, share (percent); empty without rows of phase 1 or later
    ones.
    """
    table = as_table(annotations, [*_NEEDED, "phase"], name="annotations")
    phase_1 = table[table["phase"] == 1]
    columns = ["phase", "bucket", "objects", "masks", "aligned", "share"]
    rows = [
        (phase, score.bucket, score.objects, score.masks, score.aligned, score.share)
        for phase in sorted(set(table["phase"]) - {1})
        for score in align(table[table["phase"] == phase], phase_1, threshold=threshold)
    ]
    return pd.DataFrame(rows if len(phase_1) else [], columns=columns)


def _compare(annotations: Rows, phase_1: Rows, threshold: float) -> pd.DataFrame:
    """One row a compared mask: video_id, object_id, bucket, aligned."""
    reference = _latest(as_table(phase_1, _NEEDED, name="phase-1 annotations"))
    both = _latest(as_table(annotations, _NEEDED, name="annotations")).merge(
        reference, on=[*_OBJECT, "frame"], suffixes=("", "_1"), validate="one_to_one"
    )
    buckets = _first_buckets(reference)
    rows = [
        (video_id, object_id, buckets[video_id, object_id], rles.iou(mask, truth) > threshold)
        for video_id, object_id, mask, truth in _pairs(both)
        if not (rles.is_empty(mask) and rles.is_empty(truth)) and (video_id, object_id) in buckets
    ]
    return pd.DataFrame(rows, columns=[*_OBJECT, "bucket", "aligned"])


def _pairs(both: pd.DataFrame) -> Iterator[tuple[str, int, Rle, Rle]]:
    columns = [*_OBJECT, *_MASK, *(f"{column}_1" for column in _MASK)]
    for video_id, object_id, *values in both[columns].itertuples(index=False, name=None):
        yield str(video_id), int(object_id), _rle(*values[:3]), _rle(*values[3:])


def _latest(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of each object's last masklet (ids sort by round) in its last revision."""
    ordered = rows.sort_values(["masklet_id", "revision"])
    last = ordered.drop_duplicates(_OBJECT, keep="last")[["masklet_id", "revision"]]
    return ordered.merge(last, on=["masklet_id", "revision"])


def _first_buckets(rows: pd.DataFrame) -> dict[tuple[str, int], SizeBucket]:
    """The size of each object on the first frame where phase 1 sees it; objects never seen are left out."""
    buckets: dict[tuple[str, int], SizeBucket] = {}
    table = rows.sort_values("frame")[[*_OBJECT, *_MASK]]
    for video_id, object_id, *mask in table.itertuples(index=False, name=None):
        key = (str(video_id), int(object_id))
        area = 0 if key in buckets else rles.area(_rle(*mask))
        if area:
            buckets[key] = size_bucket(area)
    return buckets


def _summary(bucket: Bucket, rows: pd.DataFrame) -> Alignment:
    objects = len(rows.drop_duplicates(_OBJECT))
    return Alignment(bucket, objects, len(rows), int(rows["aligned"].sum()))


def _rle(height: int, width: int, counts: str) -> Rle:
    return Rle(int(height), int(width), counts)
