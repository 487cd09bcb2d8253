"""Tickets as module code and whoever resumes see them, in a lab: who is told what, and when a name is free again."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

import asyncproxy
from asyncproxy import (
    ClientGone,
    Draining,
    Module,
    Park,
    Receipt,
    Request,
    Response,
    TicketRefused,
    gather,
    resuming,
    ticket,
)
from asyncproxy.exchange.errors import Overloaded
from asyncproxy.service import NotStarted
from asyncproxy.testing import Lab


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Labs of other tests, which nobody stopped, may not be collected yet."""
    monkeypatch.setattr(resuming, "_open", [])


class Awaits(Module):
    """Awaits what `make` gives and answers with the value; notes how it ended."""

    def __init__(self, make: Callable[[Request], Any] = lambda request: ticket(request.path[1:])) -> None:
        super().__init__()
        self.make = make
        self.ends: list[str] = []

    async def handle(self, request: Request) -> Response:
        try:
            value = await self.make(request)
        except BaseException as error:
            self.ends.append(type(error).__name__)
            raise
        self.ends.append("value")
        return Response.json(value)


class AwaitsHere(Awaits):
    blocking = False


class Parks(Module):
    """The mail's way, with time-outs of the ticket and of the park."""

    def __init__(self, of_ticket: float | None, of_park: float | None, **more: Any) -> None:
        super().__init__()
        self.of_ticket, self.of_park, self.more = of_ticket, of_park, more
        self.reasons: list[str] = []

    def handle(self, request: Request) -> Park:
        on = ticket("t", timeout=self.of_ticket, **self.more)
        return Park(on, resume=self.woken, gone=self.woken, timeout=self.of_park)

    def woken(self, request: Request, woken: Any) -> Response | None:
        self.reasons.append(woken.reason)
        if woken.reason == "failed":
            return Response.text(str(woken.value), woken.value.status)
        return Response.json(woken.value) if woken.reason == "ready" else None


def refusal(future: Future[Receipt]) -> TicketRefused:
    error = future.exception(0)
    assert isinstance(error, TicketRefused)
    return error


def state(lab: Lab, name: str = "t") -> str:
    return str(lab.house.tickets.book.look(name)["state"])


def time_outs(lab: Lab) -> list[Any]:
    return [timer for timer in lab.clock.getDelayedCalls() if timer.func.__name__ == "_too_late"]


# One who waits, one who resumes.


@pytest.mark.parametrize("kind", [Awaits, AwaitsHere])
@pytest.mark.parametrize("value", [None, True, 7, 2**70, 1.5, "text", ["a", {"b": None}], {"ok": True}])
def test_the_value_is_what_the_await_gives(kind: type[Awaits], value: Any) -> None:
    lab = Lab(kind)
    request = lab.get("/t")
    assert request.status is None
    assert lab.resume("t", value).result(0) == Receipt("t", "settled", 1, "lab-1")
    assert (request.status, request.json()) == (200, value)
    assert lab.stop() == []


@pytest.mark.parametrize("value", [float("nan"), [None, {"rate": float("-inf")}], object()])
def test_a_value_that_json_cannot_hold_is_refused_and_no_other_is_given_for_it(value: Any) -> None:
    lab = Lab(Awaits)
    request = lab.get("/t")
    with pytest.raises(TypeError):
        lab.resume("t", value)
    lab.resume("t", [None, 1.5])
    assert request.json() == [None, 1.5]


def test_a_number_of_any_size_arrives_exactly() -> None:
    lab = Lab(Awaits)
    request = lab.get("/t")
    lab.resume("t", 2**70 + 1)
    assert request.text == str(2**70 + 1)


def test_the_value_is_the_modules_own_whatever_becomes_of_the_original() -> None:
    lab, given = Lab(Awaits), {"items": [1]}
    request = lab.get("/t")
    lab.resume("t", given)
    given["items"].append(2)
    assert request.json() == {"items": [1]}


def test_a_parked_request_shows_its_ticket_and_the_line_that_waits_and_holds_no_worker() -> None:
    lab = Lab(Awaits(lambda _: ticket("approve 7", timeout=60)), allow_parked=True)
    lab.get("/orders/7")
    (row,) = lab.parked()
    assert row["waiting_for"] == "ticket 'approve 7'"
    assert row["at"].startswith("test_tickets.py:")
    assert row["deadline_s"] == 60
    assert lab.workers.statistics()["busy"] == 0


