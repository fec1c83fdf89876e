"""An object store in a folder: what a laptop and a shared disk use.

A write goes to a temporary name in the target's own folder, is synced to disk, and then appears at once, by
rename (replace) or by hard link (put-if-absent: the link fails if the name is taken). A write that was
killed leaves only a temporary file, which no method ever shows.
"""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from storage.errors import ObjectNotFound, StoreError
from storage.objects import TEMPORARY_PREFIX, checked_key, checked_prefix

__all__ = ["FolderStore"]

_COPY_CHUNK = 1 << 20

_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
    errno.EACCES: "permission denied; make the folder writable for this user",
    errno.EPERM: "not permitted; the file system must allow this user to write and to make hard links",
    errno.ENOTSUP: "the file system has no hard links; put the store on a local disk or use S3",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.ENAMETOOLONG: "a name is too long for this file system",
    errno.ENOTDIR: "a file is where a folder should be",
    errno.EEXIST: "a file is where a folder should be",
    errno.EISDIR: "a folder is where a file should be",
}


class FolderStore:
    """Objects as files below ``root``; the folder is made by the first write."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().absolute()

    @property
    def url(self) -> str:
        return str(self.root)

    def put(self, key: str, data: bytes) -> None:
        with self._temporary(key) as (temporary, target, file):
            file.write(data)
            _publish(file, temporary, target)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        if self.exists(key):  # saves writing the bytes; the link below is what decides
            return False
        with self._temporary(key) as (temporary, target, file):
            file.write(data)
            return _publish_if_absent(file, temporary, target)

    def put_file(self, key: str, path: Path) -> None:
        with _source(path) as source, self._temporary(key) as (temporary, target, file):
            shutil.copyfileobj(source, file, _COPY_CHUNK)
            _publish(file, temporary, target)

    def get(self, key: str) -> bytes:
        path = self._path(key)
        with _explained("read", path):
            return path.read_bytes()

    def exists(self, key: str) -> bool:
        path = self._path(key)
        try:
            with _explained("look for", path):
                return path.is_file()
        except ObjectNotFound:
            return False

    def size(self, key: str) -> int:
        path = self._path(key)
        with _explained("read the size of", path):
            if not path.is_file():
                raise FileNotFoundError
            return path.stat().st_size

    def list(self, prefix: str) -> Iterator[str]:
        folder = checked_prefix(prefix).rpartition("/")[0]
        start = self.root / folder if folder else self.root
        base = f"{folder}/" if folder else ""
        for key in _walk(start, base):
            if key.startswith(prefix):
                yield key

    def delete(self, key: str) -> None:
        path = self._path(key)
        with _explained("delete", path):
            path.unlink(missing_ok=True)

    @contextmanager
    def local_copy(self, key: str) -> Iterator[Path]:
        """The stored file itself: read it, never write to it."""
        path = self._path(key)
        if not self.exists(key):
            raise ObjectNotFound(f"nothing is stored at {path}")
        yield path

    def _path(self, key: str) -> Path:
        return self.root / checked_key(key)

    @contextmanager
    def _temporary(self, key: str) -> Iterator[tuple[Path, Path, BinaryIO]]:
        """A new file beside the target, gone again when the context ends, whether it was published or not."""
        target = self._path(key)
        temporary = target.parent / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
        with _explained("write", target):
            _make_folder(target.parent)
            try:
                with temporary.open("xb") as file:
                    yield temporary, target, file
            finally:
                temporary.unlink(missing_ok=True)


def _source(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise StoreError(f"cannot read {path} to store it: {error.strerror}") from error


def _publish(file: BinaryIO, temporary: Path, target: Path) -> None:
    _sync(file)
    temporary.replace(target)
    _sync_folder(target.parent)


def _publish_if_absent(file: BinaryIO, temporary: Path, target: Path) -> bool:
    _sync(file)
    try:
        os.link(temporary, target)
    except FileExistsError:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "Is a directory") from None
        return False
    _sync_folder(target.parent)
    return True


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Makes a new name durable: without it a power cut may forget the file although its bytes were synced."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_folder(folder: Path) -> None:
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
        _sync_folder(new.parent)


def _walk(folder: Path, base: str) -> Iterator[str]:
    """Keys below ``folder`` in the order of the whole key, one folder's entries in memory at a time."""
    try:
        with _explained("list", folder), os.scandir(folder) as entries:
            named = sorted((e.name + "/" if e.is_dir() else e.name) for e in entries)
    except ObjectNotFound:
        return
    for name in named:
        if name.startswith(TEMPORARY_PREFIX):
            continue
        if name.endswith("/"):
            yield from _walk(folder / name, base + name)
        else:
            yield base + name


@contextmanager
def _explained(action: str, path: Path) -> Iterator[None]:
    """Turns the operating system's errors into the store's, saying which path and what to do."""
    try:
        yield
    except FileNotFoundError as error:
        raise ObjectNotFound(f"nothing is stored at {path}") from error
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, error.strerror or str(error))
        raise StoreError(f"could not {action} {path}: {advice}") from error
