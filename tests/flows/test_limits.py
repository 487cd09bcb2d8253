"""Each limit and time-out that clients can reach: what becomes of them, what others notice, and who is told."""

from __future__ import annotations

import errno
import tempfile
from typing import Any

import pytest
from twisted.internet.error import ConnectError
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.python.failure import Failure

from asyncproxy import Module, Request, Response
from asyncproxy.configuration import load
from asyncproxy.testing import FakeClient
from tests.fakes import GET, SERVER, House

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"


class Answers(Module):
    blocking = False

    def handle(self, request: Request) -> Response:
        return Response.text("hello")


class Reads(Module):
    """Takes a body a piece a turn."""

    async def handle(self, request: Request) -> Response:
        size = 0
        async for piece in request.body:
            size += len(piece)
        return Response.text(str(size))


class Streams(Module):
    def handle(self, request: Request) -> Response:
        return Response(body=(b"x" * 1000 for _ in range(1000)))


def told(house: House) -> list[tuple[int, str, str]]:
    """Status, flag and detail of each request, as the access log has them."""
    return [(record.status, record.flag, record.detail) for record in house.records]


def reached(house: House) -> dict[str, int]:
    return house.entrance.reached.statistics()


def others_do_not_notice(house: House) -> None:
    other = house.connect()
    other.send(GET)
    house.settle()
    house.upstream().answer(OK) if other.status is None else None
    house.settle()
    assert other.status == 200
    other.leave()


def change(house: House, **limits: Any) -> None:
    """What a reload does."""
    settings = load({"server": {"listen": "tcp:0"}, "limits": limits, "route": [{"module": "status"}]})
    house.door.limit(settings.limits)
    house.entrance.crowd.limit(settings.limits)


# Before there is a request.


def test_a_client_that_sends_nothing_is_closed_without_a_word_and_counted() -> None:
    house = House(Answers(), limits={"first_request_timeout": "5s", "head_timeout": "1s"})
    client = house.connect()
    house.advance(4.9)
    others_do_not_notice(house)
    assert not client.closed
    house.advance(0.2)
    assert client.wire.lost
    assert client.received == b""
    assert reached(house) == {"limits.first_request_timeout": 1}
    house.assert_nothing_left()


def test_empty_lines_before_a_first_request_gain_no_time() -> None:
    house = House(Answers(), limits={"first_request_timeout": "5s"})
    client = house.connect()
    for _ in range(12):
        client.send(b"\r\n")
        house.advance(0.5)
    assert client.wire.lost


def test_a_head_that_trickles_has_its_time_from_its_first_byte_to_its_end() -> None:
    house = House(Answers(), limits={"first_request_timeout": "60s", "head_timeout": "5s"})
    client = house.connect()
    house.advance(50)
    for byte in b"GET / HTTP":
        client.send(bytes([byte]))
        house.advance(0.45)
    assert client.status is None
    client.send(b"/")
    house.advance(0.6)
    assert client.status == 408
    assert told(house) == [(408, "CT", "limits.head_timeout")]
    assert b"within 5 s" in client.body
    assert b"limits." not in client.received
    house.advance(3)
    house.assert_nothing_left()


def test_an_idle_connection_is_closed_and_counted_and_nobody_is_told() -> None:
    house = House(Answers(), limits={"keep_alive": "5s"})
    client = house.get()
    with capturedLogs() as events:
        house.advance(6)
    assert client.wire.lost
    assert reached(house) == {"limits.keep_alive": 1}
    assert events == []


@pytest.mark.parametrize(
    ("sent", "limits", "status", "key"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 100 + b"\r\n", {}, 431, "fields"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nC: d\r\n\r\n", {"fields": 2}, 431, "fields"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"b" * 900, {"head": "500B"}, 431, "head"),
        (b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"b" * 900), {"request_line": "500B"}, 414, "request_line"),
        (b"GET /%b" % (b"b" * 900), {"request_line": "500B"}, 414, "request_line"),
        (POST, {"body": "1KiB"}, 413, "body"),
    ],
)
def test_a_head_beyond_a_limit_is_refused_and_the_log_names_the_limit(
    sent: bytes, limits: dict[str, Any], status: int, key: str
) -> None:
    house = House(Answers(), limits=limits)
    client = house.connect()
    with capturedLogs() as logged:
        client.send(sent)
        house.settle()
    assert client.status == status
    assert told(house) == [(status, "DPE", f"limits.{key}")]
    assert reached(house) == {f"limits.{key}": 1}
    assert [formatEvent(event).endswith(f"(limits.{key})") for event in logged] == [True]
    others_do_not_notice(house)
    house.advance(3)
    house.assert_nothing_left()


