"""A small HTTP server to stand behind the proxy: /hello, /echo, /slow?s=5 and /stream.

It is an ``asyncio.Protocol`` on uvloop with parsing of its own, so that holding thousands of requests costs
next to nothing beside the proxy that is shown. It trusts its clients: it is no server for the open net.
"""

import argparse
import asyncio
import contextlib
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from typing import ClassVar, NamedTuple, cast
from urllib.parse import parse_qsl

import uvloop

Headers = list[tuple[str, str]]


class Asked(NamedTuple):
    """The head of one request; ``length`` is how long its body will be."""

    method: str
    path: str
    query: dict[str, str]
    headers: Headers
    length: int
    closing: bool

    @classmethod
    def read(cls, head: bytes) -> "Asked":
        """The request line and headers, without the empty line that ends them."""
        first, *rest = head.decode("latin-1").split("\r\n")
        method, target, version = first.split(" ")
        path, _, query = target.partition("?")
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in rest)]
        known = {name.lower(): value for name, value in headers}
        closing = version == "HTTP/1.0" or known.get("connection", "").lower() == "close"
        length = int(known.get("content-length", 0))
        if "transfer-encoding" in known:
            raise ValueError("only bodies with a Content-Length are read here")
        return cls(method, path, dict(parse_qsl(query)), headers, length, closing)


class Conversation(asyncio.Protocol):
    """One connection: requests are read one after another, each is answered by the method of its path."""

    paths: ClassVar[dict[str, Callable[..., None]]] = {}

    def __init__(self) -> None:
        self.received = bytearray()
        self.body = bytearray()
        self.asked: Asked | None = None
        self.missing = 0
        self.since = 0.0
        self.answering = False
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what we write to."""
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody waits for the answer any more."""
        if self.timer is not None:
            self.timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Go on as far as these bytes lead."""
        self.received += data
        self.advance()

    def advance(self) -> None:
        """Read the head, then the body, then answer; what follows waits in ``received`` until then."""
        if self.asked is None and not self.read_head():
            return
        if self.missing and self.received:
            part = self.received[: self.missing]
            del self.received[: len(part)]
            self.missing -= len(part)
            self.take(part)
        if not self.missing and not self.answering:
            self.answering = True
            self.answer()

    def read_head(self) -> bool:
        """Whether a whole head had come."""
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return False
        self.since = time.monotonic()
        try:
            self.asked = Asked.read(bytes(self.received[:end]))
        except ValueError as wrong:
            self.refuse(str(wrong))
            return False
        del self.received[: end + 4]
        self.missing = self.asked.length
        return True

    def refuse(self, why: str) -> None:
        """Say what was wrong, and hang up: where the next request would begin is not known."""
        self.received.clear()
        self.reply(why.encode() + b"\n", status="400 Bad Request", more="Connection: close\r\n")
        self.transport.close()

    def take(self, part: bytearray) -> None:
        """A part of the body."""
        self.body += part

    def answer(self) -> None:
        """The whole request is here."""
        assert self.asked is not None
        answer = self.paths.get(self.asked.path)
        if answer is not None:
            answer(self, self.asked)
        else:
            self.finish(f"there is no {self.asked.path} here\n".encode(), status="404 Not Found")

    def reply(self, body: bytes, *, status: str = "200 OK", kind: str = "text/plain", more: str = "") -> None:
        """Write one whole reply."""
        length = f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
        self.transport.write(f"HTTP/1.1 {status}\r\n{length}".encode() + body)

    def finish(self, body: bytes, *, status: str = "200 OK", kind: str = "text/plain", more: str = "") -> None:
        """Write one whole reply, the last thing to do for this request."""
        self.reply(body, status=status, kind=kind, more=more)
        self.done()

    def done(self) -> None:
        """The reply is written: read the next request, or hang up if that was asked for."""
        closing = self.asked is None or self.asked.closing
        self.asked, self.timer, self.answering = None, None, False
        self.body.clear()
        if closing:
            self.transport.close()
        elif self.received:
            asyncio.get_running_loop().call_soon(self.advance)

    def hello(self, asked: Asked) -> None:
        """A greeting."""
        self.finish(b"hello from the upstream\n")

    def echo(self, asked: Asked) -> None:
        """What came, as JSON: so one sees what the proxy changed on the way."""
        said = {
            "method": asked.method,
            "path": asked.path,
            "query": asked.query,
            "headers": asked.headers,
            "body": self.body.decode("utf-8", "replace"),
        }
        self.finish(json.dumps(said, indent=2).encode() + b"\n", kind="application/json")

    def slow(self, asked: Asked) -> None:
        """Answer ``s`` seconds later with ``id``; the header says how long it truly took here."""
        seconds = float(asked.query.get("s", "5"))
        self.timer = asyncio.get_running_loop().call_later(seconds, self.slept, asked)

    def slept(self, asked: Asked) -> None:
        """The time of a slow request is over."""
        took = time.monotonic() - self.since
        self.finish(f"{asked.query.get('id', 'slept')}\n".encode(), more=f"X-Upstream-Seconds: {took:.6f}\r\n")

    def stream(self, asked: Asked) -> None:
        """Ten server-sent events, one a second."""
        head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.transport.write(head.encode())
        self.event(1)

    def event(self, number: int) -> None:
        """One event, and the next in a second."""
        said = f"data: event {number} of 10\n\n".encode()
        self.transport.write(b"%x\r\n%s\r\n" % (len(said), said))
        if number < 10:
            self.timer = asyncio.get_running_loop().call_later(1, self.event, number + 1)
        else:
            self.transport.write(b"0\r\n\r\n")
            self.done()


Conversation.paths = {
    "/hello": Conversation.hello,
    "/echo": Conversation.echo,
    "/slow": Conversation.slow,
    "/stream": Conversation.stream,
}


def leash(over: asyncio.Event) -> None:
    """End when standard input closes: whoever started us holds the other end, however it dies."""
    if not os.read(0, 1):
        over.set()


async def serve(conversation: type[Conversation], port: int, *, leashed: bool) -> None:
    """Listen until a signal, or until our starter is gone; the first line printed names the port."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, over.set)
    if leashed:
        loop.add_reader(0, leash, over)
    server = await loop.create_server(conversation, "127.0.0.1", port, backlog=4096)
    print(f"listening on {server.sockets[0].getsockname()[1]}", flush=True)
    await over.wait()
    server.close()


def allow_many_files() -> None:
    """As many sockets as the system lets us have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main(conversation: type[Conversation] = Conversation) -> None:
    """The command line."""
    options = argparse.ArgumentParser(description="a small server to stand behind the proxy")
    options.add_argument("--port", type=int, default=9000, help="0: any free one")
    options.add_argument("--leash", action="store_true", help="end when standard input closes")
    chosen = options.parse_args()
    allow_many_files()
    try:
        uvloop.run(serve(conversation, chosen.port, leashed=chosen.leash))
    except OSError as wrong:
        sys.exit(f"the upstream cannot listen on 127.0.0.1:{chosen.port}: {wrong.strerror or wrong}")


if __name__ == "__main__":
    main()
