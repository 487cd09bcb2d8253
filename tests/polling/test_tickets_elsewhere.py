"""Tickets behind the boundary that are kept elsewhere: each question takes time on its way, and so does each answer.

What a Redis would be, in small: names are in a book that hears of everything later; whether a value was given, the
process says in which the request waits, or the time-out and the resume would both be told that they came first.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

import asyncproxy
from asyncproxy import Module, Park, Proxy, Receipt, Request, Response, TicketRefused, gather, resuming, sleep, ticket
from asyncproxy.boundaries import Clock
from asyncproxy.boundaries import Tickets as Boundary
from asyncproxy.exchange.errors import ProxyError
from asyncproxy.exchange.tickets import Holder, Once, TicketBook, TicketLimits
from asyncproxy.testing import Lab
from asyncproxy.testing.lab_house import LabHouse

WAY = 0.1
"""Seconds from here to there, and from there to here."""
HERE = "tests.polling.test_tickets_elsewhere"


class Elsewhere:
    """See above."""

    def __init__(self, clock: Clock, limits: TicketLimits) -> None:
        self.book = TicketBook(clock.seconds, limits)
        self.clock = clock
        self.holders: dict[Holder, str] = {}
        """Those of this process."""
        self._on_its_way: deque[Callable[[], Any]] = deque()

    def _send(self, call: Callable[..., Any], *args: Any) -> None:
        """Call it after `WAY`; what was sent first arrives first."""
        self._on_its_way.append(partial(call, *args))
        self.clock.callLater(WAY, lambda: self._on_its_way.popleft()())

    def claim(self, name: str, bind: str | None, holder: Holder) -> None:
        self.holders[holder] = name
        self._send(self._claim, name, bind, holder)

    def _claim(self, name: str, bind: str | None, holder: Holder) -> None:
        try:
            value = self.book.claim(name, bind, holder)
        except ProxyError as taken:
            self._send(self._give, holder, holder.fail, taken)
            return
        if value is not None:
            self._send(self._give, holder, holder.resumed, value)

    def _give(self, holder: Holder, tell: Callable[[Any], None], what: Any) -> bool:
        if self.holders.pop(holder, None) is None:
            return False
        tell(what)
        return True

    def withdraw(self, name: str, holder: Holder, why: str) -> None:
        if self.holders.pop(holder, None) is not None:
            self._send(self.book.withdraw, name, holder, why)

    def resume(
        self, name: str, value: bytes, bind: str | None = None, by: str = "", once: Once | None = None
    ) -> Deferred[Receipt]:
        answer: Deferred[Receipt] = Deferred()
        self._send(self._resume, answer, name, value, bind, by, once)
        return answer

    def _resume(self, answer: Deferred[Receipt], name: str, value: bytes, *rest: Any) -> None:
        try:
            receipt, holder = self.book.resume(name, value, *rest)
        except ProxyError as refused:
            self._send(answer.errback, refused)
            return
        if holder is None:
            self._send(answer.callback, receipt)
        else:
            self._send(self._hand, answer, receipt, holder, value)

    def _hand(self, answer: Deferred[Receipt], receipt: Receipt, holder: Holder, value: bytes) -> None:
        given = self._give(holder, holder.resumed, value)
        late = TicketRefused(410, receipt.ticket, "lapsed", "it came too late")
        self._send(self._send, *((answer.callback, receipt) if given else (answer.errback, late)))

    def look(self, name: str) -> Deferred[dict[str, Any]]:
        return deferLater(self.clock, 2 * WAY, self.book.look, name)  # type: ignore[arg-type]

    def holds(self, name: str) -> bool:
        return name in self.holders.values()

    def limit(self, limits: TicketLimits) -> None:
        self.book.limits = limits

    def statistics(self) -> dict[str, int]:
        return self.book.statistics()


class Waits(Module):
    """Waits by `make`, and notes how it ended."""

    def __init__(self, make: Callable[[Request], Any] = lambda request: ticket(request.path[1:], timeout=5)) -> None:
        super().__init__()
        self.make = make
        self.ends: list[Any] = []

    async def handle(self, request: Request) -> Response:
        try:
            value = await self.make(request)
        except BaseException as error:
            self.ends.append(type(error).__name__)
            raise
        self.ends.append(value)
        return Response.json(value)


class WaitsHere(Waits):
    blocking = False


class Parks(Waits):
    def handle(self, request: Request) -> Park:  # type: ignore[override]
        return Park(self.make(request), resume=self.woken)

    def woken(self, _request: Request, woken: Any) -> Response:
        self.ends.append(woken.value)
        return Response.json(woken.value)


class Resumes(Module):
    """Resumes the ticket that its path says."""

    blocking = False

    async def handle(self, request: Request) -> Response:
        return Response.text((await asyncproxy.resume(request.path.rpartition("/")[2], "by a module")).state)


class Asks(Module):
    """Answers with the value of a ticket; for a proxy on a reactor."""

    async def handle(self, _request: Request) -> Response:
        return Response.json(await ticket("t", timeout=20))


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resuming, "_open", [])
    monkeypatch.setattr(LabHouse, "make_tickets", lambda _house, clock, limits: Elsewhere(clock, limits))


def test_it_is_what_the_boundary_asks_for() -> None:
    tickets: Boundary = Elsewhere(Lab(Waits).clock, TicketLimits())
    assert tickets.statistics()["parked"] == 0


@pytest.mark.parametrize("kind", [Waits, WaitsHere, Parks])
def test_a_value_arrives_when_it_has_come_all_the_way(kind: type[Waits]) -> None:
    lab = Lab(kind)
    request = lab.get("/t")
    lab.advance(1)
    receipt = lab.resume("t", {"a": 1})
    lab.advance(2 * WAY)
    assert request.json() == {"a": 1}
    assert not receipt.done()
    lab.advance(2 * WAY)
    assert receipt.result(0).state == "settled"
    assert lab.stop() == []


@pytest.mark.parametrize("kind", [Waits, WaitsHere, Parks])
def test_a_value_that_came_first_and_a_name_that_is_taken_are_told_later(kind: type[Waits]) -> None:
    lab = Lab(kind)
    early = lab.resume("t", 1)
    lab.advance(1)
    assert early.result(0).state == "remembered"
    first = lab.get("/t")
    assert first.status is None
    lab.advance(1)
    assert first.json() == 1
    second, third = lab.get("/t"), lab.get("/t")
    lab.advance(1)
    assert (second.status, third.status) == (None, 409) if kind is not Parks else (None, 500)
    lab.resume("t", 2)
    lab.advance(1)
    assert second.json() == 2


def test_a_module_and_a_gather_and_a_link_find_them_too() -> None:
    tables = [{"path": "/r/", "module": Resumes}, {"path": "/l/", "module": "tickets"}]
    wait = Waits(lambda _: gather(ticket("a"), ticket("b"), sleep(0.5), ticket("c", timeout=3, default="nobody")))
    lab = Lab({"server": {"listen": "tcp:0"}, "route": [{"path": "/", "module": wait}, *tables]})
    request = lab.get("/")
    lab.advance(1)
    module, link = lab.get("/r/a"), lab.ticket_url("b", 60).removeprefix("http://lab")
    page = lab.get(link)
    lab.advance(1)
    assert (module.text, page.status) == ("settled", 200)
    form = {"content-type": "application/x-www-form-urlencoded"}
    click = lab.post(link, data=b"choice=0", headers=form)
    lab.advance(2)
    assert click.status == 200
    assert request.json() == ["by a module", True, None, "nobody"]


@pytest.mark.parametrize("default", [None, asyncproxy.RAISE])
def test_a_time_out_that_overtakes_the_value_is_all_that_anybody_is_told(default: Any) -> None:
    lab = Lab(Waits(lambda _: ticket("t", timeout=5, default=default)))
    request = lab.get("/")
    lab.advance(5 - WAY)
    receipt = lab.resume("t", "late")
    lab.advance(1)
    assert request.status == (504 if default is asyncproxy.RAISE else 200)
    assert isinstance(receipt.exception(0), TicketRefused)
    assert "late" not in lab.module.ends


def test_a_client_that_leaves_before_its_claim_has_arrived_leaves_the_name_free() -> None:
    lab = Lab(Waits)
    lab.disconnect(lab.get("/t"))
    lab.advance(1)
    assert lab.module.ends == ["ClientGone"]
    request = lab.get("/t")
    lab.advance(1)
    lab.resume("t", 1)
    lab.advance(1)
    assert request.json() == 1


def test_a_canceller_that_fails_keeps_nobody_from_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: Any) -> None:
        raise ConnectionError("the line is dead")

    monkeypatch.setattr(Elsewhere, "withdraw", broken)
    lab = Lab(Waits(lambda _: ticket("t", timeout=5, default="nobody")))
    request = lab.get("/")
    lab.advance(5)
    assert request.json() == "nobody"


def test_a_resume_that_cannot_be_asked_for_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: Any) -> None:
        raise ConnectionError("the line is dead")

    monkeypatch.setattr(Elsewhere, "resume", broken)
    lab = Lab(Waits)
    assert isinstance(lab.resume("t", 1).exception(0), ConnectionError)


def one_of_many(seed: int) -> None:
    """Requests for two names, resumes, and clients that leave, at random times: each is told one thing, the same."""
    lot = random.Random(seed)
    lab = Lab([Waits, WaitsHere][seed % 2], seed=seed, allow_parked=True)
    requests, receipts, gone = [], [], set()
    for number in range(lot.randrange(4, 14)):
        what = lot.randrange(5)
        if what < 2:
            requests.append(lab.get(f"/{lot.choice('ab')}"))
        elif what < 4:
            receipts.append((number, lab.resume(lot.choice("ab"), number)))
        elif requests:
            leaver = lot.randrange(len(requests))
            if requests[leaver].status is None and leaver not in gone:
                gone.add(leaver)
                lab.disconnect(requests[leaver])
        lab.advance(lot.choice([0, 0, WAY / 2, WAY, 2 * WAY, 5 - WAY, 5]))
    lab.advance(7)
    ends = lab.module.ends
    assert len(ends) == len(requests)
    stays = [request for at, request in enumerate(requests) if at not in gone]
    assert {request.status for request in stays} <= {200, 409, 504}
    assert all(future.done() for _, future in receipts)
    given = [end for end in ends if isinstance(end, int)]
    assert len(given) == len(set(given))
    told = {number: future for number, future in receipts if future.exception(0) is None}
    settled = {number for number, future in told.items() if future.result(0).state == "settled"}
    assert settled <= set(given) <= set(told)
    assert lab.parked() == []
    assert lab.house.tickets.holders == {}
    assert lab.house.tickets.statistics()["parked"] == 0


def test_each_wait_ends_once_and_a_settled_ticket_was_given_its_value() -> None:
    for seed in range(300):
        one_of_many(seed)


@pytest_twisted.ensureDeferred
async def test_a_proxy_is_given_them_and_leaves_no_thread_waiting_when_it_stops(reactor: Any) -> None:
    config = {"server": {"listen": "tcp:0:interface=127.0.0.1"}, "route": [{"module": f"{HERE}:Asks"}]}
    proxy = Proxy(config, reactor, tickets=Elsewhere)
    await proxy.start()
    assert isinstance(proxy.tickets, Elsewhere)
    receipt = asyncproxy.resume("t", 1)
    while not receipt.done():
        await deferLater(reactor, 0.01)
    assert (receipt.result(0).state, (await proxy.ticket("t"))["state"]) == ("remembered", "remembered")
    asked = proxy.resume("u", 1)
    await proxy.stop()
    with pytest.raises(RuntimeError, match=r"resume\('u'\): the proxy stopped before it knew what came of it"):
        asked.result(0)
    await deferLater(reactor, 3 * WAY)  # the answer comes, and changes nothing
