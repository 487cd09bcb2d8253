"""Requests that break a rule: one answer, a closed connection, and nothing of the rest is taken for a request."""

from __future__ import annotations

import pytest

from tests.wire.conftest import Peers
from tests.wire.peers import Call, Upstream, request, until
from tests.wire.proxies import Proxy

BODY_LIMIT = 100_000


def configuration(peers: Peers) -> str:
    return f"""
[limits]
request_line = "1KiB"
head = "4KiB"
body = "{BODY_LIMIT}B"
spool = "1KiB"
first_request_timeout = "300ms"
head_timeout = "300ms"
body_idle = "300ms"
keep_alive = "300ms"
[upstream.one]
servers = ["{peers.one.url}"]
[[route]]
path = "/"
module = "reverse"
upstream = "one"
methods = ["GET", "POST", "PUT", "OPTIONS"]
[[route]]
path = "/whole"
module = "tests.wire.modules_under_test:Whole"
"""


def nothing_was_forwarded(proxy: Proxy, upstream: Upstream, *but: str) -> None:
    """Nothing has reached the upstream, nor is anything on its way: the next request is the first one there."""
    with proxy.client() as client:
        assert client.get("/after").status == 200
    assert upstream.targets() == [*but, "GET /after"]


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: proxy.test\r\n\r\n"
H = "Host: proxy.test\r\n"

