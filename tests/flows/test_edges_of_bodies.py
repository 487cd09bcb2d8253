"""Faults that were found on the way of bodies; each stays found."""

from __future__ import annotations

from typing import Any

import pytest

from asyncproxy import Module, Response
from asyncproxy.exchange.messages import Request
from tests.fakes import GET, SERVER, House

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED_PUT = b"PUT /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def warm(house: House) -> Any:
    """A client whose upstream connection has served, and is kept."""
    client = house.get()
    house.upstream().answer(OK)
    house.settle()
    return client


def unchunked(wire: bytes) -> bytes:
    """The body of a request that was sent in chunks, whole."""
    data, body = wire.partition(b"\r\n\r\n")[2], b""
    while True:
        size, _, data = data.partition(b"\r\n")
        if not int(size, 16):
            assert data == b"\r\n"
            return body
        body, data = body + data[: int(size, 16)], data[int(size, 16) + 2 :]


def test_a_body_that_goes_on_arriving_while_it_is_sent_again_is_sent_whole() -> None:
    house = House()
    client = warm(house)
    client.send(CHUNKED_PUT + chunked(b"a" * 1000))
    house.settle()
    house.network.mode = "hang"
    house.upstream().hang_up()
    house.settle()
    for _ in range(4):
        client.send(chunked(b"b" * 40_000))
    client.send(b"0\r\n\r\n")
    house.upstream().accept()
    house.settle()
    assert len(house.network.asked) == 2
    assert unchunked(house.upstream().received) == b"a" * 1000 + b"b" * 160_000
    house.upstream().answer(OK)
    house.settle()
    assert client.statuses == [200, 200]
    house.assert_nothing_left()


def test_a_client_waits_while_its_body_is_about_to_be_sent_again() -> None:
    house = House()
    client = warm(house)
    client.send(CHUNKED_PUT + chunked(b"a"))
    house.settle()
    house.network.mode = "hang"
    house.upstream().hang_up()
    house.settle()
    client.send(chunked(b"b" * 100_000))
    assert not client.wire.reading


def test_a_request_that_is_sent_again_whole_has_its_first_byte_deadline_and_keeps_its_connection() -> None:
    house = House()
    client = warm(house)
    for last in (False, True):
        client.send(CHUNKED_PUT + chunked(b"a") + b"0\r\n\r\n")
        house.settle()
        house.upstream().hang_up()
        house.settle()
        assert house.upstream().received.endswith(b"0\r\n\r\n")
        if last:
            house.advance(100)
        else:
            house.upstream().answer(OK)
            house.settle()
            assert house.pool()["idle"] == 1
    assert client.statuses == [200, 200, 504]


class Collected(Module):
    """Has the whole body, and forwards it."""

    def handle(self, request: Request) -> Any:
        return request.forward()


