"""Writes both reports of a made-up history: `python -m tests.qa.report.preview run.html round.html`."""

from __future__ import annotations

import sys
from pathlib import Path

from qa.report import render_round, render_run
from tests.qa.report.history import make_run


def main(run_path: str, round_path: str) -> None:
    """Four rounds over all phases, in a size worth looking at."""
    run = make_run((1, 2, 3, 3), height=270, width=480, frames=24)
    Path(run_path).write_text(render_run(run), encoding="utf-8")
    Path(round_path).write_text(render_round(run.rounds[-1]), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
