"""Tickets in some of the interleavings that `python -m bench.interleavings` plays by the hundred thousand; and bugs put
in by hand, which some of them must find.
"""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed

from asyncproxy.exchange.errors import ProxyError
from asyncproxy.exchange.tickets import PARKED, Receipt, TicketBook
from asyncproxy.polling.parking import BEGINNING, Parked
from asyncproxy.polling.tickets import AwaitingTicket, MemoryTickets
from bench.interleavings import judged, play, wrong_with

SEEDS = 1500
OVER = 2


def test_each_park_wakes_once_and_no_exchange_is_lost_or_answered_twice() -> None:
    assert play(range(SEEDS)) == {}


def test_a_scene_is_the_same_each_time_that_its_seed_is_played() -> None:
    first, second = judged(11)[0], judged(11)[0]
    assert first is not None
    assert second is not None
    assert first.lab.trace == second.lab.trace
    assert [request.status for request in first.lab.requests] == [request.status for request in second.lab.requests]


def test_the_scenes_have_all_that_may_come_of_a_ticket() -> None:
    seen: set[Any] = set()
    for seed in range(400):
        scene = judged(seed)[0]
        assert scene is not None
        for visit in scene.visits:
            seen |= {type(wait.error).__name__ for wait in visit.waits}
            seen |= {"default" for wait in visit.waits if "default" in (wait.values or ())}
        for resumed in scene.resumes:
            error: Any = resumed.future.exception()
            seen.add(resumed.future.result().state if error is None else (error.status, error.state))
    assert seen == {
        *("NoneType", "ClientGone", "Draining", "ParkTimeout", "TicketTaken", "default", "settled", "remembered"),
        *((409, "parked"), (409, "remembered"), (409, "settled"), (410, "lapsed")),
    }


# Bugs.


def ready_without_its_guard(park: Parked, value: Any = None) -> None:
    if park._state == BEGINNING:
        park._state, park._value = OVER, value
    else:
        park._state = OVER
        park._tell(value, None)


def fail_without_its_guard(park: Parked, error: BaseException) -> None:
    if park._state == BEGINNING:
        park._state, park._error = OVER, error
    else:
        park._state = OVER
        park._tell(None, error)


def start_that_forgets_what_came_meanwhile(park: Parked) -> None:
    park.begin()
    park._state = min(park._state, 1) or 1


def undo_that_keeps_the_name(_park: AwaitingTicket) -> None:
    pass


def resume_that_tells_nobody_of_every_third_value(
    tickets: MemoryTickets, name: str, value: bytes, bind: str | None = None, by: str = ""
) -> Deferred[Receipt]:
    try:
        receipt, holder = tickets.book.resume(name, value, bind, by)
    except ProxyError as refused:
        return fail(refused)
    if holder is not None and sum(value) % 3:
        holder.resumed(value)
    return succeed(receipt)


def claim_that_looks_at_no_digest(book: TicketBook, name: str, bind: str | None, holder: Any) -> bytes | None:
    value = _claim(book, name, None, holder)
    if value is None:
        book._entries[PARKED][name].bind = bind
    return value


def claim_that_leaves_the_value_there(book: TicketBook, name: str, bind: str | None, holder: Any) -> bytes | None:
    value = _claim(book, name, bind, holder)
    if value is not None:
        book._put(name, "remembered", 0).value = value
    return value


def claim_that_takes_the_name_from_another(book: TicketBook, name: str, bind: str | None, holder: Any) -> bytes | None:
    if name in book._entries[PARKED]:
        book._put(name, "lapsed", 1)
    return _claim(book, name, bind, holder)


def resume_that_leaves_it_parked(book: TicketBook, name: str, *rest: Any) -> Any:
    receipt, holder = _resume(book, name, *rest)
    if holder is not None:
        book._put(name, PARKED, receipt.generation).holder = holder
    return receipt, holder


_claim, _resume = TicketBook.claim, TicketBook.resume
BUGS: list[tuple[type, str, Any]] = [
    (Parked, "ready", ready_without_its_guard),
    (Parked, "fail", fail_without_its_guard),
    (Parked, "start", start_that_forgets_what_came_meanwhile),
    (AwaitingTicket, "undo", undo_that_keeps_the_name),
    (MemoryTickets, "resume", resume_that_tells_nobody_of_every_third_value),
    (TicketBook, "claim", claim_that_looks_at_no_digest),
    (TicketBook, "claim", claim_that_leaves_the_value_there),
    (TicketBook, "claim", claim_that_takes_the_name_from_another),
    (TicketBook, "resume", resume_that_leaves_it_parked),
]


@pytest.mark.parametrize(("where", "name", "bug"), BUGS, ids=[bug.__name__ for _, _, bug in BUGS])
def test_a_bug_is_found(where: type, name: str, bug: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(where, name, bug)
    assert next((seed for seed in range(SEEDS) if wrong_with(seed)), None) is not None
