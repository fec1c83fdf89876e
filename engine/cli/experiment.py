"""`engine experiment`: what the phases cost, what their data is worth, whether the loop pays."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.cli.show import complain, err, next_step, print_json, say

if TYPE_CHECKING:
    from engine.experiments.base import Experiment
    from engine.experiments.catalogue import Request
    from engine.experiments.units import Unit

DEFAULT_FOLDER = Path("experiment-home")
STOPPED = 130

experiment_app = typer.Typer(
    help="Experiments about the engine itself, with simulated people. Killed anywhere, they go on where they were.",
    no_args_is_help=True,
)

QuickFlag = Annotated[
    bool, typer.Option("--quick", help="A small variant of a minute or two that shows that everything runs.")
]
SeedsOption = Annotated[
    int, typer.Option(min=0, help="Repetitions with other chances. 0: as many as the size has.")
]
FromOption = Annotated[
    Path | None, typer.Option("--from", help="Weights to start from. Default: the packaged nano.")
]
SamplesOption = Annotated[
    Path | None, typer.Option(help="Folder with the sample movies. Default: samples in the folder of --home.")
]
PrefectFlag = Annotated[bool, typer.Option(help="Run as a Prefect flow, or the same code without Prefect.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


SENTENCES = {
    "phases": "The same objects annotated by groups of people, one protocol each: what a frame costs in each "
    "phase.",
    "data": "Equal training without and with each phase's masklets: what their data is worth in J&F.",
    "rounds": "Rounds of the whole loop against rounds without retraining: whether the loop pays, and by how much.",
    "colonies": "The same rounds on a kind of video that the packaged weights have never seen: growing colonies.",
}


def _add_command(name: str, sentence: str) -> None:
    @experiment_app.command(name, help=sentence)
    def experiment(
        context: typer.Context,
        quick: QuickFlag = False,
        seeds: SeedsOption = 0,
        checkpoint: FromOption = None,
        samples: SamplesOption = None,
        prefect: PrefectFlag = True,
        as_json: JsonFlag = False,
    ) -> None:
        from engine.experiments.catalogue import Request

        request = Request(
            name=name,
            root=context.obj or DEFAULT_FOLDER,
            scale="quick" if quick else "full",
            checkpoint=str(checkpoint or ""),
            seeds=seeds,
            samples=str(samples or ""),
        )
        _run(request, prefect=prefect, as_json=as_json)


for _name, _sentence in SENTENCES.items():
    _add_command(_name, _sentence)


def _run(request: Request, *, prefect: bool, as_json: bool) -> None:
    """Say what will happen, do it, and say what came out."""
    from engine.experiments.base import only_runner

    try:
        with only_runner(request.place.home(request.name)):
            page, values = _found(request, prefect=prefect, as_json=as_json)
    except KeyboardInterrupt:
        complain("Stopped. Nothing is lost: run the same command again to continue.")
        raise typer.Exit(STOPPED) from None
    _conclude(page, values, as_json=as_json)


def _found(request: Request, *, prefect: bool, as_json: bool) -> tuple[Path, dict[str, Any]]:
    """Do what is open and write the report: the page and the values."""
    from engine.experiments.base import pending
    from engine.experiments.catalogue import open_experiment
    from engine.experiments.reporting import write

    with err.status("making the videos …"):
        experiment = open_experiment(request)
        units = pending(experiment)
    if not as_json:
        say(f"{experiment.sentence()} {_how_long(units, len(experiment.units()))}")
    with _progress(units) as advance:
        _work(request, experiment, prefect=prefect and bool(units), on_unit=advance)
    with err.status("writing the report …"):
        return write(request.place, experiment)


def _work(
    request: Request, experiment: Experiment, *, prefect: bool, on_unit: Callable[[Unit], None]
) -> None:
    from engine.experiments.base import run_pending

    if not prefect:
        run_pending(experiment, on_unit=on_unit)
        return
    from flows.server import prefect_server

    with prefect_server(request.place.folder):
        from flows.experiment import run_experiment

        run_experiment(request, on_unit=on_unit)


def _how_long(units: list[Unit], total: int) -> str:
    """`48 pieces of work, 12 done before: about 9 minutes on one free core.`"""
    done = total - len(units)
    minutes = sum(unit.cost for unit in units) / 60
    before = f", {done} done before" if done else ""
    if not units:
        return f"All {total} pieces of work were done before."
    about = f"{minutes:.0f} minutes" if minutes >= 1.5 else "a minute"
    return f"{total} pieces of work{before}: about {about} on one free core."


@contextmanager
def _progress(units: list[Unit]) -> Iterator[Callable[[Unit], None]]:
    """A bar on standard error that goes by what units cost, and names the one that is being done."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeRemainingColumn(),
    )
    names = [unit.name for unit in units]
    shown = Progress(*columns, console=err, transient=True) if units else nullcontext()
    with shown as bars:
        bar = bars.add_task(names[0], total=sum(unit.cost for unit in units)) if bars else None

        def advance(unit: Unit) -> None:
            if bars is not None and bar is not None:
                following = names.index(unit.name) + 1
                description = names[following] if following < len(names) else "finishing"
                bars.update(bar, advance=unit.cost, description=description)

        yield advance


def _conclude(page: Path, values: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json({**values, "report": str(page)})
        return
    say(f"[bold]{values['verdict']}[/]")
    say(f"The people in it are simulated. Report: {os.path.relpath(page)}")
    next_step(f"open {os.path.relpath(page)} in a browser")
