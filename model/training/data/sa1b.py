"""SA-1B's images: `<image>.jpg` beside `<image>.json`, which lists its masks as COCO run lengths.

    {"image": {…}, "annotations": [{"segmentation": {"size": [H, W], "counts": "…"}, "stability_score": 0.97, …}, …]}

An image is a video of one frame. SAM 2 trains on at most 64 random masks of an image and drops those that cover
more than 90 % of it (paper, appendix C.2, table 13a).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model.errors import ClipError, TrainingError
from model.training.data.files import Names, find_stems, read_json, read_names, read_rgb, read_rle
from model.training.data.videos import OpenedVideo
from storage.masks import Rle, area, decode

__all__ = ["MOST_MASKS", "Sa1bFolder"]

Image = npt.NDArray[np.uint8]
BoolMask = npt.NDArray[np.bool_]

MOST_MASKS = 64
"""Masks of an image in one clip."""

MAX_BYTES = 64 << 20  # of one JSON file; SA-1B's have some hundred kilobytes
DEPTH = 2  # levels of folders searched


class Sa1bFolder:
    """The images below a folder that have annotations.

    Masks that cover more than `most_area` of the image, or whose stability score is below `least_stability`,
    are left out. `names` lists the images to take, without ending.
    """

    def __init__(
        self,
        root: Path,
        *,
        most_area: float = 0.9,
        least_stability: float = 0.0,
        names: Path | None = None,
    ) -> None:
        self._root = root
        self._most_area, self._least_stability = most_area, least_stability
        wanted = set(read_names(names)) if names else None
        self._stems = Names(
            stem
            for stem in find_stems(root, (".json",), depth=DEPTH)
            if wanted is None or Path(stem).name in wanted
        )
        if not len(self._stems):
            raise TrainingError(
                f"{root} holds no <image>.json" + (f" of an image in {names}." if names else ".")
            )

    def __len__(self) -> int:
        return len(self._stems)

    def open(self, index: int) -> OpenedVideo:
        """The masks of an image; it is not read yet."""
        stem = self._root / self._stems[index]
        path = stem.with_name(stem.name + ".json")
        content = read_json(path, MAX_BYTES)
        annotations = content.get("annotations") if isinstance(content, dict) else None
        if not isinstance(annotations, list):
            raise ClipError(f"{path}: there is no list under 'annotations'")
        kept = [self._rle(path, number, value) for number, value in enumerate(annotations)]
        return _Still(stem, [rle for rle in kept if rle is not None])

    def _rle(self, path: Path, number: int, annotation: Any) -> Rle | None:
        """The mask of an annotation, None where it is left out."""
        where = f"{path}: annotation {number}"
        if not isinstance(annotation, dict):
            raise ClipError(f"{where}: it is no object with a 'segmentation'")
        rle = read_rle(annotation.get("segmentation"), where)
        stability = annotation.get("stability_score", 1.0)
        if not isinstance(stability, int | float):
            raise ClipError(f"{where}: the stability score is no number: {stability!r:.40}")
        share = area(rle) / (rle.height * rle.width)
        return rle if 0 < share <= self._most_area and stability >= self._least_stability else None


class _Still:
    """One image with its masks."""

    def __init__(self, stem: Path, masks: list[Rle]) -> None:
        self.name = self.group = stem.name
        self._stem = stem
        self._masks = masks

    def __len__(self) -> int:
        return 1

    def image(self, position: int) -> Image:
        return read_rgb(self._stem.with_name(self._stem.name + ".jpg"))

    def visible(self, position: int) -> list[int]:
        return list(range(len(self._masks)))

    def mask(self, index: int, position: int) -> BoolMask | None:
        return decode(self._masks[index])

    def rest(self) -> None:
        """Nothing is kept."""
