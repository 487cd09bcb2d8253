from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncproxy.console.tables import Column, lasting, plain, shown_width, table

COLUMNS = (Column("ID"), Column("WHAT", 6), Column("WHERE", 6), Column("CLIENT"))
ROWS = [["a-1", "ticket approve-1234567", "orders.py:31", "127.0.0.1:4000"], ["a-22", "sleep 5 s", "a.py:1", "::1:9"]]


def test_columns_are_aligned_and_whole_where_there_is_no_terminal() -> None:
    assert table(COLUMNS, ROWS) == [
        "ID    WHAT                    WHERE         CLIENT",
        "a-1   ticket approve-1234567  orders.py:31  127.0.0.1:4000",
        "a-22  sleep 5 s               a.py:1        ::1:9",
    ]


def test_the_widest_column_is_narrowed_first() -> None:
    assert table(COLUMNS, ROWS, 50) == [
        "ID    WHAT            WHERE         CLIENT",
        "a-1   ticket approv…  orders.py:31  127.0.0.1:4000",
        "a-22  sleep 5 s       a.py:1        ::1:9",
    ]


def test_where_narrowing_is_not_enough_columns_are_left_out_from_the_right() -> None:
    assert table(COLUMNS, ROWS, 26) == [
        "ID    WHAT       WHERE",
        "a-1   ticket a…  orders.p…",
        "a-22  sleep 5 s  a.py:1",
    ]
    assert table(COLUMNS, ROWS, 5) == ["ID", "a-1", "a-22"]


def test_of_a_column_whose_end_says_more_the_beginning_is_cut() -> None:
    columns = (Column("ID"), Column("AT", 8, tail=True))
    assert table(columns, [["a", "modules_under_test.py:131"]], 12) == ["ID  AT", "a   ….py:131"]


def test_a_table_without_rows_is_its_head() -> None:
    assert table(COLUMNS, []) == ["ID  WHAT  WHERE  CLIENT"]


def test_what_strangers_sent_does_not_reach_the_terminal() -> None:
    assert plain("/a\x1b[2J\nb\u202e") == "/a\\x1b[2J\\nb\\u202e"
    (_, line) = table((Column("ID"),), [["\x1b]0;owned\x07"]])
    assert line == "\\x1b]0;owned\\x07"


@given(st.lists(st.lists(st.text(max_size=30), min_size=4, max_size=4), max_size=5), st.integers(1, 120))
def test_no_line_is_wider_than_the_terminal_unless_the_first_column_is(rows: list[list[str]], width: int) -> None:
    first = max([2, *(shown_width(plain(row[0])) for row in rows)])
    lines = table(COLUMNS, rows, width)
    assert all(shown_width(line) <= max(width, first) and line.isprintable() for line in lines)


def test_a_path_of_many_wide_characters_is_cut_in_no_time() -> None:
    began = time.process_time()
    (_, line) = table(
        (Column("ID"), Column("PATH", 6), Column("AT", 6, tail=True)), [["a", "長" * 9000, "é" * 9000]], 24
    )
    assert line == f"a   {'長' * 4}…  …{'é' * 8}"
    assert time.process_time() - began < 2


def test_wide_characters_take_two_cells() -> None:
    assert (shown_width("abc"), shown_width("日本"), shown_width("e\u0301")) == (3, 4, 1)
    lines = table((Column("A", 3), Column("B")), [["日本語", "x"], ["abc", "y"]], 8)
    assert [shown_width(line.rpartition(" ")[0]) for line in lines[1:]] == [6, 6]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (-3, "0s"), (0.9, "0s"), (59.9, "59s"), (60, "1m"), (200, "3m20s"), (7200, "2h"), (93600, "1d2h")],
)
def test_times_have_two_units(seconds: float | None, text: str) -> None:
    assert lasting(seconds) == text
