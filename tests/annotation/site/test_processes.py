"""Processes that go on without us, on a tiny web server."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from annotation.site import SiteError, processes
from annotation.site.processes import Launch
from annotation.site.records import Process
from tests.servers import free_ports

SERVER = (
    "import http.server as h; h.HTTPServer(('127.0.0.1', {}), h.SimpleHTTPRequestHandler).serve_forever()"
)
PARENT = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {!r}]); time.sleep(600)"
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('deaf', flush=True)
time.sleep(600)
"""


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    (port,) = free_ports(1)
    return Launch(
        name="little",
        command=[sys.executable, "-c", SERVER.format(port)],
        environment=dict(os.environ),
        folder=tmp_path,
        log=tmp_path / "logs" / "little.log",
        health_url=f"http://127.0.0.1:{port}/",
        fingerprint="f",
        patience_s=30,
        umask=0o077,
    )


@pytest.fixture
def started() -> Iterator[Callable[[Launch], Process]]:
    """Starts what is stopped at the end, come what may."""
    running: list[Process] = []

    def start(launch: Launch) -> Process:
        running.append(processes.start(launch))
        return running[-1]

    yield start
    for process in running:
        processes.stop(process, patience_s=0.2)


def silent(text: str) -> None:
    """Nobody watches."""


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_server_is_started_apart_and_stopped(launch: Launch, started: Callable[[Launch], Process]) -> None:
    process = started(launch)
    processes.wait_until_healthy(launch, process, silent)
    found = psutil.Process(process.pid)
    assert os.getsid(process.pid) != os.getsid(0)
    assert os.getpid() not in [parent.pid for parent in found.parents()]
    assert launch.log.stat().st_mode & 0o077 == 0
    assert processes.is_running(process)
    assert processes.stop(process)
    assert not processes.is_running(process)
    assert not processes.stop(process)


def test_children_are_stopped_too(launch: Launch, started: Callable[[Launch], Process]) -> None:
    command = [sys.executable, "-c", PARENT.format(launch.command[-1])]
    process = started(replace(launch, command=command))
    processes.wait_until_healthy(launch, process, silent)
    (child,) = psutil.Process(process.pid).children()
    processes.stop(process)
    assert not processes.is_running(Process(child.pid, process.created))


def test_who_does_not_listen_is_killed(launch: Launch, started: Callable[[Launch], Process]) -> None:
    process = started(replace(launch, command=[sys.executable, "-c", STUBBORN]))
    until(lambda: processes.tail(launch.log, 1) == ["deaf"])
    assert processes.stop(process, patience_s=0.2)
    assert not processes.is_running(process)


def test_another_process_of_the_same_number_is_left_alone() -> None:
    stranger = Process(os.getpid(), created=12345.0)
    assert not processes.is_running(stranger)
    assert not processes.stop(stranger)


def test_a_corrected_clock_makes_nobody_a_stranger(
    launch: Launch, started: Callable[[Launch], Process]
) -> None:
    process = started(launch)
    before = replace(process, created=process.created - 3600.0, booted=process.booted - 3600.0)
    assert processes.is_running(before)
    assert not processes.is_running(replace(process, created=process.created - 3600.0))


def test_one_that_dies_says_its_last_words(launch: Launch, started: Callable[[Launch], Process]) -> None:
    doomed = replace(
        launch, command=[sys.executable, "-c", "import time; time.sleep(0.3); raise SystemExit('no disk')"]
    )
    process = started(doomed)
    with pytest.raises(SiteError, match=r"little ended while it started(.|\n)*no disk"):
        processes.wait_until_healthy(doomed, process, silent)


def test_one_that_says_nothing_is_given_up(launch: Launch, started: Callable[[Launch], Process]) -> None:
    mute = replace(launch, command=[sys.executable, "-c", "import time; time.sleep(600)"], patience_s=0.3)
    told: list[str] = []
    with pytest.raises(SiteError, match="does not answer"):
        processes.wait_until_healthy(mute, started(mute), told.append)
    assert told[0].startswith("waiting for little")


def test_a_taken_port_names_the_setting() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(SiteError, match=rf"{port}.*`studio\.port`"):
            processes.require_free_port("127.0.0.1", port, setting="studio.port", patience_s=0)


def test_a_port_that_becomes_free_is_waited_for() -> None:
    other = socket.socket()
    other.bind(("127.0.0.1", 0))
    other.listen()
    threading.Timer(0.3, other.close).start()
    processes.require_free_port("127.0.0.1", other.getsockname()[1], setting="studio.port", patience_s=30)


def test_a_large_log_is_turned_over(
    launch: Launch, started: Callable[[Launch], Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "LARGEST_LOG_BYTES", 10)
    launch.log.parent.mkdir()
    launch.log.write_text("much too long\n")
    started(launch)
    assert processes.tail(launch.log.with_name("little.log.1"), 5) == ["much too long"]
    assert processes.tail(launch.log, 5) == []
