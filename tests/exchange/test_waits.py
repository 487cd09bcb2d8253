from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Generator
from typing import Any

import pytest

import asyncproxy
from asyncproxy.exchange.outcomes import Park, Woken
from asyncproxy.exchange.waits import (
    FutureDone,
    Gather,
    Native,
    Wait,
    as_wait,
    described,
    gather,
    make_futures_awaitable,
    on_reactor,
    readable,
    sleep,
    writable,
)


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


async def awaits(awaitable: Any) -> Any:
    return await awaitable


@pytest.fixture
def pipe() -> Generator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        if is_open(end):
            os.close(end)


def test_awaiting_a_wait_yields_it_and_gives_what_is_sent() -> None:
    wait = sleep(1)
    coroutine = awaits(wait)
    assert coroutine.send(None) is wait
    with pytest.raises(StopIteration) as stop:
        coroutine.send("value")
    assert stop.value.value == "value"


@pytest.mark.parametrize("seconds", [-1, float("nan"), -0.001])
def test_a_time_that_is_none_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="seconds"):
        sleep(seconds)
    for make in (readable, writable):
        with pytest.raises(ValueError, match="seconds"):
            make(0, timeout=seconds)
    with pytest.raises(ValueError, match="seconds"):
        Park(sleep(1), resume=print, timeout=seconds)


def test_a_descriptor_is_duplicated_and_the_duplicate_closed_once(pipe: tuple[int, int]) -> None:
    for make in (readable, writable):
        wait = make(pipe[0])
        assert wait.fd != pipe[0]
        assert is_open(wait.fd)
        fd = wait.fd
        wait.abandon()
        wait.abandon()
        assert not is_open(fd)
        assert is_open(pipe[0])


def test_a_descriptor_that_nobody_waits_for_is_closed_when_it_is_forgotten(pipe: tuple[int, int]) -> None:
    wait = readable(pipe[0])
    fd = wait.fd
    del wait
    assert not is_open(fd)


def test_an_object_with_fileno_will_do(pipe: tuple[int, int]) -> None:
    with os.fdopen(pipe[0], "rb") as file:
        wait = readable(file)
        assert wait.describe() == f"readable fd {pipe[0]}"
        wait.abandon()


def test_a_descriptor_that_is_none_is_refused(pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    with pytest.raises(OSError, match="descriptor"):
        readable(pipe[0])
    with pytest.raises(AttributeError):
        readable("x")


async def _nothing() -> None: ...


def test_what_may_be_awaited_becomes_a_wait() -> None:
    make_futures_awaitable()
    coroutine = _nothing()
    assert as_wait(coroutine) is coroutine
    coroutine.close()
    assert isinstance(as_wait(concurrent.futures.Future()), FutureDone)

    class Awaitable:
        def __await__(self) -> Generator[Any, Any, Any]:
            return (yield from sleep(1).__await__())

    wrapped = as_wait(Awaitable())
    assert isinstance(wrapped.send(None), Wait)
    wrapped.close()


@pytest.mark.parametrize("value", [None, 5, "x", object(), [sleep(1)], sleep])
def test_what_may_not_is_refused_with_a_list_of_what_may(value: Any) -> None:
    for take in (as_wait, gather, lambda value: Park(value, resume=print)):
        with pytest.raises(TypeError, match="on_reactor"):
            take(value)


def test_a_future_of_the_standard_library_can_be_awaited() -> None:
    make_futures_awaitable()
    future: concurrent.futures.Future[int] = concurrent.futures.Future()
    coroutine = awaits(future)
    wait = coroutine.send(None)
    assert isinstance(wait, FutureDone)
    assert wait.future is future
    coroutine.close()


def test_a_gather_abandons_all_its_parts(pipe: tuple[int, int]) -> None:
    coroutine = _nothing()
    ready = readable(pipe[0])
    fd = ready.fd
    together = gather(sleep(1), ready, coroutine)
    together.abandon()
    assert not is_open(fd)
    with pytest.raises(RuntimeError):
        coroutine.send(None)


def test_each_wait_says_what_is_waited_for() -> None:
    assert sleep(0.5).describe() == "sleep 0.5 s"
    assert on_reactor(os.getpid).describe() == "on_reactor getpid"
    assert repr(on_reactor(test_each_wait_says_what_is_waited_for)).startswith("<Wait for on_reactor test_each")
    assert FutureDone(concurrent.futures.Future()).describe() == "future"
    assert Native(object()).describe() == "object"
    assert gather(sleep(1), sleep(2)).describe() == "gather of 2: sleep 1 s, sleep 2 s"
    coroutine = _nothing()
    assert described(coroutine) == "coroutine"
    assert "coroutine" in Gather((coroutine,)).describe()
    coroutine.close()
    assert Wait().describe() == "wait"
    assert "resumed by print" in repr(Park(sleep(1), resume=print))


def test_what_woke_a_park_is_told_by_name() -> None:
    woken = Woken("context", 5)
    assert (woken.context, woken.value, woken.reason) == ("context", 5, "ready")


def test_the_names_of_a_module_author_are_there() -> None:
    for name in asyncproxy.__all__:
        assert hasattr(asyncproxy, name)
