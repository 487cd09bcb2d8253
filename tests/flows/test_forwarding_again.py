"""Forwards of bodies that were collected or read, and with a target or fields of the module's own."""

from __future__ import annotations

from typing import Any

import pytest

from asyncproxy import Module, Park, Response, gather
from asyncproxy.exchange.messages import Request
from tests.fakes import House

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class PlainForward(Module):
    """Has the whole body, and forwards it."""

    def handle(self, request: Request) -> Any:
        assert request.data
        return request.forward()


class ReadThenForward(Module):
    async def handle(self, request: Request) -> Any:
        await request.read()
        return await request.forward()


class PieceThenForward(Module):
    async def handle(self, request: Request) -> Any:
        async for _piece in request.body:
            break
        try:
            return await request.forward()
        except RuntimeError as error:
            return Response.text(str(error))


class Own(Module):
    arguments: Any = None

    async def handle(self, request: Request) -> Any:
        try:
            return await request.forward(**self.arguments)
        except ValueError as error:
            return Response.text(str(error), 400)


def own(**arguments: Any) -> Own:
    module = Own()
    module.arguments = arguments
    return module


def post(house: House, body: bytes, framing: bytes | None = None) -> Any:
    client = house.connect()
    length = b"Content-Length: %d" % len(body)
    client.send(b"POST /p HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n%b" % (framing or length, body))
    house.settle()
    return client


@pytest.mark.parametrize("module", [PlainForward, ReadThenForward])
@pytest.mark.parametrize("size", [5, 3000, 700_000])
def test_a_body_that_was_taken_whole_is_forwarded_whole(module: Any, size: int) -> None:
    house = House(module(), limits={"spool": "1KiB"})
    body = b"x" * size
    client = post(house, body)
    house.settle()
    head, _, sent = house.upstream().received.partition(b"\r\n\r\n")
    assert b"\r\nContent-Length: %d" % size in head
    assert sent == body
    house.upstream().answer(OK)
    house.settle()
    assert client.body == b"ok"
    house.assert_nothing_left()


def test_a_chunked_body_that_was_collected_is_forwarded_chunked() -> None:
    house = House(PlainForward())
    post(house, b"3\r\nabc\r\n0\r\n\r\n", b"Transfer-Encoding: chunked")
    head, _, sent = house.upstream().received.partition(b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert sent == b"3\r\nabc\r\n0\r\n\r\n"


def test_a_body_that_was_read_in_pieces_cannot_be_forwarded_and_the_module_is_told() -> None:
    house = House(PieceThenForward())
    client = post(house, b"abc")
    assert b"read in pieces" in client.body
    assert not house.network.asked
    house.assert_nothing_left()


def test_fields_of_its_own_replace_the_requests_but_not_the_framing() -> None:
    house = House(
        own(headers={"X-A": "1", "Content-Length": "99", "Transfer-Encoding": "chunked", "Connection": "x-a"})
    )
    post(house, b"abc")
    head, _, sent = house.upstream().received.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    assert lines.count(b"content-length: 3") == 1
    assert not any(line.startswith((b"transfer-encoding", b"connection", b"x-a")) for line in lines)
    assert lines.count(b"host: a") == 1
    assert sent == b"abc"


def test_a_host_of_its_own_is_kept() -> None:
    house = House(own(headers={"Host": "other"}))
    post(house, b"abc")
    assert house.upstream().received.count(b"\r\nHost: other") == 1
    assert b"\r\nHost: a" not in house.upstream().received


@pytest.mark.parametrize("target", ["/a b", "/a\r\nX: y", "a", "", "/ü", "http://a/b", "/a#b"])
def test_a_target_that_is_no_path_is_refused(target: str) -> None:
    house = House(own(target=target))
    client = post(house, b"abc")
    assert client.status == 400
    assert b"percent-encoded" in client.body
    assert not house.network.asked


def test_a_target_of_its_own_is_sent() -> None:
    house = House(own(target="/other?x=%20"))
    post(house, b"abc")
    assert house.upstream().received.startswith(b"POST /other?x=%20 HTTP/1.1\r\n")


class Mirror(Module):
    """Forwards the whole body to two servers at once."""

    def handle(self, request: Request) -> Any:
        both = gather(*(request.forward(f"http://127.0.0.1:{port}") for port in (9001, 9002)))
        return Park(both, resume=self.mirrored)

    def mirrored(self, _request: Request, _woken: Any) -> Any:
        return Response.text("mirrored")


@pytest.mark.parametrize("size", [5, 1_500_000])
def test_a_body_that_was_collected_goes_to_two_servers_at_once(size: int) -> None:
    house = House(Mirror(), limits={"spool": "1KiB"})
    body = (b"".join(b"%09d" % number for number in range(size // 9 + 1)))[:size]
    client = post(house, body)
    assert [one.received.partition(b"\r\n\r\n")[2] == body for one in house.network.asked] == [True, True]
    for upstream in house.network.asked:
        upstream.answer(OK)
    house.settle()
    assert client.body == b"mirrored"
    house.assert_nothing_left()
