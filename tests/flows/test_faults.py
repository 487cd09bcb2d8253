"""What goes wrong at every byte of a reply, and at any moment of an exchange; each other fault stands with its kind."""

from __future__ import annotations

import concurrent.futures
import gc
import os
import random
import socket
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any, ClassVar

import pytest
from twisted.internet.defer import Deferred

from asyncproxy import ClientGone, Module, Park, Request, Response, gather, on_reactor, readable, sleep
from asyncproxy.polling.flow import Exchange
from asyncproxy.testing import Lab
from tests.fakes import House

# A reply that is cut.

HEAD = b"HTTP/1.1 200 OK\r\nServer: s\r\n"
REPLIES = {
    "length": HEAD + b"Content-Length: 11\r\n\r\nhello world",
    "chunked": HEAD + b"Transfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n5;a=b\r\nworld\r\n0\r\n\r\n",
    "chunked with trailers": HEAD + b"Transfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\nX-Sum: 1\r\n\r\n",
}


class Passing(Module):
    async def handle(self, request: Request) -> Response:
        return await request.forward()


class Rewriting(Module):
    async def handle(self, request: Request) -> Response:
        reply = await request.forward()
        reply.body = (await reply.read()).upper()
        return reply


def well_formed(received: bytes) -> bool:
    """Whether a client takes `received` for a whole response."""
    head, _, body = received.partition(b"\r\n\r\n")
    if b"Transfer-Encoding: chunked" in head:
        return body.endswith((b"0\r\n\r\n", b"0\r\nX-Sum: 1\r\n\r\n"))
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return bool(length) and len(body) >= int(length)


@pytest.mark.parametrize("pieces", [1, 2], ids=["at once", "head first"])
@pytest.mark.parametrize("module", ["reverse", Passing, Rewriting], ids=["reverse", "forward", "read"])
@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
def test_a_reply_cut_at_any_byte_is_a_502_or_a_cut_connection(reply: bytes, module: Any, pieces: int) -> None:
    for cut in range(len(reply)):
        house = House(module if isinstance(module, str) else module())
        client = house.get()
        middle = reply.find(b"\r\n\r\n") + 4 if pieces == 2 else cut
        for piece in (reply[: min(middle, cut)], reply[middle:cut]):
            if piece:
                house.upstream().answer(piece)
                house.settle()
        house.upstream().hang_up()
        house.settle()
        if client.status == 502:
            assert well_formed(client.received), (cut, client.received)
        else:
            assert client.wire.aborted, (cut, client.received)
            assert not well_formed(client.received), (cut, client.received)
        house.assert_nothing_left()


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
def test_a_reply_that_is_whole_is_neither(reply: bytes) -> None:
    house = House()
    client = house.get()
    house.upstream().answer(reply)
    house.settle()
    house.upstream().hang_up()
    house.settle()
    assert client.status == 200
    assert well_formed(client.received)
    assert not client.wire.aborted
    house.assert_nothing_left()


# A coroutine of a gather that was about to go on when another one failed.


