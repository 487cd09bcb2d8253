"""What an attacker who had read the source tried, and got through with; each stays shut."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from asyncproxy import Headers, Module, Response, sleep
from asyncproxy.exchange.messages import Request
from asyncproxy.exchange.networks import Networks
from asyncproxy.exchange.peers import Trust
from tests.fakes import GET, FakeClient, House

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
INTRODUCED = b"PROXY TCP4 9.9.9.9 2.2.2.2 1 2\r\n" + GET


class Judge(Module):
    """Gives a reply another status, where the path says so."""

    async def handle(self, request: Request) -> Any:
        reply = await request.forward()
        if request.path != "/":
            reply.status = int(request.path[1:])
        return reply


def test_a_status_that_a_module_gives_one_reply_is_not_that_of_the_next_ones() -> None:
    house = House(Judge())
    client = house.connect()
    for path in ("/", "/503", "/", "/"):
        client.get(path)
        house.upstream().answer(OK)
        house.settle()
    assert client.statuses == [200, 503, 200, 200]
    assert len(house.network.asked) == 1


@pytest.mark.parametrize("status", [99, 100, 101, 103, 199, 600, 1000])
@pytest.mark.parametrize("pieces", [[OK], [OK[:-2], b"ok"]])
def test_a_reply_that_a_module_gives_a_status_that_ends_nothing_is_a_500(status: int, pieces: list[bytes]) -> None:
    house = House(Judge())
    client = house.connect().get(f"/{status}")
    for piece in pieces:
        house.upstream().answer(piece)
        house.settle()
    client.get("/")
    house.upstream().answer(OK)
    house.settle()
    assert client.statuses == [500, 200]
    house.assert_nothing_left()


@pytest.mark.parametrize("status", [99, 100, 101, 103, 199, 600, 1000])
def test_a_response_that_a_module_gives_a_status_that_ends_nothing_is_a_500(status: int) -> None:
    class Answers(Module):
        async def handle(self, request: Request) -> Any:
            response = Response.text("body")
            response.status = status
            return response

    house = House(Answers())
    assert house.get().status == 500
    house.assert_nothing_left()


class Adds(Module):
    """Forwards its client's fields, and one of its own."""

    async def handle(self, request: Request) -> Any:
        headers = Headers(request.headers)
        headers["X-Own"] = request.headers["host"]
        return await request.forward(headers=headers)


def test_a_host_that_the_target_wins_over_is_nowhere_not_in_fields_that_a_module_copies_either() -> None:
    house = House(Adds())
    house.connect().send(b"GET http://good.example/x HTTP/1.1\r\nhost: evil.example\r\nA: b\r\n\r\n")
    house.settle()
    head = house.upstream().received
    assert b"\r\nHost: good.example\r\n" in head
    assert b"\r\nX-Own: good.example\r\n" in head
    assert b"\r\nA: b\r\n" in head
    assert b"evil" not in head


class Twice(Module):
    async def handle(self, request: Request) -> Any:
        return await request.forward(headers=[("Host", "a"), ("host", "b")])


def test_a_module_cannot_forward_two_hosts() -> None:
    house = House(Twice())
    assert house.get().status == 500
    assert not house.network.asked


@pytest.mark.parametrize("size", [1, 2, 3, 7, 4096])
def test_a_long_head_may_come_in_pieces_of_any_size_behind_another_request(size: int) -> None:
    house = House()
    client = house.connect()
    fields = b"".join(b"A%d: %b\r\n" % (number, b"x" * 200) for number in range(40))
    wire = (GET[:-2] + fields + b"\r\n") * 3
    for at in range(0, len(wire), size):
        client.send(wire[at : at + size])
    for _ in range(3):
        house.settle()
        assert house.upstream().received.endswith(b"\r\n\r\n")
        house.upstream().answer(OK)
    house.settle()
    assert client.statuses == [200, 200, 200]


