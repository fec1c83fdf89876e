"""How the packages beside ours are run in the precision of a job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from benchmarks.compare.rows import Job

__all__ = ["autocast"]


@contextmanager
def autocast(job: Job) -> Iterator[None]:
    """No gradients, and bfloat16 autocast where the job asks for it, as their documentation shows."""
    kind = job.device.partition(":")[0]
    with torch.inference_mode(), torch.autocast(kind, torch.bfloat16, enabled=job.precision == "bfloat16"):
        yield
