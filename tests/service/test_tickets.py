"""Tickets of proxies that run on a reactor: from threads, with several of them, over a reload and to the end."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

import asyncproxy
from asyncproxy import Module, Proxy, Receipt, Request, Response, TicketRefused, resuming, ticket
from asyncproxy.links import BadLink
from asyncproxy.service import NotStarted
from asyncproxy.testing import House, PollingRound
from tests.service.test_reloading import Caller, config, route

HERE = "tests.service.test_tickets"
waits = pytest_twisted.ensureDeferred


class Approves(Module):
    """Answers with the value of one ticket."""

    blocking = False
    name: str = "t"

    async def handle(self, request: Request) -> Response:
        return Response.json(await ticket(self.name))


class ApprovesOnWorkers(Approves):
    blocking = True


class ResumesAtTheEnd(Approves):
    """Another request's code is to go on when this one's client has gone."""

    async def handle(self, request: Request) -> Response:
        try:
            return Response.json(await ticket(self.name))
        finally:
            self.proxy.resume("log", "gone")


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Labs of other tests, which nobody stopped, may not be collected yet."""
    monkeypatch.setattr(resuming, "_open", [])


def settings(module: type[Module] = Approves, name: str = "t", **limits: Any) -> dict[str, Any]:
    row = {**route(module, name=name), "module": f"{HERE}:{module.__name__}"}
    return config(row, tickets=limits)  # type: ignore[no-any-return]


def in_a_thread(name: str, value: Any) -> Deferred[Receipt]:
    return deferToThread(lambda: asyncproxy.resume(name, value).result(10))


async def until(caller: Caller, reactor: Any) -> str:
    for _ in range(500):
        if caller.body:
            return str(caller.body)
        await deferLater(reactor, 0.01)
    raise AssertionError("never answered")


@waits
@pytest.mark.parametrize("module", [Approves, ApprovesOnWorkers])
async def test_any_thread_resumes_what_waits_and_hears_what_came_of_it(module: type[Module], reactor: Any) -> None:
    proxy = Proxy(settings(module), reactor)
    await proxy.start()
    caller = Caller(proxy).get()
    while not proxy.tickets.holds("t"):
        await deferLater(reactor, 0.01)
    answers = await gatherResults([in_a_thread("t", number).addErrback(lambda one: one.value) for number in range(8)])
    receipts = [answer for answer in answers if isinstance(answer, Receipt)]
    assert [receipt.state for receipt in receipts] == ["settled"]
    assert {answer.status for answer in answers if isinstance(answer, TicketRefused)} == {409}
    assert int(await until(caller, reactor)) in range(8)
    assert (await proxy.ticket("t"))["state"] == "settled"
    await proxy.stop()


@waits
async def test_tickets_of_two_proxies_have_nothing_in_common(reactor: Any) -> None:
    first, second = Proxy(settings(), reactor), Proxy(settings(), reactor)
    await gatherResults([first.start(), second.start()])
    callers = [Caller(proxy).get() for proxy in (first, second)]
    assert (await in_a_thread("t", 2)).state == "settled"
    assert (await in_a_thread("t", 1)).state == "settled"
    assert [caller.body for caller in callers] == ["1", "2"]
    second.resume("only here", 1)
    await deferLater(reactor, 0.01)
    assert [(await proxy.ticket("only here"))["state"] for proxy in (first, second)] == ["unknown", "remembered"]
    await second.stop()
    assert (await in_a_thread("u", 1)).state == "remembered"
    assert (await first.ticket("u"))["state"] == "remembered"
    await first.stop()
    with pytest.raises(RuntimeError, match="no proxy runs in this process"):
        asyncproxy.resume("t", 1)
    assert resuming._open == []


@waits
async def test_a_proxy_is_resumed_by_nobody_before_it_starts_and_after_it_has_stopped(reactor: Any) -> None:
    proxy = Proxy(settings(), reactor)
    with pytest.raises(RuntimeError, match=r"resume\('t'\): the proxy was not started"):
        proxy.resume("t", 1)
    await proxy.start()
    proxy.resume("t", 1)
    await proxy.stop()
    with pytest.raises(RuntimeError, match=r"resume\('t'\): the proxy does not run"):
        proxy.resume("t", 1)
    await proxy.start()
    assert (await proxy.ticket("t"))["state"] == "unknown"
    assert (await in_a_thread("t", 2)).state == "remembered"
    assert Caller(proxy).get().body == "2"
    await proxy.stop()


@waits
async def test_a_proxy_that_does_not_start_is_found_by_no_resume(reactor: Any) -> None:
    row = {"path": "/", "module": "tests.service.test_reloading:Broken"}
    with pytest.raises(NotStarted):
        await Proxy(config(row), reactor).start()
    assert resuming._open == []


