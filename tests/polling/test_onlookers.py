"""Who looks at the proxy; see `polling.onlookers`."""

from __future__ import annotations

import gc
import json
from typing import Any

import pytest

from asyncproxy import Module, Overloaded, Request, Response, sleep
from asyncproxy.polling.onlookers import EVERY, MOST, TOLD, Onlooker
from tests.fakes import House


class Sleeps(Module):
    async def handle(self, request: Request) -> Response:
        await sleep(600)
        return Response()


def heard(house: House, onlooker: Onlooker, seconds: float) -> list[tuple[str, Any]]:
    """What an onlooker is told who asks when it is to."""
    events = []
    until = house.clock.seconds() + seconds
    while house.clock.seconds() < until:
        events += [(what, json.loads(words)) for what, words in onlooker.look()]
        house.advance(onlooker.pause)
    return events


def keys(events: list[tuple[str, Any]]) -> list[int]:
    return [row[0] for what, told in events if what == "rows" for row in told["rows"]]


def test_an_onlooker_is_told_all_and_then_what_changes() -> None:
    house = House(Sleeps())
    clients = [house.get() for _ in range(3)]
    house.advance(1)
    onlooker = house.onlookers.come()
    first = heard(house, onlooker, EVERY)
    assert [what for what, _ in first] == ["begin", "figures", "rows"]
    assert keys(first) == [1, 2, 3]
    clients[1].leave()
    assert [told for what, told in heard(house, onlooker, 2 * EVERY) if what == "rows"] == [
        {"gone": [2], "rows": [], "left": 0}
    ]
    assert {what for what, _ in heard(house, onlooker, 3)} == {"figures"}
    onlooker.leave()
    house.settle()


def test_figures_come_once_a_second() -> None:
    house = House(Sleeps())
    onlooker = house.onlookers.come()
    assert len([1 for what, _ in heard(house, onlooker, 10) if what == "figures"]) in (10, 11)
    onlooker.leave()


def test_many_rows_come_in_parts_that_say_how_many_are_left() -> None:
    house = House(Sleeps(), server={"max_parked": 2000})
    for _ in range(TOLD * 3):
        house.get()
    house.advance(1)
    onlooker = house.onlookers.come()
    parts = [told for what, told in heard(house, onlooker, 1.5) if what == "rows"]
    assert max(len(told["rows"]) for told in parts) <= TOLD
    assert sum(len(told["rows"]) for told in parts) == TOLD * 3
    assert parts[-1]["left"] == 0
    assert [told["left"] for told in parts] == sorted((told["left"] for told in parts), reverse=True)
    onlooker.leave()


def test_who_does_not_read_is_told_later_and_keeps_nothing_meanwhile() -> None:
    house = House(Sleeps(), server={"max_parked": 20000})
    onlooker = house.onlookers.come()
    onlooker.look()
    for _ in range(50):
        clients = [house.get() for _ in range(20)]
        house.advance(2)
        for client in clients:
            client.leave()
        house.advance(2)
    last = house.get()
    house.advance(2)
    assert repr(onlooker) == "<Onlooker <Differences 0 rows told, 0 to be told>>"
    assert keys(heard(house, onlooker, 2)) == [1001]
    onlooker.leave()
    last.leave()
    house.settle()
    house.assert_nothing_left()


def test_nothing_is_looked_at_while_nobody_is_there() -> None:
    house = House(Sleeps())
    house.get()
    house.advance(1)
    onlooker = house.onlookers.come()
    heard(house, onlooker, 2)
    onlooker.leave()
    onlooker.leave()
    looks = house.onlookers.looks
    house.advance(10)
    assert house.onlookers.looks == looks
    assert not house.onlookers.board.rows
    again = house.onlookers.come()
    assert keys(heard(house, again, 2)) == [1]
    again.leave()


def test_there_are_only_so_many() -> None:
    house = House(Sleeps())
    present = [house.onlookers.come() for _ in range(MOST)]
    assert house.onlookers.full
    with pytest.raises(Overloaded):
        house.onlookers.come()
    present.pop().leave()
    assert not house.onlookers.full
    present.append(house.onlookers.come())
    for onlooker in present:
        onlooker.leave()


def test_one_who_was_dropped_and_never_left_is_not_counted() -> None:
    house = House(Sleeps())
    house.onlookers.come()
    gc.collect()
    house.advance(3)
    assert repr(house.onlookers).startswith("<Onlookers 0 of 16,")
    house.assert_nothing_left()


def test_samples_are_told_at_the_beginning_and_then_one_by_one() -> None:
    house = House(Sleeps())
    house.onlookers.samples.take()
    onlooker = house.onlookers.come()
    events = heard(house, onlooker, 1)
    assert len(events[0][1]["samples"]) == 1
    assert events[1][1]["samples"] == 1
    house.onlookers.samples.take()
    figures = [told for _, told in heard(house, onlooker, 2)][-1]
    assert figures["samples"] == 2
    assert len(figures["sample"]) == len(events[0][1]["sampled"])
    onlooker.leave()


def test_who_looks_once_sees_the_eldest() -> None:
    house = House(Sleeps())
    for _ in range(5):
        house.get()
        house.advance(1)
    view = house.onlookers.view(2)
    assert [row["key"] for row in view["parked"]] == [1, 2]
    assert view["parked_total"] == 5
