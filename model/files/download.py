"""Fetching the published weights: resumed after a break, checked before they are trusted.

A download grows in `NAME.part` beside its destination and gets its name only when its length, SHA-256 and layout are
those of the published file.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from model.errors import CheckpointError
from model.files.official import OFFICIAL_FILES, OfficialFile, layout_hash
from model.files.transfer import DownloadError, Progress, Request, note_path, transfer

__all__ = ["DownloadError", "Pulled", "cache_folder", "pull", "pulled_path"]

OFFICIAL_HOSTS = frozenset({"dl.fbaipublicfiles.com"})


@dataclass(frozen=True, slots=True)
class Pulled:
    """A published file that is on this machine now, and is what it should be."""

    path: Path
    sha256: str
    byte_count: int
    fetched: bool  # False when it was there already


def cache_folder() -> Path:
    """Return where pulled files are kept: `sam2-data-engine/checkpoints` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "sam2-data-engine" / "checkpoints"


def pulled_path(name: str) -> Path | None:
    """Return where the published file called `name` is kept once it is pulled; None when no file is called so."""
    return cache_folder() / OFFICIAL_FILES[name].filename if name in OFFICIAL_FILES else None


def pull(
    file: OfficialFile,
    folder: Path | None = None,
    *,
    mirror: str = "",
    progress: Progress = lambda done, total: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Pulled:
    """Fetch a published file into `folder` (by default `cache_folder()`) unless it is there; return where it is.

    Only the authors' server is asked, by https, or `mirror`, the http(s) address of the same file elsewhere, which is
    held to the same checksum. `progress` is told the bytes on disk and in all; `sleep` waits between connections.
    Raises DownloadError when there is no connection, no room, no such file, or the content is not the published one.
    """
    path = (folder or cache_folder()) / file.filename
    part = path.with_name(f"{path.name}.part")
    request = _request(file, path, mirror)
    if path.exists():
        return _present(file, path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(part):
            transfer(request, part, progress=progress, sleep=sleep)
            return _accept(file, part, path)
    except OSError as error:
        raise DownloadError(f"cannot write {part}: {error}") from error


def _request(file: OfficialFile, path: Path, mirror: str) -> Request:
    address = mirror or file.url
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL as error:
        raise DownloadError(f"{address!r} is no web address: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise DownloadError(f"{address!r} is no http or https address of a file")
    advice = (
        f"fetch {file.url} on another machine and put it to {path}, or give the address of a mirror (--from). "
        "What has arrived is kept"
    )
    return Request(address, file.byte_count, () if mirror else OFFICIAL_HOSTS, advice)


@contextmanager
def _alone(part: Path) -> Iterator[None]:
    """Keep another process from writing the same part; leave no empty one behind."""
    with part.open("ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DownloadError(f"another process is fetching {part}; wait for it") from error
        try:
            yield
        finally:
            if part.exists() and part.stat().st_size == 0:
                part.unlink()
                note_path(part).unlink(missing_ok=True)


def _present(file: OfficialFile, path: Path) -> Pulled:
    """A file that is there already, if it is the published one."""
    digest = _sha256(path)
    problem = _problem(file, path, digest)
    if problem:
        raise DownloadError(
            f"{path} is there, but it is not {file.name}: {problem}. Move it away and pull again"
        )
    return Pulled(path, digest, path.stat().st_size, fetched=False)


def _accept(file: OfficialFile, part: Path, path: Path) -> Pulled:
    """Give a complete part its name, or throw it away when it is not the published file."""
    digest = _sha256(part)
    problem = _problem(file, part, digest)
    note_path(part).unlink(missing_ok=True)
    if problem:
        part.unlink()
        raise DownloadError(f"what was fetched is not {file.name}: {problem}. It was thrown away; pull again")
    with part.open("rb") as stream:
        os.fsync(stream.fileno())
    part.replace(path)
    return Pulled(path, digest, path.stat().st_size, fetched=True)


def _problem(file: OfficialFile, path: Path, digest: str) -> str:
    """Why `path` is not the published file; empty when it is."""
    length = path.stat().st_size
    if file.byte_count is not None and length != file.byte_count:
        return f"it has {length:,} bytes, not {file.byte_count:,}"
    if file.sha256 and digest != file.sha256:
        return f"its SHA-256 is {digest}, not {file.sha256}"
    return _layout_problem(file, path) if file.layout else ""


def _layout_problem(file: OfficialFile, path: Path) -> str:
    from model.files.weights_file import read_shapes

    try:
        layout = layout_hash(read_shapes(path))
    except CheckpointError as error:
        return str(error)
    return "" if layout == file.layout else f"its names and shapes hash to {layout}, not {file.layout}"


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
