from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.wire.environments import build
from tests.wire.peers import PATIENCE, Gate, Upstream, free_port, full_backlog, tool
from tests.wire.proxies import ROOT, Proxy


class Peers:
    """What the proxies of one test file talk to."""

    def __init__(self, directory: Path) -> None:
        self.one, self.two = Upstream(), Upstream()
        self.unix = Upstream(str(directory / "upstream"))
        self.raw = socket.create_server(("127.0.0.1", 0))
        """A listener that speaks no HTTP."""
        self.raw.settimeout(PATIENCE)
        self.stack = contextlib.ExitStack()
        self.full = f"http://127.0.0.1:{self.stack.enter_context(full_backlog())}"
        """A server that does not accept."""
        self.refused = f"http://127.0.0.1:{free_port()}"

    @property
    def every(self) -> tuple[Upstream, ...]:
        return (self.one, self.two, self.unix)


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    peers = Peers(tmp_path_factory.mktemp("peers"))
    yield peers
    peers.raw.close()
    peers.stack.close()
    for upstream in peers.every:
        upstream.stop()


@pytest.fixture(scope="module", params=["uvloop", "epoll"])
def reactor_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def make_proxy(
    peers: Peers, tmp_path_factory: pytest.TempPathFactory, reactor_name: str
) -> Iterator[Callable[..., Proxy]]:
    """Starts proxies for the tests of one file on one reactor; they end together."""
    running: list[Proxy] = []

    def make(rest: str, server: str = "") -> Proxy:
        proxy = Proxy(tmp_path_factory.mktemp("proxy"), reactor_name, rest, server)
        running.append(proxy)
        return proxy

    yield make
    for proxy in running:
        proxy.stop()


@pytest.fixture(scope="module")
def module_proxy(request: pytest.FixtureRequest, make_proxy: Callable[..., Proxy], peers: Peers) -> Proxy:
    """The proxy of a test file, configured by its `configuration(peers)`; its `SERVER` goes into [server]."""
    module: Any = request.module
    return make_proxy(module.configuration(peers), getattr(module, "SERVER", ""))


@pytest.fixture
def proxy(module_proxy: Proxy, peers: Peers) -> Iterator[Proxy]:
    """The file's proxy, at rest before and after the test."""
    yield module_proxy
    for upstream in peers.every:
        upstream.reset()
    module_proxy.idle()
    for upstream in peers.every:
        upstream.calls.clear()


@pytest.fixture
def upstream(peers: Peers, proxy: Proxy) -> Upstream:
    """The upstream that the file's routes lead to, scripted anew by each test."""
    return peers.one


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.close()


@pytest.fixture(scope="session")
def curl() -> str:
    """Where curl is."""
    return tool("curl", "apt-get install curl")


@pytest.fixture(scope="session")
def asyncproxy_built(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The wheel and the sdist of this checkout, built once."""
    return build(ROOT, tmp_path_factory.mktemp("dist"), "wheel", "sdist")


@pytest.fixture(scope="session")
def asyncproxy_wheel(asyncproxy_built: list[Path]) -> Path:
    return asyncproxy_built[0]


@pytest.fixture(scope="session")
def asyncproxy_sdist(asyncproxy_built: list[Path]) -> Path:
    return asyncproxy_built[1]
