from __future__ import annotations

import errno
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import capturedLogs, formatEvent

from asyncproxy.exchange.errors import ClientError, ProxyError
from asyncproxy.polling.crowd import Crowd
from asyncproxy.polling.gate import RETRY, Gate
from asyncproxy.polling.reached import SAY, Reached
from asyncproxy.testing import Clock


class Port:
    def __init__(self) -> None:
        self.reading = True
        self.refuses = False

    def stopReading(self) -> None:
        self.reading = False

    def startReading(self) -> None:
        if self.refuses:
            raise OSError(errno.EMFILE, "Too many open files")
        self.reading = True


def limits(connections: int | None = None, of_one: int | None = None) -> Any:
    return SimpleNamespace(connections=connections, connections_per_client=of_one)


def crowd(connections: int | None = None, of_one: int | None = None) -> tuple[Crowd, Gate, Port, Clock]:
    clock, port = Clock(), Port()
    gate = Gate(clock)
    gate.ports.append(port)
    return Crowd(gate, limits(connections, of_one)), gate, port, clock


def test_accepting_pauses_when_there_are_as_many_as_may_be_and_goes_on_when_a_fourth_has_gone() -> None:
    people, gate, port, _ = crowd(connections=8)
    for number in range(7):
        assert people.come(number, "::1") is None
    assert port.reading
    assert people.come(7, "::1") is None
    assert not port.reading
    people.leave(7)
    assert not port.reading, "it does not stop and start for each who leaves"
    people.leave(6)
    assert port.reading
    assert gate.statistics() == {"paused": 0, "pauses": 1}
    assert people.statistics() == {"connections": 6, "addresses": 0, "paused": 0, "pauses": 1}
    assert repr(people) == "<Crowd of 6, 0 addresses counted, <Gate of 1 ports, open, 1 pauses>>"


def test_an_address_of_ipv4_is_the_same_by_a_socket_of_ipv6() -> None:
    people, *_ = crowd(of_one=1)
    assert people.come(1, "9.9.9.9") is None
    for number, address in enumerate(("::ffff:9.9.9.9", "::ffff:909:909"), 2):
        assert people.come(number, address) is not None
    assert people.come(4, "fe80::1%eth0") is None
    assert people.come(5, "fe80::1") is not None


def test_the_log_says_which_limit_it_was() -> None:
    people, gate, _, clock = crowd(connections=2)
    with capturedLogs() as logged:
        people.come(1, "::1")
        people.come(2, "::1")
        assert "paused: connections" in repr(gate)
        clock.advance(1)
        people.leave(1)
    assert [formatEvent(event) for event in logged] == [
        "Accepting pauses: 2 connections of clients are open (limits.connections = 2)",
        "Accepting goes on: 1 connections of clients are open",
    ]


def test_without_limits_nobody_is_counted_by_address_and_nothing_pauses() -> None:
    people, _, port, _ = crowd()
    for number in range(1000):
        assert people.come(number, "::1") is None
    assert port.reading
    assert people.statistics()["addresses"] == 0


def test_one_address_has_so_many_and_another_its_own() -> None:
    people, _, port, _ = crowd(of_one=2)
    assert people.come(1, "::1") is None
    assert people.come(2, "::1") is None
    refused = people.come(3, "::1")
    assert refused is not None
    assert (refused.status, refused.detail) == (503, "limits.connections_per_client")
    assert people.come(4, "::2") is None
    people.leave(3)
    assert people.come(5, "::1") is not None, "who was refused was none of the two"
    people.leave(1)
    assert people.come(6, "::1") is None
    assert port.reading
    for one in (2, 4, 5, 6):
        people.leave(one)
    assert people.statistics() == {"connections": 0, "addresses": 0, "paused": 0, "pauses": 0}


def test_everybody_who_comes_by_a_socket_s_file_is_not_one_client() -> None:
    people, _, _, _ = crowd(of_one=1)
    assert people.come(1, "unix") is None
    assert people.come(2, "unix") is None


