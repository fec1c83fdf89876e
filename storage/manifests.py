"""Parquet manifests: written once under the hash of their bytes, read back, and checked whenever they are
read.

Equal rows make equal bytes: columns, types, row order (:data:`storage.schemas.SORT_KEYS`), row groups and
encoding are fixed, and nothing like a time or a library's metadata about the writer's session goes into the
file. So a key ``<prefix>/<name>-<first 16 hex digits of the SHA-256>.parquet`` names content, and writing
it twice is harmless.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from storage.errors import ManifestError, ObjectNotFound
from storage.objects import ObjectStore
from storage.schemas import ADDED_LATER, SCHEMAS, SORT_KEYS

__all__ = [
    "FileRef",
    "ManifestWriter",
    "Rows",
    "iter_manifest",
    "read_manifest",
    "rows_to_table",
    "store_file",
    "write_manifest",
]

Rows = pa.Table | Sequence[dict[str, Any]]

_ROW_GROUP = 8192
_READ_CHUNK = 1 << 20
_HASHED_KEY = re.compile(r"-([0-9a-f]{16})\.[A-Za-z0-9]+$")


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file of a commit: where it is and what it must contain.

    ``schema`` is the manifest's schema name, or ``""`` for a file that is no manifest (a checkpoint, a
    report); ``rows`` is 0 then.
    """

    name: str
    key: str
    sha256: str
    rows: int = 0
    schema: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {name: getattr(self, name) for name in ("name", "key", "sha256", "rows", "schema")}


def write_manifest(store: ObjectStore, prefix: str, name: str, rows: Rows, schema_name: str) -> FileRef:
    """Sorts ``rows`` by the schema's key, writes them and reads them back; the same rows give the same key.

    Raises ManifestError if rows do not fit the schema, or if what was read back differs.
    """
    table = _sorted(_as_table(schema_name, rows), schema_name)
    with ManifestWriter(store, prefix, name, schema_name) as writer:
        writer.write(table)
    written = read_manifest(store, writer.ref)
    if not written.equals(table):
        raise ManifestError(f"{writer.ref.key} in {store.url} does not read back as written; check the disk")
    return writer.ref


def read_manifest(store: ObjectStore, ref: FileRef | str) -> pa.Table:
    """The whole table of a manifest, given by reference or by its content-hashed key.

    Columns that its schema got after the file was written are null.

    Raises ManifestError, naming the file and what to do, if it is missing, cut, altered or of another
    version.
    """
    with ExitStack() as stack:
        file = _open(store, ref, stack)
        return _completed(file.read(), file)


