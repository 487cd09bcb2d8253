"""Who the client is, when somebody trusted stands in front of us; and what upstreams are told of it."""

from __future__ import annotations

from typing import Any

import pytest

from asyncproxy import Module, Request, Response
from asyncproxy.exchange.networks import Networks
from asyncproxy.exchange.peers import Trust
from tests.fakes import FakeClient, House

CHAIN = b"X-Forwarded-For: 6.6.6.6, 192.0.2.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.test\r\n"


class Who(Module):
    def handle(self, request: Request) -> Response:
        return Response.text(f"{request.client} {request.scheme} {request.host}")


def asked(*lines: bytes) -> bytes:
    return b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(lines) + b"\r\n"


def told(house: House, request: bytes) -> list[bytes]:
    """The forwarding fields of what an upstream is asked."""
    client = house.connect()
    client.send(request)
    house.settle()
    head = bytes(house.upstream().received).partition(b"\r\n\r\n")[0]
    return sorted(line for line in head.split(b"\r\n") if b"orward" in line.partition(b":")[0])


def again(house: House, client: FakeClient, *lines: bytes) -> bytes:
    """What an upstream is asked by the next request of `client`, which it answers."""
    before = len(house.upstream().received) if house.network.asked else 0
    client.send(asked(*lines))
    house.settle()
    upstream = house.upstream()
    upstream.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
    house.settle()
    return upstream.received[before:]


def test_a_trusted_peer_says_who_the_client_is() -> None:
    house = House(Who(), server={"trusted": ["127.0.0.0/8"]})
    client = house.connect()
    client.send(asked(CHAIN))
    house.settle()
    assert client.body == b"('192.0.2.9', 0) https a"
    assert house.records[0].client == "192.0.2.9"


@pytest.mark.parametrize("trusted", [[], ["10.0.0.0/8", "unix"]])
def test_nobody_else_does(trusted: list[str]) -> None:
    house = House(Who(), server={"trusted": trusted})
    client = house.connect()
    client.send(asked(CHAIN))
    house.settle()
    assert client.body == b"('127.0.0.1', 4000) http a"
    assert house.records[0].client == "127.0.0.1"


def test_what_a_stranger_says_is_dropped_and_what_we_know_is_told() -> None:
    assert told(House(), asked(CHAIN, b"Forwarded: for=6.6.6.6\r\n", b"X-Forwarded-Port: 1\r\n")) == [
        b"Forwarded: for=127.0.0.1;host=a;proto=http",
        b"X-Forwarded-For: 127.0.0.1",
        b"X-Forwarded-Host: a",
        b"X-Forwarded-Proto: http",
    ]


def test_what_a_trusted_peer_says_is_appended_to() -> None:
    house = House(server={"trusted": "127.0.0.1"})
    assert told(house, asked(CHAIN, b"Forwarded: for=6.6.6.6\r\n", b"X-Forwarded-Port: 1\r\n")) == [
        b"Forwarded: for=6.6.6.6, for=192.0.2.9;host=shop.test;proto=https, for=127.0.0.1;host=a;proto=http",
        b"X-Forwarded-For: 6.6.6.6, 192.0.2.9, 127.0.0.1",
        b"X-Forwarded-Host: shop.test",
        b"X-Forwarded-Proto: https",
    ]


@pytest.mark.parametrize(
    ("forwarded", "names"),
    [
        ("x-forwarded", [b"X-Forwarded-For", b"X-Forwarded-Host", b"X-Forwarded-Proto"]),
        ("rfc7239", [b"Forwarded"]),
        ("off", []),
    ],
)
@pytest.mark.parametrize("trusted", [[], ["127.0.0.1"]])
def test_upstreams_are_told_what_they_know_to_read(forwarded: str, names: list[bytes], trusted: list[str]) -> None:
    house = House(server={"forwarded": forwarded, "trusted": trusted})
    assert [line.partition(b":")[0] for line in told(house, asked(CHAIN))] == names


def test_requests_of_one_connection_have_clients_of_their_own() -> None:
    house = House(server={"trusted": "127.0.0.1"})
    client = house.connect()
    for last in (1, 2, 2, 1, 1):
        head = again(house, client, b"X-Forwarded-For: 192.0.2.%d\r\n" % last)
        assert b"\r\nX-Forwarded-For: 192.0.2.%d, 127.0.0.1\r\n" % last in head
    assert [record.client for record in house.records] == [f"192.0.2.{last}" for last in (1, 2, 2, 1, 1)]


def test_a_refused_request_is_its_client_s_too() -> None:
    house = House(Who(), route={"methods": ["GET"]}, server={"trusted": "127.0.0.1"})
    client = house.connect()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.9\r\nContent-Length: 0\r\n\r\n")
    house.settle()
    assert (client.status, house.records[0].client) == (405, "192.0.2.9")


def test_another_trust_holds_for_connections_that_are_open() -> None:
    house = House(server={"trusted": "127.0.0.1"})
    client = house.connect()
    for _ in range(3):
        assert b"X-Forwarded-For: 6.6.6.6, 192.0.2.9, 127.0.0.1\r\n" in again(house, client, CHAIN)
    house.door.believe(Trust(Networks(), "x-forwarded"))
    assert b"X-Forwarded-For: 127.0.0.1\r\n" in again(house, client, CHAIN)
    assert b"\r\nForwarded:" not in again(house, client, CHAIN)
    house.door.believe(Trust(Networks(["127.0.0.1"]), "rfc7239"))
    assert b"Forwarded: for=6.6.6.6, for=192.0.2.9;" in again(house, client, CHAIN)


def test_fields_of_a_module_s_own_do_not_forge_the_client() -> None:
    class Forging(Module):
        async def handle(self, request: Request) -> Response:
            return await request.forward(headers={"X-Forwarded-For": "6.6.6.6", "Forwarded": "for=6.6.6.6"})

    assert told(House(Forging(), server={"forwarded": "x-forwarded"}), asked()) == [
        b"X-Forwarded-For: 127.0.0.1",
        b"X-Forwarded-Host: a",
        b"X-Forwarded-Proto: http",
    ]


def test_a_request_without_a_host_is_told_without_one() -> None:
    house = House()
    fields = told(house, b"GET / HTTP/1.0\r\n\r\n")
    assert fields == [
        b"Forwarded: for=127.0.0.1;proto=http",
        b"X-Forwarded-For: 127.0.0.1",
        b"X-Forwarded-Proto: http",
    ]


@pytest.mark.parametrize(
    ("server", "problem"),
    [
        ({"trusted": "10.1.0.0/8"}, 'server.trusted: "10.1.0.0/8" is an address inside a network; write "10.0.0.0/8"'),
        ({"trusted": [1]}, "server.trusted: 1 is no network; write for example"),
        (
            {"forwarded": "bothh"},
            'server.forwarded: "bothh" tells upstreams nothing; did you mean "both"?',
        ),
        ({"forwarded": True}, 'server.forwarded: true tells upstreams nothing; write "both", "x-forwarded"'),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_mend(server: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem.replace("?", r"\?")):
        House(server=server)
