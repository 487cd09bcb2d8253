"""Date, Via and Server: what heads say of us, of those before us, and of the time."""

from __future__ import annotations

from typing import Any

import pytest

from asyncproxy import Module, Response
from asyncproxy.exchange.messages import Request
from asyncproxy.polling.signature import Signature
from tests.fakes import House

DATE = b"\r\nDate: Thu, 01 Jan 1970 00:16:4"
"""The clock begins at 1000 seconds."""
DATED = b"HTTP/1.1 200 OK\r\ndate: their own\r\nServer: theirs\r\nContent-Length: 2\r\n\r\nok"
UNDATED = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Says(Module):
    kind: str = "bytes"

    def handle(self, _request: Request) -> Response:
        fields = [("Server", "mine"), ("Date", "today")] if self.kind == "own" else []
        return Response(200, fields, iter([b"a"]) if self.kind == "pieces" else b"a")


class Forwards(Module):
    kind: str = "fields"

    async def handle(self, request: Request) -> Any:
        reply = await request.forward()
        if self.kind == "fields":
            reply.headers["x-own"] = "1"
        elif self.kind == "read":
            await reply.read()
        else:
            reply.body = b"mine"
        return reply


def asked(house: House, *replies: bytes) -> list[bytes]:
    """The heads of the responses when the upstream answers the requests of a connection so."""
    client, heads = house.connect(), []
    for reply in replies:
        before = len(client.received)
        client.get()
        house.upstream().answer(reply)
        house.settle()
        heads.append(client.received[before:].partition(b"\r\n\r\n")[0] + b"\r\n")
    return heads


@pytest.mark.parametrize("kind", ["bytes", "pieces"])
def test_a_response_of_ours_has_a_date_and_a_server(kind: str) -> None:
    client = House(Says(kind=kind)).get()
    assert client.received.count(DATE) == 1
    assert client.received.count(b"\r\nServer: asyncproxy\r\n") == 1
    assert b"Via" not in client.received


def test_a_module_may_say_them_itself() -> None:
    client = House(Says(kind="own")).get()
    assert client.received.startswith(b"HTTP/1.1 200 OK\r\nServer: mine\r\nDate: today\r\n")
    assert client.received.lower().count(b"server:") == client.received.lower().count(b"date:") == 1


@pytest.mark.parametrize("timing", [False, True])
@pytest.mark.parametrize(
    "data",
    [b"GET /else HTTP/1.1\r\nHost: a", b"GET / HTTP/1.1", b"GET /in HTTP/1.1\r\nHost: a"],
)
def test_a_refusal_has_both(data: bytes, timing: bool) -> None:
    house = House(route={"path": "/in", "server_timing": timing})
    house.network.mode = "refuse"
    client = house.connect()
    client.send(data + b"\r\n\r\n")
    house.settle()
    assert client.status in (400, 404, 502)
    assert client.received.count(DATE) == 1
    assert client.received.count(b"\r\nServer: asyncproxy\r\n") == 1


def test_an_early_head_has_both() -> None:
    house = House(route={"keep_alive": "sse", "keep_alive_every": "5s"})
    client = house.get()
    house.advance(6)
    assert client.received.count(DATE) == client.received.count(b"\r\nServer: asyncproxy\r\n") == 1


@pytest.mark.parametrize("module", ["reverse", *(Forwards(kind=kind) for kind in ("fields", "read", "body"))])
def test_what_an_upstream_says_passes_and_is_made_up_for_once(module: Any) -> None:
    house = House(module)
    for head in asked(house, *[DATED] * 4):
        assert head.lower().count(b"\r\ndate:") == 1
        assert b"\r\ndate: their own\r\n" in head
        assert b"\r\nServer: theirs\r\n" in head
        assert head.count(b"\r\nVia: 1.1 asyncproxy\r\n") == 1
    for head in asked(house, *[UNDATED] * 4):
        assert head.count(DATE) == 1
        assert b"Server" not in head
        assert head.count(b"\r\nVia: 1.1 asyncproxy\r\n") == 1
    house.assert_nothing_left()


def test_the_date_that_is_made_up_is_that_of_its_second() -> None:
    house = House()
    client = house.connect()
    for second in range(5):
        client.get()
        house.upstream().answer(UNDATED)
        house.settle()
        assert client.received.count(DATE + b"%d GMT\r\n" % second) == 1
        house.advance(1)


def test_it_is_made_once_a_second() -> None:
    now = [1.2]
    signature = Signature(wall=lambda: now[0])
    first = signature.date()
    now[0] = 1.9
    assert signature.date() is first
    now[0] = 2.0
    assert signature.date() != first
    assert signature.date() == b"\r\nDate: Thu, 01 Jan 1970 00:00:02 GMT"


def test_a_streaming_reply_is_signed_too() -> None:
    (head,) = asked(House(), b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
    assert DATE in head
    assert b"\r\nVia: 1.1 asyncproxy\r\n" in head


@pytest.mark.parametrize("module", ["reverse", Forwards(kind="fields")])
def test_via_tells_the_version_that_came(module: Any) -> None:
    house = House(module)
    client = house.connect()
    client.send(b"GET / HTTP/1.0\r\nHost: a\r\nVia: 1.1 before\r\n\r\n")
    house.settle()
    assert b"\r\nVia: 1.1 before\r\n" in house.upstream().received
    assert b"\r\nVia: 1.0 asyncproxy\r\n" in house.upstream().received
    house.upstream().answer(b"HTTP/1.0 200 OK\r\nVia: 1.1 behind\r\nContent-Length: 2\r\n\r\nok")
    house.settle()
    assert client.received.index(b"\r\nVia: 1.1 behind\r\n") < client.received.index(b"\r\nVia: 1.0 asyncproxy\r\n")
    house.assert_nothing_left()


def test_names_are_configured() -> None:
    house = House(server={"server_name": "shop/2.0", "via": "edge.example:8080"}, modules={"/own/": Says()})
    (head,) = asked(house, UNDATED)
    assert b"\r\nVia: 1.1 edge.example:8080\r\n" in head
    assert b"\r\nVia: 1.1 edge.example:8080\r\n" in house.upstream().received
    assert b"\r\nServer: shop/2.0\r\n" in house.connect().get("/own/").received


def test_names_are_left_out_but_the_via_of_requests() -> None:
    house = House(server={"server_name": "off", "via": "off"}, modules={"/own/": Says()})
    (head,) = asked(house, UNDATED)
    assert b"Via" not in head
    assert b"\r\nVia: 1.1 asyncproxy\r\n" in house.upstream().received
    own = house.connect().get("/own/").received
    assert b"Server" not in own
    assert DATE in own


def test_a_reply_that_is_mapped_for_its_client_is_signed_once_each_time() -> None:
    house = House(route={"settings": {"preserve_host": False}})
    reply = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9000/new\r\nContent-Length: 0\r\n\r\n"
    for head in asked(house, *[reply] * 5):
        assert b"\r\nLocation: http://a/new\r\n" in head
        assert head.count(b"\r\nVia: 1.1 asyncproxy\r\n") == 1
        assert head.count(DATE) == 1
