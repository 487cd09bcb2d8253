"""The upstream side: the pool, the line, retries, time-outs, cancellation, and what never poisons the pool."""

from __future__ import annotations

from typing import Any

import pytest

from asyncproxy import Module, Response, UpstreamError
from asyncproxy.exchange.messages import Request
from asyncproxy.polling.parking import ParkingLot
from asyncproxy.polling.resolving import Resolver
from tests.fakes import House

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GROUP = {"servers": ["http://127.0.0.1:1"]}
PUT = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n"


class Why(Module):
    """Forwards, and answers with the error's `why` if it fails."""

    async def handle(self, request: Request) -> Any:
        try:
            return await request.forward()
        except UpstreamError as error:
            return Response.text(error.why)


def house_of(module: Any = "reverse", **settings: Any) -> House:
    return House(module, groups={"g": {**GROUP, **settings}}, route={"upstream": "g"})


def warm(house: House) -> Any:
    """A client whose request left one kept-alive connection in the pool."""
    client = house.get()
    house.upstream().answer(OK)
    house.settle()
    assert client.body == b"ok"
    assert house.pool() == {"open": 1, "idle": 1, "opening": 0, "waiting": 0}
    return client


# The pool.


@pytest.mark.parametrize("head", [b"Content-Length: 4", b"Transfer-Encoding: chunked"])
def test_a_connection_is_used_again_after_a_reply_that_streamed(head: bytes) -> None:
    house = House()
    pieces = (b"ab", b"cd") if head.endswith(b"4") else (b"2\r\nab\r\n", b"2\r\ncd\r\n0\r\n\r\n")
    for _ in range(3):
        client = house.get("/")
        house.upstream().answer(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n" + pieces[0])
        house.settle()
        house.upstream().answer(pieces[1])
        house.settle()
        assert client.body.endswith(pieces[1])
    assert len(house.network.asked) == 1
    house.assert_nothing_left()


def test_who_waits_in_line_for_a_connection_gets_it_when_a_reply_has_streamed_through() -> None:
    house = House(
        groups={"one": {"servers": ["http://127.0.0.1:9000"], "max_connections": 1}}, route={"upstream": "one"}
    )
    first, second = house.get("/1"), house.get("/2")
    house.upstream().answer(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
    house.settle()
    house.upstream().answer(b"cd")
    house.settle()
    assert first.body == b"abcd"
    house.upstream().answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nef")
    house.settle()
    assert second.body == b"ef"
    house.assert_nothing_left()


def test_a_connection_is_used_again_by_the_next_request() -> None:
    house = house_of()
    client = warm(house)
    client.get()
    assert house.pool()["idle"] == 0
    house.upstream().answer(OK)
    house.settle()
    assert client.statuses == [200, 200]
    assert len(house.network.asked) == 1
    house.assert_nothing_left()


def test_the_latest_idle_connection_is_taken_first() -> None:
    house = house_of()
    for _ in range(2):
        house.get()
    first, second = house.network.asked
    first.answer(OK)
    second.answer(OK)
    house.settle()
    house.get()
    assert second.received.count(b"GET") == 2
    assert first.received.count(b"GET") == 1


def test_no_more_connections_are_open_than_allowed_and_the_line_is_served_in_order() -> None:
    house = house_of(max_connections=2)
    clients = [house.connect() for _ in range(4)]
    for number, client in enumerate(clients):
        client.get(f"/{number}")
    assert house.pool() == {"open": 2, "idle": 0, "opening": 0, "waiting": 2}
    first, second = house.network.asked
    second.answer(OK)
    assert b"GET /2 " in second.received
    first.answer(OK)
    assert b"GET /3 " in first.received
    second.answer(OK)
    first.answer(OK)
    house.settle()
    assert [client.status for client in clients] == [200] * 4
    assert len(house.network.asked) == 2
    house.assert_nothing_left()


def test_a_full_line_is_answered_with_503() -> None:
    house = house_of(max_connections=1)
    house.get()
    house.get()
    client = house.get()
    assert client.status == 503
    assert b"(full)" in client.body
    assert b"Retry-After" in client.received


def test_the_line_gets_a_new_connection_when_one_is_lost() -> None:
    house = house_of(max_connections=1)
    first, second = house.get(), house.get()
    house.upstream().hang_up()
    house.settle()
    assert first.status == 502
    assert len(house.network.asked) == 2
    house.upstream().answer(OK)
    house.settle()
    assert second.status == 200
    house.assert_nothing_left()


def test_the_line_gets_a_new_connection_when_one_could_not_be_made() -> None:
    house = house_of(max_connections=1)
    house.network.mode = "hang"
    first, second = house.get(), house.get()
    house.upstream().refuse()
    house.settle()
    assert first.status == 502
    house.upstream().answer(OK)
    house.settle()
    assert second.status == 200
    house.assert_nothing_left()


def test_who_waits_in_line_for_too_long_hears_timeout_connect() -> None:
    house = house_of(max_connections=1, connect_timeout="3s")
    house.get()
    client = house.get()
    house.advance(3.1)
    assert client.status == 504
    assert b"timeout:connect" in client.body
    assert house.pool()["waiting"] == 0


def test_no_more_connections_idle_than_allowed() -> None:
    house = house_of(max_idle=1)
    house.get()
    house.get()
    for upstream in house.network.asked:
        upstream.answer(OK)
    house.settle()
    assert house.pool() == {"open": 1, "idle": 1, "opening": 0, "waiting": 0}
    assert [upstream.closed for upstream in house.network.asked] == [False, True]
    house.assert_nothing_left()


def test_an_idle_connection_is_closed_after_a_while() -> None:
    house = house_of(keep_alive="10s")
    warm(house)
    house.advance(9.9)
    assert house.pool()["idle"] == 1
    house.advance(0.2)
    assert house.upstream().closed
    assert house.pool()["open"] == 0


def test_an_idle_connection_that_its_server_closes_leaves_the_pool() -> None:
    house = house_of()
    client = warm(house)
    house.upstream().hang_up()
    assert house.pool()["open"] == 0
    client.get()
    assert len(house.network.asked) == 2
    house.upstream().answer(OK)
    house.settle()
    assert client.statuses == [200, 200]


def test_a_connection_that_hangs_in_its_close_is_aborted() -> None:
    house = house_of(keep_alive="10s", connect_timeout="3s")
    warm(house)
    house.upstream().wire.slow()
    house.advance(10.1)
    assert house.upstream().closed
    assert not house.upstream().wire.aborted
    assert house.pool() == {"open": 1, "idle": 0, "opening": 0, "waiting": 0}
    house.advance(3.1)
    assert house.upstream().wire.aborted
    assert house.pool()["open"] == 0


# Retries.


def test_a_reused_connection_that_turns_out_closed_is_retried_once_on_a_new_one() -> None:
    house = house_of()
    client = warm(house)
    client.get()
    house.upstream(0).hang_up()
    house.settle()
    assert len(house.network.asked) == 2
    assert house.upstream().received.startswith(b"GET / ")
    house.upstream().answer(OK)
    house.settle()
    assert client.statuses == [200, 200]
    house.assert_nothing_left()


def test_it_is_retried_once_only() -> None:
    house = house_of()
    client = warm(house)
    client.get()
    house.upstream(0).hang_up()
    house.settle()
    house.upstream(1).hang_up()
    house.settle()
    assert client.statuses == [200, 502]
    assert b"(reset)" in client.body
    assert len(house.network.asked) == 2
    house.assert_nothing_left()


def test_a_new_connection_is_not_retried() -> None:
    house = house_of()
    client = house.get()
    house.upstream().hang_up()
    house.settle()
    assert client.status == 502
    assert len(house.network.asked) == 1


def test_a_post_is_not_sent_twice() -> None:
    house = house_of()
    client = warm(house)
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    house.settle()
    house.upstream().hang_up()
    house.settle()
    assert client.statuses == [200, 502]
    assert len(house.network.asked) == 1


def test_a_reply_that_has_begun_is_not_asked_for_again() -> None:
    house = house_of()
    client = warm(house)
    client.get()
    house.upstream().answer(b"HTTP/1.1 200 ")
    house.upstream().hang_up()
    house.settle()
    assert client.statuses == [200, 502]
    assert len(house.network.asked) == 1


@pytest.mark.parametrize(
    ("head", "pieces", "sent"),
    [
        (PUT, [b"da", b"ta"], b"data"),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", [b"4\r\ndata\r\n", b"0\r\n\r\n"], b"data"),
    ],
)
def test_a_body_that_was_kept_is_sent_again_and_goes_on(head: bytes, pieces: list[bytes], sent: bytes) -> None:
    for split in range(3):
        house = house_of()
        client = warm(house)
        client.send(head)
        for piece in pieces[:split]:
            client.send(piece)
        house.settle()
        house.upstream(0).hang_up()
        house.settle()
        for piece in pieces[split:]:
            client.send(piece)
        house.settle()
        body = house.upstream(1).received.partition(b"\r\n\r\n")[2]
        assert sent in body.replace(b"da\r\n2\r\nta", b"data")
        assert body in (sent, b"4\r\ndata\r\n0\r\n\r\n")
        house.upstream(1).answer(OK)
        house.settle()
        assert client.statuses == [200, 200]
        house.assert_nothing_left()


def test_a_body_that_was_too_long_to_keep_is_not_sent_again() -> None:
    house = house_of()
    client = warm(house)
    client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" + b"x" * 200_000)
    house.settle()
    house.upstream(0).hang_up()
    house.settle()
    assert client.status == 502
    assert len(house.network.asked) == 1
    client.send(b"x" * 100_000)
    house.settle()
    house.assert_nothing_left()


# Time-outs.


@pytest.mark.parametrize(
    ("settings", "play", "why"),
    [
        ({"connect_timeout": "2s"}, "hang", "timeout:connect"),
        ({"connect_timeout": "2s"}, "time out", "timeout:connect"),
        ({"first_byte_timeout": "2s"}, "accept", "timeout:first-byte"),
        ({"total_timeout": "2s"}, "hang", "timeout:total"),
        ({"total_timeout": "2s"}, "accept", "timeout:total"),
        ({}, "refuse", "refused"),
        ({}, "close", "reset"),
        ({}, "nonsense", "bad"),
        ({}, "endless head", "bad"),
    ],
)
def test_each_failure_has_its_why(settings: dict[str, Any], play: str, why: str) -> None:
    for module in (Why(), "reverse"):
        house = house_of(module, **settings)
        house.network.mode = play if play in ("accept", "refuse") else "hang"
        client = house.get()
        if play == "time out":
            house.upstream().time_out()
        elif play == "close":
            house.upstream().accept().hang_up()
        elif play == "nonsense":
            house.upstream().answer(b"SSH-2.0-OpenSSH\r\n\r\n")
        elif play == "endless head":
            house.upstream().answer(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000)
        house.settle()
        if why.startswith("timeout"):
            house.advance(2.1)
        if module == "reverse":
            assert client.status == (504 if why.startswith("timeout") else 502)
            assert f"({why})".encode() in client.body
        else:
            assert client.body == why.encode()
        house.assert_nothing_left()


def test_silence_within_a_reply_cuts_it_with_timeout_idle() -> None:
    class Reads(Module):
        async def handle(self, request: Request) -> Any:
            reply = await request.forward()
            try:
                await reply.read()
            except UpstreamError as error:
                return Response.text(error.why)

    house = house_of(Reads(), idle_timeout="2s")
    client = house.get()
    house.upstream().answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab")
    house.advance(1.9)
    house.upstream().answer(b"cd")
    house.advance(1.9)
    assert client.status is None
    house.advance(0.2)
    assert client.body == b"timeout:idle"
    house.assert_nothing_left()


def test_the_deadline_of_the_whole_forward_cuts_a_relay() -> None:
    house = house_of(total_timeout="2s")
    client = house.get()
    for _ in range(3):
        house.upstream().answer(b"a" if client.received else b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab")
        house.advance(0.9)
    assert client.wire.aborted
    assert house.upstream().closed
    house.assert_nothing_left()


def test_a_forward_has_a_time_out_of_its_own() -> None:
    class Hurries(Module):
        async def handle(self, request: Request) -> Any:
            try:
                return await request.forward(timeout=1)
            except UpstreamError as error:
                return Response.text(error.why)

    for idle in (False, True):
        house = house_of(Hurries())
        client = house.get()
        if idle:
            house.upstream().answer(OK)
            house.settle()
            client.get()
        house.advance(1.1)
        assert client.body == b"timeout:total"
        house.assert_nothing_left()


def test_a_client_that_is_slower_than_the_reply_is_no_silence_of_the_upstream() -> None:
    house = house_of(idle_timeout="2s")
    client = house.get()
    house.upstream().answer(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
    client.slow()
    assert not house.upstream().wire.reading
    house.advance(30)
    client.fast()
    assert house.upstream().wire.reading
    house.upstream().answer(b"cd")
    house.settle()
    assert client.body == b"abcd"
    house.assert_nothing_left()


def test_a_slow_upload_is_no_silence_of_the_upstream() -> None:
    house = house_of(first_byte_timeout="2s")
    client = house.connect()
    client.send(PUT)
    house.settle()
    for byte in (b"d", b"a", b"t", b"a"):
        house.advance(1.5)
        client.send(byte)
    house.upstream().answer(OK)
    house.settle()
    assert client.status == 200
    house.assert_nothing_left()


def test_an_upload_waits_for_a_slow_upstream() -> None:
    house = house_of()
    client = house.connect()
    client.send(PUT)
    house.settle()
    house.upstream().wire.slow()
    assert not client.wire.reading
    client.send(b"data")
    assert not house.upstream().received.endswith(b"data")
    house.upstream().wire.fast()
    house.settle()
    assert house.upstream().received.endswith(b"data")
    house.upstream().answer(OK)
    house.settle()
    assert client.status == 200
    house.assert_nothing_left()


# No poisoning.


@pytest.mark.parametrize(
    "reply",
    [
        OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        OK + b"\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\nsurplus",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nsurplus",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nx",
    ],
)
@pytest.mark.parametrize("split", [False, True])
def test_a_connection_with_anything_but_one_whole_reply_is_not_used_again(reply: bytes, split: bool) -> None:
    house = house_of()
    client = house.get()
    for piece in [reply[at : at + 1] for at in range(len(reply))] if split else [reply]:
        house.upstream().answer(piece)
    house.settle()
    assert client.status in (200, 204)
    assert b"evil" not in client.received
    assert b"surplus" not in client.received
    assert house.upstream(0).closed
    assert house.pool()["open"] == 0
    client.get()
    assert len(house.network.asked) == 2
    house.upstream().answer(OK)
    house.settle()
    assert client.body == b"ok"
    house.assert_nothing_left()


def test_stray_bytes_on_an_idle_connection_close_it() -> None:
    house = house_of()
    client = warm(house)
    house.upstream().answer(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    assert house.upstream().closed
    client.get()
    assert len(house.network.asked) == 2
    house.upstream().answer(OK)
    house.settle()
    assert b"evil" not in client.received


def test_a_reply_that_comes_before_the_upload_ended_closes_the_connection_once_it_is_through() -> None:
    house = house_of()
    client = house.connect()
    client.send(PUT + b"da")
    house.settle()
    house.upstream().answer(OK)
    house.settle()
    assert client.status == 200
    assert house.upstream().closed
    assert client.wire.half_closed
    assert b"Connection: close" in client.received
    client.send(b"ta")
    house.advance(3)
    house.assert_nothing_left()


def test_a_streamed_reply_that_comes_before_the_upload_ended_is_relayed() -> None:
    house = house_of()
    client = house.connect()
    client.send(PUT + b"da")
    house.settle()
    house.upstream().answer(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
    client.send(b"ta")
    house.upstream().answer(b"cd")
    house.settle()
    assert client.body == b"abcd"
    assert house.upstream().received.endswith(b"data")
    house.assert_nothing_left()


@pytest.mark.parametrize("status", [b"100 Continue", b"103 Early Hints\r\nLink: </a>"])
def test_informational_replies_are_not_the_reply(status: bytes) -> None:
    for split in (False, True):
        house = house_of()
        client = house.get()
        house.upstream().answer(b"HTTP/1.1 " + status + b"\r\n\r\n" + (b"" if split else OK))
        if split:
            house.upstream().answer(OK)
        house.settle()
        assert client.statuses[-1] == 200
        assert house.pool()["idle"] == 1
        house.assert_nothing_left()


def test_a_protocol_switch_that_nobody_asked_for_is_a_bad_reply() -> None:
    house = house_of()
    client = house.get()
    house.upstream().answer(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
    house.settle()
    assert client.status == 502
    assert house.upstream().closed


@pytest.mark.parametrize(
    "cut",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
    ],
)
def test_a_reply_that_is_cut_is_cut_for_the_client_too(cut: bytes) -> None:
    house = house_of()
    client = house.get()
    house.upstream().answer(cut)
    house.settle()
    house.upstream().hang_up()
    house.settle()
    assert client.status == 200
    assert client.wire.aborted
    house.assert_nothing_left()


def test_chunks_that_break_their_framing_cut_the_reply() -> None:
    house = house_of()
    client = house.get()
    house.upstream().answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
    house.upstream().answer(b"zz\r\n")
    house.settle()
    assert client.wire.aborted
    assert house.upstream().closed
    house.assert_nothing_left()


def test_chunks_that_are_broken_right_behind_the_head_never_reach_the_client() -> None:
    house = house_of()
    client = house.get()
    house.upstream().answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
    house.settle()
    assert client.status == 502 or client.wire.aborted
    house.assert_nothing_left()


def test_a_reply_without_a_length_ends_with_its_connection() -> None:
    house = house_of()
    client = house.get()
    house.upstream().answer(b"HTTP/1.1 200 OK\r\n\r\nab")
    house.upstream().answer(b"cd")
    house.upstream().hang_up()
    house.settle()
    assert client.body == b"2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n"
    assert house.pool()["open"] == 0
    house.assert_nothing_left()


def test_a_reply_to_head_has_no_body_whatever_length_it_tells() -> None:
    house = house_of()
    client = house.connect()
    client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    house.settle()
    house.upstream().answer(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n")
    house.settle()
    assert client.received.endswith(b"\r\n\r\n")
    assert b"Content-Length: 999\r\n" in client.received
    assert house.pool()["idle"] == 1
    house.assert_nothing_left()


def test_what_a_module_leaves_of_a_reply_closes_its_connection() -> None:
    class Ignores(Module):
        async def handle(self, request: Request) -> Any:
            reply = await request.forward()
            reply.body = b"mine"
            return reply

    for reply, reusable in ((OK, True), (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab", False)):
        house = house_of(Ignores())
        client = house.get()
        house.upstream().answer(reply)
        house.settle()
        assert client.body == b"mine"
        assert b"Content-Length: 4\r\n" in client.received
        assert house.upstream().closed != reusable
        house.assert_nothing_left()


def test_a_module_that_forgets_a_reply_and_answers_itself_leaks_no_connection() -> None:
    class Forgets(Module):
        async def handle(self, request: Request) -> Any:
            await request.forward()
            return Response.text("mine")

    house = house_of(Forgets())
    client = house.get()
    house.upstream().answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab")
    house.settle()
    assert client.body == b"mine"
    assert house.upstream().closed
    house.assert_nothing_left()


@pytest.mark.parametrize("phase", ["line", "resolving", "connecting", "sent", "head begun", "body", "through"])
def test_a_forward_can_be_cancelled_in_each_phase_and_the_next_request_is_served(phase: str) -> None:
    name = "http://name:1" if phase == "resolving" else "http://127.0.0.1:1"
    house = house_of(servers=[name], max_connections=1)
    if phase in ("connecting", "line"):
        house.network.mode = "hang"
    other = house.get() if phase == "line" else None
    client = house.get()
    if phase not in ("line", "resolving", "connecting", "sent"):
        whole = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"
        house.upstream().answer(whole[: {"head begun": 20, "body": -2}.get(phase, 1000)])
        house.settle()
    client.leave()
    house.settle()
    house.network.mode = "accept"
    if other is not None:
        house.upstream().answer(OK)
        house.settle()
        assert other.status == 200
    next_client = house.get()
    if phase == "resolving":
        house.names.answer("127.0.0.9")
        house.settle()
    house.upstream().answer(OK)
    house.settle()
    assert next_client.body == b"ok"
    house.assert_nothing_left()


# Groups and names.


def group_house(*servers: str, **settings: Any) -> House:
    return house_of(servers=list(servers), **settings)


def test_forwards_go_round_the_servers_of_a_group() -> None:
    house = group_house("http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3")
    for _ in range(6):
        house.get()
    assert [upstream.address[1] for upstream in house.network.asked] == [1, 2, 3, 1, 2, 3]


def test_a_server_that_refuses_is_replaced_by_the_next() -> None:
    house = group_house("http://127.0.0.1:1", "http://127.0.0.1:2")
    house.network.mode = "hang"
    client = house.get()
    house.upstream().refuse()
    assert [upstream.address[1] for upstream in house.network.asked] == [1, 2]
    house.upstream().answer(OK)
    house.settle()
    assert client.status == 200
    house.assert_nothing_left()


def test_a_group_that_refuses_altogether_is_answered_with_502() -> None:
    house = group_house("http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3")
    house.network.mode = "refuse"
    client = house.get()
    assert client.status == 502
    assert b"(refused)" in client.body
    assert b"127.0.0.1" not in client.body
    assert len(house.network.asked) == 3
    house.assert_nothing_left()


def test_a_unix_socket_is_connected_by_its_path() -> None:
    house = group_house("unix:/run/a.sock")
    client = house.get()
    assert house.upstream().address == "/run/a.sock"
    house.upstream().answer(OK)
    house.settle()
    assert client.status == 200


def test_a_name_is_looked_up_once_for_all_who_ask() -> None:
    house = group_house("http://name:1")
    clients = [house.get() for _ in range(3)]
    assert house.names.asked == ["name"]
    house.names.answer("127.0.0.5", "127.0.0.6")
    house.settle()
    assert [upstream.address for upstream in house.network.asked] == [("127.0.0.5", 1)] * 3
    for upstream in house.network.asked:
        upstream.answer(OK)
    house.settle()
    assert [client.status for client in clients] == [200] * 3
    house.assert_nothing_left()


def test_every_address_of_a_name_is_tried() -> None:
    house = group_house("http://name:1")
    house.network.mode = "hang"
    client = house.get()
    house.names.answer("127.0.0.5", "127.0.0.5", "127.0.0.6")
    house.upstream().refuse()
    assert house.upstream().address == ("127.0.0.6", 1)
    house.upstream().refuse()
    house.settle()
    assert client.status == 502
    assert len(house.network.asked) == 2
    house.assert_nothing_left()


def test_a_name_without_an_address_is_answered_with_502() -> None:
    house = group_house("http://name:1")
    client = house.get()
    house.names.answer()
    house.settle()
    assert client.status == 502
    assert b"(unresolved)" in client.body
    house.assert_nothing_left()


def test_a_name_that_is_not_resolved_in_time_hears_timeout_connect() -> None:
    house = group_house("http://name:1", connect_timeout="2s")
    client = house.get()
    house.advance(2.1)
    assert client.status == 504
    assert b"timeout:connect" in client.body
    house.names.answer("127.0.0.1")
    house.settle()
    assert house.network.asked == []
    house.assert_nothing_left()


def test_an_answer_is_kept_for_a_while_and_a_failure_is_not() -> None:
    house = House()
    resolver, heard = Resolver(house.names, house.wheel), []
    resolver.resolve("a", heard.append)
    house.names.answer()
    resolver.resolve("a", heard.append)
    house.names.answer("1.2.3.4")
    resolver.resolve("a", heard.append)
    assert house.names.asked == ["a", "a"]
    house.wheel.advance(11)
    resolver.resolve("a", heard.append)
    assert house.names.asked == ["a", "a", "a"]
    assert heard == [[], ["1.2.3.4"], ["1.2.3.4"]]


def test_names_that_are_kept_are_bounded() -> None:
    house = House()
    resolver = Resolver(house.names, house.wheel)
    for number in range(3000):
        resolver.resolve(f"n{number}", lambda _: None)
        house.names.answer("1.2.3.4")
    assert repr(resolver).startswith("<Resolver ")
    assert int(repr(resolver).split()[1]) <= 1024


# Upstreams by name and URL.


class Names(Module):
    name: str | None = None

    async def handle(self, request: Request) -> Any:
        return await request.forward(request.args["to"][0])


@pytest.mark.parametrize("name", ["nobody", "ftp://127.0.0.1", "http://"])
def test_an_upstream_that_is_not_known_is_answered_with_502(name: str) -> None:
    house = House(Names(), groups={"g": GROUP})
    client = house.get(f"/?to={name}")
    assert client.status == 502
    assert b"(unresolved)" in client.body
    house.assert_nothing_left()


def test_a_url_makes_a_group_that_is_used_again() -> None:
    house = House(Names())
    for _ in range(2):
        client = house.get("/?to=http://127.0.0.1:77")
        house.upstream().answer(OK)
        house.settle()
        assert client.status == 200
    assert len(house.network.asked) == 1
    assert house.upstreams.statistics()["http://127.0.0.1:77"]["idle"] == 1


def test_urls_do_not_grow_without_bound() -> None:
    house = House(Names(), groups={"g": {**GROUP}})
    house.network.mode = "refuse"
    for number in range(1, 1200):
        house.get(f"/?to=http://127.0.0.1:{number}")
    assert len(house.upstreams.pools()) < 1100


def test_a_route_without_an_upstream_says_so() -> None:
    class Bare(Module):
        async def handle(self, request: Request) -> Any:
            try:
                return await request.forward()
            except UpstreamError as error:
                return Response.text(error.words)

    house = House(Bare())
    for binding in [house.door.find("a", "/", "GET")]:
        binding.upstream = None
    assert b"the route has no upstream" in house.get().body


def test_everything_tells_what_it_is() -> None:
    house = house_of()
    warm(house)
    assert "1 open, 1 idle" in repr(house.upstreams)
    assert repr(house.lot) == "<ParkingLot 0 of 20000 parked>"
    assert isinstance(house.lot, ParkingLot)
    house.get()
    assert "forward to g" in repr(house.exchange())
    assert "served" in repr(house.upstream().wire.protocol)
