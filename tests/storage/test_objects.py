"""One contract, every kind of store; then what is particular to folders and to S3."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage.errors import ObjectNotFound, StoreError
from storage.folder import FolderStore
from storage.objects import TEMPORARY_PREFIX, ObjectStore, open_store

BAD_KEYS = [
    "",
    "/a",
    "a/",
    "a//b",
    "../a",
    "a/../b",
    "a/.",
    "a\\b",
    "a\nb",
    "x" * 1025,
    ".tmp-1/a",
    "a/.tmp-2",
]


def test_what_was_put_is_got(any_store: ObjectStore):
    assert not any_store.exists("a/b.bin")
    any_store.put("a/b.bin", b"one")
    any_store.put("a/b.bin", b"four")
    assert any_store.get("a/b.bin") == b"four"
    assert any_store.size("a/b.bin") == 4
    assert any_store.exists("a/b.bin")
    assert not any_store.exists("a")


def test_an_empty_object_is_an_object(any_store: ObjectStore):
    any_store.put("empty", b"")
    assert any_store.get("empty") == b""
    assert any_store.size("empty") == 0


def test_a_missing_object_is_named(any_store: ObjectStore):
    for read in (any_store.get, any_store.size):
        with pytest.raises(ObjectNotFound, match=r"nothing is stored at .*no/such"):
            read("no/such")
    with pytest.raises(ObjectNotFound, match="no/such"), any_store.local_copy("no/such"):
        pass


def test_put_if_absent_never_replaces(any_store: ObjectStore):
    assert any_store.put_if_absent("a/b", b"first")
    assert not any_store.put_if_absent("a/b", b"second")
    assert any_store.get("a/b") == b"first"


def test_of_eight_racing_writers_one_wins(any_store: ObjectStore):
    for turn in range(5):
        with ThreadPoolExecutor(8) as pool:
            wins = list(pool.map(lambda n, t=turn: any_store.put_if_absent(f"race/{t}", b"%d" % n), range(8)))
        assert sum(wins) == 1
        assert any_store.get(f"race/{turn}") == b"%d" % wins.index(True)


def test_a_large_file_goes_in_and_out_whole(any_store: ObjectStore, tmp_path: Path):
    data = os.urandom(20_000_000)
    (tmp_path / "big").write_bytes(data)
    any_store.put_file("some/big.bin", tmp_path / "big")
    assert any_store.size("some/big.bin") == len(data)
    with any_store.local_copy("some/big.bin") as copy:
        assert copy.suffix == ".bin"
        assert copy.read_bytes() == data


def test_list_is_sorted_and_by_string_prefix(any_store: ObjectStore):
    keys = ["a-b/1", "a.txt", "a/10", "a/2", "a/b/c", "a0", "b/1", "ä/ö"]
    for key in reversed(keys):
        any_store.put(key, b"")
    assert list(any_store.list("")) == keys
    assert list(any_store.list("a/")) == ["a/10", "a/2", "a/b/c"]
    assert list(any_store.list("a/1")) == ["a/10"]
    assert list(any_store.list("zzz/")) == []


def test_unicode_keys(any_store: ObjectStore):
    key = "videos/größe 日本 (1) + & = #?.json"
    any_store.put(key, "ß".encode())
    assert any_store.get(key) == "ß".encode()
    assert list(any_store.list("videos/")) == [key]


def test_delete_is_idempotent(any_store: ObjectStore):
    any_store.put("a/b", b"1")
    any_store.delete("a/b")
    any_store.delete("a/b")
    assert not any_store.exists("a/b")


@pytest.mark.parametrize("key", BAD_KEYS)
def test_bad_keys_are_refused_by_every_method(any_store: ObjectStore, key: str):
    for call in (any_store.get, any_store.exists, any_store.size, any_store.delete):
        with pytest.raises(StoreError, match="bad key"):
            call(key)
    with pytest.raises(StoreError, match="bad key"), any_store.local_copy(key):
        pass
    for write in (any_store.put, any_store.put_if_absent):
        with pytest.raises(StoreError, match="bad key"):
            write(key, b"")
    if key not in ("", "a/"):
        with pytest.raises(StoreError, match="bad key"):
            list(any_store.list(key))


def test_the_url_opens_the_same_store(any_store: ObjectStore):
    any_store.put("a", b"1")
    assert open_store(any_store.url).get("a") == b"1"
    assert isinstance(any_store, ObjectStore)


# -- opening ------------------------------------------------------------------------------------------------


def test_a_folder_opens_by_path_and_by_file_url(tmp_path: Path):
    open_store(tmp_path / "my store").put("a", b"1")
    assert open_store(f"file://{tmp_path}/my%20store").get("a") == b"1"
    assert open_store(str(tmp_path / "my store")).url == str(tmp_path / "my store")


def test_opening_creates_nothing(tmp_path: Path):
    store = open_store(tmp_path / "new")
    assert list(store.list("")) == []
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://host/x", "use a folder"),
        ("s3:///prefix", "needs a bucket"),
        ("s3://bucket/x?endpoint=http://h", "unknown option 'endpoint'"),
        ("s3://key:secret@bucket/x", "must not hold credentials"),
    ],
)
def test_bad_urls_say_what_is_wrong(url: str, message: str):
    with pytest.raises(StoreError, match=message):
        open_store(url)


def test_an_s3_url_keeps_its_options():
    url = "s3://bucket/a/b?endpoint_url=http%3A%2F%2Flocalhost%3A8333&region=eu-west-1"
    assert open_store(url).url == url


# -- folders ------------------------------------------------------------------------------------------------


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(f"{TEMPORARY_PREFIX}*")]


@pytest.mark.parametrize("method", ["put", "put_if_absent"])
def test_a_full_disk_is_explained_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
):
    store = FolderStore(tmp_path)
    store.put("folder/kept", b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"could not write .*folder/new: the disk is full"):
        getattr(store, method)("folder/new", b"data")
    assert list(store.list("")) == ["folder/kept"]
    assert leftovers(tmp_path) == []


def test_a_killed_write_is_never_seen(tmp_path: Path):
    store = FolderStore(tmp_path)
    store.put("folder/a", b"1")
    (tmp_path / "folder" / f"{TEMPORARY_PREFIX}0123").write_bytes(b"half")
    assert list(store.list("")) == ["folder/a"]
    assert list(store.list("folder/")) == ["folder/a"]


ENDLESS_WRITER = """
import itertools, sys
from pathlib import Path
from storage.folder import FolderStore
store = FolderStore(Path(sys.argv[1]))
for number in itertools.count():
    store.put_if_absent(f"once/{number:06d}", b"x" * 300_000)
    store.put("again", bytes([number % 256]) * 300_000)
    print(number, flush=True)
