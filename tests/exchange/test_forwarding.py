from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asyncproxy.exchange.forwarding import (
    Block,
    head_after_target,
    keeps_alive,
    make_block,
    split_block,
    without_length,
)

TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
HOP = (
    *("connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "proxy-anything"),
    *("te", "transfer-encoding", "upgrade", "http2-settings", "expect", "x-forwarded-for"),
    *("x-forwarded-proto", "x-forwarded-host", "x-forwarded-x", "forwarded", "content_length", "transfer_encoding"),
    *("keep_alive", "proxy_authorization", "http2_settings", "x_forwarded_for"),
)

tokens = st.lists(st.sampled_from(TOKEN), min_size=1, max_size=12).map(bytes)
values = st.lists(st.sampled_from([9, *range(32, 127), *range(128, 256)]), max_size=20).map(bytes)
spelled = st.sampled_from(HOP).flatmap(
    lambda name: st.lists(st.booleans(), min_size=len(name), max_size=len(name)).map(
        lambda ups: "".join(c.upper() if up else c for c, up in zip(name, ups, strict=True)).encode()
    )
)
near = st.sampled_from(
    [b"X-Connection", b"Connections", b"tea", b"hostess", b"t", b"keep-alives", b"proxy", b"X-Forward", b"expected"]
)
names = st.one_of(tokens, spelled, near, st.sampled_from([b"Host", b"content-length", b"COOKIE"]))
fields = st.lists(st.tuples(names, st.one_of(values, st.sampled_from([b"close", b"keep-alive, X-A", b"x-a , ,TE"]))))
spaces = st.sampled_from([b"", b" ", b"\t", b"  "])


def is_hop_by_hop(name: bytes) -> bool:
    text = name.decode("latin-1").lower()
    return text in HOP or text.replace("_", "-").startswith(("proxy-", "x-forwarded-"))


@given(fields, spaces, spaces)
@example([(b"Connection", b"cookie"), (b"Cookie", b"a")], b"", b"")
@example([(b"X", b""), (b"Connection", b"close"), (b"Connection", b"close")], b"", b"  ")
def test_hop_by_hop_fields_never_pass_and_the_rest_is_untouched(
    received: list[tuple[bytes, bytes]], before: bytes, after: bytes
) -> None:
    lines = [name + b":" + before + value.strip(b" \t") + after for name, value in received]
    block = b"".join(b"\r\n" + line for line in lines)
    sifted = Block([])
    sifted.sift(block)
    options: set[bytes] = set()
    for name, value in received:
        if name.lower() == b"connection":
            options |= {option.strip(b" \t").lower() for option in value.split(b",")}
    options -= {b"host", b"content-length", b""}
    kept = [
        (name, value.strip(b" \t"))
        for name, value in received
        if not is_hop_by_hop(name) and name.lower() not in options
    ]
    assert split_block(sifted.passed) == kept
    assert sifted.block == block
    assert sifted.raw_fields == [(name, value.strip(b" \t")) for name, value in received]
    said = [value.strip(b" \t").lower() for name, value in received if name.lower() == b"connection"]
    if b",".join(filter(None, said)) in (b"", b"close", b"keep-alive"):  # then not even white space was touched
        untouched = [line for line in lines if not is_hop_by_hop(line.partition(b":")[0])]
        assert sifted.passed == b"".join(b"\r\n" + line for line in untouched)


@given(fields)
def test_what_decides_on_framing_is_noted(received: list[tuple[bytes, bytes]]) -> None:
    block = Block([(name, value.strip(b" \t")) for name, value in received])

    def of(name: bytes) -> list[bytes]:
        return [value.strip(b" \t") for known, value in received if known.lower() == name]

    assert block.noted.hosts == len(of(b"host"))
    assert bool(block.length_value) == bool(of(b"content-length"))
    assert bool(block.noted.transfer) == bool(of(b"transfer-encoding"))
    if len(of(b"content-length")) == 1:
        assert block.length_value == (of(b"content-length")[0] or b",")
    if of(b"host"):
        assert block.host_value.strip(b" \t") == of(b"host")[-1]


@pytest.mark.parametrize(
    "lines",
    [
        b"\r\nContent-Length: 5\r\nContent-Length: 5",
        b"\r\nContent-Length:\r\nContent-Length: 5",
        b"\r\nContent-Length:",
    ],
)
def test_a_length_that_is_doubled_or_empty_is_no_number(lines: bytes) -> None:
    block = Block([])
    block.sift(lines)
    assert block.length_value
    assert not block.length_value.isdigit()


@pytest.mark.parametrize("others", [b"", b"\r\nTE: x", b"\r\nA: b"])
@pytest.mark.parametrize("space", [b"", b" ", b" \t"])
def test_white_space_around_a_value_is_no_part_of_it(others: bytes, space: bytes) -> None:
    block = Block([])
    block.sift(b"\r\nHost:" + space + b"a" + space + others)
    assert block.host_value == b"a"
    block = Block([])
    block.sift(b"\r\nContent-Length:" + space + b"5" + space + others)
    assert block.length_value == b"5"


@pytest.mark.parametrize(
    ("options", "minor", "kept"),
    [
        (b"", 1, True),
        (b"", 0, False),
        (b"close", 1, False),
        (b"keep-alive", 0, True),
        (b"keep-alive", 1, True),
        (b"close", 0, False),
        (b"x, close", 1, False),
        (b"x,\tclose\t", 1, False),
        (b"keep-alive, close", 0, False),
        (b"keep-alive , x", 0, True),
        (b"x", 0, False),
        (b"x", 1, True),
        (b"closed", 1, True),
    ],
)
def test_connection_options_say_whether_it_stays_open(options: bytes, minor: int, kept: bool) -> None:
    assert keeps_alive(options, minor) is kept


@given(st.lists(st.tuples(tokens, values.map(lambda value: value.strip(b" \t")))))
def test_a_block_is_split_into_the_fields_it_was_made_of(received: list[tuple[bytes, bytes]]) -> None:
    assert split_block(make_block(received)) == received


@given(fields)
def test_a_block_loses_its_length_and_nothing_else(received: list[tuple[bytes, bytes]]) -> None:
    received = [(name, value.strip(b" \t")) for name, value in received]
    left = [field for field in received if field[0].lower() != b"content-length"]
    assert split_block(without_length(make_block(received))) == left


def test_an_upstreams_head_is_the_clients_then_ours() -> None:
    assert head_after_target(
        b"\r\nHost: a\r\nX: y", b"\r\nForwarded: for=_x", b"\r\nVia: 1.1 x", b"\r\nContent-Length: 3"
    ) == (b" HTTP/1.1\r\nHost: a\r\nX: y\r\nForwarded: for=_x\r\nVia: 1.1 x\r\nContent-Length: 3")


def test_no_spelling_of_a_hop_by_hop_name_is_overlooked() -> None:
    for name in HOP:
        for spelling in (name, name.upper(), name.title(), name.swapcase()):
            block = Block([(b"A", b"b"), (spelling.encode(), b"x"), (b"C", b"d")])
            assert block.passed == b"\r\nA: b\r\nC: d", spelling
            assert not re.search(spelling.encode(), block.passed, re.I)
