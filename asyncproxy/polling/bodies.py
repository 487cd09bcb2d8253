"""A body on its way from a socket to whoever wants it, with back-pressure, in either direction.

The rule: bytes are kept only while nobody takes them, and at most `limit` of them before the source is told to wait.
Whoever wants the body is its sink (an upstream's connection, the client's, a spool) or reads it piece by piece; there
is one of them at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

from asyncproxy.boundaries import Sink, Source
from asyncproxy.exchange.trailers import Trailers

HIGH_WATER = 64 * 1024
"""Bytes kept for a sink that is not there yet before the source is paused."""

MANY: Final = 64
SMALL: Final = 512
"""More pieces than `MANY`, of less than so many bytes on average, are kept as one."""

Reader = Callable[[bytes, Exception | None], None]


class BodyStream:
    """See the file's head. `ended` and `error` tell whether and how the source is through; polling thread only."""

    __slots__ = (
        "_kept",
        "_paused",
        "_reader",
        "_reader_wants_all",
        "_sink",
        "_size",
        "ended",
        "error",
        "limit",
        "source",
        "taken",
        "trailers",
    )

    def __init__(self, source: Source | None = None, limit: int = HIGH_WATER) -> None:
        self.source = source
        self.limit = limit
        self.ended = False
        self.error: Exception | None = None
        self.trailers: Trailers = ()
        """What came behind it."""
        self.taken = False
        """Whether anybody has had any of it."""
        self._kept: list[bytes] = []
        self._size = 0
        self._paused = False
        self._sink: Sink | None = None
        self._reader: Reader | None = None
        self._reader_wants_all = False

    @classmethod
    def whole(cls, body: bytes) -> BodyStream:
        """A body that is all there."""
        stream = cls()
        if body:
            stream._kept.append(body)
            stream._size = len(body)
        stream.ended = True
        return stream

    # The source's side.

    def feed(self, data: bytes) -> None:
        """`data` has arrived."""
        if self._sink is not None:
            self._sink.piece(data)
            return
        self._size += len(data)
        keep(self._kept, data, self._size)
        if self._reader is not None and not self._reader_wants_all:
            self._serve_reader()
        elif self._size > self.limit and not self._reader_wants_all:
            self.pause()

    def let_go(self) -> None:
        """The source has given all of it: it is not held back any more, and is free for what comes next."""
        source, self.source = self.source, None
        if self._paused and source is not None:
            self._paused = False
            source.resume()

    def end(self, trailers: Trailers = ()) -> None:
        """The body is complete, and `trailers` have come behind it."""
        self.ended = True
        self.trailers = trailers
        self.source = None
        if self._sink is not None:
            sink, self._sink = self._sink, None
            sink.end(trailers)
        elif self._reader is not None:
            self._serve_reader()

    def fail(self, error: Exception) -> None:
        """The body is cut; nothing more will come."""
        if self.ended or self.error is not None:
            return
        self.error = error
        self.source = None
        if self._sink is not None:
            sink, self._sink = self._sink, None
            sink.failed(error)
        elif self._reader is not None:
            self._serve_reader()

    # The taker's side.

    @property
    def unasked(self) -> bool:
        """Whether nothing has come because its source waits to hear that it is wanted, as a client for 100 Continue."""
        return self._paused and not self.taken and not self._size

    def attach(self, sink: Sink, *, ask: bool = True) -> None:
        """`sink` takes what has come and what comes, until the end, a failure, or `detach`.

        Without `ask` a source that waits goes on waiting, until it is told by `resume`.
        """
        kept, self._kept, self._size = self._kept, [], 0
        self.taken = True
        self._sink = sink
        waits, self._paused = self._paused, False  # from now on the sink says whether the source waits
        for data in kept:
            sink.piece(data)
        if self._sink is not sink:
            self._paused = self._paused or waits
            return
        if self.ended:
            self._sink = None
            sink.end(self.trailers)
        elif self.error is not None:
            self._sink = None
            sink.failed(self.error)
        elif waits and not self._paused and self.source is not None:
            if ask:
                self.source.resume()
            else:
                self._paused = True

    def detach(self) -> None:
        """The sink takes no more; what comes is kept, within the limit."""
        self._sink = None

    def read(self, reader: Reader, *, whole: bool) -> None:
        """Call `reader(data, error)` once, with what is there or comes next, or with all of the rest if `whole`."""
        self.taken = True
        self._reader = reader
        self._reader_wants_all = whole
        if self.ended or self.error is not None or (self._kept and not whole):
            self._serve_reader()
        else:
            self.resume()

    def gathered(self) -> bytes:
        """All of a body that has ended before anybody took any of it."""
        data, self._kept, self._size = b"".join(self._kept), [], 0
        return data

    def stop_reading(self) -> None:
        """Whoever read wants no more; safe to call at any time."""
        self._reader = None
        self._reader_wants_all = False

    def pause(self) -> None:
        """The source shall wait."""
        if not self._paused and self.source is not None:
            self._paused = True
            self.source.pause()

    def resume(self) -> None:
        """The source may go on."""
        if self._paused and self.source is not None:
            self._paused = False
            self.source.resume()

    def drop(self) -> None:
        """Nobody wants the rest: the source is told, and what is kept is dropped."""
        self._kept.clear()
        self._size = 0
        self._sink = self._reader = None
        source, self.source = self.source, None
        if source is not None:
            source.drop()

    def _serve_reader(self) -> None:
        reader, self._reader = self._reader, None
        data, self._kept, self._size = b"".join(self._kept), [], 0
        error = None if data and not self._reader_wants_all else self.error
        self._reader_wants_all = False
        if not self.ended and error is None:
            self.resume()
        if reader is not None:
            reader(data, error)

    def __repr__(self) -> str:
        state = (
            "ended" if self.ended else f"cut: {self.error}" if self.error else "paused" if self._paused else "flowing"
        )
        return f"<BodyStream {state}, {self._size} bytes kept>"


def keep(pieces: list[bytes], piece: bytes, size: int) -> None:
    """Add `piece` to `pieces`, which come to `size` bytes with it; many small ones are made one.

    A piece of two bytes takes forty of memory, and who sends a body decides in what pieces it comes.
    """
    pieces.append(piece)
    if len(pieces) > MANY and len(pieces) * SMALL > size:
        pieces[:] = (b"".join(pieces),)


def body_stream(message: Any) -> BodyStream:
    """The stream of a request's or a reply's body; one that was whole from the start gets a stream of it."""
    if not isinstance(message.stream, (BodyStream, bytes)):
        raise RuntimeError("the upstream has switched protocols: there is no body to read")
    if not isinstance(message.stream, BodyStream):
        message.stream = BodyStream.whole(message.stream or b"")
    return cast(BodyStream, message.stream)
