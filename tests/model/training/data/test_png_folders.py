"""Folders of frames and mask pictures: DAVIS, MOSE, YouTube-VOS, SA-V's validation set."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from model.errors import ClipError, TrainingError
from model.training.augment import AUGMENTATIONS
from model.training.data.png_folders import PngFolders
from model.training.data.videos import IndexedClips
from tests.model.training.data.folders import mask_of, write_davis, write_frames, write_palette, write_sav_val
from tests.storage.films import number_of


def test_palette_pictures_hold_one_number_an_object(tmp_path: Path) -> None:
    videos = PngFolders(write_davis(tmp_path))
    assert len(videos) == 1
    video = videos.open(0)
    assert (len(video), video.name) == (6, "bear")
    assert video.visible(1) == [1]
    assert video.visible(2) == [1, 2]  # 255 is void
    assert number_of(video.image(4)) == 4
    assert np.array_equal(video.mask(1, 4), mask_of(4))
    assert np.array_equal(video.mask(2, 4), mask_of(0, 1))


def test_frames_without_a_mask_picture_are_left_out(tmp_path: Path) -> None:
    write_frames(tmp_path / "JPEGImages" / "a", {f"{number:05d}": number for number in range(12)})
    for number in (0, 5, 10):
        write_palette(tmp_path / "Annotations" / "a" / f"{number:05d}.png", mask_of(number))
    video = PngFolders(tmp_path).open(0)
    assert [number_of(video.image(position)) for position in range(3)] == [0, 5, 10]
    thin = PngFolders(tmp_path, sample_rate=2).open(0)
    assert [number_of(thin.image(position)) for position in range(len(thin))] == [0, 10]
    everything = PngFolders(tmp_path, rm_unannotated=False).open(0)
    assert len(everything) == 12
    assert everything.visible(3) == []
    assert everything.visible(5) == [1]


def test_numbers_order_the_frames(tmp_path: Path) -> None:
    write_frames(tmp_path / "JPEGImages" / "a", {str(number): number for number in range(8, 12)})
    for number in range(8, 12):
        write_palette(tmp_path / "Annotations" / "a" / f"{number}.png", mask_of(number))
    video = PngFolders(tmp_path).open(0)
    assert [number_of(video.image(position)) for position in range(4)] == [8, 9, 10, 11]


def test_the_validation_set_has_a_folder_an_object_and_every_fourth_frame(tmp_path: Path) -> None:
    video = PngFolders(write_sav_val(tmp_path), names=tmp_path / "sav_val.txt").open(0)
    assert len(video) == 11
    assert video.visible(0) == [0]
    assert video.visible(2) == [0, 1]
    for position in (0, 3, 10):
        assert number_of(video.image(position)) == 4 * position
        assert np.array_equal(video.mask(0, position), mask_of(position))
    assert video.mask(1, 0) is None


def test_objects_of_a_clip_show_on_its_first_frame(tmp_path: Path) -> None:
    source = IndexedClips(PngFolders(write_davis(tmp_path)), AUGMENTATIONS["video"])
    for seed in range(10):
        clip = source.clip(0, np.random.default_rng(seed), frames=4, objects=3, size=64)
        assert clip.masks[0].any(axis=(1, 2)).all()
        assert 1 <= clip.masks.shape[1] <= 2


def test_a_source_pickles_without_what_it_has_read(tmp_path: Path) -> None:
    source = IndexedClips(PngFolders(write_davis(tmp_path)), AUGMENTATIONS["video"])
    before = len(pickle.dumps(source))
    first = source.clip(0, np.random.default_rng(1), frames=4, objects=3, size=32)
    assert len(pickle.dumps(source)) == before
    copy = pickle.loads(pickle.dumps(source))  # noqa: S301 (our own bytes)
    assert np.array_equal(
        first.images, copy.clip(0, np.random.default_rng(1), frames=4, objects=3, size=32).images
    )


def cut_mask(root: Path) -> None:
    for path in (root / "Annotations/480p/bear").iterdir():
        path.write_bytes(path.read_bytes()[:60])


def colour_mask(root: Path) -> None:
    for path in (root / "Annotations/480p/bear").iterdir():
        PIL.Image.open(path).convert("RGB").save(path)


def empty_masks(root: Path) -> None:
    for path in (root / "Annotations/480p/bear").iterdir():
        write_palette(path, np.zeros((48, 64)))


def small_mask(root: Path) -> None:
    for path in (root / "Annotations/480p/bear").iterdir():
        write_palette(path, np.ones((4, 4)))


def lost_frame(root: Path) -> None:
    (root / "JPEGImages/480p/bear/00003.jpg").unlink()


def lost_masks(root: Path) -> None:
    for path in (root / "Annotations/480p/bear").iterdir():
        path.unlink()


def lost_video(root: Path) -> None:
    (root / "JPEGImages/480p/bear").rename(root / "elsewhere")


def cut_frame(root: Path) -> None:
    for path in (root / "JPEGImages/480p/bear").iterdir():
        path.write_bytes(path.read_bytes()[:200])


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (cut_mask, r"bear/\d+.png: cannot be read as a mask"),
        (colour_mask, r"bear/\d+.png: .*it is a colour picture \(RGB\)"),
        (empty_masks, r"bear has no object"),
        (small_mask, r"bear: frames and masks differ in size: .*4x4"),
        (lost_frame, r"bear: there is no frame for the mask picture 00003.png"),
        (lost_masks, r"Annotations/480p/bear: there are no mask pictures"),
        (lost_video, r"JPEGImages/480p/bear: cannot be listed \(No such file"),
        (cut_frame, r"bear/\d+.jpg: .*cannot be read as an image"),
    ],
)
def test_damaged_videos_are_named(tmp_path: Path, damage: Callable[[Path], None], why: str) -> None:
    source = IndexedClips(PngFolders(write_davis(tmp_path)), AUGMENTATIONS["none"])
    damage(tmp_path)
    with pytest.raises(ClipError, match=why):
        source.clip(0, np.random.default_rng(0), frames=4, objects=3, size=32)


def test_folders_that_are_no_such_tree_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"holds no folder of frames; looked for .*JPEGImages"):
        PngFolders(tmp_path)
    (tmp_path / "JPEGImages").mkdir()
    with pytest.raises(TrainingError, match="holds no folder of masks"):
        PngFolders(tmp_path)
    (tmp_path / "Annotations").mkdir()
    with pytest.raises(TrainingError, match="holds no folder of a video"):
        PngFolders(tmp_path)
