"""How a command of the terminal gets a Prefect API, and how it runs a round through it.

If `PREFECT_API_URL` is set, that server is used: runs appear beside the scheduled ones. Otherwise one server
runs for the length of the command, as a child process on the loopback interface, with its database in
`<home>/prefect`: the history of the runs stays there, and the server needs nothing from outside the machine
and ends with the command.

Importing this module does not import Prefect.
"""

from __future__ import annotations

import fcntl
import logging
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from engine.errors import EngineError
from flows.results import RoundResult, unwrapped

if TYPE_CHECKING:
    from engine.machine import StageOutcome

API_URL = "PREFECT_API_URL"
STARTUP_TIMEOUT_S = 600.0
SHUTDOWN_TIMEOUT_S = 20.0
SERVER_SCRIPT = Path(__file__).with_name("server_process.py")

MEMORY_DATABASE = "sqlite+aiosqlite:///:memory:"
"""For a second command on the same home: no history."""

UNUSED_SERVICES = ("EVENT_PERSISTER", "FOREMAN", "LATE_RUNS", "PAUSE_EXPIRATIONS", "SCHEDULER", "TRIGGERS")
"""Nothing is scheduled, triggered or paused on a server that lives as long as one command."""


class ServerError(EngineError):
    """The Prefect server of a command did not start."""


@contextmanager
def prefect_server(home: Path, *, quiet: bool = True) -> Iterator[str]:
    """Have a Prefect API for the rounds of `home`; yields its address.

    quiet: Prefect's log goes to `<home>/prefect/rounds.log` and not to the terminal. Raises ServerError if
    the server does not answer within 10 minutes.
    """
    folder = home.resolve() / "prefect"
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        given = os.environ.get(API_URL)
        stack.enter_context(_environment({"DO_NOT_TRACK": "1", "PREFECT_HOME": str(folder)}))
        url = given or stack.enter_context(_own_server(folder))
        if quiet:
            stack.enter_context(_log_to(folder / "rounds.log"))
        yield url


def run_round(
    home: Path,
    phase: int,
    *,
    seed: int | None = None,
    videos: int | None = None,
    annotators: str | None = None,
    on_stage: Callable[[str, StageOutcome], None] | None = None,
) -> RoundResult:
    """Open or continue the round of `phase` as a Prefect flow run, within `prefect_server`.

    `on_stage` hears every stage's outcome as it comes. Raises the EngineError a stage raised.
    """
    from flows.round import engine_round, listening

    with listening(on_stage):
        return unwrapped(
            engine_round(phase=phase, home=str(home), seed=seed, videos=videos, annotators=annotators)
        )


@contextmanager
def _environment(defaults: Mapping[str, str]) -> Iterator[None]:
    """Environment variables that Prefect reads on import: no user profile, no tracking."""
    added = [name for name in defaults if name not in os.environ]
    os.environ.update({name: defaults[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def _own_server(folder: Path) -> Iterator[str]:
    """Run a server for as long as the context lasts, and point Prefect's client in this process at it."""
    with ExitStack() as stack:
        keeps_history = stack.enter_context(_sole_owner(folder / "server.lock"))
        database = file_database(folder / "prefect.db") if keeps_history else MEMORY_DATABASE
        url = stack.enter_context(_child(folder, database))
        stack.enter_context(_client_settings(url))
        if keeps_history:
            _end_abandoned_runs()
        try:
            yield url
        finally:
            _send_what_is_queued()


@contextmanager
def _sole_owner(lock: Path) -> Iterator[bool]:
    """Whether no other command of this home runs a server; two servers on one SQLite file would block each
    other.
    """
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


@contextmanager
def _child(folder: Path, database: str) -> Iterator[str]:
    """The server's process; its own session keeps Ctrl-C away from it, its standard input tells it when we
    end.
    """
    command = [sys.executable, "-P", str(SERVER_SCRIPT)]
    with (
        (folder / "server.log").open("ab") as log,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=folder,
            env=_child_environment(folder, database),
            start_new_session=True,
        ) as process,
    ):
        try:
            yield _address(process, folder / "server.log")
        finally:
            _stop(process)


def _child_environment(folder: Path, database: str) -> dict[str, str]:
    """The server hears only what is said here, not the settings of another Prefect on this machine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    services = {f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false" for name in UNUSED_SERVICES}
    return (
        kept
        | services
        | {
            "PREFECT_HOME": str(folder),
            "PREFECT_LOGGING_LEVEL": "WARNING",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": database,
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        }
    )


def file_database(path: Path) -> str:
    """SQLite in a file, through one single connection.

    Prefect opens several connections to a SQLite file, which then block each other: of 28 flow runs in a row
    every one waited 2 s ("database is locked") and one a whole minute. It keeps to one connection where the
    address holds `:memory:`, as the made-up parameter here does; SQLite ignores it, and the same runs took a
    quarter of the time.
    """
    return f"sqlite+aiosqlite:///file:{quote(str(path))}?uri=true&connections=:memory:"


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    assert process.stdout is not None, "started with a pipe"
    ready, _, _ = select.select([process.stdout], [], [], STARTUP_TIMEOUT_S)
    url = process.stdout.readline().decode().strip() if ready else ""
    if not url:
        how = "ended" if ready else f"did not answer within {STARTUP_TIMEOUT_S:.0f} s"
        raise ServerError(
            f"Prefect's server {how}; its log is {log}. "
            "Run the command with --no-prefect, or point PREFECT_API_URL at a running server."
        )
    return url


def _stop(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None, "started with a pipe"
    process.stdin.close()
    try:
        process.wait(SHUTDOWN_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()


@contextmanager
def _client_settings(url: str) -> Iterator[None]:
    """Prefect's settings in this process while it uses its own server.

    Heartbeats are off: they show dead runs to a server that outlives them, and waiting for their thread costs
    a second for every flow. Logs go to the file only; sending them cost a quarter of the server's work.
    """
    from prefect.settings import (
        PREFECT_API_KEY,
        PREFECT_API_URL,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        PREFECT_LOGGING_TO_API_ENABLED,
        temporary_settings,
    )

    with temporary_settings(
        {
            PREFECT_API_URL: url,
            PREFECT_API_KEY: None,
            PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
            PREFECT_LOGGING_TO_API_ENABLED: False,
        }
    ):
        yield


def _end_abandoned_runs() -> None:
    """Call runs crashed that a killed command left as running: the history is ours alone, so nobody executes
    them.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    alive = FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING])
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=alive))):
            client.set_flow_run_state(run.id, Crashed(message="The command was killed."), force=True)


def _send_what_is_queued() -> None:
    """Task runs travel to the server in the background; wait for them, or the last ones are lost."""
    from prefect.events.worker import EventsWorker

    EventsWorker.drain_all(timeout=SHUTDOWN_TIMEOUT_S)


@contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """Send what Prefect says in this process to a file instead of the terminal; its own UI still gets it."""
    import prefect.main  # noqa: F401  sets up the handlers that are replaced here

    with ExitStack() as stack:
        handler = logging.FileHandler(path, encoding="utf-8", delay=True)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
        stack.callback(handler.close)
        for name in ("prefect", "prefect._internal"):
            stack.enter_context(_redirected(logging.getLogger(name), handler))
        yield


@contextmanager
def _redirected(logger: logging.Logger, handler: logging.Handler) -> Iterator[None]:
    handlers, propagate = logger.handlers[:], logger.propagate
    logger.handlers, logger.propagate = [handler], False
    try:
        yield
    finally:
        logger.handlers, logger.propagate = handlers, propagate
