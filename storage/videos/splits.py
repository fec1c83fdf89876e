"""Which videos belong together, and on which side of the split a new one may stand.

Videos are tied by their group, source video, author, place, and by looking alike (see `fingerprint`); ties carry over:
who is tied to a member of a group is tied to the group. A video's side is decided once, when it is taken in, and its
record never changes:

    asked for train, tied to an evaluation group      kept out, in that group: it never trains and is never scored
    asked for eval or retention, tied to a train one  kept out: what may have been trained on cannot judge
    else                                              as asked; groups that it ties become one

A kept-out video that ties a train group to an evaluation group belongs to the evaluation group and leaves the train
group as it was. So the two sides never meet, in whatever order videos come.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from storage.errors import ObjectNotFound, VideoError
from storage.objects import ObjectStore
from storage.videos.fingerprint import Fingerprint, FingerprintIndex, Image, fingerprint, fingerprint_key
from storage.videos.video import EVALUATION_SPLITS, KEPT_OUT, Video

__all__ = ["TIES", "HeldLooks", "Placement", "SplitBook", "joined_groups"]

TIES = ("source_video", "author", "place")
"""What is said of a video, in its `extra`, that ties it to every other one of which the same is said."""

JOINS, REASON = "joins", "kept_out"
"""Keys of a video's `extra`: other groups it made one with its own (a JSON list), and why it is kept out."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a new video stands: its split, its group, further groups it joins, and why if not as asked."""

    split: str
    group: str
    joins: tuple[str, ...] = ()
    reason: str = ""

    def extra(self) -> dict[str, str]:
        """What of it a video's record keeps in `extra`."""
        found = {JOINS: json.dumps(list(self.joins))} if self.joins else {}
        return found | ({REASON: self.reason} if self.reason else {})


@dataclass(frozen=True, slots=True)
class _Tie:
    """Another video that a video is tied to, and by what, in words."""

    other: Video
    words: str


@dataclass(frozen=True, slots=True)
class HeldLooks:
    """What videos that are kept for evaluation look like, to recognise copies that were never taken in. It pickles."""

    index: FingerprintIndex
    names: Mapping[str, str]

    def alike(self, images: Iterable[Image]) -> list[str]:
        """Names of the videos that look like a video of these frames, uint8 [H,W,3] RGB in time order."""
        return [self.names[video_id] for video_id in self.index.alike(fingerprint("", images, placed=False))]


