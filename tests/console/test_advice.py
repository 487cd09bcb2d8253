"""What `asyncproxy advise` finds, a sentence at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncproxy import Module, Request, Response
from asyncproxy.console import command
from asyncproxy.console.advice import (
    BOUND,
    FULL,
    RIGHT,
    TOO_FEW,
    TOO_MANY,
    UNKNOWN,
    advice,
    advise,
    judge,
)
from asyncproxy.console.erlang import waiting_probability
from asyncproxy.console.looks import NotComparable
from asyncproxy.testing import Lab


def row(module: str = "shop:Orders", ended: int = 1000, **given: Any) -> dict[str, Any]:
    """A route; what is given beside `parks` and `queued_long` are seconds."""
    counts = {name: given.pop(name, 0) for name in ("parks", "queued_long")}
    seconds = {"total": 100.0, "queued": 0.0, "working": 0.0, "parked": 0.0, "upstream": 0.0, **given}
    return {"module": module, "requests": ended, "statuses": {"2xx": ended}, "seconds": seconds, **counts}


def status(*rows: Mapping[str, Any], load: float = 0.0, workers: int = 5, **given: Any) -> dict[str, Any]:
    """A look, 100 s after the start unless said otherwise, at workers that had `load` erlangs until then."""
    uptime = given.pop("uptime_s", 100.0)
    return {
        "workers": {"total": workers, "busy": 0, "queued": 0},
        "uptime_s": uptime,
        "worker_seconds": load * uptime,
        "cpu_seconds": given.pop("cores", 0.05) * uptime,
        "routes": {f"/{number}/": one for number, one in enumerate(rows)},
        "stalled": [],
        **given,
    }


def test_a_letter_is_short_and_ends_with_a_step() -> None:
    orders = row(ended=900, working=250.0, parked=710.0, upstream=30.0, total=1000.0, queued=1.0, parks=900)
    letter = str(advice(status(orders, row("shop:Users", 100, working=10.0, total=20.0), load=2.6)))
    assert letter.splitlines() == [
        "Seen     1,000 requests ended since the start 100.0 s ago; the pool has",
        "         5 workers.",
        "Time     of the 17.0 min that they took, 70 % was spent parked, 3 % waiting for",
        "         upstreams, 25 % working on a worker, less than 1 % queued for one; 2 %",
        "         was the rest: reading, sending, and work on the polling thread.",
        "Workers  they had 2.60 erlangs of work (seconds of work each second), so each",
        "         was busy 52 % of the time.",
        "Who      shop:Orders hogs the workers: 96 % of the workers' time, 278 ms a",
        "         request.",
        "Waits    no request waited more than 10 ms for workers.",
        "Kind     its turns are long, about 139 ms, and the process used 0.05 of a core:",
        "         they block. That is what workers are for; a call that is awaited",
        "         instead holds none.",
        "Verdict  Too few workers: a turn has to wait with a probability of 15 %, and",
        "         5 % is the bound; with 7 it is 2 %.",
        "Next     write workers = 7 in [server], restart, and ask again.",
    ]


def test_too_few_workers_are_said_with_the_number_that_is_enough() -> None:
    told = advice(status(row(working=400.0), load=4.0))
    assert (told.verdict, told.workers) == (TOO_FEW, 9)
    assert told["Verdict"] == (
        "Too few workers: a turn has to wait with a probability of 55 %, and 5 % is the bound; with 9 it is 2 %."
    )
    assert told["Next"] == "write workers = 9 in [server], restart, and ask again."


def test_the_right_number_is_left_alone() -> None:
    told = advice(status(row(working=100.0), load=1.0), status(load=0.0, uptime_s=0.0))
    assert (told.verdict, told.workers) == (RIGHT, 5)
    assert told["Verdict"] == (
        "Right: 5 workers for this load; a turn has to wait with a probability of less than 1 %, and 5 % is the bound."
    )
    assert told["Next"] == "nothing to do."


def test_too_many_workers_are_no_emergency() -> None:
    told = advice(status(row(working=100.0), load=1.0, workers=40))
    assert (told.verdict, told.workers) == (TOO_MANY, 4)
    assert told["Verdict"] == (
        "Too many workers: 4 would do, with which a turn would have to wait with a probability of 2 %."
    )
    assert told["Next"].startswith("no hurry, a spare worker costs little; to save it, write workers = 4 in [server]")


def test_an_average_since_the_start_is_said_to_be_one() -> None:
    for workers in (5, 40):
        alone = advice(status(row(working=100.0), load=1.0, workers=workers))
        watched = advice(status(row(working=100.0), load=1.0, workers=workers), status(uptime_s=0.0))
        assert alone["Next"].endswith(" in the busiest hour, ask with --watch 60s.")
        assert "--watch" not in watched["Next"]


@pytest.mark.parametrize("ended", [0, 99])
def test_a_few_requests_are_not_enough_data(ended: int) -> None:
    told = advice(status(row(ended=ended, working=1.0), load=0.1))
    assert (told.verdict, told.workers) == (UNKNOWN, 5)
    assert told["Verdict"] == "Not enough data: 100 requests that have ended are the least to judge by."
    assert told["Next"] == "ask again when there is traffic, or watch for longer: asyncproxy advise --watch 5m"
    assert [about for about, _ in told.findings] == ["Seen", "Verdict", "Next"]


def test_a_pool_that_is_always_busy_is_too_small_though_nothing_ends() -> None:
    told = advice(status(load=5.0))
    assert (told.verdict, told.workers) == (TOO_FEW, 10)
    assert told["Who"] == "turns of requests that have not ended, or of none."
    assert told["Verdict"] == (
        "Too few workers: all are busy nearly all the time, and what waits outside cannot be seen; begin with 10."
    )


def test_requests_that_wait_though_there_are_workers_come_in_bursts() -> None:
    told = advice(status(row(working=100.0, queued=20.0, queued_long=300), load=1.0))
    assert (told.verdict, told.workers) == (TOO_FEW, 8)
    assert told["Waits"] == "30 % of the requests waited more than 10 ms for workers; the average of all is 20 ms."
    assert told["Verdict"] == (
        "Too few workers: there are enough on average, but requests come in bursts, and many wait; "
        "try half as many again."
    )


def test_the_module_that_hogs_the_workers_is_named() -> None:
    told = advice(status(row("a:A", 500, working=80.0), row("b:B", working=20.0), row("a:A", 500), load=1.0, workers=1))
    assert told["Who"] == "a:A hogs the workers: 80 % of the workers' time, 80 ms a request."


def test_no_module_is_blamed_for_a_third() -> None:
    told = advice(status(row("a:A", working=35.0), row("b:B", working=33.0), row("c:C", working=32.0), load=1.0))
    assert told["Who"] == "no module stands out; a:A has the most: 35 % of the workers' time, 35 ms a request."


def test_turns_that_belong_to_no_request_count_too() -> None:
    told = advice(status(row("a:A", working=10.0), load=1.0))
    assert told["Who"].startswith("no module stands out; a:A has the most: 10 %")


def test_where_the_time_went_is_said_in_shares() -> None:
    told = advice(status(row("reverse", total=200.0, upstream=150.0, parked=20.0, queued=2.0), load=0.0))
    assert told["Time"] == (
        "of the 3.3 min that they took, 10 % was spent parked, 75 % waiting for upstreams, 0 % working on a worker, "
        "1 % queued for one; 14 % was the rest: reading, sending, and work on the polling thread."
    )


def test_plain_forwarding_needs_no_worker() -> None:
    told = advice(status(row("reverse", upstream=90.0), load=0.0))
    assert (told.verdict, told.workers) == (RIGHT, 5)
    assert told["Workers"] == "nothing needed one; plain forwarding never does."
    assert not {"Who", "Waits", "Kind"} & set(dict(told.findings))


def test_long_turns_that_use_a_core_may_compute_and_how_to_find_out_is_said() -> None:
    told = advice(status(row("sums:Sums", working=480.0), load=4.8, cores=0.97))
    assert told["Kind"].startswith(
        "its turns are long, about 480 ms, and the process used 0.97 of a core: that looks like computing, "
        "which cannot be seen for sure from here. To find out, run py-spy top --gil --pid PID under load: "
        "if lines of sums:Sums are on top"
    )
    assert told["Next"] == (
        "find out whether that module computes; if it does not, write workers = 10 in [server], restart, and ask again."
    )


def test_long_turns_of_an_idle_process_block() -> None:
    told = advice(status(row(working=400.0), load=4.0, cores=0.05))
    assert told["Kind"] == (
        "its turns are long, about 400 ms, and the process used 0.05 of a core: they block. That is what workers are "
        "for; a call that is awaited instead holds none."
    )


def test_computing_is_seen_in_a_pool_that_is_not_full_too() -> None:
    assert "looks like computing" in advice(status(row(working=50.0), load=0.5, cores=0.4))["Kind"]


def test_a_request_of_many_short_turns_is_no_long_turn() -> None:
    told = advice(status(row(working=400.0, parks=99_000), load=4.0))
    assert "Kind" not in dict(told.findings)


def test_who_keeps_a_worker_right_now_is_told_with_the_line() -> None:
    kept = {"id": "1", "module": "shop:Orders", "at": "orders.py:31", "for_s": 3.2}
    told = advice(status(row(ended=3), stalled=[kept, {**kept, "module": None}]))
    assert told["Now"] == "shop:Orders has kept a worker for 3.2 s, at orders.py:31; 1 other worker too."
    alone = advice(status(row(ended=3), stalled=[{**kept, "module": None, "for_s": 300}]))
    assert alone["Now"] == "a call of no request has kept a worker for 5.0 min, at orders.py:31."


def test_two_looks_tell_of_the_time_between_them_alone() -> None:
    before = status(row(ended=10_000, working=9000.0, total=20_000.0), load=4.9, uptime_s=2000.0, cores=1)
    now = status(
        row(ended=10_200, working=9001.0, total=20_010.0),
        row("new:New", working=4.0, total=90.0),
        uptime_s=2010.0,
        worker_seconds=4.9 * 2000 + 5,
        cpu_seconds=2000.5,
    )
    told = advice(now, before)
    assert told["Seen"] == "1,200 requests ended in 10.0 s; the pool has 5 workers."
    assert told["Workers"].startswith("they had 0.50 erlangs of work")
    assert told["Who"] == "new:New has the workers: 80 % of the workers' time, 4.0 ms a request."
    assert "of the 100.0 s that they took" in told["Time"]
    assert told.verdict == RIGHT


def test_a_restart_between_two_looks_is_told() -> None:
    with pytest.raises(NotComparable, match="started anew between the two looks: ask again"):
        advice(status(uptime_s=3.0), status(uptime_s=3000.0))


def test_a_restart_is_told_though_the_new_process_is_the_older_by_now() -> None:
    with pytest.raises(NotComparable, match="started anew between the two looks: ask again"):
        advice(status(row(ended=10), uptime_s=58.0), status(row(ended=500), uptime_s=5.0))
    with pytest.raises(NotComparable, match="started anew between the two looks: ask again"):
        advice(status(uptime_s=58.0, cores=0.01), status(uptime_s=5.0, cores=0.5))


def test_a_figure_that_is_too_small_for_its_digits_is_no_zero() -> None:
    told = advice(status(row(ended=1_000, working=0.02), load=0.0002))
    assert told["Workers"].startswith("they had less than 0.01 erlangs of work")
    assert told["Who"].endswith(", less than 0.1 ms a request.")


def test_workers_that_nobody_gives_back_are_looked_at_before_there_are_more() -> None:
    stuck = [{"module": "shop:Orders", "for_s": 600.0, "at": "orders.py:31"}] * 5
    told = advice(status(row(ended=3, working=3.0), load=5.0, stalled=stuck))
    assert told["Next"].startswith("find out why those turns don't end: a call without a time-out keeps all workers")
    assert told["Next"].endswith("then, write workers = 10 in [server], restart, and ask again.")
    assert advice(status(row(ended=3, working=3.0), load=5.0))["Next"].startswith("write workers = 10")


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"workers": 5},
        [],
        "<html>",
        None,
        {**status(), "routes": None},
        {**status(), "uptime_s": "soon"},
        {**status(), "uptime_s": 0},
        {**status(), "worker_seconds": float("nan")},
        {**status(), "cpu_seconds": -1.0},
        {**status(), "workers": {"total": 0}},
        {**status(), "workers": {"total": "5"}},
        {**status(), "workers": {"total": None}},
        {**status(), "stalled": [{}]},
        {**status(), "stalled": [{"module": "a", "for_s": "x", "at": ""}]},
    ],
)
def test_what_is_no_status_is_told(found: Any) -> None:
    with pytest.raises(NotComparable, match=r"is it /status\.json, of this version\?"):
        advice(found)


class Looks:
    """An admin listener that shows one status after the other."""

    shown: list[Any]

    def __init__(self, _url: str, _token: str | None) -> None:
        pass

    def get(self, path: str) -> Any:
        assert path == "/status.json?limit=0"
        return self.shown.pop(0)

    def close(self) -> None:
        assert not self.shown


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the proxy shows, look by look."""
    Looks.shown = []
    monkeypatch.setattr(command, "Admin", Looks)
    monkeypatch.setattr(command, "SUBCOMMANDS", (ADVISE._replace(run=partial(advise, sleep=SLEPT.append)),))
    SLEPT.clear()
    return Looks.shown


