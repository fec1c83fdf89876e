"""Reference masks: the known truth of a video, for simulated people and for evaluation only.

Nothing that helps an annotator or trains a model may read them. A video's references have versions, of which the
newest counts; a version never changes, so that a round can be judged on the one it began with.

references/<id>.parquet              the first version
references/<id>/<number>.parquet     those that replaced it: 0002, 0003, …
references/<id>/<number>.json        where a version came from, who brought it and when (Provenance), if it is known
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from storage.commits import canonical_json
from storage.errors import ManifestError, ObjectNotFound
from storage.manifests import rows_to_table
from storage.masks import Rle
from storage.objects import ObjectStore
from storage.schemas import SCHEMAS

__all__ = ["Provenance", "ReferenceMasks", "References", "number_of"]

ReferenceMasks = dict[int, dict[int, Rle]]
"""Object id → source frame → mask."""

_FIRST = re.compile(r"references/([^/]+)\.parquet")
_LATER = re.compile(r"references/([^/]+)/(\d{4})\.parquet")


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a version came from: `origin` in words, who brought it, and when (UTC, ISO 8601)."""

    origin: str
    by: str
    at: str


class References:
    """Reference masks by video id."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def has(self, video_id: str) -> bool:
        """Whether the video has reference masks."""
        return self._store.exists(_key(video_id))

    def newest(self) -> dict[str, str]:
        """The key of the newest version of every video that has references, by video id."""
        return _newest(self._store.list("references/"))

    def key(self, video_id: str) -> str:
        """The key of the video's newest version, or of its first if it has none yet."""
        return _newest((_key(video_id), *self._store.list(f"references/{video_id}/")))[video_id]

    def write(self, video_id: str, masks: Mapping[int, Mapping[int, Rle]]) -> None:
        """Stores the masks of a video; storing the same again is fine, other masks for the video are
        refused.
        """
        key = _key(video_id)
        data = _to_parquet(video_id, masks)
        if not self._store.put_if_absent(key, data) and self._store.get(key) != data:
            raise ManifestError(f"{key} in {self._store.url} has other masks; replace them if they are wrong")

    def replace(self, video_id: str, masks: Mapping[int, Mapping[int, Rle]]) -> int:
        """Stores the masks as the video's newest version and returns its number; earlier versions stay.

        Masks that are those of the newest version already add none.
        """
        data = _to_parquet(video_id, masks)
        while True:
            present = self.key(video_id)
            if self._store.exists(present) and self._store.get(present) == data:
                return number_of(present)
            number = number_of(present) + 1 if self._store.exists(present) else 1
            if self._store.put_if_absent(_key(video_id, number), data):
                return number

    def read(self, video_id: str, *, key: str = "") -> ReferenceMasks:
        """Every mask of the video; source frames ascend. `key` names a version, else the newest is read.

        Raises ObjectNotFound or ManifestError (damaged).
        """
        table = self._read_table(key or self.key(video_id))
        masks: ReferenceMasks = {}
        for row in table.to_pylist():
            rle = Rle(row["height"], row["width"], row["counts"])
            masks.setdefault(row["object_id"], {})[row["frame"]] = rle
        return masks

    def describe(self, video_id: str, provenance: Provenance) -> None:
        """Says where the newest version came from; what is said first stands."""
        self._store.put_if_absent(_said_key(self.key(video_id), video_id), canonical_json(asdict(provenance)))

    def provenance(self, video_id: str) -> Provenance | None:
        """Where the newest version came from; None if nobody said. ManifestError for a damaged record."""
        key = _said_key(self.key(video_id), video_id)
        try:
            return Provenance(**json.loads(self._store.get(key)))
        except ObjectNotFound:
            return None
        except (ValueError, TypeError) as error:
            raise ManifestError(f"{key} in {self._store.url} is damaged: {error}; delete it") from error

    def _read_table(self, key: str) -> pa.Table:
        data = self._store.get(key)
        try:
            file = pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True)
            table = file.read()
        except (pa.ArrowException, OSError) as error:
            raise ManifestError(
                f"{key} in {self._store.url} is damaged ({len(data)} bytes); delete it and write it anew"
            ) from error
        if not table.schema.equals(SCHEMAS["references"], check_metadata=True):
            raise ManifestError(
                f"{key} in {self._store.url} is not a table of reference masks of this version"
            )
        return table


def number_of(key: str) -> int:
    """The number of the version under a key."""
    found = _LATER.fullmatch(key)
    return int(found[2]) if found else 1


def _newest(keys: Iterable[str]) -> dict[str, str]:
    """The key of the highest version by video id."""
    found: dict[str, str] = {}
    for key in keys:
        name = _FIRST.fullmatch(key) or _LATER.fullmatch(key)
        if name and (name[1] not in found or number_of(key) > number_of(found[name[1]])):
            found[name[1]] = key
    return found


def _key(video_id: str, number: int = 1) -> str:
    return f"references/{video_id}.parquet" if number == 1 else f"references/{video_id}/{number:04d}.parquet"


def _said_key(key: str, video_id: str) -> str:
    return f"references/{video_id}/{number_of(key):04d}.json"


def _to_parquet(video_id: str, masks: Mapping[int, Mapping[int, Rle]]) -> bytes:
    rows = [
        {
            "video_id": video_id,
            "object_id": object_id,
            "frame": frame,
            "height": rle.height,
            "width": rle.width,
            "counts": rle.counts,
        }
        for object_id, frames in sorted(masks.items())
        for frame, rle in sorted(frames.items())
    ]
    buffer = io.BytesIO()
    pq.write_table(rows_to_table("references", rows), buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()
