"""The gate of promotion: a retrained model replaces the one in use only if measurements let it.

Champion (in use) and challenger (retrained) are compared object by object, under the same protocols, on two sets: the
frozen evaluation set, and the retention set, which shows what was forgotten. On the latter the challenger is compared
with the *start* as well, the weights that the home began with, so that small falls cannot add up over the rounds. The
rule, here and nowhere else:

- A *criterion* is one measure under one protocol on one set: J&F (points, 0…100), or the seconds that a simulated
  annotator takes for a masklet (percent of the champion's). Each has a fall that is allowed: `tolerance` for J&F under
  the phase's own protocol on the evaluation set, `retention_tolerance` for J&F elsewhere, `seconds_tolerance` for time,
  `floor_tolerance` for J&F against the start.
- How sure a difference is, is said by a paired bootstrap interval: differences of objects are drawn again with
  replacement, so that an easy or a hard object counts on both sides at once; whole videos are drawn, as objects of one
  video are alike, where there are enough of them, else objects (`qa.bootstrap.drawn_by`). With too few objects there is
  no interval: nothing is sure, and the mean decides, but for `uncertain = "refuse"`, which refuses.
- A criterion whose whole interval is within what is allowed passes, and one whose whole interval is beyond it fails.
  In between chance may have decided, and `uncertain` does: by the mean ("mean"), for the challenger ("promote": only a
  fall that is sure refuses it), against it ("refuse": only what is surely good enough passes), or by what is won
  ("gain", the default): where the gain under the phase's own protocol is sure, a fall of J&F that may be chance passes
  if its mean is no larger than the gain; else the mean decides. With several small sets one or another mean falls by
  chance, and a sure gain is worth a fall that is smaller and may be none.
- The challenger is promoted if every criterion passes. If its gain under the phase's own protocol may be chance, the
  verdict says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from qa.bootstrap import FEWEST_DRAWN, drawn_by, paired_interval
from qa.errors import MetricError
from qa.metric_rows import MEAN_OBJECT, RETENTION, MetricRow

__all__ = ["UNCERTAIN", "Criterion", "GateConfig", "GateDecision", "decide"]

UNCERTAIN = ("gain", "mean", "promote", "refuse")

Against = Literal["champion", "start"]
"""What a challenger is compared with: the weights in use, or those that the home began with."""

_Object = tuple[str, int]
_Scores = dict[_Object, MetricRow]
_Set = tuple[str, str]
"""(suite, protocol)."""


@dataclass(frozen=True, slots=True)
class GateConfig:
    """How much worse a challenger may be, how its intervals are computed, and what chance may decide."""

    tolerance: float = 0.0
    """Fall of mean J&F allowed under the phase's own protocol on the evaluation set, in points."""
    retention_tolerance: float = 1.0
    """Fall of mean J&F allowed under any other protocol and on the retention set, in points."""
    floor_tolerance: float = 2.0
    """Fall of mean J&F allowed on the retention set against the weights that the home began with, in points."""
    seconds_tolerance: float = 5.0
    """Rise of a simulated annotator's seconds per masklet allowed, in percent of the champion's."""
    uncertain: Literal["gain", "mean", "promote", "refuse"] = "gain"
    """What decides a criterion whose interval holds both enough and too little: its mean (`mean`), one answer for all
    (`promote`, `refuse`), or (`gain`) its mean, but where the gain under the phase's own protocol is sure, J&F may fall
    by as much on average."""
    confidence: float = 0.95
    """Coverage of the bootstrap intervals."""
    resamples: int = 2000
    """Bootstrap draws."""
    seed: int = 0
    """Seed of the draws."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        allowed = (self.tolerance, self.retention_tolerance, self.floor_tolerance, self.seconds_tolerance)
        if not all(value >= 0 for value in allowed):
            raise MetricError(f"a tolerance is 0 or more, not {', '.join(map(str, allowed))}")
        if self.uncertain not in UNCERTAIN:
            raise MetricError(f"uncertain is one of {', '.join(UNCERTAIN)}, not {self.uncertain!r}")
        if not 0 < self.confidence < 1 or self.resamples < 1:
            raise MetricError(
                "a bootstrap needs a confidence between 0 and 1 and at least one draw, "
                f"not {self.confidence} and {self.resamples}"
            )


@dataclass(frozen=True, slots=True)
class Criterion:
    """One comparison. `measure` is J&F or seconds; `suite` is empty for the frozen evaluation set.

    `before` (of the weights that `against` says) and `challenger` are means over `objects` objects, `delta` their
    difference with its interval (`low`, `high`; None with too few objects), all in points or seconds; `allowed` is
    how far it may go the wrong way, `deltas` are the differences in J, F and J&F. `sure` is whether there is an
    interval and it holds no other answer than `passed`.
    """

    suite: str
    protocol: str
    measure: Literal["J&F", "seconds"]
    before: float
    challenger: float
    low: float | None
    high: float | None
    allowed: float
    objects: int
    videos: int
    passed: bool
    sure: bool
    deltas: tuple[float, float, float]
    against: Against = "champion"

    @property
    def delta(self) -> float:
        """Challenger minus the other."""
        return self.challenger - self.before

    @property
    def may_be_chance(self) -> bool:
        """Whether the interval holds no difference at all, or there is none."""
        return self.low is None or self.high is None or (self.low <= 0 <= self.high and self.low < self.high)

    @property
    def verdict(self) -> str:
        """Passed or failed, and whether that may be chance."""
        return ("passed" if self.passed else "failed") + ("" if self.sure else ", may be chance")

    @property
    def where(self) -> str:
        """On which set, and with which weights it is compared if not those in use; empty for the frozen set."""
        than = " against the weights this home began with" if self.against == "start" else ""
        return (f" on the {self.suite} set" if self.suite else "") + than

    def words(self, confidence: float) -> str:
        """The comparison in words, without its verdict."""
        what = f"{self.delta:+.2f}" if self.measure == "J&F" else f"{self.delta:+.1f} s a masklet"
        digits = 2 if self.measure == "J&F" else 1
        if self.low is None or self.high is None:
            few = f"fewer than {FEWEST_DRAWN} objects"
            return f"{what} under {self.protocol!r}{self.where} (no interval: {few}, so the difference may be chance)"
        chance = ", so the difference may be chance" if self.may_be_chance else ""
        interval = f"{confidence:.0%} interval {self.low:+.{digits}f} to {self.high:+.{digits}f}{chance}"
        return f"{what} under {self.protocol!r}{self.where} ({interval})"

    def to_row(self, *, round_id: str, checkpoint_hash: str) -> dict[str, str | int | float | None]:
        """The row of the `metrics` manifest, role `gate`, or `floor` against the start: differences and verdict."""
        j, f, jf = self.deltas
        return {
            "round_id": round_id,
            "role": "gate" if self.against == "champion" else "floor",
            "checkpoint_hash": checkpoint_hash,
            "protocol": self.protocol,
            "video_id": "",
            "object_id": MEAN_OBJECT,
            "j": j,
            "f": f,
            "jf": jf,
            "frames": self.objects,
            "suite": self.suite or None,
            "seconds": self.delta if self.measure == "seconds" else None,
            "low": self.low,
            "high": self.high,
            "allowed": self.allowed,
            "verdict": self.verdict,
        }


@dataclass(frozen=True, slots=True)
class GateDecision:
    """Whether to promote, why, and the numbers: challenger minus champion in points of mean J&F.

    `deltas` by protocol on the evaluation set; `interval` is the bootstrap interval (low, high) of the delta of
    `primary`, None with too few objects. All of these, and `criteria`, are empty where the evaluations could not be
    compared. `sure` is whether no criterion hung on chance, and the gain under `primary` cannot be chance either.
    """

    promote: bool
    reason: str
    primary: str
    objects: int = 0
    deltas: Mapping[str, float] = field(default_factory=dict)
    interval: tuple[float, float] | None = None
    criteria: tuple[Criterion, ...] = ()
    sure: bool = True

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
    start: Sequence[MetricRow] = (),
) -> GateDecision:
    """Compares two evaluations; `primary` is the protocol of the phase ("mask" in phase 2, "3-click" in 3).

    `start` are scores of the weights that the home began with; only J&F on the retention set is compared with them.
    Rows with `seconds` are compared by these, others by J&F. Rows of means are ignored: means are taken here, over the
    same objects on both sides. A missing protocol, different objects or a score that is no number refuse the
    challenger, with the reason.
    """
    config = config or GateConfig()
    try:
        criteria = _criteria(champion, challenger, config, primary)
        criteria += _floor(start, challenger, config, _sure_gain(criteria))
    except MetricError as error:
        return GateDecision(False, f"refused: {error}", primary)
    main = criteria[0]
    return GateDecision(
        promote=all(one.passed for one in criteria),
        reason=_reason(criteria, main, config),
        primary=primary,
        objects=main.objects,
        deltas={one.protocol: one.delta for one in criteria if not one.suite and one.measure == "J&F"},
        interval=None if main.low is None or main.high is None else (main.low, main.high),
        criteria=criteria,
        sure=all(one.sure for one in criteria) and not main.may_be_chance,
    )


def _criteria(
    champion: Sequence[MetricRow], challenger: Sequence[MetricRow], config: GateConfig, primary: str
) -> tuple[Criterion, ...]:
    """Every comparison, the primary one first; raises MetricError if the evaluations do not pair."""
    before, after = _scores(champion, "champion"), _scores(challenger, "challenger")
    found: list[Criterion] = []
    for suite, protocol in sorted(
        {("", primary), *before, *after}, key=lambda key: (key[0], key[1] != primary, key[1])
    ):
        pair = _pair(before, after, (suite, protocol))
        allowed = config.tolerance if (suite, protocol) == ("", primary) else config.retention_tolerance
        found.append(_criterion(suite, protocol, pair, allowed, config, gain=_sure_gain(found)))
    return tuple(found)


def _sure_gain(criteria: Sequence[Criterion]) -> float:
    """Points gained by the first criterion, the phase's own; 0 where that is not told yet or may be chance."""
    main = next(iter(criteria), None)
    return main.delta if main is not None and main.low is not None and main.low > 0 else 0.0


