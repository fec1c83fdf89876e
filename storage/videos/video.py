"""The record of one video: what it is, where its frames stand in time, and which of them are annotated."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from storage.commits import canonical_json
from storage.errors import VideoError

__all__ = ["EVALUATION_SPLITS", "KEPT_OUT", "Video"]

_FORMAT = 1
_KINDS = ("video", "images", "stack")
_FORMATS = ("jpg", "png")
EVALUATION_SPLITS = ("eval", "retention")
"""Splits that only judge: the frozen evaluation set, and what a new model must not have forgotten."""
KEPT_OUT = "kept-out"
"""The split of a video that would tie both sides together: neither trained on nor scored."""
_SPLITS = ("train", *EVALUATION_SPLITS, KEPT_OUT)
_HEX = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class Video:
    """A video that was taken into the library; it never changes.

    ``height`` and ``width`` are of the upright frame in pixels; ``rotation`` (degrees counter-clockwise)
    was applied already. ``pts[i]`` is the presentation time of source frame ``i`` in units of ``time_base``
    seconds (numerator, denominator). ``group`` names what must not be torn apart by a split (a person, a
    place, a culture dish). ``annotated_frames`` are ascending source indices; only these are stored, as
    ``image_format``.
    """

    video_id: str
    name: str
    content_hash: str
    source: str
    kind: str
    height: int
    width: int
    frame_count: int
    fps: float
    duration_s: float
    rotation: int
    codec: str
    pts: tuple[int, ...]
    time_base: tuple[int, int]
    annotated_frames: tuple[int, ...]
    image_format: str
    split: str
    group: str
    extra: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for wrong, why in self._problems():
            if wrong:
                raise VideoError(f"video {self.name!r}: {why}")

    def _problems(self) -> list[tuple[bool, str]]:
        frames, pts = self.annotated_frames, self.pts
        inside = not frames or (frames[0] >= 0 and frames[-1] < self.frame_count)
        bad_id = not _HEX.fullmatch(self.video_id) or len(self.video_id) != 16
        return [
            (bad_id, f"the video_id must be 16 hex digits, not {self.video_id!r}"),
            (not self.content_hash.startswith(self.video_id), "video_id does not begin its content_hash"),
            (not self.name, "the name is empty"),
            (self.kind not in _KINDS, f"kind must be one of {_KINDS}, not {self.kind!r}"),
            (self.height < 1 or self.width < 1, f"bad frame size {self.height}x{self.width}"),
            (self.frame_count < 1, "it has no frames"),
            (len(pts) != self.frame_count, f"{len(pts)} time stamps for {self.frame_count} frames"),
            (not _ascending(pts), "time stamps must ascend"),
            (not (math.isfinite(self.fps) and self.fps > 0), f"bad frame rate {self.fps}"),
            (len(self.time_base) != 2 or min(self.time_base) < 1, f"bad time base {self.time_base}"),
            (not frames or not _ascending(frames) or not inside, "annotated frames must ascend within it"),
            (self.image_format not in _FORMATS, f"image_format must be one of {_FORMATS}"),
            (self.split not in _SPLITS, f"the split must be one of {_SPLITS}, not {self.split!r}"),
            (not self.group, "the group is empty"),
        ]

    def frame_key(self, index: int) -> str:
        """Where the store keeps an annotated source frame."""
        return f"frames/{self.video_id}/{index:05d}.{self.image_format}"

    def position(self, index: int) -> int:
        """Session position of an annotated source frame. Raises VideoError if the frame is not annotated."""
        try:
            return self.annotated_frames.index(index)
        except ValueError:
            raise VideoError(
                f"frame {index} of {self.name!r} is not an annotated frame; the nearest is "
                f"{min(self.annotated_frames, key=lambda frame: abs(frame - index))}"
            ) from None

    def to_json(self) -> bytes:
        """Canonical JSON of every field, with a format number."""
        return canonical_json(asdict(self) | {"extra": dict(self.extra), "format": _FORMAT})

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """The inverse of to_json. Raises VideoError if a field is missing, unknown or wrong."""
        try:
            value: dict[str, Any] = json.loads(data)
            written = value.pop("format", None)
            if written != _FORMAT:
                raise VideoError(f"the video record has format {written!r}; this code reads format {_FORMAT}")
            if set(value) != {item.name for item in fields(cls)}:
                raise VideoError(f"the video record has the wrong fields: {', '.join(sorted(value))}")
            for name in ("pts", "time_base", "annotated_frames"):
                value[name] = tuple(int(item) for item in value[name])
            return cls(**value)
        except (ValueError, TypeError, AttributeError) as error:
            raise VideoError(f"the video record cannot be read: {error}") from error


def _ascending(values: tuple[int, ...]) -> bool:
    return all(a < b for a, b in itertools.pairwise(values))
