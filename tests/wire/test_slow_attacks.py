"""Slow attacks of four kinds at once, by slowhttptest: whoever asks meanwhile is answered as ever."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.wire.conftest import Peers
from tests.wire.peers import Call, tool, until
from tests.wire.proxies import Proxy

CONNECTIONS = 100
SECONDS = 5
ATTACKS = {
    "/heads": ("-H", "-i", "1"),
    "/bodies": ("-B", "-i", "1", "-s", "100000"),
    "/page": ("-X", "-w", "256", "-y", "512", "-n", "1", "-z", "16", "-k", "3"),
    "/files/file": ("-R", "-a", "5", "-b", "1000", "-t", "GET"),
}
PAGE = bytes(1 << 20)


@pytest.fixture(scope="module")
def module_proxy(make_proxy: object, peers: Peers, tmp_path_factory: pytest.TempPathFactory) -> Proxy:
    assert callable(make_proxy)
    folder = tmp_path_factory.mktemp("served")
    Path(folder, "file").write_bytes(PAGE)
    made: Proxy = make_proxy(f"""
[limits]
body_rate_grace = "2s"
linger = "200ms"
[[route]]
module = "reverse"
upstream = "{peers.one.url}"
[[route]]
path = "/files/"
module = "resource"
settings = {{ resource = "twisted.web.static:File", args = ["{folder}"] }}
""")
    return made


@contextlib.contextmanager
def attack(proxy: Proxy) -> Iterator[list[subprocess.Popen[bytes]]]:
    """All four; they are ended with the block."""
    program = tool("slowhttptest", "apt-get install slowhttptest")
    count, url = str(CONNECTIONS), f"http://127.0.0.1:{proxy.port}"
    often = ("-c", count, "-r", count, "-l", str(SECONDS), "-v", "0")
    attackers = [
        subprocess.Popen(
            [program, *options, *often, "-u", url + path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for path, options in ATTACKS.items()
    ]
    try:
        yield attackers
    finally:
        for attacker in attackers:
            attacker.terminate()
        for attacker in attackers:
            attacker.wait(10)


def answer(call: Call) -> None:
    call.answer(PAGE if call.target == "/page" else b"small")


def test_whoever_asks_during_slow_attacks_is_answered(proxy: Proxy, peers: Peers) -> None:
    peers.one.script = answer
    seen = 0
    with attack(proxy) as attackers, proxy.client() as kept:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and any(attacker.poll() is None for attacker in attackers):
            with proxy.client() as client:
                assert client.get("/probe").text == "small"
            assert kept.get("/kept").text == "small"
            seen = max(seen, proxy.status("?limit=0")["clients"]["connections"])
            with contextlib.suppress(subprocess.TimeoutExpired):
                attackers[0].wait(0.1)
    assert seen > 2 * CONNECTIONS, "they came"
    until(lambda: proxy.status("?limit=0")["clients"]["connections"] == 0, "all are gone")
    assert proxy.status("?limit=0")["clients"]["limits_reached"].get("limits.body_rate", 0) > 0
