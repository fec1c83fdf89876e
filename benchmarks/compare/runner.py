"""Runs jobs one after the other, each in a process of its own, and keeps their results in a file of JSON lines."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.compare.rows import SIDES, Job, Row

__all__ = ["Results", "available_sides", "jobs_of", "run_job"]

ROOT = Path(__file__).parents[2]
_TIMEOUT_S = 1800
_TASKS_WITHOUT_VIDEO = ("encode", "auto_masks")
_MODULES = {"ours": "model", "official": "sam2", "transformers": "transformers"}
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


class Results:
    """Job key → result, in a file that grows by a line per job, so that an interrupted run goes on where it was."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._found: dict[str, dict[str, Any]] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                entry = json.loads(line)
                self._found[entry["key"]] = entry["result"]

    def get(self, job: Job) -> dict[str, Any] | None:
        """What a job found out, if it was done."""
        return self._found.get(job.key)

    def add(self, job: Job, result: dict[str, Any]) -> None:
        """Keep a result, in the file too."""
        self._found[job.key] = result
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"key": job.key, "result": result}) + "\n")


def available_sides() -> list[str]:
    """Those whose package this environment has."""
    return [side for side in SIDES if importlib.util.find_spec(_MODULES[side]) is not None]


def jobs_of(rows: Sequence[Row], sides: Sequence[str], template: Job) -> Iterator[Job]:
    """Row by row, the sides in turn, so that what disturbs the machine for a while disturbs all of them."""
    for row in rows:
        for side in row.sides:
            if side in sides:
                yield replace(template, row=row, side=side)


def run_job(job: Job, cache: Path) -> dict[str, Any]:
    """Do a job in a new process. Raises RuntimeError with the end of its output when it fails."""
    weights, video = _prepare(job, cache)
    with tempfile.TemporaryDirectory() as folder:
        job_file, result_file = Path(folder, "job.json"), Path(folder, "result.json")
        job_file.write_text(json.dumps(job.to_dict()), encoding="utf-8")
        arguments = [str(path) for path in (job_file, result_file, weights, video)]
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.compare.worker", *arguments]
        start = time.monotonic()
        done = subprocess.run(
            command, cwd=ROOT, env=_environment(job), capture_output=True, text=True, timeout=_TIMEOUT_S
        )
        if done.returncode:
            raise RuntimeError(f"{job.key} failed:\n{(done.stdout + done.stderr)[-3000:]}")
        result: dict[str, Any] = json.loads(result_file.read_text(encoding="utf-8"))
    return {**result, "process_s": time.monotonic() - start}


def _prepare(job: Job, cache: Path) -> tuple[Path, Path]:
    """The weights and the video of a job, made once."""
    row = job.row
    weights = cache / "weights" / f"{row.size}.pt"
    if not weights.exists():
        command = [sys.executable, "-m", "benchmarks.compare.weights", row.size, str(weights)]
        subprocess.run(command, cwd=ROOT, check=True, timeout=_TIMEOUT_S)
    if row.task in _TASKS_WITHOUT_VIDEO:
        return weights, cache
    from benchmarks.compare.video import jpeg_folder

    return weights, jpeg_folder(cache / "videos", row.frames, *row.picture)


def _environment(job: Job) -> dict[str, str]:
    """Threads must be known before torch is loaded; a task may use fewer than this, never more."""
    threads = str(2 if job.row.image_size >= 512 else job.row.threads)
    settings = dict.fromkeys(_THREAD_VARIABLES, threads) | {"TQDM_DISABLE": "1"}
    if job.row.task == "memory":  # or glibc scatters what is kept over holes that big buffers leave behind
        settings["MALLOC_MMAP_THRESHOLD_"] = str(2**20)
        settings["OMP_WAIT_POLICY"] = "PASSIVE"  # nothing is timed; a busy machine shall not stall it
    return {**os.environ, **settings}
