"""Folders, files and streams as videos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from model.errors import EmptyVideoError, FrameRangeError, FrameShapeError
from model.video.frame_source import FolderFrames, StreamFrames, VideoFrames
from storage.errors import VideoError
from tests.storage.films import number_of, write_film


def _picture(value: int, *, height: int = 4, width: int = 6) -> np.ndarray:
    return np.full((height, width, 3), value, dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for value in (1, 2, 10):
        PIL.Image.fromarray(_picture(value)).save(tmp_path / f"{value}.png")
    return tmp_path


def test_a_folder_is_read_in_natural_order(folder: Path) -> None:
    frames = FolderFrames(folder)
    assert (len(frames), frames.height, frames.width) == (3, 4, 6)
    assert [int(frames[index][0, 0, 0]) for index in range(3)] == [1, 2, 10]
    assert frames[2].dtype == np.uint8 and not frames[2].flags.writeable


def test_a_damaged_image_is_named(folder: Path) -> None:
    (folder / "2.png").write_bytes(b"no image")
    frames = FolderFrames(folder)
    assert frames[2].any()
    with pytest.raises(VideoError, match=r"2\.png is damaged"):
        frames[1]


def test_an_image_of_another_size_is_named(folder: Path) -> None:
    PIL.Image.fromarray(_picture(2, width=7)).save(folder / "2.png")
    with pytest.raises(FrameShapeError, match=r"2\.png has 7x4 pixels, the first image 6x4"):
        FolderFrames(folder)[1]


def test_a_folder_without_images_and_no_folder(tmp_path: Path) -> None:
    with pytest.raises(EmptyVideoError, match="holds no images"):
        FolderFrames(tmp_path)
    with pytest.raises(VideoError, match="no such folder"):
        FolderFrames(tmp_path / "gone")


def test_pictures_are_read_once_within_the_budget(folder: Path) -> None:
    small, large = FolderFrames(folder, cache_bytes=1), FolderFrames(folder)
    for frames in (small, large):
        for index in range(3):
            frames[index]
    for path in folder.iterdir():
        path.write_bytes(b"gone")
    assert [int(large[index][0, 0, 0]) for index in range(3)] == [1, 2, 10]
    assert int(small[2][0, 0, 0]) == 10  # the newest always stays
    with pytest.raises(VideoError):
        small[0]


def test_a_video_file(tmp_path: Path) -> None:
    frames = VideoFrames(write_film(tmp_path / "film.mp4", 30, options={"g": "8", "bf": "2"}))
    assert (len(frames), frames.height, frames.width) == (30, 48, 64)
    order = [0, 1, 29, 7, 8, 7, 15]
    assert [number_of(frames[index]) for index in order] == order
    with pytest.raises(FrameRangeError, match="frame 30"):
        frames[30]


def test_a_stream_keeps_its_last_frames() -> None:
    frames = StreamFrames(keep_bytes=3 * 4 * 6 * 3)
    with pytest.raises(EmptyVideoError, match="no frame yet"):
        frames.height  # noqa: B018
    assert [frames.append(_picture(value)) for value in range(5)] == list(range(5))
    assert (len(frames), frames.first, frames.height, frames.width) == (5, 2, 4, 6)
    assert [int(frames[index][0, 0, 0]) for index in (2, 3, 4)] == [2, 3, 4]
    for index in (1, 5, -1):
        with pytest.raises(FrameRangeError, match=f"frame {index} of the stream is not kept"):
            frames[index]


def test_a_stream_takes_pictures_of_one_kind() -> None:
    frames = StreamFrames()
    frames.append(_picture(0))
    for wrong in (_picture(0, width=5), _picture(0).astype(np.float32), _picture(0)[..., 0]):
        with pytest.raises(FrameShapeError, match="frame 1"):
            frames.append(wrong)
    assert len(frames) == 1
