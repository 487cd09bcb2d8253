"""What a lab's upstreams are asked, and how they answer."""

from __future__ import annotations

from typing import Any

import pytest

from asyncproxy import Module, Request, Response, UpstreamError, gather
from asyncproxy.testing import Lab, UpstreamRequest

GROUP = {"orders": {"servers": ["http://127.0.0.1:9000", "http://127.0.0.1:9001"]}}


class Forwards(Module):
    to: str | None = None

    async def handle(self, request: Request) -> Response:
        return await request.forward(self.to)


class Prices(Module):
    """Two fetches at once, then a forward."""

    async def handle(self, request: Request) -> Response:
        eu, us = await gather(
            request.fetch("http://pricing/eu", timeout=5),
            request.fetch("https://pricing.test/us?x=1", "POST", json={"a": 1}, headers={"X-A": "1"}),
        )
        reply = await request.forward("orders")
        reply.headers["x-prices"] = f"{eu.status} {eu.text()}, {us.status} {us.json()}"
        return reply


def reverse() -> Lab:
    return Lab({"upstream": GROUP, "route": [{"module": "reverse", "upstream": "orders"}]})


def test_a_forward_waits_until_its_upstream_answers() -> None:
    lab = reverse()
    request = lab.post("/a?b=1", data=b"body", headers={"X-A": "1"})
    orders = lab.upstream("orders")
    (asked,) = orders.requests
    assert (asked.method, asked.target, asked.path, asked.body) == ("POST", b"/a?b=1", "/a", b"body")
    assert asked.headers["x-a"] == "1"
    assert asked.whole
    assert orders.waiting == [asked]
    orders.answer(status=201, headers={"X-B": "2"}, body=b"reply")
    assert (request.status, request.headers["x-b"], request.body) == (201, "2", b"reply")
    assert orders.waiting == []
    assert repr(asked) == "<POST http://127.0.0.1:9000/a?b=1: answered>"
    assert repr(orders) == "<Upstream orders: 1 requests, 0 waiting>"


def test_requests_are_answered_in_the_order_they_came() -> None:
    lab = reverse()
    requests = [lab.get(f"/{number}") for number in range(3)]
    for number in range(3):
        lab.upstream("orders").answer(body=str(number))
    assert [request.text for request in requests] == ["0", "1", "2"]


def test_any_of_them_may_be_answered() -> None:
    lab = reverse()
    first, second = lab.get("/1"), lab.get("/2")
    lab.upstream("orders").requests[1].answer(json=[2])
    assert second.json() == [2]
    assert first.status is None
    with pytest.raises(AssertionError, match="answered once"):
        lab.upstream("orders").requests[1].answer()
    lab.disconnect(first)
    assert lab.upstream("orders").requests[0].cancelled
    with pytest.raises(AssertionError, match="nobody waits"):
        lab.upstream("orders").requests[0].answer()


def test_an_answer_may_be_given_before_anybody_asks() -> None:
    lab = reverse()
    lab.upstream("orders").answer(body=b"first")
    lab.upstream("orders").fail("refused")
    assert lab.get("/").body == b"first"
    assert lab.get("/").status == 502
    assert lab.get("/").status is None


def test_an_upstream_may_serve_every_request() -> None:
    lab = reverse()
    waiting = lab.get("/before")
    lab.upstream("orders").serve(lambda request: Response.text(f"served {request.path}", 203))
    assert (waiting.status, waiting.text) == (203, "served /before")
    assert lab.get("/after").text == "served /after"
    upload = lab.upload("POST", "/upload")
    upload.send(b"x")
    assert upload.status is None  # its body is not whole
    upload.end()
    assert upload.text == "served /upload"


