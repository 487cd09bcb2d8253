"""Faults that were found at the edges of exchanges; each stays found."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from twisted.internet.error import ConnectionLost
from twisted.logger import capturedLogs, formatEvent

from asyncproxy import Module, Response, on_reactor, sleep
from asyncproxy.exchange.messages import Request
from tests.fakes import GET, House

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BIG = 200_000


class Late(Module):
    """Reads its body when the client has long sent it."""

    async def handle(self, request: Request) -> Any:
        await sleep(1)
        return Response.text(str(len(await request.read())))


class LateRelay(Module):
    async def handle(self, request: Request) -> Any:
        reply = await request.forward()
        await sleep(1)
        return reply


class ReadReply(Module):
    async def handle(self, request: Request) -> Any:
        reply = await request.forward()
        assert await reply.read()
        return reply


class PieceOfReply(Module):
    async def handle(self, request: Request) -> Any:
        reply = await request.forward()
        async for _piece in reply.body:
            break
        return reply


class Exits(Module):
    async def handle(self, _request: Request) -> Any:
        return await on_reactor(sys.exit, 3)


def test_a_connection_whose_body_waited_longer_than_it_was_let_is_read_again() -> None:
    house = House(Late())
    client = house.connect()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % BIG)
    client.send(b"x" * BIG)
    house.advance(2)
    client.send(GET)
    house.advance(2)
    assert client.statuses == [200, 200]


def test_a_pooled_connection_whose_reply_waited_is_read_again() -> None:
    house = House(LateRelay())
    client = house.get()
    house.upstream().answer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG + b"x" * 60_000)
    house.upstream().answer(b"x" * (BIG - 60_000))
    house.advance(2)
    assert len(client.body) == BIG
    client.get()
    house.upstream().answer(OK)
    house.advance(2)
    assert client.statuses == [200, 200]
    assert len(house.network.asked) == 1


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    ],
)
def test_a_reply_that_was_read_whole_may_still_be_returned(reply: bytes) -> None:
    house = House(ReadReply())
    client = house.get()
    house.upstream().answer(reply)
    house.settle()
    assert client.body == b"body"
    assert b"\r\nContent-Length: 4\r\n" in client.received


def test_a_reply_that_was_read_in_pieces_cannot_be_returned() -> None:
    house = House(PieceOfReply())
    client = house.get()
    house.upstream().answer(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nbody")
    house.settle()
    assert client.status == 500
    house.assert_nothing_left()


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
def test_a_head_may_be_cut_anywhere(cut: int) -> None:
    house = House()
    client = house.connect()
    client.send(GET[:cut])
    client.send(GET[cut:])
    house.settle()
    house.upstream().answer(OK)
    house.settle()
    assert client.status == 200


@pytest.mark.parametrize("pieces", [[b"\r", b"\n" + GET], [b"\r\n\r\n" + GET], [b"\r\n\r\n", GET], [b"\r\n" + GET]])
def test_empty_lines_before_a_request_are_ignored(pieces: list[bytes]) -> None:
    house = House()
    client = house.connect()
    for piece in pieces:
        client.send(piece)
    house.settle()
    house.upstream().answer(OK)
    house.settle()
    assert client.status == 200


@pytest.mark.parametrize("blocking", [True, False])
def test_a_module_that_exits_on_the_polling_thread_ends_its_request_only(blocking: bool) -> None:
    house = House(type("Exits", (Exits,), {"blocking": blocking})())
    assert house.get().status == 500


def test_a_client_that_sends_without_waiting_for_100_is_held_back_when_nobody_takes_its_body() -> None:
    house = House(type("Sleeps", (Module,), {"handle": Late.handle})())
    client = house.connect()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 10000000\r\n\r\n")
    house.settle()
    for _ in range(20):
        client.send(b"x" * 50_000)
    (exchange,) = house.flow.exchanges
    assert exchange.request.stream._size < 200_000
    house.shut_down()


def test_a_reply_until_close_that_is_reset_is_not_passed_on_as_whole() -> None:
    house = House()
    client = house.get()
    house.upstream().answer(b"HTTP/1.1 200 OK\r\n\r\nhalf")
    house.settle()
    house.upstream().wire._lose(ConnectionLost())
    house.settle()
    assert client.closed
    assert not client.received.endswith(b"0\r\n\r\n")


def test_a_flood_of_informational_replies_is_bad() -> None:
    house = House()
    client = house.get()
    house.upstream().answer(b"HTTP/1.1 102 Processing\r\n\r\n" * 3000)
    house.settle()
    assert client.status == 502


def test_an_upload_that_pauses_is_not_the_upstreams_silence() -> None:
    house = House(
        groups={"g": {"servers": ["http://127.0.0.1:1"], "first_byte_timeout": "1s"}}, route={"upstream": "g"}
    )
    client = house.connect()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")
    house.advance(5)
    client.send(b"cd")
    house.settle()
    house.upstream().answer(OK)
    house.settle()
    assert client.status == 200


def test_an_upstream_that_gets_the_whole_upload_and_is_silent_is_late() -> None:
    house = House(
        groups={"g": {"servers": ["http://127.0.0.1:1"], "first_byte_timeout": "1s"}}, route={"upstream": "g"}
    )
    client = house.connect()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd")
    house.advance(2)
    assert client.status == 504
    assert b"first-byte" in client.body


def test_a_client_cannot_move_the_cursor_of_who_reads_the_log() -> None:
    class Quotes(Module):
        def handle(self, request: Request) -> Response:
            raise ValueError(f"no order {request.path}")

    house = House(Quotes())
    with capturedLogs() as logged:
        assert house.get("/%1b%5b2J%c2%9b%0d%e2%80%a8%c3%a9%0aline").status == 500
    (said,) = [words for event in logged if "no order" in (words := formatEvent(event))]
    assert r"no order /\x1b[2J\x9b\r\u2028é" in said
    assert "\nline at " in said
