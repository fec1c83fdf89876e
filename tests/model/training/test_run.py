"""Every recipe runs, in small; stages follow each other, killed runs go on, folders keep to their recipe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from model.errors import TrainingError
from model.files.checkpoints import (
    checkpoint_hash,
    default_checkpoint,
    load_checkpoint,
    read_info,
    save_checkpoint,
)
from model.training.clips import Clip
from model.training.mae.pictures import ClipPictures
from model.training.mixture import Source
from model.training.recipe import RECIPES, Recipe, Stage, load_recipe
from model.training.run import RECIPE_FILE, RecipeResult, pretrain_trunk, run_recipe, starting_weights
from model.training.trainer import Row

from .conftest import SquareClips, build_micro

SMALL = (
    "size=nano",
    "image_size=64",
    "objects=1",
    "image_objects=1",
    "clips_per_step=1",
    "correction_clicks=1",
    "layer_decay=0.9",
    "drop_path=0.1",
    "mae.decoder_width=16",
    "mae.decoder_heads=2",
    "mae.decoder_depth=1",
    "workers=0",
)


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of a few thousand weights that calls itself nano."""
    path = tmp_path_factory.mktemp("weights") / "micro.safetensors"
    save_checkpoint(build_micro(), path)
    return path


def small(name: str, *settings: str) -> Recipe:
    """A packaged recipe for nano at 64 pixels; a step a stage."""
    own = [setting for setting in SMALL if name.endswith("mae") or not setting.startswith("mae.")]
    recipe = load_recipe(name, [*own, *settings])
    return recipe.shortened(len(recipe.stages))


MASKS = small("nano-sam2-mask", "frames=2")


def run(recipe: Recipe, out_dir: Path, **options: object) -> RecipeResult:
    if recipe.what == "mae":
        return pretrain_trunk(recipe, ClipPictures(SquareClips()), out_dir=out_dir, **options)  # type: ignore[arg-type]
    return run_recipe(recipe, [Source("squares", SquareClips())], out_dir=out_dir, **options)  # type: ignore[arg-type]


def weights(path: Path, part: str = "") -> dict[str, torch.Tensor]:
    state = load_checkpoint(path).state_dict()
    return {name: value for name, value in state.items() if name.startswith(part)}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return set(a) == set(b) and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("name", [name for name in RECIPES if name != "nano"])
def test_every_recipe_runs(name: str, tmp_path: Path, tiny_weights: Path) -> None:
    recipe = small(name, f"start={tiny_weights}")
    result = run(recipe, tmp_path)
    assert [row["stage"] for row in result.rows] == [stage.name for stage in recipe.stages]
    assert load_checkpoint(result.checkpoint).image_size == 64
    info = read_info(result.checkpoint)
    assert info is not None and info.extra["recipe"] == recipe.name
    assert load_recipe(tmp_path / RECIPE_FILE) == recipe


def test_a_trunk_of_stage_0_starts_stage_1(tmp_path: Path) -> None:
    mae = run(small("nano-mae"), tmp_path / "mae")
    images = small("images", "layer_decay=0.0", "frames=1")  # of the trunk only position embeddings learn
    trained = run(images, tmp_path / "images", start=mae.checkpoint)
    blocks = "image_encoder.trunk.blocks"
    assert same(weights(mae.checkpoint, blocks), weights(trained.checkpoint, blocks))
    assert not same(
        weights(mae.checkpoint, "sam_mask_decoder"), weights(trained.checkpoint, "sam_mask_decoder")
    )


def test_the_long_stage_leaves_the_encoder_as_it_was(tmp_path: Path, tiny_weights: Path) -> None:
    result = run(small("long"), tmp_path, start=tiny_weights)
    assert same(weights(tiny_weights, "image_encoder"), weights(result.checkpoint, "image_encoder"))
    assert not same(weights(tiny_weights, "memory_attention"), weights(result.checkpoint, "memory_attention"))


