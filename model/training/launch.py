"""Child processes of training that never outlive their parent."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

__all__ = ["die_with_parent"]

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_POLL_S = 1.0


def die_with_parent(parent: int | None = None) -> None:
    """Ends this process when its parent ends, however that ends; call it first thing in a child.

    `parent` is the parent's process id where the child was told it: a parent that is gone already is then noticed.
    The kernel does it on Linux, at once; elsewhere the parent is looked for every second. On Linux "the parent" is
    the thread that started the child, so that thread should wait for it.
    """
    parent = parent or os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:
        os._exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL_S)
    os._exit(1)
