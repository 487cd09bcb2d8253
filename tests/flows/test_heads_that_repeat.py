"""Requests and replies whose heads repeat on a connection: read once, and every exchange as good as the first."""

from __future__ import annotations

from typing import Any

import pytest

from asyncproxy import Module
from asyncproxy.exchange.messages import Request
from tests.fakes import House

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: y\r\n\r\nok"
GET = b"GET /%d HTTP/1.1\r\nHost: a\r\nAccept: b\r\n\r\n"


def relayed(house: House, client: Any, head: bytes, reply: bytes = OK) -> bytes:
    """What the upstream receives of a request with `head`, which it answers."""
    before = len(house.upstream().received) if house.network.asked else 0
    client.send(head)
    house.settle()
    upstream = house.upstream()
    asked: bytes = upstream.received[before:]
    upstream.answer(reply)
    house.settle()
    return asked


def test_each_of_many_requests_with_the_same_fields_is_passed_on_with_its_own_target() -> None:
    house = House()
    client = house.connect()
    asked = [relayed(house, client, GET % number) for number in range(5)]
    assert client.statuses == [200] * 5
    rest = asked[0].removeprefix(b"GET /0").replace(b"-1\r\n\r\n", b"-%d\r\n\r\n")
    assert asked == [b"GET /%d%b" % (number, rest % (number + 1)) for number in range(5)]


def test_other_fields_are_passed_on_as_they_are_however_often_the_first_came() -> None:
    house = House()
    client = house.connect()
    for _ in range(3):
        relayed(house, client, GET % 1)
    other = relayed(house, client, (GET % 1).replace(b"Accept: b", b"Accept: c"))
    assert b"Accept: c" in other
    assert b"Accept: b" not in other


def test_an_absolute_target_changes_nothing_for_the_requests_around_it() -> None:
    house = House()
    client = house.connect()
    absolute = b"GET http://other/9 HTTP/1.1\r\nHost: a\r\nAccept: b\r\n\r\n"
    heads = [GET % 1, absolute, absolute, GET % 2, absolute, GET % 3]
    hosts = [relayed(house, client, head).split(b"\r\nHost: ")[1].split(b"\r\n")[0] for head in heads]
    assert hosts == [b"a", b"other", b"other", b"a", b"other", b"a"]


@pytest.mark.parametrize("bad", [b"/a b", b"/a#b", b"a", b"/\x80"])
def test_a_bad_target_is_refused_however_often_a_good_one_came(bad: bytes) -> None:
    house = House()
    client = house.connect()
    for _ in range(3):
        relayed(house, client, GET % 1)
    client.send((GET % 1).replace(b"/1", bad, 1))
    house.settle()
    assert client.statuses[-1] == 400


def test_a_reply_that_repeats_has_its_own_body_and_the_next_its_own_head() -> None:
    house = House()
    client = house.connect()
    for reply in (OK, OK, OK.replace(b"ok", b"no"), OK.replace(b"200 OK", b"404 No"), OK):
        relayed(house, client, GET % 1, reply)
    assert client.statuses == [200, 200, 200, 404, 200]
    assert client.received.count(b"\r\n\r\nok") == 4
    assert client.received.count(b"\r\n\r\nno") == 1


def test_a_reply_to_head_that_looks_like_one_before_has_no_body() -> None:
    house = House()
    client = house.connect()
    for _ in range(3):
        relayed(house, client, GET % 1)
    head = OK.removesuffix(b"ok")
    relayed(house, client, (GET % 1).replace(b"GET", b"HEAD", 1), head)
    relayed(house, client, GET % 1)
    assert client.statuses == [200] * 5
    assert client.received.count(b"\r\n\r\nok") == 4


class Marks(Module):
    """Changes the reply it was given."""

    async def handle(self, request: Request) -> Any:
        reply = await request.forward()
        reply.headers.add("x-mark", request.path)
        return reply


def test_what_a_module_does_to_one_reply_is_not_seen_in_the_next() -> None:
    house = House(Marks())
    client = house.connect()
    for number in range(4):
        relayed(house, client, GET % number)
    assert client.received.count(b"x-mark: ") == 4
    assert all(b"x-mark: /%d\r\n" % number in client.received for number in range(4))