def test_a_ticket_without_a_name_has_one_that_may_be_told_before_it_is_awaited() -> None:
    names: list[str] = []

    def make(_request: Request) -> Any:
        made = ticket()
        names.append(made.name)
        return made

    lab = Lab(Awaits(make))
    request = lab.get("/")
    lab.resume(names[0], 1)
    assert request.json() == 1


def test_a_value_that_came_first_is_given_at_once() -> None:
    lab = Lab(Awaits)
    assert lab.resume("t", 1).result(0) == Receipt("t", "remembered", 0, for_s=60.0)
    request = lab.get("/t")
    assert request.json() == 1
    assert refusal(lab.resume("t", 2)).status == 409


def test_a_value_that_came_too_early_is_forgotten() -> None:
    lab = Lab(Awaits, allow_parked=True)
    lab.resume("t", 1)
    lab.advance(60)
    assert lab.get("/t").status is None


def test_a_second_resume_is_refused_and_told_how_the_first_one_went() -> None:
    lab = Lab(Awaits)
    request = lab.get("/t")
    lab.resume("t", 1, by="eve")
    error = refusal(lab.resume("t", 2, by="adam"))
    assert (error.status, error.state, error.how) == (409, "settled", "resumed by eve, for lab-1")
    assert request.json() == 1


def test_two_that_await_one_name_the_second_is_told_so_and_its_client_gets_409() -> None:
    lab = Lab(Awaits)
    first, second = lab.get("/t"), lab.get("/t")
    assert second.status == 409
    assert second.text == ("409 Conflict: another request waits for the same ticket\nrequest lab-2\n")
    assert lab.module.ends == ["TicketTaken"]
    lab.resume("t", 1)
    assert first.json() == 1


def test_a_name_that_was_settled_may_be_awaited_again() -> None:
    lab = Lab(Awaits)
    for generation in (1, 2, 3):
        request = lab.get("/t")
        assert lab.resume("t", generation).result(0).generation == generation
        assert request.json() == generation


def test_a_bound_ticket_takes_a_value_for_no_other_question() -> None:
    lab = Lab(Awaits(lambda _: ticket("t", bind="of 70 EUR")))
    request = lab.get("/")
    assert refusal(lab.resume("t", True, bind="of 7 EUR")).status == 409
    assert refusal(lab.resume("t", True)).status == 409
    assert request.status is None
    assert lab.resume("t", True, bind="of 70 EUR").result(0).state == "settled"
    assert request.json() is True


def test_a_value_for_another_question_that_came_first_is_not_given() -> None:
    lab = Lab(Awaits(lambda _: ticket("t", bind="of 70 EUR", timeout=5)))
    lab.resume("t", True, bind="of 7 EUR")
    request = lab.get("/")
    assert request.status is None
    lab.advance(5)
    assert request.status == 504


# Time-outs.


@pytest.mark.parametrize("kind", [Awaits, AwaitsHere])
def test_a_time_out_is_raised_at_the_await_and_frees_the_name(kind: type[Awaits]) -> None:
    lab = Lab(kind(lambda _: ticket("t", timeout=5)))
    request = lab.get("/")
    lab.advance(4.999)
    assert request.status is None
    lab.advance(0.001)
    assert (request.status, lab.module.ends) == (504, ["ParkTimeout"])
    error = refusal(lab.resume("t", 1))
    assert (error.status, error.state) == (410, "lapsed")
    assert error.how == "lab-1 waited for it, but nothing came within 5 s"
    assert "too late" in error.words


@pytest.mark.parametrize("kind", [Awaits, AwaitsHere])
@pytest.mark.parametrize("default", [None, False, {"ok": False}])
def test_a_default_is_given_at_the_time_out_and_the_late_resume_is_told_so(kind: type[Awaits], default: Any) -> None:
    lab = Lab(kind(lambda _: ticket("t", timeout=5, default=default)))
    request = lab.get("/")
    lab.advance(5)
    assert (request.status, request.json()) == (200, default)
    error = refusal(lab.resume("t", True))
    assert (error.status, error.how) == (410, "lab-1 waited for it, but it was not resumed within 5 s")


