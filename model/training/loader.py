"""Batches drawn ahead of training by worker processes, in the order of the steps.

A batch is a function of its step's number, so it does not matter which process draws it or how often: a worker
that dies is replaced and its step drawn again. Workers are started anew ("spawn"), with nothing inherited but
the pickled `draw`; each hands its batches over through a pipe, which leaves nothing behind however it ends.
"""

from __future__ import annotations

import contextlib
import io
import logging
import multiprocessing
import pickle
import queue
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar, cast, runtime_checkable

import cv2
import numpy as np
import torch
from torch import Tensor

from model.errors import TrainingError
from model.training.batch import SkippedClip

__all__ = ["SkippedClips", "StepLoader"]

B = TypeVar("B")

DEATHS = 3
"""Workers that one step may cost before training stops."""

ENDING_S = 5.0
"""Seconds that a worker whose pipe has ended may take to end itself."""

_log = logging.getLogger(__name__)


@runtime_checkable
class _TellsSkipped(Protocol):
    """A batch that says which clips were skipped for it."""

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def skipped(self) -> tuple[SkippedClip, ...]: ...


class SkippedClips:
    """Counts and names the clips that could not be read, and stops training when they are too many."""

    def __init__(self, *, most: int = 20, share: float = 0.05) -> None:
        """The limit is passed by more than `most` skipped clips that are also more than `share` of all drawn."""
        self.most, self.share = most, share
        self.drawn = 0
        self.skipped = 0
        self.reasons: dict[tuple[str, int], str] = {}

    def note(self, drawn: int, skipped: Sequence[SkippedClip] = ()) -> None:
        """Counts clips drawn and skipped; raises `TrainingError` beyond the limit."""
        self.drawn += drawn
        self.skipped += len(skipped)
        for clip in skipped:
            if (clip.source, clip.index) not in self.reasons:
                self.reasons[clip.source, clip.index] = clip.reason
                _log.warning("Skipped %s", clip)
        total = self.drawn + self.skipped
        if self.skipped > self.most and self.skipped > self.share * total:
            raise TrainingError(
                f"{self.skipped} of {total} training clips could not be read (the limit is {self.most} clips "
                f"and {self.share:.0%} of them); {self.summary()}"
            )

    def summary(self, most: int = 5) -> str:
        """What was skipped, in words: at most `most` clips by name."""
        named = [str(SkippedClip(source, index, why)) for (source, index), why in self.reasons.items()]
        more = f"; and {len(named) - most} more" if len(named) > most else ""
        return "; ".join(named[:most]) + more if named else "nothing was skipped"


