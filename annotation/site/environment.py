"""Label Studio's own virtual environment: its pins and ours cannot be met at once.

Made once per version in the user's cache folder, by `venv` and pip, which takes minutes and about 1 GB. It is marked
ready at the very end: one without the mark is what a killed installation left, and is made anew.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from annotation.errors import SiteError
from annotation.site.processes import Tell, tail

__all__ = ["Environment", "default_folder", "ensure_environment"]

READY_MARK = ".engine-ready"
SERVER_REQUIREMENT = "gunicorn>=23,<28"
DRIVER_REQUIREMENT = "psycopg2-binary>=2.9"
SHOWN_LENGTH = 70


@dataclass(frozen=True, slots=True)
class Environment:
    """An environment Label Studio can be started from."""

    folder: Path
    packages: Path  # its site-packages

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"


def default_folder(version: str) -> Path:
    """Where the environment of a version is kept: `sam2-data-engine/label-studio-VERSION` in the cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "sam2-data-engine" / f"label-studio-{version}"


def ensure_environment(version: str, *, folder: Path | None, tell: Tell) -> Environment:
    """Return the environment of Label Studio `version`, made first if it is absent.

    folder: where it is or shall be; None: the cache folder. One that is there and was not made by us is used as it is,
    if it holds that version. Raises SiteError when it cannot be made or is another version's.
    """
    folder = (folder or default_folder(version)).absolute()
    if not _is_complete(folder):
        try:
            with _alone(folder, tell) as lock:
                _make(folder, version, tell, lock)
        except OSError as error:
            raise SiteError(f"Label Studio's environment cannot be made in {folder}: {error}.") from error
    return _checked(folder, version)


def _is_complete(folder: Path) -> bool:
    """A marked one, or whatever is there that somebody else made."""
    return (folder / READY_MARK).exists() or (folder.exists() and not _is_ours(folder))


def _is_ours(folder: Path) -> bool:
    """Whether we began to make it: the note is written before anything else."""
    return _note(folder).exists()


def _make(folder: Path, version: str, tell: Tell, lock: int) -> None:
    if _is_complete(folder):
        return  # another command made it while we waited
    log = folder.with_name(f"{folder.name}.log")
    _note(folder).touch()
    if folder.exists():
        tell("removing what an unfinished installation left")
        shutil.rmtree(folder)
    log.write_bytes(b"")
    tell("making Label Studio's environment")
    _run([sys.executable, "-m", "venv", str(folder)], log, tell, lock)
    _run(_installation(folder, version), log, tell, lock)
    (folder / READY_MARK).write_text(version)


def _installation(folder: Path, version: str) -> list[str]:
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--no-input", "--progress-bar", "off"]
    wanted = [f"label-studio=={version}", SERVER_REQUIREMENT, DRIVER_REQUIREMENT]
    return [*pip, "--disable-pip-version-check", *wanted]


def _run(command: list[str], log: Path, tell: Tell, lock: int) -> None:
    """Run to the end with all output in the log and its current line told; SiteError when it fails.

    The lock goes along, so that it is held as long as this writes to the environment, even if we are killed.
    """
    with (
        log.open("ab") as file,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(lock,),
        ) as process,
    ):
        assert process.stdout is not None, "started with a pipe"
        for line in process.stdout:
            file.write(line)
            file.flush()
            tell(f"installing Label Studio: {_shown(line)}")
    if process.returncode:
        raise SiteError(
            "Label Studio cannot be installed. "
            + "\n".join(
                [f"The log, {log}, ends with:", *tail(log, 8), "Run the command again to try once more."]
            )
        )


def _shown(line: bytes) -> str:
    words = line.decode(errors="replace").split()
    return " ".join(words)[:SHOWN_LENGTH]


def _checked(folder: Path, version: str) -> Environment:
    found = _versions(folder)
    if found.get("label_studio") != version:
        raise SiteError(
            f"{folder} holds Label Studio {found.get('label_studio', '(none)')}, but {version} is asked for. "
            "Set `studio.version` to that one, or `studio.environment` to another folder or to nothing."
        )
    if "gunicorn" not in found:
        raise SiteError(
            f"{folder} has no gunicorn, which serves Label Studio: run "
            f"`{folder / 'bin' / 'python'} -m pip install '{SERVER_REQUIREMENT}'`."
        )
    return Environment(folder, _packages(folder))


def _packages(folder: Path) -> Path:
    return next(iter(sorted(folder.glob("lib/python3*/site-packages"))), folder / "lib")


def _versions(folder: Path) -> dict[str, str]:
    """Names and versions of what is installed, from the names of the folders that pip leaves."""
    names = (path.name for path in _packages(folder).glob("*.dist-info"))
    return {
        found[1].lower(): found[2] for name in names if (found := re.match(r"(.+)-([^-]+)\.dist-info", name))
    }


def _note(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.made-by-engine")


@contextmanager
def _alone(folder: Path, tell: Tell) -> Iterator[int]:
    """Let no two commands make the same environment at once; the second waits. Yields what holds the lock."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell("waiting for another command that makes Label Studio's environment")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()
