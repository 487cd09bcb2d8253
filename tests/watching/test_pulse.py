"""The polling thread's pulse, looked at by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.logger import capturedLogs, formatEvent

from asyncproxy.testing.stepping import PollingRound
from asyncproxy.watching.pulse import HELD, LONG, PLACES, QUIET, Pulse
from asyncproxy.watching.stacks import Call, Stack

TICK = 0.05


class Watched:
    """A pulse, the polling thread that answers when it is stepped, and the time."""

    def __init__(self, logged: list[Any]) -> None:
        self.now = 1000.0
        self.line = 31
        self.idle = False
        self.polling = PollingRound()
        busy = ["orders at /srv/orders.py:7 in f"]
        self.pulse = Pulse(self.polling, lambda: self.now, self.stack, lambda: self.idle, lambda: busy)
        self._logged = logged
        self.pulse.begin()

    def stack(self) -> Stack:
        return Stack((Call("mine", "Slow.handle", "/srv/mine.py", self.line),))

    def pass_by(self, seconds: float, *, turning: bool) -> None:
        """Time passes in looks; the polling thread turns before each, or is held."""
        for _ in range(round(seconds / TICK)):
            self.now += TICK
            if turning:
                self.polling.step()
            self.pulse.look(self.now)

    def hold(self, seconds: float) -> None:
        """Be held once, and turn again."""
        self.pass_by(TICK, turning=True)
        self.pass_by(seconds, turning=False)
        self.pass_by(TICK, turning=True)

    @property
    def lines(self) -> list[str]:
        return [formatEvent(event) for event in self._logged]


@pytest.fixture
def watched() -> Iterator[Watched]:
    with capturedLogs() as logged:
        yield Watched(logged)


def test_a_polling_thread_that_turns_is_told_nothing(watched: Watched) -> None:
    watched.pass_by(10, turning=True)
    assert watched.lines == []
    assert watched.pulse.statistics() == {"holds": 0, "longest_s": 0.0, "latest": None}


def test_a_polling_thread_that_idles_is_not_woken(watched: Watched) -> None:
    watched.pass_by(1, turning=True)
    watched.idle = True
    watched.pass_by(0.2, turning=True)
    watched.pass_by(3 * LONG, turning=False)
    assert not watched.polling.calls
    assert watched.lines == []


@pytest.mark.parametrize("idle", [True, False])
@pytest.mark.parametrize("length", [0.25, 0.5])
def test_the_length_of_a_hold_is_known_to_half_of_a_look(watched: Watched, idle: bool, length: float) -> None:
    watched.idle = idle
    watched.pass_by(1, turning=True)
    watched.idle = False
    watched.pass_by(length, turning=False)
    watched.idle = idle
    watched.pass_by(1, turning=True)
    assert watched.pulse.holds == 1
    assert watched.pulse.longest == pytest.approx(length, abs=TICK + 0.001)  # and the answer came at a look


def test_one_question_is_asked_at_a_time(watched: Watched) -> None:
    watched.pass_by(10, turning=False)
    assert len(watched.polling.calls) == 1


def test_a_hold_is_told_once_when_it_is_over(watched: Watched) -> None:
    watched.pass_by(0.2, turning=True)
    watched.pass_by(0.5, turning=False)
    assert watched.lines == []
    watched.pass_by(1, turning=True)
    (line,) = watched.lines
    assert "The polling thread was held for 0.5" in line
    assert "mine at /srv/mine.py:31 in Slow.handle" in line
    assert 'File "/srv/mine.py", line 31, in Slow.handle' in line
    assert watched.pulse.statistics()["holds"] == 1
    assert watched.pulse.statistics()["latest"]["at"] == "mine.py:31"
    assert watched.pulse.statistics()["longest_s"] == pytest.approx(0.5, abs=2 * TICK)


def test_a_pause_that_is_allowed_is_none(watched: Watched) -> None:
    watched.hold(HELD - TICK)
    assert watched.pulse.holds == 0


def test_a_hold_that_does_not_end_is_told_all_the_same_and_not_again_when_it_does(watched: Watched) -> None:
    watched.pass_by(0.2, turning=True)
    watched.pass_by(3 * LONG, turning=False)
    (line,) = watched.lines
    assert "and still is" in line
    watched.pass_by(1, turning=True)
    assert len(watched.lines) == 1
    assert watched.pulse.holds == 1
    assert watched.pulse.longest == pytest.approx(3 * LONG, abs=2 * TICK)


def test_a_reactor_that_does_not_run_yet_is_not_held(watched: Watched) -> None:
    watched.pass_by(3 * LONG, turning=False)
    watched.pass_by(1, turning=True)
    assert watched.lines == []
    assert watched.pulse.holds == 0


def test_a_line_that_holds_again_and_again_is_told_once_in_a_while(watched: Watched) -> None:
    for _ in range(5):
        watched.hold(0.2)
    assert len(watched.lines) == 1
    assert watched.pulse.holds == 5
    watched.pass_by(QUIET, turning=True)
    watched.hold(0.2)
    assert len(watched.lines) == 2
    assert "(4 times more since this was last told)" in watched.lines[1]


def test_another_line_is_told_at_once(watched: Watched) -> None:
    watched.hold(0.2)
    watched.line = 47
    watched.hold(0.2)
    assert len(watched.lines) == 2


def test_lines_that_were_told_are_remembered_within_bounds(watched: Watched) -> None:
    for watched.line in range(2 * PLACES):
        watched.hold(0.2)
    assert len(watched.lines) == 2 * PLACES
    assert len(watched.pulse._told) <= PLACES


def test_seconds_in_which_the_process_stood_still_do_not_count(watched: Watched) -> None:
    watched.pass_by(0.2, turning=True)
    watched.now += 60
    watched.pulse.look(watched.now, missed=60)
    watched.pass_by(0.5, turning=True)
    assert watched.lines == []


def test_a_process_that_stood_still_while_it_was_held_was_held_for_the_rest(watched: Watched) -> None:
    watched.pass_by(0.2, turning=True)
    watched.pass_by(0.2, turning=False)
    watched.now += 60
    watched.pulse.look(watched.now, missed=60)
    watched.pass_by(0.2, turning=False)
    watched.pass_by(0.2, turning=True)
    (line,) = watched.lines
    assert "held for 0.4" in line


@pytest.mark.parametrize("idle", [True, False])
@pytest.mark.parametrize("answered", [True, False])
def test_a_hold_that_nobody_could_see_is_told_with_who_may_have_been_it(
    watched: Watched, answered: bool, idle: bool
) -> None:
    watched.idle = idle
    watched.pass_by(0.2, turning=True)
    watched.now += 1.5
    if answered:
        watched.polling.step()
    watched.pulse.look(watched.now, blind=True)
    watched.pass_by(1, turning=True)
    (line,) = watched.lines
    assert "held for 1.5" in line
    assert "interpreter's lock" in line
    assert "a worker runs orders at /srv/orders.py:7" in line
    assert watched.pulse.holds == 1


def test_it_says_its_state(watched: Watched) -> None:
    watched.hold(0.2)
    assert repr(watched.pulse).startswith("<Pulse turning, 1 holds, the longest 0.2")
