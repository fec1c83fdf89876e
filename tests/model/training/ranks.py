"""One of several processes under `torchrun`: trains what it is told into a folder of its own.

`ranks.py FOLDER` trains a line plainly, with accumulation and with a bad clip, and SAM 2 itself. What threads are left
at the process' end is written down last.
"""

from __future__ import annotations

import atexit
import os
import sys
from dataclasses import replace
from pathlib import Path

import torch

from model.errors import TrainingError
from model.training.trainer import train
from tests.model.training.conftest import SquareClips, build_micro
from tests.model.training.lines import RUN, Line, learn
from tests.model.training.test_distributed import SAM


def main() -> None:
    folder = Path(sys.argv[1])
    atexit.register(note_threads, folder / f"threads-{os.environ['RANK']}.txt")
    torch.set_num_threads(1)
    learn(folder / "line", RUN, Line())
    learn(folder / "parts", replace(RUN, accumulate=2), Line())
    train(build_micro(), SquareClips(), SAM, out_dir=folder / "sam")
    try:
        learn(folder / "bad", RUN, Line(bad="step-2-clip-1"))
    except TrainingError as error:
        (folder / f"error-{os.environ['RANK']}.txt").write_text(str(error))


def note_threads(path: Path) -> None:
    path.write_text(" ".join(name.read_text().strip() for name in Path("/proc/self/task").glob("*/comm")))


if __name__ == "__main__":
    main()
