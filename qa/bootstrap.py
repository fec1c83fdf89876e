"""How sure a mean is: percentile bootstrap intervals over objects, or over groups of objects.

The things that were measured are drawn again with replacement, many times, and the middle of the results is the
interval (B. Efron, "Bootstrap methods", 1979). A difference between two models, or between two ways of working,
is drawn *paired*: the difference of one object is one thing, so that an easy or a hard object counts on both
sides at once. Objects of one video are alike, so an interval over objects is too narrow when there are many of
them a video: with `groups`, whole groups are drawn (the cluster bootstrap).

One rule holds for every interval the engine shows (`drawn_by`): with fewer than `FEWEST_DRAWN` things to draw, the
spread among them says next to nothing, and there is no interval.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qa.errors import MetricError

__all__ = ["FEWEST_DRAWN", "Drawn", "drawn_by", "interval", "paired_interval", "ratio_interval"]

FEWEST_DRAWN = 5
"""With fewer things to draw (videos, objects) there is no interval."""

Drawn = Literal["videos", "objects"]
"""What an interval draws: whole videos, or objects, where it says nothing of other videos."""

Floats = NDArray[np.float64]

_DRAWN_AT_ONCE = 1 << 20  # numbers of things held at a time: 8 MiB


def drawn_by(videos: Sequence[Hashable]) -> Drawn | None:
    """What is drawn for an interval over objects, given the video of each; None where there are too few.

    Whole videos if there are enough of them, else objects.

    >>> drawn_by("abcde"), drawn_by("aaabbb"), drawn_by("aab")
    ('videos', 'objects', None)
    """
    if len(set(videos)) >= FEWEST_DRAWN:
        return "videos"
    return "objects" if len(videos) >= FEWEST_DRAWN else None


def paired_interval(
    differences: ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    groups: Sequence[Hashable] | None = None,
) -> tuple[float, float]:
    """The interval (low, high) of the mean of paired differences [N], one a thing measured on both sides.

    `groups` [N] says which things belong together, for instance the video of each object. The same arguments
    give the same interval. Raises MetricError without any difference, for one that is no number, for groups of
    another length, and for a confidence outside 0…1 or no resample.

    >>> paired_interval([2.0, 2.0, 2.0])
    (2.0, 2.0)
    """
    return interval(differences, confidence=confidence, resamples=resamples, seed=seed, groups=groups)


def interval(
    values: ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    groups: Sequence[Hashable] | None = None,
) -> tuple[float, float]:
    """The interval (low, high) of the mean of `values` [N]; arguments and errors as for `paired_interval`."""
    array = _numbers(values)
    return ratio_interval(
        array,
        np.ones_like(array),
        confidence=confidence,
        resamples=resamples,
        seed=seed,
        groups=groups,
    )


def ratio_interval(
    tops: ArrayLike,
    bottoms: ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    groups: Sequence[Hashable] | None = None,
) -> tuple[float, float]:
    """The interval (low, high) of Σ `tops` / Σ `bottoms`, both [N], paired: a speed-up, or clicks a frame.

    `bottoms` are positive. Arguments and errors are otherwise as for `paired_interval`.
    """
    above, below = _numbers(tops), _numbers(bottoms)
    if len(above) != len(below):
        raise MetricError(f"a paired ratio needs as many numbers above as below: {len(above)}, {len(below)}")
    if not (below > 0).all():
        raise MetricError(f"a ratio is drawn over positive numbers, not over {below.min()}")
    _check(confidence, resamples)
    sums = _by_group(np.stack([above, below], axis=1), groups)
    ratios = np.concatenate([drawn[:, 0] / drawn[:, 1] for drawn in _drawn_sums(sums, resamples, seed)])
    tail = (1 - confidence) / 2
    low, high = np.quantile(ratios, [tail, 1 - tail])
    return float(low), float(high)


def _drawn_sums(rows: Floats, resamples: int, seed: int) -> Iterator[Floats]:
    """Sums [R,K] over as many `rows` [N,K] as there are, drawn with replacement; `resamples` R in all."""
    rng = np.random.default_rng(seed)
    step = max(1, _DRAWN_AT_ONCE // len(rows))
    for start in range(0, resamples, step):
        draws = rng.integers(len(rows), size=(min(step, resamples - start), len(rows)))
        yield np.stack([column[draws].sum(axis=1) for column in rows.T], axis=1)


def _by_group(rows: Floats, groups: Sequence[Hashable] | None) -> Floats:
    """Sums [G,K] of `rows` [N,K] over each group; every row for itself without groups."""
    if groups is None:
        return rows
    if len(groups) != len(rows):
        raise MetricError(f"{len(rows)} numbers need as many groups, not {len(groups)}")
    places = {group: place for place, group in enumerate(dict.fromkeys(groups))}
    sums = np.zeros((len(places), rows.shape[1]))
    np.add.at(sums, [places[group] for group in groups], rows)
    return sums


def _numbers(values: ArrayLike) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array):
        raise MetricError(f"an interval needs a row of numbers, at least one, not the shape {array.shape}")
    if not np.isfinite(array).all():
        raise MetricError(f"an interval is over numbers; {np.count_nonzero(~np.isfinite(array))} are not")
    return array


def _check(confidence: float, resamples: int) -> None:
    if not 0 < confidence < 1 or resamples < 1:
        raise MetricError(
            "a bootstrap needs a confidence between 0 and 1 and at least one draw, "
            f"not {confidence} and {resamples}"
        )
