from __future__ import annotations

import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncproxy.polling.deadlines import Deadlines
from asyncproxy.polling.pace import LOOKS, Outflow, Pace
from asyncproxy.polling.unsent import count_untaken
from asyncproxy.testing import Clock


def test_a_peer_has_its_grace_to_begin_with() -> None:
    pace = Pace(100.0, 20.0)
    assert pace.left(100.0) == 20
    assert pace.left(119.0) == 1


def test_each_second_s_worth_of_bytes_gives_a_second() -> None:
    pace = Pace(0.0, 20.0)
    assert pace.moved(10.0, 1500, 500, 60.0) == 13


def test_what_came_fast_gives_no_more_than_silence_may_last() -> None:
    pace = Pace(0.0, 20.0)
    assert pace.moved(1.0, 10**9, 500, 60.0) == 60
    assert pace.moved(30.0, 500, 500, 60.0) == 32


def test_time_in_which_nobody_reads_does_not_count() -> None:
    pace = Pace(0.0, 20.0)
    pace.stand(5.0)
    assert pace.left(1000.0) == 15
    pace.stand(1000.0)
    pace.go_on(1000.0)
    pace.go_on(1001.0)
    assert pace.left(1001.0) == 14


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(0, 5000)), max_size=30))
def test_a_peer_as_fast_as_the_rate_is_never_out_of_credit_and_one_below_it_is(steps: list[tuple[float, int]]) -> None:
    pace, now, model = Pace(0.0, 20.0), 0.0, 20.0
    for seconds, count in steps:
        now += seconds
        model = min(model - seconds + count / 500, 60.0)
        assert pace.moved(now, count, 500, 60.0) == pytest.approx(model, abs=1e-6)


class Sender:
    """A connection that is behind by `unsent` bytes."""

    def __init__(self, timeout: float = 8.0, rate: int = 0, grace: float = 4.0) -> None:
        self.unsent = 1000
        self.transport: Any = self
        self.given = (timeout, rate, grace)
        self.said: list[tuple[str, str]] = []

    def patience(self) -> tuple[float, int, float]:
        return self.given

    def stalled(self, why: str, words: str) -> None:
        self.said.append((why, words))


def watched(sender: Sender) -> tuple[Clock, Outflow, Deadlines]:
    clock = Clock()
    deadlines = Deadlines(clock)
    outflow = Outflow(sender, deadlines)
    outflow.behind()
    return clock, outflow, deadlines


def pass_time(clock: Clock, seconds: float) -> None:
    end = clock.seconds() + seconds
    while (at := clock.next_time) is not None and at <= end:
        clock.advance(max(0.0, at - clock.seconds()))
    clock.advance(max(0.0, end - clock.seconds()))


def test_a_peer_that_takes_nothing_is_told_after_its_time_out_and_before_another_look_is_over() -> None:
    sender = Sender()
    clock, _, deadlines = watched(sender)
    pass_time(clock, 7.9)
    assert sender.said == []
    pass_time(clock, 8 / LOOKS + 0.4)
    assert sender.said == [("send_timeout", "took nothing of what waited for it for 8 s")]
    assert deadlines.statistics()["standing"] == 0


def test_a_peer_that_takes_something_now_and_then_goes_on() -> None:
    sender = Sender()
    clock, outflow, _ = watched(sender)
    for _ in range(10):
        pass_time(clock, 6)
        sender.unsent -= 1
    assert sender.said == []
    outflow.keeps_up()
    outflow.keeps_up()
    pass_time(clock, 100)
    assert sender.said == []
    assert "at rest" in repr(outflow)


def test_each_time_it_is_behind_its_time_begins_anew() -> None:
    sender = Sender()
    clock, outflow, _ = watched(sender)
    for _ in range(10):
        pass_time(clock, 5)
        outflow.keeps_up()
        outflow.behind()
        outflow.behind()
    assert sender.said == []
    assert "watched" in repr(outflow)


def test_a_peer_that_takes_less_than_the_rate_is_told_after_its_grace() -> None:
    sender = Sender(rate=100)
    clock, _, _ = watched(sender)
    for _ in range(4):
        sender.unsent -= 10
        pass_time(clock, 1)
    assert sender.said == []
    pass_time(clock, 1)
    assert sender.said == [("send_rate", "took less than 100 bytes a second of what waited for it")]


def test_a_peer_that_takes_as_much_as_the_rate_asks_goes_on_and_time_in_which_it_keeps_up_does_not_count() -> None:
    sender = Sender(rate=100)
    clock, outflow, _ = watched(sender)
    for _ in range(20):
        pass_time(clock, 3)
        sender.unsent -= 300
        outflow.keeps_up()
        pass_time(clock, 50)
        sender.unsent += 300
        outflow.behind()
    assert sender.said == []


def test_a_rate_that_is_given_up_meanwhile_holds_no_more() -> None:
    sender = Sender(timeout=100.0, rate=100)
    clock, _, _ = watched(sender)
    sender.given = (100.0, 0, 4.0)
    pass_time(clock, 50)
    assert sender.said == []


def test_a_peer_that_has_taken_all_is_watched_no_more() -> None:
    sender = Sender(rate=100)
    clock, _, deadlines = watched(sender)
    sender.unsent = 0
    pass_time(clock, 100)
    assert sender.said == []
    assert deadlines.statistics()["standing"] == 0


def test_one_that_is_gone_is_not_looked_at() -> None:
    sender = Sender()
    clock, outflow, deadlines = watched(sender)
    outflow.stop()
    pass_time(clock, 100)
    assert sender.said == []
    assert deadlines.statistics()["standing"] == 0


def test_what_the_kernel_keeps_for_a_peer_is_not_taken_either() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    ours = socket.create_connection(listener.getsockname())
    peers, _ = listener.accept()
    try:

        class Transport:
            unsent = 5

            def getHandle(self) -> socket.socket:
                return ours

        ours.setblocking(False)
        while True:
            try:
                ours.send(b"x" * 65536)
            except BlockingIOError:
                break
        behind = count_untaken(Transport())
        assert behind > 5
        peers.setblocking(True)
        while count_untaken(Transport()) >= behind:
            peers.recv(65536)
    finally:
        ours.close()
        peers.close()
        listener.close()
    assert count_untaken(Transport()) == 5, "of a socket that is closed the kernel keeps nothing"
