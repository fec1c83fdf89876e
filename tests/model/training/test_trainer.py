"""The training loop: it learns, repeats itself exactly, and a killed run ends like a whole one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.errors import TrainingError
from model.files.checkpoints import checkpoint_hash, load_checkpoint, save_checkpoint
from model.training.clips import Clip
from model.training.trainer import Row, TrainConfig, finetune, train

from .conftest import SquareClips, build_micro

FEW = TrainConfig(
    steps=4,
    frames=2,
    clips_per_step=2,
    objects=1,
    correction_clicks=1,
    still_share=0.5,
    warmup=1,
    save_every=2,
)


class Killed(Exception):
    pass


def kill_after(step: int) -> Any:
    def progress(row: Row) -> None:
        if row["step"] == step:
            raise Killed

    return progress


def test_the_loss_falls(squares: SquareClips, tmp_path: Path) -> None:
    config = replace(FEW, steps=20, mode="masks", multimask=False, lr=1e-2, encoder_lr=1e-2)
    rows = train(build_micro(), squares, config, out_dir=tmp_path).rows
    losses = [float(row["loss"]) for row in rows]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def test_equal_seeds_give_equal_weights_and_others_do_not(squares: SquareClips, tmp_path: Path) -> None:
    hashes = [
        checkpoint_hash(
            train(
                build_micro(dropout=0.1), squares, replace(FEW, seed=seed), out_dir=tmp_path / name
            ).checkpoint
        )
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize("killed_at", [1, 3])
def test_a_killed_run_ends_like_an_uninterrupted_one(
    squares: SquareClips, tmp_path: Path, killed_at: int
) -> None:
    whole = train(build_micro(dropout=0.1), squares, FEW, out_dir=tmp_path / "whole")
    with pytest.raises(Killed):
        train(
            build_micro(dropout=0.1), squares, FEW, out_dir=tmp_path / "cut", progress=kill_after(killed_at)
        )
    resumed = train(build_micro(dropout=0.1), squares, FEW, out_dir=tmp_path / "cut")
    assert checkpoint_hash(resumed.checkpoint) == checkpoint_hash(whole.checkpoint)
    assert resumed.rows == whole.rows


def test_a_finished_run_is_not_repeated(squares: SquareClips, tmp_path: Path) -> None:
    first = train(build_micro(), squares, FEW, out_dir=tmp_path)
    again = train(build_micro(), squares, FEW, out_dir=tmp_path, progress=kill_after(1))
    assert again == first


def test_the_state_holds_plain_tensors_and_numbers_only(squares: SquareClips, tmp_path: Path) -> None:
    train(build_micro(), squares, FEW, out_dir=tmp_path)
    state = torch.load(max(tmp_path.glob("state-*.pt")), weights_only=True)
    assert state["step"] == FEW.steps
    assert not list(tmp_path.glob("*.partial"))


def test_a_state_of_another_configuration_is_refused(squares: SquareClips, tmp_path: Path) -> None:
    train(build_micro(), squares, FEW, out_dir=tmp_path)
    with pytest.raises(TrainingError, match="another configuration"):
        train(build_micro(), squares, replace(FEW, lr=1.0), out_dir=tmp_path)


def test_a_loss_that_is_no_number_stops_and_names_the_clips(tmp_path: Path, squares: SquareClips) -> None:
    model = build_micro()
    with torch.no_grad():
        model.maskmem_tpos_enc.fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"step 0 is nan; its clips were square-\d, square-\d") as caught:
        train(model, squares, replace(FEW, mode="masks"), out_dir=tmp_path)
    assert "lower learning rate in another folder (--out)" in str(caught.value)


def test_rows_say_what_the_training_manifest_needs(squares: SquareClips, tmp_path: Path) -> None:
    rows = train(build_micro(), squares, FEW, out_dir=tmp_path).rows
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert set(rows[0]) == {
        "step", "split", "loss", "loss_mask", "loss_dice", "loss_iou", "loss_class", "lr", "grad_norm",
    }  # fmt: skip


def test_finetune_goes_on_from_a_checkpoint_and_keeps_its_image_size(
    squares: SquareClips, tmp_path: Path
) -> None:
    start = tmp_path / "start.safetensors"
    save_checkpoint(build_micro(), start)
    result = finetune(start, squares, replace(FEW, mode="masks"), out_dir=tmp_path / "out", image_size=96)
    tuned = load_checkpoint(result.checkpoint)
    assert tuned.image_size == 64
    weights = [model.sam_mask_decoder.mask_tokens.weight for model in (load_checkpoint(start), tuned)]
    assert not torch.equal(*weights)


def test_still_steps_use_single_frames(tmp_path: Path) -> None:
    asked: list[int] = []

    class Recording(SquareClips):
        def clip(self, index: int, rng: np.random.Generator, *, frames: int, objects: int, size: int) -> Clip:
            asked.append(frames)
            return super().clip(index, rng, frames=frames, objects=objects, size=size)

    train(build_micro(), Recording(), replace(FEW, still_share=1.0), out_dir=tmp_path)
    assert asked == [1] * (FEW.steps * FEW.clips_per_step * FEW.frames)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"mode": "clicks"}, "masks, all"), ({"steps": 0}, "steps"), ({"lr": -1.0}, "lr")],
)
def test_impossible_settings_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        TrainConfig(**change)
