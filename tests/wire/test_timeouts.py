"""Every time-out is a 504 that names itself, or, once the reply has begun, a cut."""

from __future__ import annotations

import time

import pytest

from tests.wire.conftest import Peers
from tests.wire.peers import Call, Upstream, hello, request
from tests.wire.proxies import Proxy


def configuration(peers: Peers) -> str:
    def routes(name: str, *limits: str) -> str:
        lines = "\n".join(limits)
        return f"""
[upstream.{name}]
servers = ["{peers.one.url}"]
{lines}
[[route]]
path = "/{name}"
module = "reverse"
upstream = "{name}"
[[route]]
path = "/module-{name}"
module = "tests.wire.modules_under_test:ReplacedBody"
upstream = "{name}"
"""

    return (
        routes("first-byte", 'first_byte_timeout = "200ms"')
        + routes("idle", 'idle_timeout = "200ms"')
        + routes("total", 'total_timeout = "200ms"')
        + routes("line", 'connect_timeout = "200ms"', "max_connections = 1")
        + f"""
[[route]]
path = "/route"
module = "reverse"
upstream = "{peers.one.url}"
timeout = "200ms"
[[route]]
path = "/module-route"
module = "tests.wire.modules_under_test:ForwardHolder"
upstream = "{peers.one.url}"
timeout = "200ms"
[[route]]
path = "/sleep-route"
module = "tests.wire.modules_under_test:Sleeper"
timeout = "200ms"
[[route]]
path = "/brief"
module = "tests.wire.modules_under_test:ForwardBriefly"
upstream = "{peers.one.url}"
[upstream.full]
servers = ["{peers.full}"]
connect_timeout = "200ms"
[[route]]
path = "/full"
module = "tests.wire.modules_under_test:Forwarder"
upstream = "full"
[[route]]
path = "/notes"
module = "tests.wire.modules_under_test:Notes"
"""
    )


def silent(call: Call) -> None:
    call.watch()


def silent_after_the_head(call: Call) -> None:
    call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    call.watch()


TOO_LATE = {
    "/first-byte": ("first-byte", "did not begin its reply within 0.2 s"),
    "/module-first-byte": ("first-byte", "did not begin its reply within 0.2 s"),
    "/total": ("total", "took longer than 0.2 s"),
    "/module-total": ("total", "took longer than 0.2 s"),
    "/brief": ("total", "took longer than 0.1 s"),
    "/route": ("", "not answered within 0.2 s"),
    "/module-route": ("", "not answered within 0.2 s"),
    "/sleep-route?for=30": ("", "not answered within 0.2 s"),
}


@pytest.mark.parametrize("path", TOO_LATE)
def test_a_reply_that_does_not_begin_is_a_504_that_names_the_time_out(
    proxy: Proxy, upstream: Upstream, path: str
) -> None:
    upstream.script = silent
    which, words = TOO_LATE[path]
    began = time.monotonic()
    with proxy.client() as client:
        reply = client.get(path)
        assert reply.status == 504
        assert words in reply.text
        assert not which or f"timeout:{which}" in reply.text
        assert 0.09 < time.monotonic() - began < 2
        upstream.script = hello
        assert client.get("/idle").status == 200, "its connection goes on"
    for call in upstream.calls[:-1]:
        assert call.gone(1)


@pytest.mark.parametrize("path", ["/idle", "/total", "/route", "/module-route"])
def test_a_reply_that_falls_silent_is_cut(proxy: Proxy, upstream: Upstream, path: str) -> None:
    upstream.script = silent_after_the_head
    with proxy.client() as client:
        client.send(request("GET", path))
        assert client.head().status == 200
        assert client.rest() in (b"half", b"")
    assert upstream.call().gone(1)


@pytest.mark.parametrize("which", ["idle", "total"])
def test_a_module_that_reads_a_reply_that_falls_silent_gives_a_504(
    proxy: Proxy, upstream: Upstream, which: str
) -> None:
    upstream.script = silent_after_the_head
    with proxy.client() as client:
        reply = client.get(f"/module-{which}")
        assert reply.status == 504
        assert f"timeout:{which}" in reply.text


def test_a_reply_that_comes_slowly_but_steadily_is_not_idle(proxy: Proxy, upstream: Upstream) -> None:
    def slowly(call: Call) -> None:
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        for _ in range(5):
            call.send(b"x")
            call.connection.gone.wait(0.1)

    upstream.script = slowly
    with proxy.client() as client:
        assert client.get("/idle").body == b"xxxxx"


def test_a_server_that_does_not_accept_is_a_504_that_names_connecting(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        reply = client.get("/full?key=connect")
        assert reply.status == 504
        assert "timeout:connect" in reply.text
    proxy.noted("connect", "timeout:connect")


def test_a_line_that_does_not_move_is_a_504_that_names_connecting(proxy: Proxy, upstream: Upstream) -> None:
    upstream.script = silent
    with proxy.client() as first, proxy.client() as second:
        first.send(request("GET", "/line"))
        upstream.call()
        reply = second.get("/line")
        assert reply.status == 504
        assert "timeout:connect" in reply.text
    assert len(upstream.calls) == 1


def test_the_module_of_a_route_that_is_too_slow_hears_of_it(proxy: Proxy, upstream: Upstream) -> None:
    upstream.script = silent
    with proxy.client() as client:
        assert client.get("/module-route?key=route").status == 504
    proxy.noted("route", "finally on asyncproxy-worker")


def test_a_request_whose_body_is_slow_is_not_late_for_its_first_byte(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        client.send(request("POST", "/first-byte", "Content-Length: 5"))
        call = upstream.call()
        for _ in range(5):
            client.send(b"x")
            call.connection.gone.wait(0.1)
        assert client.reply().status == 200
