"""``python -m benchmarks.compare [ROW ...]``: run rows that have no result yet, then show the table."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.compare import report
from benchmarks.compare.rows import ROWS, SIDES, Job, Row, choose
from benchmarks.compare.runner import ROOT, Results, available_sides, jobs_of, run_job

_WIDTH = 160  # of the table where no terminal says how much fits
_CACHE = ROOT / "build" / "bench"


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 1 when a job failed or masks differ."""
    options = _parser().parse_args(arguments)
    console = Console()
    console = console if console.is_terminal else Console(width=_WIDTH)
    try:
        rows = choose(options.rows, quick=options.quick)
    except ValueError as error:
        console.print(f"[red]{error}[/]")
        return 2
    if options.device.startswith("cuda"):
        rows = [_on_gpu(row) for row in rows]
    if options.fresh:
        options.results.unlink(missing_ok=True)
    results = Results(options.results)
    template = Job(
        row=ROWS[0],
        side="ours",
        device=options.device,
        precision=options.precision,
        compiled=options.compile,
    )
    failed = _run(console, rows, results, template)
    lines = report.lines(rows, results, template)
    console.print(_table(lines))
    if options.write:
        report.write_page(options.write, _blocks(rows, results, template))
    different = [line.row.id for line in lines if (line.agreement or 1.0) < options.min_iou]
    for name in different:
        console.print(f"[red]{name}: masks differ between the sides[/]")
    return 1 if failed or different else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks.compare", description=__doc__)
    parser.add_argument("rows", nargs="*", help="rows whose id begins like this; all, or the quick ones")
    parser.add_argument("--quick", action="store_true", help="only the small network; about two minutes")
    parser.add_argument("--fresh", action="store_true", help="forget earlier results")
    parser.add_argument("--results", type=Path, default=_CACHE / "results.jsonl")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the tables into this Markdown page")
    parser.add_argument("--min-iou", type=float, default=0.999, help="below this, masks count as different")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda where there is a GPU")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--compile", action="store_true", help="torch.compile, as each package offers it")
    return parser


def _on_gpu(row: Row) -> Row:
    """There it is the wall clock that counts; opening a video stays the processor's work."""
    return replace(row, unit="wall") if row.unit == "cpu" and row.task != "open" else row


def _run(console: Console, rows: Sequence[Row], results: Results, template: Job) -> bool:
    sides = available_sides()
    if missing := [side for side in SIDES if side not in sides]:
        console.print(f"without {' and '.join(missing)}: [bold]make peers[/] gets them (6 GB)")
    failed = False
    for job in jobs_of(rows, sides, template):
        if results.get(job) is not None:
            continue
        console.print(f"{job.row.id}, {job.side} …", end=" ")
        try:
            result = run_job(job, _CACHE)
        except RuntimeError as error:
            console.print(f"[red]failed[/]\n{error}", markup=False)
            failed = True
            continue
        results.add(job, result)
        value = report.value_of(job.row, result)
        console.print(f"{value:.4g} {job.row.unit} ({result['process_s']:.0f} s)")
    return failed


def _table(lines: Sequence[report.Line]) -> Table:
    table = Table("what", "unit", *SIDES, "official ÷ ours", "asked", "lowest IoU")
    for line in lines:
        table.add_row(*report.cells(line))
    return table


def _blocks(rows: Sequence[Row], results: Results, template: Job) -> dict[str, str]:
    return {
        "machine": report.machine(results, rows, template),
        "speed": report.markdown(report.lines(rows, results, template)),
        "stages": report.stage_table(rows, results, template),
        "notes": report.notes(rows, results, template),
    }


if __name__ == "__main__":
    raise SystemExit(main())
