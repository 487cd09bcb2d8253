"""What a client hears while it waits for long, and that every way of answering still comes out right."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from asyncproxy import Module, Park, Request, Response, sleep
from asyncproxy.polling.long_waits import QUOTED
from tests.flows.long_waits import (
    EVERY,
    FAILURES,
    JSON,
    KINDS,
    VERSIONS,
    WHOLE,
    Got,
    Kind,
    Waits,
    ask,
    chunked,
    error_in,
    got,
    halves,
    house_of,
    reply,
)


@KINDS
@VERSIONS
@pytest.mark.parametrize("way", WHOLE)
def test_an_answer_of_the_module_follows_an_early_head(kind: Kind, minor: int, way: str) -> None:
    house = house_of(Waits(kind, WHOLE[way]), kind.word)
    client = ask(house, minor)
    assert client.received == b""
    house.advance(EVERY + 0.1)
    early = got(client)
    assert early.head is not None
    fields = {name.lower(): value for name, value in early.head.raw_fields}
    assert early.head.status == 200
    assert fields[b"content-type"] == kind.type.encode()
    assert fields[b"cache-control"] == b"no-store"
    assert fields[b"x-accel-buffering"] == b"no"
    assert fields[b"x-request-id"]
    assert (early.body, early.whole) == (kind.tick, False)
    house.advance(30)
    assert got(client)._replace(head=None) == Got([], None, kind.tick * 3 + kind.body, True, b"")
    assert client.closed is (minor == 0)
    (record,) = house.records
    assert (record.status, record.size, record.flag) == (200, len(kind.tick * 3 + kind.body), "")
    house.assert_nothing_left()


@KINDS
@pytest.mark.parametrize("way", WHOLE)
def test_an_answer_in_time_is_as_it_is_without_a_keep_alive(kind: Kind, way: str) -> None:
    answers = []
    for word in (kind.word, "off"):
        house = house_of(Waits(kind, WHOLE[way], 5.0), word)
        client = ask(house)
        house.advance(100)
        answers.append(re.sub(rb"X-Request-ID: \S+", b"", client.received))
        house.assert_nothing_left()
    assert answers[0] == answers[1]


@KINDS
def test_json_after_white_space_and_events_after_comments_mean_what_they_did(kind: Kind) -> None:
    house = house_of(Waits(kind, WHOLE["bytes"]), kind.word)
    client = ask(house)
    house.advance(40)
    body = got(client).body
    if kind is JSON:
        assert json.loads(body) == json.loads(kind.body)
    else:
        events = [block for block in body.split(b"\n\n") if block and not block.startswith(b":")]
        assert events == [b"data: one", b"data: two"]


# What an upstream or a Resource answers.


RELAYED: dict[str, Callable[[Kind], list[bytes]]] = {
    "in one piece": lambda kind: [reply(kind, b"Content-Length: %d" % len(kind.body), kind.body)],
    "by its length": lambda kind: [reply(kind, b"Content-Length: %d" % len(kind.body)), *halves(kind)],
    "in chunks": lambda kind: [
        reply(kind, b"Transfer-Encoding: chunked"),
        *map(chunked, halves(kind)),
        b"0\r\n\r\n",
    ],
    "in chunks at once": lambda kind: [
        reply(kind, b"Transfer-Encoding: chunked", chunked(*halves(kind)) + b"0\r\n\r\n")
    ],
    "until its connection ends": lambda kind: [reply(kind, b"Connection: close"), *halves(kind), b""],
}


class Passes(Module):
    """Passes a reply on, untouched."""

    async def handle(self, request: Request) -> Response:
        return await request.forward()


class Changes(Module):
    """Passes a reply on whose fields it has looked at."""

    async def handle(self, request: Request) -> Response:
        answer = await request.forward()
        answer.headers["x-more"] = "1"
        return answer


class Holds(Module):
    """Has a reply long before it passes it on."""

    async def handle(self, request: Request) -> Response:
        answer = await request.forward()
        await sleep(EVERY + 1)
        return answer


class ParksOn(Module):
    """As in the mail."""

    def handle(self, request: Request) -> Park:
        return Park(request.forward(), resume=self.answered)

    def answered(self, request: Request, woken: Any) -> Response:
        answer: Response = woken.value
        return answer


@KINDS
@VERSIONS
@pytest.mark.parametrize("way", RELAYED)
@pytest.mark.parametrize("module", ["reverse", Passes, Changes, Holds, ParksOn])
def test_a_reply_follows_an_early_head(kind: Kind, minor: int, way: str, module: Any) -> None:
    house = house_of(module if isinstance(module, str) else module(), kind.word)
    client = ask(house, minor)
    house.advance(EVERY + 0.1)
    for data in RELAYED[way](kind):
        if data:
            house.upstream().answer(data)
        else:
            house.upstream().hang_up()
        house.settle()
    house.advance(EVERY + 2 if module is Holds else 0)
    body = kind.tick * (2 if module is Holds else 1) + kind.body
    assert got(client)._replace(head=None) == Got([], None, body, True, b"")
    (record,) = house.records
    assert (record.status, record.size, record.flag) == (200, len(body), "")
    house.assert_nothing_left()


@KINDS
@pytest.mark.parametrize("way", RELAYED)
def test_a_reply_in_time_is_as_it_is_without_a_keep_alive(kind: Kind, way: str) -> None:
    answers = []
    for word in (kind.word, "102", "off"):
        house = house_of("reverse", word)
        client = ask(house)
        for data in RELAYED[way](kind):
            if data:
                house.upstream().answer(data)
            else:
                house.upstream().hang_up()
            house.settle()
        house.advance(0)
        answers.append(re.sub(rb"X-Request-ID: \S+", b"", client.received))
        house.assert_nothing_left()
    assert answers[0] == answers[1] == answers[2]


def test_a_long_error_that_comes_in_many_pieces_at_once_is_told_once() -> None:
    house = house_of(Holds(), "json")
    client = ask(house)
    error = b"HTTP/1.1 500 Oh\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
    house.upstream().answer(error + chunked(b"x" * QUOTED))
    for _ in range(3):
        house.upstream().answer(chunked(b"x" * QUOTED))
    house.advance(EVERY + 2)
    found = got(client)
    assert (found.whole, found.rest) == (True, b"")
    assert error_in(JSON, found.body)["detail"] == "the answer is 500 Internal Server Error"
    house.assert_nothing_left()


class Replaces(Module):
    """Puts a body of its own in the place of the upstream's."""

    async def handle(self, request: Request) -> Response:
        answer = await request.forward()
        answer.body = [b"[", b"]"]
        return answer


