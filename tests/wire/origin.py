"""An origin with all that clients know to ask for: ranges, codings, redirects, cookies, events, and echoes of bodies.

It is what an `Upstream` of `peers` answers by; what it serves is made of numbers, so that each end knows every byte.
"""

from __future__ import annotations

import gzip
import json
import random
import re
import threading
from collections.abc import Iterator
from functools import cache
from urllib.parse import urlsplit

from tests.wire.peers import PATIENCE, Call

LARGE = 3 * 1024 * 1024 + 7
EVENTS = 5


@cache
def content(size: int) -> bytes:
    """The bytes of ``/bytes/SIZE``."""
    return random.Random(size).randbytes(size)


@cache
def prose(size: int) -> bytes:
    """The words of ``/gzip/SIZE``, which are shorter when compressed."""
    return b"".join(b"%d bottles of beer\n" % number for number in range(size // 20))


def pieces(data: bytes) -> Iterator[bytes]:
    """`data` in pieces of all sizes."""
    chance, at = random.Random(len(data)), 0
    while at < len(data):
        size = chance.choice((1, 100, 4096, 65536, 300000))
        yield data[at : at + size]
        at += size


class Origin:
    """Answers requests: ``upstream.script = Origin()``.

    ``/refused`` is answered at once where the client has said Expect. After each event of ``/events`` it waits until
    `seen` was called, or ``/seen`` asked for, so that nobody who keeps an event back ever gets the next.
    """

    def __init__(self) -> None:
        self._seen = threading.Semaphore(0)
        self.expected: list[str] = []
        """What was said in Expect, of every request that said it."""

    def __call__(self, call: Call) -> None:
        if (expected := call.get("expect")) is not None:
            self.expected.append(expected)
            if urlsplit(call.target).path == "/refused":
                call.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 8\r\nConnection: close\r\n\r\nnot that")
                call.close()
                return
            call.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        call.body  # noqa: B018 - before anything is answered
        path, _, rest = urlsplit(call.target).path[1:].partition("/")
        getattr(self, f"serve_{path}", self._nothing)(call, rest)

    def _nothing(self, call: Call, _: str) -> None:
        call.answer(b"nothing", "404 Not Found")

    def seen(self) -> None:
        """The client has the latest event."""
        self._seen.release()

    def serve_bytes(self, call: Call, size: str) -> None:
        data, etag = content(int(size)), f'"{size}"'
        fields = ("Content-Type: application/octet-stream", f"ETag: {etag}", "Accept-Ranges: bytes")
        if call.get("if-none-match") == etag:
            call.send(f"HTTP/1.1 304 Not Modified\r\nETag: {etag}\r\n\r\n".encode())
        elif (wanted := call.get("range")) is None:
            self._whole(call, data, *fields)
        elif (first := int(re.findall(r"bytes=(\d+)-", wanted)[0])) >= len(data):
            call.answer(b"beyond", "416 Range Not Satisfiable", f"Content-Range: bytes */{size}")
        else:
            last = min(int(re.findall(r"-(\d+)$", wanted)[0]) if not wanted.endswith("-") else len(data), len(data) - 1)
            told = f"Content-Range: bytes {first}-{last}/{size}"
            call.answer(data[first : last + 1], "206 Partial Content", told, *fields)

    def _whole(self, call: Call, data: bytes, *fields: str) -> None:
        """As `Call.answer`, and a HEAD is told the length of what a GET would get."""
        if call.method == "HEAD":
            head = "\r\n".join(["HTTP/1.1 200 OK", f"Content-Length: {len(data)}", *fields, "", ""])
            call.send(head.encode())
        else:
            call.answer(data, "200 OK", *fields)

    def serve_chunked(self, call: Call, size: str) -> None:
        call.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: application/octet-stream\r\n\r\n")
        for piece in pieces(content(int(size))):
            call.send(b"%x\r\n" % len(piece), piece, b"\r\n")
        call.send(b"0\r\n\r\n")

    def serve_gzip(self, call: Call, size: str) -> None:
        assert "gzip" in (call.get("accept-encoding") or ""), call.fields
        fields = ("Content-Encoding: gzip", "Vary: Accept-Encoding", "Content-Type: text/plain")
        call.answer(gzip.compress(prose(int(size)), 1), "200 OK", *fields)

    def serve_echo(self, call: Call, _: str) -> None:
        how = (f"X-Framing: {call.framing}", f"X-Method: {call.method}", f"Content-Type: {call.get('content-type')}")
        call.answer(call.body, "200 OK", *how)

    def serve_redirect(self, call: Call, where: str) -> None:
        """``/redirect/307/echo`` leads to ``/echo`` with 307."""
        status, _, path = where.partition("/")
        call.answer(b"elsewhere", f"{status} Elsewhere", f"Location: /{path}")

    def serve_cookies(self, call: Call, verb: str) -> None:
        if verb == "set":
            cookies = ("Set-Cookie: flavour=oat; Path=/", "Set-Cookie: size=large; Path=/; HttpOnly")
            call.answer(b"", "302 Found", "Location: /cookies/shown", *cookies)
        else:
            shown = dict(one.split("=", 1) for one in (call.get("cookie") or "").split("; ") if one)
            call.answer(json.dumps(shown).encode(), "200 OK", "Content-Type: application/json")

    def serve_events(self, call: Call, _: str) -> None:
        while self._seen.acquire(blocking=False):  # of an earlier stream
            pass
        call.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/event-stream\r\n\r\n")
        for number in range(EVENTS):
            event = b"data: event %d\n\n" % number
            call.send(b"%x\r\n%b\r\n" % (len(event), event))
            assert self._seen.acquire(timeout=PATIENCE), f"nobody has seen event {number}"
        call.send(b"0\r\n\r\n")

    def serve_seen(self, call: Call, _: str) -> None:
        self.seen()
        call.answer(b"")

    def serve_status(self, call: Call, status: str) -> None:
        if status in ("204", "304"):
            call.send(f"HTTP/1.1 {status} Nothing\r\nX-Status: {status}\r\n\r\n".encode())
        else:
            call.answer(f"it is {status}".encode(), f"{status} As Asked", f"X-Status: {status}")

    def serve_page(self, call: Call, _: str) -> None:
        call.answer(
            b"<!doctype html><title>page</title><link rel=icon href=data:,>", "200 OK", "Content-Type: text/html"
        )
