"""A training folder goes on with what it was begun with, and with nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.cli.model import train
from engine.dataset import latest_dataset
from engine.home import EngineHome
from engine.machine import advance_round, open_round
from engine.training.begun import BEGUN_FILE, begin
from engine.training.recipes import RecipeRun, run
from engine.training.sources import digest_of_rows
from model.errors import TrainingError
from model.files.checkpoints import checkpoint_hash, load_checkpoint, save_checkpoint
from model.training.recipe import load_recipe
from storage.manifests import rows_to_table, write_manifest


@pytest.fixture(scope="module")
def home(make_home: Callable[..., EngineHome]) -> EngineHome:
    """A home after one round."""
    home = make_home("begun")
    opening = open_round(home, phase=1)
    assert advance_round(home, opening.round_id).state == "done"
    return home


def test_a_folder_is_begun_once(tmp_path: Path) -> None:
    folder = tmp_path / "training"
    begin(folder, {"start": "a", "data set": "b"})
    begin(folder, {"start": "a", "data set": "b"})
    with pytest.raises(TrainingError, match="begun with another data set and another start"):
        begin(folder, {"data set": "c", "start": "d"})
    assert json.loads((folder / BEGUN_FILE).read_text()) == {"start": "a", "data set": "b"}


def test_another_data_set_or_start_in_the_same_folder_is_refused(
    home: EngineHome, micro_checkpoint: Path, tmp_path: Path
) -> None:
    rows = latest_dataset(home)
    ref = write_manifest(home.store, "some", "dataset", rows_to_table("dataset", rows[:1]), "dataset")

    def tune(manifest: str = "", start: Path = micro_checkpoint) -> str:
        train(home, start, manifest=manifest, mode="all", steps=1, seed=0, out=tmp_path / "out")
        return checkpoint_hash(tmp_path / "out" / "checkpoint.safetensors")

    first = tune()
    assert tune() == first
    with pytest.raises(TrainingError, match="another data set "):
        tune(ref.key)
    model = load_checkpoint(micro_checkpoint)
    next(model.parameters()).data.add_(1)
    save_checkpoint(model, tmp_path / "other.safetensors")
    with pytest.raises(TrainingError, match="another start "):
        tune(start=tmp_path / "other.safetensors")


def test_what_home_stands_for_is_part_of_a_run(
    home: EngineHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(tmp_path, {"data set": digest_of_rows(home, ["home:", "drawn:"])})
    rows = latest_dataset(home)
    monkeypatch.setattr("engine.training.sources.latest_dataset", lambda home: rows[:1])
    recipe = load_recipe("nano-finetune").on("home:")
    with pytest.raises(TrainingError, match="another data set "):
        run(home, RecipeRun(recipe=recipe, out_dir=tmp_path))
    assert digest_of_rows(home, ["drawn:"]) == ""


def test_a_frozen_encoder_needs_trained_weights(tmp_path: Path) -> None:
    recipe = load_recipe("long").on("drawn:")
    with pytest.raises(TrainingError, match="freezes the image encoder"):
        run(None, RecipeRun(recipe=recipe, out_dir=tmp_path / "out"))
