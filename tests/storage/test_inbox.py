"""Human input: repetition changes nothing, and nothing is ever dropped."""

from __future__ import annotations

import pytest

from storage.errors import ManifestError, StoreError
from storage.inbox import Inbox
from storage.objects import ObjectStore


def test_submissions_are_kept_by_id(store: ObjectStore):
    inbox = Inbox(store)
    assert inbox.read("r1", "annotation") == {}
    assert inbox.append("r1", "annotation", "s2", {"masks": ["ü"], "n": 1.5})
    assert inbox.append("r1", "annotation", "s1", {})
    assert inbox.append("r1", "auto", "s1", {"other": "desk"})
    assert inbox.read("r1", "annotation") == {"s1": {}, "s2": {"masks": ["ü"], "n": 1.5}}


def test_repetition_changes_nothing(store: ObjectStore):
    inbox = Inbox(store)
    assert inbox.append("r1", "annotation", "s1", {"a": 1, "b": 2})
    assert not inbox.append("r1", "annotation", "s1", {"b": 2, "a": 1})
    assert inbox.read("r1", "annotation") == {"s1": {"a": 1, "b": 2}}
    assert inbox.conflicts("r1", "annotation") == {}


def test_other_content_under_a_taken_id_is_kept_aside(store: ObjectStore):
    inbox = Inbox(store)
    inbox.append("r1", "annotation", "s1", {"a": 1})
    for _ in range(2):
        assert not inbox.append("r1", "annotation", "s1", {"a": 2})
    assert not inbox.append("r1", "annotation", "s1", {"a": 3})
    assert inbox.read("r1", "annotation") == {"s1": {"a": 1}}
    assert sorted(payload["a"] for payload in inbox.conflicts("r1", "annotation").values()) == [2, 3]


def test_too_large_and_unspeakable_payloads_are_refused(store: ObjectStore):
    inbox = Inbox(store, max_bytes=100)
    with pytest.raises(ManifestError, match="111 bytes, the limit is 100"):
        inbox.append("r1", "annotation", "s1", {"a": "x" * 103})
    with pytest.raises(ManifestError, match="as JSON"):
        inbox.append("r1", "annotation", "s1", {"a": object()})
    assert list(store.list("")) == []


@pytest.mark.parametrize("name", ["", "..", "a/b", ".tmp-x"])
def test_ids_are_plain_names(store: ObjectStore, name: str):
    with pytest.raises((ManifestError, StoreError)):
        Inbox(store).append("r1", "annotation", name, {})


@pytest.mark.parametrize("data", [b'{"a":', b"[1]"])
def test_a_damaged_submission_is_named(store: ObjectStore, data: bytes):
    store.put("inbox/r1/annotation/s1.json", data)
    with pytest.raises(ManifestError, match=r"inbox/r1/annotation/s1\.json"):
        Inbox(store).read("r1", "annotation")
