from __future__ import annotations

import pytest

from asyncproxy.exchange.framing import ChunkedBody, FramingError
from asyncproxy.exchange.trailers import left_out_of_trailers, refused_in_trailers

REFUSED = [
    *("Transfer-Encoding", "content-length", "CONTENT_LENGTH", "Host", "Connection", "TE", "Trailer", "Upgrade"),
    *("Forwarded", "X-Forwarded-For", "x_forwarded_host", "Proxy-Authorization", "proxy_connection", "Keep-Alive"),
    *("Authorization", "Cookie", "Set-Cookie", "WWW-Authenticate", "X-Real-IP", "HTTP2-Settings"),
]
LEFT_OUT = ["Content-Type", "content_encoding", "Content-Range", "Cache-Control", "If-Match", "Range", "Expect", "Date"]
ON = [
    "Digest",
    "X-Checksum",
    "Server-Timing",
    "Authentication-Info",
    "ETag",
    "Hostess",
    "X-Content-Length",
    "X-Forward",
]


def trailing(name: str) -> ChunkedBody:
    framing = ChunkedBody()
    framing.feed(f"1\r\nx\r\n0\r\nA: b\r\n{name}: c\r\n\r\n".encode())
    return framing


@pytest.mark.parametrize("name", REFUSED)
def test_what_frames_routes_or_authenticates_is_refused_behind_a_body(name: str) -> None:
    assert refused_in_trailers(name.encode())
    with pytest.raises(FramingError, match=name):
        trailing(name)


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_is_of_no_use_behind_a_body_is_left_out(name: str) -> None:
    assert left_out_of_trailers(name.encode())
    assert trailing(name).trailers == [(b"A", b"b")]


@pytest.mark.parametrize("name", ON)
def test_other_trailers_go_on(name: str) -> None:
    assert trailing(name).trailers == [(b"A", b"b"), (name.encode(), b"c")]
