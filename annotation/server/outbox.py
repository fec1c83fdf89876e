"""Which pages an answer must carry, since the page in the browser drops what arrives after a newer request was sent.

An answer counts as dropped if a newer request had come when it went out, or came so soon after that the two may have
crossed. Its pages are owed, and go along with the next answer, until a draft shows that they have arrived.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

__all__ = ["Outbox"]


class Outbox:
    """The answers to one person at one ticket; from any thread.

    Requests are numbered as they come; times are seconds on any one clock. crossing_s: how long answers travel.
    """

    def __init__(self, crossing_s: float) -> None:
        self._crossing_s = crossing_s
        self._newest = 0
        self._owed: set[int] = set()
        self._last: tuple[float, tuple[int, ...]] = (float("-inf"), ())
        self._lock = threading.Lock()

    def arrived(self, now: float) -> int:
        """A request came in; returns its number."""
        with self._lock:
            sent_at, pages = self._last
            if now < sent_at + self._crossing_s:
                self._owed.update(pages)
            self._newest += 1
            return self._newest

    def shown(self, pages: Iterable[int]) -> None:
        """A draft shows these pages as they stand: they have arrived."""
        with self._lock:
            self._owed.difference_update(pages)
            self._last = self._last[0], tuple(set(self._last[1]).difference(pages))

    def send(self, number: int, own: Iterable[int], now: float) -> tuple[int, ...]:
        """The answer to a request goes out now; returns all pages it must carry, given its own."""
        with self._lock:
            pages = tuple(sorted(self._owed.union(own)))
            if number < self._newest:
                self._owed.update(pages)
            else:
                self._owed.clear()
                self._last = now, pages
            return pages
