"""Who hears nothing while it waits, clients that do not read or leave, and what upstreams are asked for them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from asyncproxy import Module, Park, Request, Response, sleep
from asyncproxy.exchange.messages import Request as RawRequest
from asyncproxy.polling.deadlines import NEVER
from asyncproxy.polling.long_waits import LongWait, _asking_plainly
from asyncproxy.testing import Lab
from tests.fakes import House
from tests.flows.long_waits import (
    EVERY,
    FAILURES,
    JSON,
    KINDS,
    SSE,
    WHOLE,
    Kind,
    Waits,
    ask,
    chunked,
    error_in,
    got,
    halves,
    house_of,
    typed,
)


@pytest.mark.parametrize("word", ["sse", "json", "102"])
def test_a_head_request_gets_none_of_it(word: str) -> None:
    house = house_of(Waits(JSON, lambda kind: typed(kind, kind.body, etag="x")), word)
    client = ask(house, method="HEAD")
    house.advance(30)
    assert client.received == b""
    house.advance(10)
    assert b"\r\netag: x\r\n" in client.received
    assert got(client, "HEAD").informational == []


@pytest.mark.parametrize("word", ["sse", "json", "102"])
def test_a_client_that_still_sends_its_body_gets_nothing_before_it_is_through(word: str) -> None:
    house = house_of(Waits(SSE, WHOLE["bytes"], 1000), word)
    client = house.connect()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")
    house.advance(15)
    assert client.received == b""
    client.send(b"cd")
    house.advance(EVERY)
    assert client.received
    assert b"Connection: close" not in client.received


@pytest.mark.parametrize("word", ["sse", "json", "102"])
def test_a_client_that_does_not_read_has_one_tick_waiting_at_most(word: str) -> None:
    house = house_of(Waits(SSE, WHOLE["bytes"], 1000), word)
    client = ask(house)
    house.advance(EVERY + 0.1)
    before = client.received
    client.slow()
    house.advance(5 * EVERY)
    assert client.received == before
    client.fast()
    house.advance(EVERY)
    assert len(client.received) > len(before)


@pytest.mark.parametrize("word", ["sse", "json", "102"])
def test_a_client_that_leaves_while_it_waits_takes_its_ticks_along(word: str) -> None:
    house = house_of(Waits(SSE, WHOLE["bytes"], 1000), word)
    client = ask(house)
    house.advance(EVERY + 0.1)
    size = len(client.received)
    client.leave()
    house.advance(3 * EVERY)
    assert len(client.received) == size
    (record,) = house.records
    early = len(SSE.tick if word == "sse" else JSON.tick)
    assert (record.status, record.size, record.flag) == ((0, 0, "DC") if word == "102" else (200, early, "DC"))
    house.assert_nothing_left()


class Clings(Module):
    """Cleans up for long after its client has left."""

    async def handle(self, request: Request) -> Response:
        try:
            await sleep(1000)
        finally:
            await sleep(2 * EVERY)
        return Response()


@pytest.mark.parametrize("word", ["sse", "json", "102"])
def test_nothing_is_written_to_a_client_that_left_though_its_module_cleans_up(word: str) -> None:
    house = house_of(Clings(), word)
    client = ask(house)
    wait = house.exchange().client
    assert isinstance(wait, LongWait)
    client.leave()
    house.advance(EVERY + 1)
    assert house.stages() == {"PARKED": 1}
    assert wait.due == NEVER
    house.advance(2 * EVERY)
    assert client.received == b""
    house.assert_nothing_left()


@pytest.mark.parametrize("word", ["sse", "json", "102"])
def test_the_next_request_of_a_connection_is_not_heard_before_the_first_is_answered(word: str) -> None:
    house = house_of(Waits(JSON, WHOLE["bytes"]), word)
    client = house.connect()
    client.send(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
    house.advance(40)
    first = client.received
    assert len(house.records) == 1
    house.advance(40)
    assert len(house.records) == 2
    second = client.received.removeprefix(first)
    unnamed = re.compile(rb"[0-9a-f]{8}-\d+|Date: [^\r]*")
    assert unnamed.sub(b"", first) == unnamed.sub(b"", second)
    house.assert_nothing_left()


class Blocks(Module):
    """Has its worker for itself."""

    def handle(self, request: Request) -> Response:
        return typed(JSON, JSON.body)


def test_a_request_that_waits_for_a_worker_is_kept_too() -> None:
    house = house_of(Blocks(), "json")
    client = house.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    house.poll()
    assert house.stages() == {"QUEUED": 1}
    house.wheel.advance(EVERY + 0.1)
    assert got(client).body == b"\n"
    house.settle()
    assert got(client)[2:4] == (b"\n" + JSON.body, True)
    house.assert_nothing_left()


def test_a_queued_request_whose_time_is_up_is_an_error_in_the_body() -> None:
    house = house_of(Blocks(), "json", route={"timeout": "15s"})
    client = house.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    house.poll()
    house.wheel.advance(EVERY + 0.1)
    house.wheel.advance(EVERY)
    house.settle()
    assert error_in(JSON, got(client).body)["status"] == 504
    house.assert_nothing_left()


@KINDS
def test_a_slow_client_holds_what_follows_an_early_head_back(kind: Kind) -> None:
    asked = []

    def counted(kind: Kind) -> Response:
        def generator() -> Iterator[bytes]:
            for number in range(3):
                asked.append(number)
                yield b"data: x\n\n"

        return typed(kind, generator())

    house = house_of(Waits(kind, counted), kind.word)
    client = ask(house)
    house.advance(EVERY + 0.1)
    client.slow()
    house.advance(40)
    assert asked == [0]
    client.fast()
    house.settle()
    assert asked == [0, 1, 2]
    assert got(client).whole
    house.assert_nothing_left()


# What is asked of upstreams.


@pytest.mark.parametrize(
    ("word", "coding"), [("sse", b"identity"), ("json", b"identity"), ("102", b"gzip"), ("off", b"gzip")]
)
def test_an_upstream_is_asked_for_what_may_follow_an_early_head(word: str, coding: bytes) -> None:
    house = house_of("reverse", word)
    ask(house, fields=b"Accept-Encoding: gzip\r\n")
    assert b"\r\nAccept-Encoding: %b\r\n" % coding in house.upstream().received


@pytest.mark.parametrize("word", ["sse", "json", "102", "off"])
@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize("name", [b"If-None-Match", b"if-modified-since", b"Range", b"If-Range"])
def test_a_get_asks_for_the_whole_answer_where_an_early_head_could_tell_of_no_less(
    word: str, method: str, name: bytes
) -> None:
    house = house_of("reverse", word)
    fields = b'X-A: 1\r\n%b: "x"\r\nX-B: 2\r\nIf-Match: "y"\r\n' % name
    ask(house, method=method, fields=fields if method == "GET" else fields + b"Content-Length: 0\r\n")
    received = house.upstream().received
    asked = b'\r\n%b: "x"\r\n' % name in received
    assert asked is (method == "PUT" or word not in ("sse", "json"))
    assert b"X-A: 1\r\n" in received
    assert b'X-B: 2\r\nIf-Match: "y"\r\n' in received


@pytest.mark.parametrize("plain_first", [True, False])
def test_other_routes_of_the_connection_are_not_asked_for_less(plain_first: bool) -> None:
    house = House("reverse", modules={"/kept": "reverse"})
    kept = next(binding for binding in house.bindings if binding.path == "/kept")
    kept.keep_alive, kept.keep_alive_every, kept.at_once = "sse", EVERY, False
    client = house.connect()
    paths = (b"/a", b"/b", b"/kept", b"/c", b"/kept") if plain_first else (b"/a", b"/kept", b"/b", b"/kept", b"/c")
    for path in paths:
        client.send(b"GET %b HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n" % path)
        house.settle()
        house.upstream().answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        house.settle()
    told = re.findall(rb"GET /(\w+) .*?Accept-Encoding: (\w+)", house.upstream().received, re.DOTALL)
    coding = {b"kept": b"identity"}
    assert told == [(path[1:], coding.get(path[1:], b"gzip")) for path in paths]


def test_the_copy_of_a_request_knows_all_that_the_first_does() -> None:
    request = RawRequest("POST", b"/a?b=c", b"\r\nHost: a\r\nAccept-Encoding: br\r\nX-A: b")
    request.number, request.mark = 7, b"\r\nX: y"
    plain = _asking_plainly(request)
    assert (plain.id, plain.path, plain.query, plain.mark) == (request.id, "/a", "b=c", b"\r\nX: y")
    assert (plain.headers["accept-encoding"], plain.headers["x-a"]) == ("identity", "b")
    assert request.headers["accept-encoding"] == "br"


class Takes(Module):
    """Has the body whole, or reads it."""

    def handle(self, request: Request) -> Any:
        def taken(_request: Request, _woken: Any) -> Response:
            return typed(JSON, request.data)

        return Park(sleep(EVERY + 1), resume=taken)


class Reads(Module):
    async def handle(self, request: Request) -> Response:
        await sleep(EVERY + 1)
        return typed(JSON, await request.read())


@pytest.mark.parametrize("module", [Takes, Reads])
@pytest.mark.parametrize("fields", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_a_body_is_taken_whole_whatever_codings_its_client_accepts(module: Any, fields: bytes) -> None:
    house = house_of(module(), "json")
    client = house.connect()
    body = b"[1,2]" if b"Length" in fields else chunked(b"[1,", b"2]") + b"0\r\n\r\n"
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n%b\r\n" % fields + body[:4])
    house.settle()
    client.send(body[4:])
    house.advance(EVERY + 2)
    assert got(client)[2:4] == (b"\n[1,2]", True)
    house.assert_nothing_left()


@KINDS
@pytest.mark.parametrize("seed", range(60))
def test_whatever_comes_first_each_client_has_a_whole_body_or_has_left(kind: Kind, seed: int) -> None:
    chosen = Random(seed)
    answers = [*WHOLE.values(), *(row[0] for name, row in FAILURES.items() if name != "an endless error")]

    class Anything(Module):
        blocking = chosen.random() < 0.7

        async def handle(self, request: Request) -> Any:
            await sleep(float(request.query))
            return chosen.choice(answers)(kind)

    lab = Lab(Anything, keep_alive=kind.word, keep_alive_every="1s", timeout="4s", seed=seed)
    asked = [lab.get(f"/?{chosen.choice((0, 0.5, 1, 1, 2, 3, 4, 5))}") for _ in range(8)]
    leaving, slow = asked[:2], asked[2:4]
    for _ in range(12):
        lab.advance(0.5)
        for request in leaving:
            if not request.done and chosen.random() < 0.3:
                lab.disconnect(request)
        for request in slow:
            chosen.choice((request.slow, request.fast))()
    for request in slow:
        request.fast()
    lab.advance(40)
    for request in asked:
        behind_its_first_byte = request.body.replace(kind.tick, b"") == halves(kind)[0]
        assert request.left or (request.done and request.cut is behind_its_first_byte), request
    assert len(lab.records) == len(asked)
    assert lab.stop() == []


def test_it_says_what_it_is_at() -> None:
    house = house_of(Waits(SSE, WHOLE["bytes"]), "sse")
    ask(house)
    assert repr(house.exchange().client) == "<LongWait text/event-stream every 10 s, nothing sent>"
    house.advance(EVERY + 0.1)
    assert repr(house.exchange().client) == "<LongWait text/event-stream every 10 s, begun>"
