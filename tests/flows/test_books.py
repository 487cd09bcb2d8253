"""What is written down of a request once it is over: one record and one row of the tally, whatever became of it."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from asyncproxy import Module, Park, Request, Response, UpstreamError, sleep
from asyncproxy.exchange.record import Record, Told
from asyncproxy.polling.books import BATCH, GATHER, Books
from asyncproxy.polling.flow import Exchange
from asyncproxy.polling.tally import FRESH, Tally
from asyncproxy.testing import Lab
from asyncproxy.testing.house import Records
from tests.fakes import GET, SERVER, House

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(autouse=True, params=[1, BATCH], ids=["counted at once", "counted by the batch"])
def batch(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many ends the books of houses note."""
    monkeypatch.setattr(House, "batch", request.param)


def records_of(house: House) -> list[Record]:
    """What was written of all that has ended."""
    house.books.settle()
    return house.records


def record_of(house: House) -> Record:
    """The one that was written, and counted too."""
    (record,) = records_of(house)
    rows = house.books.tally.rows.values()
    counted = sum(sum(row.by_class) for row in rows) + sum(house.books.tally.refused_by_class)
    assert counted == 1
    return record


def test_a_forwarded_request_is_written_down_at_its_end() -> None:
    house = House(route={"path": "/"})
    house.advance(1000)
    began = house.wheel.seconds()
    client = house.connect()
    client.send(b"GET /a?b=c HTTP/1.1\r\nHost: a\r\nUser-Agent: test\r\n\r\n")
    house.settle()
    house.advance(2)
    assert not records_of(house)
    house.upstream().answer(OK)
    house.settle()
    record = record_of(house)
    assert (record.client, record.method, record.target, record.minor) == ("127.0.0.1", "GET", b"/a?b=c", 1)
    assert (record.status, record.size, record.duration, record.time) == (200, 2, 2.0, began)
    assert (record.route, record.module, str(record.upstream), record.attempts) == ("/", "reverse", SERVER, 1)
    assert (record.spent, record.parks, record.flag) == ((0.0, 0.0, 0.0, 0.0, 2.0, 0.0), 1, "")
    assert record.id.endswith("-1")
    assert record.block == b"\r\nHost: a\r\nUser-Agent: test"
    row = house.books.tally.row("/")
    assert (row.by_class, row.parks, row.upstream_waits.sum) == ([0, 0, 1, 0, 0, 0], 1, 2.0)


def test_what_no_bucket_has_yet_is_bounded() -> None:
    house = House()
    client = house.get()
    for _ in range(3 * FRESH):
        house.upstream().answer(OK)
        house.settle()
        client.send(GET)
        house.advance(0.001)
    row = house.books.tally.row("/")
    assert (row.parks, row.by_class[2]) == (3 * FRESH, 3 * FRESH)
    assert max(len(row.durations.fresh), len(row.upstream_waits.fresh)) < FRESH + BATCH
    assert row.upstream_waits.count == 3 * FRESH - 1  # the first took no time


def test_requests_of_one_connection_have_a_record_each() -> None:
    house = House(Answers())
    client = house.connect()
    client.send(GET * 3)
    house.settle()
    assert [(record.status, record.size) for record in records_of(house)] == [(200, 4)] * 3
    assert len({record.id for record in records_of(house)}) == 3


class Answers(Module):
    """Answers by itself."""

    def handle(self, request: Request) -> Response:
        if request.path == "/raise":
            raise ValueError("a module's own")
        if request.path == "/wrong":
            return "no response"  # type: ignore[return-value]
        return Response.text("four")


def test_a_reply_that_streams_is_counted_to_its_last_byte() -> None:
    house = House()
    house.get()
    house.upstream().answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    house.settle()
    house.advance(1)
    house.upstream().answer(b"4\r\ndefg\r\n0\r\n\r\n")
    house.settle()
    record = record_of(house)
    assert (record.status, record.size, record.duration) == (200, 7, 1.0)
    assert record.spent[5] == 1.0  # sending


