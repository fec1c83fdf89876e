"""A training folder goes on with the data and weights it was begun with, and with no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.cli.model import train
from engine.dataset import latest_dataset
from engine.home import EngineHome
from engine.training.recipes import RecipeRun, run
from engine.training.sources import digest_of_rows
from model.errors import TrainingError
from model.files.checkpoints import checkpoint_hash, load_checkpoint, save_checkpoint
from model.training.recipe import load_recipe
from storage.manifests import rows_to_table, write_manifest

FEW = ("image_size=64", "frames=2", "objects=1", "clips_per_step=1", "workers=0", "warmup=0")


@pytest.fixture
def home(home_after_a_round: EngineHome) -> EngineHome:
    return home_after_a_round


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
    with pytest.raises(TrainingError, match="from another data set; use another folder"):
        tune(ref.key)
    model = load_checkpoint(micro_checkpoint)
    next(model.parameters()).data.add_(1)
    save_checkpoint(model, tmp_path / "other.safetensors")
    with pytest.raises(TrainingError, match="from another start; use another folder"):
        tune(start=tmp_path / "other.safetensors")


def test_what_home_stands_for_is_part_of_a_run(
    home: EngineHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe("nano-finetune", FEW).on("home:").shortened(1)
    asked = RecipeRun(recipe=recipe, out_dir=tmp_path)
    first = run(home, asked)
    assert run(home, asked).rows == first.rows
    rows = latest_dataset(home)
    monkeypatch.setattr("engine.training.sources.latest_dataset", lambda home: rows[:1])
    with pytest.raises(TrainingError, match="from another data set; use another folder"):
        run(home, asked)
    assert digest_of_rows(home, ["drawn:"]) == ""


def test_a_frozen_encoder_needs_trained_weights(tmp_path: Path) -> None:
    recipe = load_recipe("long").on("drawn:")
    with pytest.raises(TrainingError, match="freezes the image encoder"):
        run(None, RecipeRun(recipe=recipe, out_dir=tmp_path / "out"))
