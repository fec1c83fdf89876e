"""Promotion and rollback by hand: recorded, repeatable, and obeyed by the next round."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from engine.cli import main
from engine.errors import RoundError
from engine.home import EngineHome
from engine.machine import open_round
from engine.promotion import gate_verdict, promote, rollback
from engine.rounds import champion_checkpoint, model_history, store_checkpoint
from model.errors import CheckpointError
from model.files.checkpoints import save_checkpoint
from model.network.sam2 import Sam2
from storage.commits import Commit, RoundOpening, commit_stage, list_rounds, make_round_id
from storage.commits import open_round as put_opening
from storage.errors import ManifestError
from storage.promotions import Promotion, list_promotions, record_promotion
from tests.engine.conftest import MICRO

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def home(make_home: Callable[..., EngineHome]) -> EngineHome:
    return make_home("promotions")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three files of different weights."""
    folder = tmp_path_factory.mktemp("weights")
    paths = [folder / f"{seed}.safetensors" for seed in range(1, 4)]
    for seed, path in enumerate(paths, start=1):
        torch.manual_seed(seed)
        save_checkpoint(Sam2(MICRO), path)
    return paths


def opened(home: EngineHome, number: int, *, start: str = "") -> RoundOpening:
    """The opening of a round, as the engine would put it, but of that number and with these weights."""
    if number == 1:
        return open_round(home, phase=1)
    first = list_rounds(home.store)[0]
    digest = start or champion_checkpoint(home)
    opening = replace(first, round_id=make_round_id(number, 1), number=number, checkpoint_hash=digest)
    return put_opening(home.store, opening)


def closed(home: EngineHome, opening: RoundOpening, *, challenger: str, promoted: bool) -> None:
    """End a round in which `challenger` was trained."""
    summaries: dict[str, dict[str, int | float | str]] = {
        "retrain": {"challenger": challenger},
        "evaluate": {
            "promote": int(promoted),
            "reason": "promoted: better" if promoted else "refused: worse",
        },
        "close": {
            "promoted": int(promoted),
            "checkpoint_hash_end": challenger if promoted else opening.checkpoint_hash,
        },
    }
    for stage, summary in summaries.items():
        commit = Commit(
            opening.round_id,
            stage,
            (),
            opening.settings_hash,
            "test",
            opening.checkpoint_hash,
            0,
            (),
            summary,
        )
        commit_stage(home.store, commit)


def test_a_promoted_file_is_used_by_the_next_round_and_recorded(
    home: EngineHome, weights: list[Path]
) -> None:
    before = champion_checkpoint(home)
    done = promote(home, str(weights[0]), reason="trained elsewhere", at=NOON)
    assert done.recorded and done.previous == before
    assert champion_checkpoint(home) == done.checkpoint_hash != before
    assert open_round(home, phase=1).checkpoint_hash == done.checkpoint_hash
    (row,) = list_promotions(home.store)
    assert (row.action, row.reason, row.at, row.after_round) == (
        "promote",
        "trained elsewhere",
        "2026-03-01T12:00:00+00:00",
        0,
    )
    assert row.by


def test_promoting_again_changes_nothing(home: EngineHome, weights: list[Path]) -> None:
    first = promote(home, str(weights[0]), reason="one")
    again = promote(home, first.checkpoint_hash[:8], reason="two")
    assert not again.recorded and len(list_promotions(home.store)) == 1


def test_a_round_names_its_challenger_and_what_the_gate_said(home: EngineHome, weights: list[Path]) -> None:
    challenger = store_checkpoint(home, weights[0])
    closed(home, opened(home, 1), challenger=challenger, promoted=False)
    assert champion_checkpoint(home) != challenger
    done = promote(home, "r0001-p1", reason="the eval set is too small to tell")
    assert done.checkpoint_hash == champion_checkpoint(home) == challenger
    assert done.gate == "r0001-p1: refused: worse" == gate_verdict(home, challenger)


def test_rollback_goes_one_back_and_not_further_when_repeated(home: EngineHome, weights: list[Path]) -> None:
    base = champion_checkpoint(home)
    for path in weights[:2]:
        promote(home, str(path), reason="better")
    first = store_checkpoint(home, weights[0])
    assert rollback(home, reason="loses small objects").recorded
    assert champion_checkpoint(home) == first
    assert not rollback(home, reason="loses small objects").recorded
    assert rollback(home, base[:10], reason="all the way").recorded
    assert champion_checkpoint(home) == base
    assert [row.action for row in list_promotions(home.store)] == [
        "promote",
        "promote",
        "rollback",
        "rollback",
    ]