def test_as_many_fields_as_may_be_are_taken() -> None:
    house = House(Answers(), limits={"fields": 2})
    assert house.connect().wire.open
    client = house.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n")
    house.settle()
    assert client.status == 200


# Connections.


def test_who_has_too_many_connections_is_answered_503_at_once_and_let_in_later() -> None:
    house = House(Answers(), limits={"connections_per_client": 2})
    first, second, third = house.connect(), house.connect(), house.connect()
    house.settle()
    assert (first.status, second.status, third.status) == (None, None, 503)
    assert b"\r\nRetry-After: 1\r\n" in third.received
    assert b"\r\nConnection: close\r\n" in third.received
    third.send(GET)
    house.settle()
    assert third.statuses == [503]
    assert told(house) == [(503, "OM", "limits.connections_per_client")]
    house.advance(2.1)
    assert third.wire.lost
    first.leave()
    assert house.get().status == 200


def test_when_there_are_too_many_connections_nobody_else_is_accepted() -> None:
    house = House(Answers(), limits={"connections": 4})
    clients = [house.connect() for _ in range(4)]
    assert house.entrance.gate.paused
    assert [client.get().status for client in clients] == [200] * 4
    clients[0].leave()
    assert not house.entrance.gate.paused
    assert house.snapshot()["clients"] == {
        "connections": 3, "addresses": 0, "paused": 0, "pauses": 1, "limits_reached": {},
    }  # fmt: skip


def test_a_connection_is_closed_after_its_last_request_which_says_so() -> None:
    house = House(Answers(), limits={"requests_per_connection": 3})
    client = house.connect()
    client.send(GET * 5)
    house.settle()
    assert client.statuses == [200] * 3
    assert client.received.count(b"Connection: close") == 1
    assert client.received.endswith(b"Connection: close\r\n\r\nhello")
    assert client.wire.lost
    assert reached(house) == {"limits.requests_per_connection": 1}
    house.assert_nothing_left()


def test_how_many_requests_a_connection_may_have_changes_for_one_that_is_open() -> None:
    house = House(Answers())
    client = house.connect()
    for _ in range(4):
        client.get()
    change(house, requests_per_connection=2)
    client.get()
    assert client.statuses == [200] * 5
    assert client.wire.lost
    change(house, requests_per_connection="off")
    house.get().get()
    assert house.clients[-1].wire.open


# Bodies.


@pytest.mark.parametrize("module", [Reads(), "reverse"])
def test_a_body_that_trickles_is_a_408_after_its_grace(module: Any) -> None:
    house = House(module, limits={"body_rate": "100B", "body_rate_grace": "5s", "body_idle": "60s"})
    client = house.connect()
    client.send(POST)
    house.settle()
    for _ in range(9):
        client.send(b"x")
        house.advance(0.5)
        others_do_not_notice(house)
    assert client.status is None
    client.send(b"x")
    house.advance(0.7)
    assert client.status == 408
    assert told(house)[-1] == (408, "CT", "limits.body_rate")
    assert b"less than 100 bytes a second" in client.body
    assert reached(house) == {"limits.body_rate": 1}
    house.advance(3)
    house.assert_nothing_left()


@pytest.mark.parametrize("module", [Reads(), "reverse"])
def test_a_body_as_fast_as_the_rate_is_taken_however_long_it_takes(module: Any) -> None:
    house = House(module, limits={"body_rate": "100B", "body_rate_grace": "5s"})
    client = house.connect()
    client.send(POST.replace(b"100000", b"10000"))
    house.settle()
    for _ in range(100):
        client.send(b"x" * 100)
        house.advance(1)
    if module == "reverse":
        house.upstream().answer(OK)
    house.settle()
    assert client.status == 200


