"""Keeping freed memory: only with glibc, in a process of its own, since it holds for the whole process."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from model import allocator

_FAULTS = """
import resource
from model.allocator import keep_freed_memory
import torch

torch.set_num_threads(1)

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.zeros(7 * 2**20)  # 28 MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
released = faults()
assert keep_freed_memory(256 * 2**20)
faults()
kept = faults()
assert released > 1000 > kept, (kept, released)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such switch")
def test_freed_memory_is_not_faulted_in_again() -> None:
    fixed = os.environ | {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
    subprocess.run([sys.executable, "-c", _FAULTS], check=True, env=fixed)


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not allocator.keep_freed_memory()


@pytest.mark.parametrize("limit", [0, -1, 2**31])
def test_impossible_limits_are_refused(limit: int) -> None:
    with pytest.raises(ValueError, match="limit_bytes"):
        allocator.keep_freed_memory(limit)


def test_it_suits_small_inputs_only() -> None:
    assert allocator.suits(256)
    assert not allocator.suits(1024)
