"""One job in a process of its own: ``python -m benchmarks.compare.worker JOB.json RESULT.json WEIGHTS.pt VIDEO``.

The number of threads must be in the environment before numpy and torch are loaded, and peak memory must be this
job's own; hence a process.
"""

from __future__ import annotations

import json
import platform
import sys
from importlib.metadata import version
from pathlib import Path

from benchmarks.compare.rows import Job
from benchmarks.compare.side import Side

__all__ = ["main"]

_PACKAGES = {"ours": ("torch",), "official": ("torch", "sam2"), "transformers": ("torch", "transformers")}


def main() -> None:
    """Reads the job, does it, writes the result."""
    job_file, result_file, weights, video = (Path(argument) for argument in sys.argv[1:])
    job = Job.from_dict(json.loads(job_file.read_text(encoding="utf-8")))
    from benchmarks.compare import tasks  # loads torch

    outcome = tasks.run(_side(job, weights), job, video)
    versions = {name: version(name) for name in _PACKAGES[job.side]} | {"python": platform.python_version()}
    result_file.write_text(json.dumps({**outcome.to_dict(), "versions": versions}), encoding="utf-8")


def _side(job: Job, weights: Path) -> Side:
    if job.side == "ours":
        from benchmarks.compare.ours import Ours

        return Ours(job, weights)
    if job.side == "official":
        from benchmarks.compare.official import Official

        return Official(job, weights)
    from benchmarks.compare.hugging import Hugging

    return Hugging(job, weights)


if __name__ == "__main__":
    main()
