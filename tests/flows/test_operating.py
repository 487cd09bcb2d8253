"""What operators do to whole lives of exchanges."""

from __future__ import annotations

import os
from typing import Any

import pytest

from asyncproxy import Cancelled, Module, Park, ParkTimeout, Request, Response, Woken, gather, readable, sleep
from asyncproxy.polling.operating import OperationRefused
from tests.fakes import House


class Sleeps(Module):
    async def handle(self, _request: Request) -> Response:
        await sleep(100)
        return Response.text("slept")


class Parks(Module):
    """Parks with a time-out, as the mail has it."""

    def __init__(self, reply: Any = None) -> None:
        super().__init__()
        self.said: list[str] = []
        self.reply = reply

    def handle(self, _request: Request) -> Park:
        return Park(sleep(1000), resume=self.answered, timeout=10, gone=self.gone)

    def answered(self, _request: Request, _woken: Woken) -> Response:
        return Response.text("slept")

    def gone(self, _request: Request, woken: Woken) -> Any:
        self.said.append(woken.reason)
        return self.reply


def refused(call: Any, *args: Any) -> tuple[int, str]:
    with pytest.raises(OperationRefused) as why:
        call(*args)
    return why.value.status, why.value.words


def test_a_cancelled_request_is_answered_and_leaves_nothing() -> None:
    house = House(Sleeps())
    client = house.get()
    identity = house.exchange().request.id
    assert house.cancel(identity, 504) == {"request": identity, "status": 504}
    house.settle()
    assert client.status == 504
    assert refused(house.cancel, identity)[0] == 404
    house.assert_nothing_left()


def test_a_module_may_answer_a_cancelled_request_itself() -> None:
    class Apologizes(Module):
        async def handle(self, _request: Request) -> Response:
            try:
                await sleep(100)
            except Cancelled as why:
                return Response.text(f"sorry, {why.status}", 200)
            return Response()

    house = House(Apologizes())
    client = house.get()
    house.cancel(house.exchange().request.id, 500)
    house.settle()
    assert (client.status, client.body) == (200, b"sorry, 500")
    house.assert_nothing_left()


def test_a_forward_that_is_cancelled_is_called_off() -> None:
    house = House("reverse")
    client = house.get()
    house.upstream().accept()
    house.settle()
    house.cancel(house.exchange().request.id)
    house.settle()
    assert client.status == 503
    assert house.upstream().closed
    house.assert_nothing_left()


def test_a_park_hears_in_gone_that_it_was_cancelled() -> None:
    house = House(module := Parks())
    client = house.get()
    house.cancel(house.exchange().request.id, 410)
    house.settle()
    assert (module.said, client.status) == (["cancelled"], 410)
    answering = House(Parks(reply=Response.text("later", 202)))
    client = answering.get()
    answering.cancel(answering.exchange().request.id)
    answering.settle()
    assert client.status == 202
    house.assert_nothing_left()


def test_a_response_that_has_begun_is_cut() -> None:
    class Streams(Module):
        async def handle(self, _request: Request) -> Response:
            async def body() -> Any:
                yield b"first"
                await sleep(100)
                yield b"last"

            return Response(200, body=body())

    house = House(Streams())
    client = house.get()
    assert house.cancel(house.exchange().request.id)["status"] is None
    house.settle()
    assert client.closed
    assert b"last" not in client.received
    house.assert_nothing_left()


def test_a_client_that_was_kept_waiting_reads_of_it_in_the_body() -> None:
    house = House(Sleeps(), route={"keep_alive": "json", "keep_alive_every": "5s"})
    client = house.get()
    house.advance(6)
    assert client.status == 200
    identity = house.exchange().request.id
    assert house.cancel(identity, 410) == {"request": identity, "status": 410}
    house.settle()
    assert b'"status": 410' in client.body
    assert b"an operator cancelled the request" in client.body
    house.assert_nothing_left()


def test_clean_up_that_waits_on_is_given_up_after_its_grace_however_often_it_is_extended() -> None:
    class Clings(Module):
        async def handle(self, _request: Request) -> Response:
            try:
                await sleep(1000)
            finally:
                await sleep(1000)

    house = House(Clings())
    client = house.get()
    identity = house.exchange().request.id
    house.cancel(identity)
    house.settle()
    assert refused(house.extend, identity, 60)[0] == 409
    house.advance(31)
    assert client.status == 504
    house.assert_nothing_left()


def test_what_is_not_parked_is_not_cancelled() -> None:
    class Works(Module):
        def handle(self, _request: Request) -> Response:
            return Response()

    house = House(Works())
    client = house.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    house.poll()
    status, words = refused(house.cancel, house.exchange().request.id)
    assert (status, words) == (409, "it is not parked, but QUEUED: ask again when it waits")
    house.settle()
    assert client.status == 200


