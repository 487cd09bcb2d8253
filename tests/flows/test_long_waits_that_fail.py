"""A client that waits for long, and an answer that fails, breaks off or does not fit what it was sent."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent

from asyncproxy import Response, sleep
from asyncproxy.service.draining import Drain
from tests.flows.long_waits import (
    EVERY,
    FAILURES,
    JSON,
    KINDS,
    SSE,
    VERSIONS,
    WHOLE,
    Kind,
    Waits,
    ask,
    chunked,
    error_in,
    got,
    house_of,
    reply,
    typed,
)


@KINDS
@VERSIONS
@pytest.mark.parametrize("failure", FAILURES)
def test_whatever_else_comes_is_an_error_in_the_body(kind: Kind, minor: int, failure: str) -> None:
    answer, status, detail, flag = FAILURES[failure]
    house = house_of(Waits(kind, answer), kind.word)
    client = ask(house, minor)
    house.advance(40)
    found = got(client)
    assert found.head is not None
    assert (found.head.status, found.whole, found.rest) == (200, True, b"")
    error = error_in(kind, found.body)
    assert (error["status"], error["detail"]) == (status, detail)
    assert found.body.count(kind.tick) == 3 + (kind is JSON)
    (record,) = house.records
    assert (record.status, record.size, record.flag) == (200, len(found.body), flag)
    assert error["request"] == record.id
    house.assert_nothing_left()


@KINDS
@pytest.mark.parametrize(
    ("fields", "words"),
    [({"content-type": "text/html"}, "the answer is text/html, not "), ({"content-encoding": "gzip"}, "with gzip")],
)
def test_a_200_that_cannot_follow_is_a_502_and_told_in_the_log(kind: Kind, fields: dict[str, str], words: str) -> None:
    house = house_of(Waits(kind, lambda kind: Response(200, {"content-type": kind.type, **fields}, b"x")), kind.word)
    client = ask(house)
    with capturedLogs() as events:
        house.advance(40)
    error = error_in(kind, got(client).body)
    assert error["status"] == 502
    assert words in error["detail"]
    (line,) = [formatEvent(event) for event in events if event["log_level"].name == "warn"]
    assert words in line
    house.assert_nothing_left()


def test_fields_that_come_too_late_are_named_once_at_debug() -> None:
    house = house_of(Waits(JSON, lambda kind: typed(kind, b"{}", etag="x", vary="y")), "json")
    ask(house)
    with capturedLogs() as events:
        house.advance(40)
    (line,) = [formatEvent(event) for event in events if event["log_level"].name == "debug"]
    assert line.endswith("too late for the head, and dropped: etag, vary")


@KINDS
def test_the_route_s_time_out_is_an_error_in_the_body(kind: Kind) -> None:
    house = house_of(Waits(kind, WHOLE["bytes"], 1000), kind.word, route={"timeout": "25s"})
    client = ask(house)
    house.advance(30)
    found = got(client)
    error = error_in(kind, found.body)
    assert found.whole
    assert (error["status"], error["title"]) == (504, "Gateway Timeout")
    assert error["detail"] == "the request was not answered within 25 s"
    assert house.records[0].flag == "DT"
    house.assert_nothing_left()


@KINDS
def test_an_upstream_s_failure_is_an_error_in_the_body(kind: Kind) -> None:
    house = house_of("reverse", kind.word)
    client = ask(house)
    house.advance(70)  # first_byte_timeout
    found = got(client)
    error = error_in(kind, found.body)
    assert found.whole
    assert error["status"] == 504
    assert "timeout:first-byte" in error["detail"]
    house.assert_nothing_left()


@KINDS
def test_a_drain_is_an_error_in_the_body(kind: Kind) -> None:
    house = house_of(Waits(kind, WHOLE["bytes"], 1000), kind.word)
    client = ask(house)
    house.advance(EVERY + 0.1)
    draining = Deferred.fromCoroutine(Drain(house.clock, house.flow, [house.door]).run(1))
    house.advance(5)
    assert draining.called
    found = got(client)
    assert (found.whole, error_in(kind, found.body)["status"]) == (True, 503)
    assert client.closed


def test_a_full_house_refuses_before_anything_is_sent() -> None:
    house = house_of(Waits(SSE, WHOLE["bytes"], 1000), "sse", server={"max_parked": 1})
    ask(house)
    second = ask(house)
    assert second.status == 503
    assert b"Retry-After" in second.received


# A body that breaks off.


def breaks(first: list[bytes]) -> Callable[[Kind], Response]:
    def made(kind: Kind) -> Response:
        def generator() -> Iterator[bytes]:
            yield from first
            raise ValueError("no more")

        return typed(kind, generator())

    return made


def parks_and_breaks(kind: Kind) -> Response:
    async def generator() -> AsyncIterator[bytes]:
        await sleep(1)
        raise ValueError("nothing")
        yield b""

    return typed(kind, generator())


@KINDS
@pytest.mark.parametrize("answer", [breaks([]), breaks([b""]), parks_and_breaks])
def test_a_body_that_breaks_before_its_first_byte_is_an_error_in_it(kind: Kind, answer: Any) -> None:
    house = house_of(Waits(kind, answer), kind.word)
    client = ask(house)
    house.advance(40)
    found = got(client)
    assert found.whole
    assert error_in(kind, found.body)["status"] == 500
    assert house.records[0].flag == "ME"
    house.assert_nothing_left()


@KINDS
@VERSIONS
def test_a_body_that_breaks_behind_it_is_cut(kind: Kind, minor: int) -> None:
    house = house_of(Waits(kind, breaks([b"[1, "])), kind.word)
    client = ask(house, minor)
    house.advance(40)
    found = got(client)
    assert found.body == kind.tick * 3 + b"[1, "
    assert not found.whole
    assert client.wire.aborted
    house.assert_nothing_left()


@KINDS
@pytest.mark.parametrize("sent", [b"", b"1\r\n[\r\n"], ids=["before", "behind"])
def test_a_reply_that_breaks_off_is_cut_behind_its_first_byte_alone(kind: Kind, sent: bytes) -> None:
    house = house_of("reverse", kind.word)
    client = ask(house)
    house.advance(EVERY + 0.1)
    house.upstream().answer(reply(kind, b"Transfer-Encoding: chunked", sent))
    house.settle()
    house.upstream().hang_up()
    house.settle()
    found = got(client)
    if sent:
        assert (found.body, found.whole) == (kind.tick + b"[", False)
    else:
        assert found.whole
        assert error_in(kind, found.body)["status"] == 502
    assert house.records[0].flag == "UC"
    house.assert_nothing_left()


@KINDS
def test_a_late_body_has_the_route_s_time_out_too(kind: Kind) -> None:
    house = house_of("reverse", kind.word, route={"timeout": "25s"})
    client = ask(house)
    house.upstream().answer(reply(kind, b"Transfer-Encoding: chunked"))
    house.advance(30)
    found = got(client)
    assert found.whole
    assert error_in(kind, found.body)["status"] == 504
    house.assert_nothing_left()


@KINDS
def test_a_stream_whose_first_byte_is_late_has_its_own_head_and_ticks(kind: Kind) -> None:
    house = house_of("reverse", kind.word)
    client = ask(house)
    house.upstream().answer(reply(kind, b"Transfer-Encoding: chunked", b"", b"X-Own: 1"))
    house.settle()
    assert b"X-Own: 1" in client.received
    house.advance(2 * EVERY + 0.1)
    house.upstream().answer(chunked(kind.body))
    house.advance(2 * EVERY)
    house.upstream().answer(b"0\r\n\r\n")
    house.settle()
    assert got(client)[2:4] == (kind.tick * 2 + kind.body, True)
    house.assert_nothing_left()


@KINDS
@pytest.mark.parametrize("way", WHOLE)
def test_an_early_head_tells_the_time_that_was_spent_by_then(kind: Kind, way: str) -> None:
    house = house_of(Waits(kind, WHOLE[way]), kind.word, route={"server_timing": True})
    client = ask(house)
    house.advance(EVERY + 0.1)
    assert re.search(rb"Server-Timing: parked;dur=10\d\d\d\.\d\r\n", client.received)
    house.advance(30)
    assert got(client)[2:4] == (kind.tick * 3 + kind.body, True)
    assert client.received.count(b"Server-Timing") == 1
    house.assert_nothing_left()


# What an operator does.


@KINDS
def test_a_request_that_an_operator_cancels_is_told_so_in_the_body(kind: Kind) -> None:
    house = house_of(Waits(kind, WHOLE["bytes"], 1000), kind.word)
    client = ask(house)
    house.advance(EVERY + 0.1)
    house.cancel(house.exchange().request.id, 409)
    house.settle()
    found = got(client)
    assert (found.whole, error_in(kind, found.body)["status"]) == (True, 409)
    house.assert_nothing_left()
