"""A client that waits for long: what it hears, and that every way of answering or failing still comes out right."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from random import Random
from typing import Any, NamedTuple

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from asyncproxy import Module, Park, Request, Response, UpstreamError, sleep
from asyncproxy.exchange.framing import ChunkedBody, LengthBody, UntilClose
from asyncproxy.exchange.messages import Request as RawRequest
from asyncproxy.exchange.responses import Reply
from asyncproxy.polling.deadlines import NEVER
from asyncproxy.polling.http1 import parse_reply, reply_framing
from asyncproxy.polling.long_waits import QUOTED, LongWait, _asking_plainly
from asyncproxy.service.draining import Drain
from asyncproxy.testing import FakeClient, Lab
from tests.fakes import House

EVERY = 10.0
COMMENT = b": keep-alive\n\n"


class Kind(NamedTuple):
    """What a keep-alive of one kind sends, and an answer that fits it."""

    word: str
    type: str
    tick: bytes
    body: bytes


SSE = Kind("sse", "text/event-stream", COMMENT, b"data: one\n\ndata: two\n\n")
JSON = Kind("json", "application/json", b"\n", b'{"price": [1, 2, 3]}')
KINDS = pytest.mark.parametrize("kind", [SSE, JSON], ids=lambda kind: kind.word)
VERSIONS = pytest.mark.parametrize("minor", [1, 0], ids=["1.1", "1.0"])


def house_of(module: Any, word: str, **more: Any) -> House:
    route = {"keep_alive": word, "keep_alive_every": "10s", **more.pop("route", {})}
    return House(module, route=route, **more)


def ask(house: House, minor: int = 1, method: str = "GET", fields: bytes = b"", path: bytes = b"/") -> FakeClient:
    client = house.connect()
    client.send(b"%b %b HTTP/1.%d\r\nHost: a\r\n%b\r\n" % (method.encode(), path, minor, fields))
    house.settle()
    return client


class Got(NamedTuple):
    """What a client has received on its connection, read as a strict client would."""

    informational: list[int]
    head: Reply | None
    body: bytes
    whole: bool
    rest: bytes


def got(client: FakeClient, method: str = "GET") -> Got:
    data, informational = client.received, []
    while data:
        end = data.index(b"\r\n\r\n") + 4
        head, data = parse_reply(data[:end], method), data[end:]
        if head.status < 200:
            informational.append(head.status)
            continue
        framing = reply_framing(head)
        body = framing.feed(data) if not framing.done else b""
        cut = client.wire.aborted
        whole = (client.closed and not cut) if isinstance(framing, UntilClose) else framing.done
        rest = framing.surplus if isinstance(framing, (ChunkedBody, LengthBody)) and framing.done else b""
        return Got(informational, head, body, whole, rest)
    return Got(informational, None, b"", False, b"")


def error_in(kind: Kind, body: bytes) -> dict[str, Any]:
    """The error that ends `body`, before which there is nothing but ticks."""
    if kind is SSE:
        found = re.fullmatch(rb"(?:: keep-alive\n\n)+event: error\ndata: ([^\n]+)\n\n", body)
        assert found, body
        body = found[1]
    error: dict[str, Any] = json.loads(body)["error"]
    assert list(error) == ["status", "title", "detail", "request"]
    return error


# What clients hear while they wait.


class Waits(Module):
    """Answers after a while, in each way that a module can answer."""

    def __init__(self, kind: Kind, answer: Callable[[Kind], Any], seconds: float = 35.0) -> None:
        super().__init__()
        self.kind = kind
        self.answer = answer
        self.seconds = seconds

    async def handle(self, request: Request) -> Any:
        await sleep(self.seconds)
        return self.answer(self.kind)


def typed(kind: Kind, body: Any, status: int = 200, **fields: str) -> Response:
    return Response(status, {"content-type": kind.type, **fields}, body)


def halves(kind: Kind) -> tuple[bytes, bytes]:
    return kind.body[:7], kind.body[7:]


def pieces(kind: Kind) -> Iterator[bytes]:
    yield b""
    yield from halves(kind)


async def parked_pieces(kind: Kind) -> AsyncIterator[bytes]:
    for piece in halves(kind):
        await sleep(1)
        yield piece


def raises(error: BaseException) -> Any:
    raise error


WHOLE: dict[str, Callable[[Kind], Any]] = {
    "bytes": lambda kind: typed(kind, kind.body),
    "text": lambda kind: typed(kind, kind.body.decode()),
    "an iterable": lambda kind: typed(kind, pieces(kind)),
    "an async iterable": lambda kind: typed(kind, parked_pieces(kind)),
    "a list": lambda kind: typed(kind, list(halves(kind))),
    "bytes with fields that come too late": lambda kind: typed(kind, kind.body, etag="x"),
    "a byte order mark before it": lambda kind: typed(kind, b"\xef\xbb\xbf" + kind.body),
}


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


def chunked(*data: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in data)


def reply(kind: Kind, framing: bytes, body: bytes = b"", *more: bytes) -> bytes:
    fields = b"".join(b"\r\n" + field for field in more)
    return b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n%b%b\r\n\r\n%b" % (kind.type.encode(), framing, fields, body)


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


# Failures and answers that do not fit.


FAILURES: dict[str, tuple[Callable[[Kind], Any], int, str, str]] = {
    "an exception": (lambda _: raises(ValueError("a secret")), 500, "", "ME"),
    "no response": (lambda _: 5, 500, "", "MC"),
    "a body that is none": (lambda kind: typed(kind, 5), 500, "", "MC"),
    "a failed forward": (lambda _: raises(UpstreamError("reset", "it broke")), 502, "it broke (reset)", "UC"),
    "a page of its own": (lambda _: Response.text("no such order\n", 404), 404, "no such order", ""),
    "an error in JSON": (lambda _: Response.json({"a": 1}, 429), 429, '{"a": 1}', ""),
    "an error in HTML": (lambda _: Response.html("<p>", 503), 503, "the answer is 503 Service Unavailable", ""),
    "an encoded error": (
        lambda _: Response(404, {"content-type": "text/plain", "content-encoding": "gzip"}, b"\x1f\x8b"),
        404,
        "the answer is 404 Not Found",
        "",
    ),
    "an error in pieces": (lambda _: Response(410, {"content-type": "text/plain"}, [b"a", b"b"]), 410, "ab", ""),
    "a long error": (
        lambda _: Response.text("x" * (QUOTED + 1), 400),
        400,
        "the answer is 400 Bad Request",
        "",
    ),
    "an endless error": (
        lambda _: Response(400, {"content-type": "text/plain"}, iter(lambda: b"x" * 100, b"")),
        400,
        "the answer is 400 Bad Request",
        "",
    ),
    "nothing": (lambda _: Response(204), 204, "the answer is 204 No Content", ""),
    "not modified": (lambda _: Response(304, {"etag": "x"}), 304, "the answer is 304 Not Modified", ""),
    "nothing, in pieces": (lambda kind: typed(kind, [b"x"], 204), 204, "the answer is 204 No Content", ""),
    "a redirect": (lambda _: Response.redirect("/x"), 302, "the answer is 302 Found", ""),
}


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


# Who gets nothing of it.


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
    house.advance(25)
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
    house.advance(10 * EVERY)
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
    unnamed = re.compile(rb"[0-9a-f]{8}-\d+")
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