def test_an_id_that_several_have_says_not_which_one() -> None:
    house = House(Sleeps(), server={"trust_request_id": True})
    for _ in range(2):
        house.connect().send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: mine\r\n\r\n")
    house.settle()
    status, words = refused(house.cancel, "mine")
    assert (status, words[:27]) == (409, "2 requests have this id, wh")
    assert refused(house.extend, "mine", 5)[0] == 409
    assert house.stages() == {"PARKED": 2}


@pytest.mark.parametrize("status", [399, 600, "503", True, None, 503.0])
def test_a_status_that_is_no_error_is_refused(status: Any) -> None:
    house = House(Sleeps())
    house.get()
    assert refused(house.cancel, house.exchange().request.id, status)[0] == 400
    assert house.stages() == {"PARKED": 1}


# More time.


def test_a_park_is_extended_from_its_own_deadline() -> None:
    house = House(module := Parks())
    client = house.get()
    identity = house.exchange().request.id
    house.advance(4)
    assert house.extend(identity, 20) == {"request": identity, "deadline_s": 26}
    assert house.extend(identity, 1)["deadline_s"] == 27
    assert house.snapshot()["parked"][0]["deadline_s"] == 27
    house.advance(26.5)
    assert client.status is None
    house.advance(1)
    assert (client.status, module.said) == (504, ["timeout"])
    assert b"nothing came within 31 s\n" in client.body
    house.assert_nothing_left()


def test_a_route_s_time_is_extended() -> None:
    house = House(Sleeps(), route={"timeout": "10s"})
    client = house.get()
    assert house.snapshot()["parked"][0]["deadline_s"] == 10
    house.extend(house.exchange().request.id, 20)
    house.advance(29)
    assert client.status is None
    house.advance(2)
    assert (client.status, b"was not answered within 30 s" in client.body) == (504, True)
    house.assert_nothing_left()


def test_both_are_extended_and_the_first_is_told() -> None:
    house = House(Parks(), route={"timeout": "15s"})
    client = house.get()
    assert house.extend(house.exchange().request.id, 100)["deadline_s"] == 110
    house.advance(109)
    assert client.status is None
    house.advance(2)
    assert client.status == 504
    house.assert_nothing_left()


def test_a_descriptor_s_timeout_is_told_and_extended() -> None:
    reading, writing = os.pipe()

    class Reads(Module):
        async def handle(self, _request: Request) -> Response:
            try:
                await readable(reading, timeout=5)
            except ParkTimeout as why:
                return Response.text(why.words)
            return Response()

    house = House(Reads())
    client = house.get()
    assert house.snapshot()["parked"][0]["deadline_s"] == 5
    assert house.extend(house.exchange().request.id, 3)["deadline_s"] == 8
    house.advance(7)
    assert client.status is None
    house.advance(1.5)
    assert client.body.endswith(b"nothing was ready within 8 s")
    os.close(reading)
    os.close(writing)
    house.assert_nothing_left()


def test_what_ends_first_of_a_park_and_its_descriptor_ends_it() -> None:
    reading, writing = os.pipe()

    class Reads(Module):
        def handle(self, _request: Request) -> Park:
            return Park(readable(reading, timeout=50), resume=self.answered, timeout=5)

        def answered(self, _request: Request, _woken: Woken) -> Response:
            return Response()

    house = House(Reads())
    client = house.get()
    assert house.snapshot()["parked"][0]["deadline_s"] == 5
    house.advance(6)
    assert client.status == 504
    os.close(reading)
    os.close(writing)
    house.assert_nothing_left()


def test_what_has_no_deadline_cannot_be_extended() -> None:
    house = House(Sleeps())
    house.get()
    status, words = refused(house.extend, house.exchange().request.id, 5)
    assert (status, words) == (409, "neither its park nor its route has a timeout: there is nothing to extend")


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 31 * 86400, "5m", True])
def test_time_is_more_than_none_and_not_for_ever(seconds: Any) -> None:
    house = House(Parks())
    house.get()
    assert refused(house.extend, house.exchange().request.id, seconds)[0] == 400


def test_a_strand_that_runs_beside_is_no_park() -> None:
    class Gathers(Module):
        async def handle(self, _request: Request) -> Response:
            await gather(sleep(1), self.beside())
            return Response.text("done")

        async def beside(self) -> None:
            await sleep(0.5)
            await sleep(0.5)

    house = House(Gathers())
    client = house.get()
    house.clock.advance(0.5)
    house.poll()  # the one beside waits for a worker
    assert refused(house.cancel, house.exchange().request.id)[0] == 409
    house.advance(1)
    assert client.body == b"done"
    house.assert_nothing_left()