def test_a_reply_to_head_sent_no_bytes() -> None:
    house = House()
    client = house.connect()
    client.send(GET.replace(b"GET", b"HEAD"))
    house.settle()
    house.upstream().answer(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
    house.settle()
    assert (record_of(house).status, record_of(house).size) == (200, 0)


def test_a_client_that_leaves_has_no_status() -> None:
    house = House()
    client = house.connect()
    client.send(GET)
    house.settle()
    client.wire.hang_up()
    house.settle()
    record = record_of(house)
    assert (record.status, record.size, record.flag, str(record.upstream)) == (0, 0, "DC", SERVER)
    assert house.books.tally.row("/").by_class[0] == 1


def test_a_client_that_leaves_a_kept_connection_does_not_inherit_the_last_status() -> None:
    house = House()
    client = house.get()
    house.upstream().answer(OK)
    house.settle()
    client.send(GET)
    house.settle()
    client.wire.hang_up()
    house.settle()
    assert [(record.status, record.size, record.flag) for record in records_of(house)] == [(200, 2, ""), (0, 0, "DC")]


@pytest.mark.parametrize(("who", "flag"), [("client", "DC"), ("upstream", "UC")])
def test_a_reply_that_is_cut_has_its_status_and_bytes_and_says_by_whom(who: str, flag: str) -> None:
    house = House()
    sides = {"client": house.get(), "upstream": house.upstream()}
    house.upstream().answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
    house.settle()
    sides[who].wire.hang_up()
    house.settle()
    record = record_of(house)
    assert (record.status, record.size, record.flag) == (200, 3, flag)


def test_a_reply_that_is_no_http_is_flagged() -> None:
    house = House()
    house.get()
    house.upstream().answer(b"nonsense\r\n\r\n")
    house.settle()
    assert (record_of(house).status, record_of(house).flag) == (502, "UPE")


def test_a_second_attempt_is_counted() -> None:
    house = House()
    client = house.get()
    house.upstream().answer(OK)
    house.settle()
    client.send(GET)
    house.settle()
    house.upstream().wire.hang_up()
    house.settle()
    house.upstream().answer(OK)
    house.settle()
    assert [record.attempts for record in records_of(house)] == [1, 2]
    assert client.statuses == [200, 200]


@pytest.mark.parametrize(("path", "flag"), [("/raise", "ME"), ("/wrong", "MC")])
def test_what_a_module_does_wrong_is_flagged(path: str, flag: str) -> None:
    house = House(Answers())
    house.get(path)
    assert (record_of(house).status, record_of(house).flag) == (500, flag)


class Waits(Module):
    """Parks a few times, in its own way."""

    async def handle(self, request: Request) -> Any:
        await sleep(1)
        await sleep(1)
        try:
            return await request.forward()
        except UpstreamError:
            return Response.text("instead", 503)


def test_each_park_is_counted_and_its_time_booked() -> None:
    lab = Lab(Waits())
    lab.get("/")
    lab.advance(2)
    lab.upstream("app").answer()
    (record,) = lab.records
    assert (record.parks, record.spent[3], record.duration, record.flag) == (3, 2.0, 2.0, "")


def test_an_error_that_a_module_answers_itself_is_no_flag() -> None:
    house = House(Waits())
    house.get()
    house.advance(2)
    house.upstream().answer(b"nonsense\r\n\r\n")
    house.settle()
    assert (record_of(house).status, record_of(house).flag) == (503, "")


class Resumed(Module):
    """A `Park`, from a plain `handle`."""

    def handle(self, request: Request) -> Park:
        return Park(sleep(1), resume=self.slept)

    def slept(self, request: Request, woken: Any) -> Response:
        """Answer."""
        return Response.text("slept")


def test_a_route_whose_time_is_up_is_flagged() -> None:
    house = House(Resumed(), route={"timeout": "500ms"})
    house.get()
    house.advance(1)
    assert (record_of(house).status, record_of(house).flag) == (504, "DT")


def test_a_request_for_which_there_is_no_room_is_flagged() -> None:
    house = House(Resumed(), server={"max_parked": 1})
    house.get()
    house.get()
    assert [(record.status, record.flag) for record in records_of(house)] == [(503, "OM")]


def test_a_request_that_no_route_takes_is_written_down_without_one() -> None:
    house = House(Answers(), route={"methods": ["POST"]})
    client = house.connect()
    client.send(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
    house.settle()
    record = record_of(house)
    assert (record.status, record.flag, record.route, record.module) == (405, "NR", "", "")
    assert (record.method, record.target, record.upstream) == ("GET", b"/x", None)
    assert record.size == len(client.body)


def test_a_request_that_breaks_the_grammar_is_written_down_without_its_words() -> None:
    house = House(Answers())
    client = house.connect()
    client.send(b"GET /x HTTP/1.1\r\nHost : a\r\n\r\n")
    house.settle()
    record = record_of(house)
    assert (record.status, record.flag, record.method, record.target) == (400, "DPE", "-", b"-")
    assert record.client == "127.0.0.1"


@pytest.mark.parametrize(
    ("method", "target", "fields", "status"),
    [
        ("POST", b"/x", b"Content-Length: 2000000000\r\n", 413),
        ("GET", b"/x%00", b"", 400),
        ("CONNECT", b"a:443", b"", 501),
    ],
)
def test_a_request_that_could_be_read_is_written_down_as_it_was_though_it_is_refused(
    method: str, target: bytes, fields: bytes, status: int
) -> None:
    house = House(Answers())
    client = house.connect()
    client.send(b"%b %b HTTP/1.1\r\nHost: a\r\nUser-Agent: test\r\n%b\r\n" % (method.encode(), target, fields))
    house.settle()
    record = record_of(house)
    assert (record.status, record.flag, record.method, record.target) == (status, "DPE", method, target)
    assert b"User-Agent: test" in record.block
    assert record.id.endswith("-1")
    assert client.status == status
    client.send(GET)
    house.settle()
    assert len(records_of(house)) == 1  # nothing after it is read as a request


def test_a_connection_that_asks_nothing_leaves_no_record() -> None:
    house = House(Answers())
    client = house.connect()
    house.advance(200)
    assert client.closed
    assert not records_of(house)


class Computes(Module):
    """Holds the polling thread, as it should not."""

    blocking = False

    def handle(self, request: Request) -> Response:
        """Takes three seconds."""
        self.proxy.wheel.advance(3)
        return Response.text("done")


def test_what_a_module_does_on_the_polling_thread_is_its_work() -> None:
    house = House(Computes())
    house.get()
    record = record_of(house)
    assert (record.status, record.spent) == (200, (0.0, 0.0, 3.0, 0.0, 0.0, 0.0))


class Batches(list[list[bytes]]):
    """An access log that keeps the targets of each batch."""

    def put(self, told: Sequence[Told]) -> None:
        self.append([one[0].request.target for one in told])

    def statistics(self) -> dict[str, int]:
        return {}


def gathering(log: Any, clock: Any = None) -> House:
    """A house whose books note ends, and have them counted later."""
    house = House(Answers())
    house.flow.books = house.books = Books(Tally(), clock or house.wheel, log, wall=house.wheel.seconds)
    return house


def get(house: House, *targets: str) -> None:
    for target in targets:
        house.get(target)
    house.settle()


def test_the_ends_of_many_requests_are_told_at_once() -> None:
    log = Batches()
    house = gathering(log)
    names = [f"/{number}" for number in range(2 * BATCH + 1)]
    get(house, *names)
    assert [len(batch) for batch in log] == [BATCH, BATCH]
    house.advance(GATHER)
    assert [target.decode() for batch in log for target in batch] == names


def test_an_end_is_told_soon_though_no_other_comes() -> None:
    log = Batches()
    house = gathering(log)
    get(house, "/1")
    house.advance(GATHER / 2)
    get(house, "/2")
    assert log == []
    house.advance(GATHER / 2)
    assert log == [[b"/1", b"/2"]]
    house.advance(10 * GATHER)
    get(house, "/3")
    house.advance(GATHER)
    assert log == [[b"/1", b"/2"], [b"/3"]]


def test_who_reads_the_tally_has_all_that_has_ended() -> None:
    log = Batches()
    house = gathering(log)
    get(house, "/1", "/2")
    assert house.books.tally.row("/").by_class == [0, 0, 2, 0, 0, 0]
    assert log == [[b"/1", b"/2"]]
    house.advance(GATHER)
    assert log == [[b"/1", b"/2"]]


def test_what_is_refused_comes_after_what_ended_before_it() -> None:
    log = Batches()
    house = gathering(log)
    get(house, "/1")
    house.connect().send(b"GET /2 HTTP/1.1\r\n\r\n")
    house.settle()
    get(house, "/3")
    house.advance(GATHER)
    assert log == [[b"/1"], [b"-"], [b"/3"]]


def test_a_record_tells_when_its_request_began_however_late_it_is_made() -> None:
    records = Records()
    house = gathering(records)
    house.advance(100)
    began = house.wheel.seconds()
    get(house, "/1")
    house.advance(GATHER)
    assert [record.time for record in records] == [pytest.approx(began)]


def test_closed_books_have_told_all_and_leave_no_timer() -> None:
    log, clock = Batches(), Clock()
    house = gathering(log, clock)
    get(house, "/1")
    house.books.close()
    assert log == [[b"/1"]]
    get(house, "/2")
    assert log == [[b"/1"]]
    assert house.books.tally.row("/").by_class[2] == 2
    assert not clock.getDelayedCalls()


def test_ends_hold_on_to_their_exchanges_until_they_are_told_and_no_longer() -> None:
    house = gathering(Batches())
    house.get("/1")
    house.settle()
    ended = [one for one in gc.get_objects() if type(one) is Exchange and one.flow is house.flow]
    assert len(ended) == 1
    ended.clear()
    house.advance(GATHER)
    gc.collect()
    assert not [one for one in gc.get_objects() if type(one) is Exchange and one.flow is house.flow]


def test_one_that_cannot_be_counted_costs_no_other_its_line() -> None:
    log = Batches()
    house = gathering(log)
    get(house, "/1", "/2", "/3")
    house.books._ended[1][0].trail = [0.0, "NO STAGE", 1.0]
    with capturedLogs() as events:
        house.advance(GATHER)
    assert log == [[b"/1", b"/3"]]
    assert house.books.tally.row("/").by_class[2] == 2
    (text,) = [formatEvent(event) for event in events]
    assert text.endswith("could not be counted")
