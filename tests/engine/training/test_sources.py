"""Data sets of a home as training sources: whose masklets, which frames, and what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from engine.home import EngineHome, create_home
from engine.stages.base import Row
from engine.training.retraining import training_videos
from engine.training.sources import DatasetVideos, dataset_clips, open_sources
from model.errors import LeakError, TrainingError
from model.training.augment import AUGMENTATIONS
from model.training.clips import MaskletClips
from model.training.data.videos import IndexedClips
from model.training.guard import GuardedClips
from model.training.mixture import Mixture
from storage.manifests import FileRef, write_manifest
from storage.masks import encode
from storage.videos import Video

ANNOTATED = (0, 4, 8, 12)


def mask_of(frame: int) -> np.ndarray:
    mask = np.zeros((24, 32), dtype=bool)
    mask[2:10, frame : frame + 8] = True
    return mask


@pytest.fixture
def home(tmp_path: Path) -> EngineHome:
    return create_home(tmp_path / "home")


def ingest(home: EngineHome, name: str, level: int, split: str = "train") -> Video:
    """A video whose source frame t has the grey level `level` + t; every fourth frame is annotated."""
    rng = np.random.default_rng(level)
    frames = np.repeat(rng.integers(0, 256, (1, 24, 32, 3), dtype=np.uint8), 13, axis=0)
    frames[:, -4:] = (level + np.arange(13))[:, None, None, None]
    video = home.library.ingest_array(frames, name=name, fps=24, annotate_fps=6, split=split).video
    assert video is not None
    return video


def annotate(home: EngineHome, *videos: tuple[Video, str]) -> FileRef:
    """One masklet a video, of an origin; the data set manifest that lists them."""
    masks = [
        {
            "masklet_id": f"m-{video.name}", "revision": 0, "video_id": video.video_id, "object_id": 1,
            "frame": frame, "height": 24, "width": 32, "counts": encode(mask_of(frame)).counts, "area": 64,
            "edited": False, "clicks": 0, "origin": "manual", "annotator": "a", "phase": 1, "locked": False,
        }
        for video, _ in videos
        for frame in ANNOTATED
    ]  # fmt: skip
    ref = write_manifest(home.store, "tests", "annotations", masks, "annotations")
    rows: list[Row] = [
        {
            "masklet_id": f"m-{video.name}", "revision": 0, "video_id": video.video_id, "object_id": 1,
            "round_id": "r", "phase": 1, "origin": origin, "split": video.split, "group": video.group,
            "first_frame": 0, "frames_visible": 4, "edited_frames": 0, "mean_area": 64.0,
            "masks_key": ref.key, "masks_sha256": ref.sha256,
        }
        for video, origin in videos
    ]  # fmt: skip
    return write_manifest(home.store, "tests", "dataset", rows, "dataset")


def rows_of(home: EngineHome, ref: FileRef) -> list[Row]:
    from storage.manifests import read_manifest

    return list(read_manifest(home.store, ref).to_pylist())


def test_masks_and_frames_belong_together_by_source_frame(home: EngineHome) -> None:
    ref = annotate(home, (ingest(home, "a", 10), "manual"))
    videos = DatasetVideos(home.store.url, rows_of(home, ref))
    for _ in range(2):
        video = videos.open(0)
        assert len(video) == 4
        for position, frame in enumerate(ANNOTATED):
            assert video.image(position)[-1, 0, 0] == 10 + frame
            assert np.array_equal(video.mask(0, position), mask_of(frame))
        video.rest()
        videos = pickle.loads(pickle.dumps(videos))  # noqa: S301 (as a worker process gets it)


def test_opening_videos_late_changes_no_clip(home: EngineHome) -> None:
    rows = rows_of(home, annotate(home, (ingest(home, "a", 10), "manual"), (ingest(home, "b", 90), "auto")))
    late, at_once = dataset_clips(home, rows), MaskletClips(training_videos(home, rows))
    for seed in range(6):
        first, second = (
            source.clip(seed % 2, np.random.default_rng(seed), frames=3, objects=2, size=32)
            for source in (late, at_once)
        )
        assert np.array_equal(first.images, second.images)
        assert np.array_equal(first.masks, second.masks)
        assert (first.name, first.group) == (second.name, second.group)


def test_people_and_model_stay_apart(home: EngineHome) -> None:
    ref = annotate(home, (ingest(home, "a", 10), "manual"), (ingest(home, "b", 90), "auto"))
    key = f"manifest:{ref.key}"
    texts = [f"{key}?origin=manual=2", f"{key}?origin=auto", key]
    sources = open_sources(home, texts)
    assert [len(source.clips) for source in sources] == [1, 1, 2]
    assert [source.weight for source in sources] == [2.0, None, None]
    mixture = Mixture(sources, frames=3, objects=2, clips_per_step=2, size=32, seed=0)
    for step in range(6):
        names = set(mixture.draw(step).names)
        source = mixture.source(step).name
        assert names <= ({"a"} if "manual" in source else {"b"} if "auto" in source else {"a", "b"})


def test_evaluation_videos_are_refused_whatever_the_source(home: EngineHome) -> None:
    kept = ingest(home, "kept", 40, split="eval")
    ref = annotate(home, (kept, "manual"))
    with pytest.raises(LeakError, match="kept"):
        open_sources(home, [f"manifest:{ref.key}"])
    with pytest.raises(LeakError, match="kept"):
        dataset_clips(home, rows_of(home, ref))
    past = IndexedClips(DatasetVideos(home.store.url, rows_of(home, ref)), AUGMENTATIONS["none"])
    (drawn,) = open_sources(home, ["drawn:"])
    assert isinstance(drawn.clips, GuardedClips)
    guarded = GuardedClips(past, home.library.splits().evaluation_groups())
    with pytest.raises(LeakError, match="kept for evaluation"):
        guarded.clip(0, np.random.default_rng(0), frames=2, objects=1, size=32)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("manifest:7", r"'manifest:7': There is no round 7 in "),
        ("manifest:tests/none.parquet", r"'manifest:tests/none.parquet': "),
        ("home:", "'home:': there is nothing to train on"),
        ("home:?origin=human", "origin must be one of all, manual, auto, not 'human'"),
        ("hom:", r"the kind 'hom' is unknown \(did you mean home\?\)"),
    ],
)
def test_mistakes_are_named(home: EngineHome, text: str, why: str) -> None:
    with pytest.raises(TrainingError, match=why):
        open_sources(home, [text])


def test_without_a_home_a_place_is_needed() -> None:
    with pytest.raises(TrainingError, match="write home:/path"):
        open_sources(None, ["home:"])
    with pytest.raises(TrainingError, match="there is no engine home here"):
        open_sources(None, ["manifest:1"])
