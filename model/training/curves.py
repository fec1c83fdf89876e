"""The curve of a run: a row a step, on disk as soon as the step is done.

`metrics.parquet` is written anew whenever a state is saved; the rows since then stand in `metrics.jsonl`, a line
each, so that a killed process loses none. TensorBoard's event files are written beside where asked for.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from model.errors import TrainingError
from model.training.state import is_full, replace_file

__all__ = ["METRICS_FILE", "TIMING", "Curve", "Row", "TensorBoard", "read_curve", "without_timing"]

Row = dict[str, int | float | str]

METRICS_FILE = "metrics.parquet"
TAIL_FILE = "metrics.jsonl"

_log = logging.getLogger(__name__)

TIMING = ("step_s", "throughput")
"""Columns that say how fast a step was (seconds; objects or images a second), not what was learnt."""


class Curve:
    """The rows of a run in its folder."""

    def __init__(self, folder: Path, *, steps: int) -> None:
        """Keeps the rows of the first `steps` steps that an earlier process left; later steps are done again."""
        self._folder = folder
        self._written = _table([row for row in read_curve(folder) if int(row["step"]) <= steps])
        self._tail: list[Row] = []
        self._told = False
        self._on_disk = 0  # rows of the tail that are in its file, whole
        self.flush()

    @property
    def rows(self) -> list[Row]:
        """All rows in order."""
        return [*self._written.to_pylist(), *self._tail]

    def add(self, row: Row) -> None:
        """Append a row; it is on disk when this returns, unless the disk is full: then it waits for some space."""
        self._tail.append(row)
        missed = self._on_disk < len(self._tail) - 1
        try:
            with (self._folder / TAIL_FILE).open("w" if missed else "a", encoding="utf-8") as stream:
                stream.writelines(json.dumps(each) + "\n" for each in (self._tail if missed else [row]))
            self._on_disk = len(self._tail)
        except OSError as error:
            self._on_disk = -1  # the last line may be cut off: all of them are written again
            self._wait(error)

    def flush(self) -> None:
        """Bring `metrics.parquet` up to date."""
        table = pa.concat_tables([self._written, _table(self._tail)], promote_options="default")
        part = self._folder / f"{METRICS_FILE}.partial"
        try:
            pq.write_table(table, part)
            replace_file(part, self._folder / METRICS_FILE)
        except OSError as error:
            part.unlink(missing_ok=True)
            self._wait(error)
            return
        (self._folder / TAIL_FILE).unlink(missing_ok=True)
        self._written, self._tail, self._on_disk = table, [], 0

    def _wait(self, error: OSError) -> None:
        if not is_full(error):
            raise TrainingError(f"Cannot write the curve of training in {self._folder}: {error}.") from error
        if not self._told:
            _log.warning("The disk is full: the newest rows of %s wait for space.", self._folder)
        self._told = True


def read_curve(folder: Path) -> list[Row]:
    """The rows of the run in `folder`, also while it runs or after a kill; none where nothing was trained."""
    path, tail = folder / METRICS_FILE, folder / TAIL_FILE
    rows: list[Row] = pq.read_table(path).to_pylist() if path.exists() else []
    last = int(rows[-1]["step"]) if rows else 0
    lines = tail.read_text(encoding="utf-8").splitlines() if tail.exists() else []
    return rows + [row for row in _whole(lines) if int(row["step"]) > last]


def without_timing(rows: list[Row]) -> list[Row]:
    """The rows as a function of the configuration and its data alone, the same at every repetition."""
    return [{name: value for name, value in row.items() if name not in TIMING} for row in rows]


class TensorBoard:
    """Event files for TensorBoard in a run's folder."""

    def __init__(self, folder: Path, *, steps: int) -> None:
        """Goes on after `steps` steps. Raises TrainingError where TensorBoard is not installed."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise TrainingError(
                "TensorBoard is not installed, so its event files cannot be written: `pip install tensorboard`, "
                "or train without them."
            ) from error
        self._writer: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=steps + 1)

    def add(self, row: Mapping[str, int | float | str]) -> None:
        """Writes every number of a row under its name."""
        for name, value in row.items():
            if name != "step" and not isinstance(value, str):
                self._writer.add_scalar(f"{row['split']}/{name}", value, int(row["step"]))

    def flush(self) -> None:
        """Writes what is waiting."""
        self._writer.flush()


def _table(rows: list[Row]) -> pa.Table:
    return pa.Table.from_pylist(rows)


def _whole(lines: list[str]) -> list[Row]:
    """Rows of a file whose last line may be cut off."""
    rows = []
    for line in lines:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows
