"""The operator's door: what commands print and how they end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from annotation.work import Submission, WorkItem
from engine import desk as engine_desk
from engine.cli import app, main
from engine.home import EngineHome
from storage.commits import list_rounds


def engine(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Run the command line in this process: exit code, output, errors."""
    sys.argv = ["engine", *map(str, arguments)]
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    code = ended.value.code
    return (code if isinstance(code, int) else 0), captured.out, captured.err


@pytest.fixture(autouse=True)
def _keep_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setenv("COLUMNS", "200")


def images(folder: Path, *, count: int = 3) -> Path:
    folder.mkdir()
    for index in range(count):
        pixels = np.full((32, 48, 3), 40 * index, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


def test_every_command_explains_itself(capsys) -> None:
    code, out, _ = engine(capsys, "--help")
    assert code == 0
    for command in ("init", "demo", "ingest", "round", "status", "report", "export", "model", "doctor"):
        assert command in out
        assert engine(capsys, command, "--help")[0] == 0


def test_init_twice_keeps_the_home(capsys, tmp_path) -> None:
    home = tmp_path / "home"
    assert engine(capsys, "--home", home, "init")[0] == 0
    settings = home / "engine.toml"
    settings.write_text(settings.read_text() + "\n[round]\nvideos = 7\n")
    assert engine(capsys, "--home", home, "init")[0] == 0
    assert "videos = 7" in settings.read_text()
    assert settings.stat().st_mode & 0o077 == 0, "a database address may hold a password"


def test_no_home_says_what_to_do(capsys, tmp_path) -> None:
    code, _, err = engine(capsys, "--home", tmp_path, "status")
    assert code == 1
    assert "is not an engine home" in err and "init" in err


def test_a_home_that_cannot_be_written_is_named(capsys, tmp_path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("not a folder")
    code, _, err = engine(capsys, "--home", blocker / "home", "init")
    assert code == 1
    assert str(blocker / "home") in err.replace("\n", "") and "Choose another folder" in err.replace(
        "\n", " "
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_full_disk_is_named_and_nothing_is_half_written(capsys, tmp_path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", disk], check=False).returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        engine(capsys, "--home", disk / "home", "init")
        noise = np.random.default_rng(0).integers(0, 255, (400, 600, 3), dtype=np.uint8)
        folder = tmp_path / "video"
        folder.mkdir()
        Image.fromarray(noise).save(folder / "0.png")
        code, _, err = engine(capsys, "--home", disk / "home", "ingest", folder)
        assert code == 1
        assert "space" in err
        assert not list((disk / "home" / "store").rglob("videos/*.json"))
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def test_an_unknown_setting_ends_with_2_and_the_nearest_name(capsys, home: EngineHome) -> None:
    settings = home.path / "engine.toml"
    before = settings.read_text()
    settings.write_text(before.replace("control_objects", "controll_objects"))
    code, _, err = engine(capsys, "--home", home.path, "status")
    settings.write_text(before)
    assert code == 2
    assert "round.controll_objects" in err and "round.control_objects" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["round"],
        ["round", "--phase", "4"],
        ["ingest"],
        ["nonsense"],
        ["round", "--phase", "1", "--annotators", "x"],
    ],
)
def test_bad_usage_ends_with_2(capsys, home: EngineHome, arguments: list[str]) -> None:
    assert engine(capsys, "--home", home.path, *arguments)[0] == 2


def test_a_bad_video_is_reported_and_the_others_go_in(capsys, home: EngineHome, tmp_path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"not a video")
    (tmp_path / "empty").mkdir()
    good = images(tmp_path / "good")
    code, out, _ = engine(capsys, "--home", home.path, "ingest", bad, tmp_path / "empty", good, "--json")
    assert code == 0
    found = {Path(row["name"]).name: row for row in json.loads(out)}
    assert [found[name]["result"] for name in ("bad.mp4", "empty", "good")] == ["skipped", "skipped", "taken"]
    assert "bad.mp4" in found["bad.mp4"]["detail"]
    assert engine(capsys, "--home", home.path, "ingest", bad)[0] == 1


def test_metadata_gives_group_and_split(capsys, home: EngineHome, tmp_path) -> None:
    folder = images(tmp_path / "clip", count=2)
    table = tmp_path / "videos.csv"
    table.write_text("path,group,split\nclip,author-7,eval\n")
    assert engine(capsys, "--home", home.path, "ingest", folder, "--metadata", table)[0] == 0
    (video,) = (video for video in home.library.videos() if video.group == "author-7")
    assert video.split == "eval"
    table.write_text("path,author\nclip,x\n")
    code, _, err = engine(capsys, "--home", home.path, "ingest", folder, "--metadata", table)
    assert code == 2 and "lacks the column 'group'" in err


class _Idle:
    """People who have not started yet."""

    name = "idle"

    def exchange(self, open_items: Sequence[WorkItem]) -> Iterator[Submission]:
        yield from ()


def test_a_round_that_waits_for_people_ends_with_75(capsys, home: EngineHome, monkeypatch) -> None:
    monkeypatch.setattr(engine_desk, "people_for", lambda context: nullcontext(_Idle()))
    code, out, _ = engine(capsys, "--home", home.path, "round", "--phase", "1", "--no-prefect")
    assert code == 75
    assert "waits for people in plan" in out
    code, out, _ = engine(capsys, "--home", home.path, "status", "--json")
    (standing,) = json.loads(out)["rounds"]
    assert (standing["state"], standing["stage"]) == ("open", "plan")


def test_a_round_and_everything_after_it(capsys, home: EngineHome, tmp_path) -> None:
    code, out, err = engine(
        capsys, "--home", home.path, "round", "--phase", "1", "--no-prefect", "--seed", "4"
    )
    assert code == 0, err
    assert "simulated" in out and "is closed" in out
    assert list_rounds(home.store)[0].seed == 4
    code, out, _ = engine(capsys, "--home", home.path, "status", "--json")
    (standing,) = json.loads(out)["rounds"]
    assert (standing["id"], standing["phase"], standing["state"]) == ("r0001-p1", 1, "closed")
    assert {stage["state"] for stage in standing["stages"]} == {"done"}
    code, out, _ = engine(capsys, "--home", home.path, "doctor", "--rebuild", "--json")
    assert code == 0 and json.loads(out)["ok"]
    code, out, _ = engine(capsys, "--home", home.path, "report", "--json")
    assert code == 0
    assert all(Path(file).stat().st_size > 10_000 for file in json.loads(out)["files"])
    code, out, _ = engine(capsys, "--home", home.path, "model", "evaluate", "--json")
    assert code == 0 and set(json.loads(out)) == {"mask", "3-click"}
    assert engine(capsys, "--home", home.path, "export", "sav", tmp_path / "sav")[0] == 0
    assert engine(capsys, "--home", home.path, "export", "davis", tmp_path / "davis")[0] == 0
    assert list((tmp_path / "sav").rglob("*_manual.json"))
    assert engine(capsys, "--home", home.path, "export", "coco", tmp_path / "x")[0] == 2


def test_a_manifest_cut_in_half_is_found_by_the_doctor(capsys, home: EngineHome) -> None:
    assert engine(capsys, "--home", home.path, "round", "--phase", "1", "--no-prefect")[0] == 0
    victim = next((home.path / "store" / "rounds").rglob("annotations-*.parquet"))
    data = victim.read_bytes()
    victim.chmod(0o644)
    victim.write_bytes(data[: len(data) // 2])
    code, out, _ = engine(capsys, "--home", home.path, "doctor", "--json")
    assert code == 1
    (finding,) = (check for check in json.loads(out)["checks"] if check["name"] == "manifests")
    assert not finding["ok"] and victim.name in finding["detail"]


def test_the_app_is_the_console_script() -> None:
    assert app.info.name == "engine"
