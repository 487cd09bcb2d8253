"""The book of tickets: every rule that a name keeps to, a sentence each, and the book against a naive one."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from asyncproxy.exchange import tickets
from asyncproxy.exchange.errors import Overloaded
from asyncproxy.exchange.tickets import (
    AWAITED,
    FORGOTTEN,
    HAPPENINGS,
    LAPSED,
    NAME_LIMIT,
    PARKED,
    RAISE,
    REMEMBERED,
    RESUMED,
    SETTLED,
    STATES,
    TABLE,
    UNKNOWN,
    WITHDRAWN,
    Receipt,
    TicketBook,
    TicketLimits,
    TicketRefused,
    TicketTaken,
    checked_name,
    ticket,
)

LIMITS = TicketLimits(remember=60.0, settled=600.0, max_remembered=3, max_settled=3, value=20)
PAIRS = list(itertools.product(STATES, HAPPENINGS))


class Waits:
    """A holder that does nothing: the book calls nobody."""

    def __init__(self, whose: str = "r1") -> None:
        self.whose = whose

    def resumed(self, value: bytes) -> None:
        raise AssertionError("whoever asked the book tells the holder")

    def fail(self, error: BaseException) -> None:
        raise AssertionError("whoever asked the book tells the holder")


class Desk:
    """A book, the time, and who waits: what a test needs to bring a name into any state."""

    def __init__(self, **limits: Any) -> None:
        self.now = 1000.0
        self.book = TicketBook(lambda: self.now, replace(LIMITS, **limits))
        self.holder = Waits()

    def bring(self, state: str, name: str = "t") -> Desk:
        if state == REMEMBERED:
            self.book.resume(name, b"0")
        elif state != UNKNOWN:
            assert self.book.claim(name, None, self.holder) is None
            if state == SETTLED:
                self.book.resume(name, b"0", by="eve")
            elif state == LAPSED:
                self.book.withdraw(name, self.holder, "it took too long")
        assert self.state(name) == state
        return self

    def state(self, name: str = "t") -> str:
        return str(self.book.look(name)["state"])

    def refused(self, name: str = "t", value: bytes = b"1", bind: str | None = None) -> TicketRefused:
        before = self.book.look(name)
        with pytest.raises(TicketRefused) as refused:
            self.book.resume(name, value, bind)
        assert self.book.look(name) == before
        assert (refused.value.ticket, refused.value.state) == (name, before["state"])
        return refused.value


# The table.


@pytest.mark.parametrize(("state", "happening"), PAIRS)
def test_a_happening_leads_where_the_table_says_or_changes_nothing(state: str, happening: str) -> None:
    desk = Desk().bring(state)
    before = desk.book.look("t")
    to = TABLE[state].get(happening)
    if happening == AWAITED:
        if to is None:
            with pytest.raises(TicketTaken):
                desk.book.claim("t", None, Waits("r2"))
        else:
            assert desk.book.claim("t", None, Waits("r2")) == (b"0" if to == SETTLED else None)
    elif happening == RESUMED:
        if to is None:
            desk.refused()
        else:
            assert desk.book.resume("t", b"1")[0].state == to
    elif happening == WITHDRAWN:
        desk.book.withdraw("t", desk.holder, "it took too long")
    else:
        assert happening == FORGOTTEN
        desk.now += 10_000
    assert desk.state() == (to or state)
    if to is None and happening != FORGOTTEN:
        assert desk.book.look("t") == before


def test_the_table_names_every_state_and_only_known_happenings() -> None:
    assert tuple(TABLE) == STATES
    assert {happening for row in TABLE.values() for happening in row} == set(HAPPENINGS)
    assert {state for row in TABLE.values() for state in row.values()} == set(STATES)


def test_a_name_that_is_parked_is_not_forgotten_however_long_it_takes() -> None:
    desk = Desk().bring(PARKED)
    desk.now += 1e9
    assert desk.state() == PARKED
    assert desk.book.resume("t", b"1")[1] is desk.holder


@pytest.mark.parametrize(
    ("state", "status", "words"),
    [
        (REMEMBERED, 409, "ticket 't' has a value already, which waits for a request: resumed, 2.0 s ago"),
        (SETTLED, 409, "ticket 't' was settled already: resumed by eve, for r1, 2.0 s ago"),
        (LAPSED, 410, "ticket 't' came too late: r1 waited for it, but it took too long, 2.0 s ago"),
    ],
)
def test_a_resume_that_is_refused_says_how_the_name_came_to_be_as_it_is(state: str, status: int, words: str) -> None:
    desk = Desk().bring(state)
    desk.now += 2
    error = desk.refused()
    assert (error.status, error.words, str(error)) == (status, words, words)
    assert error.how
    assert error.how in words


def test_a_second_await_is_refused_and_told_what_to_do_instead() -> None:
    with pytest.raises(
        TicketTaken, match="another request waits for the same ticket: 't': give each its own name"
    ) as taken:
        Desk().bring(PARKED).book.claim("t", None, Waits("r2"))
    assert (taken.value.status, taken.value.name) == (409, "t")


# What is told.


def test_a_resume_tells_whose_request_goes_on_and_gives_who_waits() -> None:
    desk = Desk().bring(PARKED)
    receipt, holder = desk.book.resume("t", b"1", by="eve")
    assert receipt == Receipt("t", SETTLED, 1, "r1")
    assert holder is desk.holder


def test_a_resume_that_comes_first_is_told_how_long_its_value_is_kept() -> None:
    assert Desk().book.resume("t", b"1") == (Receipt("t", REMEMBERED, 0, for_s=60.0), None)


def test_a_name_is_looked_up_without_its_value() -> None:
    desk = Desk()
    assert desk.book.look("t") == {"ticket": "t", "state": UNKNOWN}
    desk.book.claim("t", "digest", desk.holder)
    desk.now += 1.5
    told = {"ticket": "t", "how": "r1 waits for it", "generation": 1, "bound": True, "since_s": 1.5, "state": PARKED}
    assert desk.book.look("t") == told
    desk.book.resume("u", b'"secret"', by="eve")
    assert "secret" not in str(desk.book.look("u"))
    assert desk.book.look("u")["how"] == "resumed by eve"


def test_what_was_remembered_says_afterwards_who_gave_it_and_who_took_it() -> None:
    desk = Desk()
    desk.book.resume("t", b"1", by="eve")
    desk.book.claim("t", None, Waits("r7"))
    assert desk.book.look("t")["how"] == "resumed by eve before it was awaited, by r7"


# Remembered.


def test_a_remembered_value_is_given_once() -> None:
    desk = Desk()
    desk.book.resume("t", b"1")
    assert desk.book.claim("t", None, desk.holder) == b"1"
    assert desk.state() == SETTLED
    assert desk.book.claim("t", None, desk.holder) is None


@pytest.mark.parametrize(("later", "known"), [(59.999, True), (60.0, False)])
def test_a_value_is_remembered_up_to_the_instant(later: float, known: bool) -> None:
    desk = Desk().bring(REMEMBERED)
    desk.now += later
    assert desk.book.claim("t", None, desk.holder) == (b"0" if known else None)


def test_values_are_remembered_up_to_a_number_and_then_refused_until_one_goes() -> None:
    desk = Desk()
    for name in "abc":
        desk.bring(REMEMBERED, name)
    with pytest.raises(Overloaded, match="3 values wait for requests that have not come: try again later"):
        desk.book.resume("d", b"1")
    assert desk.state("d") == UNKNOWN
    assert [desk.state(name) for name in "abc"] == [REMEMBERED] * 3
    desk.book.claim("a", None, desk.holder)
    assert desk.book.resume("d", b"1")[0].state == REMEMBERED


def test_a_book_that_remembers_nothing_refuses_what_comes_too_early() -> None:
    desk = Desk(remember=0.0)
    error = desk.refused()
    assert (error.status, error.state) == (410, UNKNOWN)
    assert "nobody waits for ticket 't', and tickets.remember is off" in error.words
    desk.bring(PARKED)
    assert desk.book.resume("t", b"1")[0].state == SETTLED


# Settled and lapsed.


@pytest.mark.parametrize("state", [SETTLED, LAPSED])
@pytest.mark.parametrize(("later", "known"), [(599.999, True), (600.0, False)])
def test_how_a_ticket_ended_is_known_up_to_the_instant(state: str, later: float, known: bool) -> None:
    desk = Desk().bring(state)
    desk.now += later
    assert desk.state() == (state if known else UNKNOWN)
    if not known:
        assert desk.book.resume("t", b"1")[0] == Receipt("t", REMEMBERED, 0, for_s=60.0)


@pytest.mark.parametrize("state", [SETTLED, LAPSED])
def test_of_what_is_over_so_many_are_known_and_the_eldest_give_way(state: str) -> None:
    desk = Desk()
    for name in "abcde":
        desk.bring(state, name)
        desk.now += 1
    assert [desk.state(name) for name in "abcde"] == [UNKNOWN, UNKNOWN, state, state, state]
    assert desk.book.statistics()[state] == 3


def test_a_name_that_is_settled_again_is_among_the_youngest() -> None:
    desk = Desk()
    for name in ("a", "b", "c", "a", "d"):
        desk.bring(SETTLED, name)
    assert [desk.state(name) for name in "abcd"] == [SETTLED, UNKNOWN, SETTLED, SETTLED]


def test_fewer_that_may_be_known_are_known_at_once() -> None:
    desk = Desk(max_settled=100)
    for number in range(20):
        desk.bring(SETTLED, f"s{number}")
        desk.bring(LAPSED, f"l{number}")
    desk.book.limits = replace(LIMITS, max_settled=3)
    assert desk.book.statistics() == {REMEMBERED: 0, PARKED: 0, SETTLED: 3, LAPSED: 3}
    assert desk.state("s17") == SETTLED


def test_fewer_that_may_be_remembered_throw_nothing_away_that_was_accepted() -> None:
    desk = Desk()
    for name in "abc":
        desk.bring(REMEMBERED, name)
    desk.book.limits = replace(LIMITS, max_remembered=1)
    with pytest.raises(Overloaded):
        desk.book.resume("d", b"1")
    assert [desk.book.claim(name, None, desk.holder) for name in "abc"] == [b"0"] * 3


def test_a_shorter_time_to_be_known_counts_for_what_is_known_already() -> None:
    desk = Desk().bring(SETTLED)
    desk.now += 10
    desk.book.limits = replace(LIMITS, settled=10.0)
    assert desk.state() == UNKNOWN


# Generations.


def test_each_request_that_waits_for_a_name_is_a_generation_of_it() -> None:
    desk = Desk()
    for generation in (1, 2, 3):
        assert desk.book.claim("t", None, desk.holder) is None
        assert desk.book.look("t")["generation"] == generation
        assert desk.book.resume("t", b"1")[0].generation == generation
    desk.bring(LAPSED)
    assert desk.book.look("t")["generation"] == 4
    desk.bring(PARKED)
    assert desk.book.look("t")["generation"] == 5


def test_generations_begin_anew_when_a_name_was_forgotten() -> None:
    desk = Desk().bring(SETTLED)
    desk.now += 600
    desk.bring(PARKED)
    assert desk.book.look("t")["generation"] == 1


def test_who_took_a_remembered_value_is_a_generation_too() -> None:
    desk = Desk().bring(REMEMBERED)
    desk.book.claim("t", None, desk.holder)
    assert desk.book.look("t")["generation"] == 1
    desk.bring(PARKED)
    assert desk.book.look("t")["generation"] == 2


def test_only_who_waits_now_can_withdraw() -> None:
    desk = Desk()
    former, latter = Waits("former"), Waits("latter")
    desk.book.claim("t", None, former)
    desk.book.resume("t", b"1")
    desk.book.claim("t", None, latter)
    desk.book.withdraw("t", former, "the client left")
    assert desk.book.resume("t", b"2")[1] is latter
    desk.book.withdraw("t", latter, "the client left")
    assert desk.state() == SETTLED


# Digests.


def test_a_bound_ticket_is_resumed_by_whoever_quotes_its_digest() -> None:
    desk = Desk()
    desk.book.claim("t", "digest", desk.holder)
    for bind, how in ((None, "no digest was quoted"), ("other", "another digest was quoted")):
        error = desk.refused(bind=bind)
        assert (error.status, error.state) == (409, PARKED)
        assert error.words == f"ticket 't' is bound to a digest, and {how}: quote the one of what is asked now"
        assert "digest'" not in error.words  # the digest itself is not told
    assert desk.book.resume("t", b"1", "digest")[1] is desk.holder


def test_a_digest_is_no_hindrance_to_a_ticket_that_is_bound_to_none() -> None:
    desk = Desk().bring(PARKED)
    assert desk.book.resume("t", b"1", "digest")[0].state == SETTLED
    desk.book.resume("u", b"1", "digest")
    assert desk.book.claim("u", None, desk.holder) == b"1"


@pytest.mark.parametrize("quoted", [None, "other"])
def test_a_remembered_value_for_another_question_is_dropped(quoted: str | None) -> None:
    desk = Desk()
    desk.book.resume("t", b"1", quoted)
    assert desk.book.claim("t", "digest", desk.holder) is None
    assert desk.book.look("t") | {"since_s": 0} == {
        "ticket": "t",
        "state": PARKED,
        "how": "r1 waits for it",
        "generation": 1,
        "bound": True,
        "since_s": 0,
    }
    assert desk.book.resume("t", b"2", "digest")[1] is desk.holder


def test_a_remembered_value_that_quotes_the_digest_is_given() -> None:
    desk = Desk()
    desk.book.resume("t", b"1", "digest")
    assert desk.book.claim("t", "digest", desk.holder) == b"1"


def test_a_digest_binds_one_generation() -> None:
    desk = Desk()
    desk.book.claim("t", "digest", desk.holder)
    desk.book.withdraw("t", desk.holder, "the client left")
    assert desk.book.look("t")["bound"] is False
    desk.bring(PARKED)
    assert desk.book.resume("t", b"1")[0].generation == 2


# What resumes a single time.


def test_what_works_once_is_refused_the_second_time_whoever_waits_by_then() -> None:
    desk = Desk().bring(PARKED)
    desk.book.resume("t", b"1", once=("link", 60.0))
    desk.bring(PARKED)
    with pytest.raises(TicketRefused, match="what would resume ticket 't' was used once") as refused:
        desk.book.resume("t", b"2", once=("link", 60.0))
    assert (refused.value.status, refused.value.state) == (409, PARKED)
    assert desk.book.resume("t", b"2", once=("another", 60.0))[0].generation == 2


def test_what_was_refused_may_be_used_again() -> None:
    desk = Desk()
    desk.book.claim("t", "digest", desk.holder)
    with pytest.raises(TicketRefused, match="no digest was quoted"):
        desk.book.resume("t", b"1", once=("link", 60.0))
    assert desk.book.resume("t", b"1", "digest", once=("link", 60.0))[1] is desk.holder


def test_of_what_was_used_so_much_is_known_until_it_would_have_expired() -> None:
    desk = Desk()
    for number in range(3):
        desk.bring(PARKED)
        desk.book.resume("t", b"1", once=(f"link {number}", 10.0 + number))
    desk.bring(PARKED)
    with pytest.raises(Overloaded, match="3 links were used and have not expired: try again later"):
        desk.book.resume("t", b"1", once=("link 3", 10.0))
    assert desk.state() == PARKED
    desk.now += 10
    assert desk.book.resume("t", b"1", once=("link 3", 10.0))[0].state == SETTLED
    desk.bring(PARKED)
    with pytest.raises(TicketRefused, match="was used once"):
        desk.book.resume("t", b"1", once=("link 1", 11.0))


# Values and names.


@pytest.mark.parametrize("state", [UNKNOWN, PARKED])
def test_a_value_that_is_too_long_is_refused_and_the_ticket_waits_on(state: str) -> None:
    desk = Desk().bring(state)
    error = desk.refused(value=b"1" * 21)
    assert (error.status, error.state) == (413, state)
    assert error.words == "the value for ticket 't' is 21 bytes, and tickets.value allows 20: send less"
    assert desk.book.resume("t", b"1" * 20)[0].state in (SETTLED, REMEMBERED)


@pytest.mark.parametrize("name", ["a", "x" * NAME_LIMIT, "a/b c", "grün", "..", " ", "%2F", "日本"])
def test_what_a_ticket_may_be_called(name: str) -> None:
    assert checked_name(name) == name
    assert ticket(name).name == name


@pytest.mark.parametrize(
    "name", ["", "x" * (NAME_LIMIT + 1), "a\n", "\x00", "a\x7f", "a\x85b", "\ud800", b"a", 7, ["a"]]
)
def test_what_a_ticket_may_not_be_called(name: Any) -> None:
    with pytest.raises(ValueError, match=r"is no name of a ticket: it is 1 to 256 characters"):
        ticket(name)


def test_a_name_that_is_made_is_long_and_another_one_each_time() -> None:
    names = {ticket().name for _ in range(100)}
    assert len(names) == 100
    assert min(map(len, names)) >= 24
    assert all(checked_name(name) for name in names)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"timeout": "10m"}, "seconds must be more than 0, and a number"),
        ({"timeout": 0}, "seconds must be more than 0"),
        ({"timeout": -1.0}, "seconds must be more than 0"),
        ({"timeout": float("nan")}, "seconds must be more than 0"),
        ({"bind": ""}, "give the digest as text"),
        ({"bind": b"digest"}, "give the digest as text"),
    ],
)
def test_a_ticket_that_cannot_be_is_refused_where_it_is_made(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ticket("t", **wrong)


def test_a_ticket_has_no_default_unless_it_is_given_one_and_none_is_one() -> None:
    assert ticket("t").default is RAISE
    assert ticket("t", default=None).default is None
    assert repr(RAISE) == "RAISE"


# What there is to see.


def test_the_book_tells_how_many_names_are_in_each_state() -> None:
    desk = Desk()
    assert repr(desk.book) == "<TicketBook empty>"
    for state in STATES:
        desk.bring(state, state)
    assert desk.book.statistics() == {REMEMBERED: 1, PARKED: 1, SETTLED: 1, LAPSED: 1}
    assert repr(desk.book) == "<TicketBook 1 remembered, 1 parked, 1 settled, 1 lapsed>"
    assert [desk.book.holds(state) for state in STATES] == [False, False, True, False, False]


def test_the_states_have_the_names_that_clients_read() -> None:
    assert tickets.STATES == ("unknown", "remembered", "parked", "settled", "lapsed")
