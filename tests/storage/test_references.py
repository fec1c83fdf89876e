"""Reference masks: what was written is read; nothing is overwritten; damage is named."""

from __future__ import annotations

import numpy as np
import pytest

from storage import masks
from storage.errors import ManifestError, ObjectNotFound
from storage.objects import ObjectStore
from storage.references import References

DOT = masks.encode(np.eye(4, dtype=bool))
MASKS = {2: {8: DOT, 0: masks.empty(4, 4)}, 1: {4: DOT}}


def test_masks_come_back_by_object_and_frame(store: ObjectStore):
    references = References(store)
    assert not references.has("v")
    references.write("v", MASKS)
    references.write("v", MASKS)
    assert references.has("v")
    assert references.read("v") == MASKS
    assert list(references.read("v")[2]) == [0, 8]


def test_other_masks_for_the_video_are_refused(store: ObjectStore):
    References(store).write("v", MASKS)
    with pytest.raises(ManifestError, match=r"references/v\.parquet .* has other masks"):
        References(store).write("v", {1: {4: DOT}})


def test_damage_and_absence_are_named(store: ObjectStore):
    with pytest.raises(ObjectNotFound, match=r"references/v\.parquet"):
        References(store).read("v")
    References(store).write("v", MASKS)
    data = store.get("references/v.parquet")
    store.put("references/v.parquet", data[: len(data) // 2])
    with pytest.raises(ManifestError, match=r"references/v\.parquet .* is damaged"):
        References(store).read("v")
