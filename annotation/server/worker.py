"""One thread for the network, shared fairly: short jobs go first, long ones move on frame by frame in between.

A job is a generator. It runs in the worker's thread, where no other job runs; at each `yield` others may go first. It
may `yield Aside(call)` to have something done that needs no network (the disk, pictures) while others go on, or `yield`
a future to wait for it. Jobs of one key keep their order. The queue is bounded: who finds it full is told at once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

__all__ = ["Aside", "BusyError", "Done", "ExpiredError", "Job", "Worker"]

T = TypeVar("T")

_SHORT_ONES = 2
"""So many short jobs in a row are let past a long one before it gets its next frame."""
_ASIDE_THREADS = 2
_LOG = logging.getLogger("engine.model_server")


class BusyError(Exception):
    """The queue is full; `ahead` jobs wait."""

    def __init__(self, ahead: int) -> None:
        super().__init__(f"{ahead} jobs are ahead")
        self.ahead = ahead


class ExpiredError(Exception):
    """A job waited beyond its deadline and was not begun."""


@dataclass(frozen=True, slots=True)
class Aside:
    """Something a job wants done outside the worker's thread; `yield` gives the call's value."""

    call: Callable[[], Any]


Job = Generator[Aside | Future[Any] | None, Any, T]


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """What a job returned, and in seconds: how long it waited for its first turn, held the worker, and was aside."""

    value: T
    waited_s: float
    worked_s: float
    aside_s: float


@dataclass(slots=True, eq=False)
class _Task:
    key: object
    start: Callable[[], Job[Any]]
    deadline: float
    queued: float
    future: Future[Any] = field(default_factory=Future)
    job: Job[Any] | None = None
    waited_s: float = 0.0
    worked_s: float = 0.0
    aside_s: float = 0.0
    value: Any = None
    error: BaseException | None = None


class Worker:
    """The thread and its queue.

    queue: jobs that may wait for their first turn. idle: called while there is nothing to do, as long as it returns
    True; a call is one small step. clock: seconds; deadlines are moments of it.
    """

    def __init__(
        self,
        *,
        queue: int,
        idle: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._idle = idle
        self._clock = clock
        self._waiting: deque[_Task] = deque()
        self._resumed: deque[_Task] = deque()
        self._long: deque[_Task] = deque()
        self._begun: set[object] = set()
        self._short_ones = 0
        self._restless = False
        self._closed = False
        self._changed = threading.Condition()
        self._helpers = ThreadPoolExecutor(_ASIDE_THREADS, thread_name_prefix="model-server-aside")
        self._thread = threading.Thread(target=self._run, name="model-server-worker", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether jobs are done at all."""
        return self._thread.is_alive()

    @property
    def waiting(self) -> int:
        """How many jobs wait for their first turn."""
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether a job would be turned away now."""
        return len(self._waiting) >= self._queue

    def submit(self, key: object, start: Callable[[], Job[T]], *, deadline: float) -> Future[Done[T]]:
        """Queue a job behind all others of the same key. Cancelling the future before its first turn drops it.

        The future holds what the job returns or raises, or ExpiredError. Raises BusyError when the queue is full.
        """
        with self._changed:
            if self._closed or self.full:
                raise BusyError(len(self._waiting))
            task = _Task(key, start, deadline, self._clock())
            self._waiting.append(task)
            self._changed.notify()
        return task.future

    def close(self) -> None:
        """Finish what was begun, drop the rest, end the thread."""
        with self._changed:
            self._closed = True
            dropped, self._waiting = self._waiting, deque()
            self._changed.notify()
        for task in dropped:
            task.future.cancel()
        self._thread.join()
        self._helpers.shutdown()

    def _run(self) -> None:
        while True:
            with self._changed:
                task = self._next()
                while task is None and (self._closed or not self._restless):
                    if self._closed and not self._begun:
                        return
                    self._changed.wait()
                    task = self._next()
            if task is None:
                self._restless = self._idled()
            else:
                self._advance(task)
                self._restless = True

    def _idled(self) -> bool:
        """One idle step; an error ends idling until the next job, and nothing else."""
        try:
            return self._idle()
        except Exception:  # noqa: BLE001 - nobody waits for it, and the thread must live
            _LOG.exception("preparing frames ahead failed")
            return False

    def _next(self) -> _Task | None:
        """The task whose turn it is: one back from aside, else a new one, and now and then a long one."""
        if self._resumed:
            return self._resumed.popleft()
        fresh = None if self._long and self._short_ones >= _SHORT_ONES else self._fresh()
        if fresh is not None:
            self._short_ones += 1
            return fresh
        self._short_ones = 0
        return self._long.popleft() if self._long else self._fresh()

    def _fresh(self) -> _Task | None:
        """The first waiting task of which no elder brother is under way; drops what nobody waits for any more."""
        held = set(self._begun)
        for task in tuple(self._waiting):
            if task.key in held:
                continue
            self._waiting.remove(task)
            if not task.future.set_running_or_notify_cancel():
                continue
            task.waited_s = self._clock() - task.queued
            if self._clock() > task.deadline:
                task.future.set_exception(ExpiredError(f"waited {task.waited_s:.1f} s"))
                continue
            self._begun.add(task.key)
            return task
        return None

    def _advance(self, task: _Task) -> None:
        """Give a task the thread until its next `yield`."""
        begun = self._clock()
        try:
            step = self._step(task)
        except StopIteration as end:
            task.worked_s += self._clock() - begun
            self._finish(task)
            task.future.set_result(Done(end.value, task.waited_s, task.worked_s, task.aside_s))
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits for the future
            self._finish(task)
            task.future.set_exception(error)
        else:
            task.worked_s += self._clock() - begun
            self._put_by(task, step)

    def _step(self, task: _Task) -> Aside | Future[Any] | None:
        if task.job is None:
            task.job = task.start()
        value, error = task.value, task.error
        task.value = task.error = None
        return task.job.send(value) if error is None else task.job.throw(error)

    def _put_by(self, task: _Task, step: Aside | Future[Any] | None) -> None:
        if step is None:
            with self._changed:
                self._long.append(task)
        elif isinstance(step, Future):
            step.add_done_callback(lambda future: self._resume(task, future.result))
        else:
            self._helpers.submit(self._do_aside, task, step.call)

    def _do_aside(self, task: _Task, call: Callable[[], Any]) -> None:
        begun = self._clock()

        def timed() -> Any:
            try:
                return call()
            finally:
                task.aside_s += self._clock() - begun

        self._resume(task, timed)

    def _resume(self, task: _Task, call: Callable[[], Any]) -> None:
        """Give a call's value, or its error, to the job that waits for it."""
        try:
            task.value = call()
        except BaseException as error:  # noqa: BLE001 - the job gets it at its `yield`
            task.error = error
        with self._changed:
            self._resumed.append(task)
            self._changed.notify()

    def _finish(self, task: _Task) -> None:
        with self._changed:
            self._begun.discard(task.key)