def _floor(
    start: Sequence[MetricRow], challenger: Sequence[MetricRow], config: GateConfig, gain: float
) -> tuple[Criterion, ...]:
    """The comparisons with the start; none without its scores on the retention set."""
    before, after = (
        _scores((row for row in rows if row.suite == RETENTION and row.seconds is None), name)
        for rows, name in ((start, "start"), (challenger, "challenger"))
    )
    return tuple(
        _criterion(
            *key,
            _pair(before, after, key, than="start"),
            config.floor_tolerance,
            config,
            gain=gain,
            than="start",
        )
        for key in sorted(before.keys() | after.keys() if before else ())
    )


def _pair(
    before: Mapping[_Set, _Scores], after: Mapping[_Set, _Scores], key: _Set, *, than: Against = "champion"
) -> list[tuple[MetricRow, MetricRow]]:
    """(the other's, challenger's) row of every object of a set."""
    where = f" on the {key[0]} set" if key[0] else ""
    for name, scores in ((than, before), ("challenger", after)):
        if key not in scores:
            raise MetricError(f"the {name} was not evaluated with the protocol {key[1]!r}{where}")
    odd = sorted(before[key].keys() ^ after[key].keys())
    if odd:
        raise MetricError(
            f"under {key[1]!r}{where} only one model was scored on {_names(odd)}; evaluate both on one set"
        )
    return [(before[key][name], after[key][name]) for name in sorted(before[key])]