@pytest.mark.parametrize("fault", [b"\n", b"\r\r", b"\rB"])
def test_a_long_head_that_comes_byte_by_byte_is_refused_at_its_first_fault(fault: bytes) -> None:
    house = House()
    client = house.connect()
    wire = GET[:-2] + b"A: " + b"x" * 5000 + b"\r\nB: c" + fault
    for at in range(len(wire)):
        assert client.status is None
        client.send(wire[at : at + 1])
    assert client.status == 400


@pytest.mark.parametrize("fault", [b"\n", b"\r\r", b"\rB"])
def test_a_long_reply_that_comes_byte_by_byte_is_refused_at_its_first_fault(fault: bytes) -> None:
    house = House()
    client = house.get()
    wire = b"HTTP/1.1 200 OK\r\nA: " + b"x" * 5000 + b"\r\nB: c" + fault
    for at in range(len(wire)):
        assert client.status is None
        house.upstream().answer(wire[at : at + 1])
    assert client.status == 502


@pytest.mark.parametrize("size", [1, 3, 4096])
def test_a_long_reply_may_come_in_pieces_of_any_size(size: int) -> None:
    house = House()
    client = house.get()
    wire = OK.replace(b"\r\n", b"\r\n" + b"".join(b"A%d: %b\r\n" % (one, b"x" * 200) for one in range(40)), 1)
    for at in range(0, len(wire), size):
        house.upstream().answer(wire[at : at + size])
    house.settle()
    assert client.status == 200
    assert b"\r\nA39: " + b"x" * 200 + b"\r\n" in client.received


class Later(Module):
    async def handle(self, request: Request) -> Any:
        await sleep(1)
        return Response.text(str(len(await request.read())))


class Whole(Module):
    def handle(self, request: Request) -> Any:
        return Response.text(str(len(request.data)))


@pytest.mark.parametrize("module", [Later(), Whole()])
def test_a_body_in_pieces_of_a_byte_takes_no_more_memory_than_its_size(module: Module) -> None:
    house = House(module)
    client = house.connect()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20002\r\n\r\na")
    house.settle()
    tracemalloc.start()
    try:
        for number in range(10_000):
            client.send(b"%02d" % (number % 97))
        assert tracemalloc.get_traced_memory()[0] < 100_000
    finally:
        tracemalloc.stop()
    client.send(b"a")
    house.advance(1)
    assert client.body == b"20002"


class Bare(Module):
    async def handle(self, request: Request) -> Any:
        return await request.forward(headers=[("A", "b")])


def test_the_host_of_a_request_that_has_none_is_the_servers_beside_fields_of_a_module_too() -> None:
    house = House(Bare())
    house.connect().send(b"GET / HTTP/1.0\r\n\r\n")
    house.settle()
    assert house.upstream().received.startswith(b"GET / HTTP/1.1\r\nHost: 127.0.0.1:9000\r\nA: b\r\n")


def introduced_across_a_reload(network: str) -> tuple[House, FakeClient]:
    """A trusted peer begins to introduce its client, and goes on when the trusted are those of `network`."""
    house = House(server={"trusted": ["127.0.0.1"], "proxy_protocol": True})
    client = house.connect()
    client.send(INTRODUCED[:10])
    house.door.believe(Trust(Networks([network]), proxy_protocol=True))
    client.send(INTRODUCED[10:])
    house.settle()
    return house, client


def test_a_peer_that_is_trusted_no_more_cannot_introduce_anybody() -> None:
    house, client = introduced_across_a_reload("10.0.0.0/8")
    assert client.closed
    assert not house.network.asked
    house.assert_nothing_left()


def test_a_peer_that_is_still_trusted_after_a_reload_introduces_its_client() -> None:
    house, _ = introduced_across_a_reload("127.0.0.0/8")
    assert b"\r\nX-Forwarded-For: 9.9.9.9\r\n" in house.upstream().received
