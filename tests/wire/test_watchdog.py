"""The watchdog in a real process: workers that are kept, a reactor that is held, a process that is stopped."""

from __future__ import annotations

import signal

from tests.wire import modules_under_test
from tests.wire.conftest import Peers
from tests.wire.peers import Gate, request, until
from tests.wire.proxies import Proxy
from tests.wire.test_holding import line_of

HERE = "tests.wire.modules_under_test"
SERVER = 'stall = "200ms"'


def configuration(peers: Peers) -> str:
    names = ("Blocker", "HoldsEverybody", "Notes", "Sleeper")
    return "".join(f'[[route]]\npath = "/{name.lower()}"\nmodule = "{HERE}:{name}"\n' for name in names)


def lines(proxy: Proxy, words: str) -> list[str]:
    return [line for line in proxy.log.splitlines() if words in line]


def test_a_worker_that_is_kept_is_logged_once_and_shown_while_it_lasts(proxy: Proxy, gate: Gate) -> None:
    known, total = len(lines(proxy, "has kept its worker")), proxy.status()["stalled_total"]
    with proxy.client() as client:
        client.send(request("GET", f"/blocker?gate={gate.port}"))
        gate.arrived()
        (row,) = until(lambda: proxy.status()["stalled"], "it is shown")
        until(lambda: proxy.status()["stalled"][0]["for_s"] > 0.5, "time passes")
        (line,) = lines(proxy, "has kept its worker")[known:]
        gate.open()
        assert client.reply().status == 200
    proxy.idle()
    assert row["module"] == f"{HERE}:Blocker"
    assert row["at"] == line_of(modules_under_test.stand, "gate.recv(1)")
    assert f"{HERE}:Blocker: GET /blocker?gate={gate.port} ({row['id']})" in line
    assert "modules_under_test.py:" in line
    assert "in stand" in proxy.log
    until(lambda: proxy.status()["stalled"] == [], "it is over")
    assert proxy.status()["stalled_total"] == total + 1
    assert len(lines(proxy, "has kept its worker")) == known + 1


def test_a_reactor_that_is_held_is_logged_with_the_line_that_holds_it(proxy: Proxy) -> None:
    before = proxy.status()["held"]["holds"]
    with proxy.client() as client:
        assert client.get("/holdseverybody").status == 200
    until(lambda: proxy.status()["held"]["holds"] > before, "it is counted")
    at = line_of(modules_under_test.HoldsEverybody.handle, "time.sleep(0.5)")
    found = until(lambda: lines(proxy, "The polling thread was held for"), "it is logged")
    assert any(at in line for line in found), found
    assert f"{HERE} at " in next(line for line in found if at in line)


def test_what_is_parked_keeps_no_worker(proxy: Proxy) -> None:
    total = proxy.status()["stalled_total"]
    with proxy.client() as client:
        assert client.get("/sleeper?for=0.6").status == 200
    assert proxy.status()["stalled_total"] == total


def test_a_process_that_was_stopped_for_a_while_has_kept_and_held_nobody(proxy: Proxy) -> None:
    status = proxy.status()
    with proxy.client() as client:
        proxy.process.send_signal(signal.SIGSTOP)
        try:
            client.send(request("GET", "/notes?key=none"))
            client.sock.settimeout(1)
            try:
                client.head()
                raise AssertionError("a process that is stopped answers")
            except TimeoutError:
                pass
        finally:
            proxy.process.send_signal(signal.SIGCONT)
        client.sock.settimeout(10)
        assert client.reply().status == 200
    now = proxy.status()
    assert (now["stalled_total"], now["held"]) == (status["stalled_total"], status["held"])
