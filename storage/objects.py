"""Where bytes live: one small interface over a folder and an S3 bucket, opened by URL.

Keys are posix paths relative to the store (``frames/0123456789abcdef/00000.jpg``). Writes are atomic: a
reader sees the old object, the new one, or none, never a part. :meth:`ObjectStore.put_if_absent` is the
commit point of the whole engine: of any number of writers of one key exactly one is told ``True``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, runtime_checkable
from urllib.parse import unquote, urlsplit

from storage.errors import StoreError

__all__ = ["TEMPORARY_PREFIX", "ObjectStore", "checked_key", "checked_prefix", "open_store"]

TEMPORARY_PREFIX = ".tmp-"
"""Names that begin so are unfinished writes: never listed, and refused as keys."""

_MAX_KEY_BYTES = 1024  # S3's limit


@runtime_checkable
class ObjectStore(Protocol):
    """Bytes under keys. Every method raises StoreError (with path or bucket, and what to do) on failure."""

    @property
    def url(self) -> str:
        """What :func:`open_store` opens this store with; never holds credentials."""
        ...

    def put(self, key: str, data: bytes) -> None:
        """Writes or replaces an object, atomically."""
        ...

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Writes the object unless there is one; True for the one writer that created it."""
        ...

    def put_file(self, key: str, path: Path) -> None:
        """Writes or replaces an object with a file's bytes, in bounded memory, atomically."""
        ...

    def get(self, key: str) -> bytes:
        """The object's bytes. Raises ObjectNotFound."""
        ...

    def exists(self, key: str) -> bool:
        """Whether there is an object under the key."""
        ...

    def size(self, key: str) -> int:
        """The object's size in bytes. Raises ObjectNotFound."""
        ...

    def list(self, prefix: str) -> Iterator[str]:
        """Keys that begin with ``prefix`` (as in S3: end it with ``/`` to mean a folder), sorted."""
        ...

    def delete(self, key: str) -> None:
        """Removes the object; no error if there is none."""
        ...

    def local_copy(self, key: str) -> AbstractContextManager[Path]:
        """The object as a local file to read from while the context lasts. Raises ObjectNotFound."""
        ...


def open_store(url: str | Path) -> ObjectStore:
    """Opens a store: a plain path, ``file:///path`` or ``s3://bucket/prefix?endpoint_url=…&region=…``.

    Nothing is created or contacted yet. S3 credentials come from the environment or boto3's own
    configuration.
    """
    text = str(url)
    scheme = urlsplit(text).scheme if "://" in text else ""
    if scheme == "s3":
        from storage.s3 import S3Store

        return S3Store.from_url(text)
    if scheme not in ("", "file"):
        raise StoreError(
            f"cannot open a store at {text!r}: use a folder, file:///folder or s3://bucket/prefix"
        )
    from storage.folder import FolderStore

    return FolderStore(Path(unquote(urlsplit(text).path)) if scheme == "file" else Path(text))


def checked_key(key: str) -> str:
    """The key itself if it is a clean relative posix path; raises StoreError otherwise."""
    parts = key.split("/")
    if not key or any(part in ("", ".", "..") for part in parts):
        raise StoreError(f"bad key {key!r}: it must be a relative path without empty, '.' or '..' parts")
    if any(part.startswith(TEMPORARY_PREFIX) for part in parts):
        raise StoreError(
            f"bad key {key!r}: names that begin with {TEMPORARY_PREFIX!r} are kept for unfinished writes"
        )
    if "\\" in key or any(ord(char) < 32 or ord(char) == 127 for char in key):
        raise StoreError(f"bad key {key!r}: backslashes and control characters are not allowed")
    try:
        length = len(key.encode())
    except UnicodeEncodeError as error:
        raise StoreError(f"bad key {key!r}: it is not valid Unicode") from error
    if length > _MAX_KEY_BYTES:
        raise StoreError(f"bad key {key[:60]!r}…: {length} bytes, the limit is {_MAX_KEY_BYTES}")
    return key


def checked_prefix(prefix: str) -> str:
    """The prefix itself if it is empty, a clean key, or a clean key and ``/``; else raises StoreError."""
    if prefix:
        checked_key(prefix.removesuffix("/"))
    return prefix