def test_a_reply_may_stream_and_break() -> None:
    lab = reverse()
    whole, told, cut = lab.get("/whole"), lab.get("/told"), lab.get("/cut")
    for request, length in ((whole, None), (told, 4), (cut, None)):
        reply = lab.upstream("orders").begin(200, {"X-A": "1"}, length=length)
        assert request.status == 200
        reply.send(b"ab")
        assert request.body == b"ab"
        assert not request.done
        if request is cut:
            reply.fail("reset")
        else:
            reply.send(b"cd")
            reply.end()
    assert (whole.body, whole.done, whole.cut) == (b"abcd", True, False)
    assert (told.body, told.done, told.headers["content-length"]) == (b"abcd", True, "4")
    assert (cut.body, cut.cut) == (b"ab", True)
    with pytest.raises(AssertionError, match="nothing waits"):
        lab.upstream("orders").begin()


def test_a_body_of_pieces_arrives_in_pieces() -> None:
    lab = reverse()
    request = lab.get("/")
    lab.upstream("orders").answer(body=[b"a", b"b"])
    assert request.body == b"ab"
    assert request.headers["transfer-encoding"] == "chunked"


@pytest.mark.parametrize("status", [204, 304, 200])
def test_replies_without_a_body_have_none(status: int) -> None:
    lab = reverse()
    request = lab.request("HEAD" if status == 200 else "GET", "/")
    lab.upstream("orders").answer(status, body=b"" if status != 200 else b"size")
    assert (request.status, request.body, request.done) == (status, b"", True)
    assert request.headers.get("content-length") == ("4" if status == 200 else None)


def test_servers_that_refuse_are_passed_over_for_real() -> None:
    lab = reverse()
    lab.upstream("http://127.0.0.1:9000").refuse()
    lab.get("/a")
    assert [one.url for one in lab.upstream("orders").requests] == ["http://127.0.0.1:9001/a"]
    lab.upstream("orders").refuse()
    assert lab.get("/b").status == 502
    lab.upstream("orders").accept()
    assert lab.get("/c").status is None
    with pytest.raises(AssertionError, match=r"known are http://127\.0\.0\.1:9000"):
        lab.upstream("http://elsewhere").refuse()


def test_an_upstream_that_is_silent_is_given_up_by_the_proxy_s_own_time_out() -> None:
    lab = reverse()
    request = lab.get("/")
    lab.advance(59)
    assert request.status is None
    lab.advance(1)
    assert request.status == 504
    assert isinstance(request.error, UpstreamError)
    assert request.error.why == "timeout:first-byte"
    assert lab.upstream("orders").requests[0].cancelled


def test_a_failure_of_the_author_s_own_is_raised_at_the_await() -> None:
    lab = Lab(Forwards)
    request = lab.get("/")
    lab.upstream().fail(KeyError("mine"))
    assert (request.status, type(request.error)) == (500, KeyError)
    request = lab.get("/")
    lab.upstream().fail(TimeoutError)
    assert type(request.error) is TimeoutError
    with pytest.raises(ValueError, match="write one of refused, reset"):
        lab.upstream("x").requests[0].fail("sulking")


def test_fetches_are_asked_of_upstreams_too() -> None:
    lab = Lab(Prices)
    request = lab.get("/")
    assert lab.parked()[0]["waiting_for"].startswith("gather of 2: fetch GET http://pricing/eu")
    (eu,) = lab.upstream("http://pricing").requests
    (us,) = lab.upstream("https://pricing.test/us").requests
    assert lab.upstream("pricing").requests == [eu]
    assert (eu.method, eu.target, eu.body) == ("GET", b"/eu", b"")
    assert (us.method, us.target, us.json(), us.headers["x-a"]) == ("POST", b"/us?x=1", {"a": 1}, "1")
    assert us.headers["content-type"] == "application/json; charset=UTF-8"
    us.answer(202, json=[1])
    lab.upstream("http://pricing/eu").answer(body="3")
    lab.upstream("orders").answer()
    assert request.headers["x-prices"] == "200 3, 202 [1]"


def test_a_fetch_that_is_late_or_fails_raises_an_upstream_error() -> None:
    lab = Lab(Prices)
    late = lab.get("/")
    lab.advance(5)
    assert isinstance(late.error, UpstreamError)
    assert late.error.why == "timeout:total"
    assert all(one.cancelled for one in lab.upstream().requests)
    refused = lab.get("/")
    lab.upstream("http://pricing").fail("refused")
    assert (refused.status, getattr(refused.error, "why", None)) == (502, "refused")
    assert repr(lab.upstream("https://pricing.test").requests[1]).endswith("given up>")


