"""Keeping freed memory: only with glibc, in a process of its own, since it holds for the whole process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from model import allocator

_FAULTS = """
import resource
from model.allocator import keep_freed_memory, release_freed_memory
import torch

torch.set_num_threads(1)

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.zeros(4 * 2**20)  # 16 MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

assert keep_freed_memory(256 * 2**20)
faults()
kept = faults()
assert release_freed_memory()
released = faults()
assert released > 1000 > kept, (kept, released)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such switch")
def test_freed_memory_is_not_faulted_in_again() -> None:
    subprocess.run([sys.executable, "-c", _FAULTS], check=True)


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not allocator.keep_freed_memory()
    assert not allocator.release_freed_memory()


@pytest.mark.parametrize("limit", [0, -1, 2**31])
def test_impossible_limits_are_refused(limit: int) -> None:
    with pytest.raises(ValueError, match="limit_bytes"):
        allocator.keep_freed_memory(limit)
