"""A run that is killed (SIGKILL) at any moment, or whose newest state is damaged, ends like an undisturbed one."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.errors import CheckpointError, TrainingError
from model.files.checkpoints import load_checkpoint
from model.training import curves, state
from model.training.curves import read_curve
from model.training.state import States, alone_in
from model.training.trainer import Row, TrainResult

from .lines import RUN, learn

ROOT = Path(__file__).parents[3]
MOMENTS = {
    "step:1": 0,
    "step:3": 2,
    "write:2": 0,
    "write:4": 2,
    "moved:4": 4,
    "curve:2": 2,
    "write:5": 4,
    "checkpoint:5": 5,
}
"""When a run was killed, and the step of the state that was left."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    torch.set_num_threads(1)
    return learn(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the folder of a killed run for every moment."""
    folder = tmp_path_factory.mktemp("killed")
    command = [sys.executable, "-m", "tests.model.training.killed", str(folder), *MOMENTS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    ends = [tuple(line.split()) for line in done.stdout.splitlines()]
    assert ends == [(moment, str(-signal.SIGKILL)) for moment in MOMENTS], done.stderr
    return folder


def weights(result: TrainResult) -> bytes:
    return result.checkpoint.read_bytes()


def test_rows_since_the_last_state_survive_a_kill(killed: Path, whole: TrainResult) -> None:
    rows = read_curve(killed / "step:3")
    assert [row["loss"] for row in rows] == [row["loss"] for row in whole.rows[:3]]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_run_ends_in_the_same_bits(
    killed: Path, whole: TrainResult, moment: str, tmp_path: Path
) -> None:
    shutil.copytree(killed / moment, tmp_path, dirs_exist_ok=True)
    told: list[Row] = []
    result = learn(tmp_path, progress=told.append)
    assert [row["step"] for row in told] == list(range(MOMENTS[moment] + 1, RUN.steps + 1))
    assert weights(result) == weights(whole)
    assert result.rows == whole.rows
    assert not list(tmp_path.glob("*.partial"))


@pytest.fixture
def cut(tmp_path: Path) -> Iterator[Path]:
    """A run in `tmp_path` that has states of two steps."""

    class Cut(Exception):
        pass

    def stop(row: Row) -> None:
        if row["step"] == 5:
            raise Cut

    with pytest.raises(Cut):
        learn(tmp_path, progress=stop)
    yield tmp_path


def test_a_damaged_state_falls_back_to_the_one_before(
    cut: Path, whole: TrainResult, caplog: pytest.LogCaptureFixture
) -> None:
    newest, older = States(cut, keep=2).saved()
    assert (newest.step, older.step) == (4, 2)
    data = bytearray(newest.path.read_bytes())
    data[len(data) // 2] ^= 1
    newest.path.write_bytes(data)
    told: list[Row] = []
    result = learn(cut, progress=told.append)
    assert told[0]["step"] == 3
    assert "damaged; going back" in caplog.text
    assert weights(result) == weights(whole)
    assert result.rows == whole.rows


def test_a_state_is_not_taken_for_weights(cut: Path) -> None:
    with pytest.raises(CheckpointError, match=r"not weights: take checkpoint.safetensors beside it"):
        load_checkpoint(States(cut, keep=2).saved()[0].path)


def test_a_run_with_damaged_states_only_does_not_start_anew_by_itself(cut: Path) -> None:
    for saved in States(cut, keep=2).saved():
        saved.path.write_bytes(saved.path.read_bytes()[:-9])
    with pytest.raises(TrainingError, match=r"Every saved state in .* is damaged"):
        learn(cut)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_disk_that_is_full_while_a_state_is_written_loses_that_state_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """torch tells of it by an error of its own, with the disk's behind it."""
    states = States(tmp_path, keep=2)
    assert states.save(1, {"weights": torch.zeros(300_000)})
    (tmp_path / "state.partial").symlink_to("/dev/full")
    assert not states.save(2, {"weights": torch.zeros(300_000)})
    assert "The disk is full" in caplog.text
    assert [saved.step for saved in states.saved()] == [1]
    assert not list(tmp_path.glob("*.partial"))


def test_a_full_disk_keeps_the_last_state_and_says_so(
    tmp_path: Path, whole: TrainResult, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    full = [False]

    def progress(row: Row) -> None:
        full[0] = row["step"] in (3, 4)
        if row["step"] == 5:
            raise KeyboardInterrupt

    real = state.replace_file

    def replace_file(part: Path, path: Path) -> None:
        if full[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(part))
        real(part, path)

    monkeypatch.setattr(state, "replace_file", replace_file)
    monkeypatch.setattr(curves, "replace_file", replace_file)
    with pytest.raises(KeyboardInterrupt):
        learn(tmp_path, progress=progress)
    assert [saved.step for saved in States(tmp_path, keep=2).saved()] == [2]
    assert not list(tmp_path.glob("*.partial"))
    assert "The disk is full: the state of step 4 is not saved" in caplog.text
    assert "the last good one, of step 2, is kept" in caplog.text
    assert [row["step"] for row in read_curve(tmp_path)] == [1, 2, 3, 4, 5]
    assert weights(learn(tmp_path)) == weights(whole)


def test_a_disk_that_fails_otherwise_stops_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(part: Path, path: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(part))

    monkeypatch.setattr(state, "replace_file", fail)
    with pytest.raises(TrainingError, match="Cannot save the state of training in"):
        learn(tmp_path, replace(RUN, steps=1))


def test_content_that_cannot_be_saved_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="cannot pickle"):
        States(tmp_path, keep=1).save(1, {"lock": threading.Lock()})
    assert not list(tmp_path.iterdir())


def test_the_last_states_are_kept(tmp_path: Path) -> None:
    learn(tmp_path, replace(RUN, save_every=1, keep=3))
    assert [saved.step for saved in States(tmp_path, keep=3).saved()] == [5, 4, 3]


def test_a_run_may_start_anew_or_go_on_with_other_habits_of_saving(cut: Path) -> None:
    told: list[Row] = []
    learn(cut, replace(RUN, save_every=1, keep=1, workers=1), progress=told.append)
    assert [row["step"] for row in told] == [5]
    told.clear()
    rows = learn(cut, resume=False, progress=told.append).rows
    assert [row["step"] for row in told] == [row["step"] for row in rows] == [1, 2, 3, 4, 5]


def test_two_processes_do_not_train_in_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "PATIENCE_S", 0.0)
    with alone_in(tmp_path), pytest.raises(TrainingError, match="Another process is training in"):
        learn(tmp_path)


def test_a_line_that_was_cut_off_is_no_row(tmp_path: Path) -> None:
    (tmp_path / curves.TAIL_FILE).write_text(json.dumps({"step": 1}) + '\n{"step": 2, "lo')
    assert read_curve(tmp_path) == [{"step": 1}]