def test_a_collected_body_that_is_sent_again_is_not_mixed_with_what_was_left_of_the_first_time() -> None:
    house = House(Collected(), limits={"spool": "1KiB"})
    client = warm(house)
    body = b"".join(b"%09d" % number for number in range(200_000))
    client.send(b"PUT /p HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body))
    client.send(body)
    while b"PUT" not in house.upstream().received:
        assert house.polling.step() or house.workers.step()
    house.upstream().hang_up()
    house.settle()
    assert len(house.network.asked) == 2
    assert house.upstream().received.partition(b"\r\n\r\n")[2] == body
    house.upstream().answer(OK)
    house.settle()
    assert client.statuses == [200, 200]
    house.assert_nothing_left()


@pytest.mark.parametrize("broken", [b"zz\r\n", b""])
def test_a_request_body_that_breaks_while_its_reply_is_relayed_ends_the_reply(broken: bytes) -> None:
    house = House(groups={"slow": {"servers": [SERVER], "idle_timeout": "off"}}, route={"upstream": "slow"})
    client = house.connect()
    client.send(b"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"a"))
    house.settle()
    house.upstream().answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    house.settle()
    if broken:
        client.send(broken)
    else:
        house.advance(100)
    house.settle()
    assert house.upstream().closed
    assert client.closed
    assert not client.received.endswith(b"0\r\n\r\n")
    house.assert_nothing_left()


class Restates(Module):
    """Says of an upstream's reply that it has no body."""

    status = 0

    async def handle(self, request: Request) -> Any:
        reply = await request.forward()
        reply.status = self.status
        return reply


@pytest.mark.parametrize("status", [204, 304])
def test_no_body_follows_a_status_that_has_none_though_its_upstream_sends_one(status: int) -> None:
    module = Restates()
    module.status = status
    house = House(module)
    client = house.get()
    house.upstream().answer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
    house.settle()
    house.upstream().answer(b"cde")
    house.settle()
    assert client.status == status
    assert client.received.endswith(b"\r\n\r\n")
    assert client.received.count(b"\r\n\r\n") == 1
    house.assert_nothing_left()


@pytest.mark.parametrize("fields", [b"", b"Content-Length: 500\r\n"])
@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
@pytest.mark.parametrize("blocking", [True, False])
def test_a_reply_without_a_body_that_is_given_another_status_tells_that_it_has_none(
    fields: bytes, status: bytes, blocking: bool
) -> None:
    module = Restates()
    module.status, module.blocking = 200, blocking
    house = House(module)
    client = house.get()
    house.upstream().answer(b"HTTP/1.1 %b\r\n%b\r\n" % (status, fields))
    house.settle()
    assert client.status == 200
    assert client.received.count(b"Content-Length:") == 1
    assert b"\r\nContent-Length: 0\r\n" in client.received


class Prompt(Module):
    blocking = False

    def handle(self, request: Request) -> Any:
        return Response(body=b"x" * 1000)


def test_a_client_that_asks_on_without_reading_is_heard_no_further() -> None:
    house = House(Prompt())
    client = house.connect()
    client.send(GET)
    client.slow()
    client.send(GET * 5)
    client.send(GET * 5)
    house.settle()
    assert client.received.count(b"HTTP/1.1 200") == 1
    assert not client.wire.reading
    client.fast()
    house.settle()
    assert client.received.count(b"HTTP/1.1 200") == 11
    house.assert_nothing_left()


def test_a_client_that_stops_reading_while_it_is_answered_is_heard_no_further_once_it_is() -> None:
    house = House()
    client = house.connect()
    client.send(GET)
    house.settle()
    client.slow()
    assert client.wire.reading
    house.upstream().answer(OK)
    house.settle()
    assert not client.wire.reading
    client.fast()
    house.settle()
    client.send(GET)
    house.upstream().answer(OK)
    house.settle()
    assert client.statuses == [200, 200]
    house.assert_nothing_left()


@pytest.mark.parametrize("fields", [b"Connection: close", b"Content-Length: 9"])
def test_a_client_that_is_slow_to_take_its_last_answer_is_cut_only_when_it_takes_none_of_it(
    fields: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [1000]
    house = House()
    client = house.connect()
    client.send(b"PUT / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % fields)  # of whose body nothing comes
    house.settle()
    client.slow()
    monkeypatch.setattr(type(client.wire), "unsent", property(lambda _: left[0]))
    house.upstream().answer(OK)
    house.settle()
    for _ in range(9):
        left[0] -= 100
        house.advance(60)
        assert not client.wire.aborted
    house.advance(120)
    assert client.wire.aborted


def test_connect_to_a_path_is_no_request() -> None:
    house = House()
    client = house.connect()
    client.send(b"CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n")
    house.settle()
    assert client.status == 400
    assert not house.network.asked


@pytest.mark.parametrize("name", [b"X_Forwarded_For", b"x-forwarded_host", b"X_Request_ID", b"x-REQUEST_id"])
def test_what_only_we_may_say_is_not_heard_in_another_spelling(name: bytes) -> None:
    house = House()
    client = house.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n%b: forged\r\nX_Other: kept\r\n\r\n" % name)
    house.settle()
    assert b"forged" not in house.upstream().received
    assert b"\r\nX_Other: kept\r\n" in house.upstream().received


class ReadsReply(Module):
    """Reads a reply whole before it passes it on."""

    async def handle(self, request: Request) -> Any:
        reply = await request.forward()
        assert await reply.read() == b""
        return reply


@pytest.mark.parametrize(("method", "status"), [(b"HEAD", b"200 OK"), (b"GET", b"304 Not Modified")])
def test_a_reply_without_a_body_keeps_the_length_it_tells_though_it_was_read(method: bytes, status: bytes) -> None:
    house = House(ReadsReply())
    client = house.connect()
    client.send(method + b" / HTTP/1.1\r\nHost: a\r\n\r\n")
    house.settle()
    house.upstream().answer(b"HTTP/1.1 " + status + b"\r\nContent-Length: 500\r\n\r\n")
    house.settle()
    assert b"\r\nContent-Length: 500\r\n" in client.received
    house.assert_nothing_left()
