"""Connections that begin with a PROXY header."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import pytest

from asyncproxy import Module, Request, Response
from asyncproxy.exchange.networks import Networks
from asyncproxy.exchange.peers import Trust
from asyncproxy.polling.accepting import ClientConnection
from tests.fakes import GET, FakeClient, House

TEXT = b"PROXY TCP4 192.0.2.9 10.0.0.1 4660 80\r\n"
ADDRESSES = IPv4Address("192.0.2.9").packed + IPv4Address("10.0.0.1").packed + b"\x12\x34\x00\x50"
BINARY = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c" + ADDRESSES
LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00"
KEY = "server.proxy_protocol"


class Who(Module):
    def handle(self, request: Request) -> Response:
        return Response.text(f"{request.client} {request.scheme}")


def house_of(module: Any = None, **more: Any) -> House:
    server = {"trusted": "127.0.0.1", "proxy_protocol": True, **more.pop("server", {})}
    return House(module or Who(), server=server, **more)


def sent(house: House, *pieces: bytes) -> FakeClient:
    client = house.connect()
    for piece in pieces:
        client.send(piece)
    house.settle()
    return client


@pytest.mark.parametrize("header", [TEXT, BINARY])
def test_the_client_is_who_the_header_names(header: bytes) -> None:
    house = house_of()
    client = sent(house, header + GET)
    assert client.body == b"('192.0.2.9', 4660) http"
    client.send(GET)
    house.settle()
    assert [record.client for record in house.records] == ["192.0.2.9", "192.0.2.9"]
    assert isinstance(client.wire.protocol, ClientConnection)
    house.assert_nothing_left()


@pytest.mark.parametrize("header", [TEXT, BINARY])
def test_it_may_come_in_any_pieces(header: bytes) -> None:
    whole = header + GET
    for end in range(1, len(whole)):
        client = sent(house_of(), whole[:end], whole[end:])
        assert client.body == b"('192.0.2.9', 4660) http", end
    assert sent(house_of(), *(whole[at : at + 1] for at in range(len(whole)))).status == 200


@pytest.mark.parametrize("header", [LOCAL, b"PROXY UNKNOWN\r\n"])
def test_of_a_connection_of_the_peer_s_own_the_peer_is_the_client_and_believed_nothing(header: bytes) -> None:
    house = house_of()
    client = sent(house, header + b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n")
    assert client.body == b"('127.0.0.1', 4000) http"
    house.door.believe(Trust(Networks(["127.0.0.1"]), proxy_protocol=True))
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n")
    house.settle()
    assert client.body == b"('127.0.0.1', 4000) http"


def test_who_is_named_is_believed_as_far_as_it_is_trusted_itself() -> None:
    asked = b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"
    assert sent(house_of(), TEXT + asked).body == b"('192.0.2.9', 4660) http"
    house = house_of(server={"trusted": ["127.0.0.1", "192.0.2.0/24"]})
    assert sent(house, TEXT + asked).body == b"('6.6.6.6', 0) http"


@pytest.mark.parametrize("data", [GET, b"PROXY TCP4 nobody\r\n" + GET, b"\r\n\r\nGET / HTTP/1.1\r\n", b"x"])
def test_what_begins_with_no_header_is_closed_and_told(data: bytes) -> None:
    house = house_of()
    client = sent(house, data)
    assert (client.received, client.closed) == (b"", True)
    assert house.entrance.reached.statistics() == {KEY: 1}
    assert not house.records
    house.assert_nothing_left()


def test_nobody_else_may_connect() -> None:
    house = house_of(server={"trusted": "10.0.0.0/8"})
    client = house.connect()
    client.send(TEXT + GET)
    house.settle()
    assert (client.received, client.closed) == (b"", True)
    assert house.entrance.reached.statistics() == {KEY: 1}
    house.assert_nothing_left()


def test_the_header_and_the_first_request_have_one_time_between_them() -> None:
    house = house_of(limits={"first_request_timeout": "10s"})
    silent, slow = house.connect(), house.connect()
    slow.send(TEXT[:10])
    house.advance(6)
    slow.send(TEXT[10:])
    house.advance(3)
    assert not silent.closed
    assert not slow.closed
    house.advance(3)
    assert silent.closed
    assert slow.closed
    assert house.entrance.reached.statistics() == {KEY: 1, "limits.first_request_timeout": 1}
    house.assert_nothing_left()


def test_a_connection_that_ends_before_its_header_is_nobody_s() -> None:
    house = house_of()
    client = sent(house, TEXT[:-1])
    assert house.door.statistics() == {"connections": 1}
    client.leave()
    house.settle()
    assert house.door.statistics() == {"connections": 0}
    assert house.entrance.reached.statistics() == {}
    house.assert_nothing_left()


def test_connections_are_counted_by_the_client_that_the_header_names() -> None:
    house = house_of(limits={"connections_per_client": 1})
    assert [sent(house, TEXT + GET).status for _ in range(2)] == [200, 503]
    other = TEXT.replace(b"192.0.2.9", b"192.0.2.10")
    assert sent(house, other + GET).status == 200
    assert [sent(house, LOCAL + GET).status for _ in range(2)] == [200, 200]


def test_a_trusted_peer_without_headers_is_not_counted_as_one_client() -> None:
    house = House(Who(), server={"trusted": "127.0.0.1"}, limits={"connections_per_client": 1})
    assert [sent(house, GET).status for _ in range(3)] == [200, 200, 200]


def test_a_drain_gives_a_header_that_is_on_its_way_a_moment() -> None:
    house = house_of()
    silent, late = house.connect(), house.connect()
    house.door.drain(1)
    late.send(TEXT + GET)
    house.advance(0.5)
    assert late.status == 200
    house.advance(3)
    assert silent.closed
    house.assert_nothing_left()


def test_another_trust_holds_for_new_connections() -> None:
    house = house_of()
    waiting = house.connect()
    house.door.believe(Trust(Networks(["127.0.0.1"])))
    assert sent(house, GET).body.startswith(b"('127.0.0.1', ")
    waiting.send(TEXT + GET)
    house.settle()
    assert waiting.body == b"('192.0.2.9', 4660) http"


def test_a_transport_that_keeps_its_protocol_is_served_too() -> None:
    house = house_of()
    client = house.connect()
    introducing = client.wire.protocol
    client.send(TEXT)
    client.wire.protocol = introducing
    client.send(GET)
    house.settle()
    assert client.body == b"('192.0.2.9', 4660) http"
    client.leave()
    house.settle()
    assert house.door.statistics() == {"connections": 0}


def test_without_anybody_to_trust_it_is_refused_at_start() -> None:
    with pytest.raises(ValueError, match=r"server\.proxy_protocol: nobody may connect.*write trusted = "):
        House(server={"proxy_protocol": True})
