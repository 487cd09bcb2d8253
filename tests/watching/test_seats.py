"""What each worker runs; see `watching.seats`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from asyncproxy.watching.seats import MOST, Seats
from asyncproxy.watching.stacks import Call, Stack

STACK = Stack((Call("shop", "Orders.handle", __file__, 1),))


class Workers:
    def __init__(self, running: dict[int, Any], total: int = 3) -> None:
        self.running = running
        self.total = total

    def idents(self) -> list[int]:
        return list(range(100, 100 + self.total))

    def runs(self) -> dict[int, Any]:
        return dict(self.running)


def turn(began: float = 5.0) -> Any:
    request = SimpleNamespace(id="a-1", method="GET", path="/\u202e" + "x" * 500)
    return SimpleNamespace(began=began, exchange=SimpleNamespace(request=request, binding=SimpleNamespace(name="shop")))


def test_each_worker_has_its_seat_and_free_ones_are_told_too() -> None:
    free, busy, also_free = Seats(Workers({101: turn()}), lambda: 7.5, lambda ident: STACK).rows()
    assert free is also_free is None
    assert busy is not None
    assert (busy["id"], busy["module"], busy["at"], busy["for_s"]) == ("a-1", "shop", "test_seats.py:1", 2.5)
    assert busy["source"] == '"""What each worker runs; see `watching.seats`."""'
    assert len(busy["request"]) == 200
    assert busy["request"].startswith(r"GET /\u202exxx")


def test_a_call_from_outside_any_request_is_told_as_that() -> None:
    (row,) = Seats(Workers({100: SimpleNamespace(began=1.0, exchange=None)}, 1), lambda: 2, lambda ident: STACK).rows()
    assert row is not None
    assert row["module"] is row["id"] is row["request"] is None


def test_a_turn_that_ends_while_it_is_looked_at_is_not_told() -> None:
    workers = Workers({100: turn()}, 1)

    def ends(_ident: int) -> Stack:
        workers.running.clear()
        return STACK

    assert Seats(workers, lambda: 7, ends).rows() == [None]


def test_a_turn_that_has_not_begun_is_not_told() -> None:
    assert Seats(Workers({100: turn(0.0)}, 1), lambda: 7, lambda ident: STACK).rows() == [None]


def test_only_so_many_are_told() -> None:
    assert len(Seats(Workers({}, MOST + 10)).rows()) == MOST
