"""The server of a command: found, started, kept to itself, quiet, ended with the command."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from prefect.client.orchestration import get_client
from prefect.states import Running

from flows import server
from flows.advance import advance
from flows.server import ServerError, prefect_server


def test_importing_the_module_does_not_import_prefect():
    code = "import sys, flows.server; sys.exit('prefect' in sys.modules or 'torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_a_server_that_is_named_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect.lab:4200/api")
    with prefect_server(tmp_path) as url:
        assert url == "http://prefect.lab:4200/api"
    assert not (tmp_path / "prefect" / "prefect.db").exists()


def test_a_server_that_does_not_start_is_an_error_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    script = tmp_path / "broken.py"
    script.write_text("raise SystemExit('no room')")
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setattr(server, "SERVER_SCRIPT", script)
    with pytest.raises(ServerError, match=r"ended.*server\.log"), prefect_server(tmp_path):
        pass
    assert "no room" in (tmp_path / "prefect" / "server.log").read_text()


def test_two_commands_do_not_share_a_database_file(tmp_path: Path):
    lock = tmp_path / "server.lock"
    with server._sole_owner(lock) as first, server._sole_owner(lock) as second:
        assert (first, second) == (True, False)
    with server._sole_owner(lock) as again:
        assert again


def test_prefect_keeps_to_one_connection_for_our_database_file(tmp_path: Path):
    assert ":memory:" in server.file_database(tmp_path / "a b?.db")
    assert "a%20b%3F.db" in server.file_database(tmp_path / "a b?.db")


def test_prefect_is_quiet_and_its_log_is_kept(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    with server._log_to(tmp_path / "rounds.log"):
        logging.getLogger("prefect.anything").warning("hello")
    assert "hello" in (tmp_path / "rounds.log").read_text()
    assert "hello" not in capfd.readouterr().err


@pytest.mark.usefixtures("prefect_api")
def test_runs_of_killed_commands_are_called_crashed():
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(advance, parameters={"home": "gone"}, state=Running())
        server._end_abandoned_runs()
        state = client.read_flow_run(run.id).state
    assert state is not None and state.is_crashed()


@pytest.mark.slow
def test_the_server_ends_when_its_command_is_killed(tmp_path: Path):
    code = (
        "import sys, psutil\n"
        "from pathlib import Path\n"
        "from flows.server import prefect_server\n"
        "with prefect_server(Path(sys.argv[1])):\n"
        "    print(psutil.Process().children()[0].pid, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as command:
        assert command.stdout is not None
        child = psutil.Process(int(command.stdout.readline()))
        command.kill()
    child.wait(60)
    assert not child.is_running()
