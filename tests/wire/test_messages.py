"""What a proxy has to do to messages that it passes on, on real sockets: trailers, heads without bodies, ranges."""

from __future__ import annotations

import pytest

from tests.wire.conftest import Peers
from tests.wire.peers import Call, Upstream, request
from tests.wire.proxies import Proxy


def configuration(peers: Peers) -> str:
    return f"""
[upstream.one]
servers = ["{peers.one.url}"]
[[route]]
path = "/"
module = "reverse"
upstream = "one"
[[route]]
path = "/spooled/"
module = "tests.wire.modules_under_test:Collects"
upstream = "one"
"""


def lines_after_chunks(call: Call) -> list[bytes]:
    """What comes behind the chunks of the request's body."""
    wire, lines = call.connection, []
    while wire.until(b"\r\n") != b"0\r\n":
        pass
    while (line := wire.until(b"\r\n")) != b"\r\n":
        lines.append(line)
    return lines


@pytest.mark.parametrize("path", ["/", "/spooled/"])
def test_trailers_pass_both_ways(proxy: Proxy, upstream: Upstream, path: str) -> None:
    seen: list[bytes] = []

    def script(call: Call) -> None:
        if call.method == "GET":
            call.answer()
            return
        seen.extend(lines_after_chunks(call))
        call._body = b""
        call.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Back\r\n\r\n")
        call.send(b"2\r\nok\r\n0\r\nX-Back: 2\r\n\r\n")

    upstream.script = script
    with proxy.client() as client:
        client.send(request("POST", path, "Transfer-Encoding: chunked", "TE: trailers", "Connection: TE"))
        client.send(b"4\r\nbody\r\n0\r\nX-Sum: 1\r\n\r\n")
        head = client.head()
        assert (head.status, head.get("trailer")) == (200, "X-Back")
        assert client.until(b"\r\n\r\n").endswith(b"0\r\nX-Back: 2\r\n\r\n")
        assert client.get("/next").status == 200
    assert seen == [b"X-Sum: 1\r\n"]
    assert (upstream.call().get("te"), upstream.call().get("connection")) == ("trailers", "TE")
