"""The stock module `status`, in a lab."""

from __future__ import annotations

from asyncproxy import Module, Request, Response, sleep
from asyncproxy.modules.status import PATHS, Status
from asyncproxy.testing import Lab


class Sleeps(Module):
    async def handle(self, _request: Request) -> Response:
        await sleep(600)
        return Response()


def test_what_is_parked_is_shown() -> None:
    lab = Lab({"route": [{"module": Sleeps}, {"path": "/status.json", "module": "status"}]}, allow_parked=True)
    for _ in range(3):
        lab.get("/held")
    lab.advance(2)
    shown = lab.get("/status.json?limit=2").json()
    assert shown["stages"]["PARKED"] == shown["parked_total"] == 3
    assert shown["parked"] == lab.parked()[:2]
    assert (shown["parked"][0]["waiting_for"], shown["parked"][0]["since_s"]) == ("sleep 600 s", 2)
    assert lab.get(f"/status.json?after={shown['parked'][1]['id']}").json()["parked"] == lab.parked()[2:]


def test_what_is_asked_wrongly_is_refused() -> None:
    lab = Lab(Status)
    assert lab.get("/healthz").text == "ok\n"
    assert lab.get("/status.json?limit=x").status == 400
    assert lab.get("/status.json/x").text == f"404 Not Found: there are {', '.join(PATHS)}\n"
    assert lab.post("/healthz").status == 405


def test_a_token_is_wanted_where_one_is_set() -> None:
    lab = Lab(Status, settings={"token": "secret"})
    assert lab.get("/healthz").headers["www-authenticate"] == "Bearer"
    for said, status in (("Bearer secret", 200), ("Bearer other", 401), ("Bearer \xff", 401)):
        assert lab.get("/healthz", headers={"Authorization": said}).status == status


def test_an_id_that_no_request_can_have_is_no_failure() -> None:
    assert Lab(Status).get(f"/status.json?after=x-{'9' * 5000}").status == 200


def test_the_root_leads_to_the_page() -> None:
    answer = Lab(Status).get("/")
    assert (answer.status, answer.headers["location"]) == (302, "/status")


def test_the_metrics_are_those_of_prometheus() -> None:
    answer = Lab(Status).get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "\nasyncproxy_workers 5.0\n" in answer.text


def test_ids_that_clients_choose_can_be_paged_through() -> None:
    server = {"listen": "tcp:0", "trust_request_id": True}
    lab = Lab(
        {"server": server, "route": [{"module": Sleeps}, {"path": "/status.json", "module": "status"}]},
        allow_parked=True,
    )
    for name in ("z-9", "no-number", "a-1"):
        lab.get("/held", headers={"X-Request-ID": name})
    after = [row["id"] for row in lab.get("/status.json?after=no-number").json()["parked"]]
    assert [row["id"] for row in lab.parked()] == ["z-9", "no-number", "a-1"]
    assert after == ["a-1"]


def test_what_was_used_is_told_by_route() -> None:
    lab = Lab({"route": [{"module": Sleeps}, {"path": "/status.json", "module": "status"}]})
    lab.get("/held")
    before = lab.get("/status.json?limit=0").json()
    assert before["parked"] == []
    assert "/" not in before["routes"], "nothing has ended there"
    lab.advance(600)
    shown = lab.get("/status.json?limit=0").json()
    row = shown["routes"]["/"]
    assert (row["requests"], row["statuses"], row["parks"]) == (1, {"2xx": 1}, 1)
    assert row["module"] == "tests.modules.test_status:Sleeps"
    assert row["seconds"] == {"total": 600, "queued": 0, "working": 0, "parked": 600, "upstream": 0}
    assert shown["routes"]["/status.json"]["module"] == "status"
    assert shown["uptime_s"] - before["uptime_s"] == 600
    assert shown["worker_seconds"] == 0, "a lab's turns take no time"
    assert shown["cpu_seconds"] >= before["cpu_seconds"] > 0


def test_a_client_makes_no_row_of_its_own() -> None:
    lab = Lab(Status)
    for number in range(20):
        lab.get(f"/status.json/{number}", headers={"Host": f"host{number}"})
    assert list(lab.get("/status.json").json()["routes"]) == ["/"]