def _criterion(
    suite: str,
    protocol: str,
    pairs: Sequence[tuple[MetricRow, MetricRow]],
    points_allowed: float,
    config: GateConfig,
    *,
    gain: float,
    than: Against = "champion",
) -> Criterion:
    timed = pairs[0][0].seconds is not None
    before, after = (np.array([_value(pair[side], timed=timed) for pair in pairs]) for side in (0, 1))
    interval = _interval(after - before, [pair[0].video_id for pair in pairs], config)
    allowed = config.seconds_tolerance / 100 * float(before.mean()) if timed else points_allowed
    delta = float((after - before).mean())
    verdicts = _verdicts(delta, interval, allowed, gain=0.0 if timed else gain, sign=-1 if timed else 1)
    return Criterion(
        suite=suite,
        protocol=protocol,
        measure="seconds" if timed else "J&F",
        before=float(before.mean()),
        challenger=float(before.mean()) + delta,
        low=interval[0] if interval else None,
        high=interval[1] if interval else None,
        allowed=allowed,
        objects=len(pairs),
        videos=len({pair[0].video_id for pair in pairs}),
        passed=verdicts[config.uncertain],
        sure=interval is not None and verdicts["promote"] == verdicts["refuse"],
        deltas=_score_deltas(pairs),
        against=than,
    )


