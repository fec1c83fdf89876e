"""The recipe of the packaged weights, shortened, and where the weights say they come from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from model.files.checkpoints import checkpoint_hash, default_checkpoint, load_checkpoint, read_info
from model.training.data.sources import parse_source
from model.training.recipe import Stage, load_recipe
from model.training.run import run_recipe
from model.training.trainer import Row

MEBIBYTE = 1024**2


def test_the_recipe_runs_through_its_stages_and_repeats_itself(tmp_path: Path) -> None:
    whole = load_recipe("nano", ["steps=1", "warmup=0", "clips_per_step=1", "objects=1"])
    recipe = replace(
        whole,
        stages=(replace(whole.stages[0], image_size=32), replace(whole.stages[2], image_size=64)),
    )
    sources = [parse_source(text) for text in recipe.data]
    steps: list[tuple[str, object]] = []

    def tell(stage: Stage, row: Row) -> None:
        steps.append((stage.name, row["step"]))

    first = run_recipe(recipe, sources, out_dir=tmp_path / "a", progress=tell).checkpoint
    second = run_recipe(recipe, sources, out_dir=tmp_path / "b").checkpoint
    assert steps == [("1-masks", 1), ("3-clicks", 1)]
    assert checkpoint_hash(first) == checkpoint_hash(second)
    assert load_checkpoint(first, "nano").image_size == load_checkpoint(default_checkpoint()).image_size


def test_stages_begin_with_masks_and_a_single_answer() -> None:
    stages = load_recipe("nano").stages
    assert stages[0].config.mode == "masks"
    assert not stages[0].config.multimask
    assert [stage.spread for stage in stages].count(True) == 1


def test_packaged_weights_are_small_and_say_where_they_come_from() -> None:
    path = default_checkpoint()
    assert path.stat().st_size < 20 * MEBIBYTE
    info = read_info(path)
    assert info is not None
    assert info.extra["recipe"] == "nano"
