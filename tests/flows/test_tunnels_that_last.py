"""Tunnels while they last: time-outs, what they hold, who looks at them and what operators do."""

from __future__ import annotations

from typing import Any

import pytest

from asyncproxy.exchange.errors import Draining
from asyncproxy.modules.live.page import page
from asyncproxy.polling.operating import OperationRefused
from tests.fakes import SERVER, House
from tests.flows.tunnelling import OK, SWITCHED, Late, asked, sent_by, tunnel

# Time.


def test_a_tunnel_through_which_nothing_passes_is_closed() -> None:
    house = House(limits={"tunnel_idle": "60s"})
    client = tunnel(house)
    house.advance(50)
    client.send(b"x")
    house.advance(50)
    house.upstream().answer(b"y")
    house.advance(59)
    assert house.stages() == {"TUNNELLING": 1}
    house.advance(2)
    assert not house.flow.exchanges
    assert client.wire.aborted
    assert house.upstream().closed
    assert (house.records[0].flag, house.records[0].status, house.records[0].size) == ("SI", 101, 1)
    assert house.records[0].detail == "limits.tunnel_idle"
    assert house.door.reached.statistics() == {"limits.tunnel_idle": 1}
    house.assert_nothing_left()


def test_a_tunnel_may_be_idle_for_ever_if_the_configuration_says_so() -> None:
    house = House(limits={"tunnel_idle": "off"})
    tunnel(house)
    house.advance(1_000_000)
    assert house.stages() == {"TUNNELLING": 1}
    assert house.deadlines.statistics()["standing"] == 0


def test_how_a_client_took_answers_is_not_watched_in_the_tunnel() -> None:
    house = House(Late(), limits={"tunnel_idle": "off", "send_timeout": "5s"})
    client = asked(house)
    house.upstream().answer(SWITCHED)
    house.advance(99)
    client.slow()
    house.advance(2)
    house.advance(100)
    assert house.stages() == {"TUNNELLING": 1}
    assert client.statuses == [101]


def test_other_limits_hold_for_tunnels_that_are_open() -> None:
    house = House(limits={"tunnel_idle": "off"})
    tunnel(house)
    house.advance(100)
    house.door.limit(House(limits={"tunnel_idle": "30s"}).settings.limits)
    house.settle()
    house.advance(1)
    assert not house.flow.exchanges


def test_a_slow_peer_that_takes_what_is_left_is_not_idle() -> None:
    house = House(limits={"tunnel_idle": "10s"})
    client = tunnel(house)
    client.slow()
    house.advance(11)
    assert house.stages() == {"TUNNELLING": 1}


@pytest.mark.parametrize(
    "configured",
    [{"route": {"timeout": "5s"}}, {"groups": {"g": {"servers": ["http://127.0.0.1:1"], "total_timeout": "5s"}}}],
)
def test_no_time_out_of_the_request_runs_on_in_the_tunnel(configured: Any) -> None:
    if "groups" in configured:
        configured = {**configured, "route": {"upstream": "g"}}
    house = House(**configured)
    client = tunnel(house)
    house.advance(500)
    client.send(b"x")
    house.settle()
    assert sent_by(house) == b"x"
    assert house.stages() == {"TUNNELLING": 1}


def test_the_routes_timeout_runs_until_the_upstream_has_switched() -> None:
    house = House(route={"timeout": "5s"})
    client = asked(house)
    house.advance(6)
    assert client.status == 504


@pytest.mark.parametrize("keep_alive", ["sse", "json", "102"])
def test_nothing_is_sent_to_keep_alive_who_offers_an_upgrade(keep_alive: str) -> None:
    house = House(route={"keep_alive": keep_alive, "keep_alive_every": "1s"})
    client = asked(house)
    house.advance(10)
    assert client.received == b""
    house.upstream().answer(SWITCHED)
    house.settle()
    assert client.statuses == [101]


def test_a_tunnel_of_a_timed_route() -> None:
    house = House(route={"server_timing": True})
    client = tunnel(house)
    client.leave()
    house.upstream().answer(b"abc")
    house.upstream().hang_up()
    house.settle()
    assert house.records[0].size == 3


# What it holds.


def test_the_servers_connection_counts_and_is_never_used_again() -> None:
    house = House()
    client = tunnel(house)
    assert house.pool() == {"open": 1, "idle": 0, "opening": 0, "waiting": 0}
    house.get("/other")
    assert len(house.network.asked) == 2
    client.leave()
    house.settle()
    house.upstream(0).hang_up()
    house.settle()
    assert house.pool() == {"open": 1, "idle": 0, "opening": 0, "waiting": 0}


