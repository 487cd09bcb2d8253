"""Modules that leak a park: told to end, they wait for something that never comes."""

from __future__ import annotations

import concurrent.futures
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent

from asyncproxy import ClientGone, Module, Park, ParkTimeout, Request, Response, gather, on_reactor, readable, sleep
from asyncproxy.polling.giving_up import GRACE
from tests.fakes import House

NEVER = 1e6


class Leaky(Module):
    """A module and what it holds, which must be let go."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False
        self.refused = 0
        self.ours, self.theirs = socket.socketpair()

    def done(self) -> None:
        self.ours.close()
        self.theirs.close()


class ParksAgain(Leaky):
    async def handle(self, request: Request) -> Response:
        try:
            with suppress(ClientGone, ParkTimeout):
                await sleep(NEVER)
            await self.wait(request)
        finally:
            self.closed = True
        return Response()

    def wait(self, request: Request) -> Any:
        return sleep(NEVER)


class ParksAgainAndAgain(ParksAgain):
    async def handle(self, request: Request) -> Response:
        try:
            while True:
                with suppress(Exception):
                    await sleep(0.7)
        finally:
            self.closed = True


class OnADescriptor(ParksAgain):
    def wait(self, request: Request) -> Any:
        return readable(self.ours, timeout=NEVER)


class OnADeferred(ParksAgain):
    def wait(self, request: Request) -> Any:
        return on_reactor(Deferred)


class OnAFuture(ParksAgain):
    def wait(self, request: Request) -> Any:
        return concurrent.futures.Future()


class OnASilentUpstream(ParksAgain):
    def wait(self, request: Request) -> Any:
        return request.forward(timeout=NEVER)


class OnAChildThatNeverEnds(ParksAgain):
    async def child(self) -> None:
        while True:
            with suppress(Exception):
                await sleep(NEVER)

    def wait(self, request: Request) -> Any:
        return gather(self.child(), self.child(), readable(self.ours, timeout=NEVER), sleep(NEVER))


class IgnoresItsClose(Leaky):
    async def handle(self, request: Request) -> Response:
        while True:
            try:
                await sleep(NEVER)
            except BaseException:
                self.closed = True
                self.refused += 1
                if self.refused > 3:  # what it was told, its cancellation, its close; and then Python collects it
                    raise


class WaitsInItsCleanUp(Leaky):
    async def handle(self, request: Request) -> Response:
        try:
            await sleep(NEVER)
        finally:
            self.closed = True
            await readable(self.ours, timeout=NEVER)
        return Response()


class ParksInGone(Leaky):
    def handle(self, request: Request) -> Park:
        return Park(sleep(NEVER), resume=self.again, context=self, gone=self.again)

    def again(self, _request: Request, _woken: Any) -> Park:
        return Park(readable(self.ours), resume=self.again, context=self, timeout=NEVER, gone=self.again)

    def close(self) -> None:
        self.closed = True


class ReturnsAnotherWait(Leaky):
    def handle(self, request: Request) -> Park:
        return Park(sleep(NEVER), resume=self.gone, gone=self.gone)

    def gone(self, _request: Request, _woken: Any) -> Any:
        self.closed = True
        return sleep(NEVER)


LEAKS = [
    ParksAgain,
    ParksAgainAndAgain,
    OnADescriptor,
    OnADeferred,
    OnAFuture,
    OnASilentUpstream,
    OnAChildThatNeverEnds,
    IgnoresItsClose,
    WaitsInItsCleanUp,
    ParksInGone,
    ReturnsAnotherWait,
]


def copies(sock: socket.socket) -> int:
    """How many descriptors of ours are this socket."""
    same, found = f"socket:[{os.fstat(sock.fileno()).st_ino}]", 0
    for fd in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found += os.readlink(f"/proc/self/fd/{fd}") == same
    return found


@pytest.fixture
def leaky(request: pytest.FixtureRequest) -> Iterator[Leaky]:
    module: Leaky = request.param()
    yield module
    left = copies(module.ours)
    module.done()
    assert left == 1


each = pytest.mark.parametrize("leaky", LEAKS, indirect=True, ids=lambda leak: leak.__name__)


@each
def test_a_client_that_left_is_not_waited_for_longer_than_a_clean_up_may_take(leaky: Leaky) -> None:
    house = House(leaky)
    client = house.get()
    house.advance(5)
    client.leave()
    house.advance(GRACE - 5)
    assert len(house.flow.exchanges) == 1
    with capturedLogs() as logged:
        house.advance(10)
    assert not house.flow.exchanges
    assert leaky.closed
    assert any("given up" in (formatEvent(event) or "") for event in logged)
    house.assert_nothing_left()


@each
def test_a_client_that_stays_is_answered_504_when_its_module_does_not_heed_the_time_out(leaky: Leaky) -> None:
    house = House(leaky, route={"timeout": "5s"})
    client = house.get()
    house.advance(GRACE)
    assert client.status is None
    house.advance(10)
    assert client.status == 504
    assert leaky.closed
    house.assert_nothing_left()


class AsyncPieces(Leaky):
    async def pieces(self) -> Any:
        try:
            yield b"one"
            while True:
                with suppress(ClientGone):
                    await sleep(NEVER)
        finally:
            self.closed = True

    async def handle(self, request: Request) -> Response:
        return Response(body=self.pieces())


@pytest.mark.parametrize("leaky", [AsyncPieces], indirect=True)
def test_a_generator_that_goes_on_without_its_client_is_given_up(leaky: Leaky) -> None:
    house = House(leaky)
    client = house.get()
    assert b"one" in client.received
    client.leave()
    house.advance(GRACE + 5)
    assert leaky.closed
    house.assert_nothing_left()


@pytest.mark.parametrize("seconds", [1.0, GRACE - 1])
def test_a_clean_up_may_wait(seconds: float) -> None:
    class CleansUp(Module):
        ended = False

        async def handle(self, request: Request) -> Response:
            try:
                await sleep(NEVER)
            finally:
                await sleep(seconds)
                type(self).ended = True
            return Response()

    house = House(module := CleansUp())
    house.get().leave()
    house.advance(seconds + 1)
    assert module.ended
    house.assert_nothing_left()


def test_an_apology_that_a_slow_client_takes_is_not_cut() -> None:
    class Apologizes(Module):
        async def handle(self, request: Request) -> Response:
            with suppress(ParkTimeout):
                await sleep(NEVER)
            return Response.text("sorry")

    house = House(Apologizes(), route={"timeout": "5s"})
    client = house.connect()
    client.get()
    client.slow()
    house.advance(10)
    house.advance(3 * GRACE)
    client.fast()
    house.settle()
    assert (client.status, client.body) == (200, b"sorry")
    house.assert_nothing_left()


def test_code_that_runs_is_looked_at_again_when_it_has_come_to_a_wait() -> None:
    """Workers are stepped by hand: the turn that is begun is not over before its news is given."""

    class Runs(Module):
        async def handle(self, request: Request) -> Response:
            await sleep(1)
            with suppress(ClientGone):
                await sleep(NEVER)
            await sleep(NEVER)
            return Response()

    house = House(Runs())
    client = house.get()
    house.clock.advance(1)
    house.workers.take()
    client.leave()
    house.poll()
    house.wheel.advance(GRACE + 1)
    assert len(house.flow.exchanges) == 1
    house.settle()
    house.advance(10)
    house.assert_nothing_left()
