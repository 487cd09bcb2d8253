"""A proxy inside a program, here pytest's: what the README promises of it."""

from __future__ import annotations

import sys
import threading
from typing import Any, ClassVar

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from asyncproxy import Module, Proxy, Request, Response, on_reactor
from asyncproxy.service import NotStarted
from asyncproxy.testing import Lab
from tests.service.test_reloading import Caller

SETTINGS = {"server": {"listen": "tcp:0:interface=127.0.0.1"}, "route": [{"module": "status"}]}


class Lingers(Module):
    """Stops when `gate` fires."""

    gate: ClassVar[Deferred[None]]

    def handle(self, request: Request) -> Response:
        return Response(204)

    async def stop(self) -> None:
        await on_reactor(lambda: self.gate)


def ours() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("asyncproxy")}


@pytest_twisted.ensureDeferred
async def test_three_lines_start_a_proxy_in_a_test() -> None:
    proxy = Proxy(SETTINGS)
    await proxy.start()
    assert proxy.addresses[0].port
    await proxy.stop()
    assert ours() == set()


@pytest_twisted.ensureDeferred
async def test_a_proxy_takes_the_reactor_that_runs_when_it_is_given_none(reactor: Any) -> None:
    proxy = Proxy(SETTINGS)
    await proxy.start()
    assert proxy.reactor is reactor
    await proxy.stop()


@pytest_twisted.ensureDeferred
async def test_two_proxies_of_one_process_have_nothing_in_common(reactor: Any) -> None:
    first, second = Proxy(SETTINGS, reactor), Proxy(SETTINGS, reactor)
    await gatherResults([first.start(), second.start()])
    assert first.addresses[0].port != second.addresses[0].port
    await first.stop()
    assert ours()  # the second one's
    assert second.snapshot()["workers"]["total"] == 5
    assert second.bindings[0].module.proxy is second
    await second.stop()
    assert ours() == set()


@pytest_twisted.ensureDeferred
async def test_a_proxy_in_a_program_tunes_nothing_of_the_process(reactor: Any) -> None:
    interval = sys.getswitchinterval()
    proxy = Proxy(SETTINGS, reactor)
    await proxy.start()
    assert sys.getswitchinterval() == interval
    await proxy.stop()


def test_a_proxy_that_is_made_and_not_started_holds_nothing() -> None:
    before = threading.active_count()
    Proxy(SETTINGS)
    assert threading.active_count() == before
    assert Lab(SETTINGS).get("/healthz").status == 200


@pytest_twisted.ensureDeferred
async def test_a_proxy_that_runs_or_still_stops_is_not_started_again(reactor: Any) -> None:
    proxy = Proxy(SETTINGS, reactor)
    await proxy.start()
    with pytest.raises(NotStarted, match=r"the proxy runs: call stop\(\)"):
        await proxy.start()
    stopped = proxy.stop()
    if not proxy._ended.called:  # type: ignore[union-attr]
        with pytest.raises(NotStarted):
            await proxy.start()
    await stopped
    assert ours() == set()
    assert proxy.addresses == []


@pytest_twisted.ensureDeferred
async def test_a_proxy_that_is_started_again_counts_again(reactor: Any) -> None:
    proxy = Proxy({**SETTINGS, "admin": {"listen": "tcp:0:interface=127.0.0.1"}}, reactor)
    for _ in range(2):
        await proxy.start()
        Caller(proxy).get().leave()
        assert b'asyncproxy_requests_total{route="/",status="3xx"} 1.0\n' in proxy.metrics()
        await proxy.stop()


@pytest_twisted.ensureDeferred
async def test_a_proxy_for_which_there_are_no_threads_leaves_none_behind(reactor: Any, monkeypatch: Any) -> None:
    proxy = Proxy(SETTINGS, reactor)
    begin, begun = threading.Thread.start, []

    def start(thread: threading.Thread) -> None:
        if len(begun) == 2:
            raise RuntimeError("can't start new thread")
        begun.append(thread)
        begin(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        started = proxy.start()
    with pytest.raises(RuntimeError, match="can't start new thread"):
        await started
    assert ours() == set()
    await proxy.start()
    await proxy.stop()


@pytest_twisted.ensureDeferred
async def test_a_proxy_starts_again_once_it_has_stopped_and_not_before(reactor: Any) -> None:
    proxy = Proxy({**SETTINGS, "route": [{"module": f"{__name__}:Lingers"}]}, reactor)
    await proxy.start()
    Lingers.gate = Deferred()
    ending = proxy.stop()
    with pytest.raises(NotStarted):
        await proxy.start()
    Lingers.gate.callback(None)
    await ending
    await proxy.start()
    assert proxy.addresses[0].port
    await proxy.stop()
    assert ours() == set()


@pytest.mark.parametrize("endpoint", ["unix:/nonexistent/proxy.sock", "tpc:8080"])
@pytest_twisted.ensureDeferred
async def test_what_cannot_be_listened_on_is_told_with_its_key(reactor: Any, endpoint: str) -> None:
    proxy = Proxy({**SETTINGS, "server": {"listen": endpoint}}, reactor)
    with pytest.raises(NotStarted, match=f'^server.listen: "{endpoint}" cannot be listened on: '):
        await proxy.start()
    assert ours() == set()
