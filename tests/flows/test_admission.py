"""What is taken on at once, and for how long: max_parked, max_queued, the route's timeout."""

from __future__ import annotations

from typing import Any

import pytest

from asyncproxy import Module, Overloaded, Park, ParkTimeout, Response, gather, sleep
from asyncproxy.exchange.messages import Request
from tests.fakes import GET, House

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"


class Sleeps(Module):
    async def handle(self, _request: Request) -> Any:
        await sleep(5)
        return Response.text("slept")


class Plain(Module):
    def handle(self, request: Request) -> Any:
        return Response.text(str(len(request.data)))


def test_beyond_max_parked_a_request_is_refused_with_503_and_retry_after() -> None:
    house = House(Sleeps(), server={"max_parked": 2})
    first, second, third = house.get(), house.get(), house.get()
    assert house.lot.statistics() == {"parked": 2, "limit": 2}
    assert house.lot.full
    assert third.status == 503
    assert b"\r\nRetry-After: 1\r\n" in third.received
    assert b"too many requests are parked" in third.body
    assert not third.closed
    house.advance(5)
    assert first.body == second.body == b"slept"
    assert third.get().status == 503
    house.advance(5)
    assert third.body == b"slept"
    house.assert_nothing_left()


def test_forwards_of_a_module_that_does_not_block_count_as_parked() -> None:
    house = House(server={"max_parked": 1})
    house.get()
    assert house.get().status == 503
    assert len(house.network.asked) == 1


def test_requests_that_were_let_in_and_find_the_lot_full_are_answered_with_503() -> None:
    house = House(Sleeps(), server={"max_parked": 1})
    clients = [house.connect() for _ in range(3)]
    for client in clients:
        client.send(GET)
    house.settle()
    assert [client.status for client in clients] == [None, 503, 503]
    house.advance(5)
    assert clients[0].status == 200
    house.assert_nothing_left()


def test_a_module_hears_of_the_full_lot_at_its_await() -> None:
    heard: list[str] = []

    class Copes(Module):
        async def handle(self, _request: Request) -> Any:
            try:
                await sleep(5)
            except Overloaded as error:
                heard.append(error.words)
                return Response.text("later")
            return Response.text("slept")

    house = House(Copes(), server={"max_parked": 1})
    clients = [house.connect() for _ in range(2)]
    for client in clients:
        client.send(GET)
    house.settle()
    assert clients[1].body == b"later"
    assert heard == ["too many requests are parked"]


def test_the_parts_of_a_gather_count_once() -> None:
    class Gathers(Module):
        async def handle(self, _request: Request) -> Any:
            await gather(sleep(1), sleep(2), sleep(3))
            return Response.text("x")

    house = House(Gathers(), server={"max_parked": 1})
    client = house.get()
    assert house.lot.statistics()["parked"] == 1
    house.advance(3)
    assert client.status == 200
    house.assert_nothing_left()


def test_beyond_max_queued_a_request_is_refused_with_503_and_retry_after() -> None:
    house = House(Plain(), server={"workers": 1, "max_queued": 3})
    busy = house.connect()
    busy.send(GET)
    house.workers.take()
    clients = [house.connect() for _ in range(5)]
    for client in clients:
        client.send(GET)
    assert house.workers.statistics()["queued"] == 3
    assert house.stages() == {"WORKING": 1, "QUEUED": 3}
    assert [client.status for client in clients] == [None, None, None, 503, 503]
    assert b"too many requests are queued" in clients[4].body
    assert b"\r\nRetry-After: " in clients[4].received
    house.settle()
    assert [client.status for client in (busy, *clients[:3])] == [200] * 4
    house.assert_nothing_left()


def test_who_comes_in_a_burst_is_not_refused_while_there_are_workers_that_have_not_woken_yet() -> None:
    house = House(Plain(), server={"workers": 2, "max_queued": 2})
    clients = [house.connect() for _ in range(6)]
    for client in clients:
        client.send(GET)
    house.settle()
    assert [client.status for client in clients] == [200, 200, 200, 200, 503, 503]


def test_a_module_that_does_not_block_is_served_though_the_queue_is_full() -> None:
    house = House(Plain(), server={"max_queued": 1}, modules={"/through": "reverse"})
    house.connect().send(GET)
    through = house.connect()
    through.send(b"GET /through HTTP/1.1\r\nHost: a\r\n\r\n")
    assert through.status is None
    assert len(house.network.asked) == 1
    house.settle()


def test_the_stages_add_up_to_the_exchanges_there_are() -> None:
    house = House(Sleeps(), modules={"/plain": Plain(), "/through": "reverse"})
    house.get()
    house.get("/through")
    uploads = house.connect()
    uploads.send(b"POST /plain HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n")
    queued = house.connect()
    queued.send(GET)
    assert house.stages() == {"PARKED": 2, "RECEIVING": 1, "QUEUED": 1}
    seen = house.snapshot()
    assert seen["parked_total"] == 2
    assert [row["waiting_for"] for row in seen["parked"]] == ["sleep 5 s", "forward to http://127.0.0.1:9000"]
    assert seen["parked"][0]["at"].startswith("test_admission.py:")
    assert repr(house.flow) == "<Flow 1 RECEIVING, 1 QUEUED, 2 PARKED, 0 served>"
    house.shut_down()
    house.settle()
    house.assert_nothing_left()