def test_a_default_answers_neither_for_the_routes_time_out_nor_for_a_client_that_leaves() -> None:
    lab = Lab(Awaits(lambda _: ticket("t", timeout=50, default="default")), timeout="5s")
    late = lab.get("/")
    lab.advance(5)
    assert late.status == 504
    lab.disconnect(lab.get("/"))
    assert lab.module.ends == ["ParkTimeout", "ClientGone"]


def test_a_resume_in_time_leaves_no_timer() -> None:
    lab = Lab(Awaits(lambda _: ticket("t", timeout=5, default="default")))
    request = lab.get("/")
    lab.resume("t", 1)
    assert request.json() == 1
    assert time_outs(lab) == []
    lab.advance(10)
    assert lab.module.ends == ["value"]


@pytest.mark.parametrize(
    ("of_ticket", "of_park", "more", "at", "reason", "status"),
    [
        (5.0, 9.0, {}, 5, "timeout", 504),
        (9.0, 5.0, {}, 5, "timeout", 504),
        (5.0, 5.0, {}, 5, "timeout", 504),
        (None, 5.0, {}, 5, "timeout", 504),
        (5.0, None, {}, 5, "timeout", 504),
        (5.0, 9.0, {"default": "default"}, 5, "ready", 200),
        (9.0, 5.0, {"default": "default"}, 5, "timeout", 504),
        (5.0, 5.0, {"default": "default"}, 5, "timeout", 504),
        (5.0, None, {"default": "default"}, 5, "ready", 200),
    ],
)
def test_of_a_park_and_its_ticket_the_sooner_time_out_counts(
    of_ticket: float | None, of_park: float | None, more: dict[str, Any], at: float, reason: str, status: int
) -> None:
    lab = Lab(Parks(of_ticket, of_park, **more))
    request = lab.get("/")
    assert lab.parked()[0]["deadline_s"] == at
    lab.advance(at - 0.001)
    assert request.status is None
    lab.advance(0.001)
    assert (request.status, lab.module.reasons) == (status, [reason])
    assert time_outs(lab) == []
    lab.advance(20)
    assert lab.module.reasons == [reason]
    assert refusal(lab.resume("t", 1)).status == 410


def test_a_park_is_woken_by_its_ticket_and_told_when_the_name_is_taken() -> None:
    lab = Lab(Parks(5.0, 9.0))
    first, second = lab.get("/"), lab.get("/")
    assert second.status == 409
    lab.resume("t", "value")
    assert first.json() == "value"
    assert lab.module.reasons == ["failed", "ready"]


# Several at once.


def test_a_gather_of_tickets_gives_their_values_in_its_own_order() -> None:
    lab = Lab(Awaits(lambda _: gather(ticket("a"), ticket("b"), ticket("c", timeout=5, default=None))))
    request = lab.get("/")
    lab.resume("b", 2)
    lab.resume("a", 1)
    assert request.status is None
    lab.advance(5)
    assert request.json() == [1, 2, None]


def test_a_gather_whose_one_ticket_is_too_late_frees_the_others() -> None:
    lab = Lab(Awaits(lambda _: gather(ticket("a", timeout=5), ticket("b"), ticket("c"))))
    request = lab.get("/")
    lab.resume("c", 3)
    lab.advance(5)
    assert request.status == 504
    assert refusal(lab.resume("b", 2)).how == "lab-1 waited for it, but it was called off"
    assert [state(lab, name) for name in "abc"] == ["lapsed", "lapsed", "settled"]


def test_a_gather_that_asks_for_a_name_twice_is_told_so_and_frees_it() -> None:
    lab = Lab(Awaits(lambda _: gather(ticket("t"), ticket("t"))))
    assert lab.get("/").status == 409
    assert state(lab) == "lapsed"


# Whoever waits leaves.


@pytest.mark.parametrize("make", [lambda _: ticket("t"), lambda _: gather(ticket("t"), ticket("u"))])
def test_a_client_that_leaves_frees_the_name(make: Callable[[Request], Any]) -> None:
    lab = Lab(Awaits(make))
    request = lab.get("/")
    lab.disconnect(request)
    assert lab.module.ends == ["ClientGone"]
    error = refusal(lab.resume("t", 1))
    assert (error.status, error.state) == (410, "lapsed")
    again = lab.get("/")
    assert lab.resume("t", 1).result(0).generation == 2
    lab.disconnect(again)


