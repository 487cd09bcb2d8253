"""Errors of the proxy itself, over real sockets, and an operator's pages for them over a reload."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.wire.conftest import Peers
from tests.wire.peers import until
from tests.wire.proxies import Proxy

HERE = "tests.wire.modules_under_test"
BROWSER = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def configuration(peers: Peers) -> str:
    return f"""
[[route]]
path = "/refused/"
module = "reverse"
upstream = "{peers.refused}"
[[route]]
path = "/raises"
module = "{HERE}:Raises"
"""


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("Accept: */*", "text/plain; charset=utf-8"),
        ("X: y", "text/plain; charset=utf-8"),
        ("Accept: application/json", "application/json"),
        (BROWSER, "text/html; charset=utf-8"),
    ],
)
@pytest.mark.parametrize(("path", "status"), [("/refused/", 502), ("/raises", 500), ("/nobody", 404)])
def test_an_error_is_told_as_its_client_likes_it_and_tells_nothing_else(
    proxy: Proxy, peers: Peers, path: str, status: int, accept: str, kind: str
) -> None:
    with proxy.client() as client:
        reply = client.get(path, accept)
        assert client.get(path, accept).status == status, "the connection goes on"
    assert (reply.status, reply.get("content-type"), reply.get("cache-control")) == (status, kind, "no-store")
    assert reply.get("x-request-id") in reply.text
    for secret in (peers.refused.rpartition(":")[2], "127.0.0.1", "modules_under_test", "Traceback", ".py"):
        assert secret not in reply.text


def test_an_operator_s_pages_are_read_at_each_reload(
    make_proxy: Callable[..., Proxy], peers: Peers, tmp_path: Path
) -> None:
    page = tmp_path / "5xx.html"
    page.write_text("<h1>closed</h1><p>{id}", "utf-8")
    proxy = make_proxy(configuration(peers), f'error_pages = "{tmp_path}"')

    def read() -> str:
        with proxy.client() as client:
            return client.get("/refused/", BROWSER).text

    assert read().startswith("<h1>closed</h1><p>")
    page.write_text("<h1>back soon</h1>", "utf-8")
    assert read().startswith("<h1>closed</h1><p>")
    proxy.process.send_signal(signal.SIGHUP)
    until(lambda: read() == "<h1>back soon</h1>", "the new page is shown")
    page.unlink()
    proxy.process.send_signal(signal.SIGHUP)
    until(lambda: f'"{tmp_path}" has no pages' in proxy.log, lambda: proxy.log)
    assert read() == "<h1>back soon</h1>"
