"""SIGTERM, as an operator sends it: what runs finishes, nobody new comes in, and the exit status tells who was cut."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.wire.conftest import Peers
from tests.wire.peers import Call, Client, Gate, free_port, hello, request, until
from tests.wire.proxies import ROOT, TWISTD, WORRIES, Proxy, environment, routes

HELD = 40


def configuration(peers: Peers) -> str:
    return f"""
[upstream.one]
servers = ["{peers.one.url}"]
[[route]]
module = "reverse"
upstream = "one"
{routes("ForwardHolder", "Sleeper", "Blocker")}
"""


@pytest.fixture
def start(peers: Peers, tmp_path: Path, reactor_name: str) -> Iterator[Callable[[str], Proxy]]:
    """Starts a proxy that drains for so long; a test ends it."""
    running: list[Proxy] = []

    def start(drain: str) -> Proxy:
        proxy = Proxy(tmp_path, reactor_name, configuration(peers), drain=drain)
        running.append(proxy)
        return proxy

    yield start
    for proxy in running:
        if proxy.process.poll() is None:
            proxy.process.kill()
            proxy.process.wait()
    peers.one.reset()


def ended(proxy: Proxy, status: int) -> str:
    """Its log, once it has ended with `status` and without a worry."""
    try:
        assert proxy.process.wait(25) == status, proxy.log
    except subprocess.TimeoutExpired:
        raise AssertionError(f"it does not end: {proxy.log}") from None
    assert not any(worry in proxy.log for worry in WORRIES), proxy.log
    return proxy.log


def refuses(port: int) -> bool:
    try:
        Client(port).close()
    except ConnectionError:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_held_is_answered_and_nobody_else_comes_in(
    start: Callable[[str], Proxy], peers: Peers, number: int
) -> None:
    proxy, release = start("20s"), threading.Event()

    def slow(call: Call) -> None:
        release.wait(30)
        hello(call)

    peers.one.script = slow
    with contextlib.ExitStack() as stack:
        idle = stack.enter_context(proxy.client())
        assert idle.get("/notes").status == 200
        clients = [stack.enter_context(proxy.client()) for _ in range(HELD)]
        for index, client in enumerate(clients):
            client.send(request("GET", f"{'/ForwardHolder' if index % 2 else ''}/{index}"))
        proxy.staged(PARKED=HELD)
        proxy.process.send_signal(number)
        assert idle.ended()
        until(lambda: refuses(proxy.port), "new connections are refused")
        with Client(proxy.admin) as admin:
            assert admin.get("/healthz").status == 503
            assert admin.get("/status.json").json()["parked_total"] == HELD
        release.set()
        replies = [client.reply() for client in clients]
        assert [reply.status for reply in replies] == [200] * HELD
        assert {reply.get("connection") for reply in replies} == {"close"}
    assert "Drained: nobody was cut" in ended(proxy, 0)


def test_what_is_not_through_is_cut_named_and_told_by_the_exit_status(start: Callable[[str], Proxy]) -> None:
    proxy = start("300ms")
    with proxy.client() as client:
        client.send(request("GET", "/Sleeper?for=60"))
        proxy.staged(PARKED=1)
        proxy.process.send_signal(signal.SIGTERM)
        reply = client.reply()
    assert (reply.status, reply.get("connection")) == (503, "close")
    log = ended(proxy, 1)
    assert "1 cut, not through within 0.3 s:" in log
    assert "GET /Sleeper?for=60" in log
    assert "waits for sleep 60 s at modules_under_test.py:" in log


def test_a_second_signal_ends_it_at_once(start: Callable[[str], Proxy]) -> None:
    proxy = start("10m")
    with proxy.client() as client:
        client.send(request("GET", "/Sleeper?for=600"))
        proxy.staged(PARKED=1)
        proxy.process.send_signal(signal.SIGTERM)
        until(lambda: refuses(proxy.port), "it drains")
        proxy.process.send_signal(signal.SIGTERM)
        client.rest()
    assert "1 cut, told to end at once:" in ended(proxy, 1)


def test_a_module_that_blocks_for_ever_does_not_keep_the_process(start: Callable[[str], Proxy], gate: Gate) -> None:
    proxy = start("10m")
    with proxy.client() as client:
        client.send(request("GET", f"/Blocker?gate={gate.port}"))
        proxy.staged(WORKING=1)
        proxy.process.send_signal(signal.SIGTERM)
        until(lambda: refuses(proxy.port), "it drains")
        proxy.process.send_signal(signal.SIGTERM)
        assert "Gave up a module that blocks: tests.wire.modules_under_test:Blocker: GET /Blocker" in ended(proxy, 1)


def test_a_daemon_serves_drains_and_takes_its_pid_file_away(peers: Peers, tmp_path: Path, reactor_name: str) -> None:
    port, pid, log = free_port(), tmp_path / "pid", tmp_path / "log"
    config = tmp_path / "proxy.toml"
    config.write_text(f'[server]\nlisten = "tcp:{port}:interface=127.0.0.1"\n{configuration(peers)}')
    chosen = () if reactor_name == "uvloop" else (f"--reactor={reactor_name}",)
    arguments = (f"--pidfile={pid}", f"--logfile={log}", *chosen, "asyncproxy", "--config", str(config))
    subprocess.run([TWISTD, *arguments], cwd=ROOT, env=environment(), timeout=30, check=True)
    until(pid.exists, "it has a pid")
    number = int(until(pid.read_text, "it has written its pid"))
    try:
        until(lambda: not refuses(port), "it listens")
        with Client(port) as client:
            client.send(request("GET", "/Sleeper?for=1"))
            with Client(port) as other:
                assert other.get("/notes").status == 200
            os.kill(number, signal.SIGTERM)
            assert client.reply().text == "slept"
        until(lambda: not pid.exists(), "it has ended")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    assert "Drained: nobody was cut" in log.read_text()
