"""After an upgrade: who may switch to what, and bytes both ways."""

from __future__ import annotations

from typing import Any

import pytest

from asyncproxy import Module, Response
from asyncproxy.exchange.messages import Request
from tests.fakes import House
from tests.flows.tunnelling import OK, SWITCHED, UPGRADE, Async, Late, asked, sent_by, tunnel

# What is asked, and what is agreed.


def test_an_upgrade_is_offered_to_the_upstream_made_anew() -> None:
    house = House()
    asked(house)
    head = house.upstream().received
    assert head.count(b"\r\nConnection: Upgrade\r\nUpgrade: websocket") == 1
    assert head.count(b"pgrade:") == 1
    assert b"keep-alive" not in head
    assert b"\r\nX-Own: 1" in head


@pytest.mark.parametrize("module", ["reverse", Async(), Late()])
def test_the_clients_answer_is_the_upstreams_101(module: Any) -> None:
    house = House(module)
    client = asked(house)
    house.upstream().answer(SWITCHED)
    house.advance(101)
    head = client.received
    assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert head.endswith(b"\r\n\r\n")
    assert head.count(b"\r\nConnection: Upgrade\r\nUpgrade: websocket") == 1
    assert head.lower().count(b"connection:") == head.lower().count(b"\r\nupgrade:") == 1
    assert b"X-Theirs: 2" in head
    assert (b"X-Module: seen" in head) == isinstance(module, Async)
    assert b"Content-Length" not in head
    assert house.stages() == {"TUNNELLING": 1}
    client.wire.reset()
    house.settle()
    house.assert_nothing_left()


def test_a_blocking_module_answers_with_a_101_too() -> None:
    class Blocking(Module):
        def handle(self, request: Request) -> Any:
            return request.forward()

    house = House(Blocking())
    client = tunnel(house)
    client.send(b"ping")
    house.settle()
    assert sent_by(house) == b"ping"
    client.wire.reset()
    house.settle()
    house.assert_nothing_left()


@pytest.mark.parametrize(
    "fields",
    [
        b"Upgrade: websocket",  # Connection does not name it
        b"Connection: Upgrade",  # nothing is offered
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
        b"Connection: Upgrade\r\nUpgrade: H2C",
        b"Connection: Upgrade\r\nUpgrade: h2c/1",
        b"Connection: Upgrade\r\nUpgrade: HTTP/2.0",
        b"Connection: Upgrade\r\nUpgrade: TLS/1.0",
        b"Connection: Upgrade\r\nUpgrade: no token",
        b"Connection: Upgrade\r\nUpgrade: /",
    ],
)
def test_what_cannot_be_offered_goes_on_as_an_ordinary_request(fields: bytes) -> None:
    house = House()
    client = asked(house, b"GET / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n\r\n")
    head = house.upstream().received.lower()
    assert b"upgrade" not in head
    assert b"http2-settings" not in head
    house.upstream().answer(OK)
    house.settle()
    assert client.status == 200
    assert house.pool()["idle"] == 1
    client.get("/again")
    assert len(house.network.asked) == 1


