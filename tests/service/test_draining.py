import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent

from asyncproxy import ClientGone, Draining, Module, Park, Response, sleep
from asyncproxy.service import Proxy
from asyncproxy.service.draining import NAMED, Drain
from tests.fakes import GET, House

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n"


class Sleeps(Module):
    seconds: float = 3.0
    notes: list[str] = []

    async def handle(self, request):
        try:
            await sleep(self.seconds)
        except ClientGone as error:
            self.notes.append(type(error).__name__)
            raise
        finally:
            self.notes.append("finally")
        return Response.text("slept")


class Parks(Module):
    notes: list[str] = []

    def handle(self, request):
        return Park(sleep(60), resume=self.resumed, gone=self.gone)

    def resumed(self, request, woken):
        return Response.text("slept")

    def gone(self, request, woken):
        self.notes.append(f"{woken.reason} {type(woken.value).__name__}")


class Streams(Module):
    """A body without end, whose generator notes its own end."""

    notes: list[str] = []

    def handle(self, request):
        return Response(200, body=self.pieces())

    async def pieces(self):
        try:
            while True:
                yield "piece"
                await sleep(1)
        finally:
            self.notes.append("closed")


class Blocks(Module):
    notes: list[str] = []

    def handle(self, request):
        return Response(200, body=self.pieces())

    def pieces(self):
        try:
            while True:
                yield "piece"
        finally:
            self.notes.append("closed")


def draining(house, seconds):
    """A drain under way, and what came of it: a list once it is over."""
    drain = Drain(house.clock, house.flow, [house.door])
    over = []
    Deferred.fromCoroutine(drain.run(seconds)).addBoth(over.append)
    house.settle()
    return drain, over


def notes(house):
    return house.bindings[0].module.notes


def test_what_runs_may_finish_and_its_connection_closes():
    house = House(Sleeps())
    client = house.get()
    _, over = draining(house, 10)
    house.advance(3)
    assert client.status == 200
    assert b"\r\nConnection: close\r\n" in client.received
    assert client.closed
    house.advance(0.1)
    assert over == [[]]
    house.assert_nothing_left()


def test_an_idle_connection_closes_at_once():
    house = House(Sleeps(seconds=0.0))
    client = house.get()
    house.advance(0)
    assert client.status == 200
    assert not client.closed
    _, over = draining(house, 10)
    assert client.closed
    house.advance(0.1)
    assert over == [[]]


def test_a_new_connection_has_a_moment_for_its_first_request():
    house = House(Sleeps(seconds=0.0))
    silent, quick, slow = house.connect(), house.connect(), house.connect()
    slow.send(HEAD)
    _, over = draining(house, 10)
    house.advance(0.5)
    quick.send(GET)
    slow.send(b"\r\n")
    house.advance(0.1)
    assert (quick.status, slow.status) == (200, 200)
    assert quick.closed
    assert not silent.closed
    house.advance(1)
    assert silent.closed
    assert over == [[]]


def test_a_second_request_on_a_connection_is_not_read():
    house = House(Sleeps())
    client = house.get()
    client.send(GET)
    draining(house, 10)
    house.advance(10)
    assert client.statuses == [200]
    assert client.closed


