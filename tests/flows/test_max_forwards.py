"""TRACE and OPTIONS with Max-Forwards: who answers, and what is passed on."""

from __future__ import annotations

from typing import Any

import pytest

from asyncproxy import Module, Response
from asyncproxy.exchange.messages import Request
from tests.fakes import House

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Forwards(Module):
    async def handle(self, request: Request) -> Any:
        reply = await request.forward()
        reply.headers["x-own"] = "1"
        return reply


class OwnFields(Module):
    async def handle(self, request: Request) -> Any:
        return await request.forward(headers=request.headers)


class Answers(Module):
    def handle(self, request: Request) -> Response:
        return Response.text(request.method)


def asked(house: House, method: str, *fields: str, version: str = "1.1") -> Any:
    client = house.connect()
    client.send("\r\n".join([f"{method} /x HTTP/{version}", "Host: a", *fields, "", ""]).encode())
    house.settle()
    return client


@pytest.mark.parametrize("module", ["reverse", Forwards(), OwnFields()])
@pytest.mark.parametrize("method", ["TRACE", "OPTIONS"])
def test_the_last_who_may_have_it_answers_in_the_servers_place(module: Any, method: str) -> None:
    house = House(module)
    client = asked(house, method, "Max-Forwards: 0", "Cookie: a=b", "X-Kept: yes")
    assert client.statuses == [200]
    assert not house.network.asked
    assert b"Via" not in client.received.partition(b"\r\n\r\n")[0]
    assert b"\r\nServer: asyncproxy\r\n" in client.received
    if method == "TRACE":
        assert client.body == b"TRACE /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\nX-Kept: yes\r\n\r\n"
        assert b"\r\nContent-Type: message/http\r\n" in client.received
    else:
        assert client.body == b""
        assert b"\r\nAllow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE\r\n" in client.received
    assert b"Connection: close" not in client.received
    client.get()
    house.upstream().answer(OK)
    house.settle()
    assert client.statuses == [200, 200]
    house.assert_nothing_left()


def test_a_route_tells_its_own_methods() -> None:
    client = asked(House(route={"methods": ["GET", "OPTIONS"]}), "OPTIONS", "Max-Forwards: 0")
    assert b"\r\nAllow: GET, OPTIONS, HEAD\r\n" in client.received


@pytest.mark.parametrize("module", ["reverse", Forwards(), OwnFields()])
@pytest.mark.parametrize("method", ["TRACE", "OPTIONS"])
def test_whoever_may_still_pass_it_on_takes_one_off(module: Any, method: str) -> None:
    house = House(module)
    for _ in range(3):
        client = asked(house, method, "max-forwards: 3")
        assert b"\r\nmax-forwards: 2\r\n" in house.upstream().received
        house.upstream().answer(OK)
        house.settle()
        assert client.body == b"ok"
    house.assert_nothing_left()


@pytest.mark.parametrize("fields", [[], ["Max-Forwards: 10"]])
def test_a_known_head_is_passed_on_as_one_that_was_read(fields: list[str]) -> None:
    house = House()
    client = house.connect()
    for _ in range(4):
        client.send("\r\n".join(["OPTIONS /x HTTP/1.1", "Host: a", *fields, "", ""]).encode())
        house.settle()
        house.upstream().answer(OK)
        house.settle()
    assert house.upstream().received.count(b"Max-Forwards: 9") == (4 if fields else 0)
    assert client.statuses == [200] * 4


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_of_other_methods_it_is_not_heeded(method: str) -> None:
    for value in ("0", "many"):
        house = House()
        asked(house, method, f"Max-Forwards: {value}")
        assert f"\r\nMax-Forwards: {value}\r\n".encode() in house.upstream().received


@pytest.mark.parametrize("value", ["", "-1", "many", "1\r\nMax-Forwards: 1"])
@pytest.mark.parametrize("method", ["TRACE", "OPTIONS"])
def test_what_is_no_number_is_refused(method: str, value: str) -> None:
    house = House()
    client = asked(house, method, f"Max-Forwards: {value}")
    assert client.statuses == [400]
    assert not house.network.asked


@pytest.mark.parametrize("framing", ["Content-Length: 4", "Transfer-Encoding: chunked"])
def test_a_trace_has_no_body(framing: str) -> None:
    house = House()
    assert asked(house, "TRACE", framing).statuses == [400]
    assert not house.network.asked


def test_a_module_that_does_not_forward_is_the_last_anyway() -> None:
    client = asked(House(Answers()), "OPTIONS", "Max-Forwards: 0")
    assert client.body == b"OPTIONS"


def test_a_trace_of_http_1_0_is_told_as_such() -> None:
    client = asked(House(), "TRACE", "Max-Forwards: 0", version="1.0")
    assert client.body.startswith(b"TRACE /x HTTP/1.0\r\n")


def test_a_mapped_forward_counts_too() -> None:
    house = House(route={"path": "/x", "settings": {"strip_prefix": True, "preserve_host": False}})
    asked(house, "OPTIONS", "Max-Forwards: 2")
    assert b"\r\nMax-Forwards: 1\r\n" in house.upstream().received
    assert asked(house, "OPTIONS", "Max-Forwards: 0").statuses == [200]
