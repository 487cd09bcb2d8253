from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock

from asyncproxy.polling.deadlines import NEVER, TICK, Deadlines, Due

delays = st.floats(0, 5)


class One(Due):
    __slots__ = ("_slot", "clock", "due", "fired")

    def __init__(self, clock: Clock) -> None:
        self.due = self._slot = NEVER
        self.clock = clock
        self.fired: list[float] = []

    def expired(self) -> None:
        self.fired.append(self.clock.seconds())


def pass_time(clock: Clock, seconds: float) -> None:
    """To each timer, and then to the end."""
    end = clock.seconds() + seconds
    while (calls := clock.getDelayedCalls()) and calls[0].getTime() <= end:
        clock.advance(max(0.0, calls[0].getTime() - clock.seconds()))
    clock.advance(max(0.0, end - clock.seconds()))


@given(st.floats(0, 10_000), st.lists(delays, min_size=1, max_size=20))
@settings(max_examples=300)
def test_each_fires_once_within_a_tick_of_its_time(start: float, all_delays: list[float]) -> None:
    clock = Clock()
    clock.advance(start)
    wheel = Deadlines(clock)
    all_ones = [One(clock) for _ in all_delays]
    for one, delay in zip(all_ones, all_delays, strict=True):
        wheel.set(one, delay)
    pass_time(clock, 6)
    for one, delay in zip(all_ones, all_delays, strict=True):
        (fired,) = one.fired
        assert abs(fired - (start + delay)) <= TICK + 1e-6
        assert one.due == NEVER
    assert wheel.statistics() == {"standing": 0, "slots": 0}
    assert not clock.getDelayedCalls()


moves = st.lists(st.tuples(st.integers(0, 3), st.one_of(delays, st.just(NEVER), st.none()), st.floats(0, 2)))


@given(moves)
@settings(max_examples=300)
def test_moved_earlier_later_never_and_removed_they_fire_when_they_were_last_due(
    steps: list[tuple[int, float | None, float]],
) -> None:
    clock = Clock()
    wheel = Deadlines(clock)
    ones = [One(clock) for _ in range(4)]
    due: list[float] = [NEVER] * 4
    seen = [0] * 4
    for number, delay, passed in [*steps, (0, None, 10.0)]:
        if delay is None:
            wheel.remove(ones[number])
            due[number] = NEVER
        else:
            wheel.set(ones[number], delay)
            due[number] = clock.seconds() + delay
        pass_time(clock, passed)
        for index, one in enumerate(ones):
            if len(one.fired) > seen[index]:
                assert len(one.fired) == seen[index] + 1
                assert abs(one.fired[-1] - due[index]) <= TICK + 1e-6
                seen[index], due[index] = len(one.fired), NEVER
            else:
                assert due[index] >= clock.seconds() - TICK - 1e-6
    assert wheel.statistics()["standing"] == 0


def test_setting_it_later_or_never_needs_no_word_to_the_wheel() -> None:
    clock = Clock()
    wheel, one = Deadlines(clock), One(clock)
    wheel.set(one, 1)
    one.due = NEVER
    pass_time(clock, 2)
    assert one.fired == []
    wheel.set(one, 1)
    one.due += 5
    pass_time(clock, 5)
    assert one.fired == []
    pass_time(clock, 2)
    assert len(one.fired) == 1


def test_there_is_one_timer_however_many_stand_in_the_wheel() -> None:
    clock = Clock()
    wheel = Deadlines(clock)
    for number in range(1000):
        wheel.set(One(clock), 10 - number / 100)
    assert len(clock.getDelayedCalls()) == 1
    assert "1000 in" in repr(wheel)
    wheel.stop()
    assert not clock.getDelayedCalls()
    assert wheel.statistics()["standing"] == 0


def test_nobody_is_woken_for_those_that_have_left() -> None:
    clock = Clock()
    wheel = Deadlines(clock)
    ones = [One(clock) for _ in range(10)]
    for number, one in enumerate(ones, 1):
        wheel.set(one, number)
    for one in ones[:-1]:
        wheel.remove(one)
    assert wheel.statistics() == {"standing": 1, "slots": 1}
    pass_time(clock, 1.5)  # the timer was set for the first of them
    (timer,) = clock.getDelayedCalls()
    assert timer.getTime() > 9
    pass_time(clock, 10)
    assert len(ones[-1].fired) == 1


def test_one_that_sets_and_removes_others_when_it_fires() -> None:
    clock = Clock()
    wheel = Deadlines(clock)
    other, again = One(clock), One(clock)

    class Meddler(One):
        def expired(self) -> None:
            super().expired()
            wheel.remove(other)
            wheel.set(self, 1)
            wheel.set(again, 0)

    meddler = Meddler(clock)
    wheel.set(meddler, 1)
    wheel.set(other, 1.2)
    pass_time(clock, 3.5)
    assert len(meddler.fired) == 3
    assert len(again.fired) == 3
    assert other.fired == []


def test_one_that_raises_keeps_no_other_from_its_time(failures: list[Any]) -> None:
    clock = Clock()
    wheel, ones = Deadlines(clock), [One(clock) for _ in range(5)]

    class Fails(One):
        def expired(self) -> None:
            raise ZeroDivisionError

    for one in (Fails(clock), *ones, Fails(clock)):
        wheel.set(one, 1)
    wheel.set(ones[0], 2)
    pass_time(clock, 3)
    assert [len(one.fired) for one in ones] == [1] * 5
    assert len(failures) == 2


def test_one_that_becomes_due_earlier_is_kept_in_one_place_alone() -> None:
    clock = Clock()
    wheel = Deadlines(clock)
    one = One(clock)
    wheel.set(one, 60)
    wheel.set(one, 1)
    assert wheel.statistics()["standing"] == 1
    wheel.remove(one)
    assert wheel.statistics()["standing"] == 0
    wheel.set(one, 60)
    wheel.set(one, 1)
    pass_time(clock, 100)
    assert len(one.fired) == 1
    assert not clock.getDelayedCalls()
