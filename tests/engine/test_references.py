"""A team's own evaluation videos: their references come in, and from then on models are judged on them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from typer.testing import CliRunner, Result

from engine.cli.app import app
from engine.doctor import check
from engine.errors import RoundError
from engine.home import EngineHome
from engine.judging.pinned import pinned_now
from engine.machine import advance_round, finish_stage, open_round, pending_shards, run_shard
from engine.references import add_references, reference_states, unjudged_reason
from engine.stages.base import STAGE_NAMES, StageContext
from storage.commits import RoundOpening, read_commit
from storage.masks import decode
from storage.videos import Video
from tests.engine.conftest import discs

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


def save_masks(folder: Path, seed: int, *, count: int = 3) -> Path:
    """The truth of a disc video as palette pictures."""
    folder.mkdir(parents=True)
    _, masks = discs(seed, count=count)
    for frame in range(4):
        labels = np.zeros((64, 64), np.uint8)
        for number, of in masks.items():
            labels[decode(of[frame])] = number
        PIL.Image.fromarray(labels).save(folder / f"{frame:05d}.png")
    return folder


def take(home: EngineHome, name: str, seed: int, split: str) -> Video:
    """A video without references."""
    outcome = home.library.ingest_array(discs(seed)[0], name=name, fps=6.0, split=split, group=name)
    assert outcome.video is not None and outcome.video.split == split
    home.catalog.record_video(outcome.video)
    return outcome.video


def forget(home: EngineHome, name: str) -> Video:
    """The video of that name, its references gone."""
    (video,) = (video for video in home.library.videos() if video.name == name)
    home.store.delete(f"references/{video.video_id}.parquet")
    return video


def run(home: EngineHome, *words: str | Path) -> Result:
    return CliRunner(env={"COLUMNS": "250"}).invoke(app, ["--home", str(home.path), *map(str, words)])


@pytest.fixture
def bare(home: EngineHome) -> tuple[EngineHome, Video]:
    """A home whose only evaluation video has no references."""
    return home, forget(home, "held-out")


class TestAdd:
    def test_many_at_once_by_name(self, bare: tuple[EngineHome, Video], tmp_path: Path) -> None:
        home, video = bare
        for name, seed in {"held-out": 9, "train-0": 0, "unknown": 3}.items():
            save_masks(tmp_path / "set" / name, seed)
        added = {one.video: one for one in add_references(home, tmp_path / "set", at=NOON)}
        assert {name: one.result for name, one in added.items()} == {
            "held-out": "added",
            "train-0": "skipped",
            "unknown": "skipped",
        }
        assert "a training video" in added["train-0"].detail
        assert added["held-out"].detail == "3 objects, 12 masks"
        assert home.references.read(video.video_id) == discs(9)[1]
        (state,) = reference_states(home)
        assert (state.version, state.objects, state.at) == (1, 3, "2024-05-01T12:00:00+00:00")
        assert state.origin.endswith("held-out") and state.by

    def test_other_masks_replace_only_when_told_and_the_old_ones_stay(
        self, home: EngineHome, tmp_path: Path
    ) -> None:
        folder = save_masks(tmp_path / "masks", 9, count=2)
        (refused,) = add_references(home, folder, video="held-out")
        assert refused.result == "refused" and "--replace" in refused.detail
        (replaced,) = add_references(home, folder, video="held-out", replace=True)
        assert replaced.result == "replaced" and "version 1 stays" in replaced.detail
        (again,) = add_references(home, folder, video="held-out", replace=True)
        assert again.result == "already"
        (state,) = reference_states(home)
        assert (state.version, state.objects) == (2, 2)
        assert home.references.read(state.video_id, key=f"references/{state.video_id}.parquet") == discs(9)[1]

    def test_training_videos_are_refused(self, home: EngineHome, tmp_path: Path) -> None:
        folder = save_masks(tmp_path / "masks", 0)
        with pytest.raises(RoundError, match="train-0 is a training video: only videos taken in with --eval"):
            add_references(home, folder, video="train-0")

    def test_retention_videos_take_them(self, home: EngineHome, tmp_path: Path) -> None:
        video = take(home, "old-domain", 6, "retention")
        (added,) = add_references(home, save_masks(tmp_path / "masks", 6), video=video.video_id)
        assert added.result == "added"

    def test_unknown_and_ambiguous_names(self, bare: tuple[EngineHome, Video], tmp_path: Path) -> None:
        home, video = bare
        twin = take(home, "held-out", 6, "eval")
        folder = save_masks(tmp_path / "held-out", 9)
        with pytest.raises(RoundError, match="no video 'nobody'"):
            add_references(home, folder, video="nobody")
        with pytest.raises(RoundError, match=f"(?s){video.video_id}|{twin.video_id}"):
            add_references(home, folder, video="held-out")
        (refused,) = add_references(home, folder)
        assert refused.result == "refused" and "--video ID" in refused.detail
        (added,) = add_references(home, folder, video=video.video_id)
        assert added.result == "added"


class TestCommands:
    def test_add_list_status_and_doctor(self, bare: tuple[EngineHome, Video], tmp_path: Path) -> None:
        home, _ = bare
        listed = json.loads(run(home, "references", "list", "--json").output)
        assert [(one["video"], one["version"]) for one in listed] == [("held-out", 0)]
        assert "engine references add" in run(home, "references", "list").output
        status = json.loads(run(home, "status", "--json").output)
        assert status["videos"]["eval_without_references"] == 1 and "references add" in status["unjudged"]
        assert "has no reference masks" in run(home, "status").output
        assert any("references add" in one.detail and one.ok for one in check(home))
        evaluated = run(home, "model", "evaluate")
        assert isinstance(evaluated.exception, RoundError)
        assert "has no reference masks" in str(evaluated.exception)

        result = run(home, "references", "add", save_masks(tmp_path / "held-out", 9))
        assert result.exit_code == 0, result.output
        assert "3 objects, 12 masks" in result.output
        status = json.loads(run(home, "status", "--json").output)
        assert status["videos"]["eval_without_references"] == 0 and status["unjudged"] == ""
        assert "added" not in run(home, "references", "list").output

    def test_what_does_not_fit_ends_with_1(self, bare: tuple[EngineHome, Video], tmp_path: Path) -> None:
        home, _ = bare
        folder = save_masks(tmp_path / "held-out", 9)
        (folder / "00002.png").unlink()
        result = run(home, "references", "add", folder, "--json")
        assert result.exit_code == 1
        (told,) = json.loads(result.output)
        assert told["result"] == "refused" and "00002.png is missing" in told["detail"]

    def test_doctor_finds_references_that_do_not_fit(self, home: EngineHome) -> None:
        (state,) = reference_states(home)
        masks = home.references.read(state.video_id)
        home.references.replace(state.video_id, {1: {77: masks[1][0]}})
        (finding,) = (one for one in check(home) if one.name == "references")
        assert not finding.ok and "frame 77" in finding.detail and "--replace" in finding.detail


def up_to_evaluate(home: EngineHome) -> RoundOpening:
    """A round of phase 2 with everything before its evaluation done."""
    opening = open_round(home, phase=2)
    for stage in STAGE_NAMES[: STAGE_NAMES.index("evaluate")]:
        for shard in pending_shards(home, opening.round_id, stage):
            run_shard(home, opening.round_id, stage, shard)
        assert finish_stage(home, opening.round_id, stage).state in ("done", "skipped")
    return opening


class TestRounds:
    def test_without_references_the_round_says_what_to_do(self, bare: tuple[EngineHome, Video]) -> None:
        home, _ = bare
        opening = open_round(home, phase=1)
        assert advance_round(home, opening.round_id).state == "done"
        commit = read_commit(home.store, opening.round_id, "evaluate")
        assert commit is not None and not commit.summary["promote"]
        assert "the evaluation video has no reference masks" in str(commit.summary["reason"])
        assert "`engine references add FOLDER`" in str(commit.summary["reason"])

    def test_with_imported_references_a_round_judges_and_both_models_see_one_version(
        self, bare: tuple[EngineHome, Video], tmp_path: Path
    ) -> None:
        home, video = bare
        add_references(home, save_masks(tmp_path / "first", 9), video="held-out")
        opening = up_to_evaluate(home)
        assert pending_shards(home, opening.round_id, "evaluate") == [0, 1]
        run_shard(home, opening.round_id, "evaluate", 0)
        # a version with fewer objects comes between the champion and the challenger
        add_references(home, save_masks(tmp_path / "second", 9, count=2), video="held-out", replace=True)
        run_shard(home, opening.round_id, "evaluate", 1)
        outcome = finish_stage(home, opening.round_id, "evaluate")
        assert str(outcome.summary["reason"]).startswith(("promoted", "refused: J&F"))
        context = StageContext(home, opening, "evaluate")
        assert [one.references for one in pinned_now(context).of("")] == [
            f"references/{video.video_id}.parquet"
        ]
        commit = read_commit(home.store, opening.round_id, "evaluate")
        assert commit is not None and commit.file("judged").sha256.startswith(
            str(commit.summary["judged_on"])
        )
        assert advance_round(home, opening.round_id).state == "done"

        # the next round is judged on the new version, scores the champion anew, and says that the set is another
        following = open_round(home, phase=2)
        assert advance_round(home, following.round_id).state == "done"
        commit = read_commit(home.store, following.round_id, "evaluate")
        assert commit is not None
        reason = str(commit.summary["reason"])
        assert f"Judged on another set than {opening.round_id}: 1 video with other references" in reason
        rows = StageContext(home, following, "close").rows("evaluate", "metrics")
        scored = {row["object_id"] for row in rows if row["role"] == "champion" and row["suite"] is None}
        assert scored == {-1, 1, 2}

    def test_no_advice_where_the_set_judges(self, make_home: Callable[..., EngineHome]) -> None:
        home = make_home("judges")
        assert unjudged_reason(home) == ""
        forget(home, "held-out")
        assert "the evaluation video has no reference masks" in unjudged_reason(home)
