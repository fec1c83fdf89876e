"""Training in processes of its own, so that a worker of rounds is not lost with it, nor holds a GPU for ever.

    python -m engine.training.process JOB [PROCESSES]

The parent (`train_apart`) writes a job, starts this module, hands the child's lines on and waits. The child trains by
itself or, for several processes, through `torch.distributed.run`. However the parent ends, the child and its own
children end with it; the next run of the same job goes on from the last saved state.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage.errors import CatalogError, EngineError, StoreError

if TYPE_CHECKING:
    from engine.home import EngineHome
    from engine.settings import RetrainSettings
    from model.training.trainer import Row as TrainRow
    from model.training.trainer import TrainConfig, TrainResult

__all__ = [
    "ERROR_FILE",
    "JOB_FILE",
    "Teller",
    "TrainingJob",
    "attempt",
    "failure",
    "run_child",
    "serve_parent",
    "train_apart",
    "train_job",
    "write_job",
]

MODULE = "engine.training.process"
JOB_FILE = "job.json"
ROWS_FILE = "rows.parquet"
ERROR_FILE = "error.json"
PARENT = "TRAINING_PARENT"  # names the parent to the child; without our prefix, which is for settings
LAST_LINES = 15
EVERY_S = 10.0

_log = logging.getLogger("engine.training")


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """What a child needs to know; the data set's rows lie beside it in `rows.parquet`, the results come there too."""

    home: str
    start: str
    settings: dict[str, Any]
    config: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> TrainingJob:
        """The job that was written to `path`."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))


def train_apart(
    home: EngineHome,
    start: Path,
    rows: Sequence[dict[str, Any]],
    settings: RetrainSettings,
    *,
    config: TrainConfig,
    out_dir: Path,
    processes: int = 1,
    tell: Callable[[str], None] = _log.info,
) -> TrainResult:
    """What `engine.training.retraining.retrain` does, in `processes` child processes; `tell` gets their lines.

    Raises TrainingError with the child's own words when it fails, StoreError when it could not reach the store or the
    catalog, in which case trying again can help.
    """
    from model.training.curves import read_curve, without_timing
    from model.training.trainer import CHECKPOINT_FILE, TrainResult

    path = out_dir / JOB_FILE
    write_job(path, home, start, rows, settings, config=config)
    run_child(MODULE, path, processes, tell)
    return TrainResult(out_dir / CHECKPOINT_FILE, without_timing(read_curve(out_dir)))


def write_job(
    path: Path,
    home: EngineHome,
    start: Path,
    rows: Sequence[dict[str, Any]],
    settings: RetrainSettings,
    *,
    config: TrainConfig,
) -> None:
    """Write what a child needs to know; it trains in the folder of `path`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), path.with_name(ROWS_FILE))
    job = TrainingJob(
        home=str(home.path),
        start=str(start),
        settings=settings.model_dump(mode="json"),
        config=asdict(config),
    )
    path.write_text(json.dumps(asdict(job), indent=1) + "\n", encoding="utf-8")


def run_child(module: str, job: Path, processes: int, tell: Callable[[str], None]) -> None:
    """Runs `python -m module JOB PROCESSES`, whose lines `tell` gets; raises what it says went wrong."""
    error_file = job.with_name(ERROR_FILE)
    error_file.unlink(missing_ok=True)
    child = subprocess.Popen(
        [sys.executable, "-m", module, str(job), str(processes)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, PARENT: str(os.getpid()), "PYTHONUNBUFFERED": "1"},
    )
    lines: deque[str] = deque(maxlen=LAST_LINES)
    with child, ExitStack() as interrupted:
        interrupted.callback(child.kill)
        for line in child.stdout or ():
            lines.append(line.rstrip())
            tell(lines[-1])
        interrupted.pop_all()  # it ended by itself
    if child.returncode != 0:
        raise failure(child.returncode, error_file, lines)


