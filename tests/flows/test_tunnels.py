"""After an upgrade: who may switch to what, bytes both ways, and every way that a tunnel ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncproxy import Cancelled, Module, Response, sleep
from asyncproxy.exchange.errors import Draining
from asyncproxy.exchange.messages import Request
from asyncproxy.modules.live.page import page
from asyncproxy.polling.operating import OperationRefused
from tests.fakes import SERVER, FakeClient, House

UPGRADE = b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nX-Own: 1\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nX-Theirs: 2\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def asked(house: House, request: bytes = UPGRADE) -> FakeClient:
    client = house.connect()
    client.send(request)
    house.settle()
    return client


def tunnel(house: House, behind: bytes = b"") -> FakeClient:
    """A client whose request has become a tunnel."""
    client = asked(house)
    house.upstream().answer(SWITCHED + behind)
    house.settle()
    assert client.status == 101
    assert house.stages() == {"TUNNELLING": 1}
    return client


def sent_by(house: House) -> bytes:
    """What the server has got behind the request's head."""
    return house.upstream().received.partition(b"\r\n\r\n")[2]


class Async(Module):
    async def handle(self, request: Request) -> Any:
        reply = await request.forward()
        reply.headers["X-Module"] = "seen"
        return reply


class Late(Module):
    """Answers only a while after the upstream has switched."""

    async def handle(self, request: Request) -> Any:
        reply = await request.forward()
        await sleep(100)
        return reply


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


# Its end.


def both_ended(house: House, client: FakeClient) -> None:
    house.settle()
    assert not house.flow.exchanges
    (record,) = house.records
    assert (record.status, record.flag) == (101, "")
    house.assert_nothing_left()


def test_the_clients_end_is_passed_on_and_the_other_way_goes_on() -> None:
    house = House()
    client = tunnel(house)
    client.send(b"bye")
    client.leave()
    house.settle()
    server = house.upstream().wire
    assert server is not None
    assert server.half_closed
    assert not server.closing
    assert sent_by(house) == b"bye"
    house.upstream().answer(b"more")
    house.settle()
    assert client.body == b"more"
    assert house.stages() == {"TUNNELLING": 1}
    house.upstream().hang_up()
    both_ended(house, client)
    assert house.records[0].size == 4


def test_the_servers_end_is_passed_on_and_the_other_way_goes_on() -> None:
    house = House()
    client = tunnel(house)
    house.upstream().answer(b"bye")
    house.upstream().hang_up()
    house.settle()
    assert client.wire.half_closed
    assert not client.wire.closing
    client.send(b"more")
    house.settle()
    assert sent_by(house) == b"more"
    client.leave()
    both_ended(house, client)


def test_a_server_that_ended_before_the_module_answered_has_ended_for_the_client() -> None:
    house = House(Late())
    client = asked(house)
    house.upstream().answer(SWITCHED + b"all")
    house.settle()
    house.upstream().hang_up()
    house.advance(101)
    assert client.body == b"all"
    assert client.wire.half_closed
    client.leave()
    both_ended(house, client)


def test_a_server_that_was_lost_before_the_module_answered_is_a_reset() -> None:
    house = House(Late())
    client = asked(house)
    house.upstream().answer(SWITCHED)
    house.settle()
    assert house.upstream().wire is not None
    house.upstream().wire.reset()
    house.advance(101)
    assert client.status == 502
    assert house.records[0].flag == "UC"
    house.assert_nothing_left()


def test_a_reset_of_the_client_is_one_to_the_server() -> None:
    house = House()
    client = tunnel(house)
    client.wire.reset()
    house.settle()
    assert house.upstream().wire is not None
    assert house.upstream().wire.aborted
    assert (house.records[0].status, house.records[0].flag) == (101, "DC")
    house.assert_nothing_left()


def test_a_reset_of_the_server_is_one_to_the_client() -> None:
    house = House()
    client = tunnel(house)
    assert house.upstream().wire is not None
    house.upstream().wire.reset()
    house.settle()
    assert client.wire.aborted
    assert (house.records[0].status, house.records[0].flag) == (101, "UC")
    house.assert_nothing_left()


