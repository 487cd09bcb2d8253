"""What peers in front of us say of hops, read and written."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asyncproxy.exchange.forwarded import (
    HOPS,
    LONGEST,
    Chain,
    Hop,
    chain_of,
    element,
    forwarded_hops,
    said,
    tell,
    x_forwarded_hops,
)
from asyncproxy.exchange.networks import Networks


@pytest.mark.parametrize(
    ("value", "hops"),
    [
        (b"192.0.2.1", [("192.0.2.1", "192.0.2.1", 0)]),
        (b"192.0.2.1, 10.0.0.1", [("192.0.2.1", "192.0.2.1", 0), ("10.0.0.1", "10.0.0.1", 0)]),
        (b" 192.0.2.1 ,\t10.0.0.1 ", [("192.0.2.1", "192.0.2.1", 0), ("10.0.0.1", "10.0.0.1", 0)]),
        (b",192.0.2.1,,", [("192.0.2.1", "192.0.2.1", 0)]),
        (b"192.0.2.1:4711", [("192.0.2.1:4711", "192.0.2.1", 4711)]),
        (b"2001:DB8:0::1", [("2001:DB8:0::1", "2001:db8::1", 0)]),
        (b"[2001:db8::1]", [("2001:db8::1", "2001:db8::1", 0)]),
        (b"[2001:db8::1]:80", [("[2001:db8::1]:80", "2001:db8::1", 80)]),
        (b"unknown, 10.0.0.1", [("unknown", "", 0), ("10.0.0.1", "10.0.0.1", 0)]),
        (b"_hidden", [("_hidden", "", 0)]),
        (b"6.6.6.6, <script>, 10.0.0.1", [("10.0.0.1", "10.0.0.1", 0)]),
        (b"6.6.6.6, unix", []),
        (b"010.0.0.1", []),
        (b"1.2.3.4.5", []),
        (b"[1.2.3.4]", []),
        (b"192.0.2.1:99999", [("192.0.2.1:99999", "192.0.2.1", 0)]),
        (b"fe80::1%eth0", []),
        (b"192.0.2.1 10.0.0.1", []),
        (b"\xff", []),
        (b"", []),
    ],
)
def test_x_forwarded_for_is_read_from_the_right_up_to_what_is_no_address(value: bytes, hops: list[Any]) -> None:
    assert [hop[:3] for hop in x_forwarded_hops(value)] == hops


@pytest.mark.parametrize(
    ("value", "hops"),
    [
        (b"for=192.0.2.43", [Hop("192.0.2.43", "192.0.2.43", 0, "", b"", b"for=192.0.2.43")]),
        (b'For="[2001:db8:cafe::17]:4711"', [
            Hop("[2001:db8:cafe::17]:4711", "2001:db8:cafe::17", 4711, "", b"", b'For="[2001:db8:cafe::17]:4711"')]),
        (b'for="[2001:db8::1]"', [Hop("2001:db8::1", "2001:db8::1", 0, "", b"", b'for="[2001:db8::1]"')]),
        (b"for=192.0.2.60;proto=http;by=203.0.113.43;host=a.test", [
            Hop("192.0.2.60", "192.0.2.60", 0, "http", b"a.test",
                b"for=192.0.2.60;proto=http;by=203.0.113.43;host=a.test")]),
        (b"for=192.0.2.43, for=198.51.100.17", [
            Hop("192.0.2.43", "192.0.2.43", 0, "", b"", b"for=192.0.2.43"),
            Hop("198.51.100.17", "198.51.100.17", 0, "", b"", b"for=198.51.100.17")]),
        (b'for=1.2.3.4 ; proto=HTTPS;x="a,b;c\\"d" ,, for=_b', [
            Hop("1.2.3.4", "1.2.3.4", 0, "https", b"", b'for=1.2.3.4 ; proto=HTTPS;x="a,b;c\\"d"'),
            Hop("_b", "", 0, "", b"", b"for=_b")]),
        (b'for="_gazonk"', [Hop("_gazonk", "", 0, "", b"", b'for="_gazonk"')]),
        (b'for="unknown:_p"', [Hop("unknown:_p", "", 0, "", b"", b'for="unknown:_p"')]),
        (b'for="1\\.2.3.4:_p"', [Hop("1.2.3.4:_p", "1.2.3.4", 0, "", b"", b'for="1\\.2.3.4:_p"')]),
        (b"proto=https", [Hop("unknown", "", 0, "https", b"", b"proto=https")]),
        (b"for=1.2.3.4;proto=gopher;host=\"a b\"", [
            Hop("1.2.3.4", "1.2.3.4", 0, "", b"", b'for=1.2.3.4;proto=gopher;host="a b"')]),
        (b"", []),
        (b" , ;; ,", []),
        (b"for=1.2.3.4;for=5.6.7.8", []),  # RFC 7239 section 4: once in an element
        (b"for=1.2.3.4, nonsense", []),
        (b"for=1.2.3.4, for=", []),
        (b"for =1.2.3.4", []),
        (b"for=1.2.3.4 proto=http", []),
        (b'for="1.2.3.4', []),
        (b'for="1.2.3.4"x', []),
        (b"for=2001:db8::1", []),
        (b'for="2001:db8::1"', []),
        (b'for="[1.2.3.4]"', []),
        (b"for=localhost", []),
        (b"for=1.2.3.4, for=unix", []),
        (b"\xff=1", []),
    ],
)  # fmt: skip
def test_forwarded_is_read_by_its_grammar_or_not_at_all(value: bytes, hops: list[Hop]) -> None:
    assert forwarded_hops(value) == hops


def chain(*fields: tuple[bytes, bytes]) -> Chain:
    return chain_of(said(b"".join(b"\r\n%b: %b" % field for field in fields)))


def test_fields_of_one_name_are_one_list() -> None:
    both = chain((b"X-Forwarded-For", b"1.1.1.1"), (b"A", b"b"), (b"x-forwarded-for", b"2.2.2.2, 3.3.3.3"))
    assert [hop.node for hop in both.hops] == ["1.1.1.1", "2.2.2.2", "3.3.3.3"]


def test_other_fields_and_spellings_say_nothing() -> None:
    others = ((b"X_Forwarded_For", b"1.1.1.1"), (b"X-Forwarded-Port", b"1"), (b"A", b"Forwarded: for=1.1.1.1"))
    assert chain(*others) == Chain()


def test_where_x_forwarded_fields_are_forwarded_does_not_count() -> None:
    forged = (b"Forwarded", b"for=6.6.6.6;proto=https;host=evil.test")
    assert chain(forged, (b"X-Forwarded-For", b"1.1.1.1")) == Chain((Hop("1.1.1.1", "1.1.1.1"),))
    assert chain(forged, (b"X-Forwarded-For", b"nonsense")) == Chain()
    assert chain(forged, (b"X-Forwarded-Proto", b"http")) == Chain((), "http")
    assert chain(forged).hops[0].address == "6.6.6.6"


@pytest.mark.parametrize(
    ("hops", "protos", "hosts", "asked"),
    [
        (b"1.1.1.1", b"https", b"a.test", ("https", b"a.test")),
        (b"1.1.1.1", b"HTTPS", b"a.test:8080", ("https", b"a.test:8080")),
        (b"1.1.1.1", b"gopher", b"a/b", ("", b"")),
        (b"1.1.1.1", b"https, http", b"evil.test, a.test", ("http", b"a.test")),
        (b"1.1.1.1, 10.0.0.2", b"https", b"[::1]:80", ("https", b"[::1]:80")),
        (b"1.1.1.1, 10.0.0.2", b"https, http", b"a.test, b.test", ("https", b"a.test")),
        (b"6.6.6.6, 1.1.1.1, 10.0.0.2", b"http, https, http", b"x", ("https", b"x")),
        (b"1.1.1.1, 10.0.0.2", b"https, gopher, http", b"a, b, c", ("http", b"c")),
        (b"", b"https", b"a", ("https", b"a")),
        (b"1.1.1.1", b"", b"", ("", b"")),
    ],
)
def test_scheme_and_host_are_those_of_the_client_s_hop_or_what_the_peer_itself_wrote(
    hops: bytes, protos: bytes, hosts: bytes, asked: tuple[str, bytes]
) -> None:
    read = chain((b"X-Forwarded-For", hops), (b"X-Forwarded-Proto", protos), (b"X-Forwarded-Host", hosts))
    at = read.client(Networks(["10.0.0.0/8"]))
    hop = Hop("") if at is None else read.hops[at]
    assert (hop.scheme or read.scheme, hop.host or read.host) == asked


@pytest.mark.parametrize(
    ("value", "client"),
    [
        (b"1.1.1.1", "1.1.1.1"),
        (b"6.6.6.6, 1.1.1.1", "1.1.1.1"),
        (b"6.6.6.6, 1.1.1.1, 10.0.0.3, 10.0.0.2", "1.1.1.1"),
        (b"10.0.0.3, 10.0.0.2", "10.0.0.3"),
        (b"6.6.6.6, unknown, 10.0.0.2", "10.0.0.2"),
        (b"6.6.6.6, _hidden", None),
        (b"6.6.6.6, nonsense", None),
        (b"", None),
    ],
)
def test_the_client_is_the_first_from_the_right_that_is_not_trusted(value: bytes, client: str | None) -> None:
    hops = Chain(tuple(x_forwarded_hops(value)))
    at = hops.client(Networks(["10.0.0.0/8"]))
    assert (None if at is None else hops.hops[at].address) == client


def test_of_a_chain_without_end_the_right_end_is_read() -> None:
    many = b", ".join(b"10.0.%d.%d" % divmod(number, 256) for number in range(20_000))
    assert [hop.node for hop in x_forwarded_hops(many)][::31] == ["10.0.78.0", "10.0.78.31"]
    assert len(x_forwarded_hops(many)) == HOPS
    assert len(forwarded_hops(b", ".join([b"for=10.0.0.1"] * 100))) == HOPS


@pytest.mark.parametrize(("longer", "hops"), [(0, HOPS), (1, 0)])
def test_a_forwarded_that_is_long_is_read_up_to_a_limit(longer: int, hops: int) -> None:
    hops_of_13 = b",for=10.0.0.1" * HOPS
    value = b"for=_".ljust(LONGEST + longer - len(hops_of_13), b"a") + hops_of_13
    assert len(chain_of([(b"Forwarded", value)]).hops) == hops


@pytest.mark.parametrize(
    ("telling", "block"),
    [
        ("both", b"\r\nX-Forwarded-For: 1.1.1.1, ::1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: a:1"
                 b'\r\nForwarded: for=1.1.1.1, for="[::1]"'),
        ("x-forwarded", b"\r\nX-Forwarded-For: 1.1.1.1, ::1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: a:1"),
        ("rfc7239", b'\r\nForwarded: for=1.1.1.1, for="[::1]"'),
        ("off", b""),
    ],
)  # fmt: skip
def test_upstreams_are_told_by_the_fields_that_were_chosen(telling: str, block: bytes) -> None:
    assert tell(telling, ["1.1.1.1", "::1"], "https", b"a:1", [element("1.1.1.1"), element("::1")]) == block


def test_a_host_that_nobody_named_is_not_told() -> None:
    assert tell("both", ["1.1.1.1"], "http", b"", [element("1.1.1.1", "http", b"")]) == (
        b"\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: http\r\nForwarded: for=1.1.1.1;proto=http"
    )


@pytest.mark.parametrize(
    ("node", "host", "written"),
    [
        ("192.0.2.1", b"a.test", b"for=192.0.2.1;host=a.test;proto=http"),
        ("192.0.2.1", b"a.test:80", b'for=192.0.2.1;host="a.test:80";proto=http'),
        ("192.0.2.1:80", b"", b'for="192.0.2.1:80";proto=http'),
        ("2001:db8::1", b"[::1]", b'for="[2001:db8::1]";host="[::1]";proto=http'),
        ("[2001:db8::1]:80", b"", b'for="[2001:db8::1]:80";proto=http'),
        ("fe80::1%eth0", b"", b'for="[fe80::1]";proto=http'),
        ("unix", b"", b"for=_unix;proto=http"),
        ("unknown", b"", b"for=unknown;proto=http"),
        ("_hidden", b'a"b\\', b'for=_hidden;host="a\\"b\\\\";proto=http'),
    ],
)
def test_an_element_quotes_what_is_no_token(node: str, host: bytes, written: bytes) -> None:
    assert element(node, "http", host) == written


lines = st.lists(st.sampled_from([9, *range(32, 127), *range(128, 256)]), max_size=60).map(bytes)
PARTS = b'for=|1.2.3.4|::1|"|[|]|\\|;|,| |proto=|https|host=|a|=|unknown|_x|:80|by='.split(b"|")
NAMES = (b"Forwarded", b"X-Forwarded-For", b"X-Forwarded-Proto", b"x-forwarded-host")
likely = st.lists(st.sampled_from(PARTS), max_size=14).map(b"".join)


@given(st.lists(st.tuples(st.sampled_from(NAMES), lines | likely), max_size=4))
@example([(b"Forwarded", b'for="\\')])
@example([(b"Forwarded", b";,for=1.1.1.1")])
def test_whatever_a_peer_says_no_line_is_broken_and_what_we_say_can_be_read_again(fields: list[Any]) -> None:
    read = chain(*fields)
    for hop in read.hops:
        assert re.fullmatch(r"[0-9A-Za-z._:\[\]-]+", hop.node), hop
        assert not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", hop.element)
    elements = [hop.element or element(hop.node, hop.scheme, hop.host) for hop in read.hops] + [element("10.0.0.9")]
    block = tell("both", [*(hop.node for hop in read.hops), "10.0.0.9"], read.scheme or "http", read.host, elements)
    assert block.count(b"\r\n") == 3 + bool(read.host)
    again = forwarded_hops(block.rpartition(b"Forwarded: ")[2])
    assert [hop.address for hop in again] == [*[hop.address for hop in read.hops][-HOPS + 1 :], "10.0.0.9"]
    told = chain_of(said(block))
    assert [hop.address for hop in told.hops] == [hop.address for hop in again]
