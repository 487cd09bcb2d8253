"""The stock module `reverse`, in a lab."""

from __future__ import annotations

import pytest

from asyncproxy.modules.reverse import Reverse
from asyncproxy.testing import Lab


def test_a_request_is_passed_on_and_its_reply_back() -> None:
    lab = Lab(Reverse)
    request = lab.post("/a%20b?q=1", data=b"body", headers={"X-A": "1", "Connection": "x-b", "X-B": "hop"})
    (asked,) = lab.upstream().requests
    assert (asked.method, asked.target, asked.body, asked.headers["x-a"]) == ("POST", b"/a%20b?q=1", b"body", "1")
    assert "x-b" not in asked.headers
    asked.answer(418, {"X-C": "2"}, b"reply")
    assert (request.status, request.headers["x-c"], request.body) == (418, "2", b"reply")


def test_it_needs_no_worker() -> None:
    lab = Lab(Reverse)
    lab.get("/")
    lab.upstream().answer()
    assert lab.workers.done == 0


@pytest.mark.parametrize(
    ("target", "asked"),
    [
        (b"/api/x?q", b"/x?q"),
        (b"/api", b"/"),
        (b"/api/", b"/"),
        (b"/%61pi/x?q", b"/x?q"),
        (b"http://lab.test/api/x?q", b"/x?q"),
    ],
)
def test_strip_prefix_takes_the_route_s_path_off_however_it_is_written(target: bytes, asked: bytes) -> None:
    lab = Lab(Reverse, path="/api", settings={"strip_prefix": True})
    lab.get(target)
    assert [request.target for request in lab.upstream().requests] == [asked]


@pytest.mark.parametrize(
    ("why", "status"),
    [("refused", 502), ("reset", 502), ("unresolved", 502), ("timeout:first-byte", 504), ("full", 503)],
)
def test_an_upstream_that_fails_is_told_by_status(why: str, status: int) -> None:
    lab = Lab(Reverse)
    request = lab.get("/")
    lab.upstream().fail(why)
    assert request.status == status
