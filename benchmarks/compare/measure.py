"""Clocks, memory, and the four stages of a network seen from outside."""

from __future__ import annotations

import functools
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

__all__ = ["Sample", "Stages", "memory_mib", "peak_mib", "stopwatch"]


@dataclass(slots=True)
class Sample:
    """One repeat: CPU seconds of the whole process (all threads), wall seconds, and CPU seconds by stage."""

    cpu: float = 0.0
    wall: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)


class Stages:
    """Wraps the methods that are the stages of a network: adds up their time, or puts a stand-in in their place.

    Nothing inside a stage is touched. `methods` maps the name of a stage to the method of `owner`.
    """

    def __init__(self, owner: object, methods: Mapping[str, str]) -> None:
        self.seconds = dict.fromkeys(methods, 0.0)
        self._stand_ins: dict[str, Callable[..., Any]] = {}
        self._originals: dict[str, Callable[..., Any]] = {}
        for stage, method in methods.items():
            self._originals[stage] = getattr(owner, method)
            setattr(owner, method, self._wrapped(stage))

    def stand_in(self, stage: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        """From now on `make(original)` answers for a stage."""
        self._stand_ins[stage] = make(self._originals[stage])

    def restore(self) -> None:
        """Every stage is itself again."""
        self._stand_ins.clear()

    def _wrapped(self, stage: str) -> Callable[..., Any]:
        original = self._originals[stage]

        @functools.wraps(original)
        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.process_time()
            try:
                return self._stand_ins.get(stage, original)(*args, **kwargs)
            finally:
                self.seconds[stage] += time.process_time() - start

        return timed


@contextmanager
def stopwatch(stages: Stages, *, device: str = "cpu") -> Iterator[Sample]:
    """Times the block; on a GPU it waits for the work that was queued."""
    sample = Sample()
    before = dict(stages.seconds)
    _finish(device)
    wall, cpu = time.perf_counter(), time.process_time()
    yield sample
    _finish(device)
    sample.cpu, sample.wall = time.process_time() - cpu, time.perf_counter() - wall
    sample.stages = {stage: stages.seconds[stage] - before[stage] for stage in before}


def _finish(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def peak_mib(device: str = "cpu") -> float:
    """Most resident memory of this process so far; on a GPU, most memory allocated there."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 2**20
    return _status("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def memory_mib(device: str = "cpu") -> float:
    """Resident memory of this process now (0 where the system does not say); on a GPU, allocated there."""
    if device.startswith("cuda"):
        return torch.cuda.memory_allocated() / 2**20
    return _status("VmRSS")


def _status(field_name: str) -> float:
    """Linux's account of this process in MiB; unlike getrusage it does not begin with the parent's."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0.0
    lines = status.read_text(encoding="utf-8").splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(field_name)), 0.0)
