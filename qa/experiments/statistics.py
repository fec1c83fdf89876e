"""Estimates with bootstrap intervals for comparisons in which every object is measured on all sides.

What is drawn again is the object (or another cluster) with everything that was measured on it, so that an easy or a
hard one counts on every side at once: that is what makes the comparison paired. Every statistic here is a function
of sums over objects: a ratio of two sums, or a ratio of such ratios.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qa.bootstrap import FEWEST_DRAWN
from qa.errors import MetricError

__all__ = ["Estimate", "crossed_mean", "estimate", "ratio", "ratio_of_ratios"]

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""Sums [R,K] → one number for each of R draws."""

CONFIDENCE = 0.95
RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and its 95 % interval; `clusters` were drawn. Bounds are NaN where too few could be drawn."""

    value: float
    low: float = math.nan
    high: float = math.nan
    clusters: int = 0

    def to_json(self) -> dict[str, float | int | None]:
        """Plain values; what is not known is None."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        known = {key: None if math.isnan(number) else round(number, 4) for key, number in numbers.items()}
        return {**known, "clusters": self.clusters}


def estimate(rows: Floats, clusters: Sequence[Hashable], statistic: Statistic, *, seed: int = 0) -> Estimate:
    """`statistic` of the sums of `rows` [N,K], with the interval over clusters [N].

    Raises MetricError when there are no rows, or not as many clusters.
    """
    if rows.ndim != 2 or not len(rows) or len(rows) != len(clusters):
        raise MetricError(f"{rows.shape} rows and {len(clusters)} clusters give no estimate")
    sums = _by_cluster(rows, clusters)
    value = float(statistic(sums.sum(axis=0, keepdims=True))[0])
    if len(sums) < FEWEST_DRAWN:
        return Estimate(value, clusters=len(sums))
    counts = np.random.default_rng(seed).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), RESAMPLES)
    return Estimate(value, *_bounds(statistic(counts @ sums)), len(sums))


def ratio(top: int, bottom: int) -> Statistic:
    """The sum in one column by the sum in another."""

    def of(sums: Floats) -> Floats:
        return _divided(sums[:, top], sums[:, bottom])

    return of


def ratio_of_ratios(first: tuple[int, int], second: tuple[int, int]) -> Statistic:
    """One ratio of columns by another: a speed-up, when both are seconds by frames."""

    def of(sums: Floats) -> Floats:
        return _divided(ratio(*first)(sums), ratio(*second)(sums))

    return of


def crossed_mean(table: Floats, *, seed: int = 0) -> Estimate:
    """The mean of a table [S,N] of S trainings and N objects; both are drawn again, independently.

    An interval over objects alone would say nothing of the luck of a training. With a few trainings it is rough.
    """
    trainings, objects = table.shape
    if objects < FEWEST_DRAWN:
        return Estimate(float(table.mean()) if table.size else math.nan, clusters=objects)
    rng = np.random.default_rng(seed)
    over_objects = rng.multinomial(objects, np.full(objects, 1 / objects), RESAMPLES) / objects
    over_trainings = rng.multinomial(trainings, np.full(trainings, 1 / trainings), RESAMPLES) / trainings
    means = np.einsum("rs,sn,rn->r", over_trainings, table, over_objects)
    return Estimate(float(table.mean()), *_bounds(means), objects)


def _by_cluster(rows: Floats, clusters: Sequence[Hashable]) -> Floats:
    places = {cluster: place for place, cluster in enumerate(dict.fromkeys(clusters))}
    sums = np.zeros((len(places), rows.shape[1]))
    np.add.at(sums, [places[cluster] for cluster in clusters], rows)
    return sums


def _bounds(draws: Floats) -> tuple[float, float]:
    known = draws[np.isfinite(draws)]
    if not len(known):
        return math.nan, math.nan
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def _divided(top: Floats, bottom: Floats) -> Floats:
    return np.divide(top, bottom, out=np.full_like(top, math.nan), where=bottom > 0)
