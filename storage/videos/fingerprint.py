"""What a video looks like, in a few bytes a frame: recognises copies that were encoded, scaled or cut anew.

Each hashed frame becomes 255 bits: the signs of its lowest 16x16 cosine frequencies (but the mean) around their median,
taken from a 64x64 grey picture. On street and wildlife clips a copy at a quarter of the size and H.264 quality 40,
cut at another frame, differs in 6 to 40 bits; unrelated clips, cell movies among them, differ in 80 and more.
Fingerprints are stored by version, so that a better one can be added beside the old.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from storage.commits import canonical_json
from storage.errors import VideoError

__all__ = [
    "FINGERPRINT_VERSION",
    "Fingerprint",
    "FingerprintIndex",
    "Image",
    "fingerprint",
    "fingerprint_key",
    "frames_to_hash",
]

FINGERPRINT_VERSION = 1
SAME_BITS = 60  # frames that differ in at most so many of 255 bits show the same
ENOUGH_FRAMES = 12  # two seconds at 6 frames a second: so many equal frames tie two long videos
MOST_FRAMES = 2048  # of a longer video, evenly chosen ones
FLAT = 3.0  # standard deviation of grey values below which a frame shows nothing to recognise

_SIDE, _FREQUENCIES, _WORDS = 64, 16, 4

Image = NDArray[np.uint8]
Hashes = NDArray[np.uint64]


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprint:
    """Hashes of a video's frames in time order, uint64 [F,4]; frames that show nothing have none.

    `placed` says that the video was compared with all others before it was taken in.
    """

    video_id: str
    hashes: Hashes
    placed: bool

    @property
    def key(self) -> str:
        """Where the store keeps it."""
        return fingerprint_key(self.video_id)

    def to_json(self) -> bytes:
        """Canonical JSON; hashes as 64 hex digits each."""
        words = [row.astype(">u8").tobytes().hex() for row in self.hashes]
        return canonical_json(
            {
                "version": FINGERPRINT_VERSION,
                "video_id": self.video_id,
                "placed": self.placed,
                "hashes": words,
            }
        )

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """The inverse of to_json. Raises VideoError if it is damaged or of another version."""
        try:
            value = json.loads(data)
            if value["version"] != FINGERPRINT_VERSION:
                raise VideoError(f"a fingerprint has version {value['version']}, not {FINGERPRINT_VERSION}")
            raw = b"".join(bytes.fromhex(word) for word in value["hashes"])
            hashes = np.frombuffer(raw, ">u8").astype(np.uint64).reshape(-1, _WORDS)
            return cls(str(value["video_id"]), hashes, bool(value["placed"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise VideoError(f"a fingerprint cannot be read: {error}") from error


def fingerprint_key(video_id: str) -> str:
    """Where the store keeps the fingerprint of a video."""
    return f"fingerprints/v{FINGERPRINT_VERSION}/{video_id}.json"


def frames_to_hash(frames: Sequence[int]) -> frozenset[int]:
    """Which of a video's annotated frames enter a fingerprint: all, or evenly chosen ones of a very long video."""
    if len(frames) <= MOST_FRAMES:
        return frozenset(frames)
    chosen = np.linspace(0, len(frames) - 1, MOST_FRAMES).round().astype(int)
    return frozenset(frames[position] for position in chosen)


def fingerprint(video_id: str, images: Iterable[Image], *, placed: bool) -> Fingerprint:
    """Fingerprint of frames uint8 [H,W,3] RGB in time order."""
    hashes = [found for image in images if (found := frame_hash(image)) is not None]
    table = np.stack(hashes) if hashes else np.zeros((0, _WORDS), np.uint64)
    return Fingerprint(video_id, table, placed)


def frame_hash(image: Image) -> Hashes | None:
    """255 bits as uint64 [4]; None for a frame that shows nothing."""
    grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    if float(small.std()) < FLAT:
        return None
    low = np.asarray(cv2.dct(small), np.float32)[:_FREQUENCIES, :_FREQUENCIES].ravel()[1:]
    bits = np.concatenate([low > np.median(low), [False]])
    return np.packbits(bits).view(">u8").astype(np.uint64)


class FingerprintIndex:
    """All fingerprints in one table, to be asked which videos look like a given one."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._parts: list[Hashes] = []
        self._joined: tuple[Hashes, NDArray[np.int64], NDArray[np.int64]] | None = None

    def add(self, found: Fingerprint) -> None:
        """Adds a video; one without hashes is like no other."""
        if len(found.hashes):
            self._ids.append(found.video_id)
            self._parts.append(found.hashes)
            self._joined = None

    def alike(self, wanted: Fingerprint) -> list[str]:
        """Ids of the videos that share enough frames with `wanted`, in the order they were added; not itself.

        Enough is half of the frames of the shorter of the two, or `ENOUGH_FRAMES`.
        """
        if not self._ids or not len(wanted.hashes):
            return []
        table, owners, lengths = self._table()
        mine = np.zeros(len(self._ids), np.int64)  # frames of `wanted` that each video shows too
        theirs = np.zeros(len(table), bool)  # frames of the table that `wanted` shows too
        for row in wanted.hashes:
            close = np.bitwise_count(table ^ row).sum(axis=1) <= SAME_BITS
            theirs |= close
            mine[np.unique(owners[close])] += 1
        shared = np.bincount(owners[theirs], minlength=len(self._ids))
        shorter = np.minimum(lengths, len(wanted.hashes))
        common = np.where(lengths <= len(wanted.hashes), shared, mine)
        tied = common >= np.minimum((shorter + 1) // 2, ENOUGH_FRAMES)
        return [self._ids[row] for row in np.flatnonzero(tied) if self._ids[row] != wanted.video_id]

    def _table(self) -> tuple[Hashes, NDArray[np.int64], NDArray[np.int64]]:
        """Hashes [M,4], the row of the video each belongs to [M], and frames of each video."""
        if self._joined is None:
            lengths = np.array([len(part) for part in self._parts], np.int64)
            owners = np.repeat(np.arange(len(lengths)), lengths)
            self._joined = (np.concatenate(self._parts), owners, lengths)
        return self._joined
