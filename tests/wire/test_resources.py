"""Resources of twisted.web in routes, on real sockets: files, producers, sessions, WSGI, Klein."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.wire.conftest import Peers
from tests.wire.peers import request, until
from tests.wire.proxies import Proxy

HERE = "tests.wire.resources_under_test"
FILE = os.urandom(3_000_000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    (folder / "file").write_bytes(FILE)
    return folder


@pytest.fixture(scope="module")
def module_proxy(make_proxy: object, peers: Peers, folder: Path) -> Proxy:
    assert callable(make_proxy)
    made: Proxy = make_proxy(f"""
[limits]
spool = "64KiB"
body = "10MiB"
[[route]]
path = "/files/"
module = "resource"
settings = {{ resource = "twisted.web.static:File", args = ["{folder}"] }}
[[route]]
path = "/tree"
module = "resource"
settings = {{ resource = "{HERE}:tree" }}
[[route]]
path = "/klein"
module = "resource"
settings = {{ resource = "{HERE}:klein.resource" }}
[[route]]
path = "/wsgi"
module = "resource"
settings = {{ wsgi = "{HERE}:wsgi", threads = 2 }}
""")
    return made


def notes(proxy: Proxy) -> list[str]:
    with proxy.client() as client:
        return list(client.get("/tree/noted").json())


def noted(proxy: Proxy, *words: str) -> None:
    """Wait until resources have noted `words`, among other things."""
    seen: list[str] = []

    def there() -> bool:
        seen.extend(notes(proxy))
        return set(words) <= set(seen)

    until(there, lambda: f"{words}, not {seen[-20:]}")


def test_curl_gets_a_file_and_ranges_of_it(proxy: Proxy, curl: str, tmp_path: Path) -> None:
    def get(*arguments: str) -> bytes:
        url = f"http://127.0.0.1:{proxy.port}/files/file"
        done = subprocess.run([curl, "-sf", *arguments, url], capture_output=True, timeout=20, check=False)
        assert done.returncode == 0, done
        return done.stdout

    assert get() == FILE
    assert get("-r", "1000-2000") == FILE[1000:2001]
    assert get("-r", "-70000") == FILE[-70000:]
    half = tmp_path / "half"
    half.write_bytes(FILE[:1_000_000])
    get("-C", "-", "-o", str(half))
    assert half.read_bytes() == FILE, "a download goes on where it was broken off"
    assert b"content-length: 3000000" in get("-I").lower()


def test_requests_of_one_connection_are_answered_in_turn(proxy: Proxy) -> None:
    with proxy.client() as client:
        for _ in range(3):
            assert client.get("/files/file").body == FILE
            assert client.get("/tree/visits").body == b"1"
            assert client.ask(request("HEAD", "/files/file")).status == 200


@pytest.mark.parametrize("size", [0, 1000, 5_000_000])
@pytest.mark.parametrize("chunked", [True, False])
def test_an_upload_is_read_from_content(proxy: Proxy, size: int, chunked: bool) -> None:
    body = os.urandom(size)
    with proxy.client() as client:
        post = client.post_chunked if chunked else client.post
        reply = post("/tree/uploads", body)
    kept = "file" if size > 65536 else "memory"
    assert reply.json() == {"size": size, "sha": hashlib.sha256(body).hexdigest(), "kept": kept}


def test_an_upload_beyond_the_limit_is_refused(proxy: Proxy) -> None:
    with proxy.client() as client:
        assert client.ask(request("POST", "/tree/uploads", "Content-Length: 20000000")).status == 413


def test_a_session_is_found_again_by_its_cookie(proxy: Proxy) -> None:
    with proxy.client() as client:
        reply = client.get("/tree/visits")
        cookie = (reply.get("set-cookie") or "").partition(";")[0]
        assert [client.get("/tree/visits", f"Cookie: {cookie}").body for _ in range(3)] == [b"2", b"3", b"4"]
        assert client.get("/tree/visits").body == b"1"


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_a_resource_hears_that_its_client_has_left(proxy: Proxy, leave: str) -> None:
    client = proxy.client()
    client.send(request("GET", "/tree/holds"))
    proxy.staged(PARKED=1)
    assert proxy.status()["parked"][0]["waiting_for"] == "resource Resource"
    getattr(client, leave)()
    noted(proxy, "left: ConnectionDone")


@pytest.mark.parametrize("path", ["/tree/endless?kind=push", "/tree/endless?kind=pull", "/wsgi/endless"])
def test_whoever_produces_waits_for_a_slow_client_and_hears_when_it_leaves(proxy: Proxy, path: str) -> None:
    client = proxy.client(receive_buffer=65536)
    client.send(request("GET", path))
    assert client.head().status == 200
    client.exactly(1_000_000)
    with proxy.client() as other:

        def stands() -> bytes:
            counts = {other.get("/tree/written").body for _ in range(50)}
            return counts.pop() if len(counts) == 1 else b""

        stood = until(stands, "it waits")
        client.exactly(20_000_000)
        until(lambda: other.get("/tree/written").body != stood, "it goes on")
    client.close()
    noted(proxy, *(("closed",) if "wsgi" in path else ("stopped", "left: ConnectionDone")))


def test_a_klein_app_answers_from_an_async_route(proxy: Proxy) -> None:
    with proxy.client() as client:
        reply = client.get("/klein/hello/world")
        assert (reply.text, reply.get("x-thread"), reply.framing) == ("hello world", "MainThread", "length")
        assert client.get("/klein/nothing").status == 404


def test_a_wsgi_application_runs_on_threads_of_its_own(proxy: Proxy) -> None:
    with proxy.client() as client:
        told = client.post("/wsgi/a%20b?c=d", b"four", "X-A: one").json()
    assert told.pop("thread").startswith("PoolThread-asyncproxy-wsgi-")
    assert told == {
        "REQUEST_METHOD": "POST", "SCRIPT_NAME": "/wsgi", "PATH_INFO": "/a b", "QUERY_STRING": "c=d",
        "CONTENT_LENGTH": "4", "REMOTE_ADDR": "127.0.0.1", "HTTP_X_A": "one", "body": 4,
    }  # fmt: skip


def test_a_wsgi_application_is_told_the_length_of_a_chunked_body(proxy: Proxy) -> None:
    with proxy.client() as client:
        reply = client.ask(request("POST", "/wsgi/", "Transfer-Encoding: chunked") + b"4\r\nfour\r\n0\r\n\r\n")
    assert (reply.json()["CONTENT_LENGTH"], reply.json()["body"]) == ("4", 4)


def test_a_resource_that_raises_is_a_500_and_a_line_in_the_log(proxy: Proxy) -> None:
    with proxy.client() as client:
        reply = client.get("/tree/fails")
    assert reply.status == 500
    assert reply.text == f"500 Internal Server Error\nrequest {reply.get('x-request-id')}\n"
    until(lambda: "LookupError: no such price at " in proxy.log, lambda: proxy.log)
    assert "resources_under_test.py:" in proxy.log


def test_a_wsgi_thread_that_blocks_for_ever_does_not_keep_the_process(tmp_path: Path, reactor_name: str) -> None:
    route = f'[[route]]\nmodule = "resource"\nsettings = {{ wsgi = "{HERE}:wsgi" }}\n'
    proxy = Proxy(tmp_path, reactor_name, route)
    with proxy.client() as client:
        client.send(request("GET", "/blocks"))
        proxy.staged(PARKED=1)
        proxy.process.send_signal(signal.SIGTERM)
        until(lambda: "Draining" in proxy.log, "it has heard of it")
        proxy.process.send_signal(signal.SIGTERM)
        assert proxy.process.wait(20) == 1
    assert "resource: PARKED, waits for resource Application" in proxy.log
