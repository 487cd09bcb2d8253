"""Expect: 100-continue from end to end: who says go on, and what becomes of a body that is not wanted."""

from __future__ import annotations

from typing import Any

import pytest

from asyncproxy import Module, Response
from asyncproxy.exchange.messages import Request
from tests.fakes import House

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
EXPECTS = b"\r\nExpect: 100-continue"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
PUT = b"PUT" + POST[4:]
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-Continue\r\n\r\n"


def house_of(module: Any = "reverse", **settings: Any) -> House:
    return House(module, groups={"g": {"servers": ["http://127.0.0.1:1"], **settings}}, route={"upstream": "g"})


def asked(house: House, head: bytes = POST) -> Any:
    """A client that has sent `head` and waits."""
    client = house.connect()
    client.send(head)
    house.settle()
    return client


def asked_again(house: House) -> Any:
    """A client that waits with a PUT, which has gone over a connection that has served another request."""
    client = house.get()
    house.upstream().answer(OK)
    house.settle()
    client.send(PUT)
    house.settle()
    return client


@pytest.mark.parametrize(("head", "body"), [(POST, b"data"), (CHUNKED, b"4\r\ndata\r\n0\r\n\r\n")])
def test_the_client_goes_on_when_the_upstream_says_so(head: bytes, body: bytes) -> None:
    house = house_of()
    client = asked(house, head)
    assert EXPECTS in house.upstream().received
    assert house.upstream().received.endswith(b"\r\n\r\n")
    assert client.received == b""
    house.upstream().answer(CONTINUE)
    assert client.statuses == [100]
    client.send(body)
    house.settle()
    assert house.upstream().received.endswith(b"\r\n\r\n" + body)
    house.upstream().answer(OK)
    house.settle()
    assert client.statuses == [100, 200]
    assert b"Connection: close" not in client.received
    client.get()
    house.upstream().answer(OK)
    house.settle()
    assert client.statuses == [100, 200, 200]
    assert len(house.network.asked) == 1
    house.assert_nothing_left()


def test_fields_of_the_upstreams_100_reach_the_client() -> None:
    house = house_of()
    client = asked(house)
    house.upstream().answer(b"HTTP/1.1 100 Continue\r\nX-Who: me\r\nConnection: close\r\n\r\n")
    assert client.received == b"HTTP/1.1 100 Continue\r\nX-Who: me\r\nVia: 1.1 asyncproxy\r\n\r\n"


