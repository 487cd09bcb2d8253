"""Rule 1: each park wakes exactly once, whatever races; every order of the events is played, on every kind of park."""

from __future__ import annotations

import concurrent.futures
import itertools
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from asyncproxy import Module, Park, Response, TicketRefused, gather, on_reactor, readable, sleep, ticket, writable
from asyncproxy.exchange import waits
from asyncproxy.exchange.messages import Headers, Request
from asyncproxy.exchange.responses import Fetched
from asyncproxy.exchange.tickets import Ticket
from asyncproxy.exchange.waits import Wait
from asyncproxy.polling.waiting import KINDS
from tests.fakes import GET, FakeClient, House

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n"
REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"


class Scene(Module, ABC):
    """A module that waits once, and what wakes it."""

    request = GET
    kind: Any = None
    """The wait whose beginning the events may fall into."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = 0
        self.ends: list[Any] = []
        self.given: list[Any] = []

    async def handle(self, request: Request) -> Any:
        self.begun += 1
        try:
            value = await self.wait(request)
            self.ends.append("value")
        except BaseException as error:
            self.ends.append(type(error).__name__)
            raise
        return self.respond(value)

    @abstractmethod
    def wait(self, request: Request) -> Any: ...

    def respond(self, _value: Any) -> Any:
        return Response.text("done")

    @abstractmethod
    def wake(self, house: House) -> None: ...

    def send_body(self, house: House) -> None:
        """Once: what is sent after it would be another request."""
        if not self.given:
            self.given.append("body")
            house.clients[0].send(b"data")

    def check(self) -> None:
        """What was taken has been given back."""


class Sleeper(Scene):
    kind = waits.Sleep

    def wait(self, _request: Request) -> Any:
        return sleep(7)

    def wake(self, house: House) -> None:
        house.clock.advance(7)


class Descriptor(Scene):
    kind = waits.Readiness
    writing = False

    def wait(self, _request: Request) -> Any:
        ours, theirs = os.pipe()
        try:
            readiness = (writable if self.writing else readable)(ours, timeout=50)
        finally:
            os.close(ours)
            os.close(theirs)
        self.given.append(readiness.fd)
        self.readiness = readiness
        return readiness

    def wake(self, house: House) -> None:
        house.descriptors.ready()

    def check(self) -> None:
        assert self.readiness.fd == -1
        for fd in self.given:
            with pytest.raises(OSError, match="descriptor"):
                os.fstat(fd)


class WritableDescriptor(Descriptor):
    writing = True


class Future(Scene):
    kind = waits.FutureDone

    def wait(self, _request: Request) -> Any:
        future: concurrent.futures.Future[str] = concurrent.futures.Future()
        self.given.append(future)
        return future

    def wake(self, _house: House) -> None:
        for future in self.given:
            if not future.done():
                future.set_result("value")

    def check(self) -> None:
        assert all(future.done() for future in self.given)


class Deferring(Scene):
    """Gives a Deferred to whoever calls `make`, on the polling thread."""

    kind = waits.OnReactor

    def make(self) -> Deferred[Any]:
        deferred: Deferred[Any] = Deferred()
        self.given.append(deferred)
        return deferred

    def wait(self, _request: Request) -> Any:
        return on_reactor(self.make)

    def wake(self, _house: House) -> None:
        for deferred in self.given:
            if not deferred.called:
                deferred.callback("value")

    def check(self) -> None:
        assert all(deferred.called for deferred in self.given)


class Fetching(Scene):
    kind = waits.Fetch

    def wait(self, request: Request) -> Any:
        return request.fetch("http://a/")

    def wake(self, house: House) -> None:
        self.given = [deferred for _, deferred in house.fetches]
        for deferred in self.given:
            if not deferred.called:
                deferred.callback(Fetched(200, Headers(), b"x"))

    check = Deferring.check


class Forwarding(Scene):
    kind = waits.Forward

    def wait(self, request: Request) -> Any:
        return request.forward()

    def respond(self, value: Any) -> Any:
        return value

    def wake(self, house: House) -> None:
        for upstream in house.network.asked:
            if not upstream.closed:
                upstream.answer(REPLY)


class MappedForwarding(Forwarding):
    """The upstream is asked by its own name, and the reply says something of the place."""

    kind = waits.MappedForward

    def wait(self, request: Request) -> Any:
        return waits.MappedForward(request.forward(), preserve_host=False, prefix=b"/app", rewrite=True)


class Uploading(Forwarding):
    """The forward of a body that does not end by itself."""

    request = POST

    def wake(self, house: House) -> None:
        self.send_body(house)
        super().wake(house)


class Connecting(Forwarding):
    """The connection is only made when the reply comes."""

    def wait(self, request: Request) -> Any:
        self.proxy.network.mode = "hang"
        return request.forward()


class Piece(Scene):
    kind = waits.BodyPiece
    request = POST

    def wait(self, request: Request) -> Any:
        return anext(aiter(request.body))

    def wake(self, house: House) -> None:
        self.send_body(house)


class WholeBody(Piece):
    def wait(self, request: Request) -> Any:
        return request.read()


class AwaitingTicket(Scene):
    """A name that is resumed, remembered or late, and free again in the end."""

    kind = Ticket

    def wait(self, _request: Request) -> Any:
        return ticket("approve", timeout=70)

    def wake(self, house: House) -> None:
        self.tickets = house.tickets
        house.tickets.resume("approve", b'"value"').addErrback(lambda failure: failure.trap(TicketRefused))

    def check(self) -> None:
        assert not self.tickets.holds("approve")


class DefaultingTicket(AwaitingTicket):
    def wait(self, _request: Request) -> Any:
        return ticket("approve", timeout=200, default="default")


class ParkingOnTicket(AwaitingTicket):
    """`Park` with a ticket, whose time-out is the sooner one."""

    def handle(self, _request: Request) -> Any:
        self.begun += 1
        return Park(ticket("approve", timeout=70), resume=self.resumed, gone=self.left, timeout=75)

    def resumed(self, _request: Request, woken: Any) -> Any:
        self.ends.append(woken.reason)
        return Response.text("done")

    def left(self, _request: Request, woken: Any) -> Any:
        self.ends.append(woken.reason)


class Gathering(Deferring):
    kind = waits.Gather

    def wait(self, _request: Request) -> Any:
        return gather(sleep(7), on_reactor(self.make), gather(on_reactor(self.make), sleep(7)))

    def wake(self, house: House) -> None:
        super().wake(house)
        house.clock.advance(7)


class Rendering(Forwarding):
    """A twisted.web Resource, which is told of its client's leaving or answers, once."""

    kind = waits.Render

    def wait(self, request: Request) -> Any:
        resource = Resource()
        resource.isLeaf = True
        resource.render = self.render  # type: ignore[method-assign]
        return waits.Render(request, Site(resource, reactor=self.proxy.reactor), [], [b""])

    def render(self, request: Any) -> int:
        self.ends_of_it: list[Any] = []
        request.notifyFinish().addBoth(self.ends_of_it.append)
        self.given.append(request)
        return NOT_DONE_YET

    def wake(self, _house: House) -> None:
        for request in self.given:
            if not self.ends_of_it:
                request.write(b"body")
                request.finish()

    def check(self) -> None:
        assert not self.given or len(self.ends_of_it) == 1


