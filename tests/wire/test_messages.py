"""What a proxy has to do to messages that it passes on, on real sockets: trailers, heads without bodies, ranges."""

from __future__ import annotations

import http.client
import subprocess
import threading

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


# Heads without bodies.


@pytest.mark.parametrize("status", ["204 No Content", "205 Reset Content", "304 Not Modified", "200 OK"])
def test_heads_without_bodies_keep_the_connection_in_step(proxy: Proxy, upstream: Upstream, status: str) -> None:
    method = "HEAD" if status == "200 OK" else "GET"

    def script(call: Call) -> None:
        if call.target == "/next":
            call.answer(b"next")
            return
        length = {"204": "", "205": "Content-Length: 0\r\n"}.get(status[:3], "Content-Length: 4\r\n")
        call.send(f"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 {status}\r\n{length}ETag: x\r\n\r\n".encode())

    upstream.script = script
    told = {"204": None, "205": "0"}.get(status[:3], "4")
    with proxy.client() as client:
        for _ in range(3):
            client.send(request(method, "/"))
            assert client.head().status == 103
            reply = client.head()
            assert (reply.status, reply.get("content-length")) == (int(status[:3]), told)
            assert client.get("/next").body == b"next"
    assert len({call.connection.number for call in upstream.calls}) == 1


@pytest.mark.parametrize("late", [False, True])
def test_a_body_behind_a_reply_to_head_reaches_nobody(proxy: Proxy, upstream: Upstream, late: bool) -> None:
    body = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"

    def script(call: Call) -> None:
        if call.method == "HEAD":
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
            call.send(head) if late else call.send(head, body)
            if late:
                told.wait(10)
                call.send(body)
            call.watch()
        else:
            call.answer(b"good")

    told = threading.Event()
    upstream.script = script
    with proxy.client() as client:
        assert client.ask(request("HEAD", "/")).status == 200
        told.set()
        assert upstream.call().gone()
        assert client.get("/").body == b"good"


def test_pythons_own_client_reads_them(proxy: Proxy, upstream: Upstream) -> None:
    def script(call: Call) -> None:
        call.answer(b"" if call.method == "GET" else b"abc", "205 Reset Content" if call.method == "GET" else "200 OK")

    upstream.script = script
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=10)
    for method, status, length in (("HEAD", 200, "3"), ("GET", 205, "0"), ("POST", 200, "3")):
        connection.request(method, "/")
        response = connection.getresponse()
        assert (response.status, response.headers["content-length"]) == (status, length)
        assert response.read() == (b"abc" if method == "POST" else b"")
    connection.close()


# What is untouched.

RANGES = [
    (
        "206 Partial Content",
        b"\r\n--x\r\nContent-Range: bytes 0-1/9\r\n\r\nab\r\n--x--\r\n",
        ["Content-Type: multipart/byteranges; boundary=x"],
    ),
    ("206 Partial Content", b"bcd", ["Content-Range: bytes 1-3/9", 'ETag: "e"', "Accept-Ranges: bytes"]),
    ("416 Range Not Satisfiable", b"", ["Content-Range: bytes */9"]),
    ("200 OK", b"\x1f\x8b\x08\x00\xff\x00no gzip at all", ["Content-Encoding: gzip", "Vary: Accept-Encoding"]),
    ("200 OK", b"\x00\xff" * 40_000, ["Content-Encoding: br, x-else", "Content-MD5: x", "Accept-Ranges: none"]),
]
ASKED = ["Range: bytes=0-1, 4-", 'If-Range: "e"', "Accept-Encoding: gzip;q=0.5, br, *;q=0", 'If-None-Match: W/"e", *']


@pytest.mark.parametrize(("status", "body", "fields"), RANGES)
@pytest.mark.parametrize("chunked", [False, True])
def test_ranges_and_codings_pass_to_the_byte(
    proxy: Proxy, upstream: Upstream, status: str, body: bytes, fields: list[str], chunked: bool
) -> None:
    def script(call: Call) -> None:
        if not chunked:
            call.answer(body, status, *fields)
            return
        head = "\r\n".join([f"HTTP/1.1 {status}", "Transfer-Encoding: chunked", *fields, "", ""])
        call.send(head.encode(), b"%x\r\n%b\r\n" % (len(body), body) if body else b"", b"0\r\n\r\n")

    upstream.script = script
    with proxy.client() as client:
        reply = client.get("/", *ASKED)
    assert (int(status[:3]), body) == (reply.status, reply.body)
    assert [line for line in fields if line.encode() not in reply.head] == []
    assert [line for line in ASKED if line.encode() not in upstream.call().head] == []


# Curl.


def curled(curl: str, proxy: Proxy, *arguments: str) -> bytes:
    url = f"http://127.0.0.1:{proxy.port}/"
    done = subprocess.run(
        [curl, "-sS", "-i", "-m", "10", *arguments, url], capture_output=True, timeout=20, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


def test_curl_traces_the_proxy_itself(proxy: Proxy, upstream: Upstream, curl: str) -> None:
    secrets = ("-u", "me:secret", "-b", "a=b")
    answer = curled(curl, proxy, "-X", "TRACE", "-H", "Max-Forwards: 0", *secrets, "-H", "X-Mine: 1")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"\r\nContent-Type: message/http\r\n" in head + b"\r\n"
    assert body.startswith(b"TRACE / HTTP/1.1\r\nHost: ")
    assert b"\r\nX-Mine: 1\r\n" in body
    assert b"uthorization" not in body
    assert b"ookie" not in body
    assert upstream.calls == []


def test_curl_asks_one_hop_further(proxy: Proxy, upstream: Upstream, curl: str) -> None:
    assert b" 200 OK" in curled(curl, proxy, "-X", "OPTIONS", "-H", "Max-Forwards: 1")
    assert upstream.call().get("max-forwards") == "0"
    assert upstream.call().get("via") == "1.1 asyncproxy"


def test_curl_speaks_the_old_version(proxy: Proxy, upstream: Upstream, curl: str) -> None:
    upstream.script = lambda call: call.answer(b"abc", "200 OK", "Date: Sun, 06 Nov 1994 08:49:37 GMT")
    answer = curled(curl, proxy, "--http1.0")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nabc")
    assert answer.count(b"\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n") == 1
    assert upstream.call().get("via") == "1.0 asyncproxy"
