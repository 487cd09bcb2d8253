"""What each kind of wait gives and raises; its races are played in test_every_order."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed

from asyncproxy import Module, Response, UpstreamError, gather, on_reactor, readable, sleep, writable
from asyncproxy.exchange.messages import Headers, Request
from asyncproxy.exchange.responses import Fetched
from tests.fakes import House


class Awaits(Module):
    """Awaits what it is given and answers with the value, or with what was raised."""

    def __init__(self, make: Callable[[Request], Any]) -> None:
        super().__init__()
        self.make = make

    async def handle(self, request: Request) -> Any:
        try:
            return Response.text(repr(await self.make(request)))
        except Exception as error:
            return Response.text(f"{type(error).__name__}: {error}")
        except asyncio.CancelledError as error:
            return Response.text(f"cancelled: {error}")


class OnPollingThread(Awaits):
    blocking = False


def answer(make: Callable[[Request], Any], kind: type[Awaits] = Awaits) -> str:
    house = House(kind(make))
    client = house.get()
    house.advance(0)
    assert client.status == 200
    house.assert_nothing_left()
    return client.body.decode()


def future_of(value: Any = None, error: Exception | None = None, *, cancelled: bool = False) -> Any:
    future: concurrent.futures.Future[Any] = concurrent.futures.Future()
    if cancelled:
        future.cancel()
    elif error is not None:
        future.set_exception(error)
    else:
        future.set_result(value)
    return future


async def coroutine(value: Any) -> Any:
    return value


def raises(error: Exception) -> Any:
    raise error


@pytest.mark.parametrize("kind", [Awaits, OnPollingThread])
@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda _: sleep(0), "None"),
        (lambda _: gather(), "[]"),
        (lambda _: gather(sleep(0), coroutine(5), future_of(6)), "[None, 5, 6]"),
        (lambda _: gather(gather(coroutine(1)), gather()), "[[1], []]"),
        (lambda _: future_of(5), "5"),
        (lambda _: future_of(error=KeyError("x")), "KeyError: 'x'"),
        (lambda _: future_of(cancelled=True), "CancelledError: the awaited future was cancelled"),
        (lambda _: on_reactor(lambda: 5), "5"),
        (lambda _: on_reactor(divmod, 7, 2), "(3, 1)"),
        (lambda _: on_reactor(dict, a=1), "{'a': 1}"),
        (lambda _: on_reactor(lambda: succeed(5)), "5"),
        (lambda _: on_reactor(lambda: fail(KeyError("x"))), "KeyError: 'x'"),
        (lambda _: on_reactor(lambda: coroutine(5)), "5"),
        (lambda _: on_reactor(raises, KeyError("x")), "KeyError: 'x'"),
        (lambda _: coroutine(5), "5"),
        (lambda request: request.read(), "b''"),
        (lambda _: gather(sleep(9), on_reactor(raises, KeyError("x")), coroutine(1), readable(0)), "KeyError: 'x'"),
    ],
)
def test_what_a_wait_gives_or_raises(make: Callable[[Request], Any], text: str, kind: type[Awaits]) -> None:
    assert answer(make, kind) == text


def test_a_deferred_may_be_awaited_on_the_polling_thread_and_nowhere_else() -> None:
    assert answer(lambda _: succeed(5), OnPollingThread) == "5"
    deferred: Deferred[Any] = Deferred()
    house = House(OnPollingThread(lambda _: deferred))
    client = house.get()
    deferred.errback(KeyError("x"))
    house.settle()
    assert client.body == b"KeyError: 'x'"
    house.assert_nothing_left()
    text = answer(lambda _: Deferred())
    assert text.startswith("TypeError: a Deferred was made on a worker thread")
    assert "on_reactor" in text


def test_a_future_of_asyncio_may_be_awaited_on_the_polling_thread_and_nowhere_else() -> None:
    class Loop:
        """As much of a loop as a future needs."""

        get_debug = bool

        def call_soon(self, call: Any, *args: Any, context: Any = None) -> None:
            house.polling.deliver(call, *args)

    house = House(Awaits(lambda _: None))
    assert "on_reactor" in answer(lambda _: asyncio.Future(loop=Loop()))  # type: ignore[arg-type]
    future: asyncio.Future[int] = asyncio.Future(loop=Loop())  # type: ignore[arg-type]
    house = House(OnPollingThread(lambda _: future))
    client = house.get()
    future.set_result(5)
    house.settle()
    assert client.body == b"5"
    house.assert_nothing_left()


def test_a_client_that_leaves_cancels_what_the_polling_thread_awaits() -> None:
    cancelled: list[Any] = []
    house = House(OnPollingThread(lambda _: Deferred(cancelled.append)))
    house.get().leave()
    house.settle()
    assert len(cancelled) == 1
    house.assert_nothing_left()


class Foreign:
    """Yields what is no wait."""

    def __await__(self) -> Any:
        yield 5


def test_what_no_one_knows_is_refused_at_the_await() -> None:
    assert "TypeError" in answer(lambda _: Foreign())
    assert "TypeError" in answer(lambda _: gather(Foreign()))


@pytest.mark.parametrize("make", [readable, writable])
def test_a_descriptor_that_the_reactor_gives_up_counts_as_ready(make: Any) -> None:
    ours, theirs = os.pipe()
    house = House(Awaits(lambda _: make(ours)))
    client = house.get()
    (watched,) = [*house.descriptors.readers, *house.descriptors.writers]
    assert watched.fileno() >= 0
    assert watched.logPrefix()
    watched.connectionLost(None)
    house.settle()
    assert client.body == b"None"
    assert watched.fileno() == -1
    house.assert_nothing_left()
    os.close(ours)
    os.close(theirs)


def test_a_descriptor_that_stays_silent_times_out_though_nothing_limits_it() -> None:
    ours, theirs = os.pipe()
    house = House(Awaits(lambda _: readable(ours)))
    client = house.get()
    house.advance(59)
    assert client.status is None
    house.advance(1)
    assert client.body.startswith(b"ParkTimeout: nothing was ready within 60 s: readable fd")
    house.assert_nothing_left()
    os.close(ours)
    os.close(theirs)


def test_a_fetch_gives_what_was_fetched_or_raises_why_not() -> None:
    house = House(Awaits(lambda request: request.fetch("http://a/")))
    first, second = house.get(), house.get()
    house.fetches[0][1].callback(Fetched(200, Headers(), b"abc"))
    house.fetches[1][1].errback(UpstreamError("refused", "no"))
    house.settle()
    assert first.body == b"<Fetched 200, 3 bytes>"
    assert second.body == b"UpstreamError: no (refused)"
    house.assert_nothing_left()


def test_a_body_that_is_cut_raises_at_the_await() -> None:
    house = House(Awaits(lambda request: request.read()))
    client = house.connect()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    house.settle()
    client.send(b"zz\r\n")
    house.settle()
    assert client.body.startswith(b"ClientError: malformed body")
    house.advance(3)
    house.assert_nothing_left()


def test_where_a_request_waits_is_told_by_file_and_line() -> None:
    async def deep() -> None:
        await sleep(5)

    house = House(Awaits(lambda _: deep()))
    house.get()
    (row,) = house.snapshot()["parked"]
    line = deep.__code__.co_firstlineno + 1
    assert row["at"] == f"test_waiting.py:{line}"
    assert row["waiting_for"] == "sleep 5 s"
    house.advance(2)
    assert house.snapshot()["parked"][0]["since_s"] == 2


def test_a_wait_that_a_plain_handle_returns_is_waited_for() -> None:
    class Returns(Module):
        value: Any = None

        def handle(self, _request: Request) -> Any:
            return self.value()

    async def later() -> Any:
        await sleep(1)
        return Response.text("x")

    for make in (later, lambda: on_reactor(Response.text, "x"), lambda: future_of(Response.text("x"))):
        module = Returns()
        module.value = make
        house = House(module)
        client = house.get()
        house.advance(1)
        assert client.body == b"x"
        house.assert_nothing_left()


@pytest.mark.parametrize("spool", ["1B", "1KiB"], ids=["file", "memory"])
def test_an_async_module_that_has_the_body_whole_may_read_it_too(spool: str) -> None:
    class Both(Module):
        whole_body = True

        async def handle(self, request: Request) -> Response:
            read = [await request.read(), await request.read()]
            return Response(body=b"|".join([request.data, *read, request.data]))

    house = House(Both(), limits={"spool": spool})
    client = house.connect()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody")
    house.settle()
    assert client.body == b"body|body|body|body"
    house.assert_nothing_left()
