"""The client side: requests out of bytes, limits and time-outs, pipelining, and how responses are framed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asyncproxy import Module, Response, sleep
from asyncproxy.exchange.messages import Request
from tests.fakes import GET, FakeClient, House

CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
KILO = 1024


class Echo(Module):
    """Says what it was asked, with the body it got."""

    def handle(self, request: Request) -> Any:
        return Response.text(f"{request.method} {request.path} {request.data.decode()}")


class Slow(Module):
    async def handle(self, request: Request) -> Any:
        await sleep(5)
        return Response.text(f"slow {request.path}")


class Pieces(Module):
    pieces: Any = (b"ab", "", "cde")

    def handle(self, _request: Request) -> Any:
        return Response(headers={"x": "y"}, body=iter(self.pieces))


def sent(data: bytes, module: Any = None, *, split: int | None = None, **settings: Any) -> FakeClient:
    """A client that has sent `data`, in pieces of `split` bytes."""
    house = House(module or Echo(), **settings)
    client = house.connect()
    step = split or len(data)
    for at in range(0, len(data), step):
        client.send(data[at : at + step])
    house.settle()
    return client


# Requests in.


@pytest.mark.parametrize("split", [None, 1, 2, 7, 30])
@pytest.mark.parametrize(
    "data",
    [
        b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nhe\r\n3\r\nllo\r\n0\r\nA: b\r\n\r\n",
        b"\r\nPOST /x HTTP/1.1\r\nhost:a\r\ncontent-LENGTH:5\r\n\r\nhello",
    ],
)
def test_a_request_is_read_however_its_bytes_are_cut(data: bytes, split: int | None) -> None:
    client = sent(data + GET, split=split)
    assert client.statuses == [200, 200]
    assert b"POST /x hello" in client.received
    assert client.body == b"GET / "
    client.house.assert_nothing_left()


def test_pipelined_requests_are_answered_in_order() -> None:
    client = sent(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(50)))
    assert client.statuses == [200] * 50
    places = [client.received.index(b"GET /%d " % number) for number in range(50)]
    assert places == sorted(places)
    client.house.assert_nothing_left()


def test_the_next_request_begins_when_the_one_before_is_answered() -> None:
    client = sent(GET + b"GET /two HTTP/1.1\r\nHost: a\r\n\r\n", Slow())
    assert len(client.house.flow.exchanges) == 1
    client.house.advance(5)
    assert client.body == b"slow /"
    client.house.advance(5)
    assert client.body == b"slow /two"
    client.house.assert_nothing_left()


def test_what_comes_while_a_request_is_answered_is_kept_up_to_the_pipeline_buffer() -> None:
    client = sent(GET, Slow(), limits={"pipeline_buffer": "1KiB"})
    client.send(b"GET /x HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 500)
    assert client.wire.reading
    client.send(b"x" * 1000)
    assert not client.wire.reading
    client.send(b"\r\n\r\n")
    client.house.advance(5)
    assert client.wire.reading
    client.house.advance(5)
    assert client.body == b"slow /x"
    client.house.assert_nothing_left()


def test_reading_goes_on_while_a_request_is_parked() -> None:
    assert sent(GET, Slow()).wire.reading


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET / RTSP/1.0\r\nHost: a\r\n\r\n", 400),
        (b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3 3\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 400),
        (b"GET /" + b"x" * 9 * KILO + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70 * KILO, 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70 * KILO + b"\r\n\r\n", 431),
    ],
)
@pytest.mark.parametrize("split", [None, 1000])
def test_a_request_that_breaks_a_rule_is_answered_once_and_nothing_after_it_is_read(
    data: bytes, status: int, split: int | None
) -> None:
    client = sent(data + GET, split=split)
    assert client.statuses == [status]
    assert b"\r\nConnection: close\r\n" in client.received
    client.house.advance(3)
    assert client.wire.lost
    client.house.assert_nothing_left()


def test_a_request_that_no_route_takes_is_refused_and_the_connection_stays() -> None:
    client = sent(
        b"GET /else HTTP/1.1\r\nHost: b\r\n\r\nDELETE /x HTTP/1.1\r\nHost: a\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n",
        route={"host": "a", "methods": ["GET"]},
    )
    assert client.statuses == [404, 405, 200]
    assert b"\r\nAllow: GET" in client.received
    client.house.assert_nothing_left()


def test_a_request_that_no_route_takes_and_has_a_body_closes_the_connection() -> None:
    client = sent(b"POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 9\r\n\r\nGET /", route={"host": "a"})
    assert client.statuses == [404]
    client.send(b" x\r\n" + GET)
    client.house.advance(3)
    assert client.statuses == [404]
    client.house.assert_nothing_left()


def test_a_line_without_an_end_is_refused() -> None:
    client = sent(b"x" * 9 * KILO, split=1000)
    assert client.statuses == [414]


def test_options_of_everything_belongs_to_no_route() -> None:
    client = sent(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n" + GET)
    assert client.statuses == [404, 200]


def test_the_authority_of_an_absolute_target_wins_over_host() -> None:
    client = sent(b"GET http://real/p?q HTTP/1.1\r\nHost: fake\r\nX: y\r\n\r\n", "reverse")
    asked = client.house.upstream().received
    assert asked.startswith(b"GET /p?q HTTP/1.1\r\nHost: real\r\nX: y\r\n")
    assert b"X-Forwarded-Host: real\r\n" in asked
    assert b"fake" not in asked


@pytest.mark.parametrize("host", [b"Host: fake\r\n", b""])
def test_a_module_too_reads_the_host_of_an_absolute_target(host: bytes) -> None:
    class Hosts(Module):
        def handle(self, request: Request) -> Any:
            return Response.json([request.host, *request.headers.getall("host")])

    version = b"1" if host else b"0"
    client = sent(b"GET http://real/p HTTP/1." + version + b"\r\nX: y\r\n" + host + b"\r\n", Hosts())
    assert json.loads(client.body) == ["real", "real"]


def test_an_upgrade_with_a_body_is_a_plain_request_whose_body_is_no_request() -> None:
    inner = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    client = sent(
        b"POST /x HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: %d\r\n\r\n" % len(inner)
        + inner
        + GET
    )
    assert client.statuses == [200, 200]
    assert client.received.count(b"/smuggled") == 1
    assert client.body == b"GET / "


@pytest.mark.parametrize("split", [None, 1])
def test_a_body_longer_than_the_limit_is_refused(split: int | None) -> None:
    for body in (
        b"Content-Length: 9\r\n\r\n123456789",
        b"Transfer-Encoding: chunked\r\n\r\n9\r\n123456789\r\n0\r\n\r\n",
    ):
        for module in (Echo(), "reverse"):
            client = sent(b"POST / HTTP/1.1\r\nHost: a\r\n" + body + GET, module, split=split, limits={"body": "8B"})
            assert client.statuses == [413]
            client.house.advance(3)
            client.house.assert_nothing_left()


@pytest.mark.parametrize("module", [Echo, None])
def test_a_malformed_body_is_refused_and_nothing_after_it_is_read(module: Any) -> None:
    client = sent(CHUNKED + b"zz\r\n" + GET, module() if module else "reverse")
    assert client.statuses == [400]
    client.house.advance(3)
    client.house.assert_nothing_left()


def test_a_client_that_waits_for_100_continue_gets_it_when_the_body_is_wanted() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    client = sent(head)
    assert client.received == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"ab")
    client.house.settle()
    assert client.statuses == [100, 200]
    client.house.assert_nothing_left()


def test_a_client_that_waits_for_100_continue_and_is_refused_never_gets_it() -> None:
    class Refuses(Module):
        async def handle(self, _request: Request) -> Any:
            return Response.text("no", 403)

    client = sent(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n", Refuses())
    assert client.statuses == [403]
    assert b"Connection: close" in client.received
    client.house.advance(3)
    client.house.assert_nothing_left()


def test_a_client_that_does_not_wait_for_100_continue_is_served_too() -> None:
    client = sent(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nab")
    assert client.statuses[-1] == 200
    assert client.body == b"POST / ab"
    client.house.assert_nothing_left()


# Time-outs.


def test_an_idle_connection_is_closed_without_a_word() -> None:
    client = sent(GET, limits={"keep_alive": "5s"})
    client.house.advance(4.9)
    assert not client.closed
    client.house.advance(0.2)
    assert client.wire.lost
    assert client.statuses == [200]


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_who_keeps_no_connections_says_so_with_each_answer(version: bytes) -> None:
    request = b"GET / HTTP/" + version + b"\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"
    client = sent(request + GET, limits={"keep_alive": "off"})
    assert client.statuses == [200]
    assert b"\r\nConnection: close\r\n" in client.received
    assert client.wire.lost


@pytest.mark.parametrize("before", [b"", GET])
def test_a_head_that_does_not_come_in_time_is_answered_with_408(before: bytes) -> None:
    client = sent(before + b"GET / HT", limits={"head_timeout": "5s"})
    client.house.advance(4.9)
    client.send(b"TP/1.1\r\n")
    client.house.advance(0.2)
    assert client.status == 408
    assert client.wire.half_closed
    client.house.advance(3)
    assert client.wire.lost


def test_a_connection_that_never_speaks_is_closed_without_a_word() -> None:
    house = House(Echo(), limits={"first_request_timeout": "5s"})
    client = house.connect()
    house.advance(5.1)
    assert client.wire.lost
    assert client.received == b""


def test_a_body_that_stops_coming_is_answered_with_408() -> None:
    for module in (Echo(), "reverse"):
        client = sent(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n12", module, limits={"body_idle": "5s"})
        client.house.advance(4)
        client.send(b"3")
        client.house.advance(4)
        assert client.status is None
        client.house.advance(1.1)
        assert client.status == 408
        client.house.advance(3)
        client.house.assert_nothing_left()


def test_a_close_that_hangs_is_aborted() -> None:
    house = House(Echo())
    client = house.connect()
    client.send(b"GET / HTTP/1.0\r\n\r\n")
    client.slow()
    house.settle()
    assert client.closed
    house.advance(59)
    assert not client.wire.aborted
    house.advance(17)
    assert client.wire.aborted


def test_connections_are_not_kept_when_the_door_is_closing() -> None:
    house = House(Slow())
    client = house.get()
    house.door.open = False
    house.advance(5)
    assert b"Connection: close" in client.received
    assert client.wire.lost


# Responses out.


def test_pieces_are_sent_in_chunks_as_they_are_made() -> None:
    client = sent(GET, Pieces())
    assert client.body == b"2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n"
    assert b"Transfer-Encoding: chunked\r\n" in client.received
    client.get()
    assert client.statuses == [200, 200]
    client.house.assert_nothing_left()


def test_pieces_for_an_old_client_end_with_the_connection() -> None:
    client = sent(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", Pieces())
    assert client.body == b"abcde"
    assert b"chunked" not in client.received
    assert client.wire.lost


def test_an_old_client_that_asks_is_kept() -> None:
    client = sent(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert b"Connection: keep-alive" in client.received
    assert not client.closed


def test_a_client_that_asks_for_the_close_gets_it() -> None:
    client = sent(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + GET)
    assert client.statuses == [200]
    assert client.wire.lost


@pytest.mark.parametrize("module", [Echo, Pieces, Slow])
def test_head_gets_no_body(module: Any) -> None:
    client = sent(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", module())
    client.house.advance(5)
    assert client.status == 200
    assert client.body == b""
    client.house.assert_nothing_left()


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("body", [b"", b"body", [b"body"]])
def test_a_status_without_a_body_gets_none(status: int, body: Any) -> None:
    class Empty(Module):
        def handle(self, _request: Request) -> Any:
            return Response(status, body=body)

    client = sent(GET + GET, Empty())
    assert client.statuses == [status, status]
    assert b"body" not in client.received
    assert status != 204 or b"Content-Length" not in client.received
    assert status != 204 or b"Transfer-Encoding" not in client.received
    client.house.assert_nothing_left()


def test_what_a_module_says_of_framing_is_not_believed() -> None:
    class Lies(Module):
        def handle(self, _request: Request) -> Any:
            return Response(
                headers=[("content-length", "99"), ("transfer-encoding", "gzip"), ("connection", "x-a"), ("x-a", "b")],
                body="text",
            )

    client = sent(GET + GET, Lies())
    assert client.statuses == [200, 200]
    assert client.received.lower().count(b"content-length: 4\r\n") == 2
    for word in (b": 99", b"gzip", b"x-a"):
        assert word not in client.received


@pytest.mark.parametrize("value", [None, "text", 5, object(), [Response()]])
def test_what_is_no_response_is_a_500_that_tells_nothing(value: Any) -> None:
    class Wrong(Module):
        def handle(self, _request: Request) -> Any:
            return value

    client = sent(GET, Wrong())
    assert client.status == 500
    assert client.body == b"500 Internal Server Error\nrequest %b-1\n" % client.house.flow.prefix.encode()
    client.house.assert_nothing_left()


@pytest.mark.parametrize("blocking", [True, False])
@pytest.mark.parametrize("error", [ValueError, SystemExit, StopIteration, KeyboardInterrupt])
def test_what_a_module_raises_is_a_500_that_tells_nothing(error: type[BaseException], blocking: bool) -> None:
    class Raises(Module):
        def handle(self, _request: Request) -> Any:
            raise error("secret")

    module = Raises()
    type(module).blocking = blocking
    client = sent(GET, module)
    assert client.status == 500
    assert b"secret" not in client.received
    client.get()
    assert client.statuses == [500, 500]
    client.house.assert_nothing_left()


@pytest.mark.parametrize("body", [5, None, object()])
def test_a_body_that_is_none_is_a_500(body: Any) -> None:
    class Wrong(Module):
        def handle(self, _request: Request) -> Any:
            return Response(body=body)

    client = sent(GET, Wrong())
    assert client.status == 500
    client.house.assert_nothing_left()


@pytest.mark.parametrize("piece", [None, 5, [1], "\ud800"])
def test_pieces_that_are_none_cut_the_response(piece: Any) -> None:
    module = Pieces()
    module.pieces = (b"ab", piece)
    client = sent(GET, module)
    assert client.statuses == [200]
    assert client.wire.aborted
    client.house.assert_nothing_left()


def test_a_generator_that_raises_midway_cuts_the_response() -> None:
    class Breaks(Module):
        def handle(self, _request: Request) -> Any:
            return Response(body=self.pieces())

        def pieces(self) -> Any:
            yield b"ab"
            raise ValueError("midway")

    client = sent(GET, Breaks())
    assert client.statuses == [200]
    assert client.wire.aborted
    client.house.assert_nothing_left()


def test_very_many_pieces_are_sent_without_a_deep_stack() -> None:
    for blocking in (True, False):
        module = Pieces()
        module.pieces = [b"x"] * 20_000
        type(module).blocking = blocking
        client = sent(GET, module)
        type(module).blocking = True
        assert client.received.count(b"1\r\nx\r\n") == 20_000
        client.house.assert_nothing_left()


def test_a_slow_client_holds_its_upstream_back() -> None:
    house = House()
    client = house.get()
    house.upstream().answer(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nab")
    client.slow()
    assert not house.upstream().wire.reading
    house.upstream().answer(b"cd")
    client.fast()
    house.settle()
    house.upstream().answer(b"ef")
    house.settle()
    assert client.body == b"abcdef"
    house.assert_nothing_left()


def test_a_whole_body_goes_to_a_file_when_it_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    body = bytes(range(256)) * 40

    class Sums(Module):
        def handle(self, request: Request) -> Any:
            assert request.content.read(2) == body[:2]
            return Response.text("same" if request.data == body else "other")

    for split in (None, 100, 3000):
        head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
        client = sent(head + body, Sums(), split=split, limits={"spool": "1KiB"})
        assert client.body == b"same"
        client.house.assert_nothing_left()


def test_a_body_that_cannot_be_kept_is_a_500(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: Any) -> Any:
        raise OSError("No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    client = sent(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n12345", limits={"spool": "2B"})
    assert client.status == 500
    assert b"space" not in client.received
    client.house.advance(3)
    client.house.assert_nothing_left()


def test_a_body_is_read_piece_by_piece_and_the_rest_at_once() -> None:
    class Reads(Module):
        async def handle(self, request: Request) -> Any:
            first = await anext(aiter(request.body))
            rest = await request.body.read()
            after = [piece async for piece in request.body]
            return Response.text(f"{first!r} {rest!r} {after}")

    client = sent(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nab", Reads())
    client.send(b"cd")
    client.house.settle()
    client.send(b"ef")
    client.house.settle()
    assert client.body == b"b'ab' b'cdef' []"
    client.house.assert_nothing_left()


def test_a_body_that_was_read_can_be_forwarded_no_more_but_hangs_nothing() -> None:
    class ReadsThenForwards(Module):
        async def handle(self, request: Request) -> Any:
            await request.read()
            return await request.forward()

    house = House(
        ReadsThenForwards(),
        groups={"g": {"servers": ["http://127.0.0.1:1"], "first_byte_timeout": "2s"}},
        route={"upstream": "g"},
    )
    client = house.connect()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd")
    house.settle()
    house.advance(3)
    assert client.status in (200, 500, 502, 504)
    house.assert_nothing_left()


def test_a_reply_that_a_module_changed_is_relayed_with_the_changes() -> None:
    class Changes(Module):
        async def handle(self, request: Request) -> Any:
            reply = await request.forward()
            reply.headers["x"] = "y"
            del reply.headers["Server"]
            reply.headers["content-length"] = "77"
            return reply

    house = House(Changes())
    client = house.get()
    house.upstream().answer(b"HTTP/1.1 200 OK\r\nServer: s\r\nContent-Length: 4\r\n\r\nab")
    house.settle()
    house.upstream().answer(b"cd")
    house.settle()
    assert client.body == b"abcd"
    assert b"\r\nx: y\r\n" in client.received
    assert b"Server" not in client.received
    assert b": 77" not in client.received
    assert b"Content-Length: 4\r\n" in client.received
    house.assert_nothing_left()


def test_a_reply_is_read_by_a_module_in_pieces_or_whole() -> None:
    class Reads(Module):
        async def handle(self, request: Request) -> Any:
            reply = await request.forward()
            pieces = [await anext(aiter(reply.body))]
            pieces.append(await reply.read())
            return Response.json([piece.decode() for piece in pieces])

    for split in (True, False):
        house = House(Reads())
        client = house.get()
        house.upstream().answer(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab" + (b"" if split else b"cd"))
        house.settle()
        if split:
            house.upstream().answer(b"cd")
        house.settle()
        assert client.body == (b'["ab", "cd"]' if split else b'["abcd", ""]')
        house.assert_nothing_left()


def test_forwarding_other_headers_and_another_target() -> None:
    class Changes(Module):
        async def handle(self, request: Request) -> Any:
            return await request.forward(target="/other", headers={"host": "b", "connection": "close", "x": "y"})

    house = House(Changes())
    house.connect().send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab")
    house.settle()
    asked = house.upstream().received
    assert asked.startswith(b"POST /other HTTP/1.1\r\n")
    assert b"host: b\r\n" in asked
    assert b"connection" not in asked.lower().replace(b"x-", b"")
    assert b"Content-Length: 2\r\n" in asked
    assert asked.endswith(b"\r\n\r\nab")


BODIES = [b"\r\n", b"Content-Length: 3\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]


@pytest.mark.parametrize("told", ["0", "3", "99", "x"])
@pytest.mark.parametrize("body", BODIES)
def test_a_length_among_the_headers_to_forward_is_the_bodys_or_left_out(told: str, body: bytes) -> None:
    class Lies(Module):
        async def handle(self, request: Request) -> Any:
            return await request.forward(headers=[("Content-Length", told), ("Transfer-Encoding", "x"), ("A", "b")])

    house = House(Lies())
    house.connect().send(b"GET / HTTP/1.1\r\nHost: a\r\n" + body)
    house.settle()
    head, _, sent = house.upstream().received.lower().partition(b"\r\n\r\n")
    lengths = [line for line in head.split(b"\r\n") if line.startswith(b"content-length")]
    if b"chunked" in body:
        assert lengths == []
        assert b"\r\ntransfer-encoding: chunked" in head
    else:
        assert lengths in ([], [b"content-length: %d" % len(sent)])
        assert lengths or not sent
    assert b"\r\na: b" in head
    house.shut_down()
    house.settle()


def test_everything_tells_what_it_is() -> None:
    house = House(Slow())
    client = house.get()
    assert "with <Exchange" in repr(client.wire.protocol)
    assert "sleep 5 s at test_client_side.py:" in repr(house.exchange())
    assert repr(house.door) == "<Door 1 connections>"
    assert house.door.statistics() == {"connections": 1}


def test_a_client_that_did_not_read_its_last_answer_holds_back_the_next_one() -> None:
    house = House()
    client = house.get("/")
    house.upstream().answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    house.settle()
    client.get("/long")
    client.slow()  # its transport says so once, before there is anything to hold back
    upstream = house.upstream()
    upstream.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun")
    house.settle()
    upstream.answer(b"more")
    assert upstream.wire is not None
    assert not upstream.wire.reading
    client.fast()
    house.settle()
    assert upstream.wire.reading