@pytest.mark.parametrize("again", [b"", b"data"])
def test_a_final_answer_instead_goes_to_the_client_and_the_connection_closes(again: bytes) -> None:
    house = house_of()
    client = asked(house)
    house.upstream().answer(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
    house.settle()
    assert client.statuses == [413]
    assert b"\r\nConnection: close\r\n" in client.received
    assert house.upstream().closed
    if again:
        client.send(again + b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
    house.advance(5)
    assert client.statuses == [413]
    assert client.wire.lost
    assert house.upstream().received.endswith(b"\r\n\r\n")
    house.assert_nothing_left()


def test_a_final_answer_that_streams_is_not_interrupted_by_a_100() -> None:
    house = house_of()
    client = asked(house)
    house.upstream().answer(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
    house.settle()
    house.advance(5)
    assert client.statuses == [200]
    house.upstream().answer(b"cd")
    house.settle()
    assert client.body == b"abcd"
    house.advance(5)
    assert client.wire.lost
    house.assert_nothing_left()


def test_a_client_that_does_not_wait_is_served() -> None:
    house = house_of()
    client = asked(house)
    client.send(b"data")
    house.settle()
    assert house.upstream().received.endswith(b"data")
    house.advance(30)
    assert client.received == b""
    house.upstream().answer(CONTINUE + OK)
    house.settle()
    assert client.statuses == [200]
    assert house.pool()["idle"] == 1
    house.assert_nothing_left()


def test_one_that_sends_all_at_once_too_and_its_upstream_hears_of_no_expectation() -> None:
    house = house_of()
    client = asked(house, POST + b"data")
    assert house.upstream().received.endswith(b"data")
    assert b"Expect" not in house.upstream().received
    house.upstream().answer(OK)
    house.settle()
    assert client.statuses == [200]
    house.assert_nothing_left()


@pytest.mark.parametrize("settings", [{}, {"expect_timeout": "2s"}])
def test_an_upstream_that_says_nothing_gets_the_body_after_a_while(settings: dict[str, str]) -> None:
    house = house_of(**settings)
    client = asked(house)
    house.advance(1.5 if settings else 0.5)
    assert client.received == b""
    house.advance(1)
    assert client.received == CONTINUE
    house.upstream().answer(CONTINUE)
    assert client.received == CONTINUE
    client.send(b"data")
    house.settle()
    house.upstream().answer(OK)
    house.settle()
    assert client.statuses == [100, 200]
    assert house.pool()["idle"] == 1
    house.assert_nothing_left()


def test_an_upstream_without_expect_timeout_is_told_of_no_expectation() -> None:
    house = house_of(expect_timeout="off")
    client = asked(house)
    assert client.received == CONTINUE
    assert b"Expect" not in house.upstream().received
    client.leave()
    house.settle()
    house.assert_nothing_left()


@pytest.mark.parametrize("said", [b"", CONTINUE])
def test_the_body_that_does_not_come_then_is_the_clients_fault(said: bytes) -> None:
    house = house_of()
    client = asked(house)
    house.upstream().answer(said) if said else None
    house.advance(62)
    assert client.statuses == [100, 408]
    assert house.upstream().closed
    house.advance(5)
    house.assert_nothing_left()


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"])
def test_an_upstream_that_stays_silent_with_the_whole_body_is_too_late(first: bytes) -> None:
    house = house_of(first_byte_timeout="10s")
    client = asked(house)
    house.upstream().answer(first) if first else None
    house.advance(2)
    client.send(b"data")
    house.advance(11)
    assert client.statuses == [*([103] if first else []), 100, 504]
    house.assert_nothing_left()


def test_an_idempotent_request_is_sent_again_with_its_expectation() -> None:
    house = house_of()
    client = asked_again(house)
    house.upstream().hang_up()
    house.settle()
    assert len(house.network.asked) == 2
    assert EXPECTS in house.upstream().received
    assert client.statuses == [200]
    house.upstream().answer(CONTINUE)
    client.send(b"data")
    house.settle()
    assert house.upstream().received.endswith(b"\r\n\r\ndata")
    house.upstream().answer(OK)
    house.settle()
    assert client.statuses == [200, 100, 200]
    house.assert_nothing_left()


def test_one_whose_body_has_come_by_then_is_sent_again_whole() -> None:
    house = house_of()
    client = asked_again(house)
    client.send(b"da")
    house.settle()
    house.upstream().hang_up()
    house.settle()
    client.send(b"ta")
    house.settle()
    assert house.upstream().received.endswith(b"\r\n\r\ndata")
    house.upstream().answer(OK)
    house.settle()
    assert client.statuses == [200, 200]
    house.assert_nothing_left()


def test_a_sent_again_request_is_told_to_go_on_when_nobody_says_so() -> None:
    house = house_of()
    client = asked_again(house)
    house.upstream().hang_up()
    house.advance(2)
    assert client.statuses == [200, 100]
    client.leave()
    house.settle()
    house.assert_nothing_left()


def test_an_upstream_that_closes_instead_is_a_bad_gateway() -> None:
    house = house_of()
    client = asked(house)
    house.upstream().accept().hang_up()
    house.settle()
    assert client.statuses == [502]
    house.advance(5)
    assert client.wire.lost
    house.assert_nothing_left()


def test_a_client_that_leaves_meanwhile_takes_the_forward_with_it() -> None:
    house = house_of()
    client = asked(house)
    client.leave()
    house.settle()
    assert house.upstream().closed
    house.assert_nothing_left()


def test_an_upstream_that_does_not_even_take_the_head_is_not_flooded() -> None:
    house = house_of(first_byte_timeout="10s")
    client = asked(house)
    wire = house.upstream().wire
    assert wire is not None
    wire.slow()
    house.advance(5)
    assert client.received == b""
    wire.fast()
    house.advance(2)
    assert client.received == CONTINUE
    client.leave()
    house.settle()
    house.assert_nothing_left()


# Modules.


class Reads(Module):
    """Reads the body itself."""

    async def handle(self, request: Request) -> Any:
        body = await request.read()
        reply = await request.forward()
        return Response(body=body + await reply.read())


class Whole(Module):
    def handle(self, request: Request) -> Any:
        return request.forward()


class StreamsFirst(Module):
    """Reads the body after its answer has begun."""

    async def handle(self, request: Request) -> Any:
        async def pieces() -> Any:
            yield b"begun"
            yield await request.read()

        return Response(body=pieces())


@pytest.mark.parametrize("module", [Reads(), Whole()])
def test_a_module_that_takes_the_body_is_reason_enough_and_the_upstream_hears_of_no_expectation(module: Any) -> None:
    house = house_of(module)
    client = asked(house)
    assert client.received == CONTINUE
    client.send(b"data")
    house.settle()
    assert b"Expect" not in house.upstream().received
    assert house.upstream().received.endswith(b"data")
    house.upstream().answer(OK)
    house.settle()
    assert client.statuses == [100, 200]
    house.assert_nothing_left()


def test_no_100_comes_behind_the_head_of_the_response() -> None:
    house = house_of(StreamsFirst())
    client = asked(house)
    house.advance(70)
    assert client.statuses == [200]
    assert b"100 Continue" not in client.received
    house.advance(5)
    house.assert_nothing_left()


# What is expected.


@pytest.mark.parametrize("value", [b"100-continue, x", b"200-ok", b"100", b"100-continue;q=1"])
def test_an_expectation_that_we_do_not_know_is_refused(value: bytes) -> None:
    house = house_of()
    client = asked(house, POST.replace(b"100-continue", value) + b"dataGET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert client.statuses == [417]
    assert not house.network.asked
    house.advance(5)
    assert client.wire.lost


@pytest.mark.parametrize("value", [b"100-Continue", b"100-continue, 100-CONTINUE", b" , 100-continue ,"])
def test_it_has_no_case_and_may_be_repeated(value: bytes) -> None:
    house = house_of()
    client = asked(house, POST.replace(b"100-continue", value))
    assert house.upstream().received.count(EXPECTS) == 1
    house.upstream().answer(CONTINUE)
    assert client.statuses == [100]


@pytest.mark.parametrize("value", [b"100-continue", b"x"])
def test_http_1_0_expects_nothing(value: bytes) -> None:
    house = house_of()
    head = POST.replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"100-continue", value)
    client = asked(house, head)
    assert b"Expect" not in house.upstream().received
    client.send(b"data")
    house.settle()
    house.upstream().answer(CONTINUE + OK)
    house.settle()
    assert client.statuses == [200]
    house.assert_nothing_left()


def test_without_a_body_there_is_nothing_to_expect() -> None:
    house = house_of()
    client = asked(house, b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n")
    assert b"Expect" not in house.upstream().received
    house.upstream().answer(CONTINUE + OK)
    house.settle()
    assert client.statuses == [200]
    house.assert_nothing_left()
