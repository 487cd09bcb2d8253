"""Chromium, with a page that came through the proxy: all that its scripts ask for is what the origin has."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.wire.browser import Chrome, chromium
from tests.wire.conftest import Peers
from tests.wire.origin import EVENTS, LARGE, Origin, content, prose
from tests.wire.peers import Upstream
from tests.wire.proxies import Proxy

SIZES = [0, 1000, LARGE]
BASICS = """
const hex = (bytes) => [...new Uint8Array(bytes)].map((one) => one.toString(16).padStart(2, "0")).join("");
const digest = async (data) => hex(await crypto.subtle.digest("SHA-256", data));
const got = async (reply) => [reply.status, await digest(await reply.arrayBuffer())];
const [done] = [...arguments].slice(-1);
"""


def configuration(peers: Peers) -> str:
    return f'[[route]]\nmodule = "reverse"\nupstream = "{peers.one.url}"\n'


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture(autouse=True)
def page(browser: Chrome, proxy: Proxy, upstream: Upstream) -> Iterator[Chrome]:
    upstream.script = Origin()
    browser.get(f"http://127.0.0.1:{proxy.port}/page")
    yield browser
    browser.get("about:blank")


def run(page: Chrome, script: str, *arguments: Any) -> Any:
    """What the script's promise comes to."""
    code = f"{BASICS}(async () => {{ {script} }})().then(done, (why) => done(String(why)))"
    return page.execute_async_script(code, *arguments)  # type: ignore[no-untyped-call]


def whole(data: bytes, status: int = 200) -> list[Any]:
    return [status, hashlib.sha256(data).hexdigest()]


@pytest.mark.parametrize("size", SIZES)
def test_bodies_come_whole(page: Chrome, size: int) -> None:
    assert run(page, f"return got(await fetch('/bytes/{size}'))") == whole(content(size))
    assert run(page, f"return got(await fetch('/chunked/{size}'))") == whole(content(size))


@pytest.mark.parametrize("size", SIZES)
def test_uploads_arrive_whole(page: Chrome, size: int) -> None:
    script = f"""
        const body = await (await fetch("/bytes/{size}")).blob();
        return got(await fetch("/echo", {{method: "POST", body}}))"""
    assert run(page, script) == whole(content(size))


def test_a_form_with_a_file_is_sent(page: Chrome, upstream: Upstream) -> None:
    script = f"""
        const form = new FormData();
        form.append("file", await (await fetch("/bytes/{LARGE}")).blob(), "name");
        return (await fetch("/echo", {{method: "POST", body: form}})).status"""
    assert run(page, script) == 200
    assert content(LARGE) in upstream.calls[-1].body


def test_heads_errors_and_answers_without_a_body_are_told(page: Chrome) -> None:
    script = """
        const head = await fetch("/bytes/1000", {method: "HEAD"});
        const statuses = [];
        for (const status of [204, 404, 418, 503]) statuses.push((await fetch(`/status/${status}`)).status);
        return [head.headers.get("content-length"), (await head.text()).length, ...statuses]"""
    assert run(page, script) == ["1000", 0, 204, 404, 418, 503]


def test_redirects_are_followed(page: Chrome) -> None:
    assert run(page, "return got(await fetch('/redirect/302/bytes/1000'))") == whole(content(1000))
    script = "return got(await fetch('/redirect/307/echo', {method: 'POST', body: 'words'}))"
    assert run(page, script) == whole(b"words")


def test_ranges_and_codings_are_understood(page: Chrome) -> None:
    script = "return got(await fetch('/bytes/1000', {headers: {Range: 'bytes=100-299'}}))"
    assert run(page, script) == whole(content(1000)[100:300], 206)
    assert run(page, "return got(await fetch('/gzip/100000'))") == whole(prose(100000))


def test_cookies_are_kept(page: Chrome) -> None:
    assert run(page, "return (await fetch('/cookies/set')).json()") == {"flavour": "oat", "size": "large"}
    assert run(page, "return document.cookie") == "flavour=oat"


def test_what_has_not_changed_is_asked_for_by_its_tag(page: Chrome, upstream: Upstream) -> None:
    script = "return got(await fetch('/bytes/1000', {cache: 'no-cache'}))"
    assert [run(page, script), run(page, script)] == [whole(content(1000))] * 2
    assert upstream.calls[-1].get("if-none-match") == '"1000"'


def test_each_piece_of_a_stream_arrives_before_the_next_is_sent(page: Chrome) -> None:
    script = """
        const pieces = [], reader = (await fetch("/events")).body.getReader();
        for (let piece; !(piece = await reader.read()).done; await fetch("/seen", {method: "POST"})) {
          pieces.push(new TextDecoder().decode(piece.value));
        }
        return pieces"""
    assert run(page, script) == [f"data: event {number}\n\n" for number in range(EVENTS)]


def test_an_event_source_hears_each_event_before_the_next_is_sent(page: Chrome) -> None:
    script = """
        const events = [], source = new EventSource("/events");
        source.onmessage = (event) => { events.push(event.data); fetch("/seen", {method: "POST"}) };
        await new Promise((ended) => { source.onerror = ended });
        source.close();
        return events"""
    assert run(page, script) == [f"event {number}" for number in range(EVENTS)]


def test_many_at_once_are_all_answered(page: Chrome) -> None:
    script = """
        const sizes = [...Array(60).keys()].map((number) => number * 1000);
        return Promise.all(sizes.map(async (size) => got(await fetch(`/bytes/${size}`))))"""
    assert run(page, script) == [whole(content(number * 1000)) for number in range(60)]
