"""`engine studio` without Label Studio: settings, what is printed, how it ends."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from annotation.site.records import Process, Site, new_secrets, write_secrets, write_site
from engine.cli import main
from engine.cli.studio import _once, _rest, install
from engine.home import create_home
from engine.settings import Settings, load_settings
from engine.studio import site_config

Engine = Callable[..., tuple[int, str, str]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return create_home(tmp_path / "home").path


@pytest.fixture
def engine(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Runs `engine studio …` on the home, in this process: exit code, output, errors."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["engine", "--home", str(home), "studio", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return (ended.value.code if isinstance(ended.value.code, int) else 0), said.out, said.err

    return run


def leave_site(home: Path, *, processes: dict[str, Process]) -> None:
    """What `engine studio up` would have left."""
    write_secrets(home, new_secrets())
    site = Site(
        url="http://127.0.0.1:1",
        public_url="https://label.example",
        model_url="http://127.0.0.1:2",
        projects={"selection": 1},
        media=home / "studio" / "media",
        version="1.2.3",
        database="sqlite",
        processes=processes,
    )
    write_site(home, site)


def logged(home: Path, name: str, *lines: str) -> Path:
    log = home / "studio" / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("".join(f"{line}\n" for line in lines))
    return log


def test_the_settings_become_a_site(tmp_path: Path) -> None:
    (tmp_path / "engine.toml").write_text(
        '[studio]\nport = 8123\nenvironment = "~/ls"\npublic_url = "http://a"\n'
    )
    config = site_config(tmp_path, load_settings(tmp_path / "engine.toml", environ={}))
    assert (config.url, config.model_url) == ("http://127.0.0.1:8123", "http://127.0.0.1:9090")
    assert config.environment == Path("~/ls").expanduser()
    assert config.address_in_pages == "http://a"
    assert config.model_environment["ENGINE_HOME"] == str(tmp_path)
    assert config.model_environment["OMP_WAIT_POLICY"] == os.environ.get("OMP_WAIT_POLICY", "PASSIVE")
    assert "engine.model_server:create" in config.model_command
    assert config.label_config("annotation-1").startswith("<View")


def test_other_settings_start_the_model_server_anew(tmp_path: Path) -> None:
    revision = site_config(tmp_path, Settings()).model_revision
    assert site_config(tmp_path, Settings().overridden({"studio.port": 8123})).model_revision == revision
    assert site_config(tmp_path, Settings().overridden({"model.threads": 2})).model_revision != revision


def test_installing_needs_no_home_and_starts_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "there"
    for package in (f"label_studio-{Settings().studio.version}", "gunicorn-27.0.1", "psycopg2_binary-2.9.12"):
        (there / "lib" / "python3.11" / "site-packages" / f"{package}.dist-info").mkdir(parents=True)
    monkeypatch.setenv("ENGINE_STUDIO__ENVIRONMENT", str(there))
    monkeypatch.setenv("COLUMNS", "200")
    install(tmp_path / "no-home")
    assert f"is in {there}" in capsys.readouterr().out
    assert not (tmp_path / "no-home").exists()


def test_a_site_changes_no_round() -> None:
    elsewhere = Settings().overridden({"studio.port": 8123, "studio.database_url": "postgresql://a:hush@b/c"})
    assert elsewhere.hash() == Settings().hash()
    assert "hush" not in str(elsewhere.snapshot())


@pytest.mark.parametrize(
    "command", [("status",), ("down",), ("logs",), ("invite", "a@b.c", "--role", "annotator")]
)
def test_a_home_without_a_site_says_what_to_run(engine: Engine, command: tuple[str, ...]) -> None:
    code, _, errors = engine(*command)
    assert code == 1
    assert "run `engine studio up`" in errors


def test_a_site_that_was_taken_down_is_no_failure(engine: Engine, home: Path) -> None:
    leave_site(home, processes={})
    code, said, _ = engine("status")
    assert code == 0
    assert "https://label.example" in said
    assert said.count("stopped") == 2
    assert "engine studio up" in said
    assert engine("down")[1] == "Nothing was running.\n"


def test_the_dead_and_the_silent_are_failures(engine: Engine, home: Path) -> None:
    itself = Process(os.getpid(), psutil.Process().create_time())
    leave_site(home, processes={"label-studio": Process(os.getpid(), created=5.0), "model-server": itself})
    code, said, _ = engine("status")
    assert code == 1
    assert "label-studio died: see" in said
    assert "model-server runs but does not answer" in said
    code, said, _ = engine("status", "--json")
    assert code == 1
    told = json.loads(said)
    assert (told["ok"], told["running"]) == (False, False)
    assert {name: server["state"] for name, server in told["servers"].items()} == {
        "label-studio": "died",
        "model-server": "silent",
    }


def test_nobody_is_invited_to_a_site_that_is_down(engine: Engine, home: Path) -> None:
    leave_site(home, processes={})
    code, _, errors = engine("invite", "ann@example.com", "--role", "annotator")
    assert code == 1
    assert "does not answer at http://127.0.0.1:1" in errors


def test_logs_are_shown_one_or_both(engine: Engine, home: Path) -> None:
    leave_site(home, processes={})
    logged(home, "label-studio", "a", "b", "c")
    logged(home, "model-server", "x")
    assert engine("logs", "label-studio", "--lines", "2")[1] == "b\nc\n"
    assert engine("logs", "--lines", "1")[1] == "label-studio: c\nmodel-server: x\n"
    code, _, errors = engine("logs", "prefect")
    assert code == 2
    assert "label-studio, model-server" in errors


def test_a_log_is_followed_line_by_line(home: Path) -> None:
    log = logged(home, "label-studio", "a")
    text, position = _rest(log, 0)
    assert (text, position) == ("a", 2)
    with log.open("a") as file:
        file.write("b\nc")
    assert _rest(log, position) == ("b", 4)
    log.write_text("new\n")
    assert _rest(log, 400) == ("new", 4)
    assert _rest(log.with_name("none"), 4) == ("", 0)


def test_a_taken_port_is_named_before_anything_starts(engine: Engine, home: Path, tmp_path: Path) -> None:
    for package in ("label_studio-1.23.2", "gunicorn-27.0.1"):
        (tmp_path / "ls" / "lib" / "python3.11" / "site-packages" / f"{package}.dist-info").mkdir(
            parents=True
        )
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with (home / "engine.toml").open("a") as file:
            file.write(f'[studio]\nenvironment = "{tmp_path / "ls"}"\nport = {port}\n')
        code, _, errors = engine("up")
    assert code == 1
    assert f"Port {port} on 127.0.0.1 is in use" in errors
    assert "`studio.port`" in errors


def test_progress_in_a_file_has_a_line_a_step() -> None:
    shown: list[str] = []
    tell = _once(shown.append)
    for text in ("starting", "waiting for x (0 s)", "waiting for x (1 s)", "installing: a", "installing: b"):
        tell(text)
    assert shown == ["starting", "waiting for x", "installing"]
