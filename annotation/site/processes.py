"""Processes that outlive the command that started them: started apart, told from others, waited for, stopped.

A process is known by its number and the time it was created at, so that a number given out again after a crash or a
reboot is never taken for ours.
"""

from __future__ import annotations

import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from annotation.errors import SiteError
from annotation.site.records import Process

__all__ = [
    "Launch",
    "is_healthy",
    "is_running",
    "require_free_port",
    "start",
    "stop",
    "tail",
    "wait_until_healthy",
]

DETACHED = '"$@" </dev/null >>"$0" 2>&1 & echo $!'
"""The shell ends at once, so nobody is the process's parent and no terminal is near it; $0 is the log."""

SAME_TIME_S = 5.0  # the system tells the time of its own start in whole seconds
LARGEST_LOG_BYTES = 10_000_000
TAIL_LINES = 12
PAUSE_S = 0.2
PORT_PATIENCE_S = 5.0  # orphans of a killed server need a moment to notice and leave

Tell = Callable[[str], None]
"""Hears what is going on now, a few words at a time."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How a server is started, and where it answers when it is up."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    log: Path
    health_url: str
    fingerprint: str  # of what decides its behaviour: another one means that it has to be started anew
    patience_s: float = 180.0
    umask: int = -1


def start(launch: Launch) -> Process:
    """Start a server in a session of its own; it goes on when we end. Its output is appended to the log."""
    _turn_over(launch.log)
    done = subprocess.run(
        ["/bin/sh", "-c", DETACHED, str(launch.log), *launch.command],
        env=dict(launch.environment),
        cwd=launch.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
        umask=launch.umask,
        check=True,
    )
    pid = int(done.stdout)
    try:
        created = psutil.Process(pid).create_time()
        return Process(pid, created, launch.fingerprint, booted=psutil.boot_time())
    except psutil.NoSuchProcess:
        raise _died(launch) from None


def is_running(process: Process | None) -> bool:
    """Whether it is alive: the very process, not a later one with its number."""
    return process is not None and _find(process) is not None


def stop(process: Process, *, patience_s: float = 15.0) -> bool:
    """End it and all its children, kindly first; returns whether it was there to be ended."""
    found = _find(process)
    if found is None:
        return False
    family = [found, *found.children(recursive=True)]
    _signal([found], psutil.Process.terminate)
    _signal(_wait(family, patience_s), psutil.Process.kill)
    _wait(family, patience_s)
    return True


def is_healthy(url: str, *, timeout_s: float = 5.0) -> bool:
    """Whether `url` answers 200."""
    try:
        return httpx.get(url, timeout=timeout_s, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def wait_until_healthy(launch: Launch, process: Process, tell: Tell) -> None:
    """Return once the server answers; SiteError with the end of its log when it died or stays silent."""
    began = time.monotonic()
    while not is_healthy(launch.health_url):
        waited = time.monotonic() - began
        if not is_running(process):
            raise _died(launch)
        if waited > launch.patience_s:
            raise SiteError(
                f"{launch.name} runs but does not answer at {launch.health_url} after {waited:.0f} s. "
                f"{_last_words(launch.log)}"
            )
        tell(f"waiting for {launch.name} ({waited:.0f} s)")
        time.sleep(PAUSE_S)


def require_free_port(host: str, port: int, *, setting: str, patience_s: float = PORT_PATIENCE_S) -> None:
    """SiteError naming the setting when somebody else listens there."""
    began = time.monotonic()
    while not _can_listen(host, port):
        if time.monotonic() - began > patience_s:
            raise SiteError(
                f"Port {port} on {host} is in use by another program. "
                f"Stop that one, or set `{setting}` to a free port."
            )
        time.sleep(PAUSE_S)


def tail(log: Path, lines: int) -> list[str]:
    """The last lines of a log; none when there is no log yet."""
    if not log.exists():
        return []
    with log.open(encoding="utf-8", errors="replace") as file:
        return [line.rstrip("\n") for line in deque(file, maxlen=lines)]


def _find(process: Process) -> psutil.Process | None:
    try:
        found = psutil.Process(process.pid)
        moved = psutil.boot_time() - (process.booted or psutil.boot_time())
        same = abs(found.create_time() - process.created - moved) < SAME_TIME_S
        return found if same and _is_alive(found) else None
    except psutil.NoSuchProcess:
        return None


def _wait(family: Sequence[psutil.Process], patience_s: float) -> list[psutil.Process]:
    """Those that are still alive after a while. One that ended and was not collected by its parent is not."""
    deadline = time.monotonic() + patience_s
    while (left := [one for one in family if _is_alive(one)]) and time.monotonic() < deadline:
        time.sleep(PAUSE_S / 4)
    return left


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _signal(processes: Sequence[psutil.Process], send: Callable[[psutil.Process], None]) -> None:
    for one in processes:
        try:
            send(one)
        except psutil.NoSuchProcess:
            continue


def _can_listen(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def _turn_over(log: Path) -> None:
    """Begin a new log when the old one has grown large; one old log is kept."""
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > LARGEST_LOG_BYTES:
        log.replace(log.with_name(f"{log.name}.1"))


def _died(launch: Launch) -> SiteError:
    return SiteError(f"{launch.name} ended while it started. {_last_words(launch.log)}")


def _last_words(log: Path) -> str:
    return "\n".join([f"Its log, {log}, ends with:", *tail(log, TAIL_LINES)])