def test_rollback_after_a_round_never_brings_back_what_was_rolled_back(
    home: EngineHome, weights: list[Path]
) -> None:
    base = champion_checkpoint(home)
    bad = store_checkpoint(home, weights[0])
    closed(home, opened(home, 1), challenger=bad, promoted=True)
    assert champion_checkpoint(home) == bad
    rollback(home, reason="it drifts")
    closed(home, opened(home, 2), challenger=store_checkpoint(home, weights[1]), promoted=False)
    assert champion_checkpoint(home) == base
    assert [change.how for change in model_history(home)] == ["start", "promoted", "rollback", "kept"]
    with pytest.raises(RoundError, match="nothing to go back to"):
        rollback(home, reason="again")


def test_rollback_to_a_round_means_what_was_in_use_when_it_had_closed(
    home: EngineHome, weights: list[Path]
) -> None:
    one, two = (store_checkpoint(home, path) for path in weights[:2])
    closed(home, opened(home, 1), challenger=one, promoted=True)
    closed(home, opened(home, 2), challenger=two, promoted=True)
    rollback(home, "r0001-p1", reason="two forgets boxes")
    assert champion_checkpoint(home) == one
    with pytest.raises(RoundError, match="is no round"):
        rollback(home, store_checkpoint(home, weights[2])[:10], reason="never in use")


@pytest.mark.parametrize("promoted", [False, True])
def test_a_round_that_was_open_does_not_undo_a_decision(
    home: EngineHome, weights: list[Path], promoted: bool
) -> None:
    opening = opened(home, 1)
    chosen = promote(home, str(weights[0]), reason="cannot wait").checkpoint_hash
    closed(home, opening, challenger=store_checkpoint(home, weights[1]), promoted=promoted)
    assert champion_checkpoint(home) == chosen
    following = opened(home, 2)
    assert following.checkpoint_hash == chosen
    third = store_checkpoint(home, weights[2])
    closed(home, following, challenger=third, promoted=True)
    assert champion_checkpoint(home) == third


def test_a_round_opened_at_the_same_moment_does_not_undo_it_either(
    home: EngineHome, weights: list[Path]
) -> None:
    """It read the old model before the decision was put, and was put after the decision had looked for rounds."""
    base = champion_checkpoint(home)
    chosen = promote(home, str(weights[0]), reason="now").checkpoint_hash
    opened(home, 1)
    racing = opened(home, 2, start=base)
    closed(home, racing, challenger=store_checkpoint(home, weights[1]), promoted=True)
    assert champion_checkpoint(home) == chosen


def test_killed_before_the_record_nothing_happened_and_again_is_right(
    home: EngineHome, weights: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = champion_checkpoint(home)

    def die(store: object, promotion: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("engine.promotion.record_promotion", die)
        with pytest.raises(KeyboardInterrupt):
            promote(home, str(weights[0]), reason="better")
    assert champion_checkpoint(home) == before and not list_promotions(home.store)
    assert promote(home, str(weights[0]), reason="better").recorded


def test_of_two_decisions_at_once_both_are_kept(
    home: EngineHome, weights: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    others = iter([str(weights[1])])

    def overtaken(store: object, promotion: Promotion) -> bool:
        for path in others:
            promote(home, path, reason="quicker")
        return record_promotion(home.store, promotion)

    monkeypatch.setattr("engine.promotion.record_promotion", overtaken)
    promote(home, str(weights[0]), reason="slower")
    assert [row.reason for row in list_promotions(home.store)] == ["quicker", "slower"]
    assert champion_checkpoint(home) == store_checkpoint(home, weights[0])


def test_what_cannot_be_promoted(home: EngineHome, weights: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(weights[0].read_bytes()[:2000])
    before = sorted(home.store.list(""))
    with pytest.raises(CheckpointError):
        promote(home, str(broken), reason="better")
    with pytest.raises(RoundError, match="--reason"):
        promote(home, str(weights[0]), reason="  ")
    with pytest.raises(RoundError, match="no file, no round"):
        promote(home, "r0007-p1", reason="better")
    assert not list(home.store.list("promotions/"))
    assert set(before) <= set(home.store.list(""))


def test_a_damaged_decision_is_noticed(home: EngineHome, weights: list[Path]) -> None:
    promote(home, str(weights[0]), reason="better")
    (row,) = list_promotions(home.store)
    home.store.put(row.key, row.to_json()[:-9])
    with pytest.raises(ManifestError, match="damaged"):
        champion_checkpoint(home)


def test_the_commands_and_the_status(
    home: EngineHome,
    weights: list[Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def engine(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["engine", "--home", str(home.path), *words])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code
        return capsys.readouterr().out

    told = json.loads(engine("model", "promote", str(weights[0]), "--reason", "by hand", "--json"))
    assert told["recorded"]
    assert "nothing was changed" in engine("model", "promote", str(weights[0]), "--reason", "by hand")
    assert "is in use now" in engine("model", "rollback", "--reason", "back again")
    model = json.loads(engine("status", "--json"))["model"]
    assert [row["reason"] for row in model["decisions"]] == ["by hand", "back again"]
    assert model["checkpoint_hash"] == told["previous"]
    shown = engine("status")
    assert "Decided by hand" in shown and "back again" in shown
