"""Informational replies and Expect on real sockets: raw bytes, curl, Python's own client, a browser."""

from __future__ import annotations

import http.client
import subprocess
from pathlib import Path

import pytest

from tests.wire.browser import chromium
from tests.wire.conftest import Peers
from tests.wire.peers import Call, Upstream, request
from tests.wire.proxies import Proxy

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload; as=style\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
EXPECTING = request("PUT", "/", "Content-Length: 4", "Expect: 100-continue")


def configuration(peers: Peers) -> str:
    return f"""
[upstream.one]
servers = ["{peers.one.url}"]
[upstream.patient]
servers = ["{peers.one.url}"]
expect_timeout = "30s"
[[route]]
path = "/"
module = "reverse"
upstream = "one"
[[route]]
path = "/patient/"
module = "reverse"
upstream = "patient"
"""


def continues(call: Call) -> None:
    """Say go on, then answer with the body."""
    if call.get("expect"):
        call.send(CONTINUE)
    call.answer(call.body)


def test_informational_replies_arrive_before_the_final_one(proxy: Proxy, upstream: Upstream) -> None:
    upstream.script = lambda call: call.send(b"HTTP/1.1 102 Processing\r\n\r\n", HINTS, OK)
    with proxy.client() as client:
        client.send(request("GET", "/"))
        assert [client.head().status for _ in range(2)] == [102, 103]
        reply = client.reply()
        assert (reply.status, reply.body) == (200, b"ok")
        client.send(request("GET", "/"))
        hints = [client.head() for _ in range(2)][1]
        assert hints.get("link") == "</style.css>; rel=preload; as=style"
        assert hints.get("via") == "1.1 asyncproxy"
        assert client.reply().body == b"ok"


def test_http_1_0_gets_the_final_one_alone(proxy: Proxy, upstream: Upstream) -> None:
    upstream.script = lambda call: call.send(HINTS, OK)
    with proxy.client() as client:
        client.send(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
        assert client.reply().status == 200


def test_the_upstream_says_whether_it_wants_the_body(proxy: Proxy, upstream: Upstream) -> None:
    upstream.script = continues
    with proxy.client() as client:
        client.send(EXPECTING.replace(b"/ ", b"/patient/ ", 1))
        assert client.head().status == 100
        client.send(b"body")
        assert client.reply().body == b"body"
        assert client.get("/next").status == 200
    assert upstream.call().get("expect") == "100-continue"


def test_a_final_answer_instead_closes_the_connection_without_reading_a_request_out_of_the_body(
    proxy: Proxy, upstream: Upstream
) -> None:
    def refuses(call: Call) -> None:
        call.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
        call.watch()

    upstream.script = refuses
    smuggled = request("GET", "/smuggled")
    with proxy.client() as client:
        client.send(request("PUT", "/patient/", f"Content-Length: {len(smuggled)}", "Expect: 100-continue"))
        reply = client.reply()
        assert (reply.status, reply.get("connection")) == (413, "close")
        client.send(smuggled)
        assert client.ended()
    assert upstream.call().gone()
    assert upstream.targets() == ["PUT /patient/"]


def test_an_upstream_that_does_not_know_it_gets_the_body_all_the_same(proxy: Proxy, upstream: Upstream) -> None:
    upstream.script = lambda call: call.answer(call.body)
    with proxy.client() as client:
        client.send(EXPECTING)
        assert client.head().status == 100
        client.send(b"body")
        assert client.reply().body == b"body"


@pytest.mark.parametrize("version", ["--http1.1", "--http1.0"])
@pytest.mark.parametrize("expects", ["100-continue", ""])
def test_curl_uploads(proxy: Proxy, upstream: Upstream, curl: str, tmp_path: Path, version: str, expects: str) -> None:
    body = bytes(range(256)) * 9000  # curl asks by itself for what is longer than a MiB
    (tmp_path / "body").write_bytes(body)
    upstream.script = continues
    arguments = ["-sS", "-m", "20", version, "-T", str(tmp_path / "body"), "-H", f"Expect: {expects}"]
    url = f"http://127.0.0.1:{proxy.port}/patient/"
    done = subprocess.run([curl, *arguments, url], capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stdout == body, done.stderr) == (0, True, b"")
    expected = "100-continue" if expects and version == "--http1.1" else None
    assert upstream.call().get("expect") == expected


def test_curl_uploads_in_chunks_of_unknown_number(proxy: Proxy, upstream: Upstream, curl: str) -> None:
    upstream.script = continues
    arguments = ["-sS", "-m", "20", "-T", "-", "-H", "Expect: 100-continue", f"http://127.0.0.1:{proxy.port}/patient/"]
    done = subprocess.run([curl, *arguments], input=b"x" * 300_000, capture_output=True, timeout=30, check=False)
    assert (done.returncode, len(done.stdout), done.stderr) == (0, 300_000, b"")
    assert upstream.call().get("expect") == "100-continue"


def test_curl_hears_of_a_refusal_before_it_has_sent_a_byte(proxy: Proxy, upstream: Upstream, curl: str) -> None:
    def refuses(call: Call) -> None:
        call.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno")
        call.watch()

    upstream.script = refuses
    arguments = ["-sS", "-v", "-m", "20", "-T", "-", "-H", "Expect: 100-continue"]
    url = f"http://127.0.0.1:{proxy.port}/patient/"
    done = subprocess.run([curl, *arguments, url], input=b"x" * 9000, capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, b"no")
    assert b"HTTP/1.1 401" in done.stderr
    assert upstream.call().connection.received.endswith(b"\r\n\r\n")


def test_pythons_own_client_waits_and_goes_on(proxy: Proxy, upstream: Upstream) -> None:
    upstream.script = continues
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=10)
    for _ in range(2):
        connection.request("PUT", "/patient/", b"hello", {"Expect": "100-continue"})
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b"hello")
    connection.close()


def test_a_browser_shows_a_page_that_early_hints_have_announced(
    proxy: Proxy, upstream: Upstream, tmp_path: Path
) -> None:
    page = b"<!doctype html><link rel=stylesheet href=/style.css><title>shown</title><p>here"

    def serves(call: Call) -> None:
        if call.target == "/page":
            call.send(HINTS)
            call.answer(page, "200 OK", "Content-Type: text/html")
        elif call.target == "/style.css":
            call.answer(b"p { color: rgb(1, 2, 3) }", "200 OK", "Content-Type: text/css")
        else:
            call.answer(b"", "404 Not Found")

    upstream.script = serves
    with chromium(tmp_path) as browser:
        browser.get(f"http://127.0.0.1:{proxy.port}/page")
        assert browser.title == "shown"
        colour = "return getComputedStyle(document.querySelector('p')).color"
        assert browser.execute_script(colour) == "rgb(1, 2, 3)"