class FailsBeside(Module):
    """`first` fails while the child that awaits `second` is about to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.first: Deferred[None] = Deferred()
        self.second: Deferred[None] = Deferred()
        self.closed = 0

    async def child(self) -> None:
        try:
            await on_reactor(lambda: self.second)
            await sleep(1000)
        finally:
            self.closed += 1

    async def handle(self, request: Request) -> Response:
        reply = await request.forward() if request.path == "/forward" else Response.text("failed")
        with suppress(LookupError):
            await gather(on_reactor(lambda: self.first), self.child())
        return reply

    def fail(self) -> None:
        self.second.callback(None)
        self.first.errback(LookupError())


def test_a_coroutine_that_was_about_to_go_on_is_closed_though_its_exchange_is_over() -> None:
    house = House(module := FailsBeside())
    client = house.get()
    module.fail()
    house.settle()
    assert client.body == b"failed"
    assert module.closed == 1
    house.assert_nothing_left()


def test_a_coroutine_that_is_closed_while_its_exchange_ends_hurts_nobody(failures: list[Any]) -> None:
    house = House(module := FailsBeside())
    client = house.get("/forward")
    house.upstream().answer(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
    house.settle()
    module.fail()
    house.workers.step()  # the child goes on
    house.workers.step()  # the module answers
    house.workers.take()  # the child is closed, and nobody knows yet
    house.upstream().answer(b"cd")
    house.poll()
    assert (client.body, module.closed) == (b"abcd", 1)
    house.settle()
    assert failures == []
    house.assert_nothing_left()


# What code that raised had open.


class Thing:
    """Something that is let go when nobody has it."""


class RaisesWithAThing(Module):
    things: ClassVar[list[weakref.ref[Thing]]] = []

    async def handle(self, request: Request) -> Response:
        return self.fails() if request.path == "/at-once" else await self.fails_later()

    def fails(self) -> Response:
        thing = Thing()
        self.things.append(weakref.ref(thing))
        raise ValueError("on purpose")

    async def fails_later(self) -> Response:
        thing = Thing()
        self.things.append(weakref.ref(thing))
        await sleep(1)
        raise ValueError("on purpose")


@pytest.mark.parametrize("path", ["/at-once", "/later"])
def test_what_a_coroutine_that_raised_had_is_let_go_at_once(path: str) -> None:
    house = House(module := RaisesWithAThing())
    gc.disable()
    try:
        client = house.get(path)
        house.advance(2)
        assert client.status == 500
        assert module.things.pop()() is None
    finally:
        gc.enable()


# Exchanges that are cancelled at any moment.

EXCHANGES = 10_000


class Sleeps(Module):
    async def handle(self, request: Request) -> Response:
        with suppress(ClientGone):
            await sleep(2)
        await sleep(1)
        return Response.text("slept")


class Gathers(Module):
    async def child(self) -> None:
        try:
            await sleep(3)
        finally:
            await sleep(0)

    async def handle(self, request: Request) -> Response:
        await gather(self.child(), self.child(), sleep(5), request.forward("one"))
        return Response.text("gathered")


class Watches(Module):
    """By `Park`, on a real descriptor."""

    def handle(self, request: Request) -> Park:
        ours, theirs = socket.socketpair()
        theirs.close()
        return Park(readable(ours), resume=self.came, context=ours, timeout=4)

    def came(self, _request: Request, woken: Any) -> Response:
        woken.context.close()
        return Response.text("came")


class Makes(Module):
    def pieces(self) -> Iterator[bytes]:
        for _ in range(5):
            yield b"piece"

    def handle(self, request: Request) -> Response:
        return Response(body=self.pieces())


class MakesSlowly(Module):
    async def pieces(self) -> AsyncIterator[bytes]:
        for _ in range(5):
            await sleep(0.5)
            yield b"piece"

    async def handle(self, request: Request) -> Response:
        return Response(body=self.pieces())


class Awaits(Module):
    async def handle(self, request: Request) -> Response:
        await gather(on_reactor(int), concurrent.futures.Future(), sleep(6))
        return Response()


class Uploads(Module):
    async def handle(self, request: Request) -> Response:
        return Response.text(str(len(await request.read())))


class Raises(Module):
    async def handle(self, request: Request) -> Response:
        await sleep(1)
        raise ValueError("on purpose")


KINDS = (Sleeps, Gathers, Watches, Makes, MakesSlowly, Awaits, Uploads, Raises, Passing, Rewriting)
CONFIGURATION: dict[str, Any] = {
    "server": {"max_queued": 100_000},
    "upstream": {"one": {"servers": "http://one"}},
    "route": [
        {"path": "/reverse", "module": "reverse", "upstream": "one"},
        *({"path": f"/{kind.__name__}", "module": kind, "upstream": "one", "timeout": "20s"} for kind in KINDS),
    ],
}
PATHS = ("/reverse", *(f"/{kind.__name__}" for kind in KINDS))


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def cancel_at_random(lab: Lab, seed: int, count: int) -> None:
    """`count` requests, stepped, answered, delayed and left as `seed` says."""
    chance = random.Random(seed)
    there: list[Any] = []
    for _ in range(count):
        path = chance.choice(PATHS)
        if path == "/Uploads":
            request = lab.upload("POST", path)
            request.send(b"some")
        else:
            request = lab.get(path)
        there.append(request)
        for _ in range(chance.randrange(12)):
            lab.step()
        if chance.random() < 0.1:
            for asked in lab.upstream("one").requests[-3:]:
                if asked.waiting:
                    asked.answer(body=b"reply") if chance.random() < 0.7 else asked.fail("reset")
        if chance.random() < 0.02:
            lab.advance(chance.random())
        while len(there) > 200 or (there and chance.random() < 0.5):
            there.pop(chance.randrange(len(there))).leave()
    for request in there:
        request.leave()


@pytest.mark.parametrize("seed", [1, 2])
def test_exchanges_cancelled_at_random_moments_leave_nothing(seed: int) -> None:
    gc.collect()
    before, threads = descriptors(), threading.active_count()
    lab = Lab(CONFIGURATION, seed=seed, settle=False, allow_parked=True)
    lab.house.flow.prefix = f"lab{seed}"
    cancel_at_random(lab, seed, EXCHANGES // 2)
    lab.settle()
    lab.advance(100)
    house = lab.house
    assert house.flow.served == EXCHANGES // 2
    assert not house.flow.exchanges
    assert not house.lot.parked
    assert not house.descriptors.readers
    assert house.workers.statistics() == {"total": 5, "busy": 0, "queued": 0}
    assert lab.stop() == []
    assert lab.clock.getDelayedCalls() == []
    for statistics in house.upstreams.statistics().values():
        assert set(statistics.values()) == {0}, statistics
    del house, lab
    gc.collect()
    assert not [one for one in gc.get_objects() if isinstance(one, Exchange) and one.flow.prefix == f"lab{seed}"]
    assert (descriptors(), threading.active_count()) == (before, threads)
