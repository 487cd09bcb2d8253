from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asyncproxy.exchange.proxy_header import LONGEST, BadHeader, Introduction, introduction

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
FOUR = IPv4Address("192.0.2.9").packed + IPv4Address("10.0.0.1").packed + b"\x12\x34\x00\x50"
SIX = IPv6Address("2001:db8::9").packed + IPv6Address("::1").packed + b"\x12\x34\x00\x50"
UNIX = b"/run/a.sock".ljust(108, b"\0") * 2


def binary(command: int, kind: int, rest: bytes, length: int | None = None) -> bytes:
    return SIGNATURE + bytes((command, kind)) + (len(rest) if length is None else length).to_bytes(2, "big") + rest


@pytest.mark.parametrize(
    ("line", "address", "port"),
    [
        (b"PROXY TCP4 192.0.2.9 10.0.0.1 4660 80", "192.0.2.9", 4660),
        (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535", "255.255.255.255", 65535),
        (b"PROXY TCP4 192.0.2.9 10.0.0.1 0 0", "192.0.2.9", 0),
        (b"PROXY TCP6 2001:DB8::9 ::1 4660 80", "2001:db8::9", 4660),
        (b"PROXY TCP6 ::ffff:192.0.2.9 ::1 4660 80", "::ffff:c000:209", 4660),
        (b"PROXY TCP6 " + b" ".join([b"ffff:" * 7 + b"ffff"] * 2) + b" 65535 65535", "ffff:" * 7 + "ffff", 65535),
        (b"PROXY UNKNOWN", "", 0),
        (b"PROXY UNKNOWN 6.6.6.6 \xff \0 whatever", "", 0),
    ],
)
def test_a_line_says_whose_the_connection_is(line: bytes, address: str, port: int) -> None:
    data = line + b"\r\nGET / HTTP/1.1\r\n"
    found = introduction(data)
    assert found is not None
    assert str(IPv6Address(found.address)) == str(IPv6Address(address)) if ":" in address else found.address == address
    assert (found.port, data[found.size :]) == (port, b"GET / HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("data", "address", "port"),
    [
        (binary(0x21, 0x11, FOUR), "192.0.2.9", 4660),
        (binary(0x21, 0x21, SIX), "2001:db8::9", 4660),
        (binary(0x21, 0x12, FOUR), "192.0.2.9", 4660),
        (binary(0x21, 0x11, FOUR + b"\x04\x00\x03\0\0\0"), "192.0.2.9", 4660),
        (binary(0x21, 0x11, FOUR + b"not even a TLV"), "192.0.2.9", 4660),
        (binary(0x21, 0x11, FOUR.ljust(LONGEST - 16, b"\0")), "192.0.2.9", 4660),
        (binary(0x21, 0x31, UNIX), "", 0),
        (binary(0x21, 0x00, b""), "", 0),
        (binary(0x21, 0x00, b"whatever"), "", 0),
        (binary(0x20, 0x00, b""), "", 0),
        (binary(0x20, 0x11, FOUR), "", 0),
        (binary(0x20, 0xFF, b"x"), "", 0),
    ],
)
def test_bytes_say_whose_the_connection_is(data: bytes, address: str, port: int) -> None:
    assert introduction(data + b"GET /") == Introduction(len(data), address, port)
    assert all(introduction(data[:end]) is None for end in range(len(data)))


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"\r\n\r\nGET / HTTP/1.1\r\n",
        b"proxy TCP4 192.0.2.9 10.0.0.1 4660 80\r\n",
        b"PROXYTCP4 192.0.2.9 10.0.0.1 4660 80\r\n",
        b"PROXY \r\n",
        b"PROXY TCP4\r\n",
        b"PROXY TCP4 192.0.2.9 10.0.0.1 4660\r\n",
        b"PROXY TCP4 192.0.2.9 10.0.0.1 4660 80 \r\n",
        b"PROXY TCP4  192.0.2.9 10.0.0.1 4660 80\r\n",
        b"PROXY TCP4\t192.0.2.9 10.0.0.1 4660 80\r\n",
        b"PROXY TCP4 192.0.2.9 10.0.0.1 04660 80\r\n",
        b"PROXY TCP4 192.0.2.9 10.0.0.1 4660 65536\r\n",
        b"PROXY TCP4 192.0.2.9 10.0.0.1 -1 80\r\n",
        b"PROXY TCP4 192.0.2.256 10.0.0.1 4660 80\r\n",
        b"PROXY TCP4 192.0.02.9 10.0.0.1 4660 80\r\n",
        b"PROXY TCP4 2001:db8::9 10.0.0.1 4660 80\r\n",
        b"PROXY TCP6 192.0.2.9 10.0.0.1 4660 80\r\n",
        b"PROXY TCP6 fe80::1%eth0 ::1 4660 80\r\n",
        b"PROXY TCP5 192.0.2.9 10.0.0.1 4660 80\r\n",
        b"PROXY UDP4 192.0.2.9 10.0.0.1 4660 80\r\n",
        b"PROXY UNKNOWNS\r\n",
        b"PROXY TCP4 192.0.2.9 10.0.0.1 4660 80\n" + b" " * 107,
        b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
        b"PROXY UNKNOWN " + b"x" * 93,
        SIGNATURE[:11] + b"x",
        binary(0x11, 0x11, FOUR),
        binary(0x31, 0x11, FOUR),
        binary(0x22, 0x11, FOUR),
        binary(0x2F, 0x11, FOUR),
        binary(0x21, 0x10, FOUR),
        binary(0x21, 0x13, FOUR),
        binary(0x21, 0x01, FOUR),
        binary(0x21, 0x41, FOUR),
        binary(0x21, 0xFF, FOUR),
        binary(0x21, 0x11, FOUR[:-1]),
        binary(0x21, 0x11, b""),
        binary(0x21, 0x21, FOUR),
        binary(0x21, 0x31, SIX),
        binary(0x21, 0x11, FOUR, LONGEST - 15),
        binary(0x20, 0x00, b"", 65535),
    ],
)
def test_what_is_no_header_is_not_guessed_at(data: bytes) -> None:
    with pytest.raises(BadHeader):
        introduction(data)


def test_a_line_may_be_as_long_as_the_longest() -> None:
    line = b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n"
    assert len(line) == 107
    assert introduction(line) == Introduction(107)
    assert introduction(line[:-1]) is None


LETTERS = "PROXY TCP46UNKNOWN0123456789.:\r\n"
binaries = st.binary(max_size=60).map(lambda rest: SIGNATURE + rest)
lines = st.text(LETTERS, max_size=60).map(lambda text: b"PROXY " + text.encode())


@given(st.binary(max_size=40) | binaries | lines)
@example(b"")
@example(binary(0x21, 0x11, FOUR) + b"more")
@example(b"PROXY UNKNOWN\r\nmore")
def test_what_is_decided_stays_so_whatever_follows(data: bytes) -> None:
    def read(part: bytes) -> object:
        try:
            return introduction(part)
        except BadHeader:
            return BadHeader

    known = [read(data[:end]) for end in range(len(data) + 1)]
    decided = [found for found in known if found is not None]
    assert known[: len(known) - len(decided)] == [None] * (len(known) - len(decided))
    assert all(found == decided[0] for found in decided)
    if decided and isinstance(decided[0], Introduction):
        assert decided[0].size == len(known) - len(decided)
