"""Responses without a body: to HEAD, and 204, 205 and 304, whatever upstreams and modules say."""

from __future__ import annotations

from typing import Any

import pytest

from asyncproxy import Module, Response
from asyncproxy.exchange.messages import Request
from tests.fakes import House

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
FRAMINGS = {
    "length": b"Content-Length: 4\r\n\r\nbody",
    "chunks": b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    "nothing": b"Content-Length: 0\r\n\r\n",
}


class Says(Module):
    status: int = 204
    kind: str = "bytes"

    def handle(self, _request: Request) -> Response:
        headers = [("Content-Length", "7"), ("Transfer-Encoding", "chunked"), ("X-Own", "1")]
        return Response(self.status, headers, iter([b"bo", b"dy"]) if self.kind == "pieces" else b"body")


class Rewrites(Module):
    """Gives the upstream's reply another status."""

    status: int = 204

    async def handle(self, request: Request) -> Any:
        reply = await request.forward()
        reply.status = self.status
        return reply


def head_of(client: Any) -> bytes:
    head, _, body = client.received.rpartition(b"\r\n\r\n")
    assert body == b""
    return bytes(head) + b"\r\n"


def framed(head: bytes) -> list[bytes]:
    return [line for line in head.split(b"\r\n") if line.lower().startswith((b"content-length", b"transfer-"))]


@pytest.mark.parametrize("kind", ["bytes", "pieces"])
@pytest.mark.parametrize(("status", "told"), [(204, []), (205, [b"Content-Length: 0"])])
def test_a_modules_body_does_not_go_out(status: int, told: list[bytes], kind: str) -> None:
    house = House(Says(status=status, kind=kind))
    client = house.get()
    assert framed(head_of(client)) == told
    client.get()
    assert client.statuses == [status, status]
    house.assert_nothing_left()


def test_a_304_and_a_head_may_tell_the_length_of_the_body_that_is_not_there() -> None:
    assert framed(head_of(House(Says(status=304)).get())) == [b"Content-Length: 4"]
    client = House(Says(status=200)).connect()
    client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    client.house.settle()
    assert framed(head_of(client)) == [b"Content-Length: 4"]


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_205_has_no_body_though_its_upstream_sends_one(framing: str, split: bool) -> None:
    house = House()
    client = house.get()
    data = b"HTTP/1.1 205 Reset Content\r\nX-A: b\r\n" + FRAMINGS[framing]
    for piece in [data[:-6], data[-6:]] if split else [data]:
        house.upstream().answer(piece)
        house.settle()
    assert framed(head_of(client)) == [b"Content-Length: 0"]
    client.get()
    house.upstream().answer(OK)
    house.settle()
    assert client.statuses == [205, 200]
    assert client.body == b"ok"
    house.assert_nothing_left()


@pytest.mark.parametrize("module", ["reverse", Rewrites(status=205)])
@pytest.mark.parametrize("head", [b"204 No Content", b"304 Not Modified"])
def test_a_status_that_a_module_changes_decides(head: bytes, module: Any) -> None:
    house = House(module)
    client = house.get()
    house.upstream().answer(b"HTTP/1.1 " + head + b"\r\nX: y\r\n\r\n")
    house.settle()
    assert framed(head_of(client)) == ([] if module == "reverse" else [b"Content-Length: 0"])
    assert house.pool()["idle"] == 1
    house.assert_nothing_left()


@pytest.mark.parametrize("status", [204, 205, 304])
@pytest.mark.parametrize("split", [False, True])
def test_a_body_under_a_status_that_has_none_is_dropped(status: int, split: bool) -> None:
    house = House(Rewrites(status=status))
    client = house.get()
    house.upstream().answer(OK[:-1] if split else OK)
    house.settle()
    told = {204: [], 205: [b"Content-Length: 0"], 304: [b"Content-Length: 2"]}[status]
    assert framed(head_of(client)) == told
    client.get()
    house.upstream().answer(OK)
    house.settle()
    assert client.statuses == [status, status]
    house.assert_nothing_left()


def test_a_204_that_announces_a_body_is_the_last_of_its_connection() -> None:
    house = House()
    client = house.get()
    house.upstream().answer(b"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\n")
    house.settle()
    assert framed(head_of(client)) == []
    assert house.pool()["idle"] == 0
    assert b"Connection: close" not in client.received
    house.assert_nothing_left()


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_reply_to_head_tells_its_length_and_has_no_body(framing: str) -> None:
    house = House()
    client = house.connect()
    for _ in range(3):
        client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        house.settle()
        head = FRAMINGS[framing].partition(b"\r\n\r\n")[0]
        house.upstream().answer(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n")
        house.settle()
        assert framed(head_of(client))[-1:] == ([] if framing == "chunks" else [head])
    assert len(house.network.asked) == 1
    house.assert_nothing_left()


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("body", [b"body", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"])
def test_a_body_behind_a_reply_to_head_is_nobodys(body: bytes, split: bool) -> None:
    house = House()
    client = house.connect()
    client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    house.settle()
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    for piece in [head, body] if split else [head + body]:
        house.upstream().answer(piece)
        house.settle()
    assert house.pool()["idle"] == 0
    client.get()
    house.upstream().answer(OK)
    house.settle()
    assert client.statuses == [200, 200]
    assert client.body == b"ok"
    assert b"evil" not in client.received
    house.assert_nothing_left()
