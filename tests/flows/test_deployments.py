"""prefect.yaml: what it deploys exists, and a real worker takes a round to its end on the clock's word."""

from __future__ import annotations

import importlib
import inspect
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from engine.home import EngineHome
from engine.machine import open_round, stage_is_done
from flows.server import file_database
from tests.engine.conftest import make_home, micro_checkpoint  # noqa: F401  fixtures

ROOT = Path(__file__).parents[2]
CONFIG = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
DEPLOYMENTS: list[dict[str, Any]] = CONFIG["deployments"]
PREFECT = [sys.executable, "-m", "prefect"]
DEADLINE_S = 600.0


def test_there_is_one_deployment_for_each_phase_and_one_to_advance():
    assert [each["name"] for each in DEPLOYMENTS] == ["phase-1", "phase-2", "phase-3", "advance"]
    assert [each["parameters"].get("phase") for each in DEPLOYMENTS] == [1, 2, 3, None]


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda each: each["name"])
def test_a_deployment_fits_its_flow(deployment: dict[str, Any]):
    module, _, name = deployment["entrypoint"].rpartition(".")
    flow = getattr(importlib.import_module(module), name)
    inspect.signature(flow.fn).bind(**deployment["parameters"])
    assert deployment["parameters"]["home"] == "{{ $ENGINE_HOME }}"


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda each: each["name"])
def test_a_deployment_avoids_what_gets_stuck(deployment: dict[str, Any]):
    assert "concurrency_limit" not in deployment, (
        "a killed run would keep the slot; leases are in the catalog"
    )
    for schedule in deployment["schedules"]:
        assert "parameters" not in schedule, "pausing a schedule wipes its parameters"
        assert schedule["slug"] and schedule["timezone"]


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_scheduled_run_takes_a_round_to_its_end(
    make_home: Callable[[str], EngineHome],  # noqa: F811
    tmp_path: Path,
):
    home = make_home("scheduled")
    opening = open_round(home, phase=1)
    text = (ROOT / "prefect.yaml").read_text(encoding="utf-8")
    frequent = text.replace(
        'slug: every-10-minutes, cron: "*/10 * * * *", timezone: UTC', "interval: 20, slug: soon"
    )
    (tmp_path / "prefect.yaml").write_text(frequent)
    with _server(_environment(home, tmp_path), tmp_path) as environment:
        _prefect(
            "work-pool", "create", "engine", "--type", "process", environment=environment, folder=tmp_path
        )
        _prefect("--no-prompt", "deploy", "--all", environment=environment, folder=tmp_path)
        with _started(
            "worker", "start", "--pool", "engine", "--limit", "1", environment=environment, folder=tmp_path
        ):
            run = _first_finished_run(environment["PREFECT_API_URL"])
        assert _active_schedules(environment["PREFECT_API_URL"]) == ["advance"]
    assert run["state_name"] in ("Promoted", "NotPromoted"), (tmp_path / "worker.log").read_text()
    assert stage_is_done(home, opening.round_id, "close")


def _environment(home: EngineHome, folder: Path) -> dict[str, str]:
    """What the server, the worker and its runs are told: this home, nothing from outside the machine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return kept | {
        "DO_NOT_TRACK": "1",
        "ENGINE_HOME": str(home.path),
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": file_database(folder / "prefect.db"),
        "PYTHONPATH": str(ROOT),
    }


@contextmanager
def _server(environment: dict[str, str], folder: Path) -> Iterator[dict[str, str]]:
    """`prefect server start` on a free port; yields the environment of its clients."""
    port = str(_free_port())
    with _started("server", "start", "--port", port, environment=environment, folder=folder) as process:
        url = f"http://127.0.0.1:{port}/api"
        _wait_until(lambda: process.poll() is not None or _answers(f"{url}/health"))
        assert process.poll() is None, (folder / "server.log").read_text()
        yield environment | {"PREFECT_API_URL": url}


@contextmanager
def _started(
    kind: str, *arguments: str, environment: dict[str, str], folder: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A long-lived `prefect` command; ended with everything it started."""
    with (
        (folder / f"{kind}.log").open("wb") as log,
        subprocess.Popen(
            [*PREFECT, kind, *arguments],
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def _prefect(*arguments: str, environment: dict[str, str], folder: Path) -> None:
    done = subprocess.run([*PREFECT, *arguments], env=environment, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def _first_finished_run(url: str) -> dict[str, Any]:
    """The first run of `advance` that the clock started and a worker finished."""
    wanted = {
        "deployments": {"name": {"any_": ["advance"]}},
        "flow_runs": {"state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}}},
    }
    found: list[dict[str, Any]] = []

    def look() -> bool:
        found[:] = httpx.post(f"{url}/flow_runs/filter", json=wanted, timeout=60).json()
        return bool(found)

    _wait_until(look)
    assert found[0]["auto_scheduled"]
    return found[0]


def _active_schedules(url: str) -> list[str]:
    deployments = httpx.post(f"{url}/deployments/filter", json={}, timeout=60).json()
    return [each["name"] for each in deployments for schedule in each["schedules"] if schedule["active"]]


def _wait_until(condition: Callable[[], bool]) -> None:
    """Ask once a second; other processes can only be asked."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"nothing within {DEADLINE_S:.0f} s"
        time.sleep(1.0)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
