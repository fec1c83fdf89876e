"""A planted leak fails at the data set, at the source of training clips, and at the network's door."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.cli.model import train
from engine.dataset import latest_dataset
from engine.doctor import check
from engine.home import EngineHome, create_home, open_home
from engine.stages.base import Row, StageContext
from engine.stages.dataset import Dataset
from engine.training.leaks import LeakError, forbidden_groups, left_out, refuse_leaks
from engine.training.recipes import open_pictures
from engine.training.retraining import clip_sources, training_videos
from engine.training.sources import open_sources
from model.errors import TrainingError
from model.training.clips import MaskletClips, TrainingVideo
from model.training.guard import GuardedClips
from storage.commits import RoundOpening, list_rounds
from storage.manifests import rows_to_table, write_manifest
from storage.masks import decode
from storage.videos import Video
from tests.engine.conftest import add_video, discs


@pytest.fixture
def home(home_after_a_round: EngineHome) -> EngineHome:
    return home_after_a_round


def held_out(home: EngineHome) -> Video:
    (video,) = (video for video in home.library.videos() if video.split == "eval")
    return video


def planted(home: EngineHome, **said: str) -> Row:
    """A good row, but of the evaluation video, with what the manifest says of it altered."""
    return dict(latest_dataset(home)[0]) | {"video_id": held_out(home).video_id} | said


def test_the_data_set_itself_is_clean(home: EngineHome) -> None:
    refuse_leaks(home, latest_dataset(home))
    assert forbidden_groups(home) == {held_out(home).group}
    assert left_out(home) == {}


@pytest.mark.parametrize(
    "said",
    [{"split": "eval", "group": "held-out"}, {"split": "train", "group": "held-out"}, {}],
    ids=["plain", "split forged", "split and group forged"],
)
def test_the_source_refuses_a_row_of_an_evaluation_video(home: EngineHome, said: dict[str, str]) -> None:
    rows = [*latest_dataset(home), planted(home, **said)]
    with pytest.raises(LeakError, match=r"held-out must not be trained on: the split of its video is eval"):
        training_videos(home, rows)
    with pytest.raises(LeakError):
        clip_sources(home, rows, home.settings.retrain)


def test_an_altered_row_of_a_training_video_is_refused(home: EngineHome) -> None:
    row = dict(latest_dataset(home)[0]) | {"group": "another"}
    with pytest.raises(LeakError, match="altered"):
        training_videos(home, [row])


def test_the_command_line_refuses_a_manifest_with_a_leak(home: EngineHome, tmp_path: Path) -> None:
    table = rows_to_table("dataset", [*latest_dataset(home), planted(home)])
    ref = write_manifest(home.store, "planted", "dataset", table, "dataset")
    with pytest.raises(LeakError, match="held-out"):
        train(home, None, manifest=ref.key, mode="all", steps=1, seed=0, out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_data_set_stage_refuses_a_leak(home: EngineHome, monkeypatch: pytest.MonkeyPatch) -> None:
    opening = next_round(home)
    monkeypatch.setattr("engine.stages.dataset.previous_dataset", lambda context: [planted(home)])
    monkeypatch.setattr("engine.stages.dataset._accepted", lambda context: [])
    with pytest.raises(LeakError, match="held-out"):
        Dataset().finish(StageContext(home, opening, "dataset"), {})


def test_a_video_found_late_leaves_the_data_set(home: EngineHome, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = latest_dataset(home)
    late = {rows[0]["video_id"]: "it looks like evaluation video held-out"}
    for place in ("engine.stages.dataset.left_out", "engine.training.leaks.left_out"):
        monkeypatch.setattr(place, lambda home: late)
    monkeypatch.setattr("engine.stages.dataset.previous_dataset", lambda context: rows)
    monkeypatch.setattr("engine.stages.dataset._accepted", lambda context: [])
    done = Dataset().finish(StageContext(home, next_round(home), "dataset"), {})
    gone = sum(row["video_id"] in late for row in rows)
    assert done.summary["left_out"] == gone > 0
    with pytest.raises(LeakError, match="looks like"):
        training_videos(home, rows)


def test_the_guard_stops_what_the_lists_let_through(home: EngineHome) -> None:
    """A source made past `training_videos`, from the evaluation video itself."""
    video = held_out(home)
    truth = home.references.read(video.video_id)
    source = MaskletClips([TrainingVideo(video.name, home.library.frames(video), [truth[1]], video.group)])
    guarded = GuardedClips(source, forbidden_groups(home))
    with pytest.raises(LeakError, match="held-out"):
        guarded.clip(0, np.random.default_rng(0), frames=2, objects=1, size=64)
    assert issubclass(LeakError, TrainingError)


def test_the_sources_of_training_are_guarded(home: EngineHome) -> None:
    real, _ = clip_sources(home, latest_dataset(home), home.settings.retrain)
    assert isinstance(real, GuardedClips)


def davis(folder: Path, frames: np.ndarray, masks: np.ndarray) -> str:
    """One video in DAVIS's folders, scaled up and packed as JPEG; frames uint8 [T,H,W,3], masks bool [T,H,W]."""
    for place in ("JPEGImages/film", "Annotations/film"):
        (folder / place).mkdir(parents=True)
    for number, (frame, mask) in enumerate(zip(frames, masks, strict=True)):
        large = Image.fromarray(frame).resize(
            (frame.shape[1] * 2, frame.shape[0] * 2), Image.Resampling.BICUBIC
        )
        large.save(folder / f"JPEGImages/film/{number:05d}.jpg", quality=80)
        labels = Image.fromarray(mask.astype(np.uint8)).resize(large.size, Image.Resampling.NEAREST)
        labels.save(folder / f"Annotations/film/{number:05d}.png")
    return f"davis:{folder}"