def test_the_status_pages_rows_go_on_after_the_last_one_seen() -> None:
    house = House(Sleeps())
    for _ in range(5):
        house.get()
    first = house.snapshot(limit=2)
    then = house.snapshot(limit=2, after=first["parked"][-1]["id"])
    last = house.snapshot(limit=2, after=then["parked"][-1]["id"])
    ids = [row["id"] for page in (first, then, last) for row in page["parked"]]
    assert len(set(ids)) == 5
    assert house.snapshot(after="nonsense")["parked_total"] == 5


# The route's timeout, at each stage.


def test_a_body_that_is_collected_for_too_long_is_answered_with_504() -> None:
    house = House(Plain(), route={"timeout": "2s"})
    client = house.connect()
    client.send(POST + b"123")
    house.advance(2.1)
    assert client.status == 504
    assert b"within 2 s" in client.body
    client.send(b"4567890")
    house.advance(5)
    house.assert_nothing_left()


@pytest.mark.parametrize("module", [Plain, Sleeps])
def test_time_that_runs_out_in_the_queue_is_answered_with_504(module: type[Module]) -> None:
    house = House(module(), route={"timeout": "2s"})
    client = house.connect()
    client.send(GET)
    house.wheel.advance(2.1)
    house.settle()
    assert client.status == 504
    house.assert_nothing_left()


def test_time_that_runs_out_in_a_turn_is_answered_with_what_the_turn_gives() -> None:
    house = House(Plain(), route={"timeout": "2s"})
    client = house.connect()
    client.send(GET)
    house.workers.take()
    house.wheel.advance(2.1)
    house.settle()
    assert client.status == 200
    house.assert_nothing_left()


def test_time_that_runs_out_in_a_park_is_told_and_answered_with_504() -> None:
    house = House(Sleeps(), route={"timeout": "2s"})
    client = house.get()
    house.advance(1.9)
    assert client.status is None
    house.advance(0.2)
    assert client.status == 504
    house.assert_nothing_left()


def test_time_that_runs_out_in_a_forward_closes_the_upstream_connection() -> None:
    house = House(route={"timeout": "2s"})
    client = house.get()
    house.advance(2.1)
    assert client.status == 504
    assert house.upstream().closed
    house.assert_nothing_left()


def test_time_that_runs_out_in_a_relay_cuts_the_response() -> None:
    house = House(route={"timeout": "2s"})
    client = house.get()
    house.upstream().answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
    house.advance(2.1)
    assert client.wire.aborted
    assert not client.received.endswith(b"0\r\n\r\n")
    assert house.upstream().closed
    house.assert_nothing_left()


def test_time_that_runs_out_while_pieces_are_made_cuts_the_response() -> None:
    class Pieces(Module):
        closed = 0

        def handle(self, _request: Request) -> Any:
            return Response(body=self.pieces())

        async def pieces(self) -> Any:
            try:
                while True:
                    yield b"piece"
                    await sleep(1)
            finally:
                self.closed += 1

    house = House(module := Pieces(), route={"timeout": "2500ms"})
    client = house.get()
    house.advance(3)
    assert client.wire.aborted
    assert client.body.count(b"piece") == 3
    assert module.closed == 1
    house.assert_nothing_left()


def test_a_request_that_ends_in_time_leaves_no_deadline() -> None:
    house = House(Plain(), route={"timeout": "2s"})
    client = house.get()
    house.advance(5)
    assert client.statuses == [200]
    house.assert_nothing_left()


def test_a_parks_own_time_out_calls_gone_whose_answer_counts() -> None:
    class Parks(Module):
        answer: Any = None

        def handle(self, _request: Request) -> Any:
            return Park(sleep(50), resume=lambda *_: None, timeout=2, gone=lambda _request, woken: self.tell(woken))

        def tell(self, woken: Any) -> Any:
            assert woken.reason == "timeout"
            assert isinstance(woken.value, ParkTimeout)
            return self.answer

    house = House(module := Parks())
    client = house.get()
    assert house.snapshot()["parked"][0]["deadline_s"] == 2
    house.advance(2)
    assert client.status == 504
    module.answer = Response.text("sorry")
    client.get()
    house.advance(2)
    assert client.body == b"sorry"
    module.answer = Park(sleep(1), resume=lambda *_: Response.text("after all"))
    client.get()
    house.advance(3)
    assert client.body == b"after all"
    house.assert_nothing_left()


def test_a_park_without_gone_closes_its_context_at_a_time_out() -> None:
    class Context:
        closed = 0

        def close(self) -> None:
            self.closed += 1

    class Parks(Module):
        def handle(self, _request: Request) -> Any:
            return Park(sleep(50), resume=lambda *_: None, timeout=2, context=context)

    context = Context()
    house = House(Parks())
    client = house.get()
    house.advance(2)
    assert context.closed == 1
    assert client.status == 504
    house.assert_nothing_left()


def test_a_park_whose_wait_fails_is_resumed_with_the_exception() -> None:
    class Parks(Module):
        def handle(self, request: Request) -> Any:
            return Park(request.forward(), resume=self.on)

        def on(self, _request: Request, woken: Any) -> Any:
            return Response.text(f"{woken.reason} {woken.value.why}")

    house = House(Parks())
    house.network.mode = "refuse"
    assert house.get().body == b"failed refused"
    house.assert_nothing_left()
