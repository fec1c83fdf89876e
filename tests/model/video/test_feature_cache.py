"""Encoded frames in memory and on disk, shared between sessions, threads and processes."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from model.errors import FrameRangeError, ModelError
from model.network.sam2 import ImageFeatures, Sam2
from model.prompts import Click
from model.video.disk_features import DiskFeatures, network_key
from model.video.feature_cache import FeatureCache
from model.video.frame_source import FrameSource
from model.video.video_session import VideoSession

MakeVideo = Callable[[int], FrameSource]


def _features(value: float) -> ImageFeatures:
    def full(*shape: int) -> torch.Tensor:
        return torch.full(shape, float(value))

    return ImageFeatures(full(1, 32, 4, 4), full(1, 32, 4, 4), (full(1, 4, 16, 16), full(1, 8, 8, 8)))


SIZE = 4 * (32 * 16 + 4 * 256 + 8 * 64)


def test_a_cache_knows_its_size_and_can_be_emptied() -> None:
    cache = FeatureCache(4 * SIZE)
    for frame in range(3):
        cache.put(frame, _features(frame))
    assert cache.byte_size == 3 * SIZE
    cache.clear()
    assert cache.byte_size == len(cache) == 0 and cache.get(0) is None
    cache.put(0, _features(0))
    assert cache.byte_size == SIZE


def test_frames_can_be_encoded_ahead(micro_model: Sam2, video: MakeVideo) -> None:
    session = VideoSession(micro_model, video(3))
    session.encode(2)
    assert session.features.get(2) is not None and session.features.get(0) is None
    with pytest.raises(FrameRangeError, match="frame 3"):
        session.encode(3)


def test_the_least_recently_used_go_first() -> None:
    cache = FeatureCache(2 * SIZE)
    for frame in (0, 1):
        cache.put(frame, _features(frame))
    assert cache.get(0) is not None
    cache.put(2, _features(2))
    cache.put(2, _features(2))  # once more of the same costs nothing
    assert len(cache) == 2 and cache.get(1) is None and cache.get(0) is not None


def test_the_newest_stays_whatever_the_budget() -> None:
    cache = FeatureCache(0)
    cache.put(0, _features(0))
    assert cache.get(0) is not None
    cache.put(1, _features(1))
    assert cache.get(0) is None and cache.get(1) is not None


def test_a_frame_is_made_once_by_many_threads() -> None:
    cache, made = FeatureCache(10**6), []
    all_here, go_on = threading.Barrier(9), threading.Event()

    def make() -> ImageFeatures:
        go_on.wait()
        made.append(1)
        return _features(1)

    def ask() -> None:
        all_here.wait()
        cache.get_or_make(3, make)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    all_here.wait()  # whoever is first makes it while the others ask
    go_on.set()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_bfloat16_holds_twice_as_many_and_answers_alike_every_time() -> None:
    cache = FeatureCache(2 * SIZE, dtype=torch.bfloat16)
    first = cache.get_or_make(0, lambda: _features(1 / 3))
    for frame in range(1, 4):
        cache.put(frame, _features(frame))
    again = cache.get(0)
    assert again is not None and len(cache) == 4
    assert again.embedding.dtype == torch.float32
    torch.testing.assert_close(again.embedding, first.embedding, rtol=0, atol=0)
    torch.testing.assert_close(first.embedding, _features(1 / 3).embedding, rtol=1e-2, atol=0)


def test_sessions_share_a_cache(micro_model: Sam2, video: MakeVideo, monkeypatch: pytest.MonkeyPatch) -> None:
    features, calls = FeatureCache(), []
    encode = Sam2.encode_images
    monkeypatch.setattr(Sam2, "encode_images", lambda *a: calls.append(1) or encode(*a))
    for _ in range(2):
        session = VideoSession(micro_model, video(4), features=features)
        session.add_points(0, 1, [Click(20, 20)])
        list(session.propagate())
    assert len(calls) == 4


# --- on disk


def _session(model: Sam2, frames: FrameSource, folder: Path, *, key: str = "film") -> VideoSession:
    features = FeatureCache(disk=DiskFeatures(folder, 10**8), video_key=key)
    return VideoSession(model, frames, features=features)


def test_features_on_disk_give_the_same_to_the_last_bit(
    micro_model: Sam2, video: MakeVideo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def logits(session: VideoSession) -> list[np.ndarray]:
        session.add_points(0, 1, [Click(20, 20)])
        return [result.low_res for result in session.propagate()]

    folder = tmp_path / "features"
    plain = logits(VideoSession(micro_model, video(4)))
    written = logits(_session(micro_model, video(4), folder))
    files = list(folder.iterdir())
    assert len(files) == 4 and folder.stat().st_mode & 0o777 == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    monkeypatch.setattr(Sam2, "encode_images", None)
    read = logits(_session(micro_model, video(4), folder))
    for one, two, three in zip(plain, written, read, strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, three)


def test_other_weights_and_other_videos_read_nothing(
    micro_model: Sam2, video: MakeVideo, tmp_path: Path
) -> None:
    _session(micro_model, video(4), tmp_path).add_points(0, 1, [Click(20, 20)])
    _session(micro_model, video(4), tmp_path, key="other").add_points(0, 1, [Click(20, 20)])
    assert len(list(tmp_path.iterdir())) == 2
    before = network_key(micro_model, "auto")
    with torch.no_grad():
        micro_model.no_mem_embed[0, 0, 0] += 1
    assert network_key(micro_model, "auto") != before
    _session(micro_model, video(4), tmp_path).add_points(0, 1, [Click(20, 20)])
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_damaged_files_are_made_again(
    micro_model: Sam2, tmp_path: Path, damage: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    disk = DiskFeatures(tmp_path, 10**6)
    disk.save("key", _features(2))
    assert disk.load("key", micro_model) is not None and disk.load("other", micro_model) is None
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-100] if damage is None else damage)
    assert disk.load("key", micro_model) is None and not path.exists()
    assert "damaged" in caplog.text


def test_the_folder_is_bounded(micro_model: Sam2, tmp_path: Path) -> None:
    disk = DiskFeatures(tmp_path, int(3.5 * SIZE))
    for number in range(3):
        before = set(tmp_path.iterdir())
        disk.save(str(number), _features(number))
        (path,) = set(tmp_path.iterdir()) - before
        os.utime(path, (number, number))  # clocks of file systems may be too coarse to tell them apart
    assert disk.load("0", micro_model) is not None
    disk.save("3", _features(3))
    found = [disk.load(str(number), micro_model) is not None for number in range(4)]
    assert found == [True, False, True, True]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 3.5 * SIZE
    DiskFeatures(tmp_path / "small", 10).save("0", _features(0))
    assert not list((tmp_path / "small").iterdir())


def test_what_cannot_be_written_is_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    disk = DiskFeatures(tmp_path / "gone", 10**6)
    (tmp_path / "gone").rmdir()
    disk.save("0", _features(0))
    assert "not kept" in caplog.text


def test_a_disk_tier_needs_a_key(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="video_key"):
        FeatureCache(disk=DiskFeatures(tmp_path, 1))
