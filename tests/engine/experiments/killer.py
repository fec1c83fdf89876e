"""Runs an experiment and kills itself (SIGKILL) after the COUNT-th result.

`python -m tests.engine.experiments.killer ROOT NAME WEIGHTS COUNT`
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from engine.experiments.base import run_pending
from engine.experiments.catalogue import Request, open_experiment
from engine.experiments.units import Unit


def main() -> None:
    root, name, weights, count = sys.argv[1:]
    done: list[Unit] = []

    def die(unit: Unit) -> None:
        done.append(unit)
        if len(done) == int(count):
            os.kill(os.getpid(), signal.SIGKILL)

    run_pending(open_experiment(Request(name, Path(root), "tiny", weights)), on_unit=die)


if __name__ == "__main__":
    main()
