from __future__ import annotations

import pytest

from asyncproxy.exchange.errors import ClientError
from asyncproxy.exchange.last_recipient import forwards_left, last_answer, one_fewer
from asyncproxy.exchange.messages import Request


def traced(block: bytes, method: str = "TRACE") -> Request:
    return Request(method, b"/a?b", b"\r\nHost: a" + block)


@pytest.mark.parametrize(
    ("value", "left"),
    [(b"0", 0), (b"000", 0), (b" 7 \t", 7), (b"9" * 40, 999_999_999), (None, None)],
)
def test_a_number_says_how_often(value: bytes | None, left: int | None) -> None:
    assert forwards_left(traced(b"" if value is None else b"\r\nmax-Forwards:" + value)) == left


@pytest.mark.parametrize("value", [b"", b"-1", b"1.0", b"1, 2", b"1\r\nMax-Forwards: 1", b"0x1", "²".encode()])
def test_what_is_no_number_is_refused(value: bytes) -> None:
    with pytest.raises(ClientError, match="Max-Forwards"):
        forwards_left(traced(b"\r\nMax-Forwards: " + value))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"\r\nMAX-Forwards:5\r\nX: 1", b"\r\nMAX-Forwards: 4\r\nX: 1"),
        (b"\r\nMax-Forwards: 0", b"\r\nMax-Forwards: 0"),
        (b"\r\nMax-Forwards: " + b"9" * 30, b"\r\nMax-Forwards: 999999998"),
        (b"\r\nMax-Forwards: many", b"\r\nMax-Forwards: many"),
        (b"\r\nX-Max-Forwards: 3", b"\r\nX-Max-Forwards: 3"),
    ],
)
def test_each_forward_takes_one_off(before: bytes, after: bytes) -> None:
    assert one_fewer(before) == after


def test_a_trace_is_told_its_head_as_it_came_but_for_what_is_secret() -> None:
    names = "Authorization Proxy-Authorization proxy-authenticate Cookie COOKIE2 X-Auth-Token X-Api-Key X-CSRF-Token"
    secrets = f"{names} Api_Key X-Session-Id X-Amz-Security-Token My-Secret Password".encode().split()
    kept = b"\r\nTE: trailers\r\nX-Order:  kept  \r\nConnection: TE"
    block = kept + b"".join(b"\r\n%b: hidden" % name for name in secrets)
    reply = last_answer(traced(block), None)
    assert reply.status == 200
    assert reply.headers["content-type"] == "message/http"
    assert reply.stream == b"TRACE /a?b HTTP/1.1\r\nHost: a" + kept + b"\r\n\r\n"
    assert reply.headers["content-length"] == str(len(reply.stream))


@pytest.mark.parametrize(
    ("allowed", "told"),
    [
        (("GET", "OPTIONS"), "GET, OPTIONS, HEAD"),
        (("POST",), "POST"),
        (None, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE"),
    ],
)
def test_options_are_what_the_route_takes(allowed: tuple[str, ...] | None, told: str) -> None:
    reply = last_answer(traced(b"", "OPTIONS"), allowed)
    assert (reply.status, reply.headers["allow"], reply.stream) == (200, told, b"")
    assert reply.headers["content-length"] == "0"
