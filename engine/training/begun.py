"""What a training folder was begun with, so that nothing else is taken to be trained when the command runs again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from engine.stages.base import Row
from model.errors import TrainingError

BEGUN_FILE = "begun.json"


def rows_digest(rows: Sequence[Row]) -> str:
    """SHA-256 of data set rows, in hexadecimal: equal rows in equal order give equal digits."""
    text = json.dumps([dict(row) for row in rows], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def begin(folder: Path, facts: Mapping[str, str]) -> None:
    """Keep in `folder` what its training starts from (names and hashes), or compare with what is kept there.

    A folder that was begun without this file is taken as it is. Raises TrainingError naming what differs.
    """
    path = folder / BEGUN_FILE
    if path.is_file():
        kept = json.loads(path.read_text(encoding="utf-8"))
        differing = [name for name, value in facts.items() if kept.get(name, value) != value]
        if differing:
            others = " and another ".join(differing)
            raise TrainingError(
                f"{folder} holds a training that was begun with another {others} (see {path}); name another folder "
                "with --out, or delete this one."
            )
    if int(os.environ.get("RANK", "0")) == 0:  # of processes that train together, the first writes
        folder.mkdir(parents=True, exist_ok=True)
        whole = path.with_suffix(".partial")
        whole.write_text(json.dumps(dict(facts), indent=2, sort_keys=True) + "\n", encoding="utf-8")
        whole.replace(path)
