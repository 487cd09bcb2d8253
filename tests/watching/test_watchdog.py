"""The watchdog as a whole: by hand, and as a thread beside a real reactor and real workers."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import deferLater
from twisted.logger import capturedLogs, formatEvent

from asyncproxy import Module, Proxy, Response
from asyncproxy.testing.stepping import PollingRound
from asyncproxy.watching.stacks import Call, Stack
from asyncproxy.watching.watchdog import EVERY, Watchdog
from tests.fakes import House

waits = pytest_twisted.ensureDeferred
STACK = Stack((Call("mine", "Slow.handle", "/srv/mine.py", 31),))


class Turn:
    exchange = None
    began = 1000.0


class Hand:
    """A watchdog whose looks, clock and CPU time a test moves."""

    def __init__(self) -> None:
        self.now, self.cpu = 1000.0, 5.0
        self.idle = False
        self.polling = PollingRound()
        self.running: dict[int, Any] = {}
        self.dog = Watchdog(
            self,
            self.polling,
            1.0,
            seconds=lambda: self.now,
            computed=lambda: self.cpu,
            stack_of=lambda _: STACK,
            waits=lambda _: self.idle,
        )
        self.dog.begin()

    def runs(self) -> dict[int, Any]:
        return self.running

    def look(self, after: float, *, computed: float = 0.0, turning: bool = True) -> None:
        self.now += after
        self.cpu += computed
        if turning:
            self.polling.step()
        self.dog.look()


def test_a_process_that_was_stopped_is_told_nothing_of_it() -> None:
    hand = Hand()
    hand.running[1] = Turn()
    with capturedLogs() as logged:
        hand.look(EVERY)
        hand.look(3600, turning=False)
        hand.look(EVERY)
    assert not logged
    assert hand.dog.statistics() == {"stalled": 0, "held": 0}


def test_a_process_that_computed_and_let_nobody_look_was_held() -> None:
    hand = Hand()
    hand.look(EVERY)
    with capturedLogs() as logged:
        hand.look(1.5, computed=1.4, turning=False)
        hand.look(EVERY)
    (line,) = map(formatEvent, logged)
    assert "interpreter's lock" in line
    assert hand.dog.statistics() == {"stalled": 0, "held": 1}


def test_what_is_held_and_kept_is_shown() -> None:
    hand = Hand()
    hand.running[1] = Turn()
    for _ in range(50):
        hand.look(EVERY)
    for _ in range(10):
        hand.look(EVERY, turning=False)
    shown = hand.dog.shown()
    assert [(row["module"], row["at"]) for row in shown["stalled"]] == [(None, "mine.py:31")]
    assert shown["stalled_total"] == 1
    assert shown["held"]["holds"] == 1
    assert shown["held"]["latest"]["at"] == "mine.py:31"
    assert repr(hand.dog).startswith("<Watchdog not started, <Stalls 1 workers kept")


@pytest.mark.parametrize("idle", [True, False])
def test_a_process_that_was_stopped_while_it_idled_or_worked_is_told_nothing(idle: bool) -> None:
    hand = Hand()
    hand.idle = idle
    with capturedLogs() as logged:
        for _ in range(5):
            hand.look(EVERY)
            hand.look(60, turning=idle)
            hand.look(EVERY)
    assert not logged
    assert hand.dog.statistics()["held"] == 0


def test_in_a_house_nobody_watches() -> None:
    house = House("status")
    assert house.get("/status.json").status == 200
    assert house.snapshot()["stalled"] == []
    assert "not started" in repr(house.watchdog)


# Beside a real reactor.

ROUTE = {"module": f"{__name__}:Kept"}
SETTINGS = {"server": {"listen": "tcp:0:interface=127.0.0.1", "stall": "50ms"}, "route": [ROUTE]}


class Kept(Module):
    def handle(self, request: Any) -> Response:
        return Response()


def watching() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "asyncproxy-watchdog"]


def wait_here(proceed: threading.Event) -> None:
    proceed.wait(10)


@waits
async def test_a_worker_that_is_kept_is_told_where(reactor: Any) -> None:
    proxy = Proxy(SETTINGS, reactor)
    await proxy.start()
    proceed = threading.Event()
    try:
        with capturedLogs() as logged:
            proxy.workers.callInThread(wait_here, proceed)
            for _ in range(1000):
                if proxy.snapshot()["stalled"]:
                    break
                await deferLater(reactor, 0.01)
            (row,) = proxy.snapshot()["stalled"]
    finally:
        proceed.set()
        await proxy.stop()
    assert row["at"] == f"test_watchdog.py:{wait_here.__code__.co_firstlineno + 1}"
    (line,) = (line for line in map(formatEvent, logged) if line and "has kept its worker" in line)
    assert "proceed.wait(10)" in line
    assert proxy.watchdog.statistics()["stalled"] == 1


@waits
async def test_a_polling_thread_that_is_held_is_told_by_what(reactor: Any) -> None:
    proxy = Proxy(SETTINGS, reactor)
    await proxy.start()
    try:
        with capturedLogs() as logged:
            await first_answer(reactor, proxy)
            end = time.monotonic() + 10
            before = proxy.watchdog.statistics()["held"]
            while proxy.watchdog.statistics()["held"] == before and time.monotonic() < end:
                threading.Event().wait(0.01)  # holds the polling thread until that is noticed
            for _ in range(1000):
                if any("was held" in (formatEvent(event) or "") for event in logged):
                    break
                await deferLater(reactor, 0.01)
    finally:
        await proxy.stop()
    (line, *_) = (line for line in map(formatEvent, logged) if line and "was held" in line)
    assert "test_watchdog.py" in line


async def first_answer(reactor: Any, proxy: Proxy) -> None:
    """Until the first question has been answered."""
    for _ in range(1000):
        if proxy.watchdog._pulse._since != float("inf"):
            return
        await deferLater(reactor, 0.01)


@waits
async def test_the_thread_ends_with_the_proxy(reactor: Any) -> None:
    proxy = Proxy(SETTINGS, reactor)
    await proxy.start()
    assert len(watching()) == 1
    await proxy.stop()
    assert watching() == []


@pytest.mark.parametrize("off", ["off", "0s"])
@waits
async def test_without_a_limit_nobody_watches(reactor: Any, off: str) -> None:
    server = {**SETTINGS["server"], "stall": off}  # type: ignore[dict-item]
    proxy = Proxy({**SETTINGS, "server": server}, reactor)
    await proxy.start()
    try:
        assert watching() == []
        assert proxy.snapshot()["stalled"] == []
    finally:
        await proxy.stop()
