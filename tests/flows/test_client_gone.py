"""A client that leaves, at each stage of its exchange."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from asyncproxy import ClientGone, Module, Park, ParkTimeout, Response, UpstreamError, gather, on_reactor, sleep
from asyncproxy.exchange.messages import Request
from tests.fakes import GET, House

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"
REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Logging(Module):
    """Notes what its code does."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[str] = []


class Plain(Logging):
    def handle(self, _request: Request) -> Any:
        self.log.append("ran")
        return Response.text("x")


class Waiting(Logging):
    async def handle(self, request: Request) -> Any:
        self.log.append("began")
        try:
            await self.wait(request)
            self.log.append("woken")
        except Exception as error:
            self.log.append(type(error).__name__)
            raise
        finally:
            self.log.append("finally")
        return Response.text("x")

    def wait(self, _request: Request) -> Any:
        return sleep(5)


def test_queued_and_never_begun_the_module_never_runs() -> None:
    for module in (Plain(), Waiting()):
        house = House(module)
        client = house.connect()
        client.send(GET)
        assert house.stages() == {"QUEUED": 1}
        client.leave()
        house.settle()
        assert not set(module.log) & {"ran", "began"}
        house.assert_nothing_left()


def test_queued_again_after_a_wake_the_module_hears_it_instead_of_the_value() -> None:
    house = House(module := Waiting())
    client = house.get()
    house.clock.advance(5)
    assert house.stages() == {"QUEUED": 1}
    client.leave()
    assert house.stages() == {"QUEUED": 1}
    house.settle()
    assert module.log == ["began", "ClientGone", "finally"]
    house.assert_nothing_left()


def test_while_a_worker_runs_its_code_it_hears_at_the_next_wait() -> None:
    house = House(module := Waiting())
    client = house.connect()
    client.send(GET)
    house.workers.take()
    assert house.stages() == {"WORKING": 1}
    client.leave()
    assert module.log == ["began"]
    house.settle()
    assert module.log == ["began", "ClientGone", "finally"]
    house.assert_nothing_left()


def test_while_a_worker_runs_a_plain_handle_its_answer_is_dropped() -> None:
    house = House(module := Plain())
    client = house.connect()
    client.send(GET)
    house.workers.take()
    client.leave()
    house.settle()
    assert module.log == ["ran"]
    assert client.received == b""
    house.assert_nothing_left()


def test_while_a_worker_runs_a_handle_that_parks_it_is_told_instead_of_parked() -> None:
    class Parks(Logging):
        def handle(self, _request: Request) -> Any:
            return Park(sleep(1), resume=self.resume, gone=self.left, context="c")

        def resume(self, _request: Request, _woken: Any) -> Any:
            self.log.append("resume")

        def left(self, _request: Request, woken: Any) -> Any:
            self.log.append(f"{woken.reason} {woken.context} {type(woken.value).__name__}")

    house = House(module := Parks())
    client = house.connect()
    client.send(GET)
    house.workers.take()
    client.leave()
    house.settle()
    assert module.log == ["gone c ClientGone"]
    house.assert_nothing_left()


def test_finally_may_await_after_the_client_has_gone() -> None:
    class Cleaner(Logging):
        async def handle(self, request: Request) -> Any:
            try:
                await sleep(5)
            finally:
                await sleep(1)
                self.log.append("slept")
                try:
                    await request.forward()
                except UpstreamError as error:
                    self.log.append(error.why)

    house = House(module := Cleaner())
    client = house.get()
    client.leave()
    house.settle()
    assert module.log == []
    assert house.stages() == {"PARKED": 1}
    house.advance(1)
    house.upstream().hang_up()
    house.settle()
    assert module.log == ["slept", "reset"]
    house.assert_nothing_left()


def test_a_module_that_goes_on_regardless_is_told_once_only() -> None:
    class Stubborn(Logging):
        async def handle(self, _request: Request) -> Any:
            for _ in range(3):
                try:
                    await sleep(1)
                    self.log.append("slept")
                except ClientGone:
                    self.log.append("gone")
            return Response.text("x")

    house = House(module := Stubborn())
    house.get().leave()
    house.advance(5)
    assert module.log == ["gone", "slept", "slept"]
    house.assert_nothing_left()