"""


def test_a_writer_killed_at_any_moment_leaves_only_whole_objects(tmp_path: Path):
    store, root = FolderStore(tmp_path), Path(__file__).parents[2]
    for turn in range(4):
        command = [sys.executable, "-c", ENDLESS_WRITER, str(tmp_path)]
        with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            for _ in range(turn + 2):
                writer.stdout.readline()
            writer.kill()
    keys = list(store.list(""))
    assert len(keys) > 2
    assert {store.size(key) for key in keys} == {300_000}
    assert len(set(store.get("again"))) == 1


def test_a_file_in_the_way_of_a_folder_is_explained(tmp_path: Path):
    store = FolderStore(tmp_path)
    store.put("a", b"1")
    with pytest.raises(StoreError, match="a file is where a folder should be"):
        store.put("a/b", b"2")
    assert not store.exists("a/b")


@pytest.mark.parametrize("method", ["put", "put_if_absent"])
def test_a_folder_in_the_way_of_a_file_is_explained(tmp_path: Path, method: str):
    store = FolderStore(tmp_path)
    store.put("a/b", b"1")
    with pytest.raises(StoreError, match="a folder is where a file should be"):
        getattr(store, method)("a", b"2")


def test_no_rights_are_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(StoreError, match="permission denied"):
        FolderStore(tmp_path / "locked").put("a/b", b"1")


def test_a_source_file_that_is_missing_is_named(tmp_path: Path):
    with pytest.raises(StoreError, match=r"cannot read .*nowhere"):
        FolderStore(tmp_path).put_file("a", tmp_path / "nowhere")


# -- S3 -----------------------------------------------------------------------------------------------------


@pytest.mark.s3
def test_a_missing_bucket_is_explained(s3_endpoint: str, s3_keys: None):
    store = open_store(f"s3://no-such-bucket/x?endpoint_url={s3_endpoint}&region=us-east-1")
    with pytest.raises(StoreError, match="the bucket 'no-such-bucket' does not exist"):
        store.get("a")
    with pytest.raises(StoreError, match="the bucket 'no-such-bucket' does not exist"):
        list(store.list(""))


@pytest.mark.s3
def test_wrong_credentials_are_explained(s3_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StoreError, match=r"S3 refused .*check AWS_ACCESS_KEY_ID"):
        open_store(s3_url).put("a", b"1")


@pytest.mark.s3
def test_no_credentials_are_explained(s3_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(StoreError, match="no S3 credentials"):
        open_store(s3_url).put("a", b"1")


@pytest.mark.s3
def test_a_server_that_does_not_answer_is_explained(s3_keys: None):
    store = open_store("s3://bucket/x?endpoint_url=http://127.0.0.1:9&region=us-east-1")
    with pytest.raises(StoreError, match=r"cannot reach http://127.0.0.1:9"):
        store.get("a")


@pytest.mark.s3
def test_stores_of_two_prefixes_do_not_see_each_other(s3_url: str):
    first, second = open_store(s3_url), open_store(s3_url.replace("?", "0?"))
    first.put("a", b"1")
    assert list(second.list("")) == []
