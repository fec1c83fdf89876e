"""Both sides of a row: ours, and the released tool out of a copy of its repository. Each gives J and F by object."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.evaluator.drawn import Mask, Masklets
from qa.metrics import score_masklet
from qa.official import score_folders
from storage.masks import Rle

__all__ = ["Official", "Scores", "our_arrays", "our_folders", "our_runs"]

Scores = dict[str, tuple[float, float]]
"""J and F in percent by the object's name."""


class Official:
    """The released evaluation tool; `folder` is `sav_dataset` of a checkout of facebookresearch/sam2."""

    def __init__(self, folder: Path) -> None:
        if not (folder / "utils" / "sav_benchmark.py").is_file():
            raise SystemExit(
                f"{folder} has no utils/sav_benchmark.py; give sav_dataset of the sam2 repository"
            )
        sys.path.insert(0, str(folder))
        from utils import sav_benchmark

        self._tool: Any = sav_benchmark

    def folders(self, truth: Path, prediction: Path) -> Scores:
        """What each of its processes does with the video it is given."""
        _, js, fs = self._tool.VideoEvaluator(str(truth), str(prediction))("video")
        return {_name(key): (float(js[key]), float(fs[key])) for key in js}

    def arrays(self, masklets: Masklets) -> Scores:
        """Its metrics alone, of masks in memory."""
        scores: Scores = {}
        for name, truth in masklets.truth.items():
            evaluator = self._tool.Evaluator()
            for mask, true in zip(masklets.prediction[name][1:-1], truth[1:-1], strict=True):
                evaluator.feed_frame(mask=mask, gt=true)
            js, fs = evaluator.conclude()
            if js:
                scores[name] = float(js[True]), float(fs[True])
        return scores


def our_folders(truth: Path, prediction: Path) -> Scores:
    """In this process, as with --processes 1."""
    return {each.name: (each.score.j, each.score.f) for each in score_folders(truth, prediction).objects}


def our_arrays(masklets: Masklets) -> Scores:
    """Masks as pixels."""
    return _scored(masklets.prediction, masklets.truth)


def our_runs(prediction: Mapping[str, Sequence[Rle]], truth: Mapping[str, Sequence[Rle]]) -> Scores:
    """Masks as manifests keep them."""
    return _scored(prediction, truth)


def _scored(
    prediction: Mapping[str, Sequence[Mask]] | Mapping[str, Sequence[Rle]],
    truth: Mapping[str, Sequence[Mask]] | Mapping[str, Sequence[Rle]],
) -> Scores:
    found = {
        name: score_masklet(dict(enumerate(prediction[name])), dict(enumerate(masks)))
        for name, masks in truth.items()
    }
    return {name: (score.j, score.f) for name, score in found.items() if score is not None}


def _name(key: object) -> str:
    return key if isinstance(key, str) else f"{key:03}"
