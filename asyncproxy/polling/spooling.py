"""A request's body, collected for a module that wants it whole; no worker is held while it arrives.

In memory up to a limit, then in a temporary file. Files are written on a worker, one batch at a time, for a disk may
block; the client is told to wait meanwhile.
"""

from __future__ import annotations

import os
import tempfile
from io import BytesIO
from typing import IO, TYPE_CHECKING, Final, cast

from asyncproxy.exchange.trailers import Trailers
from asyncproxy.polling.bodies import BodyStream, body_stream, keep
from asyncproxy.working.turns import CallTurn

if TYPE_CHECKING:
    from asyncproxy.polling.flow import Exchange


class Spool:
    """Collects the body of `exchange`'s request, then lets it begin."""

    __slots__ = ("_ended", "_file", "_in_memory", "_pieces", "_size", "_writing", "exchange")

    def __init__(self, exchange: Exchange, in_memory: int) -> None:
        self.exchange = exchange
        self._in_memory = in_memory
        self._pieces: list[bytes] = []
        self._size = 0
        self._file: IO[bytes] | None = None
        self._writing = False
        self._ended = False

    def begin(self) -> None:
        """Take what has come and what comes."""
        body_stream(self.exchange.request).attach(self)

    def piece(self, data: bytes) -> None:
        """A piece of the body."""
        self._size += len(data)
        keep(self._pieces, data, self._size)
        if self._size > self._in_memory and not self._writing:
            self._write()

    def end(self, trailers: Trailers = ()) -> None:
        """The body is complete; its request has the trailers."""
        self._ended = True
        if not self._writing:
            self._write() if self._file is not None and self._pieces else self._done()

    def failed(self, error: Exception) -> None:
        """The body is cut."""
        self.drop()
        self.exchange.source = None
        self.exchange.failed(error)

    def drop(self) -> None:
        """Nobody wants the body any more."""
        body_stream(self.exchange.request).drop()
        self._pieces.clear()
        file, self._file = self._file, None
        if file is not None and not self._writing:
            file.close()

    def _write(self) -> None:
        self._writing = True
        self._size = 0
        pieces, self._pieces = self._pieces, []
        body_stream(self.exchange.request).pause()
        exchange = self.exchange
        turn = CallTurn(
            self, self._append, (self._file, pieces), exchange.context.copy(), self._wrote, exchange.flow.seconds
        )
        exchange.flow.workers.do(turn)

    @staticmethod
    def _append(file: IO[bytes] | None, pieces: list[bytes]) -> IO[bytes]:
        """On a worker."""
        if file is None:
            file = cast("IO[bytes]", tempfile.TemporaryFile(prefix="asyncproxy-body-"))  # noqa: SIM115 - the request owns it
        file.writelines(pieces)
        file.flush()  # it is read by its descriptor
        return file

    def _wrote(self, turn: CallTurn) -> None:
        self._writing = False
        if self.exchange.source is not self:
            if turn.value is not None:
                turn.value.close()
            return
        if turn.error is not None:
            number = getattr(turn.error, "errno", None)
            self.failed(OSError(number, f"the request's body could not be kept: {turn.error}"))
            return
        self._file = turn.value
        if self._ended:
            self._write() if self._pieces else self._done()
        else:
            body_stream(self.exchange.request).resume()

    def _done(self) -> None:
        exchange = self.exchange
        exchange.source = None
        request = exchange.request
        request.stream = b""  # it has been taken; whoever reads on reads the file
        request.file = self._file or BytesIO(b"".join(self._pieces))
        exchange.begin()


PIECE: Final = 256 * 1024


class Unspool:
    """A body that was collected, on its way again as `stream`: a file is read on a worker, a piece a turn.

    It has a place in the file of its own: others may read the same file meanwhile, the module too.
    """

    __slots__ = ("_at", "_file", "_paused", "_reading", "exchange", "stream")

    def __init__(self, exchange: Exchange, file: IO[bytes]) -> None:
        self.exchange = exchange
        self._file: IO[bytes] | None = file
        self._paused = False
        self._reading = False
        self._at = 0
        if isinstance(file, BytesIO):
            self.stream = BodyStream.whole(file.getvalue())
        else:
            self.stream = BodyStream(self)
            self._read()

    def pause(self) -> None:
        """Whoever takes it is slow."""
        self._paused = True

    def resume(self) -> None:
        """Whoever takes it keeps up again."""
        self._paused = False
        if not self._reading:
            self._read()

    def drop(self) -> None:
        """Nobody wants the rest."""
        self._file = None

    def _read(self) -> None:
        if self._file is None:
            return
        self._reading = True
        exchange = self.exchange
        arguments = (self._file, self._at)
        turn = CallTurn(self, self._piece, arguments, exchange.context.copy(), self._came, exchange.flow.seconds)
        exchange.flow.workers.do(turn)

    @staticmethod
    def _piece(file: IO[bytes], at: int) -> bytes:
        """On a worker."""
        return os.pread(file.fileno(), PIECE, at)

    def _came(self, turn: CallTurn) -> None:
        self._reading = False
        if self._file is None:
            return
        if turn.error is not None:
            self.stream.fail(OSError(f"the request's body could not be read again: {turn.error}"))
        elif not turn.value:
            self._file = None
            self.stream.end()
        else:
            self._at += len(turn.value)
            self.stream.feed(turn.value)
            if not self._paused:
                self._read()