(ADVISE,) = (row for row in command.SUBCOMMANDS if row.name == "advise")
SLEPT: list[float] = []


def test_watching_looks_twice_and_waits_between(shown: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    shown += [status(uptime_s=50.0), status(row(), uptime_s=60.0)]
    assert command.main(["advise", "--watch", "10s"]) == 0
    assert SLEPT == [10]
    told = capsys.readouterr()
    assert told.out.startswith("Seen     1,000 requests ended in 10.0 s;")
    assert told.err == ""


def test_a_person_is_told_for_how_long_it_watches(
    shown: list[Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    shown += [status(uptime_s=50.0), status(row(), uptime_s=350.0)]
    assert command.main(["advise", "--watch", "5m"]) == 0
    assert capsys.readouterr().err == "watching for 5.0 min ...\n"


def test_without_watching_one_look_is_enough(shown: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    shown.append(status(row()))
    assert command.main(["advise"]) == 0
    assert SLEPT == []
    assert "since the start 100.0 s ago" in capsys.readouterr().out


def test_programs_get_it_as_json(shown: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    shown.append(status(row(working=400.0), load=4.0))
    assert command.main(["advise", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["verdict"], told["workers"]) == ("too few", 9)
    assert told["findings"]["Next"] == "write workers = 9 in [server], restart, and ask again."


def test_what_cannot_be_judged_is_said_and_fails(shown: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    shown += [status(uptime_s=3000.0), status(uptime_s=3.0)]
    assert command.main(["advise", "--watch", "1m"]) == 1
    told = capsys.readouterr()
    assert told.err == "asyncproxy: the proxy was started anew between the two looks: ask again\n"
    assert told.out == ""


def test_a_time_without_its_unit_is_refused(shown: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["advise", "--watch", "10"])
    assert 'has no unit; write "10s" or' in capsys.readouterr().err


def test_what_a_terminal_would_obey_is_written_out() -> None:
    assert "a\\x1b[2J:A has the workers" in str(advice(status(row("a\x1b[2J:A", working=100.0), load=1.0)))


class Hello(Module):
    def handle(self, _request: Request) -> Response:
        return Response.text("hello")


def test_what_the_proxy_shows_can_be_read() -> None:
    lab = Lab({"route": [{"module": Hello}, {"path": "/status.json", "module": "status"}]})
    before = lab.get("/status.json").json()
    for _ in range(150):
        lab.get("/")
    lab.advance(10)
    now = lab.get("/status.json?limit=0").json()
    assert advice(now, before)["Seen"] == "151 requests ended in 10.0 s; the pool has 5 workers."
    assert advice(now).verdict == RIGHT


@given(st.floats(0, 200), st.integers(1, 300), st.floats(0, 1))
def test_a_verdict_fits_its_number(load: float, workers: int, waited: float) -> None:
    load = min(load, workers)
    verdict, wanted = judge(load, workers, waited)
    assert wanted >= 1
    assert (wanted > workers, wanted == workers, wanted < workers) == (
        verdict == TOO_FEW,
        verdict == RIGHT,
        verdict == TOO_MANY,
    )
    assert waiting_probability(wanted, load) <= BOUND
    assert verdict == TOO_FEW or (load < FULL * workers and waited <= BOUND)


@given(st.floats(0, 200), st.integers(1, 300))
def test_who_follows_the_advice_is_left_alone(load: float, workers: int) -> None:
    _, wanted = judge(min(load, workers), workers)
    if load < FULL * workers:
        assert judge(load, wanted) == (RIGHT, wanted)
