"""Reference masks of a home's own evaluation videos: bringing them in, and saying where they are missing.

Without them the gate has nothing to judge a model on. Only evaluation and retention videos take any: references of a
training video would be a truth that its annotators and the next model could be led by.
"""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from engine.errors import RoundError
from engine.home import EngineHome
from storage.errors import ImportProblem
from storage.imports import FoundMasks, find_masks, read_masks
from storage.references import Provenance, number_of
from storage.videos import EVALUATION_SPLITS, Video

__all__ = [
    "Added",
    "ReferenceState",
    "add_references",
    "missing_references",
    "reference_states",
    "unjudged_reason",
]

Result = Literal["added", "replaced", "already", "skipped", "refused"]
HINT = "engine references add FOLDER"
"""The command that brings references in."""


@dataclass(frozen=True, slots=True)
class Added:
    """What became of the masks of one video: `skipped` ones are for no evaluation video, `refused` ones are wrong."""

    video: str
    result: Result
    detail: str

    def to_json(self) -> dict[str, str]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ReferenceState:
    """The references of an evaluation or retention video; `version` is 0 where there are none."""

    video_id: str
    video: str
    split: str
    version: int
    objects: int = 0
    masks: int = 0
    origin: str = ""
    by: str = ""
    at: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def add_references(
    home: EngineHome,
    path: Path,
    *,
    video: str = "",
    replace: bool = False,
    at: datetime | None = None,
    tell: Callable[[int, int], None] | None = None,
) -> list[Added]:
    """Bring in the masks of every video that `path` holds, or of the one named (by name or id).

    `replace` makes other masks of a video its newest version; those it had stay in the store. Raises ImportProblem
    if the path holds no masks, RoundError if the named video is not there or not for evaluation.
    """
    if video:
        named = find_video(home, video)
        return [_bring(home, FoundMasks(named.name, path), named, replace=replace, at=at)]
    found = find_masks(path)
    known = _Names(home.library.videos())
    added = []
    for done, masks in enumerate(found, start=1):
        added.append(_add(home, masks, known, replace=replace, at=at))
        if tell is not None:
            tell(done, len(found))
    return added


def find_video(home: EngineHome, name: str) -> Video:
    """The evaluation or retention video of that name or id. RoundError if there is none, or several."""
    found = _Names(home.library.videos()).of(name)
    if not found:
        raise RoundError(f"There is no video {name!r}. `engine references list` names those for evaluation.")
    if len(found) > 1:
        raise RoundError(f"{_several(name, found)}; give one of these ids.")
    _check_split(found[0])
    return found[0]


def reference_states(home: EngineHome) -> list[ReferenceState]:
    """Every evaluation and retention video with what is known of its references, by split and name."""
    videos = sorted(_judging(home), key=lambda video: (video.split, video.name, video.video_id))
    newest = home.references.newest()
    return [_state(home, video, newest.get(video.video_id, "")) for video in videos]


def missing_references(home: EngineHome) -> list[Video]:
    """Evaluation and retention videos without references, which judge nothing."""
    newest = home.references.newest()
    return [video for video in _judging(home) if video.video_id not in newest]


def unjudged_reason(home: EngineHome) -> str:
    """Why no model can be judged, and what to do; empty if the evaluation set has references."""
    evaluation = [video for video in _judging(home) if video.split == "eval"]
    newest = home.references.newest()
    if any(video.video_id in newest for video in evaluation):
        return ""
    if not evaluation:
        return (
            "no video is kept for evaluation, so no model is judged or promoted: take some in with "
            f"`engine ingest PATH --eval` and give them reference masks with `{HINT}`"
        )
    count = (
        "the evaluation video has"
        if len(evaluation) == 1
        else f"the {len(evaluation)} evaluation videos have"
    )
    return f"{count} no reference masks, so no model is judged or promoted: bring them in with `{HINT}`"


def _judging(home: EngineHome) -> list[Video]:
    return [video for video in home.library.videos() if video.split in EVALUATION_SPLITS]


def _state(home: EngineHome, video: Video, key: str) -> ReferenceState:
    if not key:
        return ReferenceState(video.video_id, video.name, video.split, 0)
    masks = home.references.read(video.video_id, key=key)
    said = home.references.provenance(video.video_id) or Provenance("", "", "")
    return ReferenceState(
        video_id=video.video_id,
        video=video.name,
        split=video.split,
        version=number_of(key),
        objects=len(masks),
        masks=sum(len(frames) for frames in masks.values()),
        **asdict(said),
    )


def _add(home: EngineHome, masks: FoundMasks, known: _Names, *, replace: bool, at: datetime | None) -> Added:
    """The masks of one of many videos; what is not for evaluation is passed over and said."""
    videos = known.of(masks.video_id) if masks.video_id else known.of(masks.name)
    if not videos:
        return Added(masks.name, "skipped", "there is no video of this name; name it with --video")
    if len(videos) > 1:
        return Added(masks.name, "refused", f"{_several(masks.name, videos)}; choose one with --video ID")
    try:
        _check_split(videos[0])
    except RoundError as error:
        return Added(videos[0].name, "skipped", str(error))
    return _bring(home, masks, videos[0], replace=replace, at=at)


def _bring(home: EngineHome, masks: FoundMasks, video: Video, *, replace: bool, at: datetime | None) -> Added:
    try:
        read = read_masks(masks.path, video)
    except ImportProblem as error:
        return Added(video.name, "refused", str(error))
    counted = f"{len(read)} objects, {sum(len(frames) for frames in read.values())} masks"
    before = number_of(home.references.key(video.video_id)) if home.references.has(video.video_id) else 0
    if before and home.references.read(video.video_id) == read:
        return Added(video.name, "already", counted)
    if before and not replace:
        return Added(
            video.name, "refused", "it has other references already; --replace makes these the newest version"
        )
    number = home.references.replace(video.video_id, read)
    moment = (at or datetime.now(UTC)).isoformat(timespec="seconds")
    home.references.describe(video.video_id, Provenance(str(masks.path), getpass.getuser(), moment))
    if not before:
        return Added(video.name, "added", counted)
    return Added(video.name, "replaced", f"{counted}; version {number}, version {before} stays in the store")


def _check_split(video: Video) -> None:
    if video.split not in EVALUATION_SPLITS:
        what = "kept out" if video.split != "train" else "a training video"
        raise RoundError(
            f"{video.name} is {what}: only videos taken in with --eval or --retention have references, for what "
            "a model is judged on must not be what it learns from."
        )


class _Names:
    """Videos by id, by name, and by the name that an export gives their files."""

    def __init__(self, videos: Sequence[Video]) -> None:
        self._videos = videos

    def of(self, name: str) -> list[Video]:
        """The videos that a name may mean: by id one; of several of one name those for evaluation, if there are any."""
        by_id = [video for video in self._videos if video.video_id == name]
        named = by_id or list(self._named(name))
        judging = [video for video in named if video.split in EVALUATION_SPLITS]
        return judging or named

    def _named(self, name: str) -> Iterator[Video]:
        stems = {name, Path(name).stem}
        return (video for video in self._videos if video.name in stems)


def _several(name: str, videos: Sequence[Video]) -> str:
    listed = ", ".join(video.video_id for video in videos)
    return f"{len(videos)} videos are named {name!r}: {listed}"
