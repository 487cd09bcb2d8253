"""A client that hangs up, at every stage: the module hears of it, the upstream is let go, and nothing stays behind."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest

from tests.wire.conftest import Peers
from tests.wire.peers import Call, Gate, Upstream, request, until
from tests.wire.proxies import Proxy, routes

SERVER = "workers = 2"


def configuration(peers: Peers) -> str:
    names = (
        "ForwardHolder", "Sleeper", "ParkGone", "ParkCloses", "Blocker", "AsyncBlocker", "Reader", "FetchHolder",
        "FutureHolder", "Whole", "ReadAll", "ReadPieces", "Endless", "Gatherer",
    )  # fmt: skip
    return f"""
[upstream.one]
servers = ["{peers.one.url}"]
[[route]]
path = "/reverse"
module = "reverse"
upstream = "one"
{routes(*names)}
"""


def silent(call: Call) -> None:
    call.watch()


leaving = pytest.mark.parametrize("leave", ["close", "reset"])


@leaving
def test_a_client_that_leaves_while_queued_never_bothers_the_module(proxy: Proxy, gate: Gate, leave: str) -> None:
    with contextlib.ExitStack() as stack:
        busy = [stack.enter_context(proxy.client()) for _ in range(2)]
        for client in busy:
            client.send(request("GET", f"/Blocker?gate={gate.port}"))
        for _ in busy:
            gate.arrived()
        leaver = proxy.client()
        leaver.send(request("GET", f"/Blocker?key=queued-{leave}&gate={gate.port}"))
        proxy.staged(WORKING=2, QUEUED=1)
        getattr(leaver, leave)()
        proxy.staged(WORKING=2)
        gate.open()
        assert [client.reply().status for client in busy] == [200, 200]
    proxy.idle()
    assert proxy.notes(f"queued-{leave}") == []
    assert gate.nobody()


@leaving
def test_a_client_that_leaves_while_its_module_works_is_noticed_after_the_turn(
    proxy: Proxy, gate: Gate, leave: str
) -> None:
    key = f"working-{leave}"
    leaver = proxy.client()
    leaver.send(request("GET", f"/Blocker?key={key}&gate={gate.port}"))
    gate.arrived()
    getattr(leaver, leave)()
    gate.open()
    proxy.noted(key, "began", "ended")
    proxy.idle()


def test_a_client_that_leaves_while_its_module_works_is_raised_at_the_next_await(proxy: Proxy, gate: Gate) -> None:
    leaver = proxy.client()
    leaver.send(request("GET", f"/AsyncBlocker?key=next-await&gate={gate.port}"))
    gate.arrived()
    leaver.close()
    with proxy.client() as other:  # a round trip later, the proxy has seen the other one leave
        assert other.get("/Sleeper?for=0.05").status == 200
    gate.open()
    proxy.noted("next-await", "began", "through", "finally")
    proxy.idle()


@leaving
def test_a_client_that_leaves_while_parked_on_a_forward_is_raised_there(
    proxy: Proxy, upstream: Upstream, leave: str
) -> None:
    upstream.script = silent
    key = f"forward-{leave}"
    leaver = proxy.client()
    leaver.send(request("GET", f"/ForwardHolder?key={key}"))
    call = upstream.call()
    proxy.staged(PARKED=1)
    left = time.monotonic()
    getattr(leaver, leave)()
    assert call.gone(1), "the upstream's connection is closed within a second"
    assert time.monotonic() - left < 1
    proxy.noted(key, "ClientGone", "finally on asyncproxy-worker")
    proxy.idle()


@leaving
def test_a_client_that_leaves_while_reverse_waits_frees_the_upstream(
    proxy: Proxy, upstream: Upstream, leave: str
) -> None:
    upstream.script = silent
    leaver = proxy.client()
    leaver.send(request("GET", "/reverse"))
    call = upstream.call()
    getattr(leaver, leave)()
    assert call.gone(1)
    proxy.idle()


def test_a_client_that_ends_only_its_own_side_while_it_waits_has_left(proxy: Proxy, upstream: Upstream) -> None:
    upstream.script = silent
    with proxy.client() as leaver:
        leaver.send(request("GET", "/reverse"))
        call = upstream.call()
        leaver.sock.shutdown(socket.SHUT_WR)
        assert call.gone(1)
        assert leaver.ended()


def test_a_client_that_pipelined_before_it_left_is_noticed_all_the_same(proxy: Proxy, upstream: Upstream) -> None:
    upstream.script = silent
    leaver = proxy.client()
    leaver.send(request("GET", "/reverse/1") + request("GET", "/reverse/2"))
    call = upstream.call()
    leaver.close()
    assert call.gone(1)
    proxy.idle()
    assert upstream.targets() == ["GET /reverse/1"]


@pytest.mark.parametrize(
    ("path", "noted"),
    [
        ("/ParkGone?timeout=30", ["gone: gone ClientGone", "asyncproxy-worker"]),
        ("/ParkCloses?timeout=30", ["closed"]),
        ("/FutureHolder?", ["finally", "cancelled: True"]),
    ],
)
def test_a_client_that_leaves_while_parked_lets_the_module_clean_up(proxy: Proxy, path: str, noted: list[str]) -> None:
    key = path.partition("?")[0]
    leaver = proxy.client()
    leaver.send(request("GET", f"{path}&key={key}"))
    proxy.staged(PARKED=1)
    leaver.close()
    proxy.noted(key, *noted)
    proxy.idle()


def test_clients_that_leave_while_parked_on_sleep_leave_nothing(proxy: Proxy) -> None:
    leavers = [proxy.client() for _ in range(50)]
    for leaver in leavers:
        leaver.send(request("GET", "/Sleeper?for=60"))
    proxy.staged(PARKED=50)
    for leaver in leavers:
        leaver.close()
    proxy.idle()


def test_a_client_that_leaves_while_parked_on_readable_closes_what_was_watched(proxy: Proxy, peers: Peers) -> None:
    descriptors = len(list_descriptors(proxy))
    leaver = proxy.client()
    leaver.send(request("GET", f"/Reader?key=readable&port={peers.raw.getsockname()[1]}"))
    with peers.raw.accept()[0] as remote:
        proxy.staged(PARKED=1)
        leaver.close()
        remote.settimeout(1)
        assert remote.recv(1) == b""
    proxy.noted("readable", "finally")
    proxy.idle()
    until(lambda: len(list_descriptors(proxy)) <= descriptors, "no descriptor is left")


def list_descriptors(proxy: Proxy) -> list[str]:
    import os

    return os.listdir(f"/proc/{proxy.process.pid}/fd")


def test_a_client_that_leaves_while_parked_on_a_fetch_ends_the_fetch(proxy: Proxy, peers: Peers) -> None:
    peers.two.script = silent
    leaver = proxy.client()
    leaver.send(request("GET", f"/FetchHolder?key=fetch&url={peers.two.url}"))
    call = peers.two.call()
    leaver.close()
    assert call.gone(1)
    proxy.noted("fetch", "finally")
    proxy.idle()


@pytest.mark.parametrize("path", ["/reverse", "/Whole", "/ReadAll", "/ReadPieces", "/ForwardHolder"])
@leaving
def test_a_client_that_leaves_in_its_upload_leaves_nothing(
    proxy: Proxy, upstream: Upstream, path: str, leave: str
) -> None:
    leaver = proxy.client()
    leaver.send(request("POST", f"{path}?key=upload", "Content-Length: 1000000") + b"x" * 1000)
    if path in ("/reverse", "/ForwardHolder"):
        upstream.call()
    else:
        until(lambda: sum(proxy.stages().values()) == 1, "it has begun")
    getattr(leaver, leave)()
    proxy.idle()
    for call in upstream.calls:
        assert call.gone(1)


@pytest.mark.parametrize("path", ["/reverse", "/ForwardHolder"])
@leaving
def test_a_client_that_leaves_while_its_reply_is_relayed_frees_the_upstream(
    proxy: Proxy, upstream: Upstream, path: str, leave: str
) -> None:
    def endless(call: Call) -> None:
        call.send(b"HTTP/1.1 200 OK\r\n\r\nbegins")
        with contextlib.suppress(OSError):
            while True:
                call.send(bytes(65536))
        call.connection.gone.set()
        call.close()

    upstream.script = endless
    leaver = proxy.client()
    leaver.send(request("GET", path))
    leaver.until(b"begins")
    proxy.staged(RESPONDING=1)
    getattr(leaver, leave)()
    assert upstream.call().gone(1)
    proxy.idle()


def test_a_client_that_leaves_while_a_silent_reply_is_relayed_frees_the_upstream(
    proxy: Proxy, upstream: Upstream
) -> None:
    def events(call: Call) -> None:
        call.send(b"HTTP/1.1 200 OK\r\n\r\nbegins")
        call.watch()

    upstream.script = events
    leaver = proxy.client()
    leaver.send(request("GET", "/reverse"))
    leaver.until(b"begins")
    leaver.close()
    assert upstream.call().gone(1)
    proxy.idle()


def test_a_client_that_leaves_while_its_body_is_made_ends_the_generator(proxy: Proxy) -> None:
    leaver = proxy.client(receive_buffer=65536)
    leaver.send(request("GET", "/Endless?key=made"))
    leaver.head()
    leaver.exactly(1000)  # a generator that has not begun has no `finally:` to run
    leaver.close()
    proxy.noted("made", "finally")
    proxy.idle()


def test_a_storm_of_leavers_leaves_nothing(proxy: Proxy, upstream: Upstream) -> None:
    def half(call: Call) -> None:
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        call.watch()

    upstream.script = half
    paths = ("/reverse", "/ForwardHolder?key=storm", "/Sleeper?for=30", "/Gatherer", "/FutureHolder?key=storm")

    def storm(number: int) -> None:
        for count in range(20):
            client = proxy.client()
            client.send(request("GET", paths[(number + count) % len(paths)]))
            client.close() if count % 2 else client.reset()

    threads = [threading.Thread(target=storm, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    proxy.idle()
    with proxy.client() as client:
        assert client.get("/Sleeper?for=0").text == "slept"
    upstream.wait(lambda: not any(one.serving for one in upstream.connections), "every upstream is let go")
