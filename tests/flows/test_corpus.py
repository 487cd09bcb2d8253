"""The corpus of `tests/wire/corpus` over connections in memory, delivered in every awkward way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pytest

from tests import strict
from tests.fakes import House
from tests.wire.corpus import (
    SMUGGLED,
    Bad,
    BadReply,
    RightReply,
    RightRequest,
    bad_replies,
    bad_requests,
    right_replies,
    right_requests,
)
from tests.wire.corpus.judging import (
    judge_bad_reply,
    judge_bad_request,
    judge_onward,
    judge_right_reply,
    judge_right_request,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LINGER = 40
"""Seconds after which nothing is left of a connection that was refused."""
LONG = 3000
"""Bytes of a message that is not delivered one by one."""


def whole(data: bytes) -> Iterator[bytes]:
    yield data


def by_bytes(data: bytes) -> Iterator[bytes]:
    for at in range(0, len(data), 1 if len(data) < LONG else 997):
        yield data[at : at + 1] if len(data) < LONG else data[at : at + 997]


def at_line_ends(data: bytes) -> Iterator[bytes]:
    """Cut between CR and LF, and behind both."""
    begin = 0
    for at, byte in enumerate(data):
        if byte in b"\r\n" and len(data) < LONG:
            yield data[begin : at + 1]
            begin = at + 1
    if begin < len(data):
        yield data[begin:]


WAYS = pytest.mark.parametrize("cut", [whole, by_bytes, at_line_ends])
Cut = Callable[[bytes], Iterator[bytes]]


def failures(judge: Callable[[str], None], names: Iterable[str]) -> dict[str, str]:
    """Which cases fail, and why."""
    found = {}
    for name in names:
        try:
            judge(name)
        except (AssertionError, strict.Malformed) as why:
            found[name] = str(why)[:300]
    return found


@WAYS
def test_a_bad_request_is_refused_and_nothing_behind_it_is_read(cut: Cut) -> None:
    def judge(name: str) -> None:
        case: Bad = bad_requests.CASES[name]
        house = House()
        client = house.connect()
        for piece in cut(case.sent + SMUGGLED):
            if client.closed:
                break
            client.send(piece)
            house.settle()
        house.advance(LINGER)
        assert client.closed, "the connection is left open"
        judge_bad_request(case, client.received)
        for server in house.network.asked:
            judge_onward(server.received, whole=0)
            assert server.closed or not server.received, "a request that broke is not given up"

    assert failures(judge, bad_requests.CASES) == {}


@WAYS
def test_an_unusual_request_reaches_its_server_as_it_is_meant(cut: Cut) -> None:
    def judge(name: str) -> None:
        case: RightRequest = right_requests.CASES[name]
        house = House()
        client = house.connect()
        for piece in cut(case.sent):
            client.send(piece)
            house.settle()
        assert house.network.asked, client.received
        (request,) = judge_onward(house.upstream().received, whole=1)
        judge_right_request(case, request)
        house.upstream().answer(OK)
        house.settle()
        assert client.statuses[-1:] == [200]

    assert failures(judge, right_requests.CASES) == {}


def ask(house: House, method: bytes) -> None:
    client = house.connect()
    client.send(method + b" /a HTTP/1.1\r\nHost: a.test\r\n\r\n")
    house.settle()


@WAYS
def test_a_bad_reply_is_a_502_or_cuts_what_has_begun(cut: Cut) -> None:
    def judge(name: str) -> None:
        case: BadReply = bad_replies.CASES[name]
        house = House()
        ask(house, case.method)
        client, server = house.clients[0], house.upstream()
        for piece in cut(case.sent):
            if server.closed:
                break
            server.answer(piece)
            house.settle()
        if case.closes:
            server.hang_up()
            house.settle()
        assert server.closed, "the server's connection is kept"
        judge_bad_reply(case, client.received, closed=client.closed)

    assert failures(judge, bad_replies.CASES) == {}


@WAYS
def test_an_unusual_reply_reaches_its_client_as_it_is_meant(cut: Cut) -> None:
    def judge(name: str) -> None:
        case: RightReply = right_replies.CASES[name]
        house = House()
        ask(house, case.method)
        client, server = house.clients[0], house.upstream()
        for piece in cut(case.sent):
            server.answer(piece)
            house.settle()
        if case.closes:
            server.hang_up()
            house.settle()
        judge_right_reply(case, client.received, closed=client.closed)

    assert failures(judge, right_replies.CASES) == {}
