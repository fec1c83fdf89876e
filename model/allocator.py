"""Keep memory that tensors gave back, instead of returning it to the system and faulting it in again.

glibc hands every large buffer back to the kernel when it is freed; the next one of the same size is then filled with
zeros page by page at first touch, which costs a CPU several per cent of a network's time. It is a choice for a whole
process, so no module makes it at import: long-running programs (a tracker, a server, a benchmark) call
`keep_freed_memory()` once at their start. Afterwards a process holds up to `limit_bytes` more than it uses.
"""

from __future__ import annotations

import ctypes
import platform

__all__ = ["keep_freed_memory", "release_freed_memory"]

# parameters of mallopt(3) and glibc's values at the start of a process
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_DEFAULT_THRESHOLD = 128 * 2**10
_LARGEST_MMAP_THRESHOLD = 32 * 2**20  # glibc refuses more; larger buffers keep going back to the system


def keep_freed_memory(limit_bytes: int = 512 * 2**20) -> bool:
    """Reuse freed buffers of up to 32 MB, and keep at most `limit_bytes` of free memory at the end of the heap.

    Returns whether it took effect: on Linux with glibc; anywhere else nothing changes. May be called again with
    another limit. Raises ValueError for a limit below 1 or above 2 GB less one byte, the largest that glibc takes.
    """
    if not 0 < limit_bytes < 2**31:
        raise ValueError(f"limit_bytes {limit_bytes} is not between 1 and {2**31 - 1}")
    return _set(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD) and _set(_TRIM_THRESHOLD, limit_bytes)


def release_freed_memory() -> bool:
    """Undo `keep_freed_memory`: fixed thresholds of 128 kB, and return what is free now.

    glibc's rule at the start of a process, thresholds that grow with the buffers freed, cannot be had back. Returns
    whether it took effect.
    """
    if not (_set(_MMAP_THRESHOLD, _DEFAULT_THRESHOLD) and _set(_TRIM_THRESHOLD, _DEFAULT_THRESHOLD)):
        return False
    ctypes.CDLL(None).malloc_trim(0)
    return True


def _set(parameter: int, value: int) -> bool:
    if platform.libc_ver()[0] != "glibc":
        return False
    return bool(ctypes.CDLL(None).mallopt(parameter, value))
