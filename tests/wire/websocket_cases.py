"""Conversations of a WebSocket client, frame by frame, made by the rules of RFC 6455, in the manner of Autobahn's.

What must come of each is what comes of it without a proxy.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import struct
from collections.abc import Iterator
from typing import NamedTuple

from tests.wire.peers import Client

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
NO_MASK = b"\0\0\0\0"
"""A mask that leaves bytes as they are, for long ones."""
MOST_READ = 64 * 1024 * 1024


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = b"\x37\xfa\x21\x3d",
    length: bytes | None = None,
) -> bytes:
    """One frame (RFC 6455 section 5.2); `length` is put in the place of the right one."""
    masked = 0x80 if mask is not None else 0
    if length is None:
        size = len(payload)
        if size < 126:
            length = bytes([masked | size])
        elif size < 65536:
            length = bytes([masked | 126]) + struct.pack("!H", size)
        else:
            length = bytes([masked | 127]) + struct.pack("!Q", size)
    if mask is not None and mask != NO_MASK:
        payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return bytes([(0x80 if fin else 0) | rsv << 4 | opcode]) + length + (mask or b"") + payload


def closing(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, struct.pack("!H", code) + reason)


class Replies(NamedTuple):
    """Wait until so many frames with data, and so many pongs, have come."""

    data: int
    pongs: int = 0


HALF_CLOSE = Replies(-1)
RESET = Replies(-2)
Step = bytes | Replies


class Case(NamedTuple):
    name: str
    steps: tuple[Step, ...]


def cases() -> Iterator[Case]:
    """All of them; those that do not end by themselves end with a close of 1000."""
    yield from _messages()
    yield from _pings()
    yield from _fragments()
    yield from _utf8()
    yield from _closes()
    yield from _broken()


def _ended(name: str, *steps: Step) -> Case:
    return Case(name, (*steps, closing(1000)))


def _messages() -> Iterator[Case]:
    for size in (0, 1, 125, 126, 127, 128, 65535, 65536, 65537, 1 << 20, 16 << 20):
        for opcode, kind in ((TEXT, "text"), (BINARY, "binary")):
            mask = NO_MASK if size > 1000 else b"mask"
            yield _ended(f"{kind}-{size}", frame(opcode, b"*" * size, mask=mask), Replies(1))
    yield _ended("many", b"".join(frame(TEXT, b"%d" % number) for number in range(200)), Replies(200))
    whole = frame(TEXT, b"chopped into bytes")
    yield _ended("chopped", *(whole[at : at + 1] for at in range(len(whole))), Replies(1))
    yield _ended("length-too-wide", frame(TEXT, b"hello", length=b"\xfe\0\5"), Replies(1))


def _pings() -> Iterator[Case]:
    for size in (0, 1, 125):
        yield _ended(f"ping-{size}", frame(PING, b"p" * size), Replies(0, 1))
    yield _ended("ten-pings", *(frame(PING, b"%d" % number) for number in range(10)), Replies(0, 10))
    yield _ended("pong-nobody-asked-for", frame(PONG, b"here"), frame(TEXT, b"x"), Replies(1))
    whole = frame(PING, b"chopped")
    yield _ended("ping-chopped", *(whole[at : at + 1] for at in range(len(whole))), Replies(0, 1))
    yield Case("ping-126", (frame(PING, b"p" * 126),))
    yield Case("ping-in-fragments", (frame(PING, b"a", fin=False), frame(CONTINUATION, b"b")))


def _fragments() -> Iterator[Case]:
    for opcode, kind in ((TEXT, "text"), (BINARY, "binary")):
        first, last = frame(opcode, b"a" * 300, fin=False), frame(CONTINUATION, b"b" * 300)
        yield _ended(f"{kind}-in-two", first, last, Replies(1))
        yield _ended(f"{kind}-in-two-at-once", first + last, Replies(1))
        yield _ended(f"{kind}-ping-between", first, frame(PING, b"p"), Replies(0, 1), last, Replies(1, 1))
        yield _ended(f"{kind}-pong-between", first, frame(PONG, b"p"), last, Replies(1))
    middle = frame(CONTINUATION, b"m", fin=False)
    empty = frame(CONTINUATION, fin=False)
    yield _ended("fifty-fragments", frame(TEXT, b"a", fin=False), middle * 50, frame(CONTINUATION), Replies(1))
    yield _ended("empty-fragments", frame(TEXT, fin=False), empty * 3, frame(CONTINUATION), Replies(1))
    yield _ended(
        "a-ping-between-each", frame(TEXT, b"a", fin=False), (middle + frame(PING, b"p")) * 20, Replies(0, 20),
        frame(CONTINUATION, b"z"), Replies(1, 20),
    )  # fmt: skip
    yield _ended("a-mebibyte-in-kibibytes", frame(BINARY, b"k" * 1024, fin=False, mask=NO_MASK),
                 frame(CONTINUATION, b"k" * 1024, fin=False, mask=NO_MASK) * 1022,
                 frame(CONTINUATION, b"k" * 1024, mask=NO_MASK), Replies(1))  # fmt: skip
    yield Case("continues-nothing", (frame(CONTINUATION, b"x"),))
    yield Case("continues-nothing-not-last", (frame(CONTINUATION, b"x", fin=False),))
    yield Case("continues-what-is-over", (frame(TEXT, b"a"), Replies(1), frame(CONTINUATION, b"b")))
    yield Case("begins-before-the-end", (frame(TEXT, b"a", fin=False), frame(TEXT, b"b")))
    yield Case("closes-before-the-end", (frame(TEXT, b"a", fin=False), closing(1000)))


def _utf8() -> Iterator[Case]:
    good = ("κόσμε", "\0", "\x7f", "\x80", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\ufeff", "\uffff", "\U00010000",
            "\U0010ffff", "Hello-µ@ßöäüàá-UTF-8!!")  # fmt: skip
    for number, text in enumerate(good):
        yield _ended(f"utf-8-{number}", frame(TEXT, text.encode()), Replies(1))
        halves = text.encode()[:1], text.encode()[1:]
        steps = frame(TEXT, halves[0], fin=False), frame(CONTINUATION, halves[1])
        yield _ended(f"utf-8-{number}-torn", *steps, Replies(1))
    bad = (
        b"\x80",
        b"\xbf",
        b"\xc0\xaf",
        b"\xc1\xbf",
        b"\xe0\x80\xaf",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xf0\x80\x80\xaf",
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xfe",
        b"\xff",
        b"\xe2\x82",
        b"ok \xce\xba\xe1",
    )
    for number, data in enumerate(bad):
        yield Case(f"no-utf-8-{number}", (frame(TEXT, data),))
        yield Case(f"no-utf-8-{number}-late", (frame(TEXT, b"fine", fin=False), frame(CONTINUATION, data)))
        yield _ended(f"binary-{number}", frame(BINARY, data), Replies(1))


def _closes() -> Iterator[Case]:
    good = (*range(1000, 1004), *range(1007, 1015), 3000, 3001, 3999, 4000, 4001, 4999)
    bad = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
    for code in (*good, *bad):
        yield Case(f"close-{code}", (closing(code),))
        yield Case(f"close-{code}-with-words", (closing(code, "völlig genug".encode()),))
    yield Case("close-without-code", (frame(CLOSE),))
    yield Case("close-half-a-code", (frame(CLOSE, b"\3"),))
    yield Case("close-longest-reason", (closing(1000, b"r" * 123),))
    yield Case("close-reason-too-long", (closing(1000, b"r" * 124),))
    yield Case("close-reason-no-utf-8", (closing(1000, b"\xce\xba\xe1"),))
    yield Case("close-twice", (closing(1000) + closing(1001),))
    yield Case("message-behind-the-close", (closing(1000) + frame(TEXT, b"late"),))
    yield Case("ping-behind-the-close", (closing(1000) + frame(PING, b"late"),))
    yield Case("close-after-messages", (frame(TEXT, b"a") * 3, Replies(3), closing(1001, b"away")))
    yield Case("end-without-a-close", (frame(TEXT, b"a"), Replies(1), HALF_CLOSE))
    yield Case("end-inside-a-frame", (frame(TEXT, b"a" * 100)[:50], HALF_CLOSE))
    yield Case("end-inside-a-message", (frame(TEXT, b"a", fin=False), HALF_CLOSE))
    yield Case("reset", (frame(TEXT, b"a"), Replies(1), RESET))
    yield Case("reset-inside-a-frame", (frame(TEXT, b"a"), Replies(1), frame(TEXT, b"a" * 100)[:50], RESET))


def _broken() -> Iterator[Case]:
    for rsv in range(1, 8):
        yield Case(f"rsv-{rsv}", (frame(TEXT, b"x", rsv=rsv),))
        yield Case(f"rsv-{rsv}-ping", (frame(PING, b"x", rsv=rsv),))
        yield Case(f"rsv-{rsv}-after-a-message", (frame(TEXT, b"a"), Replies(1), frame(CLOSE, b"\3\xe8", rsv=rsv)))
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        yield Case(f"opcode-{opcode}", (frame(opcode, b"x"),))
        yield Case(f"opcode-{opcode}-empty", (frame(TEXT, b"a"), Replies(1), frame(opcode)))
    yield Case("not-masked", (frame(TEXT, b"x", mask=None),))
    yield Case("length-with-its-highest-bit", (frame(BINARY, length=b"\xff\x80" + b"\0" * 7),))
    yield Case("message-too-big", (frame(BINARY, length=b"\xff" + struct.pack("!Q", 1 << 30)),))
    yield Case("no-frames-at-all", (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",))


class Outcome(NamedTuple):
    """What a client got: its frames with data, and the others, each in their order."""

    status: int
    data: tuple[tuple[int, bool, bytes], ...]
    control: tuple[tuple[int, bool, bytes], ...]
    ended: bool
    """Whether the server ended its side in between frames."""


def play(port: int, path: str, case: Case) -> Outcome:
    """Have the conversation over `port`."""
    with Client(port) as client:
        key = base64.b64encode(hashlib.sha256(path.encode()).digest()[:16]).decode()
        head = (
            f"GET {path} HTTP/1.1\r\nHost: proxy.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        )
        client.send(head.encode())
        reader = _Reader(client, client.head().status)
        for step in case.steps:
            if step is RESET:
                client.reset()
                return reader.outcome(ended=False)
            if step is HALF_CLOSE:
                client.half_close()
            elif isinstance(step, Replies):
                reader.read_until(step)
            else:
                reader.send(step)
        return reader.outcome(ended=reader.read_to_the_end())


class _Reader:
    def __init__(self, client: Client, status: int) -> None:
        self._client = client
        self._status = status
        self._data: list[tuple[int, bool, bytes]] = []
        self._control: list[tuple[int, bool, bytes]] = []

    def send(self, data: bytes) -> None:
        with contextlib.suppress(ConnectionError):  # the server has had enough; what it said is read below
            self._client.send(data)

    def read_until(self, step: Replies) -> None:
        while len(self._data) < step.data or sum(one[0] == PONG for one in self._control) < step.pongs:
            self._read()

    def read_to_the_end(self) -> bool:
        try:
            while True:
                if not self._client.buffer and not self._client.more():
                    return True
                self._read()
        except (EOFError, ConnectionError):
            return False

    def _read(self) -> None:
        first, second = self._client.exactly(2)
        size = second & 0x7F
        if size > 125:
            size = int.from_bytes(self._client.exactly(2 if size == 126 else 8), "big")
        assert size <= MOST_READ
        payload = self._client.exactly(size)
        told = payload if size < 1000 else hashlib.sha256(payload).digest()
        kept = self._control if first & 8 else self._data
        kept.append((first & 0x7F, bool(first & 0x80), told))

    def outcome(self, *, ended: bool) -> Outcome:
        return Outcome(self._status, tuple(self._data), tuple(self._control), ended)
