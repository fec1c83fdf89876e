"""The Arrow schema of every manifest: what the stages hand to each other, in one place.

Frames are always indices into the *source* video. A mask is three columns, ``height``, ``width`` and
``counts`` (COCO RLE, see :mod:`storage.masks`). Every schema carries its name and version as metadata, and
has a sort key: rows of equal content always make equal files. Optional columns are nullable; the others
must be there. No column holds wall-clock time (effort is counted from the start of a work session), so that
a round that was killed and resumed writes the same bytes as one that was not.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import pyarrow as pa

__all__ = ["ADDED_LATER", "SCHEMAS", "SCHEMA_VERSION", "SORT_KEYS"]

SCHEMA_VERSION = 1

_MASK = "height:int32 width:int32 counts:string"
_SCORES = "object_score:float32? predicted_iou:float32? stability:float32?"

_COLUMNS = {
    # what a round sets out to do: one row a masklet to be made
    "plan": (
        "round_id:string masklet_id:string video_id:string object_id:int32 phase:int8 reason:string "
        "first_frame:int32 x:float64 y:float64 x0:float64? y0:float64? x1:float64? y1:float64? "
        "name:string seed:int64"
    ),
    # the videos a round takes on and how many objects are to be selected in each
    "chosen": "round_id:string video_id:string wanted:int32",
    # what the model offers before a person looks
    "prelabels": f"masklet_id:string video_id:string object_id:int32 frame:int32 {_MASK} {_SCORES}",
    # what people submitted; a revision never changes once written
    "annotations": (
        f"masklet_id:string revision:int32 video_id:string object_id:int32 frame:int32 {_MASK} area:int64 "
        "edited:bool clicks:int32 origin:string annotator:string phase:int8 locked:bool occluded:bool?"
    ),
    # every act of a person, in seconds since that work session began
    "effort": (
        "event_id:string round_id:string masklet_id:string revision:int32 actor:string role:string "
        "kind:string frame:int32? x:float64? y:float64? positive:bool? at_s:float64 duration_s:float64"
    ),
    # one row a verifier and masklet revision; bad_from..bad_to are source frames, both inclusive
    "verdicts": (
        "masklet_id:string revision:int32 verifier:string verdict:string reason:string bad_from:int32? "
        "bad_to:int32? duration_s:float64 desk:string"
    ),
    # what the model found by itself; grid is the level of the prompt grid: 0 = 32x32, 1 = 16x16, 2 = 4x4
    "auto_masklets": (
        f"masklet_id:string video_id:string object_id:int32 frame:int32 {_MASK} {_SCORES} "
        "point_x:float64 point_y:float64 grid:int8"
    ),
    # one whole version of the data set: every accepted masklet, with the manifest that holds its frames
    "dataset": (
        "masklet_id:string revision:int32 video_id:string object_id:int32 round_id:string phase:int8 "
        "origin:string split:string group:string first_frame:int32 frames_visible:int32 edited_frames:int32 "
        "mean_area:float64 masks_key:string masks_sha256:string"
    ),
    # one row a logged training step
    "training": (
        "step:int64 split:string loss:float64 loss_mask:float64? loss_dice:float64? loss_iou:float64? "
        "loss_class:float64? lr:float64? grad_norm:float64?"
    ),
    # J, F and their mean in 0..100 a video and object; object_id -1 is the mean over objects. suite is null for the
    # frozen evaluation set; seconds are a simulated annotator's for the masklet. Role gate: differences, challenger
    # minus champion (role floor: minus role start, the home's first weights), with the interval of what was judged
    # (seconds if given, else jf), what is allowed, the verdict
    "metrics": (
        "round_id:string role:string checkpoint_hash:string protocol:string video_id:string object_id:int32 "
        "j:float64 f:float64 jf:float64 frames:int32 "
        "suite:string? seconds:float64? low:float64? high:float64? allowed:float64? verdict:string?"
    ),
    # reference masks, which only simulated people and evaluation may read
    "references": f"video_id:string object_id:int32 frame:int32 {_MASK}",
}

SORT_KEYS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "plan": ("video_id", "masklet_id"),
        "chosen": ("video_id",),
        "prelabels": ("video_id", "masklet_id", "frame"),
        "annotations": ("masklet_id", "revision", "frame"),
        "effort": ("masklet_id", "revision", "actor", "at_s", "event_id"),
        "verdicts": ("masklet_id", "revision", "verifier"),
        "auto_masklets": ("video_id", "masklet_id", "frame"),
        "dataset": ("video_id", "masklet_id", "revision"),
        "training": ("step", "split"),
        "metrics": ("role", "protocol", "video_id", "object_id"),
        "references": ("video_id", "object_id", "frame"),
    }
)
"""Columns by which the rows of each manifest are sorted before they are written."""

ADDED_LATER: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "annotations": ("occluded",),
        "metrics": ("suite", "seconds", "low", "high", "allowed", "verdict"),
    }
)
"""Nullable columns at the end of a schema that older files do not have: there, they are read as null."""

_TYPES: Mapping[str, pa.DataType] = {
    "string": pa.string(),
    "bool": pa.bool_(),
    "int8": pa.int8(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
}


def _schema(name: str, columns: str) -> pa.Schema:
    """Reads ``column:type`` words; a ``?`` after the type makes the column nullable."""
    fields = []
    for word in columns.split():
        column, _, kind = word.partition(":")
        fields.append(pa.field(column, _TYPES[kind.rstrip("?")], nullable=kind.endswith("?")))
    return pa.schema(fields, metadata={"schema": name, "schema_version": str(SCHEMA_VERSION)})


SCHEMAS: Mapping[str, pa.Schema] = MappingProxyType(
    {name: _schema(name, cols) for name, cols in _COLUMNS.items()}
)
"""Arrow schema by manifest name; the metadata holds ``schema`` and ``schema_version``."""
