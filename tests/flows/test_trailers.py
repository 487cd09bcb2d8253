"""Trailers, both ways: which reach the other side, and what a module reads of them."""

from __future__ import annotations

from typing import Any

import pytest

from asyncproxy import Module, Response
from asyncproxy.exchange.messages import Request
from tests.fakes import House

POST = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
BODY = b"4\r\ndata\r\n0\r\n"
SUM = b"X-Sum: 7f\r\nX-Two: b\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"


class Reads(Module):
    """Reads the body in some way, forwards, and tells the trailers of both."""

    whole: Any = "yes"
    whole_body = False

    async def handle(self, request: Request) -> Any:
        before = list(request.trailers)
        await request.read()
        reply = await request.forward()
        body = await reply.read() if self.whole == "yes" else b"".join([piece async for piece in reply.body])
        told = [before, list(request.trailers), list(reply.trailers)]
        return Response.text(f"{body.decode()} {told}")


class Whole(Module):
    def handle(self, request: Request) -> Any:
        assert request.length == 0 or request.trailers["x-sum"] == "7f"
        return request.forward()


class OwnFields(Module):
    async def handle(self, request: Request) -> Any:
        return await request.forward(headers=[*request.headers, ("x-own", "1")])


class Adds(Module):
    async def handle(self, request: Request) -> Any:
        reply = await request.forward()
        reply.headers["x-own"] = "1"
        return reply


def posted(house: House, head: bytes = POST, trailers: bytes = SUM) -> Any:
    client = house.connect()
    client.send(head)
    house.settle()
    client.send(BODY + trailers + b"\r\n")
    house.settle()
    return client


@pytest.mark.parametrize("module", ["reverse", Whole(), OwnFields()])
def test_a_requests_trailers_reach_the_upstream(module: Any) -> None:
    house = House(module)
    client = posted(house)
    assert house.upstream().received.endswith(b"\r\n\r\n4\r\ndata\r\n0\r\nX-Sum: 7f\r\nX-Two: b\r\n\r\n")
    assert b"\r\nTrailer: X-Sum\r\n" in house.upstream().received
    house.upstream().answer(OK)
    house.settle()
    client.get()
    house.upstream().answer(OK)
    house.settle()
    assert client.statuses == [200, 200]
    house.assert_nothing_left()


@pytest.mark.parametrize("split", [None, 1, 5])
@pytest.mark.parametrize("module", ["reverse", Adds()])
def test_a_replys_trailers_reach_the_client(module: Any, split: int | None) -> None:
    house = House(module)
    client = house.get()
    data = CHUNKED + BODY + SUM + b"\r\n"
    for at in range(0, len(data), split or len(data)):
        house.upstream().answer(data[at : at + (split or len(data))])
    house.settle()
    assert client.received.endswith(b"0\r\nX-Sum: 7f\r\nX-Two: b\r\n\r\n")
    assert b"\r\nTrailer: X-Sum\r\n" in client.received
    client.get()
    house.upstream().answer(OK)
    house.settle()
    assert client.statuses == [200, 200]
    assert len(house.network.asked) == 1
    house.assert_nothing_left()