def test_a_late_resume_reads_that_the_client_left() -> None:
    lab = Lab(Awaits)
    lab.disconnect(lab.get("/t"))
    assert refusal(lab.resume("t", 1)).how == "lab-1 waited for it, but the client closed its connection"


def test_a_proxy_that_drains_lets_who_is_resumed_finish_and_frees_the_names_of_the_others() -> None:
    lab = Lab(Awaits)
    first, second = lab.get("/a"), lab.get("/b")
    lab.house.reactor.callLater(1, lab.resume, "a", 1)
    (cut,) = lab.drain(5)
    assert "ticket 'b'" in cut
    assert (first.status, second.status) == (200, 503)
    assert lab.module.ends == ["value", "Draining"]
    assert refusal(lab.resume("b", 1)).how == "lab-2 waited for it, but the proxy is shutting down"
    assert issubclass(Draining, ClientGone)


def test_a_clean_up_may_resume_another_request_while_the_proxy_stops() -> None:
    class PassesOn(Awaits):
        async def handle(self, request: Request) -> Response:
            try:
                return await super().handle(request)
            except ClientGone:
                self.receipt = await asyncproxy.resume("log", "gone")
                raise

    lab = Lab(PassesOn, allow_parked=True)
    lab.get("/t")
    assert lab.stop() == []
    assert lab.module.receipt.state == "remembered"


# Limits.


def limited(**limits: Any) -> Lab:
    return Lab({"server": {"listen": "tcp:0"}, "tickets": limits, "route": [{"module": Awaits}]}, allow_parked=True)


def test_a_value_that_is_too_long_is_refused_and_the_request_waits_on() -> None:
    lab = limited(value="10B")
    request = lab.get("/t")
    error = refusal(lab.resume("t", "x" * 9))
    assert (error.status, error.state) == (413, "parked")
    assert request.status is None
    lab.resume("t", "x" * 8)
    assert request.json() == "x" * 8


def test_no_more_values_are_remembered_than_may_be() -> None:
    lab = limited(max_remembered=1)
    lab.resume("a", 1)
    assert isinstance(lab.resume("b", 1).exception(0), Overloaded)


def test_a_proxy_that_remembers_nothing_says_so() -> None:
    lab = limited(remember="off")
    assert refusal(lab.resume("t", 1)).status == 410
    request = lab.get("/t")
    lab.resume("t", 1)
    assert request.json() == 1


def test_a_lot_that_is_full_leaves_the_name_free() -> None:
    config = {"server": {"listen": "tcp:0", "max_parked": 1}, "route": [{"module": AwaitsHere}]}
    lab = Lab(config, allow_parked=True)
    lab.get("/a")
    assert lab.get("/b").status == 503
    assert state(lab, "b") == "unknown"


@pytest.mark.parametrize("depth", [150, 800, 960])
def test_a_value_that_is_too_deep_is_refused_or_raised_and_leaves_nobody_waiting(depth: int) -> None:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    lab = Lab(AwaitsHere)
    request = lab.get("/t")
    try:
        lab.resume("t", value)
    except RecursionError:  # it cannot be made JSON either
        lab.resume("t", 1)
    assert request.status in (200, 500)
    assert lab.stop() == []


def test_a_value_that_cannot_be_read_is_raised_at_the_await() -> None:
    lab = Lab(Awaits)
    request = lab.get("/t")
    deep = b"[" * 20_000 + b"]" * 20_000
    lab.house.tickets.resume("t", deep)
    assert request.status == 500
    assert lab.module.ends == ["RecursionError"]


# From modules, from threads, and from several proxies.


class Resumes(Module):
    """Resumes what its path names and answers with the receipt."""

    async def handle(self, request: Request) -> Response:
        try:
            receipt = await asyncproxy.resume(request.path.removeprefix("/resume/"), request.method)
        except TicketRefused as refused:
            return Response.text(refused.words, refused.status)
        return Response.text(receipt.state)


class ResumesHere(Resumes):
    blocking = False


@pytest.mark.parametrize("kind", [Resumes, ResumesHere])
def test_a_module_resumes_another_request_and_awaits_what_came_of_it(kind: type[Module]) -> None:
    lab = Lab(
        {"server": {"listen": "tcp:0"}, "route": [{"module": Awaits}, {"path": "/resume/", "module": kind}]},
    )
    waits = lab.get("/t")
    assert lab.post("/resume/t").text == "settled"
    assert waits.json() == "POST"
    assert lab.post("/resume/t").status == 409
    assert lab.post("/resume/u").text == "remembered"