def test_a_connection_that_was_kept_alive_may_be_switched() -> None:
    house = House()
    house.get("/")
    house.upstream().answer(OK)
    house.settle()
    client = asked(house)
    house.upstream().answer(SWITCHED + b"x")
    house.settle()
    assert client.body == b"x"
    assert len(house.network.asked) == 1
    assert house.pool() == {"open": 1, "idle": 0, "opening": 0, "waiting": 0}


def test_tunnels_are_counted_with_their_bytes() -> None:
    house = House()
    client = tunnel(house, b"12345")
    client.send(b"123")
    house.settle()
    assert house.flow.tunnels.statistics() == {"open": 1, "total": 1, "received": 3, "sent": 5}
    client.wire.reset()
    house.settle()
    assert house.flow.tunnels.statistics() == {"open": 0, "total": 1, "received": 3, "sent": 5}


def test_a_tunnels_time_is_in_its_ledger() -> None:
    house = House()
    client = tunnel(house)
    house.advance(12)
    client.wire.reset()
    house.settle()
    assert house.records[0].duration == pytest.approx(12)
    assert house.records[0].spent[5] == pytest.approx(12)


# Who looks, and what operators do.


def test_a_tunnel_is_shown_with_what_went_through_it() -> None:
    house = House(limits={"tunnel_idle": "60s"})
    client = tunnel(house, b"12345")
    house.advance(10)
    client.send(b"123")
    house.advance(5)
    shown = house.snapshot()
    assert shown["stages"]["TUNNELLING"] == 1
    assert shown["tunnelled"] == {"open": 1, "total": 1, "received": 3, "sent": 5}
    assert shown["parked"] == []
    (row,) = shown["tunnels"]
    assert row == {
        "id": house.exchange().request.id,
        "client": "127.0.0.1:4000",
        "method": "GET",
        "path": "/chat",
        "module": "reverse",
        "waiting_for": "tunnel of websocket",
        "at": "",
        "since_s": pytest.approx(15, abs=0.1),
        "deadline_s": pytest.approx(55, abs=0.1),
        "upstream": SERVER,
        "received": 3,
        "sent": 5,
        "idle_s": pytest.approx(5, abs=0.1),
    }


def test_tunnels_are_shown_page_by_page() -> None:
    house = House(limits={"tunnel_idle": "off"})
    for _ in range(3):
        asked(house)
        house.upstream().answer(SWITCHED)
        house.settle()
    every = [row["id"] for row in house.snapshot()["tunnels"]]
    assert len(every) == 3
    assert house.snapshot()["tunnels"][0]["deadline_s"] is None
    first = house.snapshot(limit=2)["tunnels"]
    assert [row["id"] for row in first] == every[:2]
    assert [row["id"] for row in house.snapshot(limit=2, after=first[-1]["id"])["tunnels"]] == every[2:]


def test_the_metrics_and_the_page_have_what_went_through_tunnels() -> None:
    house = House()
    client = tunnel(house, b"x" * 2048)
    client.send(b"123")
    house.settle()
    text = house.metrics().decode()
    for line in (
        'asyncproxy_exchanges{stage="TUNNELLING"} 1.0',
        "asyncproxy_tunnels_total 1.0",
        'asyncproxy_tunnel_bytes_total{direction="received"} 3.0',
        'asyncproxy_tunnel_bytes_total{direction="sent"} 2048.0',
    ):
        assert f"\n{line}\n" in text
    assert "3 B in, 2.0 KiB out" in page(house.overview(), operate=False)


def test_an_operator_may_cut_a_tunnel() -> None:
    house = House()
    client = tunnel(house)
    identity = house.exchange().request.id
    assert house.cancel(identity) == {"request": identity, "status": None}
    house.settle()
    assert client.wire.aborted
    assert house.upstream().closed
    assert house.records[0].flag == "OC"
    house.assert_nothing_left()


def test_a_tunnel_has_no_deadline_that_could_be_extended() -> None:
    house = House()
    tunnel(house)
    with pytest.raises(OperationRefused, match="not parked, but TUNNELLING"):
        house.extend(house.exchange().request.id, 5.0)


def test_a_drain_cuts_tunnels() -> None:
    house = House()
    client = tunnel(house)
    house.exchange().call_off(Draining())
    house.settle()
    assert client.wire.aborted
    assert house.records[0].flag == "DR"
    house.assert_nothing_left()


def test_the_end_of_the_proxy_ends_tunnels() -> None:
    house = House()
    tunnel(house)
    house.exchange().left()
    house.settle()
    assert house.upstream().closed
    house.assert_nothing_left()


def test_a_tunnel_says_how_it_is() -> None:
    house = House()
    client = tunnel(house)
    (one,) = house.flow.tunnels.open
    assert "Tunnel of websocket, open" in repr(one)
    assert repr(house.flow.tunnels) == "<Tunnels 1 open of 1>"
    client.wire.reset()
    house.settle()
    assert "over" in repr(one)
