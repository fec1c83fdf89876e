"""Data sets of engine homes as training sources, beside those that `model.training.data` reads.

    home:                    the newest data set of this home
    home:/other/home         that of another home
    manifest:7               the data set that round 7 closed with, by number or id
    manifest:7?origin=manual only people's masklets (auto: only those the model found)
    manifest:KEY.parquet     a data set manifest of this home's store

Masks and frames are read when a clip is cut, so a source pickles and worker processes can draw from it. Whatever
is trained on beside a home is guarded: clips of its evaluation groups are refused, and videos from elsewhere that look
like one of its evaluation videos.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.dataset import MaskReader, latest_dataset, rows_digest
from engine.errors import RoundError
from engine.home import EngineHome, open_home
from engine.stages.base import Row, read_parts
from engine.training.leaks import ComparedVideos, forbidden_groups, refuse_leaks
from model.training.augment import AUGMENTATIONS, Augmentation
from model.training.clips import ClipSource
from model.training.data.sources import KINDS, Kind, SourceText, check_mix, parse_source, read_text
from model.training.data.videos import IndexedClips, OpenedVideo, VideoIndex
from model.training.guard import GuardedClips
from model.training.mixture import Source
from storage.commits import list_rounds, read_commit
from storage.errors import ManifestError, StoreError
from storage.manifests import read_manifest
from storage.masks import Rle, decode, is_empty
from storage.objects import open_store
from storage.videos import HeldLooks, StoredFrames, VideoLibrary

__all__ = ["ORIGINS", "DatasetVideos", "dataset_clips", "dataset_of_round", "digest_of_rows", "open_sources"]

ORIGINS = ("all", "manual", "auto")
"""Whose masklets: everybody's, people's (made or corrected by hand), or the model's own that people accepted."""


def open_sources(
    home: EngineHome | None, texts: Sequence[str], *, augmentation: Augmentation | None = None
) -> list[Source]:
    """The sources that texts name, guarded by the evaluation groups of `home` where there is one.

    `home:` and `manifest:` are understood beside the kinds of `model.training.data.sources`. `augmentation`
    replaces each kind's own. Raises TrainingError naming the source and what is wrong with it, LeakError
    where a data set holds an evaluation video.
    """
    kinds = MappingProxyType(dict(KINDS) | _engine_kinds(home))
    check_mix(texts, kinds)
    sources = [parse_source(text, augmentation=augmentation, kinds=kinds) for text in texts]
    if home is None:
        return sources
    forbidden, held = forbidden_groups(home), home.library.splits().held_looks()
    return [
        replace(source, clips=GuardedClips(_compared(source.clips, held), forbidden)) for source in sources
    ]


def _compared(clips: ClipSource, held: HeldLooks) -> ClipSource:
    """Clips of folders with their videos compared with evaluation videos; drawn ones and data sets as they are."""
    if isinstance(clips, IndexedClips):
        return IndexedClips(ComparedVideos(clips.videos, held), clips.augmentation)
    return clips


def digest_of_rows(home: EngineHome | None, texts: Sequence[str]) -> str:
    """What the data sets among the texts hold now, as a hash: `home:` means other rows after another round."""
    readers = {"home": _newest, "manifest": _of_round}
    rows: list[Row] = []
    for text in texts:
        read_rows = readers.get(re.split("[:?=]", text)[0])
        if read_rows is not None:
            rows += read_rows(home, read_text(text, _engine_kinds(home)))[1]
    return rows_digest(rows) if rows else ""


def dataset_clips(
    home: EngineHome,
    rows: Sequence[Row],
    augmentation: Augmentation | None = None,
    *,
    held: HeldLooks | None = None,
) -> ClipSource:
    """Clips of data set rows, each video opened when it is drawn; guarded by the home's evaluation groups.

    `held` is what another home keeps for evaluation, for which it trains. Raises LeakError if a row must not be
    trained on.
    """
    refuse_leaks(home, rows)
    videos: VideoIndex = DatasetVideos(home.store.url, rows)
    if held is not None:
        videos = ComparedVideos(videos, held)
    clips = IndexedClips(videos, augmentation or AUGMENTATIONS["small"])
    return GuardedClips(clips, forbidden_groups(home))


def dataset_of_round(home: EngineHome, name: str) -> list[Row]:
    """Rows of the data set that a round, named by number or id, committed. Raises RoundError if there is none."""
    for opening in list_rounds(home.store):
        if name in (opening.round_id, str(opening.number)):
            commit = read_commit(home.store, opening.round_id, "dataset")
            if commit is None:
                raise RoundError(f"Round {name} has no data set yet.")
            return list(read_parts(home, commit.files, "dataset").to_pylist())
    raise RoundError(f"There is no round {name} in {home.path}.")