@waits
async def test_a_reload_changes_the_limits_and_keeps_who_waits_and_what_is_known(reactor: Any) -> None:
    proxy = Proxy(settings(), reactor)
    await proxy.start()
    caller = Caller(proxy).get()
    for number in range(5):
        await in_a_thread(f"early {number}", number)
    await proxy.reload(settings(value="2B", max_remembered=5))
    with pytest.raises(TicketRefused, match=r"is 3 bytes, and tickets\.value allows 2") as refused:
        await in_a_thread("t", 100)
    assert refused.value.status == 413
    with pytest.raises(asyncproxy.Overloaded, match="5 values wait for requests"):
        await in_a_thread("early 5", 5)
    assert (await in_a_thread("t", 7)).state == "settled"
    assert caller.body == "7"
    assert (await proxy.ticket("early 4"))["state"] == "remembered"
    await proxy.reload(settings(remember="off"))
    assert (await proxy.ticket("early 4"))["state"] == "unknown"
    with pytest.raises(TicketRefused, match=r"tickets\.remember is off"):
        await in_a_thread("u", 1)
    await proxy.stop()


@waits
async def test_a_reload_changes_what_links_are_signed_with_and_keeps_a_key_that_was_made(reactor: Any) -> None:
    def opens(url: str) -> bool:
        try:
            return proxy.links.read(url.rpartition("/")[2]).ticket == "t"
        except BadLink:
            return False

    approves = f"{HERE}:Approves"
    old, new = "the old key, which is long", "the new key, which is long"
    rows = [{"path": "/", "module": approves}, {"path": "/t/", "module": "tickets"}]
    sources = [config(*rows, tickets={"keys": keys}) for keys in ([], [], [old], [new, old], [new])]
    proxy = Proxy(sources[0], reactor)
    await proxy.start()
    made = proxy.ticket_url("t", 60)
    await proxy.reload(sources[1])
    assert opens(made)
    await proxy.reload(sources[2])
    by_old = proxy.ticket_url("t", 60)
    assert (opens(made), opens(by_old)) == (False, True)
    await proxy.reload(sources[3])
    by_new = proxy.ticket_url("t", 60)
    assert (opens(by_old), opens(by_new)) == (True, True)
    await proxy.reload(sources[4])
    assert (opens(by_old), opens(by_new)) == (False, True)
    await proxy.stop()


@waits
async def test_links_lead_to_the_host_of_the_route_that_opens_them(reactor: Any) -> None:
    async def begin(*hosts: str | None) -> str:
        rows = [
            {"path": f"/{at}/", "module": "tickets"} | ({"host": host} if host else {}) for at, host in enumerate(hosts)
        ]
        proxy = Proxy(config(*rows), reactor)
        await proxy.start()
        try:
            return proxy.ticket_url("t", 60).rpartition("/")[0].replace(str(proxy.addresses[0].port), "PORT")
        finally:
            await proxy.stop()

    assert await begin("answers.example") == "http://answers.example:PORT/0"
    assert await begin("answers.example", None) == "http://127.0.0.1:PORT/1"
    with pytest.raises(RuntimeError, match=r"set url in \[tickets\]"):
        await begin("*.example")


@waits
async def test_a_proxy_that_stops_frees_every_name_and_lets_clean_ups_resume(reactor: Any) -> None:
    proxy = Proxy(settings(ResumesAtTheEnd), reactor)
    await proxy.start()
    Caller(proxy).get()
    tickets = proxy.tickets
    assert tickets.statistics()["parked"] == 1
    await proxy.stop()
    assert tickets.statistics() == {"remembered": 1, "parked": 0, "settled": 0, "lapsed": 1}


@waits
async def test_a_resume_against_a_stop_is_always_answered(reactor: Any) -> None:
    ended: list[Any] = []
    proxy = Proxy(settings(max_remembered=10_000_000), reactor)

    def resume_again_and_again(who: int) -> None:
        for number in itertools.count():
            try:
                proxy.resume(f"{who} {number}", 1).result(10)
            except (RuntimeError, TimeoutError) as error:
                ended.append(error)
                return

    await proxy.start()
    threads = [threading.Thread(target=resume_again_and_again, args=(who,)) for who in range(3)]
    for thread in threads:
        thread.start()
    await deferLater(reactor, 0.05)
    await proxy.stop()
    for thread in threads:
        thread.join(5)  # the polling thread is held: nothing more is delivered
    assert [type(error) for error in ended] == [RuntimeError] * 3


def test_what_was_asked_before_a_proxy_closed_is_done_and_what_comes_at_that_moment_is_refused() -> None:
    class ClosedFirst(deque[Any]):
        def append(self, one: Any) -> None:
            resumer.close()
            super().append(one)

    polling, proxy = PollingRound(), Proxy(settings())
    resumer = resuming.Resumer(polling, House(proxy.settings, proxy.bindings).tickets)
    resumer.open()
    asked = resumer.resume("t", 1)
    assert not asked.done()
    resumer.close()
    assert asked.result(0).state == "remembered"
    polling.step()  # the call that was on its way finds nothing
    resumer.open()
    resumer._asked = ClosedFirst()
    with pytest.raises(RuntimeError, match=r"resume\('u'\): the proxy does not run"):
        resumer.resume("u", 1).result(0)
    polling.step()
    assert repr(resumer) == "<Resumer closed, <MemoryTickets <TicketBook 1 remembered>>>"
