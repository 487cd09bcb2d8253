"""Every way that a tunnel ends, but for time-outs and operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncproxy import Cancelled, Module, Response
from asyncproxy.exchange.messages import Request
from tests.fakes import FakeClient, House
from tests.flows.tunnelling import OK, SWITCHED, Async, Late, asked, sent_by, tunnel


def both_ended(house: House, client: FakeClient) -> None:
    house.settle()
    assert not house.flow.exchanges
    (record,) = house.records
    assert (record.status, record.flag) == (101, "")
    house.assert_nothing_left()


def test_the_clients_end_is_passed_on_and_the_other_way_goes_on() -> None:
    house = House()
    client = tunnel(house)
    client.send(b"bye")
    client.leave()
    house.settle()
    server = house.upstream().wire
    assert server is not None
    assert server.half_closed
    assert not server.closing
    assert sent_by(house) == b"bye"
    house.upstream().answer(b"more")
    house.settle()
    assert client.body == b"more"
    assert house.stages() == {"TUNNELLING": 1}
    house.upstream().hang_up()
    both_ended(house, client)
    assert house.records[0].size == 4


def test_the_servers_end_is_passed_on_and_the_other_way_goes_on() -> None:
    house = House()
    client = tunnel(house)
    house.upstream().answer(b"bye")
    house.upstream().hang_up()
    house.settle()
    assert client.wire.half_closed
    assert not client.wire.closing
    client.send(b"more")
    house.settle()
    assert sent_by(house) == b"more"
    client.leave()
    both_ended(house, client)


def test_a_server_that_ended_before_the_module_answered_has_ended_for_the_client() -> None:
    house = House(Late())
    client = asked(house)
    house.upstream().answer(SWITCHED + b"all")
    house.settle()
    house.upstream().hang_up()
    house.advance(101)
    assert client.body == b"all"
    assert client.wire.half_closed
    client.leave()
    both_ended(house, client)


def test_a_server_that_was_lost_before_the_module_answered_is_a_reset() -> None:
    house = House(Late())
    client = asked(house)
    house.upstream().answer(SWITCHED)
    house.settle()
    assert house.upstream().wire is not None
    house.upstream().wire.reset()
    house.advance(101)
    assert client.status == 502
    assert house.records[0].flag == "UC"
    house.assert_nothing_left()


def test_a_reset_of_the_client_is_one_to_the_server() -> None:
    house = House()
    client = tunnel(house)
    client.wire.reset()
    house.settle()
    assert house.upstream().wire is not None
    assert house.upstream().wire.aborted
    assert (house.records[0].status, house.records[0].flag) == (101, "DC")
    house.assert_nothing_left()


def test_a_reset_of_the_server_is_one_to_the_client() -> None:
    house = House()
    client = tunnel(house)
    assert house.upstream().wire is not None
    house.upstream().wire.reset()
    house.settle()
    assert client.wire.aborted
    assert (house.records[0].status, house.records[0].flag) == (101, "UC")
    house.assert_nothing_left()


@pytest.mark.parametrize("who", ["client", "server"])
def test_what_came_before_a_reset_goes_on_before_the_reset(who: str) -> None:
    house = House()
    client = tunnel(house)
    server = house.upstream().wire
    assert server is not None
    broken, other = (client.wire, server) if who == "client" else (server, client.wire)
    other.slow()
    broken.resumeProducing()
    house.settle()
    broken.arrive(b"last words")
    broken.reset()
    house.settle()
    assert not other.aborted
    assert other.out.endswith(b"last words")
    house.advance(0.3)
    assert other.aborted
    assert house.records[0].flag == ("DC" if who == "client" else "UC")
    house.assert_nothing_left()


def test_both_sides_may_be_reset() -> None:
    house = House()
    client = tunnel(house)
    server = house.upstream().wire
    assert server is not None
    server.slow()
    client.wire.reset()
    server.reset()
    house.settle()
    assert [record.flag for record in house.records] == ["DC"]
    house.assert_nothing_left()


def test_a_client_that_leaves_before_the_module_answers_takes_the_server_with_it() -> None:
    house = House(Late())
    client = asked(house)
    house.upstream().answer(SWITCHED)
    house.settle()
    client.leave()
    house.settle()
    assert house.upstream().wire is not None
    assert house.upstream().wire.aborted
    house.assert_nothing_left()


@pytest.mark.parametrize("closed_first", [True, False])
def test_a_side_that_never_takes_what_is_left_is_cut(closed_first: bool) -> None:
    house = House()
    client = tunnel(house)
    client.slow()
    if closed_first:
        client.leave()
    house.upstream().answer(b"never read")
    assert house.upstream().wire is not None
    house.upstream().wire.resumeProducing()
    house.upstream().hang_up()
    house.settle()
    client.leave()
    house.advance(200)
    assert not house.flow.exchanges
    assert (house.records[0].flag, house.records[0].detail) == ("SI", "limits.send_timeout")
    house.assert_nothing_left()


def test_how_long_a_side_may_take_nothing_of_what_is_left_can_be_said() -> None:
    house = House(limits={"send_timeout": "300s"})
    client = tunnel(house)
    client.slow()
    client.leave()
    house.upstream().answer(b"never read")
    assert house.upstream().wire is not None
    house.upstream().wire.resumeProducing()
    house.upstream().hang_up()
    house.advance(290)
    assert house.flow.exchanges
    house.advance(20)
    assert not house.flow.exchanges
    house.assert_nothing_left()


class Answers(Module):
    """Answers otherwise than the upstream, which has switched."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self._answer = answer

    async def handle(self, request: Request) -> Any:
        return await self._answer(await request.forward())