@pytest.mark.parametrize(("seed", "leaks"), [(9, True), (3, False)], ids=["copy", "another video"])
def test_a_folder_with_a_copy_of_an_evaluation_video_is_refused(
    home: EngineHome, tmp_path: Path, seed: int, leaks: bool
) -> None:
    """Its folder has a name of its own, so what it looks like must tell."""
    frames, masks = discs(seed)
    shown = np.stack([decode(masks[1][frame]) for frame in range(len(frames))])
    (source,) = open_sources(home, [davis(tmp_path, frames[1:], shown[1:])])
    clips = pickle.loads(pickle.dumps(source.clips))  # noqa: S301 (as a worker process has it)
    rng = np.random.default_rng(0)
    if leaks:
        with pytest.raises(LeakError, match="film looks like held-out, which is kept for evaluation"):
            clips.clip(0, rng, frames=2, objects=1, size=64)
    else:
        assert clips.clip(0, rng, frames=2, objects=1, size=64).name == "film"


def test_the_data_set_of_another_home_is_compared(home: EngineHome, tmp_path: Path) -> None:
    """That home trains on what is an evaluation video here."""
    create_home(tmp_path / "judge")
    judge = open_home(tmp_path / "judge")
    add_video(judge, "kept", 0, split="eval")
    (source,) = open_sources(judge, [f"home:{home.path}"])
    with pytest.raises(LeakError, match="looks like kept"):
        for index in range(len(source.clips)):
            source.clips.clip(index, np.random.default_rng(0), frames=2, objects=1, size=64)


def test_the_doctor_looks_at_splits(home: EngineHome) -> None:
    (found,) = (finding for finding in check(home) if finding.name == "splits")
    assert found.ok and "1 evaluation groups, none trained on" in found.detail


def test_a_copy_of_an_evaluation_video_is_told_and_kept_out(make_home: Callable[..., EngineHome]) -> None:
    frames, _ = discs(9)
    outcome = make_home("copies").library.ingest_array(frames[1:], name="copy", fps=6.0)
    assert outcome.video is not None and outcome.video.split == "kept-out"
    assert outcome.reason == "kept out: it looks like video held-out, which is kept for evaluation"


def next_round(home: EngineHome) -> RoundOpening:
    """What the opening of another round of phase 1 would look like."""
    return replace(list_rounds(home.store)[0], round_id="r0002-p1", number=2)


@pytest.mark.parametrize(("seed", "leaks"), [(9, True), (3, False)], ids=["copy", "another video"])
def test_a_picture_of_an_evaluation_video_is_refused(
    home: EngineHome, tmp_path: Path, seed: int, leaks: bool
) -> None:
    """Pictures to pre-train on have no video and no name to tell by."""
    frames, _ = discs(seed)
    Image.fromarray(frames[0]).save(tmp_path / "film.png")
    pictures = open_pictures(home, [f"pictures:{tmp_path}"])
    if leaks:
        with pytest.raises(LeakError, match=r"film\.png looks like held-out, which is kept for evaluation"):
            pictures.picture(0, np.random.default_rng(0), size=64)
    else:
        assert pictures.picture(0, np.random.default_rng(0), size=64)[0].shape == frames[0].shape
