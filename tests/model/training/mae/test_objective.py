"""Pre-training learns, draws the same however it is shared, and its trunk goes into a SAM 2 bit for bit."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PilImage

from model.errors import TrainingError
from model.files.checkpoints import load_checkpoint
from model.network.sam2 import Sam2
from model.training.mae.config import MaeConfig
from model.training.mae.network import MaskedAutoencoder
from model.training.mae.objective import MaeObjective, fresh_model, normalised, save_trunk
from model.training.mae.pictures import ClipPictures, FolderPictures
from model.training.objective import Share
from model.training.train_config import TrainConfig
from model.training.trainer import fit
from tests.model.training.conftest import MICRO, SquareClips

MAE = MaeConfig(decoder_width=16, decoder_depth=1, decoder_heads=2)
FEW = TrainConfig(steps=3, clips_per_step=4, warmup=0, lr=3e-3, clip_norm=0.0)


def objective(config: TrainConfig = FEW) -> MaeObjective:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = MaskedAutoencoder(MICRO, MAE)
    return MaeObjective(network, ClipPictures(SquareClips()), config, MAE)


def test_the_loss_falls_and_the_trunk_carries_over_bit_for_bit(tmp_path: Path) -> None:
    config = replace(FEW, steps=24)
    ours = objective(config)
    before = {name: value.clone() for name, value in ours.network.trunk.state_dict().items()}

    def save(path: Path) -> None:
        save_trunk(ours.network.trunk, MICRO, path, seed=0, metadata={"recipe": "mae"})

    result = fit(ours, config, out_dir=tmp_path, save=save)
    losses = [float(row["loss"]) for row in result.rows]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    loaded = load_checkpoint(result.checkpoint).image_encoder.trunk.state_dict()
    trained = ours.network.trunk.state_dict()
    assert all(torch.equal(loaded[name], trained[name]) for name in trained) and set(loaded) == set(trained)
    still = [name for name, value in before.items() if torch.equal(value, loaded[name])]
    assert still == []  # every weight of the trunk took part


def test_shares_of_a_step_are_its_pictures(tmp_path: Path) -> None:
    ours = objective()
    whole = ours.draw(7)
    halves = [ours.draw(7, Share(index, 2)) for index in range(2)]
    assert torch.equal(whole.images[0::2], halves[0].images) and torch.equal(
        whole.visible[1::2], halves[1].visible
    )
    assert [ours.weight(batch) for batch in (whole, *halves)] == [4, 2, 2]
    assert ours.describe(halves[0]) == ", ".join(whole.names[0::2])
    assert not torch.equal(whole.images, ours.draw(8).images)
    with pytest.raises(TrainingError, match="4 pictures a step cannot be shared by 5"):
        ours.draw(0, Share(4, 5))


def test_pictures_are_normalised_as_the_network_does_it(micro: Sam2) -> None:
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8))
    assert torch.allclose(normalised(images), micro.preprocess(images), atol=1e-6)


def test_a_fresh_model_depends_on_the_seed_only() -> None:
    first, again, other = (fresh_model(MICRO, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_what_draws_pictures_goes_to_workers_without_the_network() -> None:
    ours = objective()
    copy = pickle.loads(pickle.dumps(ours.draw))  # noqa: S301
    assert torch.equal(copy(3).images, ours.draw(3).images)
    assert len(pickle.dumps(ours.draw)) < 10_000


def test_pictures_that_cannot_be_read_are_replaced_and_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    PilImage.fromarray(np.zeros((80, 80, 3), np.uint8)).save(tmp_path / "b.png")
    network = objective().network
    batch = MaeObjective(network, FolderPictures(tmp_path), FEW, MAE).draw(0)
    assert set(batch.names) == {str(tmp_path / "b.png")} and len(batch.names) == 4
    assert all("a.png" in clip.reason for clip in batch.skipped)
    (tmp_path / "b.png").write_bytes(b"neither")
    with pytest.raises(TrainingError, match="none of 20 pictures could be read"):
        MaeObjective(network, FolderPictures(tmp_path), FEW, MAE).draw(0)