class SplitBook:
    """All videos of a store with their ties. Records never change, so only new ones are ever read.

    `read` gives the video of a record's key; `look` the fingerprint of a video that has none stored yet.
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        read: Callable[[str], Video],
        look: Callable[[Video], Fingerprint],
    ) -> None:
        self._store, self._read, self._look = store, read, look
        self._videos: dict[str, Video] = {}
        self._prints: dict[str, Fingerprint] = {}
        self._said: dict[tuple[str, str], list[str]] = {}
        self._index = FingerprintIndex()
        self._groups = _Groups()

    def refresh(self) -> None:
        """Reads what came since the last time."""
        for key in self._store.list("videos/"):
            video_id = key.removeprefix("videos/").removesuffix(".json")
            if video_id not in self._videos:
                self._add(self._read(key))

    def place(self, video: Video, found: Fingerprint) -> Placement:
        """Where a video that is about to be taken in must stand; `video` carries what was asked for."""
        self.refresh()
        ties = sorted(self._ties(video, found), key=lambda tie: (tie.other.group, tie.other.video_id))
        evaluation = self.evaluation_groups()
        held = [tie for tie in ties if tie.other.group in evaluation]
        trained = [tie for tie in ties if tie.other.group not in evaluation]
        asked = video.split in EVALUATION_SPLITS
        if held and not asked:
            return self._kept_out(video, held, "which is kept for evaluation")
        if trained and asked:
            return self._kept_out(video, trained, "which may have been trained on")
        names = list(dict.fromkeys(tie.other.group for tie in ties))
        nameless = video.group == video.content_hash and bool(names)
        own = names[0] if nameless else video.group
        return Placement(video.split, own, tuple(name for name in names if name != own))

    def _kept_out(self, video: Video, ties: Sequence[_Tie], what: str) -> Placement:
        """In the group of what it is tied to; a group first named for this video becomes one with that."""
        new = video.group != video.content_hash and not self._groups.knows(video.group)
        joins = (video.group,) if new else ()
        return Placement(KEPT_OUT, ties[0].other.group, joins, _reason(ties, what))

    def evaluation_groups(self) -> frozenset[str]:
        """Names of every group that holds an evaluation or retention video, or is one with such a group."""
        held = (video.group for video in self._videos.values() if video.split in EVALUATION_SPLITS)
        return self._groups.together(held)

    def held_looks(self) -> HeldLooks:
        """What every video of an evaluation group looks like."""
        evaluation = self.evaluation_groups()
        held = [video for video in self._videos.values() if video.group in evaluation]
        index = FingerprintIndex()
        for video in held:
            index.add(self._prints[video.video_id])
        return HeldLooks(index, {video.video_id: video.name for video in held})

    def leaks(self, *, thorough: bool = False) -> dict[str, str]:
        """Train videos that are tied to an evaluation video all the same → why, by video id.

        There is none among videos that were placed when taken in; those of older homes, which had no fingerprints,
        are compared here. `thorough` compares all again.
        """
        evaluation = self.evaluation_groups()
        found: dict[str, str] = {}
        for video_id, video in sorted(self._videos.items()):
            if video.group in evaluation and video.split == "train":
                found[video_id] = f"its group {video.group} is kept for evaluation"
            elif thorough or not self._prints[video_id].placed:
                found |= self._late_ties(video)
        return found

    def _late_ties(self, video: Video) -> Iterable[tuple[str, str]]:
        """The train one of each pair of an evaluation and a train video that are tied, with the reason."""
        pair = ("train", *EVALUATION_SPLITS)
        for tie in self._ties(video, self._prints[video.video_id]):
            sides = {video.split, tie.other.split}
            if "train" in sides and len(sides) == 2 and sides.issubset(pair):
                train, held = (video, tie.other) if video.split == "train" else (tie.other, video)
                yield train.video_id, f"it {tie.words} evaluation video {held.name}"

    def _add(self, video: Video) -> None:
        found = self._print(video)
        self._videos[video.video_id] = video
        self._prints[video.video_id] = found
        for key in _said(video):
            self._said.setdefault(key, []).append(video.video_id)
        self._index.add(found)
        self._groups.join(video.group, joined_groups(video))

    def _print(self, video: Video) -> Fingerprint:
        """The stored fingerprint; made and stored for a video that was taken in before there were any."""
        try:
            return Fingerprint.from_json(self._store.get(fingerprint_key(video.video_id)))
        except (ObjectNotFound, VideoError):
            found = self._look(video)
            self._store.put(found.key, found.to_json())
            return found

    def _ties(self, video: Video, found: Fingerprint) -> Iterator[_Tie]:
        """Every other video that this one is tied to, each once, by the strongest tie."""
        seen = {video.video_id}
        for tie in self._all_ties(video, found):
            if tie.other.video_id not in seen:
                seen.add(tie.other.video_id)
                yield tie

    def _all_ties(self, video: Video, found: Fingerprint) -> Iterator[_Tie]:
        for video_id in self._index.alike(found):
            yield _Tie(self._videos[video_id], "looks like")
        for what, value in _said(video):
            words = f"has the {what.replace('_', ' ')} {value!r} of"
            yield from (_Tie(self._videos[other], words) for other in self._said.get((what, value), ()))


class _Groups:
    """Names of groups, and which are one."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def knows(self, name: str) -> bool:
        return name in self._parent

    def join(self, name: str, others: Iterable[str]) -> None:
        for other in (name, *others):
            self._parent.setdefault(other, other)
            self._parent[self._root(other)] = self._root(name)

    def together(self, names: Iterable[str]) -> frozenset[str]:
        """Every name that is one with any of `names`."""
        roots = {self._root(name) for name in names}
        return frozenset(name for name in self._parent if self._root(name) in roots)

    def _root(self, name: str) -> str:
        while self._parent[name] != name:
            self._parent[name] = name = self._parent[self._parent[name]]
        return name


def joined_groups(video: Video) -> tuple[str, ...]:
    """Groups that a video made one with its own."""
    return tuple(str(name) for name in json.loads(video.extra.get(JOINS, "[]")))


def _said(video: Video) -> list[tuple[str, str]]:
    """(what, value) of everything said of a video that ties it, spelling evened out."""
    said = [("group", name) for name in (video.group, *joined_groups(video))]
    said += [(what, video.extra.get(what, "")) for what in TIES]
    return [(what, " ".join(value.split()).casefold()) for what, value in said if value.strip()]


def _reason(ties: Sequence[_Tie], what: str) -> str:
    others = f" and {len(ties) - 1} more" if len(ties) > 1 else ""
    return f"it {ties[0].words} video {ties[0].other.name}{others}, {what}"
