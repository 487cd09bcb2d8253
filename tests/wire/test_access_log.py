"""The access log of a real proxy: what it says of real requests, its rotation, and a disk that is full."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.wire.conftest import Peers
from tests.wire.peers import Client, free_port, until
from tests.wire.proxies import ROOT, Proxy, ended, twistd

COMBINED = re.compile(
    r'127\.0\.0\.1 - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\] '
    r'"GET /a\?b HTTP/1\.1" 200 8 "http://from\.test/" "a \\x22test"'
)  # fmt: skip


@pytest.fixture(autouse=True)
def anew(peers: Peers) -> None:
    """The upstream has been asked nothing yet."""
    peers.one.reset()


def route(peers: Peers, path: str = "/") -> str:
    return f'[[route]]\npath = "{path}"\nmodule = "reverse"\nupstream = "{peers.one.url}"\n'


def logging(path: Path | str, form: str) -> str:
    return f'access_log = "{path}"\naccess_log_format = "{form}"'


def lines(path: Path, count: int) -> list[str]:
    """The log's lines, once there are `count`."""

    def there() -> list[str]:
        return path.read_text().splitlines() if path.exists() else []

    until(lambda: len(there()) >= count, lambda: f"{count} lines in {path.name}, not {there()}")
    return there()


def test_each_request_is_a_line_of_json(make_proxy: Callable[..., Proxy], peers: Peers, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    proxy = make_proxy(route(peers, "/app"), logging(path, "json"))
    with proxy.client() as client:
        reply = client.get("/app/1", "User-Agent: test")
        client.get("/none")
        client.ask(b"NONSENSE\r\n\r\n")
    first, second, third = map(json.loads, lines(path, 3))
    assert (first["method"], first["target"], first["status"], first["bytes"]) == ("GET", "/app/1", 200, 10)
    assert (first["route"], first["module"]) == ("/app", "reverse")
    assert (first["upstream"], first["attempts"]) == (peers.one.url, 1)
    assert (first["client"], first["user_agent"], first["flag"], first["parks"]) == ("127.0.0.1", "test", "", 1)
    assert first["id"] == reply.get("x-request-id") == peers.one.call().get("x-request-id")
    assert first["ledger_s"]["upstream"] > 0
    assert (second["status"], second["flag"], second["target"]) == (404, "NR", "/none")
    assert (third["status"], third["flag"]) == (400, "DPE")


def test_lines_can_be_as_apache_writes_them(make_proxy: Callable[..., Proxy], peers: Peers, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    proxy = make_proxy(route(peers), logging(path, "combined"))
    with proxy.client() as client:
        client.get("/a?b", 'User-Agent: a "test', "Referer: http://from.test/")
    (line,) = lines(path, 1)
    assert COMBINED.fullmatch(line), line


def test_sigusr1_begins_a_new_file(make_proxy: Callable[..., Proxy], peers: Peers, tmp_path: Path) -> None:
    path, old = tmp_path / "access.log", tmp_path / "access.log.1"
    proxy = make_proxy(route(peers), logging(path, "json"))
    with proxy.client() as client:
        client.get("/before")
        lines(path, 1)
        path.rename(old)
        client.get("/between")
        proxy.process.send_signal(signal.SIGUSR1)
        until(path.exists, "a new file is there")
        client.get("/after")
    targets = [json.loads(line)["target"] for line in [*lines(old, 2), *lines(path, 1)]]
    assert targets == ["/before", "/between", "/after"]


def test_what_has_ended_is_written_when_the_proxy_stops(
    make_proxy: Callable[..., Proxy], peers: Peers, tmp_path: Path
) -> None:
    path = tmp_path / "access.log"
    proxy = make_proxy(route(peers), logging(path, "json"))
    names = [f"/{number}" for number in range(50)]
    with proxy.client() as client:
        for name in names:
            client.get(name)
    proxy.stop()
    assert [json.loads(line)["target"] for line in path.read_text().splitlines()] == names


def test_a_full_disk_holds_up_no_request_and_is_told_once(make_proxy: Callable[..., Proxy], peers: Peers) -> None:
    proxy = make_proxy(route(peers), logging("/dev/full", "json"))
    told = "The access log /dev/full cannot be written: No space left on device"
    with proxy.client() as client:
        client.get("/")
        until(lambda: told in proxy.log, lambda: f"the log tells it: {proxy.log}")
        for _ in range(50):
            assert client.get("/").status == 200
    assert proxy.log.count(told) == 1


def test_a_log_that_cannot_be_opened_keeps_the_proxy_from_starting(reactor_name: str, tmp_path: Path) -> None:
    config = tmp_path / "proxy.toml"
    where = tmp_path / "missing" / "access.log"
    listen = f'[server]\nlisten = "tcp:{free_port()}:interface=127.0.0.1"\naccess_log = "{where}"\n'
    config.write_text(listen + '[[route]]\nmodule = "reverse"\nupstream = "http://127.0.0.1:9"\n')
    status, output = ended(twistd("--config", str(config), cwd=ROOT, reactor=reactor_name))
    assert status == 1
    assert f'server.access_log: cannot write to "{where}": No such file or directory' in output
    assert "Traceback" not in output


def test_lines_are_counted_in_the_metrics(make_proxy: Callable[..., Proxy], peers: Peers, tmp_path: Path) -> None:
    proxy = make_proxy(route(peers, "/app"), logging(tmp_path / "access.log", "json"))
    with proxy.client() as client, Client(proxy.admin) as admin:
        client.get("/app/1")
        client.get("/none")
        lines(tmp_path / "access.log", 2)
        told = admin.get("/metrics").text
        page = admin.get("/status")
    for sample in (
        'asyncproxy_requests_total{route="/app",status="2xx"} 1.0',
        'asyncproxy_requests_total{route="none",status="4xx"} 1.0',
        'asyncproxy_upstream_latency_seconds_count{route="/app"} 1.0',
        'asyncproxy_access_log_lines_total{outcome="written"} 2.0',
        "asyncproxy_client_connections 1.0",
    ):
        assert sample in told.splitlines()
    assert page.get("content-type") == "text/html; charset=utf-8"
    assert peers.one.url in page.text