def test_any_thread_resumes_and_waits_for_what_comes_of_it() -> None:
    lab = Lab(Awaits)
    requests = [lab.get(f"/{number}") for number in range(20)]
    receipts: dict[int, str] = {}

    def resume(number: int) -> None:
        receipts[number] = asyncproxy.resume(str(number), number).result(10).state

    threads = [threading.Thread(target=resume, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    while len(receipts) < 20:
        lab.settle()
    for thread in threads:
        thread.join(10)
    assert set(receipts.values()) == {"settled"}
    assert [request.json() for request in requests] == list(range(20))


def test_a_resume_cannot_be_taken_back() -> None:
    lab = Lab(Awaits, settle=False)
    future = lab.resume("t", 1)
    assert not future.cancel()
    lab.settle()
    assert future.result(0).state == "remembered"


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("", 1, ValueError),
        ("a\n", 1, ValueError),
        (7, 1, ValueError),
        ("t", object(), TypeError),
        ("t", "\ud800", ValueError),
    ],
)
def test_what_cannot_be_a_resume_is_refused_where_it_is_made(name: Any, value: Any, error: type[Exception]) -> None:
    lab = Lab(Awaits)
    with pytest.raises(error):
        lab.resume(name, value)
    with pytest.raises(error):
        asyncproxy.resume(name, value)


def test_of_several_proxies_the_one_is_meant_where_the_name_is_awaited_or_else_the_latest() -> None:
    first, second = Lab(Awaits), Lab(Awaits)
    request = first.get("/t")
    asyncproxy.resume("t", 1)
    assert request.json() == 1
    future = asyncproxy.resume("u", 2)
    second.settle()
    assert future.result(0).state == "remembered"
    assert second.get("/u").json() == 2
    first.stop()
    second.stop()


def test_of_proxies_that_both_await_a_name_the_latest_is_meant() -> None:
    first, second = Lab(Awaits, allow_parked=True), Lab(Awaits)
    requests = [lab.get("/t") for lab in (first, second)]
    asyncproxy.resume("t", 1)
    assert [request.status for request in requests] == [None, 200]


def test_of_a_name_that_two_proxies_await_each_resumes_its_own() -> None:
    first, second = Lab(Awaits), Lab(Awaits)
    requests = [lab.get("/t") for lab in (first, second)]
    second.resume("t", 2)
    first.resume("t", 1)
    assert [request.json() for request in requests] == [1, 2]


def test_a_module_may_resume_as_soon_as_it_starts_and_not_when_its_proxy_has_stopped() -> None:
    class Starts(Awaits):
        async def start(self) -> None:
            self.receipt = await asyncproxy.resume("t", "from the start")

        def stop(self) -> None:
            with pytest.raises(RuntimeError, match="does not run"):
                self.proxy.resume("t", 1)
            self.refused = True

    lab = Lab(Starts)
    assert lab.module.receipt.state == "remembered"
    assert lab.get("/t").json() == "from the start"
    assert lab.stop() == []
    assert lab.module.refused


def test_a_lab_that_does_not_start_or_was_stopped_is_found_by_no_resume() -> None:
    class Broken(Awaits):
        def start(self) -> None:
            raise KeyError("no database")

    with pytest.raises(NotStarted):
        Lab(Broken)
    with pytest.raises(
        RuntimeError, match=r"resume\('t'\): no proxy runs in this process; start one, or ask its admin"
    ):
        asyncproxy.resume("t", 1)
    lab = Lab(Awaits)
    assert asyncproxy.resume("t", 1).cancel() is False
    lab.stop()
    with pytest.raises(RuntimeError, match="no proxy runs"):
        asyncproxy.resume("t", 1)
    with pytest.raises(RuntimeError, match=r"resume\('t'\): the proxy does not run"):
        lab.resume("t", 1)


def test_a_lab_that_nobody_stopped_is_kept_alive_by_nothing_of_ours() -> None:
    lab: Lab | None = Lab(Awaits)
    gone = weakref.ref(lab)
    lab = None
    gc.collect()
    assert gone() is None
    with pytest.raises(RuntimeError, match="no proxy runs"):
        asyncproxy.resume("t", 1)