def failure(code: int, error_file: Path, lines: Sequence[str]) -> EngineError:
    """The error that tells the user what the child said."""
    from model.errors import TrainingError

    if error_file.exists():
        said = json.loads(error_file.read_text(encoding="utf-8"))
        return (StoreError if said["again"] else TrainingError)(said["message"])
    if code == -signal.SIGKILL:
        return TrainingError(
            "The training process was killed, most likely because memory ran out: lower clips_per_step or frames. "
            "The next run goes on from the last saved state."
        )
    last = "\n".join(lines) or "(nothing)"
    return TrainingError(f"The training process ended with exit code {code}. The last it said:\n{last}")


def main(arguments: Sequence[str]) -> int:
    """The child: trains, or starts the processes that do; returns the exit code."""
    return serve_parent(MODULE, arguments, train_job)


def serve_parent(module: str, arguments: Sequence[str], work: Callable[[Path], int]) -> int:
    """What a child of `run_child` does: `work` on the job, in so many processes; all end with the parent."""
    from model.training.launch import die_with_parent

    parent = os.environ.get(PARENT)
    die_with_parent(int(parent) if parent else None)
    job = Path(arguments[0])
    processes = int(arguments[1]) if len(arguments) > 1 else 1
    return _launch(module, job, processes) if processes > 1 else work(job)


def _launch(module: str, job: Path, processes: int) -> int:
    """Runs the module in several processes, of which each dies with this one."""
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    os.environ[PARENT] = str(os.getpid())
    os.environ.setdefault("OMP_NUM_THREADS", str(_threads(processes)))
    try:
        torchrun(["--standalone", f"--nproc-per-node={processes}", "-m", module, str(job)])
    except ChildFailedError:
        return 1  # the one that failed has said why
    return 0


def train_job(path: Path) -> int:
    """One process that trains; an error is printed and written beside the job. Returns the exit code."""
    import pyarrow.parquet as pq

    from engine.home import open_home
    from engine.settings import RetrainSettings
    from engine.training.retraining import retrain
    from model.training.recipe import TrainConfig

    job = TrainingJob.read(path)

    def work() -> None:
        retrain(
            open_home(Path(job.home)),
            Path(job.start),
            pq.read_table(path.with_name(ROWS_FILE)).to_pylist(),
            RetrainSettings(**job.settings),
            config=TrainConfig(**job.config),
            out_dir=path.parent,
            progress=Teller(),
        )

    return attempt(path, work)


def attempt(path: Path, work: Callable[[], None]) -> int:
    """Does the work of the job at `path`; an error is printed and written beside it. Returns the exit code."""
    try:
        work()
    except EngineError as error:
        print(f"error: {error}", flush=True)
        facts = {"message": str(error), "again": isinstance(error, StoreError | CatalogError)}
        path.with_name(ERROR_FILE).write_text(json.dumps(facts), encoding="utf-8")
        return 1
    return 0


class Teller:
    """Prints a line about the first step and then every ten seconds."""

    def __init__(self, counted: str = "objects") -> None:
        self._counted = counted
        self._told_at: float | None = None

    def __call__(self, row: TrainRow) -> None:
        now = time.monotonic()
        if self._told_at is not None and now - self._told_at < EVERY_S and float(row["eta_s"]) > 0:
            return
        self._told_at = now
        print(f"step {row['step']}: {pace(row, self._counted)}, {float(row['eta_s']):.0f} s left", flush=True)


def pace(row: TrainRow, counted: str = "objects") -> str:
    """Loss, time and throughput of a step in words; `counted` is what the step's throughput counts."""
    throughput = f", {float(row['throughput']):.1f} {counted} a second" if "throughput" in row else ""
    return f"loss {float(row['loss']):.3f}, {float(row['step_s']):.2f} s a step{throughput}"


def _threads(processes: int) -> int:
    return max(1, (os.cpu_count() or 1) // processes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
