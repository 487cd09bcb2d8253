"""A request that is over is freed at once, without the collector: what it awaited and what it was hold nobody.

With thousands of requests a second, what only the collector frees makes it stop everything for a quarter of a second.
"""

from __future__ import annotations

import concurrent.futures
import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from asyncproxy import Module, Park, Request, Response, TicketRefused, gather, on_reactor, sleep, ticket
from asyncproxy.polling.flow import Exchange
from asyncproxy.polling.parking import Parked
from tests.fakes import House


class Awaits(Module):
    def __init__(self, wait: Callable[[], Any]) -> None:
        super().__init__()
        self.wait = wait

    async def handle(self, request: Request) -> Response:
        await self.wait()
        return Response()


class AwaitsHere(Awaits):
    blocking = False


class Parks(Awaits):
    def handle(self, request: Request) -> Park:  # type: ignore[override]
        return Park(self.wait(), resume=lambda request, woken: Response(), gone=lambda request, woken: None)


class World:
    """What the requests of a test wait for."""

    def __init__(self) -> None:
        self.futures: list[concurrent.futures.Future[int]] = []
        self.deferreds: list[Deferred[int]] = []

    def future(self) -> Any:
        self.futures.append(concurrent.futures.Future())
        return self.futures[-1]

    def deferred(self) -> Any:
        return on_reactor(self._deferred)

    def _deferred(self) -> Deferred[int]:
        self.deferreds.append(Deferred())
        return self.deferreds[-1]

    def come_about(self, house: House) -> None:
        for name in ("t", "u"):
            house.tickets.resume(name, b"1").addErrback(lambda failure: failure.trap(TicketRefused))
        for future in self.futures:
            if not future.cancelled():
                future.set_result(1)
        for deferred in self.deferreds:
            if not deferred.called:
                deferred.callback(1)
        self.futures.clear()
        self.deferreds.clear()
        house.advance(5)


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    gc.freeze()  # what other tests have left is not looked at
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()


def held() -> list[Any]:
    return [one for one in gc.get_objects() if isinstance(one, (Exchange, Parked))]


WAITS = {
    "future": lambda world: world.future(),
    "deferred": lambda world: world.deferred(),
    "ticket": lambda world: ticket("t"),
    "ticket with a time-out": lambda world: ticket("t", timeout=9),
    "ticket that is late": lambda world: ticket("late", timeout=2, default=None),
    "sleep": lambda world: sleep(2),
    "gather": lambda world: gather(ticket("t"), world.future(), ticket("u", timeout=9)),
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS.keys())
@pytest.mark.parametrize("kind", [Awaits, AwaitsHere, Parks])
@pytest.mark.parametrize("end", ["answered", "left", "late"])
def test_nothing_of_a_request_waits_for_the_collector(kind: type[Awaits], wait: Any, end: str) -> None:
    world = World()
    house = House(kind(lambda: wait(world)), route={"timeout": "100s"})
    client = house.get()
    assert len(held()) >= 2
    if end == "left":
        client.leave()
        house.settle()
    elif end == "late":
        house.wheel.advance(101)
        house.settle()
    world.come_about(house)
    assert client.status == {"answered": 200, "left": None, "late": 504}[end]
    assert not house.flow.exchanges
    house.advance(60)
    assert held() == []
