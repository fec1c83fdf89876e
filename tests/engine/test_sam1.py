"""Phase 1 with a SAM 1 of its own: its weights belong to the round, whatever becomes of their file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from engine.errors import RoundError
from engine.home import EngineHome, open_home
from engine.machine import advance_round, open_round
from engine.rounds import checkpoint_key, open_rounds
from engine.stages.base import StageContext
from model.config import DecoderConfig
from model.files.checkpoints import checkpoint_hash
from model.sam1.checkpoints import save_sam1
from model.sam1.config import Sam1Config
from model.sam1.sam1 import Sam1
from storage.commits import Commit, read_commit

MICRO_SAM1 = Sam1Config(
    size="micro",
    width=8,
    depth=2,
    heads=1,
    global_blocks=(1,),
    window=3,
    image_size=64,
    trained_size=64,
    dim=32,
    decoder=DecoderConfig(heads=2, feedforward=32, dynamic_multimask=False),
)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    path = tmp_path / "sam1.safetensors"
    save_sam1(Sam1(MICRO_SAM1), path)
    return path


def with_sam(home: EngineHome, path: Path) -> EngineHome:
    return open_home(home.path, flags={"model.sam_checkpoint": str(path)})


def prelabels(home: EngineHome, round_id: str) -> Commit:
    commit = read_commit(home.store, round_id, "prelabel")
    assert commit is not None
    return commit


def test_a_round_of_phase_1_works_with_sam_1(make_home: Callable[..., EngineHome], weights: Path) -> None:
    plain, home = make_home("plain"), with_sam(make_home("sam1"), weights)
    digest = checkpoint_hash(weights)
    opening = open_round(home, phase=1)
    assert opening.settings["model"]["sam_checkpoint"] == digest
    assert home.store.exists(checkpoint_key(digest))
    assert advance_round(home, opening.round_id).state == "done"
    made = prelabels(home, opening.round_id)
    assert made.summary["sam_checkpoint_hash"] == digest
    rows = StageContext(home, opening, "annotate").rows("prelabel", "prelabels")
    assert rows and all(row["object_score"] is None and 0 <= row["predicted_iou"] <= 1 for row in rows)

    plain_opening = open_round(plain, phase=1)
    advance_round(plain, plain_opening.round_id)
    without = prelabels(plain, plain_opening.round_id)
    assert "sam_checkpoint_hash" not in without.summary
    assert [ref.sha256 for ref in without.files] != [ref.sha256 for ref in made.files]


def test_an_open_round_keeps_its_weights(make_home: Callable[..., EngineHome], weights: Path) -> None:
    steady, shaken = (with_sam(make_home(name), weights) for name in ("steady", "shaken"))
    rounds = [open_round(home, phase=2) for home in (steady, shaken)]
    weights.unlink()  # only one of them could still have read it
    assert rounds[0].hash == rounds[1].hash
    again = open_home(shaken.path)  # nor does it matter that the settings name nothing now
    for home, opening in zip((steady, again), rounds, strict=True):
        assert advance_round(home, opening.round_id).state == "done"
    assert prelabels(steady, rounds[0].round_id).hash == prelabels(again, rounds[1].round_id).hash


def test_files_without_sam_1_open_no_round(home: EngineHome, micro_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(RoundError, match=r"model\.sam_checkpoint.*holds no SAM 1"):
        open_round(with_sam(home, micro_checkpoint), phase=1)
    with pytest.raises(RoundError, match="does not exist"):
        open_round(with_sam(home, tmp_path / "absent.pth"), phase=1)
    assert open_rounds(home) == []