@pytest.mark.parametrize("who", ["client", "server"])
def test_what_came_before_a_reset_goes_on_before_the_reset(who: str) -> None:
    house = House()
    client = tunnel(house)
    server = house.upstream().wire
    assert server is not None
    broken, other = (client.wire, server) if who == "client" else (server, client.wire)
    other.slow()
    broken.resumeProducing()
    house.settle()
    broken.arrive(b"last words")
    broken.reset()
    house.settle()
    assert not other.aborted
    assert other.out.endswith(b"last words")
    house.advance(0.3)
    assert other.aborted
    assert house.records[0].flag == ("DC" if who == "client" else "UC")
    house.assert_nothing_left()


def test_both_sides_may_be_reset() -> None:
    house = House()
    client = tunnel(house)
    server = house.upstream().wire
    assert server is not None
    server.slow()
    client.wire.reset()
    server.reset()
    house.settle()
    assert [record.flag for record in house.records] == ["DC"]
    house.assert_nothing_left()


def test_a_client_that_leaves_before_the_module_answers_takes_the_server_with_it() -> None:
    house = House(Late())
    client = asked(house)
    house.upstream().answer(SWITCHED)
    house.settle()
    client.leave()
    house.settle()
    assert house.upstream().wire is not None
    assert house.upstream().wire.aborted
    house.assert_nothing_left()


@pytest.mark.parametrize("closed_first", [True, False])
def test_a_side_that_never_takes_what_is_left_is_cut(closed_first: bool) -> None:
    house = House()
    client = tunnel(house)
    client.slow()
    if closed_first:
        client.leave()
    house.upstream().answer(b"never read")
    assert house.upstream().wire is not None
    house.upstream().wire.resumeProducing()
    house.upstream().hang_up()
    house.settle()
    client.leave()
    house.advance(200)
    assert not house.flow.exchanges
    assert (house.records[0].flag, house.records[0].detail) == ("SI", "limits.send_timeout")
    house.assert_nothing_left()


def test_how_long_a_side_may_take_nothing_of_what_is_left_can_be_said() -> None:
    house = House(limits={"send_timeout": "300s"})
    client = tunnel(house)
    client.slow()
    client.leave()
    house.upstream().answer(b"never read")
    assert house.upstream().wire is not None
    house.upstream().wire.resumeProducing()
    house.upstream().hang_up()
    house.advance(290)
    assert house.flow.exchanges
    house.advance(20)
    assert not house.flow.exchanges
    house.assert_nothing_left()


