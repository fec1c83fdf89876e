"""One thread for the network: order, fairness, bounds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from typing import Any

import pytest

from annotation.server.worker import Aside, BusyError, ExpiredError, Job, Worker

SOON = 60.0


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker(queue=16)
    yield worker
    worker.close()


def steps(name: str, count: int, done: list[str]) -> Callable[[], Job[str]]:
    def job() -> Job[str]:
        for number in range(count):
            done.append(f"{name}{number}")
            yield None
        return name

    return job


def later() -> float:
    return time.monotonic() + SOON


def test_a_job_returns_its_value_and_its_times(worker):
    done = worker.submit("a", steps("a", 3, []), deadline=later()).result(5)
    assert done.value == "a"
    assert done.waited_s >= 0
    assert done.worked_s >= 0


def test_short_jobs_go_between_the_frames_of_a_long_one(worker):
    done: list[str] = []
    gate = threading.Event()

    def blocker() -> Job[None]:
        gate.wait()
        return
        yield

    worker.submit("blocker", blocker, deadline=later())
    futures: list[Any] = [worker.submit("long", steps("long", 4, done), deadline=later())]
    futures += [worker.submit(f"s{n}", steps(f"s{n}-", 1, done), deadline=later()) for n in range(3)]
    gate.set()
    wait(futures, timeout=5)
    assert done.index("s0-0") < done.index("long2")
    assert done.index("s2-0") < done.index("long3")


def test_clicks_without_end_do_not_starve_a_long_job(worker):
    """Two short ones, then a frame of the long one."""
    done: list[str] = []
    gate = threading.Event()

    def blocker() -> Job[None]:
        gate.wait()
        return
        yield

    worker.submit("blocker", blocker, deadline=later())
    futures: list[Any] = [worker.submit("long", steps("long", 3, done), deadline=later())]
    futures += [worker.submit(f"s{n}", steps(f"s{n}-", 0, done), deadline=later()) for n in range(9)]
    gate.set()
    wait(futures, timeout=5)
    assert done == ["long0", "long1", "long2"]


def test_jobs_of_one_key_keep_their_order_and_never_mix(worker):
    done: list[str] = []
    futures = [worker.submit("same", steps(name, 3, done), deadline=later()) for name in "abc"]
    wait(futures, timeout=5)
    assert done == ["a0", "a1", "a2", "b0", "b1", "b2", "c0", "c1", "c2"]


def test_what_is_done_aside_holds_its_own_key_only(worker):
    done: list[str] = []
    gate = threading.Event()

    def writes() -> Job[str]:
        found = yield Aside(lambda: gate.wait(5))
        done.append(f"written {found}")
        return "written"

    first = worker.submit("a", writes, deadline=later())
    second = worker.submit("a", steps("a", 1, done), deadline=later())
    worker.submit("b", steps("b", 1, done), deadline=later()).result(5)
    assert done == ["b0"]
    gate.set()
    wait([first, second], timeout=5)
    assert done == ["b0", "written True", "a0"]


def test_a_job_may_wait_for_a_future_while_others_go_on(worker):
    saved: Future[str] = Future()

    def waits() -> Job[str]:
        found: str = yield saved
        return f"got {found}"

    waiting = worker.submit("a", waits, deadline=later())
    assert worker.submit("b", steps("b", 1, []), deadline=later()).result(5).value == "b"
    saved.set_result("it")
    assert waiting.result(5).value == "got it"


def test_an_error_aside_arrives_where_it_was_asked_for(worker):
    def fail() -> None:
        raise OSError("disk")

    def job() -> Job[str]:
        try:
            yield Aside(fail)
        except OSError as error:
            return f"caught {error}"
        return "not caught"

    assert worker.submit("a", job, deadline=later()).result(5).value == "caught disk"


def test_a_failing_job_fails_alone(worker):
    def fail() -> Job[None]:
        raise RuntimeError("no memory")
        yield

    with pytest.raises(RuntimeError, match="no memory"):
        worker.submit("a", fail, deadline=later()).result(5)
    assert worker.submit("a", steps("a", 1, []), deadline=later()).result(5).value == "a"


def test_a_full_queue_turns_away_and_late_or_cancelled_jobs_are_dropped():
    worker, gate, done = Worker(queue=2), threading.Event(), []

    def blocker() -> Job[None]:
        done.append("begun")
        gate.wait()
        return
        yield

    begun = worker.submit("a", blocker, deadline=later())
    while not done:
        time.sleep(0.01)
    late = worker.submit("b", steps("b", 1, done), deadline=time.monotonic() - 1)
    left = worker.submit("c", steps("c", 1, done), deadline=later())
    with pytest.raises(BusyError, match="2 jobs are ahead"):
        worker.submit("d", steps("d", 1, done), deadline=later())
    assert left.cancel()
    gate.set()
    begun.result(5)
    with pytest.raises(ExpiredError):
        late.result(5)
    worker.close()
    assert done == ["begun"]
    with pytest.raises(BusyError):
        worker.submit("d", steps("d", 1, done), deadline=later())


def test_idle_steps_give_way_to_jobs():
    ticks: list[int] = []

    def idle() -> bool:
        time.sleep(0.001)
        ticks.append(1)
        return len(ticks) % 50 != 0

    worker = Worker(queue=2, idle=idle)
    worker.submit("a", steps("a", 2, []), deadline=later()).result(5)
    assert worker.submit("b", steps("b", 2, []), deadline=later()).result(5).value == "b"
    worker.close()
    assert ticks


def test_an_error_while_idle_ends_nothing(caplog):
    def idle() -> bool:
        raise OSError("a frame is missing")

    worker = Worker(queue=2, idle=idle)
    for name in "ab":
        assert worker.submit(name, steps(name, 1, []), deadline=later()).result(5).value == name
    worker.close()
    assert "a frame is missing" in caplog.text