def _verdicts(
    delta: float, interval: tuple[float, float] | None, allowed: float, *, gain: float, sign: int
) -> dict[str, bool]:
    """Whether a difference passes, by the value of `uncertain`; `sign` is -1 where less is better.

    `gain`: what the challenger surely gains under the phase's own protocol, in the units of `delta`.
    """
    by_mean = sign * delta >= -allowed
    if interval is None:
        return {"gain": by_mean, "mean": by_mean, "promote": by_mean, "refuse": False}
    worst, best = sorted(sign * bound for bound in interval)
    may_pass = best >= -allowed
    outweighed = may_pass and sign * delta >= -max(allowed, gain)
    return {"gain": outweighed, "mean": by_mean, "promote": may_pass, "refuse": worst >= -allowed}


def _value(row: MetricRow, *, timed: bool) -> float:
    if (row.seconds is not None) != timed:
        raise MetricError(f"only one model's seconds of {_name(row)} under {row.protocol!r} are known")
    return row.jf if row.seconds is None else row.seconds


def _interval(
    differences: NDArray[np.float64], videos: Sequence[str], config: GateConfig
) -> tuple[float, float] | None:
    """Paired bootstrap over videos, or over objects where there are too few videos; None if these are too few, too."""
    drawn = drawn_by(videos)
    if drawn is None:
        return None
    groups = videos if drawn == "videos" else None
    return paired_interval(
        differences, confidence=config.confidence, resamples=config.resamples, seed=config.seed, groups=groups
    )


def _score_deltas(pairs: Sequence[tuple[MetricRow, MetricRow]]) -> tuple[float, float, float]:
    """Mean differences in J, F and J&F."""
    table = np.array([[b.j - a.j, b.f - a.f, b.jf - a.jf] for a, b in pairs])
    j, f, jf = table.mean(axis=0)
    return float(j), float(f), float(jf)


def _scores(rows: Iterable[MetricRow], name: str) -> dict[_Set, _Scores]:
    scores: dict[_Set, _Scores] = {}
    for row in rows:
        if not row.is_number:
            raise MetricError(f"the {name}'s score of {_name(row)} under {row.protocol!r} is not a number")
        if row.is_mean:
            continue
        of_set = scores.setdefault((row.suite, row.protocol), {})
        if (row.video_id, row.object_id) in of_set:
            raise MetricError(f"the {name} has two scores of {_name(row)} under {row.protocol!r}")
        of_set[row.video_id, row.object_id] = row
    return scores


def _reason(criteria: Sequence[Criterion], main: Criterion, config: GateConfig) -> str:
    """The verdict in words: the phase's own protocol first, then the others, then what refused the challenger."""
    others = [one.words(config.confidence) for one in criteria if one is not main]
    told = "; ".join([f"J&F {main.words(config.confidence)}", *others])
    failed = [one for one in criteria if not one.passed]
    if failed:
        return f"refused: {told}. Too much lost: {'; '.join(_limit(one, config) for one in failed)}"
    return f"promoted: {told}"


def _limit(one: Criterion, config: GateConfig) -> str:
    doubt = "" if one.sure else f", decided by gate.uncertain = {config.uncertain}"
    if one.measure == "seconds":
        return f"{one.protocol!r}{one.where} may take {one.allowed:.1f} s more at most{doubt}"
    return f"{one.protocol!r}{one.where} may fall by {one.allowed:g} at most{doubt}"


def _name(row: MetricRow) -> str:
    return "the mean" if row.is_mean else f"object {row.object_id} of video {row.video_id}"


def _names(objects: Sequence[_Object]) -> str:
    shown = ", ".join(f"{video_id}/{object_id}" for video_id, object_id in objects[:3])
    return shown + (f" and {len(objects) - 3} more" if len(objects) > 3 else "")