class Answers(Module):
    """Answers otherwise than the upstream, which has switched."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self._answer = answer

    async def handle(self, request: Request) -> Any:
        return await self._answer(await request.forward())


async def raises(_reply: Any) -> Any:
    raise ValueError("no")


async def says_something_else(_reply: Any) -> Any:
    return Response.text("no", 403)


async def changes_the_status(reply: Any) -> Any:
    reply.status = 403
    return reply


async def has_another_body(reply: Any) -> Any:
    reply.body = b"no"
    return reply


async def reads_it(reply: Any) -> Any:
    return Response.text(str(await reply.read()))


async def makes_a_101(_reply: Any) -> Any:
    return Response(101)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (raises, 500),
        (says_something_else, 403),
        (changes_the_status, 403),
        (has_another_body, 500),
        (reads_it, 500),
        (makes_a_101, 500),
    ],
)
def test_a_module_that_does_not_answer_with_the_101_has_the_upstream_closed(answer: Any, status: int) -> None:
    house = House(Answers(answer))
    client = asked(house)
    house.upstream().answer(SWITCHED)
    house.settle()
    assert client.statuses == [status]
    assert not client.closed
    assert house.upstream().wire is not None
    assert house.upstream().wire.aborted
    client.get("/next")  # the connection is HTTP's still
    assert len(house.network.asked) == 2
    client.leave()
    house.settle()
    house.assert_nothing_left()


def test_a_reply_that_has_switched_is_answered_with_once() -> None:
    replies = []

    class Keeps(Module):
        async def handle(self, request: Request) -> Any:
            if not replies:
                replies.append(await request.forward())
            return replies[0]

    house = House(Keeps())
    first = tunnel(house)
    second = asked(house)
    assert second.status == 500
    first.wire.reset()


def test_a_reply_that_has_switched_is_no_answer_to_another_request() -> None:
    replies = []

    class Mixes(Module):
        async def handle(self, request: Request) -> Any:
            if request.path == "/chat":
                replies.append(await request.forward())
                return Response.text("kept")
            return replies[0]

    house = House(Mixes())
    client = asked(house)
    house.upstream().answer(SWITCHED)
    house.settle()
    assert client.body == b"kept"
    other = house.get("/other")
    assert other.statuses == [500]
    client.leave()
    other.leave()
    house.settle()
    house.assert_nothing_left()


# Time.


def test_a_tunnel_through_which_nothing_passes_is_closed() -> None:
    house = House(limits={"tunnel_idle": "60s"})
    client = tunnel(house)
    house.advance(50)
    client.send(b"x")
    house.advance(50)
    house.upstream().answer(b"y")
    house.advance(59)
    assert house.stages() == {"TUNNELLING": 1}
    house.advance(2)
    assert not house.flow.exchanges
    assert client.wire.aborted
    assert house.upstream().closed
    assert (house.records[0].flag, house.records[0].status, house.records[0].size) == ("SI", 101, 1)
    assert house.records[0].detail == "limits.tunnel_idle"
    assert house.door.reached.statistics() == {"limits.tunnel_idle": 1}
    house.assert_nothing_left()


def test_a_tunnel_may_be_idle_for_ever_if_the_configuration_says_so() -> None:
    house = House(limits={"tunnel_idle": "off"})
    tunnel(house)
    house.advance(1_000_000)
    assert house.stages() == {"TUNNELLING": 1}
    assert house.deadlines.statistics()["standing"] == 0


def test_how_a_client_took_answers_is_not_watched_in_the_tunnel() -> None:
    house = House(Late(), limits={"tunnel_idle": "off", "send_timeout": "5s"})
    client = asked(house)
    house.upstream().answer(SWITCHED)
    house.advance(99)
    client.slow()
    house.advance(2)
    house.advance(100)
    assert house.stages() == {"TUNNELLING": 1}
    assert client.statuses == [101]


def test_other_limits_hold_for_tunnels_that_are_open() -> None:
    house = House(limits={"tunnel_idle": "off"})
    tunnel(house)
    house.advance(100)
    house.door.limit(House(limits={"tunnel_idle": "30s"}).settings.limits)
    house.settle()
    house.advance(1)
    assert not house.flow.exchanges


def test_a_slow_peer_that_takes_what_is_left_is_not_idle() -> None:
    house = House(limits={"tunnel_idle": "10s"})
    client = tunnel(house)
    client.slow()
    house.advance(11)
    assert house.stages() == {"TUNNELLING": 1}


@pytest.mark.parametrize(
    "configured",
    [{"route": {"timeout": "5s"}}, {"groups": {"g": {"servers": ["http://127.0.0.1:1"], "total_timeout": "5s"}}}],
)
def test_no_time_out_of_the_request_runs_on_in_the_tunnel(configured: Any) -> None:
    if "groups" in configured:
        configured = {**configured, "route": {"upstream": "g"}}
    house = House(**configured)
    client = tunnel(house)
    house.advance(500)
    client.send(b"x")
    house.settle()
    assert sent_by(house) == b"x"
    assert house.stages() == {"TUNNELLING": 1}


def test_the_routes_timeout_runs_until_the_upstream_has_switched() -> None:
    house = House(route={"timeout": "5s"})
    client = asked(house)
    house.advance(6)
    assert client.status == 504


@pytest.mark.parametrize("keep_alive", ["sse", "json", "102"])
def test_nothing_is_sent_to_keep_alive_who_offers_an_upgrade(keep_alive: str) -> None:
    house = House(route={"keep_alive": keep_alive, "keep_alive_every": "1s"})
    client = asked(house)
    house.advance(10)
    assert client.received == b""
    house.upstream().answer(SWITCHED)
    house.settle()
    assert client.statuses == [101]


def test_a_tunnel_of_a_timed_route() -> None:
    house = House(route={"server_timing": True})
    client = tunnel(house)
    client.leave()
    house.upstream().answer(b"abc")
    house.upstream().hang_up()
    house.settle()
    assert house.records[0].size == 3


# What it holds.


def test_the_servers_connection_counts_and_is_never_used_again() -> None:
    house = House()
    client = tunnel(house)
    assert house.pool() == {"open": 1, "idle": 0, "opening": 0, "waiting": 0}
    house.get("/other")
    assert len(house.network.asked) == 2
    client.leave()
    house.settle()
    house.upstream(0).hang_up()
    house.settle()
    assert house.pool() == {"open": 1, "idle": 0, "opening": 0, "waiting": 0}


def test_a_connection_that_was_kept_alive_may_be_switched() -> None:
    house = House()
    house.get("/")
    house.upstream().answer(OK)
    house.settle()
    client = asked(house)
    house.upstream().answer(SWITCHED + b"x")
    house.settle()
    assert client.body == b"x"
    assert len(house.network.asked) == 1
    assert house.pool() == {"open": 1, "idle": 0, "opening": 0, "waiting": 0}


def test_tunnels_are_counted_with_their_bytes() -> None:
    house = House()
    client = tunnel(house, b"12345")
    client.send(b"123")
    house.settle()
    assert house.flow.tunnels.statistics() == {"open": 1, "total": 1, "received": 3, "sent": 5}
    client.wire.reset()
    house.settle()
    assert house.flow.tunnels.statistics() == {"open": 0, "total": 1, "received": 3, "sent": 5}


def test_a_tunnels_time_is_in_its_ledger() -> None:
    house = House()
    client = tunnel(house)
    house.advance(12)
    client.wire.reset()
    house.settle()
    assert house.records[0].duration == pytest.approx(12)
    assert house.records[0].spent[5] == pytest.approx(12)


# Who looks, and what operators do.


def test_a_tunnel_is_shown_with_what_went_through_it() -> None:
    house = House(limits={"tunnel_idle": "60s"})
    client = tunnel(house, b"12345")
    house.advance(10)
    client.send(b"123")
    house.advance(5)
    shown = house.snapshot()
    assert shown["stages"]["TUNNELLING"] == 1
    assert shown["tunnelled"] == {"open": 1, "total": 1, "received": 3, "sent": 5}
    assert shown["parked"] == []
    (row,) = shown["tunnels"]
    assert row == {
        "id": house.exchange().request.id,
        "client": "127.0.0.1:4000",
        "method": "GET",
        "path": "/chat",
        "module": "reverse",
        "waiting_for": "tunnel of websocket",
        "at": "",
        "since_s": pytest.approx(15, abs=0.1),
        "deadline_s": pytest.approx(55, abs=0.1),
        "upstream": SERVER,
        "received": 3,
        "sent": 5,
        "idle_s": pytest.approx(5, abs=0.1),
    }


def test_tunnels_are_shown_page_by_page() -> None:
    house = House(limits={"tunnel_idle": "off"})
    for _ in range(3):
        asked(house)
        house.upstream().answer(SWITCHED)
        house.settle()
    every = [row["id"] for row in house.snapshot()["tunnels"]]
    assert len(every) == 3
    assert house.snapshot()["tunnels"][0]["deadline_s"] is None
    first = house.snapshot(limit=2)["tunnels"]
    assert [row["id"] for row in first] == every[:2]
    assert [row["id"] for row in house.snapshot(limit=2, after=first[-1]["id"])["tunnels"]] == every[2:]


def test_the_metrics_and_the_page_have_what_went_through_tunnels() -> None:
    house = House()
    client = tunnel(house, b"x" * 2048)
    client.send(b"123")
    house.settle()
    text = house.metrics().decode()
    for line in (
        'asyncproxy_exchanges{stage="TUNNELLING"} 1.0',
        "asyncproxy_tunnels_total 1.0",
        'asyncproxy_tunnel_bytes_total{direction="received"} 3.0',
        'asyncproxy_tunnel_bytes_total{direction="sent"} 2048.0',
    ):
        assert f"\n{line}\n" in text
    assert "3 B in, 2.0 KiB out" in page(house.overview(), operate=False)


def test_an_operator_may_cut_a_tunnel() -> None:
    house = House()
    client = tunnel(house)
    identity = house.exchange().request.id
    assert house.cancel(identity) == {"request": identity, "status": None}
    house.settle()
    assert client.wire.aborted
    assert house.upstream().closed
    assert house.records[0].flag == "OC"
    house.assert_nothing_left()


def test_a_tunnel_has_no_deadline_that_could_be_extended() -> None:
    house = House()
    tunnel(house)
    with pytest.raises(OperationRefused, match="not parked, but TUNNELLING"):
        house.extend(house.exchange().request.id, 5.0)


def test_a_drain_cuts_tunnels() -> None:
    house = House()
    client = tunnel(house)
    house.exchange().call_off(Draining())
    house.settle()
    assert client.wire.aborted
    assert house.records[0].flag == "DR"
    house.assert_nothing_left()


def test_the_end_of_the_proxy_ends_tunnels() -> None:
    house = House()
    tunnel(house)
    house.exchange().left()
    house.settle()
    assert house.upstream().closed
    house.assert_nothing_left()


def test_a_tunnel_says_how_it_is() -> None:
    house = House()
    client = tunnel(house)
    (one,) = house.flow.tunnels.open
    assert "Tunnel of websocket, open" in repr(one)
    assert repr(house.flow.tunnels) == "<Tunnels 1 open of 1>"
    client.wire.reset()
    house.settle()
    assert "over" in repr(one)


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


# Whatever races.


EVENTS: dict[str, Callable[[House, FakeClient], object]] = {
    "client sends": lambda house, client: client.send(b"c"),
    "client ends": lambda house, client: client.leave(),
    "client resets": lambda house, client: client.wire.reset(),
    "client is slow": lambda house, client: client.slow(),
    "client reads": lambda house, client: client.fast(),
    "server switches": lambda house, client: house.upstream().answer(SWITCHED + b"early"),
    "server answers": lambda house, client: house.upstream().answer(OK),
    "server sends": lambda house, client: house.upstream().answer(b"s"),
    "server ends": lambda house, client: house.upstream().hang_up(),
    "server resets": lambda house, client: (wire := house.upstream().wire) and wire.reset(),
    "server is slow": lambda house, client: (wire := house.upstream().wire) and wire.slow(),
    "server reads": lambda house, client: (wire := house.upstream().wire) and wire.fast(),
    "the loop turns": lambda house, client: house.poll(),
    "all settles": lambda house, client: house.settle(),
    "a second passes": lambda house, client: house.advance(1.0),
    "a minute passes": lambda house, client: house.advance(100.0),
    "an operator cuts": lambda house, client: [one.call_off(Cancelled()) for one in list(house.flow.exchanges)],
    "the proxy stops": lambda house, client: [one.left() for one in list(house.flow.exchanges)],
}


@given(st.sampled_from([None, Async, Late]), st.lists(st.sampled_from(sorted(EVENTS)), max_size=12))
@settings(max_examples=400, deadline=None)
def test_whatever_happens_in_any_order_ends_and_leaves_nothing(module: type[Module] | None, events: list[str]) -> None:
    house = House("reverse" if module is None else module(), limits={"tunnel_idle": "90s"})
    client = asked(house)
    if len(events) % 2:
        house.upstream().answer(SWITCHED)
    for event in events:
        EVENTS[event](house, client)
    house.settle()
    client.fast()
    for wire in (client.wire, house.upstream().wire):
        if wire is not None:
            wire.fast()
    house.advance(400.0)
    client.leave()
    house.advance(400.0)
    house.assert_nothing_left()
    statistics = house.flow.tunnels.statistics()
    assert statistics["open"] == 0
    assert [record.target for record in house.records].count(b"/chat") == 1
