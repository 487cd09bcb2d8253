"""The fuzzing target without its guide: the seeds, changes of them, what was found, and whether it finds at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncproxy.exchange import forwarding, framing
from asyncproxy.polling import http1, upstream_connection
from fuzz.seeds import WORDS, inputs, switches
from fuzz.target import Finding, play

SEEDS = (*inputs(), *switches())
HEAD = b"GET /a HTTP/1.1\r\nHost: a\r\nX-A: b\r\n\r\n"


def test_no_seed_is_a_finding() -> None:
    for data in SEEDS:
        play(data)


changes = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.sampled_from(["put", "cut", "over"]),
        st.one_of(st.sampled_from(WORDS), st.binary(max_size=3)),
    ),
    min_size=1,
    max_size=4,
)


def changed(data: bytes, how: list[tuple[float, str, bytes]]) -> bytes:
    """`data` with pieces put in, cut out, or written over."""
    for where, what, piece in how:
        at = int(where * len(data))
        behind = at if what == "put" else at + len(piece) + (what == "cut")
        data = data[:at] + (b"" if what == "cut" else piece) + data[behind:]
    return data


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(SEEDS), st.integers(0, 255), changes)
def test_no_change_of_a_seed_is_a_finding(seed: bytes, first: int, how: list[tuple[float, str, bytes]]) -> None:
    first = (first & 0xFE) | (seed[0] & 1)
    play(bytes([first]) + changed(seed[1:], how))


@settings(max_examples=200, deadline=None)
@given(changes, st.integers(1, 4))
def test_a_head_like_those_before_is_read_as_strictly(how: list[tuple[float, str, bytes]], times: int) -> None:
    for cut in (0, 8):
        play(bytes([cut]) + HEAD * times + changed(HEAD, how) + HEAD)


# Whether it finds.


def lax_length(request: Any) -> int | None:
    return None if request.noted.transfer else int(request.length_value.partition(b",")[0])


def passes_everything(fields: Any, block: bytes) -> bool:
    plain = SIFT(fields, block)
    fields.passed = block
    return plain


SIFT = forwarding.Fields.sift
POST = b"\x00POST /a HTTP/1.1\r\nHost: a\r\n"
LAX: dict[str, tuple[Any, str, Any, bytes]] = {
    "a length beside a coding": (
        *(http1, "_request_length", lax_length),
        POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    "the first of two lengths": (
        *(http1, "_request_length", lax_length),
        POST + b"Content-Length: 0\r\nContent-Length: 3\r\n\r\nabc",
    ),
    "any line for a field": (
        http1,
        "are_fields",
        lambda *_: True,
        b"\x00GET /a HTTP/1.1\r\nHost: a\r\nX\x00: b\r\n\r\n",
    ),
    "a folded line": (http1, "are_fields", lambda *_: True, b"\x00GET /a HTTP/1.1\r\nHost: a\r\nX: b\r\n c: d\r\n\r\n"),
    "hop-by-hop fields": (
        *(forwarding.Fields, "sift", passes_everything),
        b"\x00GET /a HTTP/1.1\r\nHost: a\r\nKeep-Alive: b\r\n\r\n",
    ),
    "any trailer": (
        *(framing, "refused_in_trailers", lambda _: False),
        POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nHost: b\r\n\r\n",
    ),
    "any extension": (
        *(framing, "_SIZE_LINE", framing.re.compile(rb"([0-9A-Fa-f]+)([^\r]*)")),
        POST + b"Transfer-Encoding: chunked\r\n\r\n0;\x00\r\n\r\n",
    ),
    "any host": (http1, "is_authority", lambda _: True, b"\x00GET /a HTTP/1.1\r\nHost: a b\r\n\r\n"),
    "a reply with a bad length": (
        *(http1, "_reply_length", lambda reply: int(reply.length_value.partition(b",")[0])),
        b"\x01HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 3\r\n\r\nabc",
    ),
    "a switch to anything": (
        *(upstream_connection, "agreed", lambda *_: b"websocket"),
        b"\x01HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    ),
    "a reply with any field": (
        *(http1, "are_fields", lambda *_: True),
        b"\x01HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX : b\r\n\r\n",
    ),
}


@pytest.mark.parametrize(("where", "name", "lax", "data"), LAX.values(), ids=LAX)
def test_what_is_not_strict_is_found(
    monkeypatch: pytest.MonkeyPatch, where: Any, name: str, lax: Callable[..., Any], data: bytes
) -> None:
    play(data)
    monkeypatch.setattr(where, name, lax)
    with pytest.raises(Finding):
        play(data)
