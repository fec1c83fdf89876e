"""Training in child processes: they die with their parent, the next run goes on, and errors arrive in words."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine.home import EngineHome, open_home
from engine.stages.base import Row
from engine.training.process import ERROR_FILE, failure, train_apart, train_job, write_job
from engine.training.retraining import retrain
from model.errors import ModelError, TrainingError
from model.training.state import States
from storage.errors import StoreError
from storage.manifests import FileRef, read_manifest, write_manifest
from tests.engine.training.parent import config

ROOT = Path(__file__).parents[3]
STEPS = 20
WAIT_S = 240.0


@pytest.fixture(scope="module")
def home(make_home: Callable[..., EngineHome]) -> EngineHome:
    return make_home("apart")


@pytest.fixture(scope="module")
def data_set(home: EngineHome) -> FileRef:
    """A data set of one masklet, which is the reference."""
    video = next(video for video in home.library.videos() if video.split == "train")
    masks = home.references.read(video.video_id)[1]
    said = {"masklet_id": "m", "revision": 0, "video_id": video.video_id, "object_id": 1, "phase": 1}
    rows = [
        {
            **said, "frame": frame, "height": rle.height, "width": rle.width, "counts": rle.counts, "area": 64,
            "edited": False, "clicks": 0, "origin": "manual", "annotator": "a", "locked": False,
        }
        for frame, rle in masks.items()
    ]  # fmt: skip
    ref = write_manifest(home.store, "tests", "annotations", rows, "annotations")
    row = {
        **said, "round_id": "r", "origin": "manual", "split": video.split, "group": video.group, "first_frame": 0,
        "frames_visible": len(masks), "edited_frames": 0, "mean_area": 64.0, "masks_key": ref.key,
        "masks_sha256": ref.sha256,
    }  # fmt: skip
    return write_manifest(home.store, "tests", "dataset", [row], "dataset")


@pytest.fixture
def rows(home: EngineHome, data_set: FileRef) -> list[Row]:
    return list(read_manifest(home.store, data_set).to_pylist())


def until(condition: Callable[[], Any], process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert process.poll() is None, "the parent ended by itself"
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


@pytest.mark.slow
def test_children_die_with_their_parent_and_the_next_run_goes_on(
    home: EngineHome, data_set: FileRef, rows: list[Row], micro_checkpoint: Path, tmp_path: Path
) -> None:
    out, settings = tmp_path / "out", home.settings.retrain
    arguments = [str(home.path), data_set.key, str(micro_checkpoint), str(out), "2", str(STEPS)]
    command = [sys.executable, "-m", "tests.engine.training.parent", *arguments]
    parent = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})
    states = States(out, keep=2)
    until(lambda: out.is_dir() and states.saved(), parent)
    children = psutil.Process(parent.pid).children(recursive=True)
    assert len(children) == 3, "one that starts two that train"
    parent.kill()
    assert parent.wait() == -signal.SIGKILL
    assert not psutil.wait_procs(children, timeout=WAIT_S)[1]

    saved, told = states.saved()[0].step, list[str]()
    assert saved < STEPS
    apart = train_apart(
        home, micro_checkpoint, rows, settings, config=config(STEPS), out_dir=out, tell=told.append
    )
    assert told[0].startswith(f"step {saved + 1}: loss ")
    here = retrain(home, micro_checkpoint, rows, settings, config=config(STEPS), out_dir=tmp_path / "here")
    losses = [[row["loss"] for row in result.rows] for result in (apart, here)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_what_a_child_said_is_the_error(home: EngineHome, rows: list[Row], tmp_path: Path) -> None:
    job = tmp_path / "job.json"
    missing = tmp_path / "weights.safetensors"
    write_job(job, home, missing, rows, home.settings.retrain, config=config(1))
    assert train_job(job) == 1
    error = failure(1, job.with_name(ERROR_FILE), ["step 1"])
    assert isinstance(error, TrainingError)
    assert str(missing) in str(error)


def test_training_goes_where_the_settings_say(
    home: EngineHome, rows: list[Row], micro_checkpoint: Path, tmp_path: Path
) -> None:
    elsewhere = open_home(home.path, flags={"model.device": "cuda:99"})
    with pytest.raises(ModelError, match="cuda:99"):
        retrain(elsewhere, micro_checkpoint, rows, home.settings.retrain, config=config(1), out_dir=tmp_path)


@pytest.mark.parametrize(
    ("code", "words"), [(-signal.SIGKILL, "memory ran out"), (3, "exit code 3. The last it said:\nbus error")]
)
def test_a_child_that_could_not_speak_is_quoted(tmp_path: Path, code: int, words: str) -> None:
    assert words in str(failure(code, tmp_path / ERROR_FILE, ["bus error"]))


def test_trying_again_helps_when_the_store_was_away(tmp_path: Path) -> None:
    file = tmp_path / ERROR_FILE
    file.write_text('{"message": "no store", "again": true}')
    assert isinstance(failure(1, file, []), StoreError)
