"""Experiments as flows: their open units as tasks, one after another, each recorded once by the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from engine.experiments import base
from engine.experiments.catalogue import Request, open_experiment
from engine.experiments.units import Unit
from flows.artifacts import Progress
from flows.stage import RETRIES, RETRY_DELAYS_S, is_transient

UNIT_PROGRESS = "experiment-progress"

_listener: ContextVar[Callable[[Unit], None] | None] = ContextVar("unit_listener", default=None)


@task(
    name="unit",
    task_run_name="{unit}",
    cache_policy=NO_CACHE,
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAYS_S,
    retry_condition_fn=is_transient,
)
def run_unit(request: dict[str, Any], unit: str) -> str:
    """Do one unit of an experiment unless it is done; its key in the store."""
    experiment = open_experiment(_request(request))
    (found,) = (one for one in experiment.units() if one.name == unit)
    base.run_unit(experiment, found)
    return found.key


@flow(name="experiment", flow_run_name="{name}")
def experiment_flow(name: str, request: dict[str, Any]) -> int:
    """Do every open unit of an experiment; how many there were. Leaves the artifact `experiment-progress`."""
    units = base.pending(open_experiment(_request(request)))
    if not units:
        return 0
    progress = Progress(UNIT_PROGRESS, f"Units of {name}", total=len(units))
    for unit in units:
        run_unit(request, unit.name)
        if listener := _listener.get():
            listener(unit)
        progress.advance()
    return len(units)


def run_experiment(request: Request, *, on_unit: Callable[[Unit], None] | None = None) -> None:
    """Run an experiment as a Prefect flow run, within `flows.server.prefect_server`."""
    with _listening(on_unit):
        experiment_flow(request.name, asdict(request) | {"root": str(request.root)})


@contextmanager
def _listening(listener: Callable[[Unit], None] | None) -> Iterator[None]:
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def _request(value: dict[str, Any]) -> Request:
    return Request(**value | {"root": Path(value["root"])})
