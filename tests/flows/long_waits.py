"""Modules that answer late, in every way, and clients that wait for them; for the tests of long waits."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, NamedTuple

import pytest

from asyncproxy import Module, Request, Response, UpstreamError, sleep
from asyncproxy.exchange.framing import ChunkedBody, LengthBody, UntilClose
from asyncproxy.exchange.responses import Reply
from asyncproxy.polling.http1 import parse_reply, reply_framing
from asyncproxy.polling.long_waits import QUOTED
from asyncproxy.testing import FakeClient
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


def chunked(*data: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in data)


def reply(kind: Kind, framing: bytes, body: bytes = b"", *more: bytes) -> bytes:
    fields = b"".join(b"\r\n" + field for field in more)
    return b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n%b%b\r\n\r\n%b" % (kind.type.encode(), framing, fields, body)


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
