"""Where a body ends (RFC 9112 sections 6 and 7): by its length, by its last chunk, or with its connection.

The rule: heads are read in `polling.http1`, bodies are framed here. So a body with a length passes without a copy, and
what follows a message is known to the byte, which is what smuggling lives off. Anything that is not exactly the grammar
raises `FramingError`.
"""

from __future__ import annotations

import re
from typing import ClassVar, Final

from asyncproxy.exchange.grammar import TOKEN, fault_of, is_field
from asyncproxy.exchange.headers import RawHeaders
from asyncproxy.exchange.trailers import Trailers, left_out_of_trailers, refused_in_trailers

_QUOTED: Final = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*+"'
_EXTENSION: Final = rb"[ \t]*+;[ \t]*+%b(?:[ \t]*+=[ \t]*+(?:%b|%b))?+" % (TOKEN, TOKEN, _QUOTED)
_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})((?:%b)*+)" % _EXTENSION)
_SIZE_BEGUN: Final = re.compile(rb"(?:[0-9A-Fa-f]{1,15}(?:[ \t;][\t\x20-\x7e\x80-\xff]*)?)?\r?")
SIZE_LINE_LIMIT: Final = 256
EXTENSIONS_LIMIT: Final = 16 * 1024
"""Bytes of chunk extensions in one body: nothing comes of them but work (RFC 9112 section 7.1.1)."""
TRAILERS_LIMIT: Final = 8192


class FramingError(ValueError):
    """The bytes break the rules of message framing; str() says which."""


class LengthBody:
    """A body of a length told beforehand."""

    __slots__ = ("done", "left", "surplus")
    trailers: ClassVar[RawHeaders] = []

    def __init__(self, length: int) -> None:
        self.left = length
        self.done = length == 0
        self.surplus = b""

    def feed(self, data: bytes) -> bytes:
        """The part of `data` that is the body's; `done` and `surplus` tell when it ended and what came after."""
        left = self.left - len(data)
        if left > 0:
            self.left = left
            return data
        self.done = True
        if left < 0:
            data, self.surplus = data[: self.left], data[self.left :]
        self.left = 0
        return data


class UntilClose:
    """A reply's body that lasts until its connection ends."""

    __slots__ = ()
    trailers: ClassVar[RawHeaders] = []
    done: Final = False
    surplus: Final = b""

    def feed(self, data: bytes) -> bytes:
        """All of `data`."""
        return data


class ChunkedBody:
    """A body in chunks (RFC 9112 section 7.1). Extensions are dropped; `trailers` has those that may go on."""

    __slots__ = ("_buffer", "_extension_bytes", "_left", "_trailer_bytes", "done", "surplus", "trailers")

    def __init__(self) -> None:
        self._buffer = b""
        self._left = 0  # of the current chunk, its CRLF included; -1 among the trailers
        self._extension_bytes = self._trailer_bytes = 0
        self.trailers: RawHeaders = []
        self.done = False
        self.surplus = b""

    def feed(self, data: bytes) -> bytes:
        """The body's bytes within `data`, without the framing; raises `FramingError`."""
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        pieces: list[bytes] = []
        at = 0
        while not self.done:
            at, go_on = self._step(data, at, pieces)
            if not go_on:
                break
        rest = data[at:] if at else data
        if self.done:
            self.surplus = rest
        else:
            self._buffer = rest
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _step(self, data: bytes, at: int, pieces: list[bytes]) -> tuple[int, bool]:
        """Consume one element from `data` at `at`: the new place, and whether there may be another."""
        if self._left > 0:
            return self._take_data(data, at, pieces)
        end = data.find(b"\r\n", at)
        limit = SIZE_LINE_LIMIT if self._left == 0 else TRAILERS_LIMIT
        if end < 0 or end - at > limit:
            if len(data) - at > limit:
                raise FramingError("a chunk-size or trailer line is too long")
            if b"\n" in data[at:] or b"\r" in data[at:-1]:
                raise FramingError("a bare CR or LF among the chunks")
            if self._left == 0 and _SIZE_BEGUN.fullmatch(data, at) is None:
                raise FramingError("a chunk's size is no hexadecimal number, or its extension is malformed")
            return at, False
        if self._left == 0:
            self._read_size(data[at:end])
        else:
            self._read_trailer(data[at:end])
        return end + 2, True

    def _take_data(self, data: bytes, at: int, pieces: list[bytes]) -> tuple[int, bool]:
        available = len(data) - at
        if self._left > 2:
            piece = data[at : at + min(available, self._left - 2)]
            if piece:
                pieces.append(piece)
                self._left -= len(piece)
                at += len(piece)
        if self._left > 2 or len(data) - at < 2:
            if self._left == 2 and len(data) - at == 1 and data[at] != 13:
                raise FramingError("a chunk is longer than its size")
            return at, False
        if data[at : at + 2] != b"\r\n":
            raise FramingError("a chunk is longer than its size")
        self._left = 0
        return at + 2, True

    def _read_size(self, line: bytes) -> None:
        match = _SIZE_LINE.fullmatch(line)
        if match is None:
            raise FramingError("a chunk's size is no hexadecimal number, or its extension is malformed")
        self._extension_bytes += len(match[2])
        if self._extension_bytes > EXTENSIONS_LIMIT:
            raise FramingError("the chunks have too many extensions")
        size = int(match[1], 16)
        self._left = size + 2 if size else -1

    def _read_trailer(self, line: bytes) -> None:
        if not line:
            self.done = True
            return
        self._trailer_bytes += len(line) + 2
        if self._trailer_bytes > TRAILERS_LIMIT:
            raise FramingError("the trailers are too long")
        if not is_field(line):
            raise FramingError(f"{fault_of(line)} among the trailers")
        name, _, value = line.partition(b":")
        if refused_in_trailers(name):
            raise FramingError(f"{name.decode('ascii')} cannot be said in a trailer")
        if not left_out_of_trailers(name):
            self.trailers.append((name, value.strip(b" \t")))


def chunk(piece: bytes) -> bytes:
    """`piece` as one chunk."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def last_chunk(trailers: Trailers) -> bytes:
    """The end of a body in chunks, and `trailers`."""
    return b"0" + b"".join(b"\r\n%b: %b" % field for field in trailers) + b"\r\n\r\n"


LAST_CHUNK: Final = b"0\r\n\r\n"
