"""The benchmark of the training step: its rows, its batch, its ratio; our side of it; the official one where it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.train_step.__main__ import cells
from benchmarks.train_step.batches import draw_batch
from benchmarks.train_step.measure import Comparison, OurStep, compare, weights_of
from benchmarks.train_step.rows import ROWS, choose
from model.training.prompt_simulation import PromptPlan

ROW = replace(ROWS[0], frames=2, objects=1, image_size=64)


def test_rows_are_chosen_by_how_their_names_begin():
    assert [row.id for row in choose(["nano"])] == ["nano-mask", "nano-clicks"]
    assert choose([]) == list(ROWS)
    with pytest.raises(ValueError, match="no row begins with huge"):
        choose(["huge"])


def test_equal_seeds_give_equal_batches_in_which_every_object_is_seen():
    batch, again = draw_batch(ROWS[0]), draw_batch(ROWS[0])
    assert torch.equal(batch.images, again.images)
    assert batch.masks.shape == (8, 4, 128, 128)
    assert batch.masks.flatten(2).any(dim=2).all()
    assert len(batch.seeds) == 2


def test_the_ratio_is_the_median_of_pairs_with_an_interval():
    result = Comparison(
        cpu={"ours": [1.0, 2.0, 1.0], "official": [1.5, 2.8, 1.3]},
        wall={"ours": [1.0, 2.0, 1.0], "official": [2.0, 4.0, 2.0]},
        losses={"ours": 4.0, "official": 4.0002},
    )
    ratio, low, high = result.ratio()
    assert ratio == pytest.approx(1.4)
    assert 1.3 <= low <= 1.4 <= high <= 1.5
    assert result.difference == pytest.approx(5e-5, rel=1e-2)
    assert cells(ROW, result)[3:] == ["1.40×", f"{low:.2f}–{high:.2f}", "2.00×", "5.0e-05"]


@pytest.mark.parametrize("plan", [PromptPlan(("mask",), (0,)), PromptPlan(("box",), (0,), (0,))])
def test_our_side_repeats_itself(tmp_path: Path, plan: PromptPlan):
    row = replace(ROW, plan=plan, correction_clicks=1)
    step = OurStep(row, weights_of(row, tmp_path))
    losses = [float(step.loss(draw_batch(row)).detach()) for _ in range(2)]
    assert losses[0] == losses[1] > 0


def test_the_official_modules_have_the_same_loss(tmp_path: Path):
    pytest.importorskip("sam2")
    row = replace(ROW, frames=3, plan=PromptPlan(("click",), (0,), (0, 1)), correction_clicks=2)
    assert compare(row, tmp_path, repeats=1).difference < 1e-4
