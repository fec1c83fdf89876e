"""Pictures from folders and clips, and their crops."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.errors import ClipError, TrainingError
from model.training.mae.pictures import ClipPictures, FolderPictures, MixedPictures, random_crop
from tests.model.training.conftest import SquareClips


def test_a_folder_is_read_to_its_depths_and_in_order(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    Image.fromarray(np.full((6, 8, 3), 50, np.uint8)).save(tmp_path / "deep" / "b.png")
    Image.fromarray(np.full((6, 8), 90, np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "notes.txt").write_text("no picture")
    pictures = FolderPictures(tmp_path)
    assert len(pictures) == 2
    rng = np.random.default_rng(0)
    (grey, first), (_, second) = (pictures.picture(index, rng, size=4) for index in range(2))
    assert grey.shape == (6, 8, 3) and (grey == 90).all()
    assert first.endswith("a.png") and second.endswith("b.png")


def test_folders_and_files_that_are_no_pictures_are_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="missing is not a folder"):
        FolderPictures(tmp_path / "missing")
    with pytest.raises(TrainingError, match="There is no picture beneath"):
        FolderPictures(tmp_path)
    (tmp_path / "broken.png").write_bytes(b"not a png")
    with pytest.raises(TrainingError, match=r"Cannot read the picture .*broken\.png"):
        FolderPictures(tmp_path).picture(0, np.random.default_rng(0), size=4)


def test_damaged_and_boundless_pictures_are_named_too(tmp_path: Path) -> None:
    good = io.BytesIO()
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(good, "png")
    header = b"IHDR" + struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    huge = good.getvalue()[:12] + header + struct.pack(">I", zlib.crc32(header)) + good.getvalue()[33:]
    broken = good.getvalue()[:33] + b"\0\0\0\5bl\1nk" + good.getvalue()[41:]
    for name, data in (("broken.png", broken), ("huge.png", huge)):
        folder = tmp_path / name.removesuffix(".png")
        folder.mkdir()
        (folder / name).write_bytes(data)
        with pytest.raises(ClipError, match=rf"Cannot read the picture .*{name}"):
            FolderPictures(folder).picture(0, np.random.default_rng(0), size=4)


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 256, 65535]], np.uint16)).save(tmp_path / "deep.png")
    image, _ = FolderPictures(tmp_path).picture(0, np.random.default_rng(0), size=4)
    assert image[0, :, 0].tolist() == [0, 1, 255] and image.shape == (1, 3, 3)


def test_frames_of_clips_come_twice_as_large() -> None:
    image, name = ClipPictures(SquareClips()).picture(3, np.random.default_rng(0), size=32)
    assert image.shape == (64, 64, 3) and name == "square-3"


def test_crops_show_at_least_their_share_of_the_picture() -> None:
    rows, columns = np.meshgrid(np.arange(100), np.arange(150), indexing="ij")
    image = np.stack([rows, columns, rows * 0], axis=2).astype(np.uint8)
    rng = np.random.default_rng(0)
    areas, flipped = [], 0
    for _ in range(200):
        crop = random_crop(image, rng, smallest=0.5, size=64)
        assert crop.shape == (64, 64, 3)
        tall = int(crop[-1, 0, 0]) - int(crop[0, 0, 0]) + 1
        wide = abs(int(crop[0, -1, 1]) - int(crop[0, 0, 1])) + 1
        areas.append(tall * wide / 15_000)
        flipped += crop[0, 0, 1] > crop[0, -1, 1]
    assert 0.47 < min(areas) < 0.6 and max(areas) > 0.8
    assert 70 < flipped < 130


def test_a_picture_that_no_crop_fits_gives_its_middle() -> None:
    image = np.zeros((10, 400, 3), np.uint8)
    image[:, 195:205] = 200
    assert (random_crop(image, np.random.default_rng(0), smallest=1.0, size=8) == 200).all()


class Grey:
    """Pictures of one colour."""

    def __init__(self, level: int, count: int) -> None:
        self.level, self.count = level, count

    def __len__(self) -> int:
        return self.count

    def picture(self, index: int, rng: np.random.Generator, *, size: int) -> tuple[np.ndarray, str]:
        assert 0 <= index < self.count
        return np.full((4, 4, 3), self.level, np.uint8), f"{self.level}-{index}"


@pytest.mark.parametrize(("weights", "share"), [((None, None), 0.75), ((1.0, 3.0), 0.75), ((None, 1.0), 0.5)])
def test_places_are_mixed_by_weight_or_by_size(
    weights: tuple[float | None, float | None], share: float
) -> None:
    mixed = MixedPictures([(Grey(0, 2), weights[0]), (Grey(9, 6), weights[1])])
    assert len(mixed) == 8
    rng = np.random.default_rng(0)
    bright = [mixed.picture(int(rng.integers(8)), rng, size=4)[0].max() > 0 for _ in range(400)]
    assert np.mean(bright) == pytest.approx(share, abs=0.08)