@pytest.mark.parametrize(
    ("data", "body", "kind"),
    [
        (b"raw", b"raw", None),
        ("text", b"text", None),
        ({"a": ["1", "2"]}, b"a=1&a=2", "application/x-www-form-urlencoded"),
        ([("a", "b c")], b"a=b+c", "application/x-www-form-urlencoded"),
    ],
)
def test_a_fetch_s_data_is_what_would_be_sent(data: Any, body: bytes, kind: str | None) -> None:
    class Posts(Module):
        async def handle(self, request: Request) -> Response:
            fetched = await request.fetch("http://a/b", "POST", data=data)
            return Response(body=fetched.content)

    lab = Lab(Posts)
    request = lab.get("/")
    (asked,) = lab.upstream("http://a/b").requests
    assert (asked.body, asked.headers.get("content-type")) == (body, kind)
    asked.begin()
    asked.send(b"a")
    asked.send(b"b")
    asked.end()
    assert request.body == b"ab"


@pytest.mark.parametrize(
    ("name", "yes"),
    [
        ("http://shop.test:80/a/b?c=1", True),
        ("http://SHOP.test", True),
        ("http://shop.test/", True),
        ("http://shop.test/a", True),
        ("http://shop.test/a/b", True),
        ("http://shop.test/a/bc", False),
        ("http://shop.test/a/b?c=2", False),
        ("http://shop.test:81/a/b", False),
        ("https://shop.test/a/b", False),
    ],
)
def test_a_url_stands_for_what_is_below_it(name: str, yes: bool) -> None:
    lab = Lab({"upstream": GROUP, "route": [{"module": Forwards, "settings": {"to": "http://shop.test"}}]})
    lab.get("/a/b?c=1")
    assert len(lab.upstream(name).requests) == yes


def test_a_lone_module_s_upstream_goes_by_any_name() -> None:
    lab = Lab(Forwards)
    request = lab.get("/")
    lab.upstream("orders").answer(body=b"x")
    assert request.body == b"x"
    named = Lab(Forwards, settings={"to": "orders"})
    named.get("/")
    assert len(named.upstream("orders").requests) == 1
    assert named.upstream("prices").requests == []
    routed = Lab(Forwards, upstream="orders", timeout="5s")
    routed.get("/")
    assert routed.upstream("orders").requests[0].url == "http://orders/"
    by_url = Lab(Forwards, upstream="http://127.0.0.1:9000")
    by_url.get("/x")
    assert by_url.upstream("http://127.0.0.1:9000").requests[0].path == "/x"


def test_with_a_configuration_a_name_that_is_unknown_is_an_error_as_in_earnest() -> None:
    lab = Lab({"upstream": GROUP, "route": [{"module": Forwards, "settings": {"to": "odrers"}}]})
    assert lab.get("/").status == 502
    with pytest.raises(ValueError, match="no upstream 'odrers'; known are orders"):
        lab.upstream("odrers")


def test_connections_are_kept_and_used_again() -> None:
    lab = reverse()
    lab.upstream("http://127.0.0.1:9001").refuse()
    for _ in range(4):
        request = lab.post("/", data=b"body")
        lab.upstream("orders").answer()
        assert request.status == 200
    served: list[UpstreamRequest] = lab.upstream("orders").requests
    assert [one.body for one in served] == [b"body"] * 4
    assert lab.house.network.numbers < 4 + 4


def test_a_failure_of_an_unknown_kind_is_refused_and_the_request_still_waits() -> None:
    lab = reverse()
    with pytest.raises(ValueError, match=r"fail\('refusd'\): write one of refused"):
        lab.upstream("orders").fail("refusd")  # asked by nobody yet
    request = lab.get("/")
    with pytest.raises(ValueError, match="refusd"):
        lab.upstream("orders").fail("refusd")
    lab.upstream("orders").answer(body=b"reply")
    assert request.body == b"reply"
