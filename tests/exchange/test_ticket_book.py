"""The book of tickets against a naive one: a list of all that ever happened, read from its end."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from asyncproxy.exchange.errors import Overloaded
from asyncproxy.exchange.tickets import Receipt, TicketBook, TicketLimits, TicketRefused, TicketTaken

LIMITS = TicketLimits(remember=6.0, settled=10.0, max_remembered=2, max_settled=3, value=4)
LESS = TicketLimits(remember=3.0, settled=5.0, max_remembered=1, max_settled=2, value=3)
FORGETFUL = TicketLimits(remember=0.0, settled=10.0, max_remembered=2, max_settled=3, value=4)

names = st.sampled_from("abcde")
digests = st.sampled_from([None, None, "one", "two"])


class Waits:
    """A holder; the book only looks whose it is."""

    def __init__(self, number: int) -> None:
        self.whose = f"r{number}"

    def resumed(self, value: bytes) -> None:
        raise AssertionError("not the book's business")

    def fail(self, error: BaseException) -> None:
        raise AssertionError("not the book's business")


class Known:
    """What is known of a name. The naive book has one for each, in a list in the order they came about."""

    def __init__(self, name: str, state: str, since: float, generation: int) -> None:
        self.name, self.state, self.since, self.generation = name, state, since, generation
        self.bind: str | None = None
        self.value: bytes | None = None
        self.holder: Any = None


class Book(RuleBasedStateMachine):
    """Both books hear the same; what they answer and what they know must agree."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.number = 0
        self.limits = LIMITS
        self.known: list[Known] = []
        self.book = TicketBook(lambda: self.now, LIMITS)

    def find(self, name: str) -> Known | None:
        return next((one for one in self.known if one.name == name), None)

    def forget(self) -> None:
        kept = {"remembered": self.limits.remember, "settled": self.limits.settled, "lapsed": self.limits.settled}
        self.known = [one for one in self.known if one.state == "parked" or self.now - one.since < kept[one.state]]
        for state in ("settled", "lapsed"):
            of_it = [one for one in self.known if one.state == state]
            for one in of_it[: max(0, len(of_it) - self.limits.max_settled)]:
                self.known.remove(one)

    def put(self, name: str, state: str, generation: int) -> Known:
        former = self.find(name)
        if former is not None:
            self.known.remove(former)
        self.known.append(Known(name, state, self.now, generation))
        self.forget()
        return self.known[-1]

    @rule(seconds=st.sampled_from([0.5, 1.0, 2.5, 3.0, 5.0, 6.0, 10.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.forget()

    @rule(limits=st.sampled_from([LIMITS, LESS, FORGETFUL]))
    def other_limits(self, limits: TicketLimits) -> None:
        self.book.limits = self.limits = limits
        self.forget()

    @rule(name=names, bind=digests)
    def somebody_awaits(self, name: str, bind: str | None) -> None:
        self.number += 1
        holder, former = Waits(self.number), self.find(name)
        if former is not None and former.state == "parked":
            with pytest.raises(TicketTaken):
                self.book.claim(name, bind, holder)
            return
        generation = former.generation + 1 if former is not None else 1
        value = self.book.claim(name, bind, holder)
        if former is not None and former.state == "remembered" and (bind is None or bind == former.bind):
            assert value == former.value
            self.put(name, "settled", generation)
            return
        assert value is None
        entry = self.put(name, "parked", generation)
        entry.bind, entry.holder = bind, holder

    @rule(name=names, bind=digests, size=st.integers(1, 5))
    def somebody_resumes(self, name: str, bind: str | None, size: int) -> None:
        value, former = b"1" * size, self.find(name)
        state = former.state if former is not None else "unknown"
        expected = self.refusal(former, bind, size)
        if expected is not None:
            with pytest.raises((TicketRefused, Overloaded)) as refused:
                self.book.resume(name, value, bind, "eve")
            assert refused.value.status == expected
            assert getattr(refused.value, "state", state) == state
            return
        receipt, holder = self.book.resume(name, value, bind, "eve")
        if former is None:
            entry = self.put(name, "remembered", 0)
            entry.value, entry.bind = value, bind
            assert (receipt, holder) == (Receipt(name, "remembered", 0, for_s=self.limits.remember), None)
        else:
            assert holder is former.holder
            assert receipt == Receipt(name, "settled", former.generation, former.holder.whose)
            self.put(name, "settled", former.generation)

    def refusal(self, former: Known | None, bind: str | None, size: int) -> int | None:
        if size > self.limits.value:
            return 413
        if former is None:
            if not self.limits.remember:
                return 410
            kept = sum(one.state == "remembered" for one in self.known)
            return 503 if kept >= self.limits.max_remembered else None
        if former.state != "parked":
            return 410 if former.state == "lapsed" else 409
        return 409 if former.bind not in (None, bind) else None

    @precondition(lambda self: any(one.state == "parked" for one in self.known))
    @rule(data=st.data())
    def who_waits_leaves(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from([one for one in self.known if one.state == "parked"]))
        self.book.withdraw(entry.name, entry.holder, "the client left")
        self.put(entry.name, "lapsed", entry.generation)

    @rule(name=names)
    def somebody_else_leaves(self, name: str) -> None:
        self.book.withdraw(name, Waits(0), "the client left")

    @invariant()
    def both_know_the_same(self) -> None:
        for name in "abcde":
            entry, seen = self.find(name), self.book.look(name)
            if entry is None:
                assert seen == {"ticket": name, "state": "unknown"}
                continue
            assert seen["state"] == entry.state
            assert seen["generation"] == entry.generation
            assert seen["since_s"] == self.now - entry.since
            assert seen["bound"] == (entry.bind is not None)
            assert self.book.holds(name) == (entry.state == "parked")

    @invariant()
    def no_more_is_kept_than_may_be(self) -> None:
        counts = self.book.statistics()
        assert sum(counts.values()) == len(self.known)
        assert counts["settled"] <= self.limits.max_settled
        assert counts["lapsed"] <= self.limits.max_settled


Book.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestBook = Book.TestCase
