"""What fuzzing begins with: the corpus of the tests, and the words that HTTP is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from fuzz.target import ASKED, SERVER_SIDE
from tests.wire.corpus import SMUGGLED, bad_replies, bad_requests, right_replies, right_requests

LONG = 2048
"""Bytes of a message beyond which it is no seed."""
WORDS = (
    b'\r\n|\r\n\r\n|\n|\r|\x00|\x0b|\x7f|\xff|\t|  | :|: |;|,|=|0\r\n\r\n|3\r\nabc\r\n|;a="b"|GET |HEAD |POST '
    b"|OPTIONS |TRACE |CONNECT | HTTP/1.1| HTTP/1.0| HTTP/2.0|http://a/|*|%2e%2e|/../|#|//|?|Host: a\r\n|chunked"
    b"|Content-Length: |Transfer-Encoding: |identity|Connection: |close|keep-alive|Expect: 100-continue\r\n"
    b"|Upgrade: websocket\r\n|TE: trailers\r\n|Trailer: x\r\n|Max-Forwards: 0\r\n|X-Forwarded-For: 1.1.1.1\r\n"
    b"|Content_Length: 1\r\n|Via: 1.1 a\r\n|HTTP/1.1 200 OK\r\n|HTTP/1.1 100 \r\n|HTTP/1.1 204 \r\n|HTTP/1.1 304 \r\n"
    b"|HTTP/1.1 101 \r\n|HTTP/1.0 200 OK\r\n|GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
).split(b"|")


def inputs() -> Iterator[bytes]:
    """Every case of the corpus that is not long, as an input of the target, with another request behind it."""
    for module in (bad_requests, right_requests):
        for case in module.CASES.values():
            if len(case.sent) < LONG:
                yield b"\x00" + case.sent + SMUGGLED
    for number, module in enumerate((bad_replies, right_replies)):
        for case in module.CASES.values():
            if len(case.sent) < LONG:
                method = ASKED.index(case.method) << 4
                yield bytes([SERVER_SIDE | method | (2 if case.closes else 0)]) + case.sent + b"HTTP" * number


def switches() -> Iterator[bytes]:
    """Answers to a request that offers to switch."""
    for fields in (b"Connection: Upgrade\r\nUpgrade: websocket\r\n", b"Upgrade: x/1\r\nconnection: upgrade\r\n", b""):
        for body in (b"", b"\x81\x05hello", b"HTTP/1.1 200 OK\r\n\r\n"):
            yield (
                bytes([SERVER_SIDE | (ASKED.index(b"UPGRADE") << 4)]) + b"HTTP/1.1 101 X\r\n" + fields + b"\r\n" + body
            )


def plant(directory: Path) -> None:
    """Write the seeds and the dictionary for libFuzzer into `directory`."""
    seeds = directory / "seeds"
    seeds.mkdir(parents=True, exist_ok=True)
    for data in (*inputs(), *switches()):
        (seeds / hashlib.sha256(data).hexdigest()[:20]).write_bytes(data)
    (directory / "words.dict").write_text("".join(f'"{_escaped(word)}"\n' for word in WORDS))


def _escaped(word: bytes) -> str:
    """`word` as libFuzzer's dictionaries have it."""
    return "".join(f"\\x{byte:02x}" for byte in word)