def test_http_1_0_has_no_room_for_them() -> None:
    house = House()
    client = house.connect()
    client.send(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
    house.settle()
    house.upstream().answer(CHUNKED + BODY + SUM + b"\r\n")
    house.settle()
    assert client.body == b"data"
    assert b"X-Sum: 7f" not in client.received
    house.assert_nothing_left()


@pytest.mark.parametrize("whole", ["yes", "no"])
def test_a_module_reads_them_once_the_body_is_through(whole: str) -> None:
    house = House(Reads(whole=whole))
    client = posted(house)
    house.upstream().answer(CHUNKED + BODY + b"X-Back: c\r\n\r\n")
    house.settle()
    assert client.body.decode() == "data [[], [('X-Sum', '7f'), ('X-Two', 'b')], [('X-Back', 'c')]]"
    assert house.upstream().received.endswith(b"0\r\nX-Sum: 7f\r\nX-Two: b\r\n\r\n")
    house.assert_nothing_left()


def test_a_modules_trailers_are_read_only() -> None:
    request = Request("GET", b"/")
    with pytest.raises(TypeError):
        request.trailers["x"] = "y"


@pytest.mark.parametrize("spool", ["1MiB", "1KiB"])
def test_a_body_that_was_kept_in_a_file_keeps_its_trailers(spool: str) -> None:
    house = House(Whole(), limits={"spool": spool})
    client = house.connect()
    client.send(POST + b"fa0\r\n" + b"x" * 4000 + b"\r\n0\r\n" + SUM + b"\r\n")
    house.settle()
    assert house.upstream().received.endswith(b"0\r\nX-Sum: 7f\r\nX-Two: b\r\n\r\n")
    house.upstream().answer(OK)
    house.settle()
    assert client.statuses == [200]
    house.assert_nothing_left()


def test_what_the_head_names_hop_by_hop_and_the_requests_id_stay_here() -> None:
    said = b"X-Hop: a\r\nX-Request-ID: forged\r\nX_Request_Id: too\r\nX-Sum: 7f\r\n"
    house = House()
    client = posted(house, POST.replace(b"Trailer: X-Sum", b"Connection: x-hop"), said)
    assert house.upstream().received.endswith(b"0\r\nX-Sum: 7f\r\n\r\n")
    head = CHUNKED.replace(b"Trailer: X-Sum", b"Connection: keep-alive, X-HOP")
    house.upstream().answer(head + BODY + said + b"\r\n")
    house.settle()
    assert client.received.endswith(b"0\r\nX-Sum: 7f\r\n\r\n")
    house.assert_nothing_left()


def test_a_request_that_is_sent_again_has_them_still() -> None:
    house = House()
    client = house.get()
    house.upstream().answer(OK)
    house.settle()
    client.send(b"PUT" + POST[4:] + BODY + SUM + b"\r\n")
    house.settle()
    house.upstream().hang_up()
    house.settle()
    assert len(house.network.asked) == 2
    assert house.upstream().received.endswith(b"\r\n\r\n4\r\ndata\r\n0\r\nX-Sum: 7f\r\nX-Two: b\r\n\r\n")
    house.upstream().answer(OK)
    house.settle()
    assert client.statuses == [200, 200]
    house.assert_nothing_left()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"trailers", True),
        (b"deflate;q=0.5, TRAILERS", True),
        (b"gzip\r\nTE: trailers", True),
        (b"gzip", False),
        (b"trailers-not", False),
        (b"", False),
    ],
)
@pytest.mark.parametrize("module", ["reverse", OwnFields()])
def test_whether_the_client_takes_trailers_is_told_onward_anew(module: Any, said: bytes, told: bool) -> None:
    house = House(module)
    client = house.connect()
    for _ in range(2):
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: TE\r\nTE: " + said + b"\r\n\r\n")
        house.settle()
        house.upstream().answer(OK)
        house.settle()
    received = house.upstream().received
    assert received.count(b"\r\nTE: trailers\r\nConnection: TE\r\n") == (2 if told else 0)
    assert received.lower().count(b"\r\nte:") == (2 if told else 0)
    house.assert_nothing_left()


def test_an_early_heads_body_may_have_them_too() -> None:
    house = House(route={"keep_alive": "json", "keep_alive_every": "5s"})
    client = house.get()
    house.advance(6)
    head = CHUNKED.replace(b"Trailer: X-Sum", b"Content-Type: application/json")
    house.upstream().answer(head + BODY + SUM + b"\r\n")
    house.settle()
    assert client.received.endswith(b"4\r\ndata\r\n0\r\nX-Sum: 7f\r\nX-Two: b\r\n\r\n")
    house.assert_nothing_left()
