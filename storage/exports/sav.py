"""Export in the format of SA-V's training set, field by field and type by type as in the released files.

    <video>_manual.json             always; its lists are empty if the video has only automatic masklets
    <video>_auto.json               only if there are automatic masklets
    JPEGImages/<video>/<i>.jpg      the annotated frames by source index, on request
    videos.json                     by <video>: id, frame rate, and the source index of every annotated frame

``masklet[a][n]`` is object ``n`` on the a-th *annotated* frame; in SA-V itself that is video frame 4a, here
the a-th entry of ``annotated_frames`` in ``videos.json``. ``video_frame_count`` counts the source's frames.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from storage.exports.common import ExportMasklet, VideoNames, by_video, output_folder, write_frames
from storage.masks import Rle, area, empty
from storage.videos.library import VideoLibrary
from storage.videos.video import Video

__all__ = ["MaskletFacts", "export_sav", "masklet_facts", "size_bucket"]

_SMALL_BELOW, _MEDIUM_BELOW = 32**2, 96**2
_SPLIT_NAMES = {"train": "train", "eval": "val", "retention": "val", "kept-out": "kept-out"}


@dataclass(frozen=True, slots=True)
class MaskletFacts:
    """What SA-V's files state about a masklet, worked out from its areas."""

    size_abs: float
    """Mean area in pixels over the annotated frames where the object is visible; 0 if it never is."""
    visibility_changes: int
    """Changes between visible and absent after the first appearance."""
    first_appeared: int
    """Annotated-frame index of the first appearance; 0 if there is none."""


def export_sav(
    library: VideoLibrary, masklets: Iterable[ExportMasklet], out: Path, *, video_frames: bool
) -> int:
    """Writes the masklets (video by video) to the new or empty folder ``out``; returns their number.

    Raises ExportError if the folder holds something or a masklet does not fit its video.
    """
    names, index, written = VideoNames(), {}, 0
    with output_folder(out) as folder:
        for video, listed in by_video(masklets):
            name = names.of(video)
            index[name] = _index_entry(video)
            for origin in ("manual", "auto"):
                chosen = [masklet for masklet in listed if masklet.origin == origin]
                if chosen or origin == "manual":
                    content = json.dumps(_sav_file(video, name, origin, chosen))
                    (folder / f"{name}_{origin}.json").write_text(content, encoding="utf-8")
            if video_frames:
                write_frames(library, video, folder / "JPEGImages" / name)
            written += len(listed)
        (folder / "videos.json").write_text(json.dumps(index, indent=1, sort_keys=True), encoding="utf-8")
    return written


def masklet_facts(areas: Sequence[int]) -> MaskletFacts:
    """Facts of a masklet from its area on every annotated frame (0 where the object is absent)."""
    visible = [size for size in areas if size > 0]
    if not visible:
        return MaskletFacts(0.0, 0, 0)
    first = next(position for position, size in enumerate(areas) if size > 0)
    shown = [size > 0 for size in areas[first:]]
    changes = sum(before != after for before, after in pairwise(shown))
    return MaskletFacts(sum(visible) / len(visible), changes, first)


def size_bucket(size_abs: float) -> str:
    """``small`` below 32² pixels, ``medium`` below 96², else ``large``."""
    if size_abs < _SMALL_BELOW:
        return "small"
    return "medium" if size_abs < _MEDIUM_BELOW else "large"


def _sav_file(video: Video, name: str, origin: str, masklets: Sequence[ExportMasklet]) -> dict[str, Any]:
    columns = [_masks_in_order(masklet) for masklet in masklets]
    facts = [masklet_facts([area(rle) for rle in column]) for column in columns]
    resolution = float(video.height * video.width)
    frames = range(len(video.annotated_frames))
    return {
        "video_id": name,
        "video_duration": float(video.duration_s),
        "video_frame_count": float(video.frame_count),
        "video_height": float(video.height),
        "video_width": float(video.width),
        "video_resolution": resolution,
        "video_environment": video.extra.get("environment", ""),
        "video_split": _SPLIT_NAMES[video.split],
        "masklet": [[column[position].to_coco() for column in columns] for position in frames],
        "masklet_id": list(range(len(masklets))),
        "masklet_size_rel": [fact.size_abs / resolution for fact in facts],
        "masklet_size_abs": [fact.size_abs for fact in facts],
        "masklet_size_bucket": [size_bucket(fact.size_abs) for fact in facts],
        "masklet_visibility_changes": [fact.visibility_changes for fact in facts],
        # the released files hold floats for manual and integers for automatic masklets
        "masklet_first_appeared_frame": [
            float(fact.first_appeared) if origin == "manual" else fact.first_appeared for fact in facts
        ],
        "masklet_frame_count": [len(frames)] * len(masklets),
        "masklet_edited_frame_count": [masklet.edited_frames for masklet in masklets],
        "masklet_type": [origin] * len(masklets),
        "masklet_stability_score": _stability(video, origin, masklets),
        "masklet_num": len(masklets),
    }


def _masks_in_order(masklet: ExportMasklet) -> list[Rle]:
    """The mask on every annotated frame; absent objects are full-size masks without foreground."""
    absent = empty(masklet.video.height, masklet.video.width)
    return [masklet.masks.get(frame, absent) for frame in masklet.video.annotated_frames]


def _stability(video: Video, origin: str, masklets: Sequence[ExportMasklet]) -> list[Any]:
    """Null for each manual masklet; for automatic ones a score a frame and object, 1.0 where it is absent."""
    if origin == "manual":
        return [None] * len(masklets)
    return [[_score(masklet, frame) for masklet in masklets] for frame in video.annotated_frames]


def _score(masklet: ExportMasklet, frame: int) -> float:
    scores: Mapping[int, float] = masklet.stability or {}
    return float(scores.get(frame, 1.0))


def _index_entry(video: Video) -> dict[str, Any]:
    return {
        "video_id": video.video_id,
        "source": video.name,
        "fps": video.fps,
        "split": video.split,
        "annotated_frames": list(video.annotated_frames),
    }
