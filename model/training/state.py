"""Saved states of a training run: each one whole or not there, checked when read, the last few kept.

A state is written under another name, flushed to the disk, hashed and moved into place; its SHA-256 is part of its
name, so that content and checksum appear together. A state that does not match its name is passed over for the one
before it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch

from model.errors import TrainingError

__all__ = ["SavedState", "States", "alone_in", "is_full", "replace_file"]

_NAME = re.compile(r"state-(\d+)\.([0-9a-f]{64})\.pt")
PATIENCE_S = 10.0
"""Of a run that finds another one in its folder: one that was killed a moment ago may still be ending."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SavedState:
    """A state on disk: after how many steps it was saved, and the SHA-256 that its content must have."""

    path: Path
    step: int
    sha256: str


class States:
    """The states in a run's folder, of which the last `keep` are kept."""

    def __init__(self, folder: Path, *, keep: int) -> None:
        self._folder = folder
        self._keep = keep

    def saved(self) -> list[SavedState]:
        """All states there, newest first, not checked."""
        found = [
            SavedState(path, int(match[1]), match[2])
            for path in self._folder.iterdir()
            if (match := _NAME.fullmatch(path.name))
        ]
        return sorted(found, key=lambda state: (state.step, state.path.stat().st_mtime_ns), reverse=True)

    def save(self, step: int, content: Mapping[str, Any]) -> bool:
        """Write the state after `step` steps and drop the oldest; False where the disk is full.

        `content` holds tensors, numbers, strings, lists and dictionaries only. On a full disk nothing is lost but
        this state. Raises TrainingError where it cannot be written for another reason.
        """
        partial = self._folder / "state.partial"
        try:
            with partial.open("wb") as stream:
                _write(content, stream)
            digest = _sha256(partial)
            replace_file(partial, self._folder / f"state-{step:08d}.{digest}.pt")
        except OSError as error:
            if is_full(error):
                _log.warning("The disk is full: %s", self._full(step))
                return False
            raise TrainingError(f"Cannot save the state of training in {self._folder}: {error}.") from error
        finally:
            partial.unlink(missing_ok=True)
        self._drop_old(newest=self._folder / f"state-{step:08d}.{digest}.pt")
        return True

    def newest(self) -> dict[str, Any] | None:
        """The newest state that is undamaged; None where there is none at all.

        Raises TrainingError when there are states and every one of them is damaged.
        """
        states = self.saved()
        for state in states:
            if _sha256(state.path) == state.sha256:
                content: dict[str, Any] = torch.load(state.path, map_location="cpu", weights_only=True)
                return content
            _log.warning("The saved state %s is damaged; going back to the one before it.", state.path)
        if states:
            raise TrainingError(
                f"Every saved state in {self._folder} is damaged (the content does not have the SHA-256 of the "
                "name). Check the disk; delete the folder to train from the start."
            )
        return None

    def clear(self) -> None:
        """Remove every state, for a run that starts anew."""
        for state in self.saved():
            state.path.unlink()

    def _full(self, step: int) -> str:
        last = next(iter(self.saved()), None)
        kept = f"the last good one, of step {last.step}, is kept" if last else "there is none yet"
        return f"the state of step {step} is not saved in {self._folder}, {kept}. Free some space; training goes on."

    def _drop_old(self, newest: Path) -> None:
        kept = 0
        seen: set[int] = set()
        for state in sorted(self.saved(), key=lambda state: state.path != newest):
            if kept == self._keep or state.step in seen:
                state.path.unlink()
            else:
                seen.add(state.step)
                kept += 1


def _write(content: Mapping[str, Any], stream: IO[bytes]) -> None:
    """`torch.save`, whose writer hides an error of the stream behind a RuntimeError of its own."""
    try:
        torch.save(dict(content), stream)
    except RuntimeError as error:
        hidden: BaseException | None = error.__context__
        while hidden is not None and not isinstance(hidden, OSError):
            hidden = hidden.__context__
        if hidden is None:
            raise
        raise hidden from error


def is_full(error: OSError) -> bool:
    """Whether a write failed for want of space: the disk's, or the user's quota."""
    return error.errno in _FULL


def replace_file(part: Path, path: Path) -> None:
    """Flush `part` to the disk and move it to `path`; a power cut leaves the old file or the new one."""
    with part.open("rb") as stream:
        os.fsync(stream.fileno())
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep a second process from training in the same folder; the lock goes with the process, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("ab") as stream:
        if not _locked(stream, time.monotonic() + PATIENCE_S):
            raise TrainingError(
                f"Another process is training in {folder}; wait for it or choose another folder."
            )
        yield


def _locked(stream: IO[bytes], until: float) -> bool:
    while True:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(0.1)
        else:
            return True


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