def test_stages_go_on_from_each_other_and_a_killed_run_from_where_it_was(
    tmp_path: Path, tiny_weights: Path
) -> None:
    config = replace(MASKS.stages[0].config, steps=2, save_every=1)
    stages = (Stage("one", 32, config), Stage("two", 64, replace(config, seed=9), spread=True))
    recipe = Recipe(name="two", stages=stages, start=str(tiny_weights), image_size=96)
    whole = run(recipe, tmp_path / "whole")
    assert [(row["stage"], row["step"]) for row in whole.rows] == [
        ("one", 1),
        ("one", 2),
        ("two", 1),
        ("two", 2),
    ]
    assert load_checkpoint(whole.checkpoint).image_size == 96

    def kill(stage: Stage, row: Row) -> None:
        if (stage.name, row["step"]) == ("two", 2):
            raise Killed

    with pytest.raises(Killed):
        run(recipe, tmp_path / "cut", progress=kill)
    resumed = run(recipe, tmp_path / "cut")
    assert checkpoint_hash(resumed.checkpoint) == checkpoint_hash(whole.checkpoint)
    assert not same(weights(tmp_path / "whole" / "one" / "checkpoint.safetensors"), weights(whole.checkpoint))


def test_a_stage_may_have_data_of_its_own(tmp_path: Path, tiny_weights: Path) -> None:
    class Counted(SquareClips):
        drawn = 0

        def clip(self, *args: Any, **options: Any) -> Clip:
            self.drawn += 1
            return super().clip(*args, **options)

    config = replace(MASKS.stages[0].config, steps=1)
    stages = (Stage("one", 32, config), Stage("two", 32, config, data=("drawn:",)))
    recipe = Recipe(name="two", stages=stages, start=str(tiny_weights), data=("home:",))
    shared, own = Counted(), Counted()
    result = run_recipe(
        recipe, [Source("shared", shared)], own_sources={"two": [Source("own", own)]}, out_dir=tmp_path
    )
    assert shared.drawn == own.drawn > 0
    info = read_info(result.checkpoint)
    assert info is not None and info.extra["data"] == "home: drawn:"


def test_seeds_are_added_to_the_stages(tmp_path: Path, tiny_weights: Path) -> None:
    first = run(MASKS, tmp_path / "a", seed=5, start=tiny_weights)
    other = small("nano-sam2-mask", "frames=2", "seed=5")
    second = run(other, tmp_path / "b", start=tiny_weights)
    assert same(weights(first.checkpoint), weights(second.checkpoint))


def test_a_folder_keeps_to_its_recipe_its_seed_and_its_start(tmp_path: Path, tiny_weights: Path) -> None:
    recipe = replace(MASKS, start=str(tiny_weights))
    run(recipe, tmp_path)
    run(replace(recipe, stages=small("nano-sam2-mask", "frames=2", "keep=5").stages), tmp_path)
    for other, options in (
        (replace(recipe, stages=small("nano-sam2-mask", "frames=3").stages), {}),
        (replace(recipe, data=("davis:/elsewhere",)), {}),
        (recipe, {"seed": 1}),
        (replace(recipe, start="fresh"), {}),
    ):
        with pytest.raises(TrainingError, match="another recipe, data, seed or start"):
            run(other, tmp_path, **options)


def test_a_start_that_was_replaced_is_refused(tmp_path: Path) -> None:
    start, out = tmp_path / "start.safetensors", tmp_path / "out"
    save_checkpoint(build_micro(), start)
    recipe = replace(MASKS, start=str(start))
    first = run(recipe, out)
    assert run(recipe, out).rows == first.rows
    save_checkpoint(build_micro(seed=1), start)
    with pytest.raises(TrainingError, match="from another start; use another folder"):
        run(recipe, out)


def test_starting_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    recipe = small("nano-full")
    assert starting_weights(replace(recipe, start="fresh")) is None
    assert starting_weights(recipe) == default_checkpoint()
    with pytest.raises(TrainingError, match="engine model pull sam2"):
        starting_weights(load_recipe("finetune"))
    with pytest.raises(TrainingError, match="which is no file"):
        starting_weights(replace(recipe, start="missing.pt"))


def test_weights_of_another_size_are_refused(tmp_path: Path, tiny_weights: Path) -> None:
    with pytest.raises(TrainingError, match="holds a nano network, recipe full is for tiny: --set size=nano"):
        run(replace(small("full"), size="tiny"), tmp_path / "out", start=tiny_weights)