class Strands(Deferring):
    """Coroutines in a gather; each must be run to its end or be closed."""

    kind = waits.Gather

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    async def part(self, name: str, first: Any, second: Any) -> str:
        self.open.append(name)
        try:
            await first
            await second
        finally:
            self.open.remove(name)
        return name

    def wait(self, _request: Request) -> Any:
        ready: concurrent.futures.Future[int] = concurrent.futures.Future()
        ready.set_result(1)
        return gather(
            self.part("one", on_reactor(self.make), sleep(0)), self.part("two", sleep(3), ready), on_reactor(self.make)
        )

    def wake(self, house: House) -> None:
        super().wake(house)
        house.clock.advance(7)

    def check(self) -> None:
        super().check()
        assert self.open == []


class Parking(Deferring):
    """The mail's way: resume, gone, context."""

    def handle(self, _request: Request) -> Any:
        self.begun += 1
        return Park(self.on(), resume=self.resumed, gone=self.left, context=self, timeout=45)

    def on(self) -> Any:
        return on_reactor(self.make)

    def resumed(self, _request: Request, woken: Any) -> Any:
        assert woken.context is self
        self.ends.append(woken.reason)
        return Response.text("done")

    def left(self, _request: Request, woken: Any) -> Any:
        self.ends.append(woken.reason)


class ParkingWithContext(Parking):
    """Without `gone`, a context is closed."""

    def handle(self, _request: Request) -> Any:
        self.begun += 1
        return Park(self.on(), resume=self.resumed, context=self)

    def close(self) -> None:
        self.ends.append("closed")


class ParkingOnCoroutine(Parking):
    kind = waits.Gather

    def on(self) -> Any:
        async def waits_twice() -> None:
            await on_reactor(self.make)
            await sleep(0)

        return waits_twice()

    def wake(self, house: House) -> None:
        super().wake(house)
        house.settle()
        house.clock.advance(0)


SCENES = [
    *(Sleeper, Descriptor, WritableDescriptor, Future, Deferring, Fetching, Forwarding, Uploading, Connecting),
    MappedForwarding,
    *(AwaitingTicket, DefaultingTicket, ParkingOnTicket),
    *(Piece, WholeBody, Gathering, Rendering, Strands, Parking, ParkingWithContext, ParkingOnCoroutine),
]


