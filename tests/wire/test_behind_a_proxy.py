"""Behind something else that takes the clients' connections: who asks, and by what it is told."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from tests.wire.conftest import Peers
from tests.wire.peers import Upstream, until
from tests.wire.proxies import Proxy

HERE = "tests.wire.modules_under_test"
SERVER = 'trusted = ["127.0.0.0/8"]\naccess_log = "-"\naccess_log_format = "json"'
CHAIN = ("X-Forwarded-For: 6.6.6.6, 192.0.2.9", "X-Forwarded-Proto: https", "X-Forwarded-Host: shop.test")


def configuration(peers: Peers) -> str:
    return f"""
[[route]]
module = "reverse"
upstream = "{peers.one.url}"
[[route]]
path = "/shop/"
module = "reverse"
upstream = "{peers.one.url}"
settings = {{ preserve_host = false, strip_prefix = true }}
[[route]]
path = "/who"
module = "{HERE}:Who"
"""


def test_a_trusted_peer_says_who_asks(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        assert client.get("/who", *CHAIN).json() == ["192.0.2.9", 0, "https", "proxy.test"]
        assert client.get("/who").json()[0] == "127.0.0.1"
        client.get("/", *CHAIN, "Forwarded: for=6.6.6.6;host=evil.test")
    call = upstream.call()
    assert call.all("x-forwarded-for") == ["6.6.6.6, 192.0.2.9, 127.0.0.1"]
    assert call.all("x-forwarded-proto") == ["https"]
    assert call.all("x-forwarded-host") == ["shop.test"]
    assert call.all("forwarded") == [
        "for=6.6.6.6, for=192.0.2.9;host=shop.test;proto=https, for=127.0.0.1;host=proxy.test;proto=http"
    ]
    assert call.get("host") == "proxy.test"
    until(lambda: proxy.log.count('"client":"192.0.2.9"') == 2, "the access log names the client")


def test_an_upstream_s_own_name_stays_between_it_and_us(proxy: Proxy, upstream: Upstream) -> None:
    own = upstream.url.removeprefix("http://")
    fields = (f"Location: http://{own}/next", "Content-Location: /here", "Set-Cookie: a=b; Path=/; Domain=127.0.0.1",
              "Set-Cookie: c=d; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Path=/e")  # fmt: skip
    upstream.script = lambda call: call.answer(b"", "302 Found", *fields)
    with proxy.client() as client:
        replies = [client.get("/shop/cart?id=7") for _ in range(3)]
    assert {(call.target, call.get("host"), call.get("x-forwarded-host")) for call in upstream.calls} == {
        ("/cart?id=7", own, "proxy.test")
    }
    for reply in replies:
        assert reply.get("location") == "http://proxy.test/shop/next"
        assert reply.get("content-location") == "/shop/here"
        assert reply.all("set-cookie") == [
            "a=b; Path=/shop/",
            "c=d; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Path=/shop/e",
        ]


@pytest.mark.parametrize(
    "line",
    ["X-Forwarded-For: \x01", "X-Forwarded-For: nonsense", "Forwarded: for=", 'Forwarded: for="', "X-Forwarded-For:"],
)
def test_what_a_trusted_peer_garbles_names_nobody(proxy: Proxy, upstream: Upstream, line: str) -> None:
    with proxy.client() as client:
        reply = client.get("/who", line)
    assert reply.status == 400 if "\x01" in line else reply.json()[0] == "127.0.0.1"


def test_a_reload_withdraws_trust_from_connections_that_are_open(
    make_proxy: Callable[..., Proxy], peers: Peers
) -> None:
    proxy = make_proxy(configuration(peers), SERVER)
    with proxy.client() as client:
        for _ in range(3):
            assert client.get("/who", *CHAIN).json()[0] == "192.0.2.9"
        file = proxy.directory / "proxy.toml"
        file.write_text(
            file.read_text().replace("127.0.0.0/8", "192.0.2.0/24").replace("[admin]", 'forwarded = "off"\n[admin]')
        )
        proxy.process.send_signal(signal.SIGHUP)
        until(lambda: client.get("/who", *CHAIN).json()[0] == "127.0.0.1", "it is trusted no more")
        client.get("/", *CHAIN)
    call = peers.one.call()
    peers.one.calls.clear()
    assert not [name for name, _ in call.fields if "forwarded" in name]
