"""Keep memory that tensors gave back, instead of returning it to the system and faulting it in again.

glibc hands every large buffer back to the kernel when it is freed; the next one of the same size is then filled with
zeros page by page at first touch. Tracking 8 objects with nano takes 8 to 18 % longer for it. It is a choice for a
whole process, so no module makes it at import: programs make it once they know their network. With a large input it is
the wrong choice: there the work is done in pieces that stay in the cache anyway, and buffers of many megabytes leave
holes that are never filled again (1 GB more with tiny at 1024 px and 8 objects).
"""

from __future__ import annotations

import ctypes
import platform

__all__ = ["keep_freed_memory", "suits"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameters of mallopt(3)
_LARGEST_MMAP_THRESHOLD = 32 * 2**20  # glibc refuses more; larger buffers keep going back to the system
_LARGEST_INPUT = 256


def suits(image_size: int) -> bool:
    """Whether keeping freed memory pays for a network whose input has sides of `image_size` pixels."""
    return image_size <= _LARGEST_INPUT


def keep_freed_memory(limit_bytes: int = 512 * 2**20) -> bool:
    """Reuse freed buffers of up to 32 MB, and keep at most `limit_bytes` of free memory at the end of the heap.

    Holds from now on for the whole process. Returns whether it took effect: on Linux with glibc; anywhere else nothing
    changes. Raises ValueError for a limit below 1 or above 2 GB less one byte, the largest that glibc takes.
    """
    if not 0 < limit_bytes < 2**31:
        raise ValueError(f"limit_bytes {limit_bytes} is not between 1 and {2**31 - 1}")
    return _set(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD) and _set(_TRIM_THRESHOLD, limit_bytes)


def _set(parameter: int, value: int) -> bool:
    if platform.libc_ver()[0] != "glibc":
        return False
    return bool(ctypes.CDLL(None).mallopt(parameter, value))