class Play:
    """One performance: a house, a client whose request is in, and the events that may happen to it."""

    def __init__(self, scene: type[Scene], kinds: Any = KINDS) -> None:
        self.scene = scene()
        self.house = House(self.scene, route={"timeout": "100s"}, kinds=kinds)
        self.client: FakeClient = self.house.connect()
        self.client.send(self.scene.request)
        self.exchange = self.house.exchange()
        self.events: dict[str, Callable[[], Any]] = {
            "wake": lambda: self.scene.wake(self.house),
            "second wake": lambda: self.scene.wake(self.house),
            "time-out": lambda: self.house.wheel.advance(101),
            "client gone": self.client.leave,
            "shutdown": self.house.shut_down,
            "workers": lambda: [self.house.workers.step() for _ in range(2)],
            "polling": self.house.poll,
            "taken": lambda: self.house.workers.queue and self.house.workers.take(),
        }

    def happens(self, event: str) -> None:
        self.events[event]()

    def end(self) -> None:
        """Let everything come to its end, and see that nothing is left and nothing happened twice."""
        house, scene = self.house, self.scene
        house.settle()
        scene.wake(house)  # for orders in which the wake came before there was anything to wake
        house.settle()
        scene.wake(house)
        house.settle()
        house.clock.advance(0)
        house.settle()
        assert scene.begun <= 1
        assert len(scene.ends) == scene.begun, scene.ends
        assert self.exchange.stage == "ENDED"
        assert len(self.client.statuses) <= 1, self.client.received
        assert house.flow.served == 1
        if scene.begun:
            scene.check()
        house.assert_nothing_left()


def orders(events: list[str]) -> Iterator[tuple[str, ...]]:
    return itertools.permutations(events)


@pytest.mark.parametrize("scene", SCENES)
def test_a_park_wakes_once_in_every_order_of_the_events(scene: type[Scene]) -> None:
    for order in orders(["wake", "second wake", "time-out", "client gone", "shutdown", "workers"]):
        play = Play(scene)
        play.house.settle()
        assert play.exchange.stage == "PARKED"
        for event in order:
            play.happens(event)
        play.end()
        assert play.scene.begun == 1


@pytest.mark.parametrize("scene", SCENES)
def test_it_wakes_once_when_workers_and_polling_thread_come_between_in_every_way(scene: type[Scene]) -> None:
    for order in orders(["wake", "time-out", "client gone", "taken", "polling"]):
        play = Play(scene)
        play.house.settle()
        for event in order:
            play.happens(event)
        play.end()


@pytest.mark.parametrize("scene", SCENES)
def test_whatever_happens_before_and_during_the_first_turn_ends_it_once(scene: type[Scene]) -> None:
    for order in orders(["taken", "wake", "time-out", "client gone", "workers"]):
        play = Play(scene)
        for event in order:
            play.happens(event)
        play.end()


@pytest.mark.parametrize("scene", SCENES)
def test_what_happens_while_a_park_begins_is_remembered(scene: type[Scene]) -> None:
    some = ["wake", "second wake", "time-out", "client gone", "shutdown"]
    for count in (1, 2, 3):
        for order in itertools.permutations(some, count):
            for before in range(count + 1):
                play = _play_during_begin(scene, order[:before], order[before:])
                play.end()


def _play_during_begin(scene: type[Scene], before: tuple[str, ...], after: tuple[str, ...]) -> Play:
    play: Play | None = None
    happened: list[str] = []

    class Interrupted(KINDS[scene.kind]):  # type: ignore[misc]
        def begin(self) -> None:
            assert play is not None
            if happened:  # a part of the same kind
                super().begin()
                return
            happened.append("begin")
            for event in before:
                play.happens(event)
            super().begin()
            for event in after:
                play.happens(event)

    play = Play(scene, {**KINDS, scene.kind: Interrupted})
    play.house.settle()
    assert happened
    return play


@pytest.mark.parametrize("scene", SCENES)
def test_a_wake_that_comes_alone_gives_its_value(scene: type[Scene]) -> None:
    play = Play(scene)
    play.house.settle()
    play.happens("wake")
    play.house.settle()
    play.house.clock.advance(0)
    play.house.settle()
    assert play.client.status == 200
    assert play.scene.ends in (["value"], ["ready"])
    play.end()


@pytest.mark.parametrize("scene", SCENES)
def test_a_time_out_that_comes_alone_is_told_to_the_module_and_answered_with_504(scene: type[Scene]) -> None:
    play = Play(scene)
    play.house.settle()
    play.happens("time-out")
    play.house.settle()
    assert play.client.status == 504
    assert play.scene.ends in (["ParkTimeout"], ["timeout"], ["closed"])
    play.end()


@pytest.mark.parametrize("scene", SCENES)
def test_a_client_that_leaves_alone_is_told_to_the_module(scene: type[Scene]) -> None:
    play = Play(scene)
    play.house.settle()
    play.happens("client gone")
    play.house.settle()
    assert play.client.received == b""
    assert play.scene.ends in (["ClientGone"], ["gone"], ["closed"])
    play.end()


@pytest.mark.parametrize("kind", set(KINDS) - {waits.Native}, ids=lambda kind: kind.__name__)
def test_every_kind_of_wait_has_its_scene(kind: type[Wait[Any]]) -> None:
    assert any(scene.kind is kind for scene in SCENES)
