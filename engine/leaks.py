"""What must not be trained on: masklets of videos that judge models, or that belong to their groups.

A row of a data set is judged by its video as the library knows it now, not by what the row says of it: a manifest may
have been altered, or written before the split.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from engine.home import EngineHome
from engine.stages.base import Row
from model.errors import LeakError
from storage.videos import Video

__all__ = ["LeakError", "forbidden_groups", "left_out", "refuse_leaks"]


def forbidden_groups(home: EngineHome) -> frozenset[str]:
    """Groups that are never trained on: those of evaluation and retention videos and all that is one with them."""
    return home.library.splits().evaluation_groups()


def left_out(home: EngineHome) -> dict[str, str]:
    """Training videos of an older home that turned out to be tied to an evaluation video → why, by video id.

    They are neither planned nor kept in the data set any more.
    """
    return home.library.splits().leaks()


def refuse_leaks(home: EngineHome, rows: Iterable[Row]) -> None:
    """Raises LeakError at the first data set row that must not be trained on, naming masklet, video and reason."""
    forbidden, late = forbidden_groups(home), left_out(home)
    videos: dict[str, Video] = {}
    for row in rows:
        if row["video_id"] not in videos:
            videos[row["video_id"]] = home.library.get(row["video_id"])
        video = videos[row["video_id"]]
        why = late.get(video.video_id) or _why_not(row, video, forbidden)
        if why:
            raise LeakError(
                f"Masklet {row['masklet_id']} of video {video.name} must not be trained on: {why}. "
                "Train on a data set without it; `engine doctor` looks for more."
            )


def _why_not(row: Row, video: Video, forbidden: Collection[str]) -> str:
    """Why the row must not be trained on; empty if it may."""
    if video.split != "train":
        return f"the split of its video is {video.split}"
    if video.group in forbidden:
        return f"its group {video.group} is kept for evaluation"
    if row["split"] != video.split or row["group"] != video.group:
        return (
            f"its manifest, which was altered, says {row['split']}, group {row['group']}; "
            f"its video is {video.split}, group {video.group}"
        )
    return ""
