"""The stream that the live page listens to, in a lab; see `modules.live.events`."""

from __future__ import annotations

import json
from typing import Any

from asyncproxy import Module, Request, Response, sleep
from asyncproxy.polling.onlookers import MOST
from asyncproxy.testing import Lab


class Sleeps(Module):
    async def handle(self, request: Request) -> Response:
        await sleep(600)
        return Response()


def made() -> Lab:
    return Lab({"route": [{"module": Sleeps}, {"path": "/status", "module": "status"}]}, allow_parked=True)


def events(text: str) -> list[tuple[str, Any]]:
    blocks = [block.split("\n") for block in text.split("\n\n") if block.startswith("event: ")]
    return [(what.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for what, data in blocks]


def paths(text: str) -> list[str]:
    told = events(text)
    path = told[0][1]["columns"].index("path")
    return [row[path] for what, rows in told if what == "rows" for row in rows["rows"]]


def test_what_changes_is_told_as_it_changes() -> None:
    lab = made()
    first = lab.get("/one")
    lab.advance(1)
    stream = lab.get("/status/events")
    lab.advance(3)
    assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert stream.text.startswith("retry: 1000\n\nevent: begin\ndata: {")
    lab.get("/two")
    lab.advance(3)
    lab.disconnect(first)
    lab.advance(3)
    told = events(stream.text)
    assert [path for path in paths(stream.text) if path != "/status/events"] == ["/one", "/two"]
    assert [what for what, _ in told].count("begin") == 1
    assert 8 <= [what for what, _ in told].count("figures") <= 11
    assert 1 in [key for what, rows in told if what == "rows" for key in rows["gone"]]


def test_texts_of_others_cannot_make_events() -> None:
    lab = made()
    lab.get("/%0Aevent:%20figures%0Adata:%20{}%0A%0A%E2%80%A8%ED%A0%80")
    lab.advance(1)
    stream = lab.get("/status/events")
    lab.advance(2)
    assert paths(stream.text)[0].startswith(r"/\nevent: figures\ndata: {}\n\n\u2028")


def test_a_page_that_does_not_read_makes_nothing_pile_up() -> None:
    lab = made()
    stream = lab.get("/status/events")
    lab.advance(2)
    stream.slow()
    lab.advance(2)
    before = len(stream.client.received)
    for _ in range(30):
        lab.disconnect(lab.get("/come-and-gone"))
        lab.advance(2)
    assert len(stream.client.received) - before < 5000
    lab.get("/last")
    lab.advance(2)
    stream.fast()
    lab.advance(2)
    assert [path for path in paths(stream.text) if path != "/status/events"] == ["/last"]


def test_who_leaves_is_no_onlooker_any_more() -> None:
    lab = made()
    streams = [lab.get("/status/events") for _ in range(MOST)]
    lab.advance(2)
    refused = lab.get("/status/events")
    assert (refused.status, lab.onlookers.full) == (503, True)
    for stream in streams:
        lab.disconnect(stream)
    lab.settle()
    assert repr(lab.onlookers).startswith("<Onlookers 0 of 16")
    assert lab.get("/status/events").status == 200


def test_a_drain_does_not_wait_for_onlookers_on_a_route() -> None:
    lab = made()
    stream = lab.get("/status/events")
    lab.advance(2)
    assert lab.drain(30) == []
    assert stream.text.count("event: begin") == 1
    assert repr(lab.onlookers).startswith("<Onlookers 0 of 16")


def test_a_page_of_another_site_takes_no_place() -> None:
    lab = made()
    for fields in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
    ):
        assert lab.get("/status/events", headers=fields).status == 403
    assert repr(lab.onlookers).startswith("<Onlookers 0 of 16")
    assert lab.get("/status/events", headers={"Sec-Fetch-Site": "same-origin"}).status == 200


def test_a_head_is_no_onlooker() -> None:
    lab = made()
    assert lab.request("HEAD", "/status/events").headers["content-type"].startswith("text/event-stream")
    assert repr(lab.onlookers).startswith("<Onlookers 0 of 16")


def test_the_stream_wants_the_token() -> None:
    lab = Lab({"route": [{"module": "status", "settings": {"token": "secret"}}]})
    assert lab.get("/status/events").status == 401
    assert lab.get("/status/page.js").status == 401
