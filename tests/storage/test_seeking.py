"""Any frame of a film, in any order, is the right one."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.errors import VideoError
from storage.videos.seeking import SeekableVideo
from tests.storage.films import number_of, turn, write_film, write_sound, write_without_frames

ORDER = [0, 1, 2, 30, 31, 5, 29, 59, 0, 58, 40, 12, 13, 14]


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("plain.mp4", "libx264", {"g": "12"}),
        ("b-frames.mp4", "libx264", {"g": "20", "bf": "3"}),
        ("open-gop.mkv", "libx264", {"g": "10", "bf": "3", "x264-params": "open-gop=1:keyint=10"}),
        ("one-key.mp4", "libx264", {"g": "1000"}),
        ("old.avi", "mpeg4", {"g": "9"}),
        ("web.webm", "libvpx-vp9", {"g": "15", "lag-in-frames": "12", "auto-alt-ref": "1"}),
        ("stream.ts", "libx264", {"g": "12", "bf": "2"}),
        ("lossless.mkv", "ffv1", {}),
    ],
)
def test_frames_are_exact_in_any_order(
    tmp_path: Path, name: str, codec: str, options: dict[str, str]
) -> None:
    video = SeekableVideo(write_film(tmp_path / name, 60, codec=codec, options=options))
    assert (len(video), video.height, video.width) == (60, 48, 64)
    assert [number_of(video.read(index)) for index in ORDER] == ORDER
    assert [number_of(video.read(index)) for index in range(60)] == list(range(60))


def test_uneven_times(tmp_path: Path) -> None:
    times = [0, 10, 100, 130, 500, 900, 910, 2000]
    video = SeekableVideo(write_film(tmp_path / "uneven.mkv", 8, times_ms=times))
    assert [number_of(video.read(index)) for index in (7, 0, 3, 6, 2)] == [7, 0, 3, 6, 2]


def test_frames_are_upright(tmp_path: Path) -> None:
    video = SeekableVideo(turn(write_film(tmp_path / "turned.mp4", 5), 1))
    assert (video.height, video.width) == (64, 48)
    assert video.read(3).shape == (64, 48, 3)


def test_a_file_that_was_cut_is_refused(tmp_path: Path) -> None:
    path = write_film(tmp_path / "cut.mp4", 60, container={"movflags": "faststart"}, codec="mpeg4")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(VideoError, match=r"cut\.mp4: corrupt: it ends after"):
        SeekableVideo(path)


def test_a_frame_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    path = write_film(tmp_path / "damaged.mov", 60, codec="png", pixels="rgb24")
    data = bytearray(path.read_bytes())
    starts = [place for place in range(len(data)) if data.startswith(b"\x89PNG", place)]
    data[starts[30] : starts[30] + 40] = bytes(40)
    path.write_bytes(bytes(data))
    video = SeekableVideo(path)
    with pytest.raises(VideoError, match=r"damaged\.mov: frame 30 cannot be read"):
        video.read(30)
    assert number_of(video.read(29)) == 29 and number_of(video.read(31)) == 31


@pytest.mark.parametrize("write", [write_sound, write_without_frames])
def test_what_is_no_video_is_refused(tmp_path: Path, write: object) -> None:
    path = write(tmp_path / "none.mp4")  # type: ignore[operator]
    with pytest.raises(VideoError, match=r"none\.mp4"):
        SeekableVideo(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"gone\.mp4"):
        SeekableVideo(tmp_path / "gone.mp4")
