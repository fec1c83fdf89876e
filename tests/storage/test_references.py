"""Reference masks: what was written is read; nothing is overwritten; damage is named."""

from __future__ import annotations

import numpy as np
import pytest

from storage import masks
from storage.errors import ManifestError, ObjectNotFound
from storage.objects import ObjectStore
from storage.references import Provenance, References, number_of

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


OTHER = {1: {4: masks.encode(np.ones((4, 4), dtype=bool))}}


def test_a_version_that_replaces_another_leaves_it_where_it_was(store: ObjectStore):
    references = References(store)
    assert references.replace("v", MASKS) == 1
    first = references.key("v")
    assert references.replace("v", MASKS) == 1
    assert references.replace("v", OTHER) == 2
    assert references.read("v") == OTHER
    assert references.read("v", key=first) == MASKS
    assert references.replace("v", MASKS) == 3 == number_of(references.key("v"))


def test_the_newest_versions_of_all_videos(store: ObjectStore):
    references = References(store)
    references.write("v", MASKS)
    references.replace("v", OTHER)
    references.write("v2", MASKS)
    references.describe("v", Provenance("a folder", "ann", "2024-01-01T00:00:00+00:00"))
    assert references.newest() == {"v": "references/v/0002.parquet", "v2": "references/v2.parquet"}


def test_where_a_version_came_from_is_said_once(store: ObjectStore):
    references = References(store)
    references.write("v", MASKS)
    assert references.provenance("v") is None
    ann = Provenance("a folder", "ann", "2024-01-01T00:00:00+00:00")
    references.describe("v", ann)
    references.describe("v", Provenance("another", "bob", "2024-01-02T00:00:00+00:00"))
    assert references.provenance("v") == ann
    references.replace("v", OTHER)
    assert references.provenance("v") is None


def test_a_damaged_record_of_where_it_came_from_is_named(store: ObjectStore):
    References(store).write("v", MASKS)
    store.put("references/v/0001.json", b"{")
    with pytest.raises(ManifestError, match=r"references/v/0001\.json .* is damaged"):
        References(store).provenance("v")
