"""The effort of one sitting: every act with its place and time, on whatever clock the sitting runs."""

from __future__ import annotations

from typing import Protocol

from annotation.work import EffortEvent, EventKind

__all__ = ["Clock", "Diary"]


class Clock(Protocol):
    """What a sitting reads the time from; it must not run backwards."""

    def now_s(self) -> float:
        """Seconds since any fixed moment."""
        ...


class Diary:
    """Writes down acts. An act begins when the one before ended, and ends when it is noted."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._opened_s = self._last_s = clock.now_s()
        self._events: list[EffortEvent] = []

    @property
    def events(self) -> tuple[EffortEvent, ...]:
        """All acts so far, in order."""
        return tuple(self._events)

    def note(
        self,
        kind: EventKind,
        frame: int | None = None,
        *,
        at: tuple[float, float] | None = None,
        positive: bool | None = None,
    ) -> None:
        """Note an act that ends now, on source frame `frame` at pixel (x, y). Milliseconds are enough."""
        now_s = self._clock.now_s()
        x, y = at or (None, None)
        at_s, duration_s = round(self._last_s - self._opened_s, 3), round(now_s - self._last_s, 3)
        self._events.append(EffortEvent(kind, frame, x, y, positive, at_s, duration_s))
        self._last_s = now_s