def iter_manifest(
    store: ObjectStore, ref: FileRef | str, *, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """The rows of a manifest in batches of bounded size, optionally only some columns; checked like
    read_manifest.
    """
    with ExitStack() as stack:
        file = _open(store, ref, stack)
        present = [name for name in columns or () if name in file.schema_arrow.names]
        for batch in file.iter_batches(batch_size=_ROW_GROUP, columns=present if columns else None):
            yield from _completed(pa.Table.from_batches([batch]), file, columns).to_batches()


def rows_to_table(schema_name: str, rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Rows as a table of the named schema, in the given order.

    A missing key of a nullable column means null. Raises ManifestError naming the column and the row (from
    0) if a column is missing, unknown, null where it must not be, or of a type that does not convert
    without loss.
    """
    schema = _schema(schema_name)
    known = set(schema.names)
    for number, row in enumerate(rows):
        unknown = sorted(set(row) - known)
        if unknown:
            raise ManifestError(
                f"{schema_name} row {number} has an unknown column {unknown[0]!r}; "
                f"known: {', '.join(schema.names)}"
            )
    return pa.Table.from_arrays([_column(schema_name, field, rows) for field in schema], schema=schema)


class ManifestWriter:
    """Writes a large manifest in bounded memory: rows come in batches, already in the order of the sort key.

    As a context manager; leaving it without an exception stores the file and sets :attr:`ref`. The bytes do
    not depend on how rows were cut into batches, so they equal those of :func:`write_manifest`.
    """

    def __init__(self, store: ObjectStore, prefix: str, name: str, schema_name: str) -> None:
        self._store, self._prefix, self._name = store, prefix, name
        self._schema_name = schema_name
        self._schema = _schema(schema_name)
        self._pending: list[pa.Table] = []
        self._pending_rows = 0
        self._rows = 0
        self._last_key: tuple[Any, ...] | None = None
        self._ref: FileRef | None = None

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="engine-manifest-"))
        self._path = Path(folder) / "manifest.parquet"
        self._file = pq.ParquetWriter(self._path, self._schema, compression="zstd", version="2.6")
        return self

    def write(self, rows: Rows) -> None:
        """Adds rows. Raises ManifestError if they do not fit the schema or come out of order."""
        table = _as_table(self._schema_name, rows)
        self._check_order(table)
        self._pending.append(table)
        self._pending_rows += table.num_rows
        self._rows += table.num_rows
        while self._pending_rows >= _ROW_GROUP:
            self._flush(_ROW_GROUP)

    @property
    def ref(self) -> FileRef:
        """The stored file, once the context has ended well."""
        if self._ref is None:
            raise ManifestError(
                f"the manifest {self._name!r} is not written yet; leave the 'with' block first"
            )
        return self._ref

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            if kind is None and self._pending_rows:
                self._flush(self._pending_rows)
            self._file.close()
            if kind is None:
                self._ref = self._stored()

    def _flush(self, rows: int) -> None:
        table = pa.concat_tables(self._pending)
        self._file.write_table(table.slice(0, rows).combine_chunks(), row_group_size=_ROW_GROUP)
        rest = table.slice(rows)
        self._pending, self._pending_rows = ([rest] if rest.num_rows else []), rest.num_rows

    def _stored(self) -> FileRef:
        return store_file(
            self._store, self._prefix, self._name, self._path, rows=self._rows, schema=self._schema_name
        )

    def _check_order(self, table: pa.Table) -> None:
        if not table.num_rows:
            return
        names = SORT_KEYS[self._schema_name]
        keys = [_row_key(table, names, 0), _row_key(table, names, table.num_rows - 1)]
        columns = table.select(names)
        in_order = columns.equals(columns.sort_by([(name, "ascending") for name in names]))
        if not in_order or (self._last_key is not None and keys[0] < self._last_key):
            raise ManifestError(f"rows of {self._schema_name!r} must come sorted by {', '.join(names)}")
        self._last_key = keys[1]


def store_file(
    store: ObjectStore, prefix: str, name: str, path: Path, *, rows: int = 0, schema: str = ""
) -> FileRef:
    """Stores any file under its content hash, ``<prefix>/<name>-<hash><suffix>``, and reads it back.

    Raises ManifestError if what was read back differs.
    """
    digest = _hash_file(path)
    key = f"{prefix}/{name}-{digest[:16]}{path.suffix}"
    store.put_file(key, path)
    ref = FileRef(name, key, digest, rows, schema)
    with store.local_copy(key) as copy:
        _check_bytes(store, ref, copy)
    return ref


def _open(store: ObjectStore, ref: FileRef | str, stack: ExitStack) -> pq.ParquetFile:
    """The checked Parquet file, open as long as ``stack``."""
    key = ref if isinstance(ref, str) else ref.key
    try:
        path = stack.enter_context(store.local_copy(key))
    except ObjectNotFound as error:
        raise ManifestError(f"{key} is missing from {store.url}; restore it from a backup") from error
    _check_bytes(store, ref, path)
    try:
        file = stack.enter_context(pq.ParquetFile(path))
    except (pa.ArrowException, OSError) as error:
        raise _damaged(store, key, f"it is no Parquet file ({error})") from error
    name = _check_schema(store, key, file.schema_arrow)
    if isinstance(ref, FileRef) and (file.metadata.num_rows, name) != (ref.rows, ref.schema):
        found = f"{file.metadata.num_rows} rows of {name!r}"
        raise _damaged(store, key, f"it holds {found}, not {ref.rows} rows of {ref.schema!r}")
    return file


def _check_bytes(store: ObjectStore, ref: FileRef | str, path: Path) -> None:
    key = ref if isinstance(ref, str) else ref.key
    expected = ref.sha256 if isinstance(ref, FileRef) else _hash_of_key(key)
    found = _hash_file(path)
    if not found.startswith(expected):
        size = path.stat().st_size
        raise _damaged(store, key, f"its {size} bytes have the SHA-256 {found[:16]}…, not {expected[:16]}…")


def _check_schema(store: ObjectStore, key: str, schema: pa.Schema) -> str:
    metadata = {k.decode(): v.decode() for k, v in (schema.metadata or {}).items()}
    name, version = metadata.get("schema", ""), metadata.get("schema_version", "")
    if name not in SCHEMAS:
        raise _damaged(store, key, f"its schema {name!r} is not one of {', '.join(SCHEMAS)}")
    declared = SCHEMAS[name]
    if version != (declared.metadata or {})[b"schema_version"].decode():
        raise ManifestError(
            f"{key} in {store.url} has version {version} of the schema {name!r}, which this code does not "
            "read; use the version of the engine that wrote it"
        )
    if not any(schema.equals(known) for known in (declared, _first_form(name))):
        raise _damaged(store, key, f"its columns are not those of {name!r}")
    return name


def _first_form(name: str) -> pa.Schema:
    """The named schema without the columns that were added later."""
    return pa.schema([field for field in SCHEMAS[name] if field.name not in ADDED_LATER.get(name, ())])


def _completed(table: pa.Table, file: pq.ParquetFile, columns: Sequence[str] | None = None) -> pa.Table:
    """A table as read, with nulls in the wanted columns (default: all declared) that its file does not have."""
    declared = SCHEMAS[(file.schema_arrow.metadata or {})[b"schema"].decode()]
    missing = [name for name in columns or declared.names if name not in file.schema_arrow.names]
    for name in missing:
        field = declared.field(name)
        table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    return table


def _damaged(store: ObjectStore, key: str, why: str) -> ManifestError:
    return ManifestError(
        f"{key} in {store.url} is damaged: {why}. Restore it from a backup, or remove the commit that "
        "names it (rounds/…/commit.json) and run that stage again."
    )


def _hash_of_key(key: str) -> str:
    found = _HASHED_KEY.search(key)
    if found is None:
        raise ManifestError(f"{key!r} is not a manifest's key: it must end in -<16 hex digits>.parquet")
    return found.group(1)


def _hash_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_READ_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _schema(name: str) -> pa.Schema:
    if name not in SCHEMAS:
        raise ManifestError(f"unknown manifest schema {name!r}; known: {', '.join(SCHEMAS)}")
    return SCHEMAS[name]


def _as_table(schema_name: str, rows: Rows) -> pa.Table:
    """Rows or a table as a table with exactly the declared columns, order and metadata."""
    if not isinstance(rows, pa.Table):
        return rows_to_table(schema_name, rows)
    schema = _schema(schema_name)
    if set(rows.schema.names) != set(schema.names) or len(rows.schema.names) != len(schema.names):
        raise ManifestError(f"a {schema_name!r} table must have the columns {', '.join(schema.names)}")
    for field in schema:
        if rows.column(field.name).null_count and not field.nullable:
            raise ManifestError(f"{schema_name} column {field.name!r} holds nulls")
        if pa.types.is_floating(rows.schema.field(field.name).type) and _has_nan(rows.column(field.name)):
            raise ManifestError(
                f"{schema_name} column {field.name!r} holds a value that is not a number (NaN)"
            )
    try:
        return rows.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ManifestError(f"the table does not fit the schema {schema_name!r}: {error}") from error


def _has_nan(column: pa.ChunkedArray[Any]) -> bool:
    return bool(pc.any(pc.is_nan(column)).as_py())


def _column(schema_name: str, field: pa.Field[Any], rows: Sequence[dict[str, Any]]) -> pa.Array[Any]:
    values, whole = [], pa.types.is_integer(field.type)
    for number, row in enumerate(rows):
        if field.name not in row and not field.nullable:
            raise ManifestError(f"{schema_name} row {number} lacks the column {field.name!r}")
        value = row.get(field.name)
        if value is None and not field.nullable:
            raise ManifestError(f"{schema_name} row {number}: {field.name!r} must not be null")
        if value != value:  # NaN equals nothing, so it could never be read back and compared
            raise ManifestError(f"{schema_name} row {number}: {field.name!r} is not a number (NaN)")
        if whole and isinstance(value, float | np.floating) and not value.is_integer():
            raise _wrong_type(schema_name, number, field, value)  # Arrow would cut off the fraction
        values.append(value)
    try:
        column: pa.Array[Any] = pa.array(values, field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, ValueError, TypeError):
        raise _bad_value(schema_name, field, values) from None
    return column


def _bad_value(schema_name: str, field: pa.Field[Any], values: Sequence[Any]) -> ManifestError:
    """Finds the first value that does not convert, to name its row."""
    for number, value in enumerate(values):
        try:
            pa.array([value], field.type)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, ValueError, TypeError):
            return _wrong_type(schema_name, number, field, value)
    return ManifestError(f"{schema_name}: the column {field.name!r} does not convert to {field.type}")


def _wrong_type(schema_name: str, number: int, field: pa.Field[Any], value: Any) -> ManifestError:
    shown = f"{value!r:.60} ({type(value).__name__})"
    return ManifestError(f"{schema_name} row {number}: {field.name!r} must be {field.type}, not {shown}")


def _sorted(table: pa.Table, schema_name: str) -> pa.Table:
    """Rows by sort key, and by all other sortable columns after it, so that ties have one order too."""
    first = SORT_KEYS[schema_name]
    rest = [name for name in table.schema.names if name not in first]
    return table.sort_by([(name, "ascending") for name in (*first, *rest)]).combine_chunks()


def _row_key(table: pa.Table, names: Sequence[str], row: int) -> tuple[Any, ...]:
    return tuple(table.column(name)[row].as_py() for name in names)
