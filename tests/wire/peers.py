"""Both ends around a proxy under test: a client that sends raw bytes, and an upstream that does as a test scripts.

Every wait is bounded; nothing sleeps to let something happen.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

PATIENCE = 10.0
"""Seconds after which a wait of a test has failed."""
KEPT = 1 << 20
"""Of what a socket has received, bytes that are remembered."""
Pairs = list[tuple[str, str]]


def until(condition: Callable[[], Any], what: str | Callable[[], str] = "", patience: float = PATIENCE) -> Any:
    """The first true value of `condition`, asked again and again; AssertionError after `patience` seconds."""
    end = time.monotonic() + patience
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {patience:g} s: {what() if callable(what) else what or condition}")
        time.sleep(0.005)
    return value


def ports(worker: str, workers: int) -> list[int]:
    """In random order, the ports that the worker of that name gives away, which no other of pytest-xdist's does.

    They are outside of what the kernel gives to outgoing connections. `worker` is ``gw0`` for the first.
    """
    own = range(15000 + int(worker.removeprefix("gw")), 32000, workers)
    return random.SystemRandom().sample(own, len(own))


_unused = iter(
    ports(os.environ.get("PYTEST_XDIST_WORKER", "gw0"), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on.

    None is given twice in one run: whoever was given it may not listen yet.
    """
    for port in _unused:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("every port below 32000 was given away or is in use")


def tool(name: str, mend: str) -> str:
    """Where program `name` is. Without it the test is skipped, and fails under CI=true, where all tools are to be."""
    found = shutil.which(name)
    if found is None:
        missing = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        missing(f"there is no {name}: {mend}")
    return found


class Wire:
    """A socket read by lines and counts, with a deadline on every read."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.settimeout(PATIENCE)
        self.buffer = b""
        self.received = b""

    def more(self) -> bool:
        """Read what comes next; False at the end."""
        data = self.sock.recv(65536)
        self.buffer += data
        self.received = (self.received + data)[-KEPT:]
        return bool(data)

    def until(self, marker: bytes) -> bytes:
        """Everything up to `marker`, with it; EOFError if the peer closes before."""
        while marker not in self.buffer:
            if not self.more():
                raise EOFError(f"closed before {marker!r}, after {self.buffer!r}")
        head, _, self.buffer = self.buffer.partition(marker)
        return head + marker

    def exactly(self, count: int) -> bytes:
        """The next `count` bytes; EOFError if the peer closes before."""
        pieces, missing = [self.buffer[:count]], count - len(self.buffer)
        self.buffer = self.buffer[count:]
        while missing > 0:
            if not self.more():
                raise EOFError(f"closed {missing} bytes early")
            pieces.append(self.buffer[:missing])
            missing, self.buffer = missing - len(self.buffer), self.buffer[missing:]
        return b"".join(pieces)

    def rest(self) -> bytes:
        """Everything until the peer closes; a reset counts as a close."""
        with contextlib.suppress(ConnectionError):
            while self.more():
                pass
        data, self.buffer = self.buffer, b""
        return data

    def chunked(self) -> tuple[bytes, list[bytes]]:
        """A body in chunks, and its chunks."""
        chunks = []
        while size := int(self.until(b"\r\n"), 16):
            chunks.append(self.exactly(size))
            assert self.exactly(2) == b"\r\n"
        while self.until(b"\r\n") != b"\r\n":
            pass
        return b"".join(chunks), chunks

    def ended(self) -> bool:
        """Whether the peer closes, without another byte."""
        return self.rest() == b""

    def close(self) -> None:
        self.sock.close()

    def half_close(self) -> None:
        """Send no more, and read on."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close by RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


def split_head(head: bytes) -> tuple[str, Pairs]:
    """The first line of a head, and its fields with names in lower case."""
    first, *lines = head.removesuffix(b"\r\n\r\n").decode("latin-1").split("\r\n")
    pairs = []
    for line in lines:
        name, _, value = line.partition(":")
        pairs.append((name.lower(), value.strip()))
    return first, pairs


class Message:
    """A head as it came."""

    def __init__(self, head: bytes) -> None:
        self.head = head
        self.line, self.fields = split_head(head)

    def all(self, name: str) -> list[str]:
        return [value for field, value in self.fields if field == name]

    def get(self, name: str) -> str | None:
        values = self.all(name)
        assert len(values) < 2, f"{name} is there {len(values)} times: {values}"
        return values[0] if values else None


