"""What must not be trained on: masklets of videos that judge models, or that belong to their groups.

A row of a data set is judged by its video as the library knows it now, not by what the row says of it: a manifest may
have been altered, or written before the split. A video that was never taken in has names of its own, which tell nothing
here: it is judged by what it looks like.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from engine.home import EngineHome
from engine.stages.base import Row
from model.errors import ClipError, LeakError
from model.training.mae.pictures import Pictures
from storage.videos import HeldLooks, Video, frames_to_hash

if TYPE_CHECKING:
    from model.training.data.videos import OpenedVideo, VideoIndex

__all__ = ["ComparedVideos", "LeakError", "forbidden_groups", "left_out", "refuse_leaks"]


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


class ComparedVideos:
    """Videos from outside a home, each compared with those it keeps for evaluation when it is first opened."""

    def __init__(self, videos: VideoIndex, held: HeldLooks) -> None:
        self._videos, self._held = videos, held
        self._passed: set[int] = set()

    def __len__(self) -> int:
        return len(self._videos)

    def open(self, index: int) -> OpenedVideo:
        """The video. Raises LeakError if it looks like an evaluation video, ClipError if it cannot be read."""
        video = self._videos.open(index)
        if index not in self._passed:
            alike = self._held.alike(_frames(video))
            video.rest()
            if alike:
                raise _looks_like(f"Video {video.name}", alike[0])
            self._passed.add(index)
        return video


class ComparedPictures:
    """Pictures from outside a home, each compared with the videos it keeps for evaluation when first drawn."""

    def __init__(self, pictures: Pictures, held: HeldLooks) -> None:
        self._pictures, self._held = pictures, held
        self._passed: set[int] = set()

    def __len__(self) -> int:
        return len(self._pictures)

    def picture(
        self, index: int, rng: np.random.Generator, *, size: int
    ) -> tuple[npt.NDArray[np.uint8], str]:
        """The picture. Raises LeakError if it looks like an evaluation video, ClipError if it cannot be read."""
        image, name = self._pictures.picture(index, rng, size=size)
        if index not in self._passed:
            alike = self._held.alike([image])
            if alike:
                raise _looks_like(f"Picture {name}", alike[0])
            self._passed.add(index)
        return image, name


def _looks_like(what: str, held: str) -> LeakError:
    return LeakError(
        f"{what} looks like {held}, which is kept for evaluation; training on it would make every later score "
        "worthless. Take it out of what is trained on."
    )


def _frames(video: OpenedVideo) -> Iterator[npt.NDArray[np.uint8]]:
    """The annotated frames that enter a fingerprint; a damaged one tells nothing."""
    for position in sorted(frames_to_hash(range(len(video)))):
        try:
            yield video.image(position)
        except ClipError:
            continue
