"""Erlang's formula has the properties that it is used for."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncproxy.console.erlang import smallest_pool, waiting_probability

servers = st.integers(1, 200)
loads = st.floats(0, 300)
bounds = st.floats(0.001, 0.999)


def by_definition(count: int, load: float) -> float:
    """As the formula stands in books, with powers and factorials."""
    waiting = load**count / math.factorial(count) * count / (count - load)
    return waiting / (sum(load**number / math.factorial(number) for number in range(count)) + waiting)


@given(st.integers(1, 20), st.floats(0, 0.99))
def test_it_is_the_formula_of_the_books(count: int, busy: float) -> None:
    assert waiting_probability(count, busy * count) == pytest.approx(by_definition(count, busy * count), abs=1e-9)


@pytest.mark.parametrize(
    ("count", "load", "expected"), [(1, 0.5, 0.5), (2, 1.0, 1 / 3), (3, 2.0, 4 / 9), (10, 5.0, 0.0361)]
)
def test_it_gives_the_figures_of_its_tables(count: int, load: float, expected: float) -> None:
    assert waiting_probability(count, load) == pytest.approx(expected, abs=5e-5)


@given(servers, loads)
def test_it_is_a_probability(count: int, load: float) -> None:
    assert 0 <= waiting_probability(count, load) <= 1


@given(servers, loads)
def test_another_server_has_nobody_wait_more(count: int, load: float) -> None:
    assert waiting_probability(count + 1, load) <= waiting_probability(count, load) + 1e-12


@given(servers, loads, st.floats(0, 50))
def test_more_load_has_nobody_wait_less(count: int, load: float, more: float) -> None:
    assert waiting_probability(count, load + more) >= waiting_probability(count, load) - 1e-12


@given(servers)
def test_nobody_waits_without_load(count: int) -> None:
    assert waiting_probability(count, 0) == 0


@given(servers, st.floats(0, 100))
def test_all_wait_where_there_is_more_load_than_servers(count: int, more: float) -> None:
    assert waiting_probability(count, count + more) == 1


@given(loads, bounds)
def test_the_smallest_pool_keeps_the_bound_and_one_less_does_not(load: float, bound: float) -> None:
    count = smallest_pool(load, bound)
    assert count > load
    assert waiting_probability(count, load) <= bound
    assert count == 1 or waiting_probability(count - 1, load) > bound


@given(loads, loads, bounds)
def test_one_pool_for_two_loads_is_no_bigger_than_two_pools(one: float, other: float, bound: float) -> None:
    assert smallest_pool(one + other, bound) <= smallest_pool(one, bound) + smallest_pool(other, bound)


@pytest.mark.parametrize("load", [-1.0, math.inf, math.nan])
def test_what_is_no_load_is_refused(load: float) -> None:
    with pytest.raises(ValueError, match="erlangs"):
        waiting_probability(1, load)
    with pytest.raises(ValueError, match="erlangs"):
        smallest_pool(load, 0.05)


def test_no_servers_and_a_bound_that_cannot_be_kept_are_refused() -> None:
    with pytest.raises(ValueError, match="1 or more"):
        waiting_probability(0, 1)
    for bound in (0.0, -1.0, 1.5):
        with pytest.raises(ValueError, match="above 0"):
            smallest_pool(1, bound)