class Reply(Message):
    """What the proxy answered. `framing` is ``length``, ``chunked``, ``close`` or ``none``."""

    def __init__(self, head: bytes) -> None:
        super().__init__(head)
        self.version, status, _ = [*self.line.split(" ", 2), ""][:3]
        self.status = int(status)
        self.body = b""
        self.chunks: list[bytes] = []
        self.framing = "none"

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"<Reply {self.line} {self.fields} {self.body[:200]!r}>"


class Client(Wire):
    """A client of a proxy, over TCP, from the address `source` if it is to have one of its own."""

    def __init__(self, port: int, receive_buffer: int | None = None, source: str = "") -> None:
        sock = socket.socket()
        if source:
            sock.bind((source, 0))
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(PATIENCE)
        try:
            sock.connect(("127.0.0.1", port))
        except OSError:
            sock.close()
            raise
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().__init__(sock)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def head(self) -> Reply:
        """The head of the next reply."""
        return Reply(self.until(b"\r\n\r\n"))

    def reply(self, method: str = "GET") -> Reply:
        """The next reply, whole; EOFError if it is cut."""
        reply = self.head()
        if method == "HEAD" or reply.status < 200 or reply.status in (204, 304):
            return reply
        if reply.get("transfer-encoding") is not None:
            assert reply.get("transfer-encoding") == "chunked"
            assert reply.get("content-length") is None
            reply.framing = "chunked"
            reply.body, reply.chunks = self.chunked()
        elif reply.get("content-length") is not None:
            reply.framing = "length"
            reply.body = self.exactly(int(reply.get("content-length") or ""))
        else:
            reply.framing = "close"
            reply.body = self.rest()
        return reply

    def ask(self, request: bytes) -> Reply:
        """Send `request` and read its reply."""
        self.send(request)
        return self.reply(request.partition(b" ")[0].decode())

    def get(self, path: str, *fields: str) -> Reply:
        """GET `path`."""
        return self.ask(request("GET", path, *fields))

    def post(self, path: str, body: bytes, *fields: str) -> Reply:
        """POST `body` with its length."""
        return self.ask(request("POST", path, f"Content-Length: {len(body)}", *fields) + body)

    def post_chunked(self, path: str, body: bytes) -> Reply:
        """POST `body` in one chunk."""
        framed = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
        return self.ask(request("POST", path, "Transfer-Encoding: chunked") + framed + b"0\r\n\r\n")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def request(method: str, path: str, *fields: str) -> bytes:
    """The head of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: proxy.test", *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1")


class Call(Message):
    """One request as an upstream got it, and the means to answer it."""

    def __init__(self, head: bytes, connection: Connection, number: int) -> None:
        super().__init__(head)
        self.method, self.target, self.version = self.line.split(" ")
        self.connection = connection
        self.number = number
        """How many came before on the connection."""
        self.chunks: list[bytes] = []
        self.framing = "none"
        self._body: bytes | None = None

    @property
    def body(self) -> bytes:
        """The body; read from the socket if it was not yet."""
        if self._body is None:
            wire = self.connection
            self._body = b""
            if self.get("transfer-encoding") is not None:
                self.framing = "chunked"
                self._body, self.chunks = wire.chunked()
            elif self.get("content-length") is not None:
                self.framing = "length"
                self._body = wire.exactly(int(self.get("content-length") or ""))
        return self._body

    def send(self, *data: bytes) -> None:
        self.connection.sock.sendall(b"".join(data))

    def answer(self, body: bytes = b"", status: str = "200 OK", *fields: str) -> None:
        """A whole reply with a length, after the body has come."""
        self.body  # noqa: B018 - an orderly server reads it
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields, "", ""]
        self.send("\r\n".join(lines).encode(), b"" if self.method == "HEAD" else body)

    def close(self) -> None:
        """Close in order, as servers do: what was sent arrives."""
        self.connection.closing = True

    def gone(self, patience: float = PATIENCE) -> bool:
        """Whether the proxy closes the connection within `patience` seconds."""
        return self.connection.gone.wait(patience)

    def watch(self) -> None:
        """Read until the proxy closes, which sets `connection.gone`."""
        self.connection.rest()
        self.connection.gone.set()
        self.connection.closing = True


Script = Callable[[Call], None]


def hello(call: Call) -> None:
    """Answer with what was asked for."""
    call.answer(f"{call.method} {call.target}".encode(), "200 OK", "Content-Type: text/plain")


class Connection(Wire):
    """One connection that an upstream was made."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        super().__init__(sock)
        sock.settimeout(40)
        self.number = number
        self.closing = False
        self.serving = False
        self.gone = threading.Event()
        """The proxy has closed it."""


