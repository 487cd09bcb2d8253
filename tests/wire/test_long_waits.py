"""Clients of real sockets, and a real curl, that wait for long and hear from the proxy meanwhile."""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path

import pytest

from tests.wire.conftest import Peers
from tests.wire.peers import Call, Upstream, request, until
from tests.wire.proxies import Proxy

COMMENT = b": keep-alive\n\n"
EVENTS = b"data: one\n\n", b"data: two\n\n"
DOCUMENT = b'{"price": 3}'
KINDS = {"sse": b"text/event-stream", "json": b"application/json", "102": b"application/json"}


def configuration(peers: Peers) -> str:
    def route(word: str) -> str:
        return f"""
[[route]]
path = "/{word}"
module = "reverse"
upstream = "{peers.one.url}"
keep_alive = "{word}"
keep_alive_every = "100ms"
[[route]]
path = "/sleep-{word}"
module = "tests.wire.modules_under_test:Sleeper"
timeout = "350ms"
keep_alive = "{word}"
keep_alive_every = "100ms"
"""

    return "".join(map(route, KINDS))


def held(word: str, release: threading.Event) -> object:
    """An upstream that answers once it is let go."""

    def script(call: Call) -> None:
        assert release.wait(10)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n" % KINDS[word]
        if word == "sse":
            call.send(head, b"Connection: close\r\n\r\n")
            for event in EVENTS:
                call.send(event)
            call.close()
        else:
            call.send(head, b"Content-Length: %d\r\n\r\n" % len(DOCUMENT), DOCUMENT)

    return script


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [program, "-sSN", "--max-time", "10", *arguments], capture_output=True, check=False, timeout=15
    )


@pytest.mark.parametrize("version", ["--http1.1", "--http1.0"])
@pytest.mark.parametrize("word", ["sse", "json"])
def test_curl_hears_of_it_and_gets_what_it_asked_for(
    proxy: Proxy, curl: str, upstream: Upstream, word: str, version: str, tmp_path: Path
) -> None:
    release = threading.Event()
    upstream.script = held(word, release)
    out = tmp_path / "out"

    def let_go_once_something_came() -> None:
        until(lambda: out.exists() and out.stat().st_size > 0, "curl hears of it")
        release.set()

    threading.Thread(target=let_go_once_something_came).start()
    url = f"http://127.0.0.1:{proxy.port}/{word}"
    done = run(curl, version, "-o", str(out), "-w", "%{http_code} %{content_type} %{exitcode}", url)
    assert done.stdout.split() == [b"200", KINDS[word], b"0"], done.stderr
    body = out.read_bytes()
    if word == "sse":
        assert body.startswith(COMMENT)
        assert body.replace(COMMENT, b"") == b"".join(EVENTS)
    else:
        assert body.startswith(b"\n")
        assert json.loads(body) == json.loads(DOCUMENT)


def test_curl_takes_a_102_for_what_it_is(proxy: Proxy, curl: str, upstream: Upstream) -> None:
    release = threading.Event()
    upstream.script = held("102", release)
    threading.Timer(0.35, release.set).start()
    done = run(curl, "-i", f"http://127.0.0.1:{proxy.port}/102")
    *informational, head, body = done.stdout.split(b"\r\n\r\n")
    assert informational
    assert set(informational) == {b"HTTP/1.1 102 Processing"}
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert body == DOCUMENT


@pytest.mark.parametrize("word", ["sse", "json"])
def test_a_client_that_bears_no_silence_stays_and_its_connection_goes_on(
    proxy: Proxy, upstream: Upstream, word: str
) -> None:
    release = threading.Event()
    upstream.script = held(word, release)
    with proxy.client() as client:
        client.sock.settimeout(2)
        client.send(request("GET", f"/{word}"))
        assert client.head().status == 200
        tick = COMMENT if word == "sse" else b"\n"
        for _ in range(5):
            assert client.until(b"\r\n%b\r\n" % tick)
        release.set()
        body, _ = client.chunked()
        assert body.replace(COMMENT, b"").lstrip() == (b"".join(EVENTS) if word == "sse" else DOCUMENT)
        assert client.get(f"/{word}").status == 200


@pytest.mark.parametrize("word", ["sse", "json"])
def test_a_time_out_behind_an_early_head_is_an_object_and_the_body_ends_well(proxy: Proxy, word: str) -> None:
    with proxy.client() as client:
        for _ in range(2):
            reply = client.get(f"/sleep-{word}?for=30")
            assert (reply.status, reply.get("content-type")) == (200, KINDS[word].decode())
            data = reply.body.replace(COMMENT, b"").removeprefix(b"event: error\ndata: ")
            error = json.loads(data)["error"]
            assert (error["status"], error["title"]) == (504, "Gateway Timeout")
            assert error["request"] == reply.get("x-request-id")


def test_pipelined_requests_hear_of_their_own_waits_in_order(proxy: Proxy) -> None:
    with proxy.client() as client:
        client.send(request("GET", "/sleep-json?for=0.25") + request("GET", "/sleep-102?for=0.25"))
        first = client.reply()
        assert (first.status, json.loads(first.body)["error"]["status"]) == (200, 502)  # a Sleeper answers in text
        statuses = []
        while not statuses or statuses[-1] == 102:
            statuses.append(client.reply().status)
        assert statuses[0] == 102
        assert statuses[-1] == 200


@pytest.mark.parametrize("word", list(KINDS))
def test_a_client_that_leaves_between_ticks_has_its_upstream_cancelled(
    proxy: Proxy, upstream: Upstream, word: str
) -> None:
    upstream.script = Call.watch
    with proxy.client() as client:
        client.send(request("GET", f"/{word}"))
        call = upstream.call()
        client.until(b"102 Processing" if word == "102" else b"\r\n\r\n")
    assert call.gone(5)
    proxy.idle()
