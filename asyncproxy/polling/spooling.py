"""A request's body, collected for a module that wants it whole; no worker is held while it arrives.

In memory up to a limit, then in a temporary file. Files are written on a worker, one batch at a time, for a disk may
block; the client is told to wait meanwhile.
"""

from __future__ import annotations

import tempfile
from io import BytesIO
from typing import IO, TYPE_CHECKING, cast

from asyncproxy.polling.upstream import body_stream
from asyncproxy.working.turns import CallTurn

if TYPE_CHECKING:
    from asyncproxy.polling.flow import Exchange


class Spool:
    """Collects the body of `exchange`'s request, then lets it begin."""

    __slots__ = ("_ended", "_exchange", "_file", "_in_memory", "_pieces", "_size", "_writing")

    def __init__(self, exchange: Exchange, in_memory: int) -> None:
        self._exchange = exchange
        self._in_memory = in_memory
        self._pieces: list[bytes] = []
        self._size = 0
        self._file: IO[bytes] | None = None
        self._writing = False
        self._ended = False

    def begin(self) -> None:
        """Take what has come and what comes."""
        body_stream(self._exchange.request).attach(self)

    def piece(self, data: bytes) -> None:
        """A piece of the body."""
        self._pieces.append(data)
        self._size += len(data)
        if self._size > self._in_memory and not self._writing:
            self._write()

    def end(self) -> None:
        """The body is complete."""
        self._ended = True
        if not self._writing:
            self._write() if self._file is not None and self._pieces else self._done()

    def failed(self, error: Exception) -> None:
        """The body is cut."""
        self.drop()
        self._exchange.source = None
        self._exchange.failed(error)

    def drop(self) -> None:
        """Nobody wants the body any more."""
        body_stream(self._exchange.request).drop()
        self._pieces.clear()
        file, self._file = self._file, None
        if file is not None and not self._writing:
            file.close()

    def _write(self) -> None:
        self._writing = True
        self._size = 0
        pieces, self._pieces = self._pieces, []
        body_stream(self._exchange.request).pause()
        exchange = self._exchange
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
        return file

    def _wrote(self, turn: CallTurn) -> None:
        self._writing = False
        if self._exchange.source is not self:
            if turn.value is not None:
                turn.value.close()
            return
        if turn.error is not None:
            self.failed(OSError(f"the request's body could not be kept: {turn.error}"))
            return
        self._file = turn.value
        if self._ended:
            self._write() if self._pieces else self._done()
        else:
            body_stream(self._exchange.request).resume()

    def _done(self) -> None:
        exchange = self._exchange
        exchange.source = None
        exchange.request.file = self._file or BytesIO(b"".join(self._pieces))
        exchange.begin()