def test_an_answer_that_had_begun_ends_its_connection_too():
    house = House("reverse")
    client = house.get()
    house.upstream().answer(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
    house.settle()
    _, over = draining(house, 10)
    assert not client.closed
    house.upstream().answer(b"cd")
    house.settle()
    assert client.body == b"abcd"
    assert client.closed
    house.advance(1)
    assert over == [[]]


def test_who_is_not_through_hears_draining_is_answered_503_and_is_named():
    house = House(Sleeps(seconds=60.0))
    client = house.get("/slow?query")
    with capturedLogs() as logged:
        _, over = draining(house, 10)
        house.advance(9.9)
        assert notes(house) == []
        house.advance(1)
    assert notes(house) == ["Draining", "finally"]
    assert client.status == 503
    assert b"shutting down" in client.body
    assert b"Retry-After" in client.received
    assert client.closed
    ((row,),) = over
    assert row.startswith("127.0.0.1:4000 GET /slow?query (")
    assert "PARKED, waits for sleep 60 s at test_draining.py:" in row
    assert row.endswith("for 10.0 s")
    assert any(f"1 cut, not through within 10 s:\n  {row}" in formatEvent(event) for event in logged)
    house.assert_nothing_left()


def test_a_client_cannot_fill_the_log_with_its_target():
    house = House(Sleeps(seconds=60.0))
    house.get("/" + "x" * 7000)
    _, over = draining(house, 0)
    house.advance(1)
    assert len(over[0][0]) < 1000


def test_a_cut_request_is_flagged_in_the_access_log():
    house = House(Sleeps(seconds=60.0))
    house.get()
    draining(house, 0)
    house.advance(1)
    assert [record.flag for record in house.records] == ["DR"]


def test_a_park_is_told_by_its_gone():
    house = House(Parks())
    client = house.get()
    draining(house, 0)
    house.advance(1)
    assert notes(house) == ["gone Draining"]
    assert client.status == 503


@pytest.mark.parametrize("module", [Streams, Blocks])
def test_an_endless_answer_is_cut_and_its_generator_closed(module):
    house = House(module())
    client = house.connect()
    client.send(GET)
    if module is Blocks:
        house.polling.step()
        for _ in range(5):
            house.workers.step()
            house.poll()
        client.slow()
    house.settle()
    assert client.status == 200
    _, over = draining(house, 2)
    house.advance(3)
    assert client.wire.aborted
    assert len(over[0]) == 1
    assert notes(house) == ["closed"]
    house.assert_nothing_left()


def test_a_turn_that_runs_at_the_end_may_still_answer():
    class Works(Module):
        def handle(self, request):
            return Response.text("done")

    house = House(Works())
    client = house.connect()
    client.send(GET)
    house.poll()
    turn = house.workers.queue.popleft()
    turn.run()  # on its worker when time is up
    drain = Drain(house.clock, house.flow, [house.door])
    over = []
    Deferred.fromCoroutine(drain.run(0)).addBoth(over.append)
    house.poll()
    assert over == []
    house.workers._forget(turn)
    turn.ran()
    house.advance(0.1)
    assert client.status == 200
    assert len(over[0]) == 1


def test_an_endless_answer_that_begins_after_the_end_is_cut():
    house = House(Blocks())
    client = house.connect()
    client.send(GET)
    house.poll()
    turn = house.workers.queue.popleft()
    turn.run()
    drain = Drain(house.clock, house.flow, [house.door])
    Deferred.fromCoroutine(drain.run(0))
    house.workers._forget(turn)
    turn.ran()
    house.advance(0.1)
    assert client.wire.aborted
    house.assert_nothing_left()


def test_a_time_out_that_comes_while_a_turn_runs_ends_the_answer_that_it_begins():
    house = House(Blocks(), route={"timeout": "2s"})
    client = house.connect()
    client.send(GET)
    house.poll()
    turn = house.workers.queue.popleft()
    turn.run()
    house.wheel.advance(3)
    house.workers._forget(turn)
    turn.ran()
    house.settle()
    assert client.wire.aborted
    house.assert_nothing_left()


def test_a_slow_reader_is_waited_for_and_named_if_it_is_cut():
    house = House(Sleeps(seconds=1.0))
    client = house.get()
    client.slow()
    _, over = draining(house, 3)
    house.advance(1)
    assert client.status == 200
    assert over == []
    house.advance(2)
    assert client.wire.closing
    house.advance(2.1)
    ((row,),) = over
    assert row == "<ClientConnection 127.0.0.1:4000 closing>, with an answer that is not all sent"


def test_a_drain_that_is_hurried_cuts_at_once():
    house = House(Sleeps(seconds=60.0))
    house.get()
    drain, over = draining(house, 30)
    house.advance(1)
    drain.hurried = True
    house.advance(0.1)
    assert len(over[0]) == 1
    assert repr(drain).endswith("hurried, 1 cut>")


def test_the_log_names_a_bounded_number(monkeypatch):
    house = House(Sleeps(seconds=60.0), server={"max_queued": NAMED + 20})
    for _ in range(NAMED + 10):
        house.connect().send(GET)
    house.settle()
    with capturedLogs() as logged:
        draining(house, 0)
        house.advance(1)
    (said,) = [text for event in logged if "cut" in (text := formatEvent(event))]
    assert len(said.splitlines()) == NAMED + 2
    assert said.endswith("and 10 more")


def test_a_lab_drains(lab):
    one = lab(Sleeps, settings={"seconds": 60.0})
    request = one.get("/")
    before = one.clock.seconds()
    (row,) = one.drain(5)
    assert 5 <= one.clock.seconds() - before < 6
    assert request.status == 503
    assert "GET / " in row
    with pytest.raises(RuntimeError, match="drains"):
        one.get("/")


def test_healthz_tells_that_it_drains(lab):
    one = lab("[[route]]\nmodule = 'status'\n")
    assert one.get("/healthz").status == 200
    connection = one.connect()
    one.house.draining = True
    connection.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
    one.settle()
    assert connection.status == 503
    assert connection.body == b"draining\n"


def test_draining_is_a_client_gone_with_a_status_of_its_own():
    assert issubclass(Draining, ClientGone)
    assert Draining().status == 503


SETTINGS = {
    "server": {"listen": "tcp:0:interface=127.0.0.1", "drain": "0s"},
    "route": [{"module": "status"}],
}


@pytest_twisted.ensureDeferred
async def test_a_proxy_drains_and_stops(reactor):
    proxy = Proxy(SETTINGS, reactor)
    await proxy.start()
    assert not proxy.draining
    ended = proxy.drain()
    assert proxy.draining
    assert proxy.addresses == []
    assert await ended == []
    assert await proxy.drain() == []
    await proxy.stop()


@pytest_twisted.ensureDeferred
async def test_a_proxy_that_was_stopped_starts_again(reactor):
    proxy = Proxy(SETTINGS, reactor)
    for _ in range(2):
        await proxy.start()
        assert len(proxy.addresses) == 1
        assert len(proxy.doors) == 1
        await proxy.stop()
