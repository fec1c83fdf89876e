"""Reference masks: the known truth of a video, for simulated people and for evaluation only.

Nothing that helps an annotator or trains a model may read them. One Parquet file a video,
``references/<id>.parquet``.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from storage.errors import ManifestError
from storage.manifests import rows_to_table
from storage.masks import Rle
from storage.objects import ObjectStore
from storage.schemas import SCHEMAS

__all__ = ["ReferenceMasks", "References"]

ReferenceMasks = dict[int, dict[int, Rle]]
"""Object id → source frame → mask."""


class References:
    """Reference masks by video id."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def has(self, video_id: str) -> bool:
        """Whether the video has reference masks."""
        return self._store.exists(_key(video_id))

    def write(self, video_id: str, masks: Mapping[int, Mapping[int, Rle]]) -> None:
        """Stores the masks of a video; storing the same again is fine, other masks for the video are
        refused.
        """
        key = _key(video_id)
        data = _to_parquet(video_id, masks)
        if not self._store.put_if_absent(key, data) and self._store.get(key) != data:
            raise ManifestError(f"{key} in {self._store.url} has other masks; delete it to replace them")

    def read(self, video_id: str) -> ReferenceMasks:
        """Every mask of the video; source frames ascend. Raises ObjectNotFound or ManifestError (damaged)."""
        key = _key(video_id)
        table = self._read_table(key)
        masks: ReferenceMasks = {}
        for row in table.to_pylist():
            rle = Rle(row["height"], row["width"], row["counts"])
            masks.setdefault(row["object_id"], {})[row["frame"]] = rle
        return masks

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


def _key(video_id: str) -> str:
    return f"references/{video_id}.parquet"


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