async def raises(_reply: Any) -> Any:
    raise ValueError("no")


async def says_something_else(_reply: Any) -> Any:
    return Response.text("no", 403)


async def changes_the_status(reply: Any) -> Any:
    reply.status = 403
    return reply


async def has_another_body(reply: Any) -> Any:
    reply.body = b"no"
    return reply


async def reads_it(reply: Any) -> Any:
    return Response.text(str(await reply.read()))


async def makes_a_101(_reply: Any) -> Any:
    return Response(101)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (raises, 500),
        (says_something_else, 403),
        (changes_the_status, 403),
        (has_another_body, 500),
        (reads_it, 500),
        (makes_a_101, 500),
    ],
)
def test_a_module_that_does_not_answer_with_the_101_has_the_upstream_closed(answer: Any, status: int) -> None:
    house = House(Answers(answer))
    client = asked(house)
    house.upstream().answer(SWITCHED)
    house.settle()
    assert client.statuses == [status]
    assert not client.closed
    assert house.upstream().wire is not None
    assert house.upstream().wire.aborted
    client.get("/next")  # the connection is HTTP's still
    assert len(house.network.asked) == 2
    client.leave()
    house.settle()
    house.assert_nothing_left()


def test_a_reply_that_has_switched_is_answered_with_once() -> None:
    replies = []

    class Keeps(Module):
        async def handle(self, request: Request) -> Any:
            if not replies:
                replies.append(await request.forward())
            return replies[0]

    house = House(Keeps())
    first = tunnel(house)
    second = asked(house)
    assert second.status == 500
    first.wire.reset()


def test_a_reply_that_has_switched_is_no_answer_to_another_request() -> None:
    replies = []

    class Mixes(Module):
        async def handle(self, request: Request) -> Any:
            if request.path == "/chat":
                replies.append(await request.forward())
                return Response.text("kept")
            return replies[0]

    house = House(Mixes())
    client = asked(house)
    house.upstream().answer(SWITCHED)
    house.settle()
    assert client.body == b"kept"
    other = house.get("/other")
    assert other.statuses == [500]
    client.leave()
    other.leave()
    house.settle()
    house.assert_nothing_left()


# Whatever races.


EVENTS: dict[str, Callable[[House, FakeClient], object]] = {
    "client sends": lambda house, client: client.send(b"c"),
    "client ends": lambda house, client: client.leave(),
    "client resets": lambda house, client: client.wire.reset(),
    "client is slow": lambda house, client: client.slow(),
    "client reads": lambda house, client: client.fast(),
    "server switches": lambda house, client: house.upstream().answer(SWITCHED + b"early"),
    "server answers": lambda house, client: house.upstream().answer(OK),
    "server sends": lambda house, client: house.upstream().answer(b"s"),
    "server ends": lambda house, client: house.upstream().hang_up(),
    "server resets": lambda house, client: (wire := house.upstream().wire) and wire.reset(),
    "server is slow": lambda house, client: (wire := house.upstream().wire) and wire.slow(),
    "server reads": lambda house, client: (wire := house.upstream().wire) and wire.fast(),
    "the loop turns": lambda house, client: house.poll(),
    "all settles": lambda house, client: house.settle(),
    "a second passes": lambda house, client: house.advance(1.0),
    "a minute passes": lambda house, client: house.advance(100.0),
    "an operator cuts": lambda house, client: [one.call_off(Cancelled()) for one in list(house.flow.exchanges)],
    "the proxy stops": lambda house, client: [one.left() for one in list(house.flow.exchanges)],
}


@given(st.sampled_from([None, Async, Late]), st.lists(st.sampled_from(sorted(EVENTS)), max_size=12))
@settings(max_examples=400, deadline=None)
def test_whatever_happens_in_any_order_ends_and_leaves_nothing(module: type[Module] | None, events: list[str]) -> None:
    house = House("reverse" if module is None else module(), limits={"tunnel_idle": "90s"})
    client = asked(house)
    if len(events) % 2:
        house.upstream().answer(SWITCHED)
    for event in events:
        EVENTS[event](house, client)
    house.settle()
    client.fast()
    for wire in (client.wire, house.upstream().wire):
        if wire is not None:
            wire.fast()
    house.advance(400.0)
    client.leave()
    house.advance(400.0)
    house.assert_nothing_left()
    statistics = house.flow.tunnels.statistics()
    assert statistics["open"] == 0
    assert [record.target for record in house.records].count(b"/chat") == 1
