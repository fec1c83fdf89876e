"""Making Label Studio's environment, without pip: an installation is a folder of names here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from annotation.site import SiteError, environment
from annotation.site.environment import default_folder, ensure_environment

PACKAGES = ("label_studio-1.2.3", "gunicorn-27.0.1")


def silent(text: str) -> None:
    """Nobody watches."""


def install(folder: Path, *packages: str) -> None:
    (folder / "bin").mkdir(parents=True, exist_ok=True)
    (folder / "bin" / "python").touch()
    for name in packages:
        (folder / "lib" / "python3.11" / "site-packages" / f"{name}.dist-info").mkdir(parents=True)


class Runs:
    """Stands for venv and pip; notes what was asked, and may fail as a kill would."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.fail = False

    def __call__(self, command: list[str], log: Path, tell: Callable[[str], None], lock: int) -> None:
        self.commands.append(command)
        if "venv" in command:
            install(Path(command[-1]), "pip-24.0")
            return
        if self.fail:
            raise KeyboardInterrupt
        time.sleep(0.1)
        install(Path(command[0]).parents[1], *PACKAGES)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    runs = Runs()
    monkeypatch.setattr(environment, "_run", runs)
    return runs


def test_it_is_made_once(tmp_path: Path, runs: Runs) -> None:
    made = ensure_environment("1.2.3", folder=tmp_path / "cache" / "ls", tell=silent)
    assert made.python == tmp_path / "cache" / "ls" / "bin" / "python"
    assert made.packages == tmp_path / "cache" / "ls" / "lib" / "python3.11" / "site-packages"
    assert "label-studio==1.2.3" in runs.commands[1]
    assert ensure_environment("1.2.3", folder=tmp_path / "cache" / "ls", tell=silent) == made
    assert len(runs.commands) == 2


def test_a_killed_installation_is_made_anew(tmp_path: Path, runs: Runs) -> None:
    runs.fail = True
    with pytest.raises(KeyboardInterrupt):
        ensure_environment("1.2.3", folder=tmp_path / "ls", tell=silent)
    (tmp_path / "ls" / "half").touch()
    runs.fail = False
    ensure_environment("1.2.3", folder=tmp_path / "ls", tell=silent)
    assert not (tmp_path / "ls" / "half").exists()


def test_two_at_once_make_one(tmp_path: Path, runs: Runs) -> None:
    def make() -> None:
        ensure_environment("1.2.3", folder=tmp_path / "ls", tell=silent)

    threads = [threading.Thread(target=make) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(runs.commands) == 2


def test_one_that_somebody_made_is_used_as_it_is(tmp_path: Path, runs: Runs) -> None:
    install(tmp_path / "theirs", *PACKAGES)
    before = sorted(tmp_path.rglob("*"))
    assert ensure_environment("1.2.3", folder=tmp_path / "theirs", tell=silent).folder == tmp_path / "theirs"
    assert sorted(tmp_path.rglob("*")) == before
    assert not runs.commands


@pytest.mark.parametrize(
    ("packages", "message"),
    [
        (("label_studio-1.0.0", "gunicorn-27.0.1"), r"holds Label Studio 1\.0\.0, but 1\.2\.3"),
        (("gunicorn-27.0.1",), r"holds Label Studio \(none\)"),
        (("label_studio-1.2.3",), r"has no gunicorn.*pip install"),
    ],
)
def test_one_that_will_not_do_says_why(
    tmp_path: Path, runs: Runs, packages: tuple[str, ...], message: str
) -> None:
    install(tmp_path / "theirs", *packages)
    with pytest.raises(SiteError, match=message):
        ensure_environment("1.2.3", folder=tmp_path / "theirs", tell=silent)
    assert not runs.commands


def test_a_failed_command_shows_the_end_of_its_log(tmp_path: Path) -> None:
    told: list[str] = []
    command = ["/bin/sh", "-c", "echo Collecting something; echo no such version; exit 1"]
    with pytest.raises(SiteError, match=r"(?s)cannot be installed.*no such version"):
        environment._run(command, tmp_path / "log", told.append, 0)
    assert told == [
        "installing Label Studio: Collecting something",
        "installing Label Studio: no such version",
    ]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, runs: Runs) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SiteError, match="cannot be made in"):
        ensure_environment("1.2.3", folder=tmp_path / "file" / "ls", tell=silent)


def test_the_cache_folder_has_one_per_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert default_folder("1.2.3") == Path("/cache/sam2-data-engine/label-studio-1.2.3")
