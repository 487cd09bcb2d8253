"""Workers that are kept, looked at by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import copy_context
from typing import Any

import pytest
from twisted.logger import capturedLogs, formatEvent

from asyncproxy import Module, Response
from asyncproxy.polling.errands import Errand
from asyncproxy.polling.steps import FirstCall
from asyncproxy.watching.stacks import Call, Stack
from asyncproxy.watching.stalls import Stalls
from asyncproxy.working.turns import CallTurn
from tests.fakes import GET, House

LIMIT = 1.0
STACK = Stack((Call("mine", "Slow.handle", "/srv/mine.py", 31), Call("psycopg", "execute", "/lib/psycopg.py", 9)))


class Hello(Module):
    def handle(self, request: Any) -> Response:
        return Response()


class Outside:
    """Who asked for a turn that is no exchange's."""

    exchange = None


class Kept:
    """The workers' turns as a test sets them, and the time."""

    def __init__(self, logged: list[Any]) -> None:
        self.now = 1000.0
        self.running: dict[int, Any] = {}
        self.stacks: dict[int, Stack | None] = {}
        self.looked_at: list[int] = []
        self.stalls = Stalls(self, LIMIT, lambda: self.now, self.stack_of)
        self._logged = logged

    def runs(self) -> dict[int, Any]:
        return dict(self.running)

    def stack_of(self, ident: int) -> Stack | None:
        self.looked_at.append(ident)
        return self.stacks.get(ident, STACK)

    def begin(self, ident: int, owner: Any = Outside) -> Any:
        self.running[ident] = turn = CallTurn(owner, print, (), copy_context(), print)
        turn.began = self.now
        return turn

    def pass_by(self, seconds: float, awake_since: float = 0.0) -> None:
        for _ in range(round(seconds / 0.025)):
            self.now += 0.025
            self.stalls.look(self.now, awake_since)

    @property
    def lines(self) -> list[str]:
        return [formatEvent(event) for event in self._logged]


@pytest.fixture
def kept() -> Iterator[Kept]:
    with capturedLogs() as logged:
        yield Kept(logged)


def test_a_turn_that_takes_long_is_told_once_and_shown_while_it_lasts(kept: Kept) -> None:
    kept.begin(1)
    kept.pass_by(LIMIT - 0.05)
    assert kept.lines == []
    kept.pass_by(2)
    (line,) = kept.lines
    assert "has kept its worker for 1.0 s, at /srv/mine.py:31 in Slow.handle" in line
    assert 'File "/lib/psycopg.py", line 9, in execute' in line
    assert kept.stalls.rows() == [{"id": None, "module": None, "at": "mine.py:31", "for_s": pytest.approx(2.95)}]
    kept.running.clear()
    kept.pass_by(0.1)
    assert kept.stalls.rows() == []
    assert kept.stalls.total == 1


def test_a_request_s_turn_is_told_with_its_module_and_its_request(kept: Kept) -> None:
    house = House(Hello())
    house.connect().send(GET)
    house.poll()
    exchange = house.exchange()
    assert exchange.turn is not None
    kept.begin(1, exchange.turn.owner)
    kept.pass_by(2)
    (line,) = kept.lines
    assert line.startswith(f"reverse: GET / ({exchange.request.id}) has kept its worker")  # the row's module name
    (row,) = kept.stalls.rows()
    assert (row["id"], row["module"]) == (exchange.request.id, "reverse")
    assert kept.stalls.busy() == [f"reverse: GET / ({exchange.request.id}) at /srv/mine.py:31 in Slow.handle"]


def test_the_next_turn_of_a_worker_is_another_one(kept: Kept) -> None:
    for _ in range(3):
        kept.begin(1)
        kept.pass_by(2)
    assert kept.stalls.total == len(kept.lines) == 3
    assert len(kept.stalls.rows()) == 1


def test_each_worker_is_told_and_the_eldest_is_shown_first(kept: Kept) -> None:
    kept.begin(2)
    kept.pass_by(0.5)
    kept.begin(1)
    kept.pass_by(2)
    assert [row["for_s"] for row in kept.stalls.rows()] == [pytest.approx(2.5), pytest.approx(2.0)]


def test_short_turns_have_no_stack_taken(kept: Kept) -> None:
    for _ in range(100):
        kept.begin(1)
        kept.pass_by(0.1)
    assert kept.looked_at == []


def test_a_turn_that_a_worker_has_taken_and_not_begun_is_waited_for(kept: Kept) -> None:
    kept.begin(1).began = 0.0
    kept.pass_by(2)
    assert kept.lines == []


def test_seconds_in_which_the_process_stood_still_do_not_count(kept: Kept) -> None:
    kept.begin(1)
    kept.now += 60
    kept.pass_by(LIMIT / 2, awake_since=kept.now)
    assert kept.lines == []


def test_a_turn_that_ends_while_its_stack_is_taken_is_not_blamed_for_the_next(kept: Kept) -> None:
    kept.begin(1)
    kept.now += 2

    def the_next_begins(ident: int) -> Stack:
        kept.begin(ident)
        return STACK

    kept.stalls._stack_of = the_next_begins
    kept.stalls.look(kept.now, 0.0)
    assert kept.lines == []
    assert kept.stalls.rows() == []


def test_a_thread_that_is_gone_is_not_told(kept: Kept) -> None:
    kept.stacks[1] = None
    kept.begin(1)
    kept.pass_by(2)
    assert kept.lines == []
    assert kept.stalls.busy() == []


def test_it_says_its_state(kept: Kept) -> None:
    kept.begin(1)
    kept.pass_by(2)
    assert repr(kept.stalls) == "<Stalls 1 workers kept for more than 1 s, 1 in all>"


def test_a_hook_that_keeps_its_worker_is_told_by_its_name(kept: Kept) -> None:
    house = House(hello := Hello())
    errand = Errand(house.flow, house.bindings[0], hello.stop, lambda _: None)
    kept.begin(1, FirstCall(errand))
    kept.pass_by(2)
    assert kept.lines[0].startswith("reverse: stop() has kept its worker for 1.0 s, at ")
