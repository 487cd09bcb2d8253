"""An origin that reads strictly, and many clients at once."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tests import strict
from tests.wire.peers import Client, free_port

Answer = Callable[[strict.Request], tuple[bytes, bool]]
CLIENTS = 12
T = TypeVar("T")


def hello(_request: strict.Request) -> tuple[bytes, bool]:
    return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", False


class StrictOrigin:
    """A server on a port of its own.

    It reads with `tests.strict`, keeps what it cannot read in `malformed`, and answers by `answer`, which also says
    whether the connection ends behind the answer.
    """

    def __init__(self) -> None:
        self.answer: Answer = hello
        self.requests: list[strict.Request] = []
        self.malformed: list[str] = []
        self._sockets: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", free_port()), backlog=512)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def forget(self) -> None:
        """Begin anew; connections stay."""
        self.answer = hello
        for kept in (self.requests, self.malformed):
            kept.clear()

    def by_target(self) -> dict[bytes, list[strict.Request]]:
        """The whole requests for each target."""
        found: dict[bytes, list[strict.Request]] = {}
        for request in self.requests:
            found.setdefault(request.target, []).append(request)
        return found

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in list(self._sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(60)
            self._sockets.add(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        unread = b""
        with contextlib.suppress(OSError), sock:
            while data := sock.recv(65536):
                unread += data
                try:
                    found, unread = strict.read_requests(unread)
                except strict.Malformed as why:
                    self.malformed.append(f"{why}: {unread[:500]!r}")
                    break
                if not self._answer(sock, found):
                    break
        self._sockets.discard(sock)

    def _answer(self, sock: socket.socket, found: list[strict.Request]) -> bool:
        for request in found:
            self.requests.append(request)
            data, ends = self.answer(request)
            sock.sendall(data)
            if ends:
                return False
        return True


def exchange(port: int, pieces: Iterable[bytes]) -> bytes:
    """What a client that sends `pieces` gets until its connection is ended by the proxy."""
    with Client(port) as client:
        with contextlib.suppress(ConnectionError):  # it is refused while it is still being sent
            for piece in pieces:
                client.send(piece)
        return client.rest()


def at_once(names: Iterable[str], judge: Callable[[str], None]) -> dict[str, str]:
    """Judge every case, many at a time; which fail, and why."""

    def failure(name: str) -> str:
        try:
            judge(name)
        except (AssertionError, OSError, strict.Malformed) as why:
            return f"{type(why).__name__}: {str(why)[:300]}"
        return ""

    names = list(names)
    with ThreadPoolExecutor(CLIENTS) as clients:
        return {name: why for name, why in zip(names, clients.map(failure, names), strict=True) if why}
