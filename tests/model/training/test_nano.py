"""The recipe of the packaged weights, shortened, and the weights themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.files.checkpoints import checkpoint_hash, default_checkpoint, load_checkpoint, read_info
from model.training.evaluation import evaluate_clips
from model.training.nano import pretrain
from model.training.recipe import load_recipe
from model.training.synthetic import SyntheticClips

MEBIBYTE = 1024**2


def test_the_recipe_runs_through_its_stages_and_repeats_itself(tmp_path: Path) -> None:
    whole = load_recipe("nano", ["steps=1", "clips_per_step=1", "objects=1"])
    recipe = replace(
        whole,
        stages=(replace(whole.stages[0], image_size=32), replace(whole.stages[2], image_size=64)),
    )
    steps: list[tuple[str, object]] = []
    first = pretrain(
        tmp_path / "a", recipe=recipe, progress=lambda stage, row: steps.append((stage.name, row["step"]))
    )
    second = pretrain(tmp_path / "b", recipe=recipe)
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
    assert info.extra["recipe"] == "model.training.nano"


@pytest.mark.slow
def test_packaged_weights_track_better_than_a_copy_of_the_first_mask() -> None:
    model = load_checkpoint(default_checkpoint(), image_size=128)
    with torch.inference_mode():
        copied, tracked, clicked = (
            evaluate_clips(model, SyntheticClips(), clips=8, protocol=protocol, frames=5)
            for protocol in ("copy", "mask", "3-click")
        )
    assert tracked.later > copied.later + 10
    assert clicked.first > 40
