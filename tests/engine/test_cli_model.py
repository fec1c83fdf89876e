"""`engine model list`, `pull` and `info`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from engine.cli.app import app
from model.errors import CheckpointError
from model.files.download import DownloadError, cache_folder
from model.files.official import OFFICIAL_FILES
from tests.model.file_server import FileServer, serve


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["model", *map(str, arguments)])


def test_the_published_files_are_listed() -> None:
    rows = json.loads(run("list", "--json").output)
    assert [row["name"] for row in rows] == list(OFFICIAL_FILES)
    assert not any(row["pulled"] for row in rows)
    cache_folder().mkdir(parents=True)
    (cache_folder() / "sam2.1_hiera_small.pt").touch()
    assert [row["name"] for row in json.loads(run("list", "--json").output) if row["pulled"]] == [
        "sam2.1_hiera_small"
    ]
    assert "sam_vit_h_4b8939" in run("list").output


def test_pulling_refuses_what_is_not_the_published_file(tmp_path: Path) -> None:
    with serve(FileServer(b"x" * 100)) as server:
        result = run("pull", "sam2.1_hiera_tiny", "--from", server.address, "--out", tmp_path)
    assert isinstance(result.exception, DownloadError) and "156,008,466" in str(result.exception)
    result = run("pull", "sam3")
    assert isinstance(result.exception, CheckpointError) and "known: sam2.1_hiera_tiny" in str(
        result.exception
    )


def test_info_says_what_a_file_is(tmp_path: Path) -> None:
    facts = json.loads(run("info", "--json").output)
    assert facts["loads"] and facts["size"] == "nano" and facts["image_size"] == 256
    torch.save({"model": {"x": torch.zeros(3)}}, tmp_path / "odd.pt")
    result = run("info", tmp_path / "odd.pt", "--json")
    assert result.exit_code == 1 and "1 unexpected: x" in json.loads(result.output)["differences"]
    assert "loads nowhere" in run("info", tmp_path / "odd.pt").output
