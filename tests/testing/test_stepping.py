"""Orders that a seed decides, and a race that they find."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from asyncproxy import ClientGone, Module, Request, Response, sleep
from asyncproxy.testing import Lab, PollingRound, SteppedWorkers
from asyncproxy.testing.clock import Clock
from asyncproxy.testing.stepping import AtRandom, InOrder, ShuffledRound
from asyncproxy.working.turns import CallTurn


class Account(Module):
    """Checks in one turn and acts in the next: two withdrawals at once may both find enough."""

    def __init__(self) -> None:
        super().__init__()
        self.balance = 100

    async def handle(self, request: Request) -> Response:
        amount = int(request.args["amount"][0])
        enough = self.balance >= amount
        await sleep(0)
        if not enough:
            return Response.text("not enough", 409)
        self.balance -= amount
        return Response.text("paid")


def withdraw_twice(seed: int | None) -> Lab:
    lab = Lab(Account, seed=seed)
    lab.get("/?amount=80")
    lab.get("/?amount=80")
    lab.settle()
    return lab


def test_a_race_is_found_by_some_seed_and_not_by_every_one() -> None:
    assert withdraw_twice(None).module.balance == 20  # in order, the first is through before the second comes
    found = {seed: withdraw_twice(seed).module.balance for seed in range(50)}
    assert set(found.values()) == {20, -60}


def test_a_seed_plays_the_same_race_again() -> None:
    seed = next(seed for seed in range(50) if withdraw_twice(seed).module.balance == -60)
    first, second = withdraw_twice(seed), withdraw_twice(seed)
    assert first.trace == second.trace
    assert (
        [request.status for request in first.requests] == [request.status for request in second.requests] == [200] * 2
    )
    assert f"seed={seed}" in repr(first)
    assert repr(first.requests[0]) == f"<GET /?amount=80: 200, 4 bytes, seed {seed}>"
    assert any("turn of Account.handle runs" in step for step in first.trace)
    other = next(other for other in range(50) if withdraw_twice(other).module.balance == 20)
    assert withdraw_twice(other).trace != first.trace


def test_seeds_decide_what_comes_first_when_much_happens_at_once() -> None:
    """A reply, the client's leaving, and other clients' requests: each order comes up, and none breaks anything."""

    class Forwards(Module):
        def __init__(self) -> None:
            super().__init__()
            self.ends: list[str] = []

        async def handle(self, request: Request) -> Response:
            try:
                reply = await request.forward()
            except ClientGone:
                self.ends.append("gone")
                raise
            self.ends.append("reply")
            await sleep(5)
            return reply

    ends = set()
    for seed in range(40):
        lab = Lab(Forwards, seed=seed)
        first, second = lab.get("/1"), lab.get("/2")
        for asked in lab.upstream().waiting:
            asked.answer(body=asked.path)
        lab.disconnect(first)
        lab.advance(5)
        assert second.text == "/2"
        ends.add(tuple(lab.module.ends))
        assert lab.stop() == []
    assert ends == {("gone", "reply"), ("reply", "gone"), ("reply", "reply")}


def test_timers_of_one_moment_come_in_any_order_under_a_seed() -> None:
    class Order(Module):
        def __init__(self) -> None:
            super().__init__()
            self.order: list[str] = []

        async def handle(self, request: Request) -> Response:
            await sleep(5)
            self.order.append(request.path)
            return Response()

    def played(seed: int | None) -> str:
        lab = Lab(Order, seed=seed)
        for path in ("/a", "/b", "/c"):
            lab.get(path)
            lab.settle()
        lab.advance(5)
        return "".join(lab.module.order)

    assert played(None) == "/a/b/c"
    assert len({played(seed) for seed in range(30)}) == 6


def test_a_timer_that_is_cancelled_while_it_waits_its_turn_does_not_fire() -> None:
    class Late(Module):
        async def handle(self, request: Request) -> Response:
            fetched = await request.fetch("http://slow", timeout=5)
            return Response.text(fetched.text())

    statuses = set()
    for seed in range(20):
        lab = Lab(Late, seed=seed)
        request = lab.get("/")
        lab.settle()
        (asked,) = lab.upstream().requests
        lab.clock.move_to(lab.clock.seconds() + 5)
        asked.answer()
        statuses.add(request.status)
    assert statuses == {200, 504}


def test_seeds_keep_the_order_of_what_one_connection_brings() -> None:
    class Echo(Module):
        async def handle(self, request: Request) -> Response:
            return Response.text("".join([piece.decode() async for piece in request.body]))

    for seed in range(20):
        lab = Lab(Echo, seed=seed)
        uploads = [lab.upload("POST", "/") for _ in range(3)]
        for letter in (b"a", b"b", b"c"):
            for upload in uploads:
                upload.send(letter)
        for upload in uploads:
            upload.end()
        assert [upload.text for upload in uploads] == ["abc"] * 3


# The parts.


class Owner:
    def __init__(self, exchange: Any = None) -> None:
        self.exchange = exchange


def turn(call: Callable[..., Any], done: Callable[[Any], None], exchange: Any = None) -> CallTurn:
    from contextvars import copy_context

    return CallTurn(Owner(exchange), call, (), copy_context(), done)


def test_stepped_workers_run_a_turn_and_tell_of_it_apart() -> None:
    seen: list[str] = []
    workers = SteppedWorkers(2)
    for _ in range(3):
        workers.do(turn(lambda: seen.append("ran"), lambda _turn: seen.append("told")))
    assert workers.takeable == 2
    workers.take(1)
    assert workers.takeable == 1
    assert seen == ["ran"]
    workers.give()
    assert seen == ["ran", "told"]
    while workers.step():
        pass
    assert workers.done == 3
    assert repr(workers) == "<SteppedWorkers 0 of 2 busy, 0 turns queued>"


def test_turns_of_one_exchange_that_overlap_are_an_error() -> None:
    workers = SteppedWorkers()
    exchange = object()
    first = turn(lambda: None, lambda _turn: None, exchange)
    workers.do(first)
    with pytest.raises(AssertionError, match="overlap"):
        workers.do(turn(lambda: None, lambda _turn: None, exchange))
    assert workers.withdraw(first)
    assert not workers.withdraw(first)
    workers.do(turn(lambda: None, lambda _turn: None, exchange))
    assert workers.waiting == 1


def test_what_is_delivered_keeps_its_order_and_what_happens_to_others_does_not() -> None:
    orders, lanes = set(), set()
    for seed in range(30):
        polling, seen = ShuffledRound(), []
        order = AtRandom(polling, SteppedWorkers(), seed)
        for number in range(3):
            polling.deliver(seen.append, number)
        polling.happen("socket", seen.append, "socket")
        while order.step():
            pass
        assert [one for one in seen if one != "socket"] == [0, 1, 2]
        orders.add(tuple(seen))
        lanes.update(order.trace)
    assert len(orders) == 4
    assert lanes == {"deliveries: list.append", "socket: list.append"}


def test_in_order_the_polling_thread_goes_before_the_workers() -> None:
    polling, workers, seen = PollingRound(), SteppedWorkers(), []
    workers.do(turn(lambda: seen.append("turn"), lambda _turn: None))
    polling.deliver(seen.append, "call")
    order = InOrder(polling, workers)
    while order.step():
        pass
    assert seen == ["call", "turn"]
    shuffled = ShuffledRound()
    assert not shuffled.step()
    shuffled.deliver(seen.append, "again")
    assert shuffled.step()
    assert seen[-1] == "again"


# The clock.


def test_timers_fire_at_their_time_in_order() -> None:
    clock, seen = Clock(), []
    clock.callLater(2, seen.append, 2)
    clock.callLater(1, lambda: clock.callLater(0.5, seen.append, clock.seconds()))
    cancelled = clock.callLater(1, seen.append, "never")
    cancelled.cancel()
    assert len(clock.getDelayedCalls()) == 2
    clock.advance(1.4)
    assert seen == []
    clock.advance(0.1)
    clock.advance(1)
    assert seen == [1001.0, 2]
    assert clock.next_time is None


def test_a_timer_may_be_put_off_or_brought_forward() -> None:
    clock, seen = Clock(), []
    later, sooner = clock.callLater(1, seen.append, "later"), clock.callLater(9, seen.append, "sooner")
    later.delay(4)
    sooner.reset(2)
    clock.advance(2)
    assert seen == ["sooner"]
    clock.advance(3)
    assert seen == ["sooner", "later"]
    clock.advance(10)
    assert len(seen) == 2
    waiting = clock.callLater(1, seen.append, "put off")
    clock.move_to(clock.seconds() + 1)
    taken = clock.take_due()
    assert taken is waiting
    waiting.delay(1)
    clock.fire(waiting)
    assert len(seen) == 2
    clock.advance(1)
    assert seen[-1] == "put off"


def test_a_tenth_of_a_second_ten_times_is_a_second() -> None:
    clock, seen = Clock(), []
    clock.callLater(1, seen.append, "now")
    for _ in range(10):
        clock.advance(0.1)
    assert seen == ["now"]
    assert repr(clock) == "<Clock 1 s, 0 timers>"
