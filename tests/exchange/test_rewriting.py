"""What an upstream says of itself, in its client's words."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncproxy.exchange.rewriting import Place, Rewriting, with_host

UPSTREAM = b"127.0.0.1:9000"


def mapped(
    value: bytes,
    *,
    server: bytes = UPSTREAM,
    asked: bytes = b"shop.test",
    client: bytes = b"shop.test",
    scheme: str = "http",
    prefix: bytes = b"/api",
) -> bytes:
    return Rewriting(server, [asked], client, scheme, prefix).reference(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"http://127.0.0.1:9000/x", b"http://shop.test/api/x"),
        (b"HTTP://127.0.0.1:9000/x?y#z", b"http://shop.test/api/x?y#z"),
        (b"http://127.0.0.1:9000", b"http://shop.test/api"),
        (b"http://127.0.0.1:9000?y", b"http://shop.test/api?y"),
        (b"http://127.0.0.1:9000/", b"http://shop.test/api/"),
        (b"//127.0.0.1:9000/x", b"//shop.test/api/x"),
        (b"/x", b"/api/x"),
        (b"/", b"/api/"),
        (b"/x?y=http://127.0.0.1:9000/", b"/api/x?y=http://127.0.0.1:9000/"),
        (b"http://shop.test/x", b"http://shop.test/api/x"),
        (b"http://SHOP.test.:80/x", b"http://shop.test/api/x"),
        (b"https://shop.test/x", b"https://shop.test/api/x"),
        (b"https://shop.test:443/x", b"https://shop.test/api/x"),
        # Untouched: relative, elsewhere, nothing that can be read.
        (b"x", b"x"),
        (b"../x", b"../x"),
        (b"./", b"./"),
        (b"?y", b"?y"),
        (b"#z", b"#z"),
        (b"", b""),
        (b"http://elsewhere.test/x", b"http://elsewhere.test/x"),
        (b"//elsewhere.test/x", b"//elsewhere.test/x"),
        (b"http://127.0.0.1/x", b"http://127.0.0.1/x"),
        (b"http://127.0.0.1:9001/x", b"http://127.0.0.1:9001/x"),
        (b"https://127.0.0.1:9000/x", b"https://127.0.0.1:9000/x"),
        (b"http://shop.test:8080/x", b"http://shop.test:8080/x"),
        (b"https://shop.test:80/x", b"https://shop.test:80/x"),
        (b"ftp://shop.test/x", b"ftp://shop.test/x"),
        (b"mailto:a@shop.test", b"mailto:a@shop.test"),
        (b"http:/x", b"http:/x"),
        (b"http:x", b"http:x"),
        (b"http://user@127.0.0.1:9000/x", b"http://user@127.0.0.1:9000/x"),
        (b"http://127.0.0.1:9000:1/x", b"http://127.0.0.1:9000:1/x"),
        (b"http://127.0.0.1:port/x", b"http://127.0.0.1:port/x"),
        (b"http://[::1/x", b"http://[::1/x"),
        (b"http:///x", b"http:///x"),
        (b"///x", b"///x"),
        (b"\xff\xfe", b"\xff\xfe"),
        (b"/caf\xc3\xa9", b"/api/caf\xc3\xa9"),
    ],
)
def test_a_path_and_a_url_of_the_upstream_are_the_client_s(value: bytes, expected: bytes) -> None:
    assert mapped(value) == expected


@pytest.mark.parametrize(
    ("prefix", "value", "expected"),
    [
        (b"", b"/x", b"/x"),
        (b"", b"http://127.0.0.1:9000/x", b"http://shop.test/x"),
        (b"", b"http://127.0.0.1:9000", b"http://shop.test"),
        (b"/api/", b"/x", b"/api/x"),
        (b"/api/", b"/", b"/api/"),
        (b"/api/", b"http://127.0.0.1:9000", b"http://shop.test/api/"),
        (b"/a/b", b"/x", b"/a/b/x"),
        (b"/caf%C3%A9", b"/x", b"/caf%C3%A9/x"),
    ],
)
def test_the_prefix_is_put_back(prefix: bytes, value: bytes, expected: bytes) -> None:
    assert mapped(value, prefix=prefix) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"http://shop.test/x", b"https://shop.test/x"),
        (b"http://127.0.0.1:9000/x", b"https://shop.test/x"),
        (b"https://shop.test/x", b"https://shop.test/x"),
        (b"//shop.test/x", b"//shop.test/x"),
    ],
)
def test_an_upstream_that_is_asked_by_http_means_the_client_s_scheme(value: bytes, expected: bytes) -> None:
    assert mapped(value, scheme="https", prefix=b"") == expected


def test_https_that_the_upstream_says_of_itself_is_meant() -> None:
    assert mapped(b"https://shop.test/x", scheme="http", prefix=b"") == b"https://shop.test/x"


@pytest.mark.parametrize(
    ("server", "value"),
    [
        (b"app.internal", b"http://app.internal/x"),
        (b"app.internal", b"http://APP.internal:80/x"),
        (b"app.internal", b"http://app.internal./x"),
        (b"[::1]:9000", b"http://[0:0::1]:9000/x"),
        (b"[2001:db8::a]", b"http://[2001:DB8::A]:80/x"),
        (b"localhost", b"http://localhost/x"),
    ],
)
def test_a_place_has_one_spelling(server: bytes, value: bytes) -> None:
    assert mapped(value, server=server) == b"http://shop.test/api/x"


def test_a_host_with_a_port_is_that_port_s_alone() -> None:
    assert mapped(b"http://shop.test:8080/x", asked=b"shop.test:8080", client=b"shop.test:8080") == (
        b"http://shop.test:8080/api/x"
    )
    assert mapped(b"http://shop.test/x", asked=b"shop.test:8080", client=b"shop.test:8080") == b"http://shop.test/x"


def test_both_the_host_that_was_asked_for_here_and_the_client_s_own_are_the_upstream_s() -> None:
    for own in (b"edge.internal", b"shop.test"):
        assert mapped(b"http://" + own + b"/x", asked=b"edge.internal") == b"http://shop.test/api/x"


def test_to_a_client_that_named_no_host_a_url_becomes_a_path() -> None:
    assert mapped(b"http://127.0.0.1:9000/x", asked=b"", client=b"") == b"/api/x"
    assert mapped(b"http://127.0.0.1:9000", asked=b"", client=b"", prefix=b"") == b"/"


def cookie(
    value: bytes, prefix: bytes = b"/api", server: bytes = b"app.internal", client: bytes = b"shop.test"
) -> bytes:
    return Rewriting(server, [client], client, "http", prefix).cookie(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"a=b; Path=/x", b"a=b; Path=/api/x"),
        (b"a=b; Path=/", b"a=b; Path=/api"),
        (b"a=b;path=/x;Secure", b"a=b;path=/api/x;Secure"),
        (b"a=b; PATH = /x ; HttpOnly", b"a=b; PATH =/api/x; HttpOnly"),
        (b"a=b; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Path=/x",
         b"a=b; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Path=/api/x"),
        (b"a=b; Path=/x; Path=/y", b"a=b; Path=/api/x; Path=/api/y"),
        (b"a=b", b"a=b"),
        (b"a=b; Secure", b"a=b; Secure"),
        (b"a=b; Path", b"a=b; Path"),
        (b"a=b; Path=", b"a=b; Path="),
        (b"a=b; Path=x", b"a=b; Path=x"),
        (b'a=b; Path="/x"', b'a=b; Path="/x"'),
        (b"a=Path=/x", b"a=Path=/x"),
        (b"a=b; Domain=app.internal; Path=/x", b"a=b; Path=/api/x"),
        (b"a=b; Domain=.App.Internal", b"a=b"),
        (b"a=b; domain = app.internal.; Secure", b"a=b; Secure"),
        (b"a=b; Domain=shop.test", b"a=b; Domain=shop.test"),
        (b"a=b; Domain=internal", b"a=b; Domain=internal"),
        (b"a=b; Domain", b"a=b; Domain"),
        (b"__Host-a=b; Path=/; Secure", b"__Host-a=b; Path=/; Secure"),
        (b"__host-a=b; Path=/; Secure; Domain=app.internal", b"__host-a=b; Path=/; Secure"),
        (b"__Secure-a=b; Path=/; Secure", b"__Secure-a=b; Path=/api; Secure"),
        (b"", b""),
        (b";;;", b";;;"),
        (b"\xff; Path=/\xff", b"\xff; Path=/api/\xff"),
    ],
)  # fmt: skip
def test_a_cookie_keeps_below_the_prefix_and_off_the_upstream_s_domain(value: bytes, expected: bytes) -> None:
    assert cookie(value) == expected


def test_a_prefix_that_ends_in_a_slash_is_where_cookies_for_everything_go() -> None:
    assert cookie(b"a=b; Path=/", b"/api/") == b"a=b; Path=/api/"
    assert cookie(b"a=b; Path=/x", b"/api/") == b"a=b; Path=/api/x"
    assert cookie(b"a=b; Path=/x", b"") == b"a=b; Path=/x"


def test_a_domain_that_is_the_client_s_host_too_stays() -> None:
    assert cookie(b"a=b; Domain=shop.test", server=b"shop.test:9000") == b"a=b; Domain=shop.test"


def test_an_address_is_no_domain_for_a_client_either() -> None:
    assert cookie(b"a=b; Domain=127.0.0.1", server=UPSTREAM) == b"a=b"


def test_all_fields_that_name_the_place_are_mapped_and_no_others() -> None:
    block = (
        b"\r\nLocation: /x\r\nlocation:/y \r\nContent-LOCATION:\t http://127.0.0.1:9000/z\r\nSet-Cookie: a=b; Path=/"
        b"\r\nX-Location: /x\r\nSet-Cookie: c=d; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Path=/e"
        b"\r\nSet-Cookie2: a; Path=/\r\nRefresh: 5; url=/x\r\nRefresh: 5\r\nLink: </x>"
    )
    assert Rewriting(UPSTREAM, [], b"shop.test", "http", b"/api").block(block) == (
        b"\r\nLocation: /api/x\r\nlocation: /api/y\r\nContent-LOCATION: http://shop.test/api/z"
        b"\r\nSet-Cookie: a=b; Path=/api"
        b"\r\nX-Location: /x\r\nSet-Cookie: c=d; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Path=/api/e"
        b"\r\nSet-Cookie2: a; Path=/\r\nRefresh: 5; url=/api/x\r\nRefresh: 5\r\nLink: </x>"
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"0;URL=http://127.0.0.1:9000/x", b"0;URL=http://shop.test/api/x"),
        (b"0, url='/x'", b"0, url='/api/x'"),
        (b'3; url = "/x"; more', b'3; url = "/api/x"; more'),
        (b"url=/x", b"url=/x"),
        (b"", b""),
    ],
)
def test_a_refresh_is_mapped_inside(value: bytes, expected: bytes) -> None:
    block = Rewriting(UPSTREAM, [], b"shop.test", "http", b"/api").block(b"\r\nRefresh: " + value)
    assert block == b"\r\nRefresh: " + expected


def test_a_block_that_names_no_place_is_the_same() -> None:
    block = b"\r\nContent-Type: text/html\r\nContent-Length:   5"
    assert Rewriting(UPSTREAM, [], b"shop.test", "http", b"/api").block(block) == block


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (b"\r\nHost: shop.test\r\nX: y", b"\r\nHost: app\\1:80\r\nX: y"),
        (b"\r\nA: b\r\nhOsT:shop.test", b"\r\nA: b\r\nhOsT: app\\1:80"),
        (b"\r\nHost:", b"\r\nHost: app\\1:80"),
        (b"\r\nX-Host: a", b"\r\nX-Host: a"),
    ],
)
def test_a_host_is_replaced(block: bytes, expected: bytes) -> None:
    assert with_host(block, b"app\\1:80") == expected


@pytest.mark.parametrize("authority", [b"", b"a:b", b"a@b", b"[::1", b"a:123456", b":80"])
def test_what_is_no_authority_is_no_place(authority: bytes) -> None:
    assert Place.of(authority) is None


values = st.lists(st.sampled_from([9, *range(32, 127), *range(128, 256)]), max_size=30).map(bytes)
PARTS = b"http://|//|127.0.0.1|:9000|/|x|?|#|;|Path=|Domain=|shop.test|[::1]|@| |=|%".split(b"|")
parts = st.lists(st.sampled_from(PARTS), max_size=9).map(b"".join)


@given(values | parts, st.sampled_from([b"Location", b"Set-Cookie", b"Content-Location", b"Refresh"]))
def test_whatever_an_upstream_says_no_line_is_broken(value: bytes, name: bytes) -> None:
    block = b"\r\n" + name + b": " + value.strip(b" \t") + b"\r\nX: y"
    changed = Rewriting(UPSTREAM, [b"shop.test"], b"shop.test", "http", b"/api").block(block)
    assert re.fullmatch(rb"\r\n" + name + rb": [^\r\n]*\r\nX: y", changed)


@given(parts)
def test_what_is_mapped_is_the_client_s_and_is_not_mapped_to_anybody_else(value: bytes) -> None:
    changed = mapped(value)
    assert changed == value or changed.startswith(
        (b"/api", b"http://shop.test/api", b"https://shop.test/api", b"//shop.test/api")
    )
