"""The pool of workers, with the face of Twisted's ThreadPool."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool

from asyncproxy.polling.clock import clock_of, wake_of
from asyncproxy.polling.delivering import Deliveries
from asyncproxy.working.workers import Workers

waits = pytest_twisted.ensureDeferred
NAME = "workers-under-test"


def mine() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(NAME)]


class Unheard:
    """Where the pool reports what nobody else hears of; `came` fires with it."""

    def __init__(self) -> None:
        self.came: Deferred[BaseException] = Deferred()

    def __call__(self, error: BaseException) -> None:
        self.came.callback(error)


@pytest.fixture
def unheard() -> Unheard:
    return Unheard()


@pytest.fixture
def workers(reactor: Any, unheard: Unheard) -> Iterator[Workers]:
    workers = Workers(3, Deliveries(wake_of(reactor)), clock_of(reactor), unheard, NAME)
    workers.start()
    yield workers
    workers.stop()


def test_there_are_exactly_as_many_threads_as_asked_for(workers: Workers) -> None:
    assert len(mine()) == 3


def test_the_threads_are_joined_at_stop(reactor: Any, unheard: Unheard) -> None:
    workers = Workers(4, Deliveries(wake_of(reactor)), clock_of(reactor), unheard, NAME)
    workers.start()
    threads = mine()
    workers.stop()
    assert len(threads) == 4
    assert not any(thread.is_alive() for thread in threads)


def test_stop_lets_a_worker_end_what_it_runs(reactor: Any, unheard: Unheard) -> None:
    workers = Workers(1, Deliveries(wake_of(reactor)), clock_of(reactor), unheard, NAME)
    workers.start()
    began, proceed, ended = threading.Event(), threading.Event(), threading.Event()

    def call() -> None:
        began.set()
        proceed.wait(10)
        ended.set()

    workers.callInThread(call)
    assert began.wait(10)
    threading.Timer(0.05, proceed.set).start()
    workers.stop()
    assert ended.is_set()
    assert mine() == []


@waits
async def test_a_result_comes_back_on_the_polling_thread(workers: Workers, reactor: Any) -> None:
    def call(add: int, *, to: int) -> tuple[int, str]:
        return add + to, threading.current_thread().name

    value, thread = await deferToThreadPool(reactor, workers, call, 2, to=3).addTimeout(10, reactor)
    assert value == 5
    assert thread.startswith(NAME)
    assert threading.current_thread() is threading.main_thread()


@waits
async def test_an_exception_comes_back_as_a_failure(workers: Workers, reactor: Any) -> None:
    def call() -> None:
        raise LookupError("on a worker")

    with pytest.raises(LookupError, match="on a worker"):
        await deferToThreadPool(reactor, workers, call).addTimeout(10, reactor)
    assert len(mine()) == 3


@waits
async def test_a_worker_outlives_a_call_that_exits(workers: Workers, reactor: Any) -> None:
    for _ in range(6):
        with pytest.raises(SystemExit):
            await deferToThreadPool(reactor, workers, lambda: exec("raise SystemExit(1)")).addTimeout(10, reactor)
    assert len(mine()) == 3


@waits
async def test_as_many_calls_run_at_once_as_there_are_workers(workers: Workers, reactor: Any) -> None:
    together = threading.Barrier(3, timeout=10)
    await gatherResults([deferToThreadPool(reactor, workers, together.wait) for _ in range(3)]).addTimeout(15, reactor)


@waits
async def test_more_calls_than_workers_wait_their_turn(workers: Workers, reactor: Any) -> None:
    running: set[int] = set()
    most = 0
    lock = threading.Lock()

    def call(number: int) -> int:
        nonlocal most
        with lock:
            running.add(number)
            most = max(most, len(running))
        with lock:
            running.discard(number)
        return number

    calls = [deferToThreadPool(reactor, workers, call, number) for number in range(200)]
    assert await gatherResults(calls).addTimeout(20, reactor) == list(range(200))
    assert most <= 3
    assert workers.waiting == 0


@waits
async def test_call_in_thread_with_callback_tells_success_on_the_worker(workers: Workers, reactor: Any) -> None:
    told: Deferred[tuple[bool, Any, str]] = Deferred()

    def on_result(success: bool, result: Any) -> None:
        reactor.callFromThread(told.callback, (success, result, threading.current_thread().name))

    workers.callInThreadWithCallback(on_result, divmod, 7, 2)
    success, result, thread = await told.addTimeout(10, reactor)
    assert (success, result) == (True, (3, 1))
    assert thread.startswith(NAME)


@waits
async def test_call_in_thread_reports_what_nobody_else_hears(workers: Workers, unheard: Unheard, reactor: Any) -> None:
    workers.callInThread(divmod, 1, 0)
    assert isinstance(await unheard.came.addTimeout(10, reactor), ZeroDivisionError)
    assert len(mine()) == 3


@waits
async def test_the_statistics_say_who_is_busy_and_who_waits(workers: Workers, reactor: Any) -> None:
    proceed = threading.Event()
    assert workers.statistics() == {"total": 3, "busy": 0, "queued": 0}
    for _ in range(5):
        workers.callInThread(proceed.wait, 10)
    try:
        for _ in range(1000):  # workers are woken one by one, by the polling thread
            if workers.statistics() == {"total": 3, "busy": 3, "queued": 2}:
                break
            await deferLater(reactor, 0.005)
        assert workers.statistics() == {"total": 3, "busy": 3, "queued": 2}
        assert 0 < workers.busy_seconds < workers.busy_seconds
    finally:
        proceed.set()


@waits
async def test_time_is_busy_only_while_there_are_turns(workers: Workers, reactor: Any) -> None:
    assert workers.busy_seconds == 0
    await deferToThreadPool(reactor, workers, divmod, 7, 2).addTimeout(10, reactor)
    while any(since is not None for _, since in workers._busy):
        await deferLater(reactor, 0.001)
    busy = workers.busy_seconds
    assert busy > 0
    assert workers.busy_seconds == busy