def test_a_body_that_came_fast_may_rest_and_then_has_to_go_on() -> None:
    house = House(Reads(), limits={"body_rate": "100B", "body_rate_grace": "5s", "body_idle": "20s"})
    client = house.connect()
    client.send(POST + b"x" * 50_000)
    house.advance(19)
    client.send(b"x")
    house.advance(0.9)
    assert client.status is None
    client.send(b"x")
    house.advance(0.3)
    assert told(house)[-1] == (408, "CT", "limits.body_rate")


def test_time_in_which_nobody_takes_the_body_does_not_count() -> None:
    house = House(limits={"body_rate": "100B", "body_rate_grace": "5s", "body_idle": "5s"})
    client = house.connect()
    client.send(POST)
    house.settle()
    house.upstream().wire.slow()  # type: ignore[union-attr]
    client.send(b"x")
    house.settle()
    house.advance(30)
    assert client.status is None
    house.upstream().wire.fast()  # type: ignore[union-attr]
    house.settle()
    house.advance(4.8)
    assert client.status is None
    house.advance(0.4)
    assert client.status == 408


def test_a_client_that_waits_to_be_asked_for_its_body_is_not_slow() -> None:
    class Asks(Module):
        async def handle(self, request: Request) -> Response:
            from asyncproxy import sleep

            await sleep(100)
            return Response.text(str(len(await request.read())))

    house = House(Asks(), limits={"body_rate": "100B", "body_rate_grace": "5s", "body_idle": "5s"})
    client = house.connect()
    client.send(POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n").replace(b"100000", b"2"))
    house.advance(101)
    assert client.statuses == [100]
    client.send(b"ab")
    house.settle()
    assert client.body == b"2"


@pytest.mark.parametrize("rate", ["off", "100B"])
def test_a_body_that_stops_is_a_408_that_says_so(rate: str) -> None:
    house = House(Reads(), limits={"body_rate": rate, "body_rate_grace": "30s", "body_idle": "5s"})
    client = house.connect()
    client.send(POST + b"x")
    house.advance(5.2)
    assert told(house)[-1] == (408, "CT", "limits.body_idle")
    assert b"stopped coming for 5 s" in client.body


def test_a_body_that_grows_beyond_the_limit_is_named_as_such() -> None:
    house = House(Reads(), limits={"body": "10B"})
    client = house.connect()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n" + b"x" * 11 + b"\r\n")
    house.settle()
    assert told(house) == [(413, "DPE", "limits.body")]


def test_a_rate_that_changes_holds_for_bodies_that_are_on_their_way() -> None:
    house = House(Reads(), limits={"body_rate": "off"})
    client = house.connect()
    client.send(POST)
    house.settle()
    for _ in range(50):
        client.send(b"x")
        house.advance(1)
    change(house, body_rate="100B", body_rate_grace="5s", body_idle="60s")
    client.send(b"x")
    house.advance(5.2)
    assert told(house)[-1] == (408, "CT", "limits.body_rate")


# Answers.


def streaming(house: House) -> FakeClient:
    """A client that has got a part of a long answer, and reads no more."""
    client = house.get()
    client.slow()
    house.settle()
    return client


@pytest.mark.parametrize("module", ["reverse", Streams()])
def test_a_client_that_takes_nothing_of_its_answer_is_cut(module: Any) -> None:
    house = House(module, limits={"send_timeout": "8s"})
    client = house.connect()
    client.send(GET)
    client.slow()
    house.settle()
    if module == "reverse":
        house.upstream().answer(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 1000)
    house.advance(7.9)
    assert not client.wire.aborted
    others_do_not_notice(house)
    house.advance(2.4)
    assert client.wire.aborted
    assert (200, "CS", "limits.send_timeout") in told(house)
    assert reached(house) == {"limits.send_timeout": 1}
    house.assert_nothing_left()


def slow_reader(house: House, monkeypatch: pytest.MonkeyPatch) -> tuple[FakeClient, list[int]]:
    """A client whose kernel is full, and how many bytes wait for it, for the test to change."""
    client, left = house.connect(), [100_000]
    monkeypatch.setattr(type(client.wire), "unsent", property(lambda _: left[0]))
    client.send(GET)
    client.slow()
    house.settle()
    return client, left


def test_a_client_that_takes_some_of_its_answer_now_and_then_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(Streams(), limits={"send_timeout": "8s"})
    client, left = slow_reader(house, monkeypatch)
    for _ in range(30):
        house.advance(5)
        left[0] -= 1
    assert not client.wire.aborted


def test_a_client_below_the_rate_is_cut_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(Streams(), limits={"send_timeout": "60s", "send_rate": "100B", "body_rate_grace": "5s"})
    client, left = slow_reader(house, monkeypatch)
    for _ in range(5):
        house.advance(1)
        left[0] -= 50
    assert not client.wire.aborted
    for _ in range(7):
        house.advance(1)
        left[0] -= 50
    assert client.wire.aborted
    assert told(house) == [(200, "CS", "limits.send_rate")]


def test_a_client_whose_answer_is_over_and_that_does_not_take_it_is_cut_too() -> None:
    house = House(Answers(), limits={"send_timeout": "8s", "keep_alive": "60s"})
    client = house.connect()
    client.send(GET)
    client.slow()
    house.advance(11)
    assert client.wire.aborted
    assert told(house) == [(200, "", "")]
    assert reached(house) == {"limits.send_timeout": 1}


def test_a_client_that_keeps_up_again_has_all_its_time_again() -> None:
    house = House(limits={"send_timeout": "8s"})
    client = house.get()
    house.upstream().answer(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 1000)
    for _ in range(10):
        client.slow()
        house.advance(6)
        client.fast()
        house.settle()
    assert client.wire.open


def test_a_module_that_makes_an_answer_for_a_client_that_takes_none_of_it_hears_that_it_is_gone() -> None:
    ended: list[str] = []

    class Endless(Module):
        def handle(self, request: Request) -> Response:
            return Response(body=self.pieces())

        def pieces(self) -> Any:
            try:
                while True:
                    yield b"x" * 1000
            finally:
                ended.append("closed")

    house = House(Endless(), limits={"send_timeout": "8s"})
    client = house.connect()
    client.send(GET)
    client.slow()
    house.advance(11)
    assert client.wire.aborted
    assert ended == ["closed"]
    house.assert_nothing_left()


# The end of a connection.


@pytest.mark.parametrize(("linger", "seconds"), [("2s", 2.0), ("500ms", 0.5)])
def test_what_a_refused_client_still_sends_is_dropped_for_a_while(linger: str, seconds: float) -> None:
    house = House(Answers(), limits={"linger": linger})
    client = house.connect()
    client.send(b"GET  / HTTP/1.1\r\n\r\n")
    house.advance(seconds - 0.1)
    assert client.wire.half_closed
    assert not client.wire.lost
    house.advance(0.2)
    assert client.wire.lost


def test_without_lingering_a_refused_client_is_closed_at_once() -> None:
    house = House(Answers(), limits={"linger": "off"})
    client = house.connect()
    client.send(b"GET  / HTTP/1.1\r\n\r\n")
    house.settle()
    assert client.status == 400
    assert client.wire.lost


def test_a_refused_client_that_is_slow_to_take_its_answer_has_time_to() -> None:
    house = House(Answers(), limits={"linger": "2s", "send_timeout": "8s"})
    client = house.connect()
    client.slow()
    client.send(b"GET  / HTTP/1.1\r\n\r\n")
    house.advance(5)
    assert not client.wire.aborted
    house.advance(8)
    assert client.wire.aborted


# Limits of the proxy.


@pytest.mark.parametrize("key", ["max_parked", "max_queued"])
def test_a_full_proxy_names_in_the_log_what_is_full(key: str) -> None:
    class Works(Module):
        def handle(self, request: Request) -> Response:
            return Response.text("")

    house = House(Works(), server={"max_queued": 1, "workers": 1})
    if key == "max_parked":
        house.lot.limit = 0
    for _ in range(4):
        house.connect().send(GET)
    house.settle()
    assert (503, "OM", f"server.{key}") in told(house)


def test_a_route_that_is_late_names_its_time_out() -> None:
    house = House("reverse", route={"timeout": "5s"})
    client = house.get()
    house.advance(5.2)
    assert client.status == 504
    assert told(house) == [(504, "DT", "route.timeout")]


# Upstreams.


def uploading(send_timeout: str = "8s", body: bytes = b"x" * 100) -> tuple[House, FakeClient]:
    """A request whose server has taken its head, and no more."""
    group = {"servers": [SERVER], "send_timeout": send_timeout, "first_byte_timeout": "5s"}
    house = House(groups={SERVER: group})
    client = house.connect()
    client.send(POST)
    house.settle()
    house.upstream().wire.slow()  # type: ignore[union-attr]
    client.send(body)
    house.settle()
    return house, client


@pytest.mark.parametrize("body", [b"x" * 100, b"x" * 100_000], ids=["a part of the body", "all of it"])
def test_a_server_that_takes_nothing_of_a_body_is_a_504_that_names_sending(body: bytes) -> None:
    house, client = uploading(body=body)
    house.advance(7.9)
    assert client.status is None
    house.advance(2.4)
    assert client.status == 504
    assert b"timeout:send" in client.body
    assert house.upstream().closed
    assert told(house) == [(504, "UT", "timeout:send")]
    house.advance(3)
    house.assert_nothing_left()


def test_a_server_that_has_taken_the_body_has_its_time_to_answer_from_then_on() -> None:
    house, client = uploading(body=b"x" * 100_000)
    house.advance(7)
    house.upstream().wire.fast()  # type: ignore[union-attr]
    house.advance(4.8)
    assert client.status is None
    house.advance(0.4)
    assert told(house) == [(504, "UT", "timeout:first-byte")]


def test_a_server_that_takes_the_body_by_and_by_is_not_cut() -> None:
    house, client = uploading()
    for _ in range(10):
        house.advance(6)
        house.upstream().wire.fast()  # type: ignore[union-attr]
        house.upstream().wire.slow()  # type: ignore[union-attr]
        client.send(b"x" * 40_000)
        house.settle()
    house.upstream().wire.fast()  # type: ignore[union-attr]
    house.upstream().answer(OK)
    house.settle()
    assert client.status == 200


def test_a_server_that_answers_need_not_take_the_body() -> None:
    house, client = uploading()
    house.upstream().answer(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    for _ in range(10):
        house.advance(2)
        house.upstream().answer(b"x" * 10)
    house.settle()
    assert client.status == 200
    assert client.body == b"x" * 100


def test_without_a_time_out_a_server_may_take_its_time() -> None:
    house, client = uploading("off")
    house.advance(1000)
    assert client.status is None
    assert house.deadlines.statistics()["standing"] <= 1


class NoneLeft(Module):
    """Opens a file of its own."""

    def handle(self, _request: Request) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")


@pytest.mark.parametrize("module", ["reverse", NoneLeft])
def test_requests_that_fail_for_want_of_a_descriptor_have_a_line_a_second(module: Any) -> None:
    house = House(module if module == "reverse" else module())
    house.network.mode = "hang"

    def fail(count: int) -> None:
        clients = [house.get() for _ in range(count)]
        for upstream in house.network.asked:
            if upstream.pending:
                upstream.factory.clientConnectionFailed(upstream, Failure(ConnectError(errno.EMFILE)))
        house.settle()
        assert [client.status for client in clients] == [503 if module == "reverse" else 500] * count

    with capturedLogs() as logged:
        fail(4)
        house.advance(1)
        fail(1)
    lines = [formatEvent(event) for event in logged if event["log_level"] >= LogLevel.warn]
    assert [line.endswith(", and 3 more") for line in lines] == [False, True]
    assert all("GET /" in line for line in lines)


def test_bodies_that_cannot_be_kept_for_want_of_a_descriptor_have_a_line_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none_left(**_more: Any) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(tempfile, "TemporaryFile", none_left)
    house = House(NoneLeft(), limits={"spool": "1KiB"})
    with capturedLogs() as logged:
        for _ in range(3):
            client = house.connect()
            client.send(POST.replace(b"100000", b"5000") + bytes(5000))
            house.settle()
            assert client.status == 500
    (line,) = [formatEvent(event) for event in logged if event["log_level"] >= LogLevel.warn]
    assert "the request's body could not be kept" in line
    assert "Too many open files" in line