REFUSED: dict[str, tuple[str, int]] = {
    "length and chunks": (
        f"POST / HTTP/1.1\r\n{H}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "chunks and length": (
        f"POST / HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        400,
    ),
    "two lengths": (f"POST / HTTP/1.1\r\n{H}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    "the same length twice": (f"POST / HTTP/1.1\r\n{H}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
    "a list of lengths": (f"POST / HTTP/1.1\r\n{H}Content-Length: 3, 3\r\n\r\nabc", 400),
    "a signed length": (f"POST / HTTP/1.1\r\n{H}Content-Length: +3\r\n\r\nabc", 400),
    "a negative length": (f"POST / HTTP/1.1\r\n{H}Content-Length: -3\r\n\r\nabc", 400),
    "a hexadecimal length": (f"POST / HTTP/1.1\r\n{H}Content-Length: 0x3\r\n\r\nabc", 400),
    "an empty length": (f"POST / HTTP/1.1\r\n{H}Content-Length: \r\n\r\nabc", 400),
    "a length beyond counting": (f"POST / HTTP/1.1\r\n{H}Content-Length: {'9' * 30}\r\n\r\nabc", 400),
    "gzip, chunked": (f"POST / HTTP/1.1\r\n{H}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
    "chunked, gzip": (f"POST / HTTP/1.1\r\n{H}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400),
    "chunked twice": (f"POST / HTTP/1.1\r\n{H}Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
    "two codings": (
        f"POST / HTTP/1.1\r\n{H}Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "identity": (f"POST / HTTP/1.1\r\n{H}Transfer-Encoding: identity\r\n\r\n", 400),
    "an unknown coding": (f"POST / HTTP/1.1\r\n{H}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    "a coding with a vertical tab": (f"POST / HTTP/1.1\r\n{H}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
    "an empty coding": (f"POST / HTTP/1.1\r\n{H}Transfer-Encoding: \r\n\r\n", 400),
    "chunks on HTTP/1.0": (f"POST / HTTP/1.0\r\n{H}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "chunks on a GET on HTTP/1.0": (f"GET / HTTP/1.0\r\n{H}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "no Host": ("GET / HTTP/1.1\r\nAccept: */*\r\n\r\n", 400),
    "two Hosts": (f"GET / HTTP/1.1\r\n{H}Host: other.test\r\n\r\n", 400),
    "two Hosts on HTTP/1.0": (f"GET / HTTP/1.0\r\n{H}Host: other.test\r\n\r\n", 400),
    "the same Host twice": (f"GET / HTTP/1.1\r\n{H}{H}\r\n", 400),
    "a Host with a space": ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    "a Host with a path": ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    "a Host with a user": ("GET / HTTP/1.1\r\nHost: me@a\r\n\r\n", 400),
    "HTTP/2.0": (f"GET / HTTP/2.0\r\n{H}\r\n", 505),
    "HTTP/0.9": (f"GET / HTTP/0.9\r\n{H}\r\n", 505),
    "HTTP/1.2": (f"GET / HTTP/1.2\r\n{H}\r\n", 505),
    "HTTP/1.1 with more digits": (f"GET / HTTP/1.10\r\n{H}\r\n", 505),
    "HTTP/2's preface": ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "no version": (f"GET /\r\n{H}\r\n", 400),
    "RTSP": (f"GET / RTSP/1.0\r\n{H}\r\n", 400),
    "http in lower case": (f"GET / http/1.1\r\n{H}\r\n", 400),
    "an unknown method": (f"BREW / HTTP/1.1\r\n{H}\r\n", 501),
    "a method in lower case": (f"get / HTTP/1.1\r\n{H}\r\n", 501),
    "a method that is no token": (f"GE(T / HTTP/1.1\r\n{H}\r\n", 400),
    "CONNECT": ("CONNECT proxy.test:443 HTTP/1.1\r\nHost: proxy.test:443\r\n\r\n", 501),
    "two spaces before the target": (f"GET  / HTTP/1.1\r\n{H}\r\n", 400),
    "two spaces after the target": (f"GET /  HTTP/1.1\r\n{H}\r\n", 400),
    "a tab": (f"GET\t/ HTTP/1.1\r\n{H}\r\n", 400),
    "a space at the end": (f"GET / HTTP/1.1 \r\n{H}\r\n", 400),
    "a space at the beginning": (f" GET / HTTP/1.1\r\n{H}\r\n", 400),
    "a space in the target": (f"GET /a b HTTP/1.1\r\n{H}\r\n", 400),
    "a fragment": (f"GET /a#b HTTP/1.1\r\n{H}\r\n", 400),
    "a NUL in the target": (f"GET /a\0b HTTP/1.1\r\n{H}\r\n", 400),
    "a byte beyond ASCII in the target": (f"GET /\xe9 HTTP/1.1\r\n{H}\r\n", 400),
    "a target that is no path": (f"GET foo HTTP/1.1\r\n{H}\r\n", 400),
    "a target of another scheme": (f"GET ftp://proxy.test/ HTTP/1.1\r\n{H}\r\n", 400),
    "a target with a user": (f"GET http://me@proxy.test/ HTTP/1.1\r\n{H}\r\n", 400),
    "a star": (f"GET * HTTP/1.1\r\n{H}\r\n", 400),
    "a path that climbs out": (f"GET /a/../../b HTTP/1.1\r\n{H}\r\n", 400),
    "a bad escape": (f"GET /%zz HTTP/1.1\r\n{H}\r\n", 400),
    "a NUL in a field": (f"GET / HTTP/1.1\r\n{H}A: b\0c\r\n\r\n", 400),
    "a control character in a field": (f"GET / HTTP/1.1\r\n{H}A: b\x01c\r\n\r\n", 400),
    "a bare CR in a field": (f"GET / HTTP/1.1\r\n{H}A: b\rX: c\r\n\r\n", 400),
    "a bare LF in a field": (f"GET / HTTP/1.1\r\n{H}A: b\nX: c\r\n\r\n", 400),
    "bare LFs": ("GET / HTTP/1.1\nHost: proxy.test\n\n\r\n\r\n", 400),
    "a folded field": (f"GET / HTTP/1.1\r\n{H}A: b\r\n c\r\n\r\n", 400),
    "a folded first field": ("GET / HTTP/1.1\r\n Host: proxy.test\r\n\r\n", 400),
    "a space before the colon": (f"GET / HTTP/1.1\r\n{H}A : b\r\n\r\n", 400),
    "a space before a length's colon": (f"POST / HTTP/1.1\r\n{H}Content-Length : 3\r\n\r\nabc", 400),
    "a field without a colon": (f"GET / HTTP/1.1\r\n{H}nothing\r\n\r\n", 400),
    "a field without a name": (f"GET / HTTP/1.1\r\n{H}: b\r\n\r\n", 400),
    "a name that is no token": (f"GET / HTTP/1.1\r\n{H}A(b): c\r\n\r\n", 400),
    "TLS": ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "a long head": (f"GET / HTTP/1.1\r\n{H}A: {'x' * 4096}\r\n\r\n", 431),
    "many fields": (f"GET / HTTP/1.1\r\n{H}" + "A: b\r\n" * 1000 + "\r\n", 431),
    "a long target": (f"GET /{'x' * 1100} HTTP/1.1\r\n{H}\r\n", 414),
    "a long head without end": (f"GET / HTTP/1.1\r\n{H}A: {'x' * 5000}", 431),
    "a long body": (f"POST / HTTP/1.1\r\n{H}Content-Length: {BODY_LIMIT + 1}\r\n\r\n", 413),
    "a method that the route does not take": (f"DELETE / HTTP/1.1\r\n{H}Connection: close\r\n\r\n", 405),
}


@pytest.mark.parametrize(("sent", "status"), REFUSED.values(), ids=REFUSED)
def test_a_request_that_breaks_a_rule_is_refused_once(proxy: Proxy, upstream: Upstream, sent: str, status: int) -> None:
    with proxy.client() as client:
        client.send(sent.encode("latin-1") + SMUGGLED * 2)
        reply = client.reply()
        assert (reply.status, reply.get("connection")) == (status, "close")
        assert reply.text.startswith(str(status))
        assert client.ended()
    nothing_was_forwarded(proxy, upstream)


def test_a_request_line_without_end_is_a_414(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        client.send(b"GET /" + b"x" * 2000)
        assert client.reply().status == 414
        assert client.ended()


def test_a_refusal_comes_at_once_though_its_client_keeps_its_end_open(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        client.send(b"GET  / HTTP/1.1\r\n\r\n")
        assert client.reply().status == 400
        assert client.ended()


CHUNKS = {
    "a size that is no number": "zz\r\nabc\r\n0\r\n\r\n",
    "a size with a sign": "+3\r\nabc\r\n0\r\n\r\n",
    "a negative size": "-3\r\nabc\r\n0\r\n\r\n",
    "a size with a prefix": "0x3\r\nabc\r\n0\r\n\r\n",
    "an empty size": "\r\nabc\r\n0\r\n\r\n",
    "a size beyond counting": "fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "a size with an underscore": "1_0\r\n0123456789abcdef\r\n0\r\n\r\n",
    "a space before the size": " 3\r\nabc\r\n0\r\n\r\n",
    "a chunk longer than its size": "3\r\nabcd\r\n0\r\n\r\n",
    "a chunk shorter than its size": "5\r\nabc\r\n0\r\n\r\n",
    "a bare LF after the size": "3\nabc\r\n0\r\n\r\n",
    "a bare LF after the chunk": "3\r\nabc\n0\r\n\r\n",
    "a bare LF in an extension": "3;a\nb\r\nabc\r\n0\r\n\r\n",
    "a bare CR in an extension": "3;a\rb\r\nabc\r\n0\r\n\r\n",
    "a long extension": f"3;{'x' * 300}\r\nabc\r\n0\r\n\r\n",
    "a trailer that is no field": "0\r\nnothing\r\n\r\n",
    "a trailer with a NUL": "0\r\nA: b\0\r\n\r\n",
    "long trailers": "0\r\n" + f"A: {'x' * 1000}\r\n" * 9 + "\r\n",
}


@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS)
@pytest.mark.parametrize("at_once", [True, False], ids=["with the head", "after the head"])
def test_a_malformed_chunk_is_refused_and_ends_the_connection(
    proxy: Proxy, upstream: Upstream, chunks: str, at_once: bool
) -> None:
    def broken() -> list[Call]:
        return [call for call in upstream.calls if call.target == "/chunks"]

    head = request("POST", "/chunks", "Transfer-Encoding: chunked")
    with proxy.client() as client:
        if at_once:
            client.send(head + chunks.encode("latin-1") + SMUGGLED)
        else:
            client.send(head)
            upstream.call()
            client.send(chunks.encode("latin-1") + SMUGGLED)
        reply = client.reply()
        assert (reply.status, reply.get("connection")) == (400, "close")
        assert client.ended()
    with proxy.client() as client:
        assert client.get("/after").status == 200
    upstream.wait(lambda: all(call.connection.gone.is_set() for call in broken()), "it is let go")
    assert {call.target for call in upstream.calls} <= {"/chunks", "/after"}
    assert not any(call.connection.received.endswith(b"\r\n0\r\n\r\n") for call in broken())


def test_a_chunked_body_that_grows_too_long_is_refused(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        client.send(request("POST", "/", "Transfer-Encoding: chunked"))
        piece = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
        for _ in range(8):
            client.send(piece)
        assert client.reply().status == 413
        assert client.ended()
    for call in upstream.calls:  # it may have been too long before it was begun
        assert call.gone(2)


def test_a_long_body_is_refused_before_it_is_sent(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        client.send(request("POST", "/", f"Content-Length: {BODY_LIMIT + 1}", "Expect: 100-continue"))
        assert client.reply().status == 413
        assert client.ended()
    nothing_was_forwarded(proxy, upstream)


def test_a_long_body_that_is_sent_all_the_same_does_not_keep_its_client_from_the_answer(
    proxy: Proxy, upstream: Upstream
) -> None:
    with proxy.client() as client:
        client.send(request("POST", "/", "Content-Length: 2000000") + b"x" * 2_000_000)
        assert client.reply().status == 413
        assert client.ended()


def test_a_body_of_exactly_the_limit_is_taken(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        assert client.post("/", b"x" * BODY_LIMIT).status == 200
    assert len(upstream.call().body) == BODY_LIMIT


def test_a_long_body_for_a_module_that_wants_it_whole_is_refused(proxy: Proxy) -> None:
    with proxy.client() as client:
        client.send(request("POST", "/whole", "Transfer-Encoding: chunked"))
        for _ in range(8):
            client.send(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
        assert client.reply().status == 413
        assert client.ended()


def test_a_malformed_body_for_a_module_that_wants_it_whole_is_refused(proxy: Proxy) -> None:
    with proxy.client() as client:
        client.send(request("POST", "/whole", "Transfer-Encoding: chunked") + b"zz\r\n")
        assert client.reply().status == 400
        assert client.ended()


# Smuggling by an upgrade.


@pytest.mark.parametrize(
    "framing", [f"Content-Length: {len(SMUGGLED)}", "Transfer-Encoding: chunked"], ids=["length", "chunked"]
)
def test_the_body_of_an_upgrade_is_never_the_next_request(proxy: Proxy, upstream: Upstream, framing: str) -> None:
    upstream.script = lambda call: call.answer(call.body)
    body = SMUGGLED if "Length" in framing else b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
    with proxy.client() as client:
        client.send(request("POST", "/upgrade", "Connection: upgrade", "Upgrade: websocket", framing) + body)
        reply = client.reply()
        assert (reply.status, reply.body) == (200, SMUGGLED)
        assert client.get("/next").status == 200
    assert upstream.targets() == ["POST /upgrade", "GET /next"]
    assert upstream.call().get("upgrade") == "websocket"


def test_the_body_of_a_get_with_an_upgrade_is_never_the_next_request(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        client.send(
            request("GET", "/upgrade", "Connection: upgrade", "Upgrade: h2c", f"Content-Length: {len(SMUGGLED)}")
            + SMUGGLED
        )
        assert client.reply().text == "GET /upgrade"
    nothing_was_forwarded(proxy, upstream, "GET /upgrade")
    assert upstream.call().body == SMUGGLED


def test_http2_by_upgrade_is_ignored(proxy: Proxy, upstream: Upstream) -> None:
    fields = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")
    with proxy.client() as client:
        assert client.get("/", *fields).status == 200
    assert not {"connection", "upgrade", "http2-settings"} & {name for name, _ in upstream.call().fields}


def test_the_rest_of_a_body_that_its_upstream_did_not_want_is_not_a_request(proxy: Proxy, upstream: Upstream) -> None:
    def early(call: Call) -> None:
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        call.watch()

    upstream.script = early
    with proxy.client() as client:
        client.send(request("POST", "/early", f"Content-Length: {10 + len(SMUGGLED)}") + b"x" * 10)
        assert client.reply().get("connection") == "close"
        client.send(SMUGGLED)
        assert client.ended()
    upstream.script = lambda call: call.answer(b"")
    nothing_was_forwarded(proxy, upstream, "POST /early")


# Slow clients.


def test_a_head_that_does_not_come_is_a_408(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: pro")
        assert client.reply().status == 408
        assert client.ended()


def test_a_client_that_says_nothing_is_closed(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        assert client.ended()


def test_a_client_that_idles_after_a_request_is_closed(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        assert client.get("/").status == 200
        assert client.ended()


@pytest.mark.parametrize("path", ["/", "/whole"])
def test_a_body_that_stops_coming_is_a_408(proxy: Proxy, upstream: Upstream, path: str) -> None:
    with proxy.client() as client:
        client.send(request("POST", path, "Content-Length: 100") + b"x" * 10)
        assert client.reply().status == 408
        assert client.ended()
    for call in upstream.calls:
        upstream.wait(call.connection.gone.is_set, "the upstream is let go")


def test_a_body_that_comes_slowly_but_steadily_is_taken(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        client.send(request("POST", "/", "Content-Length: 5"))
        call = upstream.call()
        for count in range(1, 6):  # each piece has been through before the next is sent
            client.send(b"~")
            until(lambda count=count: call.connection.received.count(b"~") == count, "a piece")  # type: ignore[misc]
            call.connection.gone.wait(0.1)
        assert client.reply().status == 200
