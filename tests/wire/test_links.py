"""Signed links, on a real proxy: whoever opens one answers the request that waits."""

from __future__ import annotations

from urllib.parse import urlsplit

from tests.wire.conftest import Peers
from tests.wire.peers import request
from tests.wire.proxies import MODULES, Proxy


def configuration(peers: Peers) -> str:
    asks = f'[[route]]\npath = "/ask"\nmodule = "{MODULES}:AsksByLink"\n'
    return f'{asks}[[route]]\npath = "/t/"\nmodule = "tickets"\n'


def test_a_link_leads_to_the_proxy_and_a_click_answers_who_waits_once(proxy: Proxy) -> None:
    with proxy.client() as waiting:
        waiting.send(request("GET", "/ask"))
        proxy.staged(PARKED=1)
        with proxy.client() as third:
            link = urlsplit(third.get("/ask?link").text)
            assert link.netloc == f"127.0.0.1:{proxy.port}"
            assert "Is it you?" in third.get(link.path).text
            form = "Content-Type: application/x-www-form-urlencoded"
            assert third.post(link.path, b"choice=1", form).status == 200
            assert waiting.reply().json() == "no"
            assert third.post(link.path, b"choice=0", form).status == 409


def test_a_link_says_nothing_that_the_request_said_of_the_host(proxy: Proxy) -> None:
    with proxy.client() as waiting, proxy.client() as third:
        waiting.send(b"GET /ask HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        proxy.staged(PARKED=1)
        assert urlsplit(third.get("/ask?link").text).netloc == f"127.0.0.1:{proxy.port}"
