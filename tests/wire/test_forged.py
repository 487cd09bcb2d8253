"""Pages of other sites, in a real browser on the operator's machine: none of them can give the proxy an order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.wire.browser import Chrome, Keys, chromium
from tests.wire.conftest import Peers
from tests.wire.peers import Call, until
from tests.wire.proxies import Proxy
from tests.wire.test_operators import configuration, held

__all__ = ["configuration"]
pytestmark = pytest.mark.timeout(180)
EVIL = "evil.test"

TRIES = """return (async () => {
    const orders = %s;
    const tried = [];
    for (const [url, body] of orders) {
        for (const type of ["text/plain", "application/json", "application/x-www-form-urlencoded"]) {
            for (const mode of ["no-cors", "cors"]) {
                for (const credentials of ["omit", "include"]) {
                    const options = {method: "POST", mode, credentials, body, headers: {"Content-Type": type}};
                    try { await fetch(url, options); tried.push("sent") } catch (why) { tried.push("blocked") }
                }
            }
        }
        tried.push(navigator.sendBeacon(url, new Blob([body], {type: "text/plain"})) ? "sent" : "blocked");
    }
    return tried;
})()"""
FORM = """return (async () => {
    const [url, body, origin] = %s;
    const frame = document.createElement("iframe");
    frame.name = "target";
    if (origin === "null") frame.sandbox = "allow-forms allow-scripts";
    const html = `<form method=post enctype=text/plain action="${url}"><input name='${body.slice(0, 1)}' `
        + `value='${body.slice(1)}'></form><script>document.forms[0].submit()</script>`;
    frame.srcdoc = html;
    document.body.append(frame);
    await new Promise((done) => { frame.onload = done; setTimeout(done, 3000) });
    await new Promise((done) => setTimeout(done, 300));
})()"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("browser"), EVIL) as browser:
        yield browser


def run(browser: Chrome, script: str) -> Any:
    """What `script` returns in the page, a promise's value if it is one."""
    return browser.execute_script(script)  # type: ignore[no-untyped-call]


def text(browser: Chrome) -> str:
    return str(run(browser, "return document.body?.innerText ?? ''"))


def types(browser: Chrome, token: str) -> None:
    """Type `token` where the keyboard is, in the form, and send it."""
    focused = "return document.activeElement?.id === 'token' && document.activeElement.value === ''"
    until(lambda: run(browser, focused), "the form has the keyboard")
    browser.switch_to.active_element.send_keys(token, Keys.ENTER)


def test_a_page_of_another_site_gives_no_order(proxy: Proxy, peers: Peers, browser: Chrome) -> None:
    def page(call: Call) -> None:
        call.answer(b"<!doctype html><body>win a prize", "200 OK", "Content-Type: text/html")

    peers.one.script = page
    with held(proxy, "/asksforticket?name=prize") as (client, identity):
        admin = f"http://127.0.0.1:{proxy.admin}"
        orders = [
            (f"{admin}/drain", "{}"),
            (f"{admin}/tickets/prize", '{"forged":1}'),
            (f"{admin}/requests/{identity}/cancel", "{}"),
            (f"{admin}/requests/{identity}/extend", '{"by": "1d"}'),
        ]
        browser.get(f"http://{EVIL}:{peers.one.port}/")
        before = proxy.log.count("Operator ")
        tried = run(browser, TRIES % json.dumps(orders))
        assert "sent" in tried
        for origin in ("page", "null"):
            for url, body in orders:
                run(browser, FORM % json.dumps([url, body, origin]))
        refused = proxy.log.count("Operator ") - before
        assert refused >= len(orders) * 4, proxy.log
        lines = [line for line in proxy.log.splitlines() if "Operator " in line][before:]
        assert all(": refused, 4" in line for line in lines), lines
        (row,) = proxy.status()["parked"]
        assert (row["id"], row["deadline_s"] < 61) == (identity, True)
        assert not proxy.log.count("drain: begun")
        client.close()


def test_a_name_that_was_made_to_point_here_gives_no_order(proxy: Proxy, browser: Chrome) -> None:
    browser.get(f"http://{EVIL}:{proxy.admin}/healthz")  # for the browser, all of it is one origin now
    answer = run(
        browser,
        'return fetch("/drain", {method: "POST", headers: {"Content-Type": "application/json"}, body: "{}"})'
        ".then(async (reply) => [reply.status, (await reply.json()).error])",
    )
    assert answer[0] == 421
    assert f'Host "{EVIL}:{proxy.admin}" is not this listener' in answer[1]


def test_our_own_page_gives_orders(proxy: Proxy, browser: Chrome) -> None:
    with held(proxy) as (client, identity):
        for host, status in (("localhost", 200), ("127.0.0.1", 404)):
            browser.get(f"http://{host}:{proxy.admin}/healthz")
            script = (
                f'return fetch("/requests/{identity}/cancel", {{method: "POST", body: "{{}}", '
                'headers: {"Content-Type": "application/json"}}).then((reply) => reply.status)'
            )
            assert run(browser, script) == status
        assert client.reply().status == 503


def test_people_log_in_by_keyboard_and_give_orders(tmp_path: Path, reactor_name: str, browser: Chrome) -> None:
    token = 'token = "secret"'  # the end of the table before
    proxy = Proxy(tmp_path, reactor_name, f'{token}\n[[route]]\nmodule = "status"\n')
    try:
        browser.get(f"http://localhost:{proxy.admin}/status")
        types(browser, "secre")
        until(lambda: "That is not the token." in text(browser), lambda: text(browser))
        types(browser, "secret")
        until(lambda: "Parked requests" in text(browser), lambda: text(browser))
        assert run(browser, "return document.cookie") == ""
        browser.get(f"http://localhost:{proxy.admin}/healthz")
        script = 'return fetch("/drain", {method: "POST", body: "{}", headers: {"Content-Type": "application/json"}})'
        assert run(browser, f"{script}.then((reply) => reply.status)") == 202
        assert proxy.process.wait(20) == 0, proxy.log
        assert "secret" not in proxy.log
    finally:
        proxy.process.kill()
        proxy.process.wait()
