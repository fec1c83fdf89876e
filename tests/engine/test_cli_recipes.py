"""`engine model recipes` and `engine model train RECIPE`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner, Result

from engine.cli.app import app
from engine.home import create_home
from engine.training.process import ERROR_FILE, JOB_FILE, failure
from engine.training.recipe_process import work_on
from model.errors import TrainingError
from model.files.checkpoints import default_checkpoint, load_checkpoint, save_checkpoint
from model.training.curves import read_curve
from model.training.recipe import RECIPES, load_recipe
from tests.engine.training.test_sources import annotate, ingest
from tests.model.training.conftest import build_micro

FEW = ("--set", "image_size=64", "--set", "clips_per_step=1", "--set", "objects=1", "--set", "frames=2")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No home lies here."""
    monkeypatch.delenv("ENGINE_HOME", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.chdir(tmp_path)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["model", *map(str, arguments)])


def done(*arguments: str | Path) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.output


def refused(*arguments: str | Path) -> str:
    result = run(*arguments)
    assert isinstance(result.exception, TrainingError), result.output + repr(result.exception)
    return str(result.exception)


def test_recipes_are_listed() -> None:
    rows = json.loads(done("recipes", "--json"))
    assert [row["name"] for row in rows] == list(RECIPES)
    assert rows[0]["what"] == "mae" and rows[0]["origin"].startswith("Hiera paper")
    assert all(name in done("recipes") for name in ("sam2-mask", "nano-finetune"))


def test_a_recipe_is_shown_as_it_would_run(tmp_path: Path) -> None:
    shown = tmp_path / "mine.toml"
    shown.write_text(
        done("train", "full", "--show", "--set", "lr=1e-5", "--data", "sav:/data=2", "--steps", "30")
    )
    recipe = load_recipe(shown)
    assert (recipe.steps, recipe.data, recipe.stages[0].config.lr) == (30, ("sav:/data=2",), 1e-5)
    assert load_recipe(shown) == load_recipe("full", ["lr=1e-5", 'data=["sav:/data=2"]']).shortened(30)
    assert done("train", shown, "--show") == shown.read_text()


def test_a_manifest_is_a_source_like_others() -> None:
    shown = done("train", "finetune", "--show", "--manifest", "7", "--data", "drawn:=0.2")
    assert 'data = ["manifest:7", "drawn:=0.2"]' in shown


