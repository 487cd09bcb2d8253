"""Messages through `reverse`, both ways: framing, connections, header fields."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.wire.conftest import Peers
from tests.wire.peers import Call, Client, Upstream, request, split_head
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
path = "/refused/"
module = "reverse"
upstream = "{peers.refused}"
[[route]]
path = "/strip/"
module = "reverse"
upstream = "one"
settings = {{ strip_prefix = true }}
"""


# Connections and order.


def test_the_reactor_is_the_one_that_was_asked_for(proxy: Proxy) -> None:
    reactor = {"uvloop": "AsyncioSelectorReactor", "epoll": "EPollReactor"}[proxy.reactor]
    assert reactor in proxy.log


def test_a_get_is_forwarded_and_answered(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        reply = client.get("/some/path?and=query&x=%20")
    assert (reply.line, reply.text) == ("HTTP/1.1 200 OK", "GET /some/path?and=query&x=%20")
    assert reply.framing == "length"
    assert reply.get("content-type") == "text/plain"
    assert upstream.targets() == ["GET /some/path?and=query&x=%20"]
    assert upstream.call().version == "HTTP/1.1"


def test_a_connection_is_kept_for_the_next_request(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        replies = [client.get(f"/{number}") for number in range(5)]
        assert [reply.text for reply in replies] == [f"GET /{number}" for number in range(5)]
        assert {reply.get("connection") for reply in replies} == {None}


def test_pipelined_requests_are_answered_in_order(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        client.send(b"".join(request("GET", f"/{number}") for number in range(20)))
        assert [client.reply().text for _ in range(20)] == [f"GET /{number}" for number in range(20)]


def test_a_pipelined_request_is_not_forwarded_before_the_one_ahead_is_answered(
    proxy: Proxy, upstream: Upstream
) -> None:
    def slow_first(call: Call) -> None:
        if call.target == "/first":
            call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
            assert upstream.targets() == ["GET /first"]
            call.send(b"cd")
        else:
            call.answer(b"second")

    upstream.script = slow_first
    with proxy.client() as client:
        client.send(request("GET", "/first") + request("GET", "/second"))
        assert [client.reply().body, client.reply().body] == [b"abcd", b"second"]


def test_pipelined_requests_with_bodies_are_kept_apart(proxy: Proxy, upstream: Upstream) -> None:
    upstream.script = lambda call: call.answer(call.body)
    chunked = request("POST", "/", "Transfer-Encoding: chunked") + b"3\r\nGET\r\n4\r\n /x \r\n0\r\n\r\n"
    length = request("POST", "/", "Content-Length: 18") + b"GET / HTTP/1.1\r\n\r\n"
    with proxy.client() as client:
        client.send(length + chunked + length)
        assert [client.reply().body for _ in range(3)] == [
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET /x ",
            b"GET / HTTP/1.1\r\n\r\n",
        ]
    assert len(upstream.calls) == 3


def test_a_head_may_come_a_byte_at_a_time(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        for byte in request("GET", "/slowly"):
            client.send(bytes([byte]))
        assert client.reply().text == "GET /slowly"


def test_an_empty_line_before_a_request_is_ignored(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        assert client.ask(b"\r\n" + request("GET", "/a")).text == "GET /a"
        assert client.ask(b"\r\n" + request("GET", "/b")).text == "GET /b"


def test_a_client_that_says_close_is_answered_and_closed(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        reply = client.get("/", "Connection: close")
        assert (reply.text, reply.get("connection")) == ("GET /", "close")
        assert client.ended()
    assert "connection" not in dict(upstream.call().fields)


def test_what_follows_a_connection_close_is_not_a_request(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        client.send(request("GET", "/first", "Connection: close") + request("GET", "/second"))
        assert client.reply().text == "GET /first"
        assert client.ended()
    assert upstream.targets() == ["GET /first"]


def test_an_http_1_0_client_is_answered_and_closed(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        client.send(b"GET /old HTTP/1.0\r\nHost: proxy.test\r\n\r\n")
        reply = client.reply()
        assert (reply.status, reply.text, reply.framing) == (200, "GET /old", "length")
        assert reply.get("connection") == "close"
        assert client.ended()


def test_an_http_1_0_client_needs_no_host(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        assert client.ask(b"GET /old HTTP/1.0\r\n\r\n").status == 200
    assert upstream.call().version == "HTTP/1.1"


def test_an_http_1_1_upstream_gets_a_host_though_the_client_sent_none(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        client.ask(b"GET /old HTTP/1.0\r\n\r\n")
    assert upstream.call().get("host") is not None


def test_an_http_1_0_client_may_ask_to_be_kept(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        for _ in range(3):
            reply = client.ask(b"GET /old HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n")
            assert (reply.text, reply.get("connection")) == ("GET /old", "keep-alive")


# Bodies up.


def test_a_body_with_a_length_is_forwarded_with_it(proxy: Proxy, upstream: Upstream) -> None:
    body = os.urandom(300_000)
    upstream.script = lambda call: call.answer(call.body)
    with proxy.client() as client:
        reply = client.post("/", body)
        assert (reply.body, reply.get("content-length")) == (body, "300000")
    assert (upstream.call().framing, upstream.call().body) == ("length", body)


def test_a_chunked_body_is_forwarded_in_chunks_of_our_own(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        client.send(
            request("POST", "/", "Transfer-Encoding: Chunked", "Trailer: X-Sum")
            + b'4;name="a;b"\r\nwiki\r\n0005\r\npedia\r\nE\r\n in\r\n\r\nchunks.\r\n0\r\nX-Sum: 1\r\n\r\n'
        )
        assert client.reply().status == 200
        assert client.get("/next").text == "GET /next"
    call = upstream.call()
    assert (call.framing, call.body) == ("chunked", b"wikipedia in\r\n\r\nchunks.")
    assert call.get("transfer-encoding") == "chunked"
    assert call.get("content-length") is None
    assert call.get("trailer") == "X-Sum"
    assert b"name=" not in call.connection.received


def test_a_chunked_body_may_come_a_byte_at_a_time(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        client.send(request("POST", "/", "Transfer-Encoding: chunked"))
        for byte in b"4\r\nwiki\r\n5;x\r\npedia\r\n0\r\n\r\n":
            client.send(bytes([byte]))
        assert client.reply().status == 200
    assert upstream.call().body == b"wikipedia"


def test_an_empty_body_is_told_as_empty(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        assert client.post("/length", b"").status == 200
        assert client.ask(request("POST", "/chunked", "Transfer-Encoding: chunked") + b"0\r\n\r\n").status == 200
        assert client.ask(request("POST", "/nothing-told")).status == 200
    assert upstream.call(0).get("content-length") == "0"
    assert (upstream.call(1).framing, upstream.call(1).body) == ("chunked", b"")
    assert upstream.call(2).get("transfer-encoding") is None


def test_a_get_may_have_a_body(proxy: Proxy, upstream: Upstream) -> None:
    upstream.script = lambda call: call.answer(call.body)
    with proxy.client() as client:
        assert client.ask(request("GET", "/", "Content-Length: 3") + b"abc").body == b"abc"


def test_a_body_that_comes_without_waiting_for_100_is_taken(proxy: Proxy, upstream: Upstream) -> None:
    upstream.script = lambda call: call.answer(call.body)
    with proxy.client() as client:
        client.send(request("PUT", "/", "Content-Length: 4", "Expect: 100-continue") + b"body")
        reply = client.head()
        if reply.status == 100:  # may be said or not once the body is there (RFC 9110 section 10.1.1)
            reply = client.head()
        assert reply.status == 200
        assert client.exactly(4) == b"body"
        assert client.get("/next").status == 200


def test_an_upstream_that_answers_early_is_relayed_though_the_body_is_not_through(
    proxy: Proxy, upstream: Upstream
) -> None:
    def early(call: Call) -> None:
        call.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        call.watch()

    upstream.script = early
    with proxy.client() as client:
        client.send(request("POST", "/", "Content-Length: 1000") + b"x" * 10)
        reply = client.reply()
        assert (reply.status, reply.body, reply.get("connection")) == (403, b"no", "close")
        client.send(b"y" * 100)
        assert client.ended()


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 5_000_000])
def test_bodies_of_every_size_come_back_as_they_went(proxy: Proxy, upstream: Upstream, size: int) -> None:
    body = os.urandom(size)
    upstream.script = lambda call: call.answer(call.body)
    with proxy.client() as client:
        assert client.post("/", body).body == body


# Replies down.


def test_a_chunked_reply_is_relayed_in_chunks_of_our_own(proxy: Proxy, upstream: Upstream) -> None:
    reply = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;ext=1\r\nwiki\r\n5\r\npedia\r\n0\r\nX-T: 1\r\n\r\n"
    upstream.script = lambda call: call.send(reply)
    with proxy.client() as client:
        got = client.get("/")
        assert (got.framing, got.body) == ("chunked", b"wikipedia")
        assert b"ext=1" not in client.received
        assert client.get("/").body == b"wikipedia"
    assert upstream.call(0).connection is upstream.call(1).connection


def test_a_chunked_reply_reaches_an_http_1_0_client_without_chunks(proxy: Proxy, upstream: Upstream) -> None:
    upstream.script = lambda call: call.send(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwiki\r\n0\r\n\r\n"
    )
    with proxy.client() as client:
        reply = client.ask(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert (reply.framing, reply.body, reply.get("connection")) == ("close", b"wiki", "close")


def until_close(call: Call) -> None:
    call.send(b"HTTP/1.1 200 OK\r\n\r\nall there is, until the end")
    call.close()


def test_a_reply_until_close_reaches_an_http_1_1_client_in_chunks(proxy: Proxy, upstream: Upstream) -> None:
    upstream.script = until_close
    with proxy.client() as client:
        for _ in range(2):
            reply = client.get("/")
            assert (reply.framing, reply.body) == ("chunked", b"all there is, until the end")


def test_a_reply_until_close_reaches_an_http_1_0_client_until_close(proxy: Proxy, upstream: Upstream) -> None:
    upstream.script = until_close
    with proxy.client() as client:
        reply = client.ask(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert (reply.framing, reply.body) == ("close", b"all there is, until the end")
        assert reply.get("connection") == "close"


def test_an_http_1_0_upstream_is_understood(proxy: Proxy, upstream: Upstream) -> None:
    def old(call: Call) -> None:
        call.send(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold")
        call.watch()

    upstream.script = old
    with proxy.client() as client:
        reply = client.get("/")
        assert (reply.line, reply.body) == ("HTTP/1.1 200 OK", b"old")
    assert upstream.call().gone(), "HTTP/1.0 keeps no connection unasked"


@pytest.mark.parametrize("framing", ["Content-Length: 1000", "Transfer-Encoding: chunked", "X-Nothing: told"])
def test_a_head_reply_has_no_body_and_the_next_reply_is_whole(proxy: Proxy, upstream: Upstream, framing: str) -> None:
    def script(call: Call) -> None:
        if call.method == "HEAD":
            call.send(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n".encode())
        else:
            call.answer(b"whole")

    upstream.script = script
    with proxy.client() as client:
        client.send(request("HEAD", "/") + request("GET", "/"))
        head = client.reply("HEAD")
        assert head.status == 200
        if framing.startswith("Content-Length"):
            assert head.get("content-length") == "1000"
        assert client.reply().body == b"whole"


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
@pytest.mark.parametrize("framing", ["", "Content-Length: 7\r\n", "Content-Length: 0\r\n"])
def test_a_204_or_304_ends_with_its_head(proxy: Proxy, upstream: Upstream, status: str, framing: str) -> None:
    def script(call: Call) -> None:
        if call.target == "/none":
            call.send(f"HTTP/1.1 {status}\r\n{framing}ETag: x\r\n\r\n".encode())
        else:
            call.answer(b"whole")

    upstream.script = script
    with proxy.client() as client:
        client.send(request("GET", "/none") + request("GET", "/some"))
        reply = client.reply()
        assert (reply.line, reply.get("etag")) == (f"HTTP/1.1 {status}", "x")
        assert reply.get("transfer-encoding") is None
        if reply.status == 204:
            assert reply.get("content-length") is None
        assert client.reply().body == b"whole"


def test_an_informational_reply_is_not_taken_for_the_reply(proxy: Proxy, upstream: Upstream) -> None:
    upstream.script = lambda call: call.send(
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    )
    with proxy.client() as client:
        client.send(request("GET", "/"))
        reply = client.reply()
        while reply.status < 200:
            reply = client.reply()
        assert reply.body == b"ok"
        assert reply.get("link") is None


CUTS = {
    "in a body with a length": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
    "in a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n64\r\nand",
    "before the last chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    "in the last chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
    "in the trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\nX-A: b\r\n",
    "by a malformed chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
    "by an overlong chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalfs\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("sent", CUTS.values(), ids=CUTS)
def test_a_reply_that_is_cut_never_ends_well(proxy: Proxy, upstream: Upstream, sent: bytes) -> None:
    def script(call: Call) -> None:
        head, empty_line, body = sent.partition(b"\r\n\r\n")
        call.send(head + empty_line)
        call.send(body)
        call.close()

    upstream.script = script
    with proxy.client() as client:
        client.send(request("GET", "/", "Connection: close"))
        everything = client.rest()
    line, fields = split_head(everything.partition(b"\r\n\r\n")[0])
    if line in ("", "HTTP/1.1 502 Bad Gateway"):  # reset before it was read, or broken before we had begun
        return
    assert line == "HTTP/1.1 200 OK"
    if ("transfer-encoding", "chunked") in fields:
        assert not everything.endswith(b"0\r\n\r\n")
    else:
        assert ("content-length", "100") in fields
        assert len(everything.partition(b"\r\n\r\n")[2]) < 100


def read_to_the_end(client: Client) -> None:
    while client.more():
        pass


def test_an_http_1_0_client_sees_a_cut_reply_by_a_reset(proxy: Proxy, upstream: Upstream) -> None:
    def script(call: Call) -> None:
        call.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        call.close()

    upstream.script = script
    with proxy.client() as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):  # to it, an orderly close would be a whole reply
            read_to_the_end(client)


GARBAGE = {
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "an empty line": b"\r\n\r\n",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n",
    "status 099": b"HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n",
    "status 600": b"HTTP/1.1 600 High\r\nContent-Length: 0\r\n\r\n",
    "status 20": b"HTTP/1.1 20 Short\r\nContent-Length: 0\r\n\r\n",
    "a control character in the reason": b"HTTP/1.1 200 O\x01K\r\nContent-Length: 0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a length that is no number": b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na",
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a coding besides chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunks on HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a bare LF": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n\r\n\r\n",
    "a bare LF in a field": b"HTTP/1.1 200 OK\r\nA: b\nC: d\r\nContent-Length: 0\r\n\r\n",
    "a folded field": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "a NUL in a field": b"HTTP/1.1 200 OK\r\nA: b\0c\r\nContent-Length: 0\r\n\r\n",
    "a space before the colon": b"HTTP/1.1 200 OK\r\nA : b\r\nContent-Length: 0\r\n\r\n",
    "a field without a colon": b"HTTP/1.1 200 OK\r\nnothing\r\nContent-Length: 0\r\n\r\n",
    "a head without end": b"HTTP/1.1 200 OK\r\nA: " + b"x" * 100_000,
    "a head that is cut": b"HTTP/1.1 200 OK\r\nContent-Le",
    "switching protocols unasked": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "nothing at all": b"",
}


@pytest.mark.parametrize("sent", GARBAGE.values(), ids=GARBAGE)
def test_an_upstream_that_answers_garbage_is_a_502(proxy: Proxy, upstream: Upstream, sent: bytes) -> None:
    def script(call: Call) -> None:
        call.send(sent)
        call.close()

    upstream.script = script
    with proxy.client() as client:
        assert client.ask(request("POST", "/", "Content-Length: 0")).status == 502
        upstream.script = lambda call: call.answer(b"fine again")
        assert client.get("/").text == "fine again"


def test_bytes_after_a_reply_are_never_the_next_one(proxy: Proxy, upstream: Upstream) -> None:
    def script(call: Call) -> None:
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")

    upstream.script = script
    with proxy.client() as client:
        assert client.get("/first").body == b"ok"
        upstream.script = lambda call: call.answer(b"right")
        assert client.get("/second").body == b"right"
    assert upstream.call(0).connection is not upstream.call(1).connection


def test_an_upstream_that_refuses_is_a_502_that_says_so(proxy: Proxy) -> None:
    with proxy.client() as client:
        reply = client.get("/refused/")
        assert reply.status == 502
        assert "refused" in reply.text
        assert "127.0.0.1" not in reply.text
        assert client.get("/refused/").status == 502, "the connection goes on"


# Fields.


def test_fields_of_the_request_go_on_in_order_and_as_written(proxy: Proxy, upstream: Upstream) -> None:
    fields = ("X-One: 1", "x-TWO:  spaced \t", "X-One: again", "Accept: */*", "Cookie: a=b; c=d", "X-Latin: \xe9")
    with proxy.client() as client:
        client.get("/", *fields)
    received = upstream.call().head.decode("latin-1").split("\r\n")
    places = [received.index(field) for field in ("Host: proxy.test", "X-One: 1", "X-One: again", "X-Latin: \xe9")]
    assert places == sorted(places)
    assert ("x-two", "spaced") in upstream.call().fields
    assert upstream.call().get("cookie") == "a=b; c=d"


def test_hop_by_hop_fields_of_the_request_end_here(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        client.get(
            "/",
            "Connection: keep-alive, X-Secret",
            "Connection: X-Other",
            "Keep-Alive: timeout=5",
            "Proxy-Connection: keep-alive",
            "Proxy-Authorization: Basic eA==",
            "Proxy-Authenticate: x",
            "X-Secret: 1",
            "x-other: 2",
            "TE: gzip",
            "X-Kept: yes",
        )
    names = {name for name, _ in upstream.call().fields}
    assert "x-kept" in names
    hop_by_hop = {"connection", "keep-alive", "proxy-connection", "proxy-authorization", "proxy-authenticate"}
    assert not names & (hop_by_hop | {"x-secret", "x-other", "te", "transfer-encoding", "upgrade"})


def test_hop_by_hop_fields_of_the_reply_end_here(proxy: Proxy, upstream: Upstream) -> None:
    upstream.script = lambda call: call.answer(
        b"ok", "200 OK", "Connection: X-Secret, keep-alive", "Keep-Alive: timeout=5", "X-Secret: 1", "Upgrade: h2c",
        "Proxy-Authenticate: Basic", "X-Kept: yes", "Set-Cookie: a=b", "Set-Cookie: c=d",
    )  # fmt: skip
    with proxy.client() as client:
        reply = client.get("/")
    names = {name for name, _ in reply.fields}
    assert not names & {"connection", "keep-alive", "x-secret", "upgrade"}
    assert reply.get("x-kept") == "yes"
    assert reply.all("set-cookie") == ["a=b", "c=d"]


def test_connection_cannot_name_away_what_we_rely_on(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        reply = client.post("/", b"abc", "Connection: host, content-length, x-forwarded-for, via")
        assert reply.status == 200
    call = upstream.call()
    assert (call.get("host"), call.get("content-length"), call.body) == ("proxy.test", "3", b"abc")
    assert call.get("x-forwarded-for") == "127.0.0.1"


def test_each_direction_says_via(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        reply = client.get("/")
    assert reply.get("via") == upstream.call().get("via") == "1.1 asyncproxy"


def test_a_via_that_is_there_is_kept_before_ours(proxy: Proxy, upstream: Upstream) -> None:
    upstream.script = lambda call: call.answer(b"", "200 OK", "Via: 1.1 inner")
    with proxy.client() as client:
        reply = client.get("/", "Via: 1.0 outer")
    assert upstream.call().all("via") == ["1.0 outer", "1.1 asyncproxy"]
    assert reply.all("via") == ["1.1 inner", "1.1 asyncproxy"]


def test_the_upstream_hears_who_asked_and_for_what(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        client.get("/")
    call = upstream.call()
    assert call.get("x-forwarded-for") == "127.0.0.1"
    assert call.get("x-forwarded-proto") == "http"
    assert call.get("x-forwarded-host") == call.get("host") == "proxy.test"


def test_a_client_cannot_say_who_it_is(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        client.get(
            "/", "X-Forwarded-For: 6.6.6.6", "x-forwarded-for: 7.7.7.7", "X-Forwarded-Proto: https",
            "X-Forwarded-Host: evil.test", "X-Forwarded-Port: 1", "Forwarded: for=6.6.6.6",
        )  # fmt: skip
    call = upstream.call()
    assert call.all("x-forwarded-for") == ["127.0.0.1"]
    assert call.all("x-forwarded-proto") == ["http"]
    assert call.all("x-forwarded-host") == ["proxy.test"]
    assert call.all("forwarded") == ["for=127.0.0.1;host=proxy.test;proto=http"]
    assert b"6.6.6.6" not in call.head


@pytest.mark.parametrize(
    ("target", "forwarded"),
    [
        ("http://target.test/a?b=c", "/a?b=c"),
        ("http://target.test", "/"),
        ("http://target.test?b=c", "/?b=c"),
        ("HTTP://target.test/a", "/a"),
    ],
)
def test_a_target_with_a_host_wins_over_the_host_field(
    proxy: Proxy, upstream: Upstream, target: str, forwarded: str
) -> None:
    with proxy.client() as client:
        assert client.get(target).status == 200
    call = upstream.call()
    assert (call.target, call.get("host"), call.get("x-forwarded-host")) == (forwarded, "target.test", "target.test")


def test_options_may_ask_about_the_server_as_a_whole(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        reply = client.ask(request("OPTIONS", "*"))
    assert reply.status in (200, 404)
    assert upstream.targets() in ([], ["OPTIONS *"])


def test_a_route_may_strip_its_prefix(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        assert client.get("/strip/a/b?c").text == "GET /a/b?c"
        assert client.get("/strip/").text == "GET /"
        assert client.get("/strip//a").status == 200


def test_curl_finds_nothing_wrong(proxy: Proxy, upstream: Upstream, curl: str) -> None:
    url = f"http://127.0.0.1:{proxy.port}"
    upstream.script = lambda call: call.answer(call.body or b"hello")
    arguments = ["-sS", "--fail", "-m", "10", f"{url}/a", f"{url}/b", "-d", "hello"]
    done = subprocess.run([curl, *arguments], capture_output=True, timeout=20, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"hellohello", b"")
