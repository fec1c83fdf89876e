"""The gate of promotion: a retrained model replaces the one in use only if the frozen evaluation lets it.

Champion (in use) and challenger (retrained) are compared object by object, under the same protocols, on the
same frozen videos. The challenger must not be worse under the protocol its phase works with, and must not
have forgotten the others. How sure the difference is, is said by a bootstrap interval over objects: pairs are
drawn again with replacement, so an easy or a hard object counts on both sides at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qa.errors import MetricError
from qa.metric_rows import MetricRow

__all__ = ["GateConfig", "GateDecision", "decide"]

_Object = tuple[str, int]


@dataclass(frozen=True, slots=True)
class GateConfig:
    """How much worse a challenger may be, in points of J&F (0…100), and how its interval is computed."""

    tolerance: float = 0.0
    """Fall of mean J&F allowed under the phase's own protocol."""
    retention_tolerance: float = 1.0
    """Fall of mean J&F allowed under any other protocol."""
    confidence: float = 0.95
    """Coverage of the bootstrap interval."""
    resamples: int = 2000
    """Bootstrap draws."""
    seed: int = 0
    """Seed of the draws."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if not (self.tolerance >= 0 and self.retention_tolerance >= 0):
            raise MetricError(
                f"a tolerance is 0 points or more, not {self.tolerance}, {self.retention_tolerance}"
            )
        if not 0 < self.confidence < 1 or self.resamples < 1:
            raise MetricError(
                "a bootstrap needs a confidence between 0 and 1 and at least one draw, "
                f"not {self.confidence} and {self.resamples}"
            )


@dataclass(frozen=True, slots=True)
class GateDecision:
    """Whether to promote, why, and the numbers: challenger minus champion in points of mean J&F.

    `deltas` by protocol; `interval` is the bootstrap interval (low, high) of the delta of `primary`. Both are
    empty (None) where the evaluations could not be compared.
    """

    promote: bool
    reason: str
    primary: str
    objects: int = 0
    deltas: Mapping[str, float] = field(default_factory=dict)
    interval: tuple[float, float] | None = None

    @property
    def delta(self) -> float | None:
        """The difference under the primary protocol, in points; None if it could not be computed."""
        return self.deltas.get(self.primary)


def decide(
    champion: Sequence[MetricRow],
    challenger: Sequence[MetricRow],
    config: GateConfig | None = None,
    *,
    primary: str,
) -> GateDecision:
    """Compares two evaluations; `primary` is the protocol of the phase ("mask" in phase 2, "3-click" in 3).

    Rows of means are ignored: means are taken here, over the same objects on both sides. A missing protocol,
    different objects or a score that is no number refuse the challenger, with the reason.
    """
    config = config or GateConfig()
    try:
        differences = _differences(champion, challenger, primary)
    except MetricError as error:
        return GateDecision(False, f"refused: {error}", primary)
    deltas = {protocol: float(values.mean()) for protocol, values in differences.items()}
    interval = _bootstrap_interval(differences[primary], config)
    fallen = _fallen(deltas, primary, config)
    return GateDecision(
        promote=not fallen,
        reason=_reason(deltas, primary, interval, fallen, config),
        primary=primary,
        objects=len(differences[primary]),
        deltas=deltas,
        interval=interval,
    )


def _differences(
    champion: Sequence[MetricRow], challenger: Sequence[MetricRow], primary: str
) -> dict[str, NDArray[np.float64]]:
    """Challenger minus champion J&F of every object, by protocol; raises MetricError if they do not pair."""
    before, after = _scores(champion, "champion"), _scores(challenger, "challenger")
    pairs: dict[str, NDArray[np.float64]] = {}
    for protocol in sorted({primary, *before, *after}):
        for name, scores in (("champion", before), ("challenger", after)):
            if protocol not in scores:
                raise MetricError(f"the {name} was not evaluated with the protocol {protocol!r}")
        if before[protocol].keys() != after[protocol].keys():
            odd = sorted(before[protocol].keys() ^ after[protocol].keys())
            raise MetricError(
                f"under {protocol!r} only one model was scored on {_names(odd)}; evaluate both on one set"
            )
        ordered = sorted(before[protocol])
        pairs[protocol] = np.array([after[protocol][key] - before[protocol][key] for key in ordered])
    return pairs


def _scores(rows: Iterable[MetricRow], name: str) -> dict[str, dict[_Object, float]]:
    scores: dict[str, dict[_Object, float]] = {}
    for row in rows:
        if not row.is_number:
            raise MetricError(f"the {name}'s score of {_name(row)} under {row.protocol!r} is not a number")
        if row.is_mean:
            continue
        of_protocol = scores.setdefault(row.protocol, {})
        if (row.video_id, row.object_id) in of_protocol:
            raise MetricError(f"the {name} has two scores of {_name(row)} under {row.protocol!r}")
        of_protocol[row.video_id, row.object_id] = row.jf
    return scores


def _bootstrap_interval(differences: NDArray[np.float64], config: GateConfig) -> tuple[float, float]:
    """Percentile interval of the mean of paired `differences` [N], drawn again with replacement."""
    rng = np.random.default_rng(config.seed)
    count = len(differences)
    means = [differences[rng.integers(count, size=count)].mean() for _ in range(config.resamples)]
    tail = (1 - config.confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def _fallen(deltas: Mapping[str, float], primary: str, config: GateConfig) -> list[str]:
    """Protocols under which the challenger falls by more than is allowed."""
    return [name for name, delta in deltas.items() if delta < -_allowed(name, primary, config)]


def _allowed(protocol: str, primary: str, config: GateConfig) -> float:
    return config.tolerance if protocol == primary else config.retention_tolerance


def _reason(
    deltas: Mapping[str, float],
    primary: str,
    interval: tuple[float, float],
    fallen: Sequence[str],
    config: GateConfig,
) -> str:
    low, high = interval
    sure = "" if low > 0 or high < 0 else ", so the difference may be chance"
    main = (
        f"J&F {deltas[primary]:+.2f} under {primary!r} "
        f"({config.confidence:.0%} interval {low:+.2f} to {high:+.2f}{sure})"
    )
    others = [f"{deltas[name]:+.2f} under {name!r}" for name in deltas if name != primary]
    told = "; ".join([main, *others])
    if not fallen:
        return f"promoted: {told}"
    limits = [f"{name!r} may fall by {_allowed(name, primary, config):g} at most" for name in fallen]
    return f"refused: {told}; {' and '.join(limits)}"


def _name(row: MetricRow) -> str:
    return "the mean" if row.is_mean else f"object {row.object_id} of video {row.video_id}"


def _names(objects: Sequence[_Object]) -> str:
    shown = ", ".join(f"{video_id}/{object_id}" for video_id, object_id in objects[:3])
    return shown + (f" and {len(objects) - 3} more" if len(objects) > 3 else "")
