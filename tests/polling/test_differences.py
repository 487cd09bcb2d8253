"""What an onlooker is told, without a clock or a socket; see `polling.differences`."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from asyncproxy.polling.differences import Differences


@dataclass(eq=False)
class Row:
    key: int


def keys(rows: list[Row]) -> list[int]:
    return [row.key for row in rows]


def test_all_there_is_is_told_once_the_eldest_first() -> None:
    rows = {Row(3), Row(1), Row(2)}
    differences: Differences[Row] = Differences()
    first = differences.step(rows, 1, 10)
    assert (first.gone, keys(first.rows), first.left) == ([], [1, 2, 3], 0)
    assert differences.step(rows, 1, 10) == ([], [], 0)


def test_many_are_told_a_few_at_a_time() -> None:
    rows = {Row(key) for key in range(5)}
    differences: Differences[Row] = Differences()
    steps = [differences.step(rows, 1, 2) for _ in range(4)]
    assert [(keys(step.rows), step.left) for step in steps] == [([0, 1], 3), ([2, 3], 1), ([4], 0), ([], 0)]


def test_what_went_is_told_by_its_key() -> None:
    kept, gone = Row(1), Row(2)
    differences: Differences[Row] = Differences()
    differences.step({kept, gone}, 1, 10)
    assert differences.step({kept}, 2, 10) == ([2], [], 0)


def test_a_row_that_takes_the_place_of_another_is_no_loss() -> None:
    differences: Differences[Row] = Differences()
    differences.step({Row(1)}, 1, 10)
    step = differences.step({Row(1)}, 2, 10)
    assert (step.gone, keys(step.rows)) == ([], [1])


def test_rows_are_compared_only_when_they_are_said_to_be_others() -> None:
    differences: Differences[Row] = Differences()
    differences.step(set(), 1, 10)
    assert differences.step({Row(1)}, 1, 10).rows == []
    assert keys(differences.step({Row(1)}, 2, 10).rows) == [1]


def test_who_was_away_is_told_the_difference_and_not_the_way_there() -> None:
    differences: Differences[Row] = Differences()
    differences.step({Row(key) for key in range(100)}, 1, 1000)
    left = {Row(1000)}
    step = differences.step(left, 500, 1000)
    assert (len(step.gone), keys(step.rows)) == (100, [1000])
    assert repr(differences) == "<Differences 1 rows told, 0 to be told>"


@given(st.lists(st.tuples(st.sets(st.integers(0, 20)), st.sets(st.integers(0, 20)), st.integers(1, 7)), max_size=20))
def test_what_was_told_adds_up_to_what_there_is(changes: list[tuple[set[int], set[int], int]]) -> None:
    rows: dict[int, Row] = {}
    known: dict[int, Row] = {}
    differences: Differences[Row] = Differences()

    def told(version: int, most: int) -> int:
        gone, new, left = differences.step(set(rows.values()), version, most)
        assert len(new) <= most
        for key in gone:
            del known[key]
        known.update((row.key, row) for row in new)
        return left

    for version, (come, go, most) in enumerate(changes):
        rows |= {key: Row(key) for key in come}
        for key in go & rows.keys():
            del rows[key]
        told(version, most)
    while told(len(changes), 5) or known != rows:
        pass
    assert known == rows
