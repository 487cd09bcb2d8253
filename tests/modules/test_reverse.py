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
        (b"/api/../api/x?q", b"/x?q"),
        (b"/api/%2e%2E/api/x?a/../b", b"/x?a/../b"),
        (b"/api/a%2f..%2F..%2fapi/x", b"/x"),
        (b"/api/./x/.", b"/x/"),
        (b"/api/.a/..b%2fc/...", b"/.a/..b%2fc/..."),
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


def lab_of(path: str = "/", **settings: object) -> Lab:
    route = {"path": path, "module": "reverse", "upstream": "http://app.internal:9000", "settings": settings}
    plain = {"path": "/plain", "module": "reverse", "upstream": "http://app.internal:9000"}
    return Lab({"server": {"listen": "tcp:0", "trusted": "127.0.0.1"}, "route": [route, plain]})


def told(lab: Lab, name: str) -> list[str]:
    return lab.upstream("http://app.internal:9000").requests[-1].headers.getall(name)


def test_the_host_that_was_asked_for_is_kept_by_default() -> None:
    lab = lab_of()
    lab.get("/x", headers={"Host": "shop.test"})
    assert told(lab, "host") == told(lab, "x-forwarded-host") == ["shop.test"]


def test_without_preserve_host_the_upstream_is_asked_by_its_own_name() -> None:
    lab = lab_of(preserve_host=False)
    lab.get("/x", headers={"Host": "shop.test"})
    assert told(lab, "host") == ["app.internal:9000"]
    assert told(lab, "x-forwarded-host") == ["shop.test"]
    assert told(lab, "forwarded") == ["for=127.0.0.1;host=shop.test;proto=http"]
    lab.post("/x", data=b"body", headers={"Host": "shop.test"})
    assert told(lab, "host") == ["app.internal:9000"]


def test_requests_of_one_connection_are_each_asked_by_their_route_s_host() -> None:
    lab = lab_of(preserve_host=False)
    client = lab.house.connect()
    hosts = []
    for path in (b"/x", b"/x", b"/x", b"/plain", b"/plain", b"/x", b"/plain"):
        client.send(b"GET %b HTTP/1.1\r\nHost: shop.test\r\n\r\n" % path)
        hosts += told(lab, "host")
        lab.upstream("http://app.internal:9000").answer()
        lab.settle()
    assert hosts == [*["app.internal:9000"] * 3, *["shop.test"] * 2, "app.internal:9000", "shop.test"]


@pytest.mark.parametrize(
    ("settings", "location", "cookie"),
    [
        ({}, "http://app.internal:9000/x", "a=b; Path=/; Domain=app.internal"),
        ({"rewrite": True}, "http://shop.test/x", "a=b; Path=/"),
        ({"preserve_host": False}, "http://shop.test/x", "a=b; Path=/"),
        ({"strip_prefix": True}, "http://shop.test/api/x", "a=b; Path=/api"),
        ({"strip_prefix": True, "rewrite": False}, "http://app.internal:9000/x", "a=b; Path=/; Domain=app.internal"),
        ({"preserve_host": False, "rewrite": False}, "http://app.internal:9000/x", "a=b; Path=/; Domain=app.internal"),
    ],
)
def test_what_replies_say_of_the_place_is_mapped_back_where_it_is_needed(
    settings: dict[str, bool], location: str, cookie: str
) -> None:
    lab = lab_of("/api", **settings)
    request = lab.get("/api/y", headers={"Host": "shop.test"})
    fields = {"Location": "http://app.internal:9000/x", "Set-Cookie": "a=b; Path=/; Domain=app.internal"}
    lab.upstream("http://app.internal:9000").answer(302, fields)
    assert (request.status, request.headers["location"], request.headers["set-cookie"]) == (302, location, cookie)


def test_what_a_trusted_peer_says_the_client_asked_for_is_mapped_to() -> None:
    lab = lab_of("/api", strip_prefix=True)
    front = {"Host": "edge", "X-Forwarded-Host": "shop.test", "X-Forwarded-Proto": "https"}
    request = lab.get("/api/y", headers=front)
    lab.upstream("http://app.internal:9000").answer(302, {"Location": "http://edge/x"})
    assert request.headers["location"] == "https://shop.test/api/x"


def test_a_reply_that_repeats_is_mapped_once_each_time() -> None:
    lab = lab_of("/api", strip_prefix=True)
    for _ in range(4):
        request = lab.get("/api/y")
        lab.upstream("http://app.internal:9000").answer(200, {"Location": "/x"}, b"body")
        assert (request.headers["location"], request.body) == ("/api/x", b"body")


def test_a_body_that_streams_is_mapped_in_its_head_alone() -> None:
    lab = lab_of("/api", strip_prefix=True)
    request = lab.get("/api/y")
    asked = lab.upstream("http://app.internal:9000").requests[-1]
    asked.begin(200, {"Location": "/x"})
    asked.send(b"Location: /x")
    asked.end()
    assert (request.headers["location"], request.body) == ("/api/x", b"Location: /x")


def test_a_path_is_put_back_as_urls_write_it() -> None:
    lab = lab_of("/café au lait/", strip_prefix=True)
    request = lab.get("/caf%c3%a9%20au%20lait/y")
    assert told(lab, "host")
    lab.upstream("http://app.internal:9000").answer(302, {"Location": "/x"})
    assert request.headers["location"] == "/caf%C3%A9%20au%20lait/x"
