"""Trains in a fork and kills it (SIGKILL) at a moment, for each moment given: `python killed.py FOLDER MOMENT…`.

A moment is `WHAT:STEP`, where WHAT is `step` (the step was done), `write` (its state is written but not yet moved into
place), `moved` (just after), `curve` (its state is there, the curve not yet) or `checkpoint` (the weights are about
to be written). The run's folder is FOLDER/MOMENT. Forks of one process save the import of torch at each.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from model.training import curves, state, trainer
from tests.model.training.lines import learn


def main() -> None:
    torch.set_num_threads(1)
    folder, moments = Path(sys.argv[1]), sys.argv[2:]
    learn(folder / "warm")  # what torch loads at its first step is loaded once
    for moment in moments:
        child = os.fork()
        if child == 0:
            _train_until(moment, folder / moment)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(moment, os.waitstatus_to_exitcode(status), flush=True)


def _train_until(moment: str, out_dir: Path) -> None:
    what, _, number = moment.partition(":")
    step = int(number)
    if what == "write":
        _wrap(state, "replace_file", before=lambda part, path: _named(path, step) and _die())
    elif what == "moved":
        _wrap(state, "replace_file", after=lambda part, path: _named(path, step) and _die())
    elif what == "curve":
        _wrap(curves.Curve, "flush", before=lambda curve: _last(curve) == step and _die())
    elif what == "checkpoint":
        _wrap(trainer._Run, "finish", after=lambda *_: _die())

    def progress(row: trainer.Row) -> None:
        if what == "step" and row["step"] == step:
            _die()

    learn(out_dir, progress=progress)


def _named(path: Path, step: int) -> bool:
    return path.name.startswith(f"state-{step:08d}.")


def _last(curve: curves.Curve) -> int:
    return int(curve.rows[-1]["step"]) if curve.rows else -1


def _wrap(
    owner: Any,
    name: str,
    *,
    before: Callable[..., object] = lambda *_: None,
    after: Callable[..., object] = lambda *_: None,
) -> None:
    original = getattr(owner, name)

    def wrapped(*args: Any) -> None:
        before(*args)
        original(*args)
        after(*args)

    setattr(owner, name, wrapped)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