class StepLoader(Generic[B]):
    """Iterates over (step, batch) from `start` to `stop` - 1, in order.

    With `workers` 0, `draw` runs in this process when a batch is asked for. Otherwise it must pickle (a bound
    method or `functools.partial` of one does; a lambda does not), and up to `ahead` batches a worker are
    drawn, or waiting, beyond the step that was handed out last. What `draw` raises is raised at its step.
    """

    def __init__(
        self,
        draw: Callable[[int], B],
        *,
        start: int,
        stop: int,
        workers: int = 0,
        ahead: int = 2,
        skipped: SkippedClips | None = None,
    ) -> None:
        if workers < 0 or ahead < 1:
            raise TrainingError(
                f"A loader needs 0 or more workers and at least 1 batch ahead, not {workers} and {ahead}."
            )
        self.skipped = skipped or SkippedClips()
        self._draw, self._steps = draw, range(start, stop)
        self._ahead = ahead * workers
        self._crew = _Crew(draw, min(workers, len(self._steps))) if workers and self._steps else None

    @property
    def replaced(self) -> int:
        """Workers that died and were replaced."""
        return self._crew.replaced if self._crew is not None else 0

    def __iter__(self) -> Iterator[tuple[int, B]]:
        for step, batch in self._batches():
            if isinstance(batch, _TellsSkipped):
                self.skipped.note(len(batch.names), batch.skipped)
            yield step, batch

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the workers; what they drew ahead is dropped."""
        if self._crew is not None:
            self._crew.close()

    def _batches(self) -> Iterator[tuple[int, B]]:
        if self._crew is None:
            for step in self._steps:
                yield step, self._draw(step)
            return
        waiting: deque[tuple[int, Future[B]]] = deque()
        for step in self._steps:
            waiting.append((step, self._crew.draw(step)))
            if len(waiting) > self._ahead:
                first, batch = waiting.popleft()
                yield first, batch.result()
        for step, batch in waiting:
            yield step, batch.result()


class _Crew(Generic[B]):
    """Worker processes, each with a thread of this process that waits for what it draws."""

    def __init__(self, draw: Callable[[int], B], workers: int) -> None:
        try:
            task = pickle.dumps(draw)
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise TrainingError(
                f"These training data cannot be read by worker processes ({error}); use workers=0."
            ) from error
        self.replaced = 0
        self._closed = False
        self._workers = [_Worker(task, number) for number in range(workers)]
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="training-data")

    def draw(self, step: int) -> Future[B]:
        return self._threads.submit(self._drawn, step)

    def close(self) -> None:
        self._closed = True
        for worker in self._workers:
            worker.end()
        self._threads.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.end()  # one that was being replaced just now
            worker.join()

    def _drawn(self, step: int) -> B:
        worker = self._idle.get()
        try:
            return self._insisted(worker, step)
        finally:
            self._idle.put(worker)

    def _insisted(self, worker: _Worker, step: int) -> B:
        """The batch of a step, from as many processes as it takes up to the limit."""
        for _ in range(DEATHS):
            try:
                good, drawn = worker.draw(step)
            except (EOFError, OSError):
                if self._closed:
                    raise
                ended = worker.ended()
                _log.warning(
                    "Data worker %d %s at step %d; another one draws it again.", worker.number, ended, step
                )
                self.replaced += 1
                worker.restart()
            else:
                if not good:
                    raise cast(Exception, drawn)
                return cast(B, drawn)
        raise TrainingError(
            f"Drawing the clips of step {step} ended {DEATHS} worker processes (the last one {ended}); "
            "most likely there is too little memory: use fewer workers, or workers=0 to see the error itself."
        )


class _Worker:
    """One process that draws batches, and this end of its pipe."""

    def __init__(self, task: bytes, number: int) -> None:
        self.number = number
        self._task = task
        self._start()

    def draw(self, step: int) -> tuple[bool, object]:
        """True and the batch, or False and what drawing it raised. EOFError or OSError if the process is gone."""
        self._pipe.send(step)
        return _receive(self._pipe)

    def ended(self) -> str:
        """How the process ended, in words."""
        self._process.join(timeout=ENDING_S)
        self._process.kill()  # a process that closed its pipe and lives on is of no use
        self._process.join()
        code = self._process.exitcode
        if code is not None and code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    def restart(self) -> None:
        self._pipe.close()
        self._start()

    def end(self) -> None:
        self._process.kill()

    def join(self) -> None:
        self._process.join()
        self._pipe.close()

    def _start(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pipe, other = spawn.Pipe()
        self._process = spawn.Process(target=_work, args=(other, self._task), daemon=True)
        self._process.start()
        other.close()  # so that the pipe ends with the process


def _work(pipe: Connection, task: bytes) -> None:
    """Life of a worker: draws the steps it is told until the training process is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the training process, which ends this one
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with contextlib.suppress(EOFError, OSError):
        draw: Callable[[int], object] = pickle.loads(task)  # noqa: S301 (made by the process that started this one)
        while True:
            step = pipe.recv()
            _send(pipe, _outcome(draw, step))


def _outcome(draw: Callable[[int], object], step: int) -> tuple[bool, object]:
    """True and the batch, or False and what drawing it raised."""
    try:
        return True, draw(step)
    except Exception as error:  # noqa: BLE001 (raised again in the training process)
        try:
            pickle.loads(pickle.dumps(error))  # noqa: S301
        except (pickle.PickleError, TypeError, AttributeError):  # some exceptions only pickle one way
            return False, TrainingError(f"{type(error).__name__}: {error}")
        return False, error


class _Pickler(pickle.Pickler):
    """Writes tensors as arrays, whose memory then travels beside the pickle instead of inside it."""

    def reducer_override(self, value: object) -> Any:
        if isinstance(value, Tensor) and value.dtype != torch.bfloat16:  # numpy has no such type
            return torch.from_numpy, (value.contiguous().numpy(),)
        return NotImplemented


def _send(pipe: Connection, value: tuple[bool, object]) -> None:
    """A message of one pickle and the large buffers beside it, none of them copied."""
    buffers: list[pickle.PickleBuffer] = []
    message = io.BytesIO()
    _Pickler(message, protocol=5, buffer_callback=buffers.append).dump(value)
    views = [buffer.raw() for buffer in buffers]
    pipe.send([len(view) for view in views])
    pipe.send_bytes(message.getbuffer())
    for view in views:
        pipe.send_bytes(view)


def _receive(pipe: Connection) -> tuple[bool, object]:
    sizes = pipe.recv()
    message = pipe.recv_bytes()
    buffers = [np.empty(size, np.uint8) for size in sizes]
    for buffer in buffers:
        pipe.recv_bytes_into(buffer)
    outcome: tuple[bool, object] = pickle.loads(message, buffers=buffers)  # noqa: S301 (from a worker of ours)
    return outcome
