from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncproxy.exchange import lifecycle
from asyncproxy.exchange.ledger import COLUMNS, Ledger, parks_in, shortened, spent
from asyncproxy.exchange.lifecycle import HAPPENINGS, STAGES, TABLE, Life, LifecycleError

PAIRS = list(itertools.product(STAGES, HAPPENINGS))
moments = st.floats(0, 1e6)


@pytest.mark.parametrize(("stage", "happening"), PAIRS)
def test_a_happening_leads_where_the_table_says_or_is_refused(stage: str, happening: str) -> None:
    life = Life(0.0)
    life.stage = stage
    if happening in TABLE[stage]:
        life.enter(happening, 1.0)
        assert life.stage == TABLE[stage][happening]
    else:
        with pytest.raises(LifecycleError, match=f"{happening}.*{stage}"):
            life.enter(happening, 1.0)
        assert life.stage == stage
        assert life.ledger.total == 0


def test_the_table_names_every_stage_and_only_known_happenings() -> None:
    assert tuple(TABLE) == STAGES
    assert {happening for row in TABLE.values() for happening in row} == set(HAPPENINGS)
    assert {stage for row in TABLE.values() for stage in row.values()} <= set(STAGES)


def test_the_end_is_the_end() -> None:
    assert TABLE[lifecycle.ENDED] == {}


def test_every_stage_can_end_but_the_end() -> None:
    assert all(TABLE[stage][lifecycle.FINISHED] == lifecycle.ENDED for stage in STAGES if stage != lifecycle.ENDED)


def test_every_stage_is_reached() -> None:
    reached, edge = {lifecycle.RECEIVING}, [lifecycle.RECEIVING]
    while edge:
        new = set(TABLE[edge.pop()].values()) - reached
        reached |= new
        edge += new
    assert reached == set(STAGES)


def test_an_unknown_happening_is_refused() -> None:
    with pytest.raises(LifecycleError):
        Life(0.0).enter("DANCED", 1.0)


def test_parked_time_is_booked_as_upstream_when_it_waits_for_one() -> None:
    life = Life(10.0)
    life.enter(lifecycle.WAITED, 11.0)
    life.waiting = "UPSTREAM"
    life.enter(lifecycle.ANSWERED, 14.0)
    life.enter(lifecycle.FINISHED, 14.5)
    assert life.ledger.statistics() == {
        "receiving": 1.0,
        "queued": 0,
        "working": 0,
        "parked": 0,
        "upstream": 3.0,
        "sending": 0.5,
    }
    assert life.began == 10.0
    assert repr(life.ledger) == "<Ledger receiving 1.000 s, upstream 3.000 s, sending 0.500 s>"


def test_an_empty_ledger_says_so() -> None:
    assert repr(Life(1.0).ledger) == "<Ledger empty>"
    assert list(Life(1.0).ledger.statistics()) == list(COLUMNS)


@given(st.data())
def test_the_ledger_of_any_life_adds_up_to_its_age(data: st.DataObject) -> None:
    now = data.draw(moments)
    life, began = Life(now), now
    booked = dict.fromkeys(COLUMNS, 0.0)
    for _ in range(data.draw(st.integers(0, 30))):
        steps = sorted(TABLE[life.stage])
        if not steps:
            break
        spent = data.draw(st.floats(0, 100))
        column = {"RESPONDING": "sending", "TUNNELLING": "sending"}.get(life.stage, life.stage.lower())
        booked[column] += spent
        now += spent
        life.enter(data.draw(st.sampled_from(steps)), now)
    assert life.ledger.total == pytest.approx(now - began, abs=1e-3)
    for column in COLUMNS:
        assert life.ledger[column] == pytest.approx(booked[column], abs=1e-3)


def test_a_life_of_very_many_steps_keeps_a_short_trail_with_the_same_ledger() -> None:
    life = Life(0.0)
    now = 0.0
    life.enter(lifecycle.BEGAN, now)
    for _ in range(10_000):
        now += 0.25
        life.enter(lifecycle.WAITED, now)
        now += 0.5
        life.enter(lifecycle.BEGAN, now)
        life.shorten_trail()
    assert life.ledger["working"] == pytest.approx(2500)
    assert life.ledger["parked"] == pytest.approx(5000)
    assert life.ledger.total == pytest.approx(now)
    assert parks_in(life.trail) == 10_000
    assert life.began == 0.0
    assert len(life.trail) <= lifecycle.TRAIL_LIMIT + 2


stages = st.sampled_from(["RECEIVING", "QUEUED", "WORKING", "PARKED", "UPSTREAM", "RESPONDING"])


@given(moments, st.lists(st.tuples(stages, st.floats(0, 1000)), min_size=1))
def test_a_shortened_trail_has_the_same_ledger_beginning_and_end(began: float, steps: list[tuple[str, float]]) -> None:
    trail: list[object] = [began]
    for stage, seconds in steps:
        trail += (stage, trail[-1] + seconds)  # type: ignore[operator]
    short = shortened(trail)
    assert short[0] == trail[0]
    assert short[-1] == trail[-1]
    assert len(short) == 3 + 2 * len({stage for stage, _ in steps})
    assert parks_in(short) == parks_in(shortened(short)) == sum(stage in ("PARKED", "UPSTREAM") for stage, _ in steps)
    for column in COLUMNS:
        assert Ledger(short)[column] == pytest.approx(Ledger(trail)[column], abs=1e-3)


@pytest.mark.parametrize(
    ("trail", "columns", "parks"),
    [
        ([1.0], {}, 0),
        ([1.0, "RECEIVING", 3.0, "UPSTREAM", 7.0], {"receiving": 2, "upstream": 4}, 1),
        ([1.0, "RECEIVING", 3.0, "PARKED", 7.0], {"receiving": 2, "parked": 4}, 1),
        ([1.0, "RECEIVING", 1.0, "UPSTREAM", 2.0, "RESPONDING", 5.0], {"upstream": 1, "sending": 3}, 1),
        ([0.0, "QUEUED", 1.0, "WORKING", 3.0, "PARKED", 6.0, "UPSTREAM", 10.0, "TUNNELLING", 15.0],
         {"queued": 1, "working": 2, "parked": 3, "upstream": 4, "sending": 5}, 2),
    ],
)  # fmt: skip
def test_what_was_spent_is_told_without_a_ledger(trail: list[object], columns: dict[str, float], parks: int) -> None:
    assert spent(trail) == tuple(columns.get(column, 0) for column in COLUMNS)
    assert parks_in(trail) == parks