def test_another_limit_holds_at_once_for_who_comes_and_who_is_here_stays() -> None:
    people, _, port, _ = crowd(connections=100)
    for number in range(8):
        people.come(number, "::1")
    people.limit(limits(4, 1))
    assert not port.reading
    people.limit(limits(10, 1))
    assert not port.reading, "more than three quarters of ten"
    people.limit(limits(11, 1))
    assert port.reading
    assert people.come(8, "::1") is None, "who was here before is not counted by address"
    assert people.come(9, "::1") is not None
    people.limit(limits(4))
    assert not port.reading
    people.limit(limits())
    assert port.reading
    for number in range(10):
        people.leave(number)
    assert people.statistics()["addresses"] == 0


def test_a_gate_is_open_when_the_last_reason_has_gone() -> None:
    _, gate, port, _ = crowd()
    gate.shut("one", "")
    gate.shut("other", "")
    gate.shut("other", "")
    gate.open("one", "")
    gate.open("one", "")
    assert not port.reading
    gate.open("other", "")
    assert port.reading
    assert gate.statistics() == {"paused": 0, "pauses": 2}


def test_a_port_that_cannot_go_on_is_tried_again_until_it_can_or_there_is_a_reason_again() -> None:
    _, gate, port, clock = crowd()
    gate.shut("one", "")
    port.refuses = True
    gate.open("one", "")
    assert gate.paused
    assert "no descriptor" in repr(gate)
    clock.advance(RETRY)
    assert not port.reading
    gate.shut("one", "")
    port.refuses = False
    clock.advance(RETRY)
    assert not port.reading
    gate.open("one", "")
    assert port.reading
    assert not clock.getDelayedCalls()


def test_a_gate_that_is_stopped_accepts_nobody_any_more() -> None:
    _, gate, port, clock = crowd()
    gate.shut("one", "")
    port.refuses = True
    gate.open("one", "")
    gate.stop()
    port.refuses = False
    clock.advance(1)
    assert not port.reading
    assert not clock.getDelayedCalls()


@given(st.lists(st.integers(-3, 3).filter(bool), max_size=60), st.integers(1, 6), st.integers(1, 3))
def test_whoever_comes_and_goes_nothing_is_counted_twice_or_kept(steps: list[int], most: int, of_one: int) -> None:
    people, _, port, _ = crowd(most, of_one)
    here: list[tuple[int, str, bool]] = []
    for number, step in enumerate(steps):
        if step > 0:
            address = f"::{step}"
            refused = people.come(number, address) is not None
            assert refused == (sum(at == address and let_in for _, at, let_in in here) >= of_one)
            here.append((number, address, not refused))
        elif here:
            people.leave(here.pop(step % len(here))[0])
        assert people.here == len(here)
        assert not (port.reading and people.here >= most)
        assert port.reading or people.here > 0.75 * most
    for number, _, _ in here:
        people.leave(number)
    assert people.statistics()["addresses"] == 0
    assert port.reading


def test_a_limit_that_many_reach_has_a_line_now_and_then_and_a_count() -> None:
    clock = Clock()
    reached = Reached(clock.seconds)
    late = ClientError(408, "the request's head did not come within 60 s", detail="limits.head_timeout")
    with capturedLogs() as logged:
        for number in range(5):
            reached.note(f"10.0.0.{number}", late)
        reached.note("10.0.0.9", ProxyError("sent no request within 60 s", "limits.first_request_timeout"))
        reached.note("10.0.0.9", ClientError(400, "malformed"))
        clock.advance(SAY)
        reached.note("10.0.0.7", late)
        clock.advance(SAY)
        reached.note("10.0.0.8", late)
    assert [formatEvent(event) for event in logged] == [
        "10.0.0.0: the request's head did not come within 60 s (limits.head_timeout)",
        "10.0.0.9: sent no request within 60 s (limits.first_request_timeout)",
        "10.0.0.7: the request's head did not come within 60 s (limits.head_timeout), and 4 more",
        "10.0.0.8: the request's head did not come within 60 s (limits.head_timeout)",
    ]
    assert reached.statistics() == {"limits.first_request_timeout": 1, "limits.head_timeout": 7}
    assert repr(reached) == "<Reached 1 limits.first_request_timeout, 7 limits.head_timeout>"
    assert repr(Reached(clock.seconds)) == "<Reached none>"