def test_while_its_forward_waits_the_upstream_connection_is_closed() -> None:
    class Forwards(Waiting):
        def wait(self, request: Request) -> Any:
            return request.forward()

    for module in ("reverse", Forwards()):
        house = House(module)
        client = house.get()
        client.leave()
        assert house.upstream().closed
        house.settle()
        assert house.pool()["open"] == 0
        house.assert_nothing_left()


def test_while_its_forward_connects_the_attempt_is_withdrawn() -> None:
    house = House()
    house.network.mode = "hang"
    client = house.get()
    client.leave()
    assert house.upstream().withdrawn
    house.settle()
    house.assert_nothing_left()


def test_while_its_forward_stands_in_line_it_leaves_the_line() -> None:
    house = House(groups={"g": {"servers": ["http://127.0.0.1:1"], "max_connections": 1}}, route={"upstream": "g"})
    first, second, third = house.get(), house.get(), house.get()
    assert third.status == 503
    assert house.pool()["waiting"] == 1
    second.leave()
    assert house.pool()["waiting"] == 0
    house.upstream().answer(REPLY)
    house.settle()
    assert first.status == 200
    house.assert_nothing_left()


def test_while_it_uploads_the_upstream_connection_is_closed() -> None:
    for module in ("reverse", _streams_up()):
        house = House(module)
        client = house.connect()
        client.send(POST + b"123")
        house.settle()
        assert house.upstream().received.endswith(b"123")
        client.leave()
        house.settle()
        assert house.upstream().closed
        house.assert_nothing_left()


def _streams_up() -> Module:
    class Streams(Module):
        async def handle(self, request: Request) -> Any:
            return await request.forward()

    return Streams()


