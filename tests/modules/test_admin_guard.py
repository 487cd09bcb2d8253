from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from asyncproxy import Request
from asyncproxy.exchange.peers import Peer
from asyncproxy.modules.admin_guard import NotAllowed, check_writing

LOOPBACK = IPv4Address("TCP", "127.0.0.1", 8081)
ANYWHERE = IPv4Address("TCP", "0.0.0.0", 8081)
OWN = {"Host": "127.0.0.1:8081", "Content-Type": "application/json"}


def asked(fields: dict[str, str]) -> Request:
    block = "".join(f"\r\n{name.split('|')[0]}: {value}" for name, value in fields.items())
    return Request("POST", b"/drain", block.encode("latin-1"))


def refused(address: Any, hosts: tuple[str, ...] = (), **fields: str) -> int:
    """The status that such a request is refused with; 0 if it may write."""
    return refusal(asked({**OWN, **{name.replace("_", "-"): value for name, value in fields.items()}}), address, hosts)


def refusal(request: Request, address: Any, hosts: tuple[str, ...] = ()) -> int:
    """The same of a request that is made."""
    try:
        check_writing(request, address, hosts)
    except NotAllowed as why:
        return why.status
    return 0


@pytest.mark.parametrize(
    ("address", "host", "status"),
    [
        (LOOPBACK, "127.0.0.1:8081", 0),
        (LOOPBACK, "localhost:8081", 0),
        (LOOPBACK, "LocalHost:8081", 0),
        (LOOPBACK, "[::1]:8081", 421),
        (LOOPBACK, "127.0.0.2:8081", 421),
        (LOOPBACK, "127.0.0.1:8082", 421),
        (LOOPBACK, "127.0.0.1", 421),
        (LOOPBACK, "evil.example:8081", 421),
        (LOOPBACK, "127.0.0.1.evil.example:8081", 421),
        (LOOPBACK, "localhost.evil.example:8081", 421),
        (LOOPBACK, "127.0.0.1:8081@evil.example", 421),
        (LOOPBACK, "2130706433:8081", 421),
        (LOOPBACK, "", 421),
        (IPv6Address("TCP", "::1", 8081), "[::1]:8081", 0),
        (IPv6Address("TCP", "::1", 8081), "[0:0::1]:8081", 0),
        (IPv6Address("TCP", "::1", 8081), "localhost:8081", 0),
        (IPv6Address("TCP", "::1", 8081), "127.0.0.1:8081", 421),
        (IPv4Address("TCP", "192.0.2.7", 8081), "192.0.2.7:8081", 0),
        (IPv4Address("TCP", "192.0.2.7", 8081), "localhost:8081", 421),
        (ANYWHERE, "192.0.2.7:8081", 0),
        (ANYWHERE, "[2001:db8::1]:8081", 0),
        (ANYWHERE, "localhost:8081", 0),
        (ANYWHERE, "evil.example:8081", 421),
        (IPv6Address("TCP", "::", 8081), "192.0.2.7:8081", 0),
        (IPv4Address("TCP", "127.0.0.1", 80), "localhost", 0),
        (None, "127.0.0.1:8081", 421),
    ],
)
def test_a_host_is_the_listener_s_own(address: Any, host: str, status: int) -> None:
    assert refused(address, Host=host) == status


def test_over_a_socket_file_any_host_will_do() -> None:
    request = asked({**OWN, "Host": "whatever"})
    request.peer = Peer("unix")
    check_writing(request, UNIXAddress("/run/admin"), ())


def test_a_route_of_a_tcp_listener_is_not_reached_by_any_host_because_the_admin_s_is_a_socket_file() -> None:
    for host in ("evil.example:8080", "localhost:8080", "127.0.0.1:8080"):
        assert refused(UNIXAddress("/run/admin"), Host=host) == 421
    assert refused(UNIXAddress("/run/admin"), ("proxy.example",), Host="proxy.example") == 0


def test_a_target_in_absolute_form_wins_over_the_host() -> None:
    for authority, status in ((b"127.0.0.1:8081", 0), (b"evil.example", 421)):
        request = Request("POST", b"http://%b/drain" % authority, asked(OWN).block)
        request.host_value = authority
        assert refusal(request, LOOPBACK) == status


def test_names_that_are_listed_are_its_own_too() -> None:
    hosts = ("proxy.example:9443", "proxy.example")
    assert refused(LOOPBACK, hosts, Host="Proxy.Example:9443") == 0
    assert refused(LOOPBACK, hosts, Host="proxy.example") == 0
    assert refused(LOOPBACK, hosts, Host="proxy.example:8081") == 421
    assert refused(LOOPBACK, hosts, Host="proxy.example:9443", Origin="https://proxy.example:9443") == 0
    assert refused(None, hosts, Host="proxy.example") == 0


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"Origin": "http://127.0.0.1:8081"}, 0),
        ({"Origin": "https://127.0.0.1:8081"}, 0),
        ({"Origin": "HTTP://127.0.0.1:8081"}, 0),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://localhost:8081"}, 403),
        ({"Origin": "http://127.0.0.1"}, 403),
        ({"Origin": "http://127.0.0.1:8081.evil.example"}, 403),
        ({"Origin": "ftp://127.0.0.1:8081"}, 403),
        ({"Origin": "http://127.0.0.1:8081", "origin": "http://evil.example"}, 403),
        ({"Sec_Fetch_Site": "same-origin"}, 0),
        ({"Sec_Fetch_Site": "none"}, 0),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Sec_Fetch_Site": "of a time to come"}, 403),
        ({"Sec_Fetch_Site": "same-origin", "sec_fetch_site": "cross-site"}, 403),
    ],
)
def test_a_page_that_asks_is_the_listener_s_own(fields: dict[str, str], status: int) -> None:
    assert refused(LOOPBACK, **fields) == status


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("application/json", 0),
        ("Application/JSON; charset=utf-8", 0),
        ("", 415),
        ("text/plain", 415),
        ("text/plain; application/json", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/jsonp", 415),
    ],
)
def test_a_writing_call_is_json(said: str, status: int) -> None:
    assert refused(LOOPBACK, Content_Type=said) == status


def test_two_types_are_none() -> None:
    assert refused(LOOPBACK, content_type="text/plain") == 415


def test_the_words_say_how_to_mend_it() -> None:
    with pytest.raises(NotAllowed) as why:
        check_writing(asked({**OWN, "Host": "proxy.example"}), ANYWHERE, ())
    assert why.value.words == (
        'Host "proxy.example" is not this listener\'s: ask localhost:8081, '
        'or list it as hosts = ["proxy.example"] in [admin]'
    )
