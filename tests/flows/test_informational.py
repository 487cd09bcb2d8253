"""Informational replies, from an upstream to a client that waits: which pass, to whom, how many."""

from __future__ import annotations

from typing import Any

import pytest

from asyncproxy import Module, Response, sleep
from asyncproxy.exchange.messages import Request
from asyncproxy.polling.upstream_connection import HEAD_LIMIT, INFORMATIONAL_LIMIT
from tests.fakes import GET, House

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"
VIA = b"\r\nVia: 1.1 asyncproxy"


class Forwards(Module):
    """Forwards, and says what came of it with a field of its own."""

    async def handle(self, request: Request) -> Any:
        reply = await request.forward()
        reply.headers["x-own"] = "yes"
        return reply


class Twice(Module):
    async def handle(self, request: Request) -> Any:
        await request.forward(target="/first")
        return await request.forward(target="/second")


class StreamsMeanwhile(Module):
    """Its answer has begun when it forwards."""

    async def handle(self, request: Request) -> Any:
        async def pieces() -> Any:
            yield b"begun "
            reply = await request.forward()
            yield await reply.read()

        return Response(body=pieces())


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("module", ["reverse", Forwards()])
def test_informational_replies_go_to_the_client_in_order_before_the_final_one(module: Any, split: bool) -> None:
    house = House(module)
    client = house.get()
    data = PROCESSING + HINTS + HINTS + OK
    for piece in [data[at : at + 7] for at in range(0, len(data), 7)] if split else [data]:
        house.upstream().answer(piece)
    house.settle()
    assert client.statuses == [102, 103, 103, 200]
    assert client.received.startswith(
        PROCESSING[:-4] + VIA + b"\r\n\r\n" + 2 * (HINTS[:-4] + VIA + b"\r\n\r\n") + b"HTTP/1.1 200"
    )
    assert house.pool()["idle"] == 1
    house.assert_nothing_left()


def test_an_informational_reply_goes_out_while_its_module_is_parked() -> None:
    house = House(Forwards())
    client = house.get()
    house.upstream().answer(HINTS)
    assert client.statuses == [103]
    assert house.stages() == {"PARKED": 1}
    house.upstream().answer(OK)
    house.settle()
    assert client.statuses == [103, 200]
    house.assert_nothing_left()


def test_what_ends_at_this_hop_and_what_frames_a_body_are_no_part_of_an_informational_reply() -> None:
    house = House()
    client = house.get()
    house.upstream().answer(
        b"HTTP/1.1 103 Early Hints\r\nConnection: x-hop\r\nX-Hop: a\r\nKeep-Alive: 5\r\nContent-Length: 9\r\n"
        b"X-Request-ID: theirs\r\nLink: </a>\r\n\r\n" + OK
    )
    house.settle()
    assert client.received.startswith(b"HTTP/1.1 103 Early Hints\r\nLink: </a>" + VIA + b"\r\n\r\nHTTP/1.1 200 OK")
    house.assert_nothing_left()


def test_http_1_0_gets_no_informational_reply() -> None:
    house = House()
    client = house.connect()
    client.send(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
    house.settle()
    house.upstream().answer(PROCESSING + HINTS + OK)
    house.settle()
    assert client.statuses == [200]
    house.assert_nothing_left()


def test_a_100_that_nobody_waits_for_goes_no_further() -> None:
    house = House()
    client = house.get()
    house.upstream().answer(b"HTTP/1.1 100 Continue\r\n\r\n" + OK)
    house.settle()
    assert client.statuses == [200]
    house.assert_nothing_left()


@pytest.mark.parametrize(
    "heads", [HINTS * (INFORMATIONAL_LIMIT + 1), (HINTS[:-4] + b"x" * (HEAD_LIMIT // 3) + b"\r\n\r\n") * 3]
)
def test_more_of_them_than_a_limit_break_the_reply(heads: bytes) -> None:
    house = House()
    client = house.get()
    house.upstream().answer(heads + OK)
    house.settle()
    assert client.statuses[-1] == 502
    assert client.statuses.count(103) <= INFORMATIONAL_LIMIT
    assert house.upstream().closed
    house.assert_nothing_left()


def test_each_reply_of_a_connection_may_have_as_many() -> None:
    house = House()
    client = house.connect()
    for number in range(1, 4):
        client.get()
        house.upstream().answer(HINTS * INFORMATIONAL_LIMIT + OK)
        house.settle()
        assert client.statuses.count(200) == number
    assert client.statuses.count(103) == 3 * INFORMATIONAL_LIMIT
    house.assert_nothing_left()


def test_the_next_head_may_take_as_long_as_the_first_byte_might() -> None:
    house = House(
        groups={"g": {"servers": ["http://127.0.0.1:1"], "first_byte_timeout": "10s"}}, route={"upstream": "g"}
    )
    client = house.get()
    for _ in range(3):
        house.advance(9)
        house.upstream().answer(PROCESSING)
    house.advance(11)
    assert client.statuses == [102, 102, 102, 504]
    house.assert_nothing_left()


def test_every_forward_of_a_module_is_heard() -> None:
    house = House(Twice())
    client = house.get()
    house.upstream().answer(HINTS + OK)
    house.settle()
    house.upstream().answer(PROCESSING + OK)
    house.settle()
    assert client.statuses == [103, 102, 200]
    house.assert_nothing_left()


def test_a_response_that_has_begun_is_not_interrupted_by_one() -> None:
    house = House(StreamsMeanwhile())
    client = house.get()
    house.upstream().answer(HINTS + OK)
    house.settle()
    assert client.statuses == [200]
    assert b"begun" in client.received
    assert b"ok" in client.received
    house.assert_nothing_left()


def test_nor_is_a_client_told_that_has_left() -> None:
    class Patient(Module):
        async def handle(self, request: Request) -> Any:
            try:
                return await request.forward()
            finally:
                await sleep(1)

    house = House(Patient())
    client = house.get()
    client.leave()
    house.settle()
    before = client.received
    house.upstream().answer(HINTS + OK)
    house.advance(2)
    assert client.received == before == b""
    house.assert_nothing_left()


@pytest.mark.parametrize("word", ["sse", "json", "102"])
def test_on_a_route_that_keeps_alive_they_pass_until_an_early_head_is_out(word: str) -> None:
    house = House(route={"keep_alive": word, "keep_alive_every": "5s"})
    client = house.get()
    house.upstream().answer(HINTS)
    assert client.statuses == [103]
    house.advance(6)
    house.upstream().answer(HINTS)
    assert client.statuses == ([103, 102, 103] if word == "102" else [103, 200])
    client.leave()
    house.settle()
    house.assert_nothing_left()


def test_a_reused_connection_that_has_informed_is_not_tried_again() -> None:
    house = House()
    client = house.get()
    house.upstream().answer(OK)
    house.settle()
    client.send(GET)
    house.settle()
    house.upstream().answer(HINTS)
    house.upstream().hang_up()
    house.settle()
    assert client.statuses == [200, 103, 502]
    assert len(house.network.asked) == 1
    house.assert_nothing_left()


@pytest.mark.parametrize(
    ("method", "final"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n"),
    ],
)
def test_they_come_before_a_reply_without_a_body_too(method: bytes, final: bytes) -> None:
    house = House()
    client = house.connect()
    for _ in range(2):
        client.send(method + b" / HTTP/1.1\r\nHost: a\r\n\r\n")
        house.settle()
        house.upstream().answer(HINTS + final)
        house.settle()
    status = int(final[9:12])
    assert client.statuses == [103, status, 103, status]
    assert len(house.network.asked) == 1
    house.assert_nothing_left()
