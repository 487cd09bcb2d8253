"""Bytes on their way: at once when there are some, held back when nobody takes them."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from tests.wire.conftest import Peers
from tests.wire.peers import Call, Client, Upstream, request, until
from tests.wire.proxies import Proxy

PIECE = bytes(65536)
BOUND = 100 * 1024 * 1024
"""More than all buffers along the way can hold."""
GROWTH = 6 * 1024
"""KiB that the proxy may grow meanwhile."""


def configuration(peers: Peers) -> str:
    return f"""
[limits]
body = "1GiB"
[upstream.one]
servers = ["{peers.one.url}"]
[[route]]
path = "/"
module = "reverse"
upstream = "one"
[[route]]
path = "/module"
module = "tests.wire.modules_under_test:Forwarder"
upstream = "one"
[[route]]
path = "/endless"
module = "tests.wire.modules_under_test:Endless"
[[route]]
path = "/made"
module = "tests.wire.modules_under_test:MadeSoFar"
[[route]]
path = "/notes"
module = "tests.wire.modules_under_test:Notes"
"""


def stands_still(sock: socket.socket) -> int:
    """Write to `sock` until nothing goes in for a while; the bytes that went."""
    sock.settimeout(0.4)
    count = 0
    with contextlib.suppress(TimeoutError):
        while count < BOUND:
            count += sock.send(PIECE)
    return count


@pytest.mark.parametrize("path", ["/", "/module"])
@pytest.mark.parametrize("framing", ["chunked", "until close", "length"])
def test_each_event_of_a_reply_arrives_before_the_next_is_sent(
    proxy: Proxy, upstream: Upstream, path: str, framing: str
) -> None:
    proceed = threading.Semaphore(0)

    def events(call: Call) -> None:
        fields = {"chunked": "Transfer-Encoding: chunked\r\n", "length": "Content-Length: 30\r\n", "until close": ""}
        call.send(f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{fields[framing]}\r\n".encode())
        for number in range(3):
            assert proceed.acquire(timeout=10)
            event = b"data: %d\n\n" % number + b"\n"
            call.send(b"%x\r\n%b\r\n" % (len(event), event) if framing == "chunked" else event)
        call.send(b"0\r\n\r\n" if framing == "chunked" else b"")
        call.close()

    upstream.script = events
    with proxy.client() as client:
        client.send(request("GET", path))
        assert client.head().status == 200, "the head arrives before there is a body"
        for number in range(3):
            proceed.release()
            assert b"data: %d" % number in client.until(b"\n\n\n")


@pytest.mark.parametrize("path", ["/", "/module"])
@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "length"])
def test_each_piece_of_a_request_arrives_before_the_next_is_sent(
    proxy: Proxy, upstream: Upstream, path: str, chunked: bool
) -> None:
    with proxy.client() as client:
        client.send(request("POST", path, "Transfer-Encoding: chunked" if chunked else "Content-Length: 15"))
        call = upstream.call()
        for number in range(3):
            piece = b"piece" if not chunked else b"5\r\npiece\r\n"
            client.send(piece)
            upstream_has = lambda number=number: call.connection.received.count(b"piece") > number  # noqa: E731
            until(upstream_has, f"piece {number} at the upstream")
        client.send(b"0\r\n\r\n" if chunked else b"")
        assert client.reply().status == 200
    assert call.body == b"piecepiecepiece"


def test_a_reply_may_begin_before_the_request_has_ended(proxy: Proxy, upstream: Upstream) -> None:
    def echo(call: Call) -> None:
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
        for _ in range(3):
            call.send(call.connection.exactly(2))
        call._body = b""

    upstream.script = echo
    with proxy.client() as client:
        client.send(request("POST", "/", "Content-Length: 6"))
        assert client.head().status == 200
        for piece in (b"ab", b"cd", b"ef"):
            client.send(piece)
            assert client.exactly(2) == piece


@pytest.mark.parametrize("path", ["/", "/module"])
def test_an_endless_reply_that_nobody_reads_stands_still_and_costs_no_memory(
    proxy: Proxy, upstream: Upstream, path: str
) -> None:
    went: list[int] = []

    def endless(call: Call) -> None:
        call.send(b"HTTP/1.1 200 OK\r\n\r\n")
        went.append(stands_still(call.connection.sock))
        call.connection.sock.settimeout(20)
        call.watch()

    upstream.script = endless
    before = proxy.proc("VmRSS")
    with proxy.client(receive_buffer=65536) as client:
        client.send(request("GET", path))
        until(lambda: went, "the upstream stands still")
        assert went[0] < BOUND
        assert proxy.proc("VmRSS") - before < GROWTH
    upstream.wait(upstream.call().connection.gone.is_set, "the upstream is let go")


def test_a_slow_reader_gets_everything_in_the_end(proxy: Proxy, upstream: Upstream) -> None:
    total = 24 * 1024 * 1024

    def much(call: Call) -> None:
        call.send(f"HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n\r\n".encode())
        for _ in range(total // len(PIECE)):
            call.send(PIECE)

    upstream.script = much
    with proxy.client(receive_buffer=65536) as client:
        client.send(request("GET", "/"))
        client.head()
        left = total - len(client.buffer)
        client.buffer = b""
        while left > 0:
            data = client.sock.recv(16384 if left > total // 2 else 1 << 20)
            assert data
            left -= len(data)
    assert left == 0


@pytest.mark.parametrize("path", ["/", "/module"])
def test_an_upload_that_its_upstream_does_not_read_stands_still_and_costs_no_memory(
    proxy: Proxy, upstream: Upstream, path: str
) -> None:
    done = threading.Event()

    def ignore(call: Call) -> None:
        done.wait(20)
        call.close()
        call._body = b""

    upstream.script = ignore
    before = proxy.proc("VmRSS")
    with proxy.client() as client:
        client.send(request("POST", path, "Content-Length: 1000000000"))
        upstream.call()
        assert stands_still(client.sock) < BOUND
        assert proxy.proc("VmRSS") - before < GROWTH
    done.set()


def test_an_upload_goes_on_when_its_upstream_reads_again(proxy: Proxy, upstream: Upstream) -> None:
    start = threading.Event()
    size = 0

    def late(call: Call) -> None:
        nonlocal size
        start.wait(20)
        size = len(call.body)
        call.answer(b"all of it")

    upstream.script = late
    total = 24 * 1024 * 1024
    with proxy.client() as client:
        client.send(request("POST", "/", f"Content-Length: {total}"))
        sent = stands_still(client.sock)
        assert sent < total
        start.set()
        client.sock.settimeout(10)
        client.send(bytes(total - sent))
        assert client.reply().body == b"all of it"
    assert size == total


def test_a_body_that_nobody_takes_is_not_made(proxy: Proxy) -> None:
    def made() -> int:
        with proxy.client() as other:
            return int(other.get("/made").text)

    with proxy.client(receive_buffer=65536) as client:
        client.send(request("GET", "/endless?key=endless"))
        client.head()
        seen = [-1]

        def stopped() -> bool:
            seen.append(made())
            return len(seen) > 3 and seen[-1] == seen[-20:][0] and len(seen) > 25

        until(stopped, "no more is made")
        assert seen[-1] * len(PIECE) < BOUND
        client.buffer = b""
        for _ in range(200):
            client.sock.recv(1 << 20)
        until(lambda: made() > seen[-1], "more is made when some is taken")
    proxy.noted("endless", "finally")


def test_a_pipelining_client_that_sends_without_end_stands_still(proxy: Proxy, upstream: Upstream) -> None:
    release = threading.Event()

    def held(call: Call) -> None:
        release.wait(20)
        call.answer(b"")
        call.close()

    upstream.script = held
    many = request("GET", "/again", f"X: {'x' * 1000}") * 64
    before = proxy.proc("VmRSS")
    with Client(proxy.port) as client:
        client.send(request("GET", "/"))
        upstream.call()
        client.sock.settimeout(0.4)
        count = 0
        with contextlib.suppress(TimeoutError):
            while count < BOUND:
                count += client.sock.send(many)
        assert count < BOUND
        assert proxy.proc("VmRSS") - before < GROWTH
        assert len(upstream.calls) == 1
    release.set()
    proxy.idle()
