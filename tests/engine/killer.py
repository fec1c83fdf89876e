"""Runs a round and kills itself (SIGKILL) at a chosen moment: `python killer.py HOME PHASE PATTERN before|after COUNT`.

The moment is the COUNT-th write to the store whose key matches PATTERN, just before or just after it. The pattern
`training-step` means a training step instead.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.home import open_home
from engine.machine import advance_round, open_round
from model.training import trainer
from storage.folder import FolderStore


def main() -> None:
    home, phase, pattern, when, count = sys.argv[1:]
    die = _countdown(int(count))
    if pattern == "training-step":
        _wrap(trainer._Run, "advance", lambda args: True, when, die)
    else:
        for method in ("put", "put_if_absent", "put_file"):
            _wrap(FolderStore, method, lambda args: re.search(pattern, args[1]), when, die)
    opened = open_home(Path(home))
    advance_round(opened, open_round(opened, phase=int(phase)).round_id)


def _countdown(count: int) -> Callable[[], None]:
    left = [count]

    def die() -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return die


def _wrap(
    owner: Any, name: str, matches: Callable[[Any], object], when: str, die: Callable[[], None]
) -> None:
    original = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        hit = matches(args)
        if hit and when == "before":
            die()
        result = original(*args, **kwargs)
        if hit and when == "after":
            die()
        return result

    setattr(owner, name, wrapped)


if __name__ == "__main__":
    main()