class Upstream:
    """A server that answers by `script` and remembers every request in `calls`."""

    def __init__(self, path: str | None = None) -> None:
        self.path = path
        if path is None:
            self._listener = socket.socket()
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind(("127.0.0.1", free_port()))
            self.port = self._listener.getsockname()[1]
            self.url = f"http://127.0.0.1:{self.port}"
        else:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(path)
            self.url = f"unix:{path}"
        self._listener.listen(512)
        self.changed = threading.Condition()
        self.script: Script = hello
        self.calls: list[Call] = []
        self.connections: list[Connection] = []
        self.failures: list[BaseException] = []
        self.stopped = False
        threading.Thread(target=self._accept, daemon=True).start()

    def wait(self, condition: Callable[[], Any], what: str = "", patience: float = PATIENCE) -> Any:
        """The first true value of `condition`, looked at whenever something has happened here."""
        with self.changed:
            value = self.changed.wait_for(condition, patience)
        assert value, f"not within {patience:g} s: {what}; calls: {[call.line for call in self.calls]}"
        return value

    def call(self, index: int = 0) -> Call:
        """The call number `index` of this test, as soon as its head is there."""
        self.wait(lambda: len(self.calls) > index, f"request {index}")
        return self.calls[index]

    def targets(self) -> list[str]:
        """What was asked for, in order."""
        return [f"{call.method} {call.target}" for call in self.calls]

    def reset(self) -> None:
        """End what a test left unfinished, and forget it; connections that idle stay."""
        self.script = hello
        for connection in list(self.connections):
            if connection.serving:
                with contextlib.suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)
        self.wait(lambda: not any(one.serving for one in self.connections), "scripts end")
        self.calls.clear()

    def close_idle(self) -> None:
        """Close what idles, in order, and see the proxy close it too."""
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_WR)
        self.wait(lambda: not self.connections, "the proxy closes its side")

    def stop(self) -> None:
        self.stopped = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)
        self.wait(lambda: not self.connections, "every connection ends")

    def _accept(self) -> None:
        number = 0
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            number += 1
            connection = Connection(sock, number)
            with self.changed:
                self.connections.append(connection)
                self.changed.notify_all()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: Connection) -> None:
        try:
            with contextlib.suppress(EOFError, OSError):
                count = 0
                while not connection.closing:
                    self._serve_one(connection, count)
                    count += 1
        finally:
            connection.close()
            with self.changed:
                self.connections.remove(connection)
                connection.gone.set()
                self.changed.notify_all()

    def _serve_one(self, connection: Connection, count: int) -> None:
        call = Call(connection.until(b"\r\n\r\n"), connection, count)
        with self.changed:
            connection.serving = True
            self.calls.append(call)
            self.changed.notify_all()
        try:
            self.script(call)
            if not connection.closing:
                call.body  # noqa: B018 - what the script left of it
        finally:
            with self.changed:
                connection.serving = False
                self.changed.notify_all()


class Gate:
    """A place where a module's code stands still, on its worker, until the test lets it go."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._listener.settimeout(PATIENCE)
        self.port = self._listener.getsockname()[1]
        self._waiting: list[socket.socket] = []

    def arrived(self) -> None:
        """Wait until module code stands here."""
        sock, _ = self._listener.accept()
        self._waiting.append(sock)

    def open(self) -> None:
        """Let everything go that has arrived."""
        while self._waiting:
            self._waiting.pop().close()

    def nobody(self) -> bool:
        """Whether nobody stands here who was not seen before."""
        self._listener.setblocking(False)
        try:
            self._listener.accept()[0].close()
        except BlockingIOError:
            return True
        finally:
            self._listener.settimeout(PATIENCE)
        return False

    def close(self) -> None:
        self.open()
        self._listener.close()


@contextlib.contextmanager
def full_backlog() -> Iterator[int]:
    """A port where connecting hangs: its backlog is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", free_port()))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
