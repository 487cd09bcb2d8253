"""An echo server of the package `websockets`, which notes what it has seen of each conversation."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

from tests.wire.peers import PATIENCE, until

LARGEST = 32 * 1024 * 1024


class EchoServer:
    """Where it listens, and by path what came: messages, then the code and reason of the close."""

    def __init__(self, **options: Any) -> None:
        self.seen: dict[str, list[Any]] = {}
        self.over: set[str] = set()
        self.server: Server = serve(
            self._echo, "127.0.0.1", 0, max_size=LARGEST, ping_interval=None, compression="deflate",
            select_subprotocol=lambda _, offered: next((one for one in offered if one == "chat.v1"), None), **options,
        )  # fmt: skip
        self.port: int = self.server.socket.getsockname()[1]
        self._thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self._thread.start()

    def _echo(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        path = connection.request.path
        seen = self.seen.setdefault(path, [])
        try:
            for message in connection:
                seen.append(message if len(message) < 1000 else (type(message), len(message), hash(message)))
                connection.send(message)
        except ConnectionClosed:
            pass  # by an error; how, is read below
        finally:
            closed = connection.protocol
            received, sent = closed.close_rcvd, closed.close_sent
            seen.append((received and (received.code, received.reason), sent and sent.code))
            self.over.add(path)

    def conversation(self, path: str) -> list[Any]:
        """What was seen at `path`, which is over in a moment."""
        until(lambda: path in self.over, f"the conversation at {path} is over", PATIENCE)
        return self.seen[path]

    def stop(self) -> None:
        self.server.shutdown()
        self._thread.join(PATIENCE)


@contextmanager
def echo_server() -> Iterator[EchoServer]:
    server = EchoServer()
    try:
        yield server
    finally:
        server.stop()