def test_a_body_in_the_place_of_an_upstream_s_follows_too() -> None:
    house = house_of(Replaces(), "json")
    client = ask(house)
    house.advance(EVERY + 0.1)
    house.upstream().answer(reply(JSON, b"Content-Length: 100"))
    house.settle()
    assert got(client)[2:4] == (b"\n[]", True)
    house.assert_nothing_left()


class Late(Resource):
    """A Resource that answers when it is told to."""

    isLeaf = True

    def render(self, request: Any) -> int:
        requests.append(request)
        return NOT_DONE_YET


requests: list[Any] = []


@KINDS
@pytest.mark.parametrize("streams", [False, True], ids=["whole", "in pieces"])
def test_what_a_resource_renders_follows_an_early_head(kind: Kind, streams: bool) -> None:
    requests.clear()
    route = {"settings": {"resource": f"{__name__}:Late"}}
    house = house_of("resource", kind.word, route=route)
    starting = Deferred.fromCoroutine(house.hooks.start(house.bindings))
    house.settle()
    assert starting.called
    client = ask(house)
    house.advance(EVERY + 0.1)
    (web,) = requests
    web.setHeader(b"content-type", kind.type.encode())
    for piece in halves(kind):
        web.write(piece)
        if streams:
            house.settle()
    web.finish()
    house.settle()
    assert got(client)[2:4] == (kind.tick + kind.body, True)


# 102.


@pytest.mark.parametrize("way", WHOLE)
def test_a_102_each_time_and_the_response_follows_unchanged(way: str) -> None:
    house = house_of(Waits(JSON, WHOLE[way]), "102")
    client = ask(house)
    house.advance(34)
    assert client.received == b"HTTP/1.1 102 Processing\r\n\r\n" * 3
    house.advance(6)
    plain = house_of(Waits(JSON, WHOLE[way]), "off")
    other = ask(plain)
    plain.advance(40)
    mine = client.received.removeprefix(b"HTTP/1.1 102 Processing\r\n\r\n" * 3)
    unnamed = re.compile(rb"X-Request-ID: \S+")
    assert unnamed.sub(b"", mine) == unnamed.sub(b"", other.received)
    assert house.records[0].size == plain.records[0].size
    house.assert_nothing_left()


def test_no_102_comes_into_a_response_that_has_begun() -> None:
    house = house_of("reverse", "102")
    client = ask(house)
    house.advance(EVERY + 0.1)
    house.upstream().answer(reply(JSON, b"Transfer-Encoding: chunked", chunked(b"[1, ")))
    house.advance(3 * EVERY)
    house.upstream().answer(chunked(b"2]") + b"0\r\n\r\n")
    house.settle()
    found = got(client)
    assert (found.informational, found.body, found.whole) == ([102], b"[1, 2]", True)
    house.assert_nothing_left()


@pytest.mark.parametrize(("failure", "status"), [("an exception", 500), ("not modified", 304), ("nothing", 204)])
def test_after_a_102_a_failure_is_what_it_always_was(failure: str, status: int) -> None:
    house = house_of(Waits(JSON, FAILURES[failure][0]), "102")
    client = ask(house)
    house.advance(40)
    assert client.statuses == [102, 102, 102, status]
    assert house.records[0].status == status
    house.assert_nothing_left()


def test_http_1_0_is_never_sent_a_102() -> None:
    house = house_of(Waits(JSON, WHOLE["bytes"]), "102")
    client = ask(house, 0)
    house.advance(40)
    assert client.statuses == [200]