def test_a_recipe_trains_without_a_home_and_goes_on(tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    save_checkpoint(build_micro(), start)
    command = ("train", "nano-sam2-mask", "--data", "drawn:", "--from", start, "--steps", "2", *FEW)
    said = done(*command)
    assert "step 1: loss" in said and "objects a second" in said
    assert "Wrote" in said and "--suite development" in said.rsplit("Next:", 1)[1]
    folder = tmp_path / "training" / "nano-sam2-mask"
    assert load_checkpoint(folder / "checkpoint.safetensors").image_size == 64
    assert pq.read_table(folder / "metrics.parquet").num_rows == 2
    done(*command)
    assert "another recipe, data, seed or start" in refused(*command, "--seed", "1")


def test_a_homes_data_set_trains_with_a_recipe_and_without(tmp_path: Path) -> None:
    home = create_home(tmp_path / "home")
    key = annotate(home, (ingest(home, "film", 40), "manual")).key
    start = tmp_path / "start.safetensors"
    save_checkpoint(build_micro(), start)
    common = ("--manifest", key, "--from", start, "--steps", "1")
    for recipe in ((), ("nano-finetune", "--set", "frames=2")):
        command = ["--home", str(home.path), "model", "train", *recipe, *map(str, common)]
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output + repr(result.exception)
        assert f"Next: engine --home {home.path} model evaluate training/" in result.output
        assert "step 1: loss" in result.output and "objects a second" in result.output
    for folder in ("training", "training/nano-finetune"):
        assert load_checkpoint(tmp_path / folder / "checkpoint.safetensors").image_size == 64
        assert pq.read_table(tmp_path / folder / "metrics.parquet")["loss"].to_pylist()[0] > 0


KILLED = """
size = "nano"
start = "packaged"
data = ["drawn:"]

[train]
steps = 5
frames = 3
clips_per_step = 2
objects = 2
still_share = 0.3
accumulate = 2
workers = 1
drop_path = 0.2
ema_decay = 0.9
save_every = 2

[[stages]]
name = "masks"
image_size = 64
mode = "masks"

[[stages]]
name = "clicks"
image_size = 64
mode = "all"
checkpoint_activations = true
"""


@pytest.mark.slow
def test_a_training_of_sam2_that_is_killed_ends_in_the_same_weights(tmp_path: Path) -> None:
    """The whole command (SAM 2, drawn clips, a loader's process, two stages), killed by SIGKILL in each stage."""
    recipe = tmp_path / "killed.toml"
    recipe.write_text(KILLED)

    def start(out: str) -> subprocess.Popen[bytes]:
        engine = Path(sys.executable).with_name("engine")
        command = [engine, "model", "train", recipe, "--out", out]
        return subprocess.Popen(list(map(str, command)), env={**os.environ, "OMP_NUM_THREADS": "1"})

    def kill_after(stage: str, step: int) -> None:
        folder = tmp_path / "cut" / stage
        with start("cut") as process:
            while max((row["step"] for row in read_curve(folder)), default=0) < step:
                assert process.poll() is None
                time.sleep(0.02)
            process.kill()
        assert process.returncode == -signal.SIGKILL

    assert start("whole").wait() == 0
    kill_after("masks", 3)
    kill_after("clicks", 3)
    assert start("cut").wait() == 0
    ends = [load_file(tmp_path / out / "checkpoint.safetensors") for out in ("whole", "cut")]
    assert ends[0].keys() == ends[1].keys()
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    assert not all(
        torch.equal(value, ends[0][name]) for name, value in load_file(default_checkpoint()).items()
    )


@pytest.mark.slow
def test_processes_train_together_and_their_errors_are_told(tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    save_checkpoint(build_micro(), start)
    command = ("train", "nano-sam2-mask", "--data", "drawn:", "--from", start, "--steps", "1", *FEW)
    said = done(*command, "--set", "clips_per_step=2", "--out", "two", "--processes", "2")
    assert "stage nano-sam2-mask" in said and "step 1: loss" in said
    assert load_checkpoint(tmp_path / "two" / "checkpoint.safetensors").image_size == 64
    job = tmp_path / "two" / JOB_FILE
    job.write_text(job.read_text().replace('"seed": 0', '"seed": 1'))
    assert work_on(job) == 1  # what a process does
    assert "another recipe" in str(failure(1, job.with_name(ERROR_FILE), []))


def test_a_trunk_is_pre_trained_on_a_folder_of_pictures(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(2):
        image = np.random.default_rng(number).integers(0, 256, (70, 90, 3), dtype=np.uint8)
        Image.fromarray(image).save(pictures / f"{number}.png")
    small = ("--set", "image_size=64", "--set", "clips_per_step=2", "--steps", "1")
    said = done(
        "train", "nano-mae", "--data", f"pictures:{pictures}=2", "--data", "drawn:=1", *small, "--out", "mae"
    )
    assert "Next: engine model train nano-images --from mae" in said
    assert "pictures a second" in said
    assert load_checkpoint(tmp_path / "mae" / "checkpoint.safetensors").config.size == "nano"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "nanno"), "the nearest known one is `nano`"),
        (("train", "nano", "--set", "stepps=3"), "The nearest known one is `steps`"),
        (("train", "full"), "Recipe full needs data"),
        (("train", "finetune", "--set", "start=packaged"), "there is no engine home here; write home:/path"),
        (("train", "nano-full", "--data", "pictures:/somewhere"), "pictures"),
        (("train", "nano-mae", "--from", "x.pt"), "it starts from no weights"),
    ],
)
def test_what_cannot_be_is_said(arguments: tuple[str, ...], message: str) -> None:
    assert message in refused(*arguments)


def test_options_that_do_not_go_together_are_refused() -> None:
    result = run("train", "--set", "lr=1", "--data", "drawn:")
    assert result.exit_code == 2 and "belong to a recipe" in result.output
    result = run("train", "nano", "--mode", "masks")
    assert result.exit_code == 2 and "--set mode=masks" in result.output
