"""The server behind every proxy of the benchmark: the demo's, with small, large and endless answers.

/small is answered without parsing more than must be: its cost is the same for all proxies, and it must not be
what limits them.
"""

import asyncio
import gc
import itertools
import time
from typing import ClassVar

from examples.demo import upstream as demo

SMALL_GET = b"GET /small HTTP/1.1\r\n"
SMALL_REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 200\r\n\r\n" + b"x" * 199 + b"\n"
BLOCK = bytes(256 * 1024)


_numbers = itertools.count()


def varied_reply() -> bytes:
    """The small reply with a field that no other has."""
    return SMALL_REPLY.replace(b"\r\nContent-Length", b"\r\nX-Number: %d\r\nContent-Length" % next(_numbers), 1)


class Conversation(demo.Conversation):
    """One connection from a proxy."""

    hung_up: ClassVar[dict[str, float]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.left_to_send = 0
        self.full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A buffer large enough that we never are the slow side of a large reply."""
        super().connection_made(transport)
        self.transport.set_write_buffer_limits(high=4 * len(BLOCK))

    def data_received(self, data: bytes) -> None:
        """The small GET, whole and alone in its packet, is answered at once; all else goes the long way."""
        if data.startswith(SMALL_GET) and data.endswith(b"\r\n\r\n") and b"onnection: close" not in data:
            self.transport.write(SMALL_REPLY if b"X-Number: " not in data else varied_reply())
        else:
            super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note when a held request's proxy hung up."""
        super().connection_lost(exc)
        self.left_to_send = 0
        if self.asked is not None and self.asked.path == "/hold":
            self.hung_up[self.asked.query["id"]] = time.monotonic()

    def take(self, part: bytearray) -> None:
        """The body of an upload is counted, not kept."""

    def small(self, asked: demo.Asked) -> None:
        """The small reply, for those that ask in another way."""
        self.transport.write(SMALL_REPLY)
        self.done()

    def sink(self, asked: demo.Asked) -> None:
        """How much was swallowed."""
        self.finish(f"{asked.length}\n".encode())

    def large(self, asked: demo.Asked) -> None:
        """So many bytes, as fast as they are taken."""
        self.left_to_send = int(asked.query["bytes"])
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % self.left_to_send)
        self.pump()

    def pump(self) -> None:
        """Write until the buffer is full or nothing is left."""
        while self.left_to_send and not self.full:
            part = BLOCK if self.left_to_send >= len(BLOCK) else BLOCK[: self.left_to_send]
            self.left_to_send -= len(part)
            self.transport.write(part)
        if not self.left_to_send:
            self.done()

    def pause_writing(self) -> None:
        """The buffer is full."""
        self.full = True

    def resume_writing(self) -> None:
        """There is room again."""
        self.full = False
        if self.left_to_send:
            self.pump()

    def hold(self, asked: demo.Asked) -> None:
        """Never answer."""

    def closed(self, asked: demo.Asked) -> None:
        """When the proxy hung up on a held request, on the clock that all processes share; 0: not yet."""
        self.finish(f"{self.hung_up.get(asked.query['id'], 0.0)!r}\n".encode())


Conversation.paths = {
    **demo.Conversation.paths,
    "/small": Conversation.small,
    "/sink": Conversation.sink,
    "/large": Conversation.large,
    "/hold": Conversation.hold,
    "/closed": Conversation.closed,
}


if __name__ == "__main__":
    gc.freeze()
    gc.disable()
    demo.main(Conversation)
