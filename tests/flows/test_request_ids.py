"""One id a request: in our log and on our pages, at its upstream, and back with its client."""

from __future__ import annotations

from typing import Any

import pytest

from asyncproxy import Module, Reply, Request, Response
from asyncproxy.testing import Lab

UPSTREAM = {"app": {"servers": "http://app"}}


def lab_of(module: Any = "reverse", **server: Any) -> Lab:
    """A lab whose `[server]` has what is named."""
    return Lab({"server": server, "route": [{"module": module, "upstream": "app"}], "upstream": UPSTREAM})


def test_upstream_and_client_are_told_the_same_id() -> None:
    lab = lab_of()
    first, second = lab.get("/"), lab.get("/")
    told = [asked.headers["x-request-id"] for asked in lab.upstream("app").requests]
    lab.upstream("app").answer()
    lab.upstream("app").answer()
    assert told == ["lab-1", "lab-2"]
    assert [first.headers["x-request-id"], second.headers["x-request-id"]] == told


def test_a_clients_own_id_is_not_heard_by_default() -> None:
    lab = lab_of()
    request = lab.get("/", headers={"X-Request-ID": "forged", "x-request-id-2": "kept"})
    (asked,) = lab.upstream("app").requests
    assert asked.headers.getall("x-request-id") == ["lab-1"]
    assert asked.headers["x-request-id-2"] == "kept"
    lab.upstream("app").answer()
    assert request.headers["x-request-id"] == "lab-1"


def test_a_trusted_id_is_taken_and_shown() -> None:
    lab = lab_of(trust_request_id=True)
    request = lab.get("/", headers={"x-request-id": "edge-7"})
    (asked,) = lab.upstream("app").requests
    assert asked.headers.getall("x-request-id") == ["edge-7"]
    assert lab.parked()[0]["id"] == "edge-7"
    lab.upstream("app").answer()
    assert request.headers.getall("x-request-id") == ["edge-7"]


def test_the_rows_after_an_id_that_several_requests_have_come_to_an_end() -> None:
    lab = lab_of(trust_request_id=True)
    for _ in range(5):
        lab.get("/", headers={"x-request-id": "same"})
    lab.get("/", headers={"x-request-id": "last"})
    assert [row["id"] for row in lab.snapshot(2, "same")["parked"]] == ["last"]


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, 'a"b'])
def test_a_trusted_id_that_would_garble_a_log_is_replaced(given: str) -> None:
    lab = lab_of(trust_request_id=True)
    lab.get("/", headers={"x-request-id": given})
    (asked,) = lab.upstream("app").requests
    assert asked.headers.getall("x-request-id") == ["lab-1"]


def test_requests_of_one_connection_have_ids_of_their_own_though_their_heads_repeat() -> None:
    lab = lab_of(trust_request_id=True)
    for number in range(1, 5):
        request = lab.get("/", headers={"x-request-id": "same"} if number == 2 else {})
        lab.upstream("app").answer(body=b"x")
        assert request.headers["x-request-id"] == ("same" if number == 2 else f"lab-{number}")


def test_what_an_upstream_says_of_the_id_is_not_passed_on() -> None:
    lab = lab_of()
    request = lab.get("/")
    lab.upstream("app").answer(headers={"X-REQUEST-ID": "theirs"})
    assert request.headers.getall("x-request-id") == ["lab-1"]


def test_a_streamed_reply_carries_the_id() -> None:
    lab = lab_of()
    request = lab.get("/")
    reply = lab.upstream("app").begin(headers={"x-request-id": "theirs"})
    reply.send(b"some")
    assert request.headers.getall("x-request-id") == ["lab-1"]
    reply.end()
    assert request.body == b"some"


class Own(Module):
    """Sends fields of its own, both ways."""

    async def handle(self, request: Request) -> Reply:
        """With ids that are not the proxy's to tell."""
        reply: Reply = await request.forward(headers={"x-request-id": "module", "x-own": request.id})
        reply.headers["x-request-id"] = "module"
        return reply


def test_a_modules_fields_do_not_hide_the_id() -> None:
    lab = lab_of(Own)
    request = lab.get("/")
    (asked,) = lab.upstream("app").requests
    assert (asked.headers.getall("x-request-id"), asked.headers["x-own"]) == (["lab-1"], "lab-1")
    lab.upstream("app").answer()
    assert request.headers.getall("x-request-id") == ["lab-1"]


class Answers(Module):
    """Answers by itself, with an id of its own."""

    def handle(self, request: Request) -> Response:
        """A whole response, or an error."""
        if request.path == "/bad":
            raise ValueError("bad")
        return Response.text("ok", headers={"x-request-id": "module"})


def test_answers_of_modules_and_our_own_errors_carry_the_id() -> None:
    lab = lab_of(Answers)
    assert lab.get("/").headers.getall("x-request-id") == ["lab-1"]
    assert lab.get("/bad").headers.getall("x-request-id") == ["lab-2"]


def test_a_request_that_no_route_takes_has_an_id_too() -> None:
    lab = Lab({"route": [{"path": "/a", "module": "reverse", "upstream": "app"}], "upstream": UPSTREAM})
    request = lab.get("/b")
    assert (request.status, request.headers["x-request-id"]) == (404, "lab-1")


def test_another_field_can_carry_the_id() -> None:
    lab = lab_of(request_id_header="Trace")
    request = lab.get("/", headers={"X-Request-ID": "theirs", "trace": "forged"})
    (asked,) = lab.upstream("app").requests
    assert (asked.headers.getall("trace"), asked.headers["x-request-id"]) == (["lab-1"], "theirs")
    lab.upstream("app").answer()
    assert request.headers["trace"] == "lab-1"


def test_ids_that_are_off_are_told_to_nobody_and_fields_pass_as_they_are() -> None:
    lab = lab_of(request_id_header="off")
    request = lab.get("/", headers={"X-Request-ID": "theirs"})
    (asked,) = lab.upstream("app").requests
    assert asked.headers.getall("x-request-id") == ["theirs"]
    lab.upstream("app").answer(headers={"x-request-id": "back"})
    assert request.headers.getall("x-request-id") == ["back"]
