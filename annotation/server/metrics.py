"""Numbers about the server in Prometheus' text format: counters, histograms, and gauges read when asked.

Labels come from fixed sets (kinds of requests, outcomes), never from what a request says, so the text stays small.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Mapping

__all__ = ["BUCKETS_S", "Metrics"]

BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 90.0)
_PREFIX = "engine_model_server_"

_Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Counts and times; safe to use from any thread.

    >>> metrics = Metrics()
    >>> metrics.count("requests_total", "Requests.", kind="click")
    >>> print(metrics.render(), end="")
    # HELP engine_model_server_requests_total Requests.
    # TYPE engine_model_server_requests_total counter
    engine_model_server_requests_total{kind="click"} 1
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._help: dict[str, tuple[str, str]] = {}
        self._counters: dict[str, dict[_Labels, float]] = {}
        self._times: dict[str, dict[_Labels, _Histogram]] = {}
        self._gauges: dict[str, Callable[[], float]] = {}

    def count(self, name: str, about: str, amount: float = 1, /, **labels: str) -> None:
        """Add to a counter."""
        with self._lock:
            self._help[name] = about, "counter"
            row = self._counters.setdefault(name, {})
            key = tuple(sorted(labels.items()))
            row[key] = row.get(key, 0) + amount

    def observe(self, name: str, about: str, seconds: float, /, **labels: str) -> None:
        """Add a duration to a histogram."""
        with self._lock:
            self._help[name] = about, "histogram"
            row = self._times.setdefault(name, {})
            row.setdefault(tuple(sorted(labels.items())), _Histogram()).add(seconds)

    def gauge(self, name: str, about: str, read: Callable[[], float], /) -> None:
        """A number that is read each time somebody asks."""
        self._help[name] = about, "gauge"
        self._gauges[name] = read

    def render(self) -> str:
        """Everything as text, names in order."""
        gauges = {name: read() for name, read in self._gauges.items()}
        with self._lock:
            return "".join(f"{line}\n" for name in sorted(self._help) for line in self._lines(name, gauges))

    def _lines(self, name: str, gauges: Mapping[str, float]) -> list[str]:
        about, kind = self._help[name]
        full = _PREFIX + name
        lines = [f"# HELP {full} {about}", f"# TYPE {full} {kind}"]
        if kind == "gauge":
            return [*lines, f"{full} {gauges[name]:g}"]
        for labels, value in sorted(self._counters.get(name, {}).items()):
            lines.append(f"{full}{_braces(labels)} {value:.15g}")
        for labels, histogram in sorted(self._times.get(name, {}).items(), key=lambda row: row[0]):
            lines += histogram.lines(full, labels)
        return lines


class _Histogram:
    """How many durations fell below each bound."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BUCKETS_S) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        self._counts[bisect_left(BUCKETS_S, seconds)] += 1
        self._sum += seconds

    def lines(self, name: str, labels: _Labels) -> list[str]:
        lines, below = [], 0
        for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), self._counts, strict=True):
            below += count
            lines.append(f"{name}_bucket{_braces((*labels, ('le', bound)))} {below}")
        return [
            *lines,
            f"{name}_sum{_braces(labels)} {self._sum:.6f}",
            f"{name}_count{_braces(labels)} {below}",
        ]


def _braces(labels: _Labels) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels) + "}" if labels else ""
