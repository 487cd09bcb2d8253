from __future__ import annotations

from asyncproxy.exchange.networks import Networks
from asyncproxy.exchange.peers import NO_TRUST, Peer, Trust, TrustedPeer, peer_at

TRUST = Trust(Networks(["10.0.0.0/8", "unix"]))


def front(address: str = "10.0.0.1", trust: Trust = TRUST) -> TrustedPeer:
    peer = peer_at(address, 5, "http", "p", trust)
    assert isinstance(peer, TrustedPeer)
    return peer


def test_a_peer_is_told_of_with_the_host_that_was_asked_for() -> None:
    peer = Peer("192.0.2.1")
    assert peer.told(b"a") == (
        b"\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a"
        b"\r\nForwarded: for=192.0.2.1;host=a;proto=http"
    )
    assert b"X-Forwarded-Host: b\r\n" in peer.told(b"b")
    assert b"Host" not in peer.told(b"")


def test_what_is_told_for_the_same_host_is_made_once() -> None:
    peer = Peer("192.0.2.1")
    assert peer.told(b"a") is peer.told(b"a")


def test_a_peer_that_is_not_listed_is_an_ordinary_one() -> None:
    assert type(peer_at("192.0.2.1", 1, "http", "p", TRUST)) is Peer
    assert type(peer_at("10.0.0.1", 1, "http", "p", NO_TRUST)) is Peer


def test_a_trusted_peer_speaks_for_its_client() -> None:
    client = front().client_of(b"\r\nX-Forwarded-For: 6.6.6.6, 192.0.2.1\r\nX-Forwarded-Proto: https")
    assert (client.address, client.port, client.scheme, client.prefix) == ("192.0.2.1", 0, "https", "p")
    assert client.told(b"a") == (
        b"\r\nX-Forwarded-For: 6.6.6.6, 192.0.2.1, 10.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: a"
        b"\r\nForwarded: for=6.6.6.6, for=192.0.2.1;proto=https, for=10.0.0.1;host=a;proto=http"
    )
    assert client.asked_for(b"a") == b"a"


def test_the_host_that_the_peer_was_asked_for_is_passed_on() -> None:
    client = front().client_of(b"\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Host: shop.test")
    assert client.asked_for(b"a") == b"shop.test"
    assert client.told(b"a") == (
        b"\r\nX-Forwarded-For: 192.0.2.1, 10.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: shop.test"
        b"\r\nForwarded: for=192.0.2.1;host=shop.test;proto=http, for=10.0.0.1;host=a;proto=http"
    )


def test_elements_of_forwarded_go_on_as_they_came() -> None:
    client = front().client_of(b'\r\nForwarded: for="[2001:db8::1]:5";proto=https;by=_edge;host=shop.test')
    assert (client.address, client.port, client.scheme) == ("2001:db8::1", 5, "https")
    assert client.told(b"a") == (
        b"\r\nX-Forwarded-For: [2001:db8::1]:5, 10.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.test"
        b'\r\nForwarded: for="[2001:db8::1]:5";proto=https;by=_edge;host=shop.test, for=10.0.0.1;host=a;proto=http'
    )


def test_a_peer_that_tells_no_client_is_the_client_of_what_it_asks() -> None:
    peer = front()
    assert peer.client_of(b"\r\nHost: a") is peer
    assert peer.client_of(b"\r\nX-Forwarded-For: nonsense\r\nX-Forwarded-Proto: gopher") is peer


def test_a_scheme_alone_is_told_of_the_peer_itself() -> None:
    client = front().client_of(b"\r\nX-Forwarded-Proto: https")
    assert (client.address, client.port, client.scheme) == ("10.0.0.1", 5, "https")
    assert b"\r\nForwarded: for=10.0.0.1;host=a;proto=https" in client.told(b"a")
    assert b"\r\nX-Forwarded-For: 10.0.0.1\r\n" in client.told(b"a")


def test_of_a_client_without_an_address_the_peer_stands_in() -> None:
    client = front().client_of(b"\r\nForwarded: for=_hidden;proto=https;host=b")
    assert (client.address, client.port, client.scheme, client.asked_for(b"a")) == ("10.0.0.1", 5, "https", b"b")
    assert b"\r\nX-Forwarded-For: _hidden, 10.0.0.1\r\n" in client.told(b"a")


def test_a_socket_s_peer_has_no_address_to_be_added() -> None:
    client = front("unix").client_of(b"\r\nX-Forwarded-For: 192.0.2.1")
    assert client.address == "192.0.2.1"
    assert client.told(b"a").startswith(b"\r\nX-Forwarded-For: 192.0.2.1\r\n")
    assert b"Forwarded: for=192.0.2.1;proto=http, for=_unix;host=a;proto=http" in client.told(b"a")
    assert front("unix").told(b"a").startswith(b"\r\nX-Forwarded-For: unix\r\n")


def test_nobody_is_made_a_socket_s_peer_by_a_field() -> None:
    for said in (b"X-Forwarded-For: unix", b"Forwarded: for=unix", b"Forwarded: for=_unix", b'Forwarded: for="unix"'):
        assert front().client_of(b"\r\n" + said).address == "10.0.0.1"


def test_the_client_is_the_same_as_long_as_the_fields_are() -> None:
    peer = front()
    first = peer.client_of(b"\r\nX-Forwarded-For: 192.0.2.1\r\nCookie: a")
    assert peer.client_of(b"\r\nX-Forwarded-For: 192.0.2.1\r\nCookie: b") is first
    second = peer.client_of(b"\r\nX-Forwarded-For: 192.0.2.2\r\nCookie: b")
    assert (first.address, second.address) == ("192.0.2.1", "192.0.2.2")
    assert peer.client_of(b"\r\nCookie: b") is peer


def test_what_is_told_is_what_was_chosen() -> None:
    client = front(trust=TRUST._replace(telling="off")).client_of(b"\r\nX-Forwarded-For: 192.0.2.1")
    assert client.told(b"a") == b""
    assert client.address == "192.0.2.1"
    assert Peer(trust=Trust(telling="rfc7239")).told(b"a") == b"\r\nForwarded: for=127.0.0.1;host=a;proto=http"


def test_a_peer_shows_its_address() -> None:
    assert repr(front()) == "<TrustedPeer 10.0.0.1:5>"
