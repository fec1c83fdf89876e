"""Whole rounds on a home in miniature, without Prefect."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engine.errors import RoundError
from engine.home import EngineHome, open_home
from engine.machine import advance_round, open_round
from engine.rounds import base_checkpoint, champion_checkpoint
from engine.stages.base import STAGE_NAMES
from engine.status import all_rounds
from storage.commits import chain, read_commit


def run(home: EngineHome, phase: int) -> str:
    opening = open_round(home, phase=phase)
    outcome = advance_round(home, opening.round_id)
    assert outcome.state == "done", outcome
    return opening.round_id


def commits(home: EngineHome) -> dict[tuple[str, str], str]:
    return {(commit.round_id, commit.stage): commit.hash for commit in chain(home.store)}


def test_three_rounds_close_and_the_catalog_can_be_rebuilt(home: EngineHome) -> None:
    rounds = [run(home, phase) for phase in (1, 2, 3)]
    standing = all_rounds(home)
    assert [row.id for row in standing] == rounds
    assert {row.state for row in standing} == {"closed"}
    assert [stage.name for stage in standing[0].stages] == list(STAGE_NAMES)
    before = home.catalog.snapshot()
    home.catalog.rebuild(home.store)
    assert home.catalog.snapshot() == before
    assert before["videos"] and before["masklets"] and before["metrics"]


def test_the_same_round_in_two_homes_has_the_same_hashes(make_home: Callable[..., EngineHome]) -> None:
    homes = [make_home("a"), make_home("b")]
    for home in homes:
        run(home, 1)
    assert commits(homes[0]) == commits(homes[1])


def test_running_a_closed_stage_again_changes_nothing(home: EngineHome) -> None:
    round_id = run(home, 1)
    before = sorted(home.store.list(""))
    advance_round(home, round_id)
    assert sorted(home.store.list("")) == before


def test_rounds_can_collect_data_without_retraining(make_home: Callable[..., EngineHome]) -> None:
    home = make_home("collecting")
    with (home.path / "engine.toml").open("a") as file:
        file.write("enabled = false\n")  # the last table is [retrain]
    home = open_home(home.path)
    round_id = run(home, 1)
    retrained, gate = (read_commit(home.store, round_id, stage) for stage in ("retrain", "evaluate"))
    assert retrained is not None and retrained.summary["challenger"] == ""
    assert (
        gate is not None and gate.summary["reason"] == "nothing was retrained, since retrain.enabled is off"
    )
    assert champion_checkpoint(home) == base_checkpoint(home)


def test_only_one_round_is_open_at_a_time(home: EngineHome) -> None:
    opening = open_round(home, phase=1)
    assert open_round(home, phase=1) == opening
    with pytest.raises(RoundError, match=r"r0001-p1 of phase 1 is still open"):
        open_round(home, phase=2)


def test_the_data_set_points_at_masks_and_holds_no_evaluation_video(home: EngineHome) -> None:
    round_id = run(home, 1)
    commit = read_commit(home.store, round_id, "dataset")
    assert commit is not None
    held_out = {video.video_id for video in home.library.videos() if video.split == "eval"}
    rows = home.catalog.rows("masklets", in_dataset=True)
    assert len(rows) == commit.summary["masklets"] > 0
    assert not held_out & {row["video_id"] for row in rows}
