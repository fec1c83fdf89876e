"""``python -m benchmarks.train_step [ROW ...]``: the table of training steps, ours and official."""

from __future__ import annotations

import argparse
import importlib.util
import statistics
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.train_step.measure import Comparison, compare
from benchmarks.train_step.rows import StepRow, choose

_CACHE = Path(__file__).parents[2] / "build" / "bench"
_TOLERANCE = 1e-4  # of the losses, as a share


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 1 when losses differ, 2 when nothing can be run."""
    options = _parser().parse_args(arguments)
    console = Console()
    console = console if console.is_terminal else Console(width=140)
    if importlib.util.find_spec("sam2") is None:
        console.print(
            "The official package is not here: run `make peers`, then this with .venv-peers/bin/python."
        )
        return 2
    table = Table(
        "what", "ours, s CPU", "official, s CPU", "official ÷ ours", "95 %", "wall ÷", "losses differ by"
    )
    worst = 0.0
    for row in choose(options.rows):
        result = compare(row, _CACHE, repeats=options.repeats)
        table.add_row(*cells(row, result))
        console.print("  ".join(cells(row, result)), markup=False)
        worst = max(worst, result.difference)
    console.print(table)
    return 1 if worst > _TOLERANCE else 0


def cells(row: StepRow, result: Comparison) -> list[str]:
    """One line of the table."""
    median = {side: statistics.median(values) for side, values in result.cpu.items()}
    clock = statistics.median(
        official / ours for official, ours in zip(result.wall["official"], result.wall["ours"], strict=True)
    )
    ratio, low, high = result.ratio()
    return [
        row.title,
        f"{median['ours']:.3g}",
        f"{median['official']:.3g}",
        f"{ratio:.2f}×",
        f"{low:.2f}–{high:.2f}",
        f"{clock:.2f}×",
        f"{result.difference:.1e}",
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks.train_step", description=__doc__)
    parser.add_argument("rows", nargs="*", help="rows whose id begins like this; all without")
    parser.add_argument("--repeats", type=int, default=7, help="timed pairs of steps")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
