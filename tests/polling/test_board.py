"""What is parked, as rows; see `polling.board`."""

from __future__ import annotations

import gc
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from asyncproxy import Module, Park, Request, Response, Woken, gather, sleep, ticket
from asyncproxy.polling.board import CHECKED, COLUMNS, LONGEST, RIPE, WRITTEN, Board, Sources
from asyncproxy.polling.flow import Exchange
from asyncproxy.polling.onlookers import Onlookers
from tests.fakes import SERVER, House


class Sleeps(Module):
    async def handle(self, request: Request) -> Response:
        await sleep(600)  # here it waits
        return Response()


class Loops(Module):
    async def handle(self, request: Request) -> Response:
        while True:
            await sleep(0.3)


class Asks(Module):
    async def handle(self, request: Request) -> Response:
        return Response.json(await ticket("go", timeout=30, bind="digest"))


class Parks(Module):
    def handle(self, request: Request) -> Park:
        return Park(sleep(600), resume=self.go_on, timeout=20)

    def go_on(self, request: Request, woken: Woken) -> Response:
        return Response()


class Streams(Module):
    async def handle(self, request: Request) -> Response:
        async def waits() -> None:
            await sleep(600)  # inside of it

        async def pieces() -> AsyncIterator[str]:
            yield "one"
            if request.path == "/deep":
                await waits()
            await sleep(600)  # between two pieces

        return Response(body=pieces())


class Gathers(Module):
    async def handle(self, request: Request) -> Response:
        async def one() -> None:
            await sleep(600)

        await gather(one(), one())
        return Response()


def looked(board: Board) -> list[dict[str, Any]]:
    """The rows after a whole look, the eldest first."""
    while board.look():
        pass
    return shown(board)


def shown(board: Board) -> list[dict[str, Any]]:
    rows = sorted(board.rows, key=lambda row: row.key)
    return [dict(zip(COLUMNS, json.loads(row.text), strict=True)) for row in rows]


def board_of(house: House) -> Board:
    return Board(house.flow, Sources())


def test_a_row_has_the_line_of_code_that_waits() -> None:
    house = House(Sleeps(), route={"timeout": "15m"})
    house.get("/orders/%3Ca%3E")
    house.advance(2)
    (row,) = looked(board_of(house))
    assert row["at"].startswith("test_board.py:")
    assert row["source"] == "await sleep(600)  # here it waits"
    assert (row["path"], row["waiting_for"], row["client"]) == ("/orders/<a>", "sleep 600 s", "127.0.0.1:4000")
    assert (row["until"] - house.flow.seconds(), row["ticket"]) == (15 * 60 - 2, None)


def test_a_ticket_is_told_with_what_it_is_bound_to() -> None:
    house = House(Asks(), route={"timeout": "15m"})
    house.get()
    house.advance(2)
    (row,) = looked(board_of(house))
    assert (row["ticket"], row["bind"]) == ("go", "digest")
    assert row["until"] - house.clock.seconds() == 28, "the nearer deadline"


def test_a_park_by_hand_is_told_with_the_method_that_goes_on() -> None:
    house = House(Parks())
    house.get()
    house.advance(2)
    (row,) = looked(board_of(house))
    assert row["source"] == "def go_on(self, request: Request, woken: Woken) -> Response:"
    assert row["until"] - house.clock.seconds() == 18


def test_a_forward_is_booked_as_upstream_s_time() -> None:
    house = House("reverse")
    house.get()
    house.advance(2)
    (row,) = looked(board_of(house))
    assert (row["waiting_for"], row["column"]) == (f"forward to {SERVER}", 4)


@pytest.mark.parametrize(
    ("path", "line"), [("/", "await sleep(600)  # between two pieces"), ("/deep", "await sleep(600)  # inside of it")]
)
def test_a_body_that_waits_between_its_pieces_is_told_with_its_own_line(path: str, line: str) -> None:
    house = House(Streams())
    house.get(path)
    house.advance(2)
    assert looked(board_of(house))[0]["source"] == line


