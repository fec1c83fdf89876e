"""Manifests: equal rows make equal bytes; damage is found and named; large ones are written in pieces."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage.errors import ManifestError
from storage.manifests import (
    FileRef,
    ManifestWriter,
    iter_manifest,
    read_manifest,
    rows_to_table,
    store_file,
    write_manifest,
)
from storage.objects import ObjectStore
from storage.schemas import SCHEMAS, SORT_KEYS


def verdict(masklet: str = "m1", revision: int = 0, **changes: Any) -> dict[str, Any]:
    row = {
        "masklet_id": masklet,
        "revision": revision,
        "verifier": "vera",
        "verdict": "satisfactory",
        "reason": "",
        "bad_from": None,
        "bad_to": None,
        "duration_s": 2.5,
        "desk": "annotation",
    }
    return row | changes


def mask_row(masklet: str, frame: int) -> dict[str, Any]:
    mask = {"height": 4, "width": 4, "counts": "`0"}
    scores = {"object_score": 0.5, "predicted_iou": 0.25, "stability": None}
    return {"masklet_id": masklet, "video_id": "v", "object_id": 1, "frame": frame} | mask | scores


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_has_version_and_sort_key(name: str):
    metadata = SCHEMAS[name].metadata or {}
    assert metadata[b"schema"] == name.encode()
    assert int(metadata[b"schema_version"]) >= 1
    assert all(not SCHEMAS[name].field(column).nullable for column in SORT_KEYS[name])


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_can_be_written_empty(store: ObjectStore, name: str):
    ref = write_manifest(store, "x", name, [], name)
    assert (ref.rows, ref.schema) == (0, name)
    assert read_manifest(store, ref).schema.equals(SCHEMAS[name], check_metadata=True)


def test_files_from_before_a_column_was_added_read_as_null(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
):
    row = {
        "masklet_id": "m1", "revision": 1, "video_id": "v", "object_id": 1, "frame": 0, "height": 4, "width": 4,
        "counts": "`0", "area": 0, "edited": False, "clicks": 0, "origin": "manual", "annotator": "ann",
        "phase": 1, "locked": False,
    }  # fmt: skip
    now = SCHEMAS["annotations"]
    before = pa.schema([field for field in now if field.name != "occluded"], metadata=now.metadata)
    with monkeypatch.context() as patch:
        patch.setattr("storage.manifests.SCHEMAS", {**SCHEMAS, "annotations": before})
        old = write_manifest(store, "x", "annotations", [row], "annotations")
    table = read_manifest(store, old)
    assert table.schema.equals(now, check_metadata=True)
    assert table.to_pylist() == [row | {"occluded": None}]
    batches = list(iter_manifest(store, old, columns=["frame", "occluded"]))
    assert [batch.to_pylist() for batch in batches] == [[{"frame": 0, "occluded": None}]]


def test_rows_come_back_sorted(store: ObjectStore):
    ref = write_manifest(
        store, "rounds/r/verify", "verdicts", [verdict("b"), verdict("a", 1), verdict("a")], "verdicts"
    )
    assert ref.key == f"rounds/r/verify/verdicts-{ref.sha256[:16]}.parquet"
    rows = read_manifest(store, ref).to_pylist()
    assert [(row["masklet_id"], row["revision"]) for row in rows] == [("a", 0), ("a", 1), ("b", 0)]
    assert rows[0] == verdict("a")
    assert read_manifest(store, ref.key).to_pylist() == rows


def test_equal_rows_make_equal_bytes_in_any_order_and_form(store: ObjectStore):
    rows = [verdict("a", n, reason=str(n % 3), bad_from=n or None) for n in range(50)]
    first = write_manifest(store, "x", "v", rows, "verdicts")
    assert write_manifest(store, "x", "v", rows[::-1], "verdicts") == first
    table = rows_to_table("verdicts", rows).replace_schema_metadata({"pandas": "{}"})
    shuffled = table.select(table.schema.names[::-1])
    assert write_manifest(store, "x", "v", shuffled, "verdicts") == first
    assert hashlib.sha256(store.get(first.key)).hexdigest() == first.sha256


def test_rows_with_equal_sort_keys_still_make_equal_bytes(store: ObjectStore):
    rows = [verdict(reason="a"), verdict(reason="b")]
    assert write_manifest(store, "x", "v", rows, "verdicts") == write_manifest(
        store, "x", "v", rows[::-1], "verdicts"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"revision": "first"}, r"row 1: 'revision' must be int32, not 'first' \(str\)"),
        ({"revision": 2**31}, r"row 1: 'revision' must be int32"),
        ({"bad_from": 1.5}, r"row 1: 'bad_from' must be int32"),
        ({"verdict": None}, r"row 1: 'verdict' must not be null"),
        ({"duration_s": float("nan")}, r"row 1: 'duration_s' is not a number"),
        ({"colour": "red"}, r"row 1 has an unknown column 'colour'"),
    ],
)
def test_a_bad_value_is_named_by_column_and_row(change: dict[str, Any], message: str):
    with pytest.raises(ManifestError, match=message):
        rows_to_table("verdicts", [verdict(), verdict(**change)])


def test_a_missing_column_is_named_unless_it_may_be_null():
    row = verdict()
    del row["bad_from"]
    assert rows_to_table("verdicts", [row]).column("bad_from").null_count == 1
    del row["verdict"]
    with pytest.raises(ManifestError, match="row 0 lacks the column 'verdict'"):
        rows_to_table("verdicts", [row])


def test_a_table_must_fit_the_schema(store: ObjectStore):
    table = rows_to_table("verdicts", [verdict()])
    with pytest.raises(ManifestError, match="must have the columns"):
        write_manifest(store, "x", "v", table.drop_columns(["desk"]), "verdicts")
    wrong = table.set_column(1, "revision", pa.array(["first"]))
    with pytest.raises(ManifestError, match="does not fit the schema 'verdicts'"):
        write_manifest(store, "x", "v", wrong, "verdicts")
    nulls = table.set_column(0, "masklet_id", pa.array([None], pa.string()))
    with pytest.raises(ManifestError, match="'masklet_id' holds nulls"):
        write_manifest(store, "x", "v", nulls, "verdicts")
    with pytest.raises(ManifestError, match="unknown manifest schema 'opinions'"):
        write_manifest(store, "x", "v", [], "opinions")


# -- damage -------------------------------------------------------------------------------------------------


@pytest.fixture
def written(store: ObjectStore) -> FileRef:
    return write_manifest(store, "x", "v", [verdict(str(n)) for n in range(100)], "verdicts")


@pytest.mark.parametrize("by", ["reference", "key"])
def test_a_manifest_cut_in_half_is_named_with_what_to_do(store: ObjectStore, written: FileRef, by: str):
    data = store.get(written.key)
    store.put(written.key, data[: len(data) // 2])
    with pytest.raises(ManifestError) as caught:
        read_manifest(store, written if by == "reference" else written.key)
    message = str(caught.value)
    assert written.key in message
    assert f"{len(data) // 2} bytes" in message
    assert f"not {written.sha256[:16]}" in message
    assert "Restore it from a backup, or remove the commit that names it" in message


def test_one_changed_byte_is_found(store: ObjectStore, written: FileRef):
    data = bytearray(store.get(written.key))
    data[len(data) // 2] ^= 1
    store.put(written.key, bytes(data))
    with pytest.raises(ManifestError, match="is damaged"):
        list(iter_manifest(store, written))


def test_a_missing_manifest_is_named(store: ObjectStore, written: FileRef):
    store.delete(written.key)
    with pytest.raises(ManifestError, match=f"{written.key} is missing"):
        read_manifest(store, written)


def test_writing_again_heals_a_damaged_manifest(store: ObjectStore, written: FileRef):
    store.put(written.key, b"rubbish")
    rows = [verdict(str(n)) for n in range(100)]
    assert write_manifest(store, "x", "v", rows, "verdicts") == written
    assert read_manifest(store, written).num_rows == 100


def put_hashed(store: ObjectStore, tmp_path: Path, table: pa.Table) -> str:
    pq.write_table(table, tmp_path / "t.parquet")
    return store_file(store, "x", "t", tmp_path / "t.parquet").key


def test_other_versions_and_foreign_tables_are_refused(store: ObjectStore, tmp_path: Path):
    table = rows_to_table("verdicts", [verdict()])
    newer = table.replace_schema_metadata({"schema": "verdicts", "schema_version": "99"})
    with pytest.raises(ManifestError, match="has version 99 of the schema 'verdicts'"):
        read_manifest(store, put_hashed(store, tmp_path, newer))
    with pytest.raises(ManifestError, match="its schema '' is not one of"):
        read_manifest(store, put_hashed(store, tmp_path, table.replace_schema_metadata(None)))
    with pytest.raises(ManifestError, match="its columns are not those of 'verdicts'"):
        read_manifest(store, put_hashed(store, tmp_path, table.drop_columns(["desk"])))


def write_and_read_plain(store: ObjectStore) -> None:
    store.put("x/t.parquet", b"hello")
    read_manifest(store, "x/t.parquet")


def test_what_is_no_parquet_file_is_refused(store: ObjectStore, tmp_path: Path):
    (tmp_path / "t.parquet").write_bytes(b"hello")
    ref = store_file(store, "x", "t", tmp_path / "t.parquet")
    with pytest.raises(ManifestError, match="it is no Parquet file"):
        read_manifest(store, ref)
    with pytest.raises(ManifestError, match="is not a manifest's key"):
        write_and_read_plain(store)


def test_a_reference_with_the_wrong_number_of_rows_is_refused(store: ObjectStore, written: FileRef):
    wrong = FileRef(written.name, written.key, written.sha256, 7, written.schema)
    with pytest.raises(ManifestError, match="it holds 100 rows of 'verdicts', not 7"):
        read_manifest(store, wrong)


# -- large manifests ----------------------------------------------------------------------------------------

MANY = 20_000  # more than two row groups


def test_batches_of_any_size_make_the_same_file(store: ObjectStore):
    rows = [mask_row(f"m{n // 100:05d}", n % 100) for n in range(MANY)]
    whole = write_manifest(store, "x", "p", rows, "prelabels")
    for size in (777, 8192, MANY):
        with ManifestWriter(store, "x", "p", "prelabels") as writer:
            for start in range(0, MANY, size):
                writer.write(rows[start : start + size])
        assert writer.ref == whole
    frames = [
        frame
        for batch in iter_manifest(store, whole, columns=["frame"])
        for frame in batch["frame"].to_pylist()
    ]
    assert frames == [row["frame"] for row in rows]


def test_rows_out_of_order_are_refused(store: ObjectStore):
    with pytest.raises(ManifestError, match="must come sorted by video_id, masklet_id, frame"):  # noqa: SIM117
        with ManifestWriter(store, "x", "p", "prelabels") as writer:
            writer.write([mask_row("m", 5)])
            writer.write([mask_row("m", 4)])
    assert list(store.list("")) == []


def test_a_writer_that_fails_stores_nothing(store: ObjectStore):
    with pytest.raises(ZeroDivisionError), ManifestWriter(store, "x", "p", "prelabels") as writer:
        writer.write([mask_row("m", 5)])
        raise ZeroDivisionError
    assert list(store.list("")) == []
    with pytest.raises(ManifestError, match="not written yet"):
        _ = writer.ref


def test_any_file_can_be_stored_under_its_hash(store: ObjectStore, tmp_path: Path):
    (tmp_path / "weights.safetensors").write_bytes(b"weights")
    ref = store_file(store, "checkpoints", "checkpoint", tmp_path / "weights.safetensors")
    assert ref.key == f"checkpoints/checkpoint-{hashlib.sha256(b'weights').hexdigest()[:16]}.safetensors"
    assert store.get(ref.key) == b"weights"
    assert (ref.rows, ref.schema) == (0, "")