class DatasetVideos:
    """Videos of data set rows. Holds the rows; masks and frames are read when a video is opened."""

    def __init__(self, store_url: str, rows: Iterable[Row]) -> None:
        self._store_url = store_url
        by_video: dict[str, list[Row]] = {}
        for row in rows:
            wanted = {name: row[name] for name in ("masklet_id", "revision", "masks_key")}
            by_video.setdefault(row["video_id"], []).append(wanted)
        self._videos = sorted(by_video.items())
        self._connect()

    def __len__(self) -> int:
        return len(self._videos)

    def __getstate__(self) -> dict[str, Any]:
        return {"_store_url": self._store_url, "_videos": self._videos}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._store_url, self._videos = state["_store_url"], state["_videos"]
        self._connect()

    def open(self, index: int) -> OpenedVideo:
        """Reads the masks of a video's masklets. Raises VideoError, ManifestError or StoreError."""
        video_id, rows = self._videos[index]
        frames = self._library.frames(self._library.get(video_id))
        return _DatasetVideo(self._library, frames, [self._reader.masks(row) for row in rows])

    def _connect(self) -> None:
        store = open_store(self._store_url)
        self._library, self._reader = VideoLibrary(store), MaskReader(store)


class _DatasetVideo:
    """A video of the library with accepted masklets, by source frame."""

    def __init__(
        self, library: VideoLibrary, frames: StoredFrames, masklets: Sequence[dict[int, Rle]]
    ) -> None:
        self.name, self.group = frames.video.name, frames.video.group
        self._library, self._frames, self._masklets = library, frames, masklets

    def __len__(self) -> int:
        return len(self._frames)

    def image(self, position: int) -> npt.NDArray[np.uint8]:
        return self._frames[position]

    def visible(self, position: int) -> list[int]:
        masks = [self._rle(index, position) for index in range(len(self._masklets))]
        return [index for index, rle in enumerate(masks) if rle is not None and not is_empty(rle)]

    def mask(self, index: int, position: int) -> npt.NDArray[np.bool_] | None:
        rle = self._rle(index, position)
        return None if rle is None else decode(rle)

    def rest(self) -> None:
        self._frames = self._library.frames(self._frames.video)  # a fresh one has no frames in memory

    def _rle(self, index: int, position: int) -> Rle | None:
        return self._masklets[index].get(self._frames.video.annotated_frames[position])


def _engine_kinds(home: EngineHome | None) -> dict[str, Kind]:
    def kind(
        rows: Callable[[EngineHome | None, SourceText], tuple[EngineHome, list[Row]]], what: str
    ) -> Kind:
        return Kind(partial(_open, home, rows), what, ("origin",), augmentation="small")

    return {
        "home": kind(_newest, "the newest data set of an engine home"),
        "manifest": kind(_of_round, "the data set of a round of this home"),
    }


def _open(
    home: EngineHome | None,
    rows_of: Callable[[EngineHome | None, SourceText], tuple[EngineHome, list[Row]]],
    text: SourceText,
    augmentation: Augmentation,
) -> ClipSource:
    owner, rows = rows_of(home, text)
    origin = text.choice("origin", ORIGINS)
    chosen = [row for row in rows if origin in ("all", row["origin"])]
    if not chosen:
        among = f"; it holds {len(rows)} masklets of other origin" if rows else ""
        raise text.wrong(f"there is nothing to train on{among}")
    held = None
    if home is not None and home.store.url != owner.store.url:
        held = home.library.splits().held_looks()
    return dataset_clips(owner, chosen, augmentation, held=held)


def _newest(home: EngineHome | None, text: SourceText) -> tuple[EngineHome, list[Row]]:
    if text.place:
        owner = open_home(Path(text.place).expanduser())
    elif home is not None:
        owner = home
    else:
        raise text.wrong("there is no engine home here; write home:/path")
    return owner, latest_dataset(owner)


def _of_round(home: EngineHome | None, text: SourceText) -> tuple[EngineHome, list[Row]]:
    if home is None:
        raise text.wrong("there is no engine home here")
    try:
        if text.place.endswith(".parquet"):
            return home, list(read_manifest(home.store, text.place).to_pylist())
        return home, dataset_of_round(home, text.place)
    except (ManifestError, RoundError, StoreError) as error:
        raise text.wrong(str(error).rstrip(".")) from error
