"""`Server-Timing`, as the clients of a route that tells it see it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from asyncproxy import Module, Request, Response, sleep
from tests.fakes import GET, FakeClient, House

ON = {"server_timing": True}


def told(client: FakeClient) -> list[str]:
    """The values of the fields of the one response that the client has, in order."""
    head, *_ = client.received.split(b"\r\n\r\n")
    return [value.decode() for value in re.findall(rb"\r\n(?i:server-timing): ([^\r]*)", head)]


class Blocks(Module):
    """Takes a while on its worker."""

    def handle(self, _request: Request) -> Any:
        self.proxy.wheel.advance(0.25)
        return Response.text("done")


class Walks(Module):
    """Works, is parked, asks an upstream, works again."""

    async def handle(self, request: Request) -> Response:
        self.proxy.wheel.advance(0.25)
        await sleep(2)
        reply = await request.forward()
        self.proxy.wheel.advance(0.25)
        return reply


class WalksHere(Walks):
    blocking = False


class BlocksHere(Blocks):
    blocking = False


class Streams(Module):
    def handle(self, _request: Request) -> Response:
        self.proxy.wheel.advance(0.25)
        return Response(body=self.pieces())

    def pieces(self) -> Iterator[bytes]:
        self.proxy.wheel.advance(0.5)
        yield b"piece"


class StreamsAsync(Streams):
    async def handle(self, _request: Request) -> Response:  # type: ignore[override]
        self.proxy.wheel.advance(0.25)
        return Response(body=self.parked_pieces())

    async def parked_pieces(self) -> AsyncIterator[bytes]:
        await sleep(1)
        yield b"piece"


class Fails(Module):
    def handle(self, _request: Request) -> Response:
        self.proxy.wheel.advance(0.25)
        raise ValueError("a module's own")


def test_a_reply_that_is_whole_tells_how_long_its_upstream_took() -> None:
    house = House(route=ON)
    client = house.get()
    house.advance(0.012)
    house.upstream().answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    house.settle()
    assert told(client) == ["upstream;dur=12.0"]
    assert client.body == b"ok"


def test_a_reply_that_streams_tells_it_in_its_head() -> None:
    house = House(route=ON)
    client = house.get()
    house.advance(1.5)
    house.upstream().answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    house.settle()
    house.advance(5)
    house.upstream().answer(b"0\r\n\r\n")
    house.settle()
    assert told(client) == ["upstream;dur=1500.0"]


def test_what_an_upstream_tells_of_itself_is_kept() -> None:
    house = House(route=ON)
    client = house.get()
    house.advance(0.1)
    house.upstream().answer(b'HTTP/1.1 200 OK\r\nServer-Timing: db;dur=53;desc="a"\r\nContent-Length: 0\r\n\r\n')
    house.settle()
    assert told(client) == ['db;dur=53;desc="a"', "upstream;dur=100.0"]


@pytest.mark.parametrize("module", [Blocks, BlocksHere], ids=lambda module: module.__name__)
def test_work_is_told_wherever_it_was_done(module: type[Module]) -> None:
    house = House(module(), route=ON)
    assert told(house.get()) == ["working;dur=250.0"]


@pytest.mark.parametrize("module", [Walks, WalksHere], ids=lambda module: module.__name__)
def test_every_stage_up_to_the_head_is_told(module: type[Module]) -> None:
    house = House(module(), route=ON)
    house.clock = house.wheel
    house.lot.clock, house.lot.seconds = house.wheel, house.wheel.seconds
    client = house.get()
    house.advance(2)
    house.advance(0.75)
    house.upstream().answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    house.settle()
    assert told(client) == ["working;dur=500.0, parked;dur=2000.0, upstream;dur=750.0"]


def test_a_wait_for_a_worker_is_told() -> None:
    house = House(Blocks(), route=ON)
    client = house.connect()
    client.send(GET)
    house.poll()
    house.wheel.advance(0.0042)
    house.settle()
    assert told(client) == ["queued;dur=4.2, working;dur=250.0"]


@pytest.mark.parametrize("module", [Streams, StreamsAsync], ids=lambda module: module.__name__)
def test_a_body_in_pieces_has_it_in_its_head_for_what_came_before(module: type[Module]) -> None:
    house = House(module(), route=ON)
    client = house.get()
    house.advance(1)
    assert told(client) == ["working;dur=250.0"]
    assert b"piece" in client.body


def test_an_error_of_ours_tells_it_too() -> None:
    house = House(Fails(), route=ON)
    client = house.get()
    assert (client.status, told(client)) == (500, ["working;dur=250.0"])
    assert b"Content-Length: %d" % len(client.body) in client.received


def test_an_upstream_that_is_not_there_is_told_with_the_error() -> None:
    house = House(route={**ON, "timeout": "3s"})
    client = house.get()
    house.advance(3)
    assert (client.status, told(client)) == (504, ["upstream;dur=3000.0"])


def test_a_request_that_waited_in_vain_for_a_worker_is_told_so() -> None:
    house = House(Blocks(), route={**ON, "timeout": "3s"})
    client = house.connect()
    client.send(GET)
    house.poll()
    for _ in range(8):
        house.wheel.advance(0.5)
        house.poll()
    assert client.status == 504
    assert re.fullmatch(r"queued;dur=3[05]00\.0", *told(client))


def test_an_answer_that_took_no_time_tells_nothing() -> None:
    class Hello(Module):
        def handle(self, _request: Request) -> Response:
            return Response.text("hello")

    house = House(Hello(), route=ON)
    client = house.get()
    assert (client.status, told(client)) == (200, [])


def test_who_does_not_ask_for_it_is_not_told_and_pays_nothing() -> None:
    house = House()
    (binding,) = house.bindings
    client = house.get()
    assert binding.at_once
    assert house.exchange().client is next(iter(house.door.connections))
    house.advance(1)
    house.upstream().answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    house.settle()
    assert (client.status, told(client)) == (200, [])


def test_the_log_and_the_tally_know_such_a_request_as_any_other() -> None:
    house = House(route=ON)
    client = house.get()
    house.upstream().answer(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok")
    house.settle()
    client.send(GET)
    house.settle()
    client.leave()
    house.settle()
    assert [(record.status, record.size) for record in house.records] == [(201, 2), (0, 0)]
    house.assert_nothing_left()


def test_each_request_of_a_connection_tells_its_own_time() -> None:
    house = House(route=ON)
    client = house.get()
    for seconds in (1, 2):
        house.advance(seconds)
        house.upstream().answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        house.settle()
        client.get()
    told_by_all = re.findall(rb"Server-Timing: ([^\r]*)", client.received)
    assert told_by_all == [b"upstream;dur=1000.0", b"upstream;dur=2000.0"]


def test_times_are_told_in_tenths_of_milliseconds() -> None:
    house = House(route=ON)
    client = house.get()
    house.advance(1 / 3)
    house.upstream().answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    house.settle()
    assert told(client) == ["upstream;dur=333.3"]


def test_diagnoses_name_the_client_behind() -> None:
    house = House(route=ON)
    house.get()
    assert repr(house.exchange().client).startswith("<Timed <ClientConnection 127.0.0.1:4000 with <Exchange")


class Waits(Module):
    async def handle(self, _request: Request) -> Response:
        await sleep(20)
        return Response.text("data: done\n\n", headers=[("content-type", "text/event-stream")])


@pytest.mark.parametrize(("keep_alive", "expected"), [("sse", 15), ("102", 20)])
def test_a_head_that_goes_out_early_tells_the_time_up_to_then(keep_alive: str, expected: int) -> None:
    house = House(Waits(), route={**ON, "keep_alive": keep_alive, "keep_alive_every": "15s"})
    house.clock = house.lot.clock = house.wheel
    client = house.get()
    house.advance(20)
    final = client.received[client.received.index(b"HTTP/1.1 200") :]
    assert re.findall(rb"Server-Timing: ([^\r]*)", final) == [b"parked;dur=%d000.0" % expected]
    assert client.received.count(b"Server-Timing") == 1
    assert b"data: done" in final
