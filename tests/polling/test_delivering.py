from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from asyncproxy.polling.delivering import Deliveries


class Loop:
    """Wake-ups are kept until they are run."""

    def __init__(self) -> None:
        self.wakes: list[Callable[[], None]] = []
        self.woken = 0

    def wake(self, call: Callable[[], None]) -> None:
        self.wakes.append(call)
        self.woken += 1

    def run(self) -> None:
        while self.wakes:
            self.wakes.pop(0)()


def test_calls_keep_their_order_and_a_batch_wakes_once() -> None:
    loop, made = Loop(), []
    deliveries = Deliveries(loop.wake)
    for number in range(100):
        deliveries.deliver(made.append, number)
    assert made == []
    assert repr(deliveries) == "<Deliveries 100 waiting>"
    loop.run()
    assert made == list(range(100))
    assert loop.woken == 1
    deliveries.deliver(made.append, 100)
    loop.run()
    assert loop.woken == 2
    assert made[-1] == 100


def test_an_exception_in_one_is_logged_and_does_not_stop_the_others(failures: list[Any]) -> None:
    loop, made = Loop(), []
    deliveries = Deliveries(loop.wake)
    deliveries.deliver(lambda: 1 / 0)
    deliveries.deliver(made.append, 1)
    loop.run()
    assert made == [1]
    assert failures.pop().check(ZeroDivisionError)
    assert not failures


def test_what_is_delivered_meanwhile_waits_for_the_next_round() -> None:
    loop, made = Loop(), []
    deliveries = Deliveries(loop.wake)

    def again(left: int) -> None:
        made.append(left)
        if left:
            deliveries.deliver(again, left - 1)

    deliveries.deliver(again, 3)
    rounds = 0
    while loop.wakes:
        loop.wakes.pop(0)()
        rounds += 1
    assert made == [3, 2, 1, 0]
    assert rounds == 4


@given(st.lists(st.booleans(), max_size=30))
def test_nothing_is_lost_whenever_the_loop_runs(runs: list[bool]) -> None:
    loop, made = Loop(), []
    deliveries = Deliveries(loop.wake)
    for number, run in enumerate(runs):
        deliveries.deliver(made.append, number)
        if run:
            loop.run()
            assert made == list(range(number + 1))
    loop.run()
    assert made == list(range(len(runs)))