def test_an_upgrade_of_http_1_0_is_none() -> None:
    house = House()
    asked(house, UPGRADE.replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert b"upgrade" not in house.upstream().received.lower()


def test_of_several_protocols_those_are_offered_that_may_be() -> None:
    house = House()
    client = asked(house, UPGRADE.replace(b"websocket", b"h2c, echo/1 ,, websocket"))
    assert b"\r\nUpgrade: echo/1, websocket" in house.upstream().received
    house.upstream().answer(SWITCHED.replace(b"websocket", b"Echo/1"))
    house.settle()
    assert b"\r\nUpgrade: Echo/1\r\n" in client.received
    assert house.stages() == {"TUNNELLING": 1}


def test_an_upgrade_goes_on_with_a_modules_own_fields() -> None:
    class Own(Module):
        async def handle(self, request: Request) -> Any:
            return await request.forward(headers={"X-Mine": "1"})

    house = House(Own())
    client = tunnel(house)
    assert b"\r\nX-Mine: 1\r\n" in house.upstream().received
    assert b"\r\nUpgrade: websocket" in house.upstream().received
    client.wire.reset()


def test_an_ordinary_answer_to_an_upgrade_leaves_the_connection_to_http() -> None:
    house = House()
    client = asked(house)
    house.upstream().answer(OK)
    house.settle()
    assert client.status == 200
    assert not client.closed
    client.get("/next")
    house.upstream().answer(OK)
    house.settle()
    assert client.statuses == [200, 200]
    assert len(house.network.asked) == 1
    house.assert_nothing_left()


@pytest.mark.parametrize(
    ("request_head", "reply"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", SWITCHED),  # nobody asked
        (UPGRADE, SWITCHED.replace(b"websocket", b"other")),
        (UPGRADE, SWITCHED.replace(b"websocket", b"websocket, other")),
        (UPGRADE, SWITCHED.replace(b"Upgrade: websocket\r\n", b"")),
        (UPGRADE, SWITCHED.replace(b"Connection: upgrade\r\n", b"")),
        (UPGRADE, SWITCHED.replace(b"HTTP/1.1", b"HTTP/1.0")),
        (UPGRADE, SWITCHED.replace(b"X-Theirs", b"Content-Length")),
        (UPGRADE.replace(b"websocket", b"h2c"), SWITCHED.replace(b"websocket", b"h2c")),
    ],
)
def test_a_101_that_was_not_agreed_on_is_a_bad_reply(request_head: bytes, reply: bytes) -> None:
    house = House()
    client = asked(house, request_head)
    house.upstream().answer(reply + b"and more")
    house.settle()
    assert client.statuses == [502]
    assert b"and more" not in client.received
    assert house.upstream().closed
    assert house.records[-1].flag == "UPE"
    house.assert_nothing_left()


def test_a_101_to_half_a_request_is_a_bad_reply() -> None:
    house = House()
    client = asked(house, UPGRADE.replace(b"GET", b"POST").replace(b"X-Own: 1", b"Content-Length: 9") + b"half")
    house.upstream().answer(SWITCHED)
    house.settle()
    assert client.status == 502
    assert house.upstream().closed


def test_a_body_is_framed_by_its_length_before_anything_is_tunnelled() -> None:
    house = House()
    body = b"GET /x HTTP/1.1\r\n\r\n"
    head = UPGRADE.replace(b"GET", b"POST").replace(b"X-Own: 1", b"Content-Length: %d" % len(body))
    client = asked(house, head + body + b"early")
    assert sent_by(house) == body
    house.upstream().answer(SWITCHED)
    house.settle()
    assert sent_by(house) == body + b"early"
    assert client.statuses == [101]
    client.wire.reset()


def test_an_informational_reply_may_come_before_the_101() -> None:
    house = House()
    client = asked(house)
    house.upstream().answer(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + SWITCHED + b"x")
    house.settle()
    assert client.status == 101
    assert client.body == b"x"


# Bytes.


def test_bytes_go_both_ways_as_they_come() -> None:
    house = House()
    client = tunnel(house)
    client.send(b"\x81\x02hi")
    house.upstream().answer(b"GET / HTTP/1.1\r\n\r\n")
    client.send(b"POST /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
    house.settle()
    assert sent_by(house) == b"\x81\x02hiPOST /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    assert client.body == b"GET / HTTP/1.1\r\n\r\n"
    assert house.flow.served == 0
    assert len(house.network.asked) == 1


def test_what_the_client_sent_early_follows_the_101_and_is_no_request() -> None:
    house = House()
    early = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    client = asked(house, UPGRADE + early[:9])
    client.send(early[9:])
    house.settle()
    assert sent_by(house) == b""
    house.upstream().answer(SWITCHED)
    house.settle()
    assert sent_by(house) == early
    assert client.statuses == [101]
    client.send(b"later")
    house.settle()
    assert sent_by(house) == early + b"later"


def test_early_bytes_are_kept_up_to_the_pipeline_buffer() -> None:
    house = House(limits={"pipeline_buffer": "1KiB"})
    client = asked(house)
    client.send(b"a" * 1025)
    assert not client.wire.reading
    client.send(b"b" * 1000)
    house.upstream().answer(SWITCHED)
    house.settle()
    assert sent_by(house) == b"a" * 1025 + b"b" * 1000
    assert client.wire.reading


def test_garbage_behind_a_refused_upgrade_is_read_as_http() -> None:
    house = House()
    client = asked(house, UPGRADE + b"\x00\x01 garbage\r\n\r\n")
    house.upstream().answer(OK)
    house.settle()
    assert client.statuses == [200, 400]
    assert client.wire.half_closed


def test_what_comes_behind_the_101_goes_to_the_client() -> None:
    house = House()
    client = tunnel(house, b"hello")
    assert client.body == b"hello"


def test_what_comes_before_the_module_answers_waits_and_is_bounded() -> None:
    house = House(Late())
    client = asked(house)
    server = house.upstream()
    server.answer(SWITCHED + b"a")
    house.settle()
    server.answer(b"b" * 70_000)
    assert server.wire is not None
    assert not server.wire.reading
    server.answer(b"c")
    house.advance(101)
    assert client.body == b"a" + b"b" * 70_000 + b"c"
    assert server.wire.reading


def test_a_slow_client_has_the_server_wait_and_a_slow_server_the_client() -> None:
    house = House()
    client = tunnel(house)
    server = house.upstream().wire
    assert server is not None
    client.slow()
    assert not server.reading
    assert client.wire.reading
    client.fast()
    house.settle()
    assert server.reading
    server.slow()
    assert not client.wire.reading
    server.fast()
    house.settle()
    assert client.wire.reading


def test_a_client_that_was_slow_before_the_101_has_the_server_wait() -> None:
    house = House(Late())
    client = asked(house)
    house.upstream().answer(SWITCHED)
    house.settle()
    server = house.upstream().wire
    assert server is not None
    server.slow()  # before there is another side
    house.advance(101)
    assert not client.wire.reading


# What is no tunnel.


class Passes(Module):
    async def handle(self, request: Request) -> Any:
        reply = await request.forward()
        reply.headers["x-seen"] = "1"
        return reply


class Requires(Module):
    blocking = False

    def handle(self, _request: Request) -> Response:
        return Response.text("speak WebSocket", 426, {"Upgrade": "websocket, h2c"})


@pytest.mark.parametrize("module", ["reverse", Passes(), Requires()])
def test_a_426_says_what_it_wants_to_be_spoken(module: Any) -> None:
    house = House(module)
    client = house.get()
    if not isinstance(module, Requires):
        fields = b"Connection: upgrade\r\nUpgrade: websocket, h2c\r\nContent-Length: 0"
        house.upstream().answer(b"HTTP/1.1 426 Upgrade Required\r\n" + fields + b"\r\n\r\n")
        house.settle()
    assert client.status == 426
    assert client.received.count(b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n") == 1
    assert client.received.count(b"pgrade:") == 1


def test_other_replies_offer_nothing() -> None:
    house = House()
    client = house.get()
    house.upstream().answer(OK.replace(b"Content", b"Connection: upgrade\r\nUpgrade: websocket\r\nContent"))
    house.settle()
    assert b"pgrade" not in client.received