def test_while_a_reply_is_relayed_the_upstream_connection_is_closed() -> None:
    for module in ("reverse", _streams_up()):
        house = House(module)
        client = house.get()
        house.upstream().answer(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nsome")
        house.settle()
        assert client.body == b"some"
        assert house.stages() == {"RESPONDING": 1}
        client.leave()
        assert house.upstream().closed
        house.settle()
        house.assert_nothing_left()


def test_between_the_head_of_a_reply_and_its_answer_the_upstream_connection_is_closed() -> None:
    class Thinks(Logging):
        async def handle(self, request: Request) -> Any:
            reply = await request.forward()
            await sleep(3)
            return reply

    house = House(Thinks())
    client = house.get()
    house.upstream().answer(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nsome")
    house.settle()
    client.leave()
    house.settle()
    assert house.upstream().closed
    house.assert_nothing_left()


class Streams(Logging):
    """Answers with an iterable that knows when it is closed."""

    def handle(self, _request: Request) -> Any:
        return Response(body=self.pieces())

    def pieces(self) -> Iterator[bytes]:
        try:
            for number in range(100):
                self.log.append(f"made {number}")
                yield b"piece"
        finally:
            self.log.append("finally")


class StreamsAsync(Streams):
    async def pieces(self) -> AsyncIterator[bytes]:  # type: ignore[override]
        try:
            for number in range(100):
                self.log.append(f"made {number}")
                yield b"piece"
                await sleep(1)
        finally:
            self.log.append("finally")


@pytest.mark.parametrize("module", [Streams, StreamsAsync])
@pytest.mark.parametrize("when", ["queued", "parked", "queued again", "working", "slow"])
def test_while_pieces_are_made_the_generator_is_closed_on_a_worker(module: type[Streams], when: str) -> None:
    made = module()
    house = House(made)
    client = house.connect()
    client.send(GET)
    house.workers.step()  # handle
    house.workers.step()  # the first piece
    if when == "slow":
        client.slow()
        house.advance(2)
        assert house.stages() == {"RESPONDING": 1}
    elif when != "queued":
        house.workers.step()
        if when != "parked":
            house.clock.advance(1)
        if when == "working":
            house.workers.take()
    before = list(made.log)
    client.leave()
    assert made.log == before
    house.settle()
    assert made.log.count("finally") == 1
    assert made.log[-1] == "finally"
    house.advance(3)
    house.assert_nothing_left()


def test_a_slow_client_is_not_made_pieces_for() -> None:
    house = House(module := Streams())
    client = house.connect()
    client.send(GET)
    house.workers.step()
    house.workers.step()
    client.slow()
    house.settle()
    made = len(module.log)
    assert made == 2
    house.advance(10)
    assert len(module.log) == made
    client.fast()
    house.settle()
    assert len(module.log) == 101
    assert client.body.count(b"piece") == 100
    house.assert_nothing_left()


def test_while_a_whole_body_is_collected_in_memory_the_module_never_runs() -> None:
    house = House(module := Plain())
    client = house.connect()
    client.send(POST + b"123")
    assert house.stages() == {"RECEIVING": 1}
    client.leave()
    house.settle()
    assert module.log == []
    house.assert_nothing_left()


@pytest.mark.parametrize("when", ["before the file is written", "while it is", "after"])
def test_while_a_whole_body_is_collected_in_a_file_the_file_is_closed(
    when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    files: list[Any] = []
    real = tempfile.TemporaryFile
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **kw: files.append(real(**kw)) or files[-1])
    house = House(module := Plain(), limits={"spool": "2B"})
    client = house.connect()
    client.send(POST + b"123")
    assert house.workers.waiting == 1
    if when == "while it is":
        house.workers.take()
    elif when == "after":
        house.settle()
    client.leave()
    house.settle()
    assert module.log == []
    assert all(file.closed for file in files)
    house.assert_nothing_left()


def test_turns_of_one_exchange_never_overlap_though_many_coroutines_are_ready() -> None:
    class Many(Logging):
        async def part(self, name: int) -> int:
            self.log.append("in")
            await sleep(1)
            self.log.append("on")
            return name

        async def handle(self, _request: Request) -> Any:
            values = await gather(*(self.part(name) for name in range(5)), sleep(1))
            return Response.json(values)

    house = House(module := Many())
    client = house.connect()
    client.send(GET)
    most = 0
    for _ in range(100):  # the fake asserts that no second turn is handed over while one waits or runs
        most = max(most, house.workers.waiting)
        if not house.workers.step():
            house.clock.advance(1)
    assert most == 1
    assert client.body == b"[0, 1, 2, 3, 4, null]"
    assert module.log == ["in"] * 5 + ["on"] * 5
    house.assert_nothing_left()


def test_one_part_that_fails_ends_the_gather_and_closes_the_others() -> None:
    class Fails(Logging):
        async def part(self, name: str) -> None:
            try:
                await sleep(10)
            finally:
                self.log.append(f"{name} closed")

        async def fail(self) -> None:
            await sleep(1)
            raise ValueError("part")

        async def handle(self, _request: Request) -> Any:
            try:
                await gather(self.part("a"), sleep(30), self.fail(), self.part("b"))
            except ValueError as error:
                self.log.append(str(error))
            return Response.text("x")

    house = House(module := Fails())
    client = house.get()
    house.advance(1)
    assert sorted(module.log) == ["a closed", "b closed", "part"]
    assert client.status == 200
    house.assert_nothing_left()


def test_a_deferred_whose_canceller_raises_still_lets_its_exchange_end(failures: list[Any]) -> None:
    def cancel(_deferred: Deferred[Any]) -> None:
        raise ZeroDivisionError

    class Waits(Waiting):
        def wait(self, _request: Request) -> Any:
            return on_reactor(Deferred, cancel)

    house = House(module := Waits())
    house.get().leave()
    house.settle()
    assert module.log == ["began", "ClientGone", "finally"]
    assert failures.pop().check(ZeroDivisionError)
    house.assert_nothing_left()


def test_what_the_module_raises_after_the_client_has_gone_is_logged_and_ends_it() -> None:
    class Raises(Logging):
        async def handle(self, _request: Request) -> Any:
            try:
                await sleep(5)
            except ClientGone:
                raise ValueError("late") from None

    house = House(Raises())
    house.get().leave()
    house.settle()
    house.assert_nothing_left()


def test_a_time_out_in_a_turn_is_told_at_the_next_wait() -> None:
    house = House(module := Waiting(), route={"timeout": "2s"})
    client = house.connect()
    client.send(GET)
    house.workers.take()
    house.wheel.advance(3)
    house.settle()
    assert module.log == ["began", "ParkTimeout", "finally"]
    assert client.status == 504
    house.assert_nothing_left()


def test_a_module_may_answer_after_its_time_is_up() -> None:
    class Sorry(Logging):
        async def handle(self, _request: Request) -> Any:
            try:
                await sleep(50)
            except ParkTimeout:
                return Response.text("sorry", 200)

    house = House(Sorry(), route={"timeout": "2s"})
    client = house.get()
    house.advance(3)
    assert client.body == b"sorry"
    house.assert_nothing_left()
