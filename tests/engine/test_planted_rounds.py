"""Whole rounds in which retraining goes wrong: they close with a refusal, and the champion stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from engine.home import EngineHome, open_home
from engine.machine import advance_round, finish_stage, open_round, pending_shards, run_shard
from engine.reporting import write_reports
from engine.rounds import champion_checkpoint, checkpoint_key, store_checkpoint
from engine.stages.base import STAGE_NAMES, Row, read_parts
from engine.stages.retrain import CHECKPOINT
from model.files.checkpoints import default_checkpoint, load_checkpoint, save_checkpoint
from storage.commits import finish_shard, read_commit
from storage.manifests import FileRef, rows_to_table, write_manifest
from tests.engine.conftest import add_video
from tests.engine.test_bad_checkpoints import add_noise, swap_heads

Spoil = Callable[..., None]

RUINOUS = {"lr": 0.05, "encoder_lr": 0.05, "steps": 5, "warmup": 0}
OVERFIT = {
    "lr": 1e-3,
    "encoder_lr": 1e-3,
    "steps": 12,
    "warmup": 0,
    "replay_share": 0.0,
    "synthetic_share": 0.0,
}


@pytest.fixture
def nano_home(make_home: Callable[..., EngineHome]) -> EngineHome:
    """The home in miniature with the packaged weights, which follow its discs well, and four evaluation objects."""
    home = make_home("planted")
    settings = home.path / "engine.toml"
    lines = settings.read_text().splitlines()
    settings.write_text(
        "\n".join("image_size = 64" if line.startswith("checkpoint =") else line for line in lines) + "\n"
    )
    home = open_home(home.path)
    add_video(home, "held-out-too", 10, split="eval")
    return home


def with_retraining(home: EngineHome, wrong: dict[str, float]) -> EngineHome:
    """The home with other numbers in `[retrain]`, the last table of its settings."""
    settings = home.path / "engine.toml"
    kept = [line for line in settings.read_text().splitlines() if line.split(" =")[0] not in wrong]
    settings.write_text("\n".join([*kept, *(f"{key} = {value}" for key, value in wrong.items())]) + "\n")
    return open_home(home.path)


def plant(home: EngineHome, round_id: str, spoil: Spoil, folder: Path) -> str:
    """Take a round to its retraining, and hand in spoilt weights as what that made; returns their hash."""
    for stage in STAGE_NAMES[: STAGE_NAMES.index("retrain")]:
        for shard in pending_shards(home, round_id, stage):
            run_shard(home, round_id, stage, shard)
        assert finish_stage(home, round_id, stage).state == "done"
    model = load_checkpoint(default_checkpoint(), image_size=64)
    spoil(model, folder)
    save_checkpoint(model, folder / "spoilt.safetensors")
    digest = store_checkpoint(home, folder / "spoilt.safetensors")
    curve = write_manifest(
        home.store, f"rounds/{round_id}/retrain", "training", rows_to_table("training", []), "training"
    )
    weights = FileRef(name=CHECKPOINT, key=checkpoint_key(digest), sha256=digest)
    finish_shard(home.store, round_id, "retrain", 0, (curve, weights))
    return digest


def assert_refused(home: EngineHome, round_id: str, champion: str, own: str = "mask") -> None:
    """The round is closed, its champion the old one, and what refused the challenger is in record and report.

    `own` is the protocol of the round's phase.
    """
    close, gate, trained = (
        read_commit(home.store, round_id, stage) for stage in ("close", "evaluate", "retrain")
    )
    assert close and gate and trained
    assert trained.summary["challenger"] not in ("", champion)
    assert close.summary["promoted"] == 0
    assert close.summary["checkpoint_hash_end"] == champion == champion_checkpoint(home)
    reason = str(close.summary["reason"])
    assert reason.startswith("refused: ") and "Too much lost: " in reason
    rows: list[Row] = [
        row for row in read_parts(home, gate.files, "metrics").to_pylist() if row["role"] in ("gate", "floor")
    ]
    suites = {(row["role"], row["suite"], row["protocol"]) for row in rows}
    assert {("gate", None, own), ("gate", "retention", own), ("floor", "retention", own)} <= suites
    main = next(row for row in rows if row["role"] == "gate" and not row["suite"] and row["protocol"] == own)
    assert main["verdict"].startswith("failed") and main["jf"] < -3
    page = next(path for path in write_reports(home, round_id=round_id)).read_text(encoding="utf-8")
    assert "not promoted" in page and "Too much lost" in page and "first weights" in page


@pytest.mark.parametrize("wrong", [RUINOUS, OVERFIT], ids=["ruinous rate", "over-fitted"])
def test_training_that_went_wrong_is_refused(wrong: dict[str, float], nano_home: EngineHome) -> None:
    home = with_retraining(nano_home, wrong)
    champion = champion_checkpoint(home)
    opening = open_round(home, phase=2)
    assert advance_round(home, opening.round_id).state == "done"
    assert_refused(home, opening.round_id, champion)


@pytest.mark.parametrize(
    ("phase", "spoil", "own"),
    [(1, add_noise, "mask"), (2, add_noise, "mask"), (2, swap_heads, "mask"), (3, add_noise, "3-click")],
)
def test_weights_that_took_the_place_of_the_trained_ones_are_refused(
    phase: int, spoil: Spoil, own: str, nano_home: EngineHome, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    champion = champion_checkpoint(nano_home)
    opening = open_round(nano_home, phase=phase)
    digest = plant(nano_home, opening.round_id, spoil, tmp_path)
    assert advance_round(nano_home, opening.round_id).state == "done"
    trained = read_commit(nano_home.store, opening.round_id, "retrain")
    assert trained and trained.summary["challenger"] == digest
    assert_refused(nano_home, opening.round_id, champion, own)
