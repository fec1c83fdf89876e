"""Frame-exact ingest: every kind of source, every kind of damage, and the record that comes of it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tifffile

from storage.errors import StoreError, VideoError
from storage.folder import FolderStore
from storage.objects import ObjectStore
from storage.videos import IngestLimits, SourceInfo, Video, VideoLibrary, probe
from storage.videos.sources import annotated_frames
from tests.storage.films import (
    HEIGHT,
    WIDTH,
    number_of,
    numbered,
    turn,
    write_film,
    write_sound,
    write_without_frames,
)


def taken(library: VideoLibrary, path: Path, **options: Any) -> Video:
    outcome = library.ingest(path, **options)
    assert outcome.status == "taken", outcome.reason
    assert outcome.video is not None
    return outcome.video


def skipped(library: VideoLibrary, path: Path, **options: Any) -> str:
    outcome = library.ingest(path, **options)
    assert (outcome.status, outcome.video) == ("skipped", None)
    assert str(path) in outcome.reason
    assert library.videos() == []
    return outcome.reason


def shown_numbers(library: VideoLibrary, video: Video) -> list[int]:
    return [number_of(frame) for frame in library.frames(video)]


# -- frame-exact --------------------------------------------------------------------------------------------

FILMS = {
    "mp4": {},
    "b-frames": {"options": {"bf": "3", "g": "12"}},
    "open-gop": {"options": {"bf": "3", "g": "8", "x264-params": "open-gop=1"}},
    "ntsc": {"rate": Fraction(24000, 1001)},
    "mpeg4.avi": {"codec": "mpeg4"},
    "x264.mkv": {"options": {"bf": "2"}},
    "x264.ts": {"options": {"bf": "2"}},
    "hevc": {"codec": "libx265", "options": {"x265-params": "log-level=none"}},
}


@pytest.mark.parametrize("kind", FILMS)
def test_annotated_frames_are_the_very_frames(library: VideoLibrary, tmp_path: Path, kind: str):
    suffix = kind.rpartition(".")[2] if "." in kind else "mp4"
    video = taken(library, write_film(tmp_path / f"film.{suffix}", 50, **FILMS[kind]))
    assert video.frame_count == len(video.pts) == 50
    assert video.annotated_frames == tuple(range(0, 50, 4))
    assert shown_numbers(library, video) == list(range(0, 50, 4))
    assert (video.height, video.width, video.kind, video.image_format) == (HEIGHT, WIDTH, "video", "jpg")
    assert video.fps == pytest.approx(24, rel=2e-3)
    assert video.duration_s == pytest.approx(50 / 24, rel=2e-3)


def test_frames_are_asked_for_by_source_index(library: VideoLibrary, tmp_path: Path):
    video = taken(library, write_film(tmp_path / "film.mp4", 20))
    assert number_of(library.frame(video, 12)) == 12
    assert video.position(12) == 3
    with pytest.raises(VideoError, match=r"frame 13 of 'film' is not an annotated frame; the nearest is 12"):
        library.frame(video, 13)
    assert library.frame_bytes(video, 12)[:2] == b"\xff\xd8"


@pytest.mark.parametrize("size", [(49, 64), (48, 65), (51, 67)])
def test_odd_sizes_stay_odd(library: VideoLibrary, tmp_path: Path, size: tuple[int, int]):
    film = write_film(tmp_path / "film.mkv", 5, size=size, codec="ffv1", pixels="yuv444p")
    video = taken(library, film, annotate_fps=24)
    assert (video.height, video.width) == size
    assert library.frames(video)[3].shape == (*size, 3)
    assert shown_numbers(library, video) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_rotated_films_come_out_upright(library: VideoLibrary, tmp_path: Path, turns: int):
    video = taken(library, turn(write_film(tmp_path / "film.mp4", 5), turns), annotate_fps=24)
    upright = np.rot90(numbered(3), -turns)
    frame = library.frames(video)[3]
    assert (video.height, video.width) == frame.shape[:2] == upright.shape[:2]
    assert np.abs(frame.astype(int) - upright).mean() < 12
    assert video.rotation == (-90 * turns) % 360


def test_lossless_films_and_wishes_become_png(library: VideoLibrary, tmp_path: Path):
    film = write_film(tmp_path / "film.mkv", 3, codec="ffv1", pixels="bgr0")
    video = taken(library, film, annotate_fps=24)
    assert video.image_format == "png"
    assert (library.frame(video, 2) == numbered(2)).all()
    assert taken(library, write_film(tmp_path / "a.mp4", 3), lossless=True).image_format == "png"
    assert (
        taken(library, write_film(tmp_path / "b.mkv", 4, codec="ffv1"), lossless=False).image_format == "jpg"
    )


def test_a_single_frame_is_a_video(library: VideoLibrary, tmp_path: Path):
    video = taken(library, write_film(tmp_path / "film.mp4", 1))
    assert (video.frame_count, video.annotated_frames, video.fps) == (1, (0,), 24.0)


# -- which frames are annotated -----------------------------------------------------------------------------


def info(pts: Sequence[int], fps: float, *, constant: bool) -> SourceInfo:
    return SourceInfo("video", 4, 4, len(pts), fps, constant, 0, "x", tuple(pts), (1, 1000), False)


@pytest.mark.parametrize(
    ("fps", "wanted", "step"),
    [
        (24, 6, 4),
        (23.976, 6, 4),
        (25, 6, 4),
        (30, 6, 5),
        (60, 6, 10),
        (6, 6, 1),
        (5, 6, 1),
        (1, 6, 1),
        (24, 24, 1),
    ],
)
def test_a_constant_rate_takes_every_kth_frame(fps: float, wanted: float, step: int):
    assert annotated_frames(info(range(40), fps, constant=True), wanted) == tuple(range(0, 40, step))


@pytest.mark.parametrize(
    ("pts", "chosen"),
    [
        ([0, 100, 200, 300, 400, 500], [0, 2, 3, 5]),  # the grid: 0, 167, 333, 500 ms
        ([0, 10, 20, 30, 167, 333], [0, 4, 5]),  # a burst counts once
        ([0, 1000, 2000], [0, 1, 2]),  # slower than the grid: all
        ([0, 167, 5000, 5167], [0, 1, 2, 3]),  # a gap makes no extra frames
        ([500, 667], [0, 1]),
    ],
)
def test_a_varying_rate_takes_the_frames_nearest_to_a_grid(pts: list[int], chosen: list[int]):
    assert annotated_frames(info(pts, 10, constant=False), 6) == tuple(chosen)


def test_a_film_of_varying_rate_is_noticed(library: VideoLibrary, tmp_path: Path):
    times = [0, 40, 80, 120, 160, 660, 1160, 1200, 1240, 1280]
    video = taken(library, write_film(tmp_path / "film.mkv", 10, times_ms=times))
    milliseconds = [round(pts * 1000 * video.time_base[0] / video.time_base[1]) for pts in video.pts]
    assert milliseconds == times
    assert video.annotated_frames == (0, 4, 5, 6, 9)
    assert shown_numbers(library, video) == [0, 4, 5, 6, 9]


def test_millisecond_time_stamps_are_no_varying_rate(tmp_path: Path):
    found = probe(write_film(tmp_path / "film.mkv", 48))
    assert (found.constant_rate, found.fps) == (True, 24.0)


def test_annotated_frames_can_be_given_outright(library: VideoLibrary, tmp_path: Path):
    video = taken(library, write_film(tmp_path / "film.mp4", 10), frames=[7, 2, 7])
    assert video.annotated_frames == (2, 7)
    assert shown_numbers(library, video) == [2, 7]
    reason = library.ingest(write_film(tmp_path / "b.mp4", 5), frames=[5]).reason
    assert "annotated frames must ascend within it" in reason


# -- refused ------------------------------------------------------------------------------------------------


def test_what_is_no_video_is_skipped_with_a_reason(library: VideoLibrary, tmp_path: Path):
    text = tmp_path / "text.mp4"
    text.write_text("I am not a film.\n" * 50)
    assert "not a readable video" in skipped(library, text)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    assert "not a readable video" in skipped(library, empty)
    assert "no such file or folder" in skipped(library, tmp_path / "nowhere.mp4")
    assert "only sound" in skipped(library, write_sound(tmp_path / "song.mp4"))
    assert "header.mkv" in skipped(library, write_without_frames(tmp_path / "header.mkv"))


def test_play_lists_open_no_other_files(library: VideoLibrary, tmp_path: Path):
    film = write_film(tmp_path / "film.ts", 5)
    play_list = tmp_path / "list.m3u8"
    play_list.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{film}\n#EXT-X-ENDLIST\n")
    assert "not a readable video" in skipped(library, play_list)


@pytest.mark.parametrize(
    ("suffix", "share"), [("mp4", 0.6), ("mp4", 0.9), ("mp4", 0.99), ("mkv", 0.6), ("mkv", 0.8)]
)
def test_a_truncated_film_is_corrupt(library: VideoLibrary, tmp_path: Path, suffix: str, share: float):
    index_first = {"movflags": "faststart"} if suffix == "mp4" else {}
    path = write_film(tmp_path / f"film.{suffix}", 60, container=index_first)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert "corrupt" in skipped(library, path)


def test_an_mp4_without_its_index_is_not_readable(library: VideoLibrary, tmp_path: Path):
    path = write_film(tmp_path / "film.mp4", 60)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert "not a readable video" in skipped(library, path)


def test_limits_are_kept(store: ObjectStore, tmp_path: Path):
    film = write_film(tmp_path / "film.mp4", 10)
    small = VideoLibrary(store, limits=IngestLimits(max_pixels=100))
    assert "64x48 pixels; the limit is 100" in skipped(small, film)
    few = VideoLibrary(store, limits=IngestLimits(max_frames=9))
    assert "more than 9 frames" in skipped(few, film)


def test_probe_raises_what_ingest_reports(tmp_path: Path):
    with pytest.raises(VideoError, match=r"nowhere\.mp4: no such file or folder"):
        probe(tmp_path / "nowhere.mp4")
    with pytest.raises(VideoError, match="frame rate must be a positive number"):
        probe(write_film(tmp_path / "film.mp4", 2), fps=0)
    found = probe(write_film(tmp_path / "film.mp4", 6))
    assert (found.frame_count, found.fps, found.duration_s, found.codec) == (6, 24.0, 0.25, "h264")


# -- again and again ----------------------------------------------------------------------------------------


def everything(store: ObjectStore) -> dict[str, bytes]:
    return {key: store.get(key) for key in store.list("")}


def test_ingesting_twice_changes_nothing(library: VideoLibrary, store: ObjectStore, tmp_path: Path):
    film = write_film(tmp_path / "film.mp4", 10)
    first = taken(library, film, group="kitchen", split="eval", extra={"country": "NZ"})
    before = everything(store)
    again = library.ingest(film, annotate_fps=24, name="other")
    assert (again.status, again.video, again.reason) == ("already", first, "")
    assert everything(store) == before
    assert library.videos() == [library.get(first.video_id)] == [first]
    assert (first.group, first.split, first.extra, first.name) == (
        "kitchen",
        "eval",
        {"country": "NZ"},
        "film",
    )


def test_the_same_bytes_elsewhere_are_the_same_video(library: VideoLibrary, tmp_path: Path):
    film = write_film(tmp_path / "film.mp4", 10)
    first = taken(library, film)
    assert first.video_id == first.content_hash[:16]
    assert first.group == first.content_hash
    assert library.ingest(film.rename(tmp_path / "copy.mp4")).video == first


class DyingStore(FolderStore):
    """A store whose machine dies at the third frame."""

    puts = 0

    def put(self, key: str, data: bytes) -> None:
        self.puts += 1
        if self.puts == 3:
            raise StoreError("dead")
        super().put(key, data)


def test_an_ingest_that_was_killed_is_completed_by_the_next(store: ObjectStore, tmp_path: Path):
    film = write_film(tmp_path / "film.mp4", 30)
    with pytest.raises(StoreError, match="dead"):
        VideoLibrary(DyingStore(Path(store.url))).ingest(film)
    library = VideoLibrary(store)
    assert library.videos() == []
    assert len(list(store.list("frames/"))) == 2
    assert shown_numbers(library, taken(library, film)) == list(range(0, 30, 4))


def test_an_unknown_video_is_named(library: VideoLibrary):
    with pytest.raises(VideoError, match="there is no video '0123456789abcdef'"):
        library.get("0123456789abcdef")


# -- images and stacks --------------------------------------------------------------------------------------


def write_images(folder: Path, names: Sequence[str], **changes: Any) -> Path:
    folder.mkdir()
    for index, name in enumerate(names):
        PIL.Image.fromarray(numbered(index)).save(folder / name, **changes)
    return folder


def test_a_folder_of_images_is_a_video_in_natural_order(library: VideoLibrary, tmp_path: Path):
    folder = write_images(tmp_path / "shots", ["img1.png", "img2.png", "img10.png"])
    (folder / "notes.txt").write_text("no image")
    video = taken(library, folder)
    assert (video.kind, video.name, video.fps, video.image_format) == ("images", "shots", 6.0, "png")
    assert video.annotated_frames == (0, 1, 2)
    assert [(frame == numbered(i)).all() for i, frame in enumerate(library.frames(video))] == [True] * 3
    assert library.ingest(folder).status == "already"


def test_images_can_have_a_frame_rate(library: VideoLibrary, tmp_path: Path):
    video = taken(
        library, write_images(tmp_path / "shots", [f"{i}.jpg" for i in range(9)], quality=95), fps=24
    )
    assert (video.fps, video.annotated_frames, video.image_format) == (24, (0, 4, 8), "jpg")
    assert shown_numbers(library, video) == [0, 4, 8]


def test_images_of_two_sizes_are_refused_by_name(library: VideoLibrary, tmp_path: Path):
    folder = write_images(tmp_path / "shots", ["1.png", "2.png"])
    PIL.Image.new("RGB", (5, 7)).save(folder / "3.png")
    assert "3.png has 5x7 pixels, those before it 64x48" in skipped(library, folder)


def test_bad_image_folders_are_refused(library: VideoLibrary, tmp_path: Path):
    (tmp_path / "none").mkdir()
    assert "holds no images" in skipped(library, tmp_path / "none")
    folder = write_images(tmp_path / "shots", ["1.png", "2.png"])
    (folder / "2.png").write_bytes((folder / "2.png").read_bytes()[:60])
    assert "2.png cannot be read as an image" in skipped(library, folder)


def test_photographs_are_turned_upright(library: VideoLibrary, tmp_path: Path):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    video = taken(library, write_images(tmp_path / "shots", ["1.jpg"], exif=exif))
    assert (video.height, video.width) == (WIDTH, HEIGHT)
    assert np.abs(library.frames(video)[0].astype(int) - np.rot90(numbered(0), -1)).mean() < 12


def ramp(dtype: str, top: int) -> np.ndarray:
    """Two frames 8 x 10 of which the second is brighter, from 0 to ``top``."""
    frame = np.linspace(0, top / 2, 80).reshape(8, 10)
    return np.stack([frame, frame + top / 2]).astype(dtype)


@pytest.mark.parametrize(("dtype", "top"), [("uint8", 60), ("uint16", 4000), ("uint16", 60000)])
def test_grey_stacks_are_stretched_over_the_whole_movie(
    library: VideoLibrary, tmp_path: Path, dtype: str, top: int
):
    tifffile.imwrite(tmp_path / "cells.tif", ramp(dtype, top))
    video = taken(library, tmp_path / "cells.tif")
    first, second = library.frames(video)
    assert (video.kind, video.image_format, video.frame_count) == ("stack", "png", 2)
    assert (first.min(), second.max()) == (0, 255)
    assert abs(int(first.max()) - 127) <= 3
    assert (first[:, :, 0] == first[:, :, 2]).all()


@pytest.mark.parametrize(
    "options", [{}, {"compression": "zlib"}, {"imagej": True}, {"photometric": "minisblack"}]
)
def test_stacks_of_every_layout_are_read_in_order(
    library: VideoLibrary, tmp_path: Path, options: dict[str, Any]
):
    values = np.stack([np.full((6, 8), 100 * t, np.uint16) for t in range(5)])
    tifffile.imwrite(tmp_path / "cells.tif", values, **options)
    brightness = [int(frame.mean()) for frame in library.frames(taken(library, tmp_path / "cells.tif"))]
    assert brightness == sorted(set(brightness))
    assert len(brightness) == 5


def test_colour_stacks_stay_as_they_are(library: VideoLibrary, tmp_path: Path):
    frames = np.stack([numbered(i) for i in range(3)])
    tifffile.imwrite(tmp_path / "film.tif", frames, photometric="rgb")
    assert (np.stack(list(library.frames(taken(library, tmp_path / "film.tif")))) == frames).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((2, 4, 4), np.float32), "its pixels are float32; convert"),
        (np.zeros((2, 3, 4, 5), np.uint8), r"a stack must be \[T, H, W\]"),
    ],
)
def test_other_stacks_are_refused(library: VideoLibrary, tmp_path: Path, values: np.ndarray, message: str):
    tifffile.imwrite(tmp_path / "cells.tif", values, photometric="minisblack")
    with pytest.raises(VideoError, match=message):
        probe(tmp_path / "cells.tif")
    (tmp_path / "text.tif").write_text("no stack")
    assert "text.tif is damaged or not a TIFF file" in skipped(library, tmp_path / "text.tif")


def test_sixteen_bit_images_share_one_range(library: VideoLibrary, tmp_path: Path):
    (tmp_path / "cells").mkdir()
    for index, values in enumerate(ramp("uint16", 4000)):
        PIL.Image.fromarray(values).save(tmp_path / "cells" / f"{index}.png")
    first, second = library.frames(taken(library, tmp_path / "cells"))
    assert (first.min(), second.max()) == (0, 255)
    assert first.max() < 140


def test_arrays_are_kept_without_loss(library: VideoLibrary):
    frames = np.random.default_rng(0).integers(0, 256, (9, 7, 5, 3), dtype=np.uint8)
    outcome = library.ingest_array(frames, name="noise", fps=24, extra={"made": "here"})
    assert outcome.video is not None
    assert outcome.video.annotated_frames == tuple(range(9))
    assert (np.stack(list(library.frames(outcome.video))) == frames).all()
    assert library.ingest_array(frames, name="other", fps=6).status == "already"
    every_fourth = library.ingest_array(frames[:8], name="less", fps=24, annotate_fps=6).video
    assert every_fourth is not None
    assert every_fourth.annotated_frames == (0, 4)
    with pytest.raises(VideoError, match=r"uint8 \[T, H, W, 3\]"):
        library.ingest_array(frames[:, :, :, :2], name="bad", fps=6)


# -- stored frames ------------------------------------------------------------------------------------------


def test_stored_frames_are_a_sequence(library: VideoLibrary, tiny_video: Video):
    frames = library.frames(tiny_video)
    assert (len(frames), frames.height, frames.width) == (3, 6, 8)
    assert (frames[-1] == frames[2]).all()
    assert frames[0].dtype == np.uint8
    for beyond in (3, -4):
        with pytest.raises(IndexError):
            frames[beyond]


def test_a_frame_is_the_callers_own(library: VideoLibrary, tiny_video: Video):
    frames = library.frames(tiny_video)
    kept = frames[1].copy()
    frames[1][:] = 0
    assert (frames[1] == kept).all()


def test_the_last_frames_are_not_read_again(library: VideoLibrary, store: ObjectStore, tiny_video: Video):
    frames = library.frames(tiny_video)
    first = frames[0]
    store.delete(tiny_video.frame_key(0))
    assert (frames[0] == first).all()
    with pytest.raises(StoreError, match="nothing is stored"):
        library.frames(tiny_video)[0]


@pytest.mark.parametrize("data", [b"", b"rubbish", "half", "other size"])
def test_a_damaged_frame_is_named(library: VideoLibrary, store: ObjectStore, tiny_video: Video, data: Any):
    key = tiny_video.frame_key(4)
    if data == "half":
        data = store.get(key)[:-40]
    elif data == "other size":
        other = library.ingest_array(np.zeros((1, 2, 2, 3), np.uint8), name="x", fps=6).video
        assert other is not None
        data = store.get(other.frame_key(0))
    store.put(key, data)
    with pytest.raises(VideoError, match=key):
        library.frame(tiny_video, 4)


# -- the record ---------------------------------------------------------------------------------------------


def test_the_record_is_json_and_comes_back(tiny_video: Video):
    data = tiny_video.to_json()
    assert Video.from_json(data) == tiny_video
    assert json.loads(data)["format"] == 1
    assert set(json.loads(data)) == {field.name for field in dataclasses.fields(Video)} | {"format"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"video_id": "xyz"}, "16 hex digits"),
        ({"kind": "film"}, "kind must be one of"),
        ({"height": 0}, "bad frame size"),
        ({"frame_count": 13}, "12 time stamps for 13 frames"),
        ({"pts": [0] * 12}, "time stamps must ascend"),
        ({"fps": -1.0}, "bad frame rate"),
        ({"time_base": [1]}, "bad time base"),
        ({"annotated_frames": [0, 12]}, "annotated frames must ascend within it"),
        ({"annotated_frames": []}, "annotated frames must ascend within it"),
        ({"image_format": "gif"}, "image_format must be one of"),
        ({"split": "test"}, "the split must be one of"),
        ({"group": ""}, "the group is empty"),
        ({"format": 2}, "has format 2; this code reads format 1"),
        ({"colour": "red"}, "wrong fields"),
        ({"pts": 5}, "cannot be read"),
    ],
)
def test_a_wrong_record_is_named(
    library: VideoLibrary, store: ObjectStore, tiny_video: Video, change: dict[str, Any], message: str
):
    key = f"videos/{tiny_video.video_id}.json"
    store.put(key, json.dumps(json.loads(tiny_video.to_json()) | change).encode())
    with pytest.raises(VideoError, match=message) as caught:
        library.get(tiny_video.video_id)
    assert key in str(caught.value)


def test_real_films_are_read(library: VideoLibrary, shared_data: Path):
    video = taken(library, shared_data / "video" / "bedroom.mp4", frames=[0, 100, 199])
    assert (video.frame_count, video.height, video.width, video.fps) == (200, 540, 960, 30.0)
    assert len(library.frames(video)) == 3


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "tif", "png"])
def test_altered_bytes_are_survived(library: VideoLibrary, tmp_path: Path, suffix: str):
    random = np.random.default_rng(7)
    good = tmp_path / f"good.{suffix}"
    if suffix == "tif":
        tifffile.imwrite(good, ramp("uint16", 4000), compression="zlib")
    elif suffix == "png":
        PIL.Image.fromarray(numbered(3)).save(good)
    else:
        write_film(good, 5, codec="mpeg4" if suffix == "avi" else "libx264")
    data = good.read_bytes()
    (tmp_path / "bad").mkdir()
    bad = tmp_path / "bad" / f"0.{suffix}"
    for _ in range(20):
        altered = np.frombuffer(data, np.uint8).copy()
        altered[random.integers(0, min(len(altered), 400), 8)] = random.integers(0, 256, 8)
        bad.write_bytes(altered.tobytes())
        outcome = library.ingest(bad.parent if suffix == "png" else bad)
        assert outcome.video is not None or outcome.reason