def test_what_waits_beside_its_own_line_is_no_row_of_its_own() -> None:
    house = House(Gathers())
    house.get()
    house.advance(2)
    assert len(house.lot.parked) == 3
    assert [row["waiting_for"].partition(":")[0] for row in looked(board_of(house))] == ["gather of 2"]


def test_what_is_parked_for_less_than_a_moment_is_never_written() -> None:
    house = House(Sleeps())
    board = board_of(house)
    client = house.get()
    assert looked(board) == []
    client.leave()
    house.advance(RIPE)
    assert looked(board) == []


def test_who_parks_again_and_again_keeps_its_row() -> None:
    house = House(Loops())
    board = board_of(house)
    house.get()
    house.advance(RIPE)
    seen = []
    for _ in range(5):
        seen += [row["key"] for row in looked(board)]
        house.advance(0.3)
    assert seen == [1] * 5
    assert len(board.rows) == 1


def test_many_are_written_a_few_at_a_time_the_eldest_first() -> None:
    house = House(Sleeps())
    for _ in range(WRITTEN * 2 + 1):
        house.get()
        house.advance(0.001)
    house.advance(1)
    board = board_of(house)
    sizes = []
    while True:
        more = board.look()
        sizes.append(len(board.rows))
        assert [row["key"] for row in shown(board)] == list(range(1, len(board.rows) + 1))
        if not more:
            break
    assert sizes == [0, WRITTEN, WRITTEN * 2, WRITTEN * 2 + 1]


def test_what_ends_while_rows_are_written_is_not_written() -> None:
    house = House(Sleeps())
    clients = [house.get() for _ in range(WRITTEN + 1)]
    house.advance(1)
    board = board_of(house)
    assert board.look()
    clients[0].leave()
    house.settle()
    assert [row["key"] for row in looked(board)] == list(range(2, WRITTEN + 2))


def test_what_is_over_leaves_the_board_and_the_version_says_so() -> None:
    house = House(Sleeps())
    board = board_of(house)
    client = house.get()
    house.advance(1)
    looked(board)
    version = board.version
    looked(board)
    assert board.version == version
    client.leave()
    house.settle()
    assert looked(board) == []
    assert board.version != version


def test_a_deadline_that_moves_is_found() -> None:
    house = House(Asks())
    board = board_of(house)
    house.get()
    house.advance(1)
    before = looked(board)[0]["until"]
    house.extend(house.exchange().request.id, 60)
    looked(board)
    assert looked(board)[0]["until"] == before + 60


def test_each_row_is_looked_at_in_its_turn() -> None:
    house = House(Asks(), modules={"/sleeps": Sleeps()})
    for _ in range(CHECKED):
        house.get("/sleeps")
    house.get()
    board = board_of(house)
    house.advance(1)
    looked(board)
    (asks,) = [exchange for exchange in house.flow.exchanges if exchange.request.path == "/"]
    before = shown(board)[-1]["until"]
    house.extend(asks.request.id, 60)
    for _ in range(4):
        looked(board)
    assert shown(board)[-1]["until"] == before + 60


def test_a_board_that_is_read_by_nobody_keeps_no_request_alive() -> None:
    house = House(Sleeps())
    onlookers: Onlookers = house.onlookers
    onlooker = onlookers.come()
    client = house.get()
    request = house.exchange().request.id
    house.advance(3)
    assert request in "".join(text for _, text in onlooker.look())
    client.leave()
    house.clients.clear()
    house.advance(3)
    del client
    gc.collect()
    assert [one for one in gc.get_objects() if isinstance(one, Exchange) and one.request.id == request] == []
    onlooker.leave()


def test_a_path_cannot_show_itself_as_another() -> None:
    house = House(Sleeps())
    house.get("/pay/%E2%80%AEgnp.exe%0A" + "%E2%80%AE" * 300)
    house.advance(1)
    (row,) = looked(board_of(house))
    assert row["path"].startswith(r"/pay/\u202egnp.exe\n\u202e")
    assert len(row["path"]) == LONGEST


def test_texts_that_fill_a_page_are_cut() -> None:
    house = House(Sleeps())
    house.get("/" + "a" * 5000)
    house.advance(1)
    assert len(looked(board_of(house))[0]["path"]) == LONGEST
