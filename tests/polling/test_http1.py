from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asyncproxy.exchange.errors import ClientError
from asyncproxy.exchange.framing import ChunkedBody, LengthBody, UntilClose
from asyncproxy.exchange.messages import Request
from asyncproxy.polling.http1 import (
    BadReply,
    KnownReply,
    KnownRequest,
    check_beginning,
    check_reply_beginning,
    parse_reply,
    parse_request,
    reply_framing,
    request_framing,
)

HOST = b"Host: a\r\n"


def req(line: bytes = b"GET / HTTP/1.1", fields: bytes = HOST) -> bytes:
    return line + b"\r\n" + fields + b"\r\n"


def test_a_plain_request() -> None:
    request = parse_request(req(b"GET /x?y HTTP/1.1", HOST + b"X: y\r\n"))
    assert (request.method, request.target, request.minor, request.keep_alive) == ("GET", b"/x?y", 1, True)
    assert request.length == 0
    assert request.block == b"\r\nHost: a\r\nX: y"


def test_any_case_and_spelling_of_a_field_that_is_grammar_is_taken() -> None:
    assert parse_request(req(fields=b"hOsT:a\r\ncontent-LENGTH: \t5\t\r\n")).length == 5


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET  / HTTP/1.1", 400),
        (b" GET / HTTP/1.1", 400),
        (b"GET /  HTTP/1.1", 400),
        (b"GET / HTTP/1.1 ", 400),
        (b"GET\t/ HTTP/1.1", 400),
        (b"GET /a#b HTTP/1.1", 400),
        (b"GET /\x80 HTTP/1.1", 400),
        (b"GET /\x00 HTTP/1.1", 400),
        (b"GET / HTTP/2.0", 505),
        (b"GET / HTTP/1.2", 505),
        (b"GET / HTTP/0.9", 505),
        (b"GET / HTTP/3", 505),
        (b"GET / http/1.1", 400),
        (b"GET / RTSP/1.0", 400),
        (b"GET / HTTP/1.10", 505),
        (b"GET /", 400),
        (b"GET", 400),
        (b"", 400),
        (b"G@T / HTTP/1.1", 400),
        (b"get / HTTP/1.1", 501),
        (b"BREW / HTTP/1.1", 501),
        (b"PRI * HTTP/1.1", 501),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1", 414),
    ],
)
def test_a_request_line_that_is_not_ours_is_refused(line: bytes, status: int) -> None:
    with pytest.raises(ClientError) as refused:
        parse_request(req(line))
    assert refused.value.status == status


@pytest.mark.parametrize(
    "fields",
    [
        b"",
        b"Host:\r\n",
        b"Host: \t\r\n",
        b"Host: :80\r\n",
        b"Host: a:65536\r\n",
        b"Host: a:8_0\r\n",
        b"Host: a:80:80\r\n",
        b"Host: [::1\r\n",
        b"Host: [::1]a\r\n",
        b"Host: [::1]:65536\r\n",
        b"Host: [1::2::3]\r\n",
        b"Host: ::1\r\n",
        b"Host: a%zz\r\n",
        b"Host: a\\b\r\n",
        HOST + HOST,
        HOST + b"hOST: b\r\n",
        HOST + b"Transfer-Encoding: gzip, chunked\r\n",
        HOST + b"Transfer-Encoding: chunked, chunked\r\n",
        HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        HOST + b"Transfer-Encoding: gzip\r\n",
        HOST + b"Transfer-Encoding: identity\r\n",
        HOST + b"Transfer-Encoding: xchunked\r\n",
        HOST + b"Transfer-Encoding:\r\n",
        HOST + b"Transfer-Encoding: \x0bchunked\r\n",
        HOST + b'Transfer-Encoding: "chunked"\r\n',
        HOST + b"Transfer-Encoding: chunked;a=b\r\n",
        HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        HOST + b"Content-Length: 5\r\nContent-Length: 5\r\n",
        HOST + b"Content-Length: 5, 5\r\n",
        HOST + b"Content-Length: 3 3\r\n",
        HOST + b"Content-Length: +5\r\n",
        HOST + b"Content-Length: -5\r\n",
        HOST + b"Content-Length: 0x5\r\n",
        HOST + b"Content-Length: \r\n",
        HOST + b"Content-Length: 1_0\r\n",
        HOST + b"Content-Length: 5\xb2\r\n",
        HOST + b"Content-Length: 99999999999999999999\r\n",
        HOST + b"Content-Length : 5\r\n",
        HOST + b" Content-Length: 5\r\n",
        HOST + b"X: y\r\n folded\r\n",
        HOST + b"X: a\rb\r\n",
        HOST + b"X: a\nY: b\r\n",
        HOST + b"X: \x00\r\n",
        HOST + b"X\x00: y\r\n",
        HOST + b": y\r\n",
        HOST + b"X\r\n",
        HOST + b"X(: y\r\n",
        HOST + b"\xe9: y\r\n",
    ],
)
def test_fields_that_break_a_rule_are_refused(fields: bytes) -> None:
    for line in (b"GET / HTTP/1.1", b"POST / HTTP/1.1"):
        with pytest.raises(ClientError) as refused:
            parse_request(req(line, fields))
        assert refused.value.status == 400


@pytest.mark.parametrize(
    "host",
    [b"a", b"a.b:80", b"a:", b"[::1]", b"[::1]:65535", b"[::ffff:1.2.3.4]", b"1.2.3.4:00080", b"x_y", b"%41;b,c"],
)
def test_every_authority_is_a_host(host: bytes) -> None:
    assert parse_request(req(fields=b"Host: " + host + b"\r\n")).host_value == host


@pytest.mark.parametrize("others", [b"", b"A: b\r\n"])
def test_a_length_goes_on_in_as_few_digits_as_there_are(others: bytes) -> None:
    request = parse_request(req(fields=HOST + others + b"content-length: 0010\r\n"))
    assert (request.length, request.length_value) == (10, b"10")
    assert request.passed.endswith(b"\r\nContent-Length: 10")
    reply = parse_reply(rep(fields=others + b"Content-Length:\t010 \r\n"), "GET")
    assert (reply.length, reply.length_value) == (10, b"10")
    assert reply.passed.endswith(b"\r\nContent-Length: 10")


@pytest.mark.parametrize("field", [b"Content-Length:\t10", b"content-length:10", b"CONTENT-LENGTH: 10 \t"])
def test_a_length_goes_on_as_we_write_it(field: bytes) -> None:
    assert parse_request(req(fields=HOST + field + b"\r\n")).passed.endswith(b"\r\nContent-Length: 10")


def test_trace_takes_no_body() -> None:
    assert parse_request(req(b"TRACE / HTTP/1.1", HOST + b"Content-Length: 0\r\n")).length == 0
    for framing in (b"Content-Length: 1\r\n", b"Transfer-Encoding: chunked\r\n"):
        with pytest.raises(ClientError, match="TRACE"):
            parse_request(req(b"TRACE / HTTP/1.1", HOST + framing))


# Beginnings.

GOOD = req(b"POST http://a/b?c HTTP/1.1", HOST + b"A: \xe9\r\nContent-Length: 3\r\n")


def test_no_beginning_of_a_good_head_is_refused() -> None:
    for end in range(1, len(GOOD)):
        check_beginning(GOOD[:end], 8192, 65536)
    good = rep(b"HTTP/1.1 200 fine", b"A: b\r\n")
    for end in range(1, len(good)):
        check_reply_beginning(good[:end])


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET /\r\n", 400),
        (b"GET /\n", 400),
        (b"\nGET / HTTP/1.1\r\n", 400),
        (b"\rGET / HTTP/1.1\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\r", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
        (b"\x16\x03\x01\x02", 400),
        (b" ", 400),
        (b"GET  ", 400),
        (b"GET / / ", 400),
        (b"GET /\x00", 400),
        (b"GET / HTTP/1.1\r\nHost : a", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n b", 400),
        (b"GET / HTTP/1.1\r\nHost: a\x00", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n:", 400),
        (b"GET / HTTP/1.1\r\nno field\r\n", 400),
        (b"GET / HTTP/2.0\r\n", 505),
        (b"BREW / HTTP/1.1\r\nA", 501),
        (b"GET /" + b"x" * 9000, 414),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * 70_000, 431),
    ],
)
def test_a_beginning_of_which_no_head_can_come_is_refused_at_once(data: bytes, status: int) -> None:
    with pytest.raises(ClientError) as refused:
        check_beginning(data, 8192, 65536)
    assert refused.value.status == status


LONG = b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"x" * 5000 + b"\r\n"


@given(st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b"B: c", b"b", b"\x00"]), max_size=6), st.data())
def test_what_was_found_good_is_not_looked_at_again_and_nothing_is_missed(
    end: list[bytes], data: st.DataObject
) -> None:
    head = LONG + b"".join(end)
    before = data.draw(st.integers(len(LONG) - 2, len(head)))
    try:
        check_beginning(head[:before], 8192, 65536)
    except ClientError:
        return
    try:
        check_beginning(head, 8192, 65536)
    except ClientError as why:
        with pytest.raises(ClientError, match=str(why)):
            check_beginning(head, 8192, 65536, before)
    else:
        check_beginning(head, 8192, 65536, before)
        check_beginning(LONG[:2000] + b"\n" + head, 8192, 65536, before + 2001)


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-x\r\n",
        b"H3",
        b"HTTP/2",
        b"HTTP/1.1 200 OK\n",
        b"HTTP/1.1 200\r\n",
        b"HTTP/1.1 200 OK\r\nA\rB",
        b"\r\n",
    ],
)
def test_a_beginning_of_which_no_reply_can_come_is_bad_at_once(data: bytes) -> None:
    with pytest.raises(BadReply):
        check_reply_beginning(data)


def test_a_length_may_have_white_space_behind_it() -> None:
    assert parse_request(req(fields=HOST + b"Content-Length: 3 \r\n")).length == 3


def test_transfer_codings_on_http_1_0_are_refused() -> None:
    for fields in (b"", HOST):
        with pytest.raises(ClientError, match=r"1\.0"):
            parse_request(req(b"POST / HTTP/1.0", fields + b"Transfer-Encoding: chunked\r\n"))


@pytest.mark.parametrize(("fields", "ok"), [(b"", True), (HOST, True), (HOST + HOST, False), (b"Host:\r\n", False)])
def test_http_1_0_may_go_without_a_host(fields: bytes, ok: bool) -> None:
    if ok:
        request = parse_request(req(b"GET / HTTP/1.0", fields))
        assert (request.minor, request.keep_alive) == (0, False)
    else:
        with pytest.raises(ClientError):
            parse_request(req(b"GET / HTTP/1.0", fields))


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        (b"Connection: close\r\n", False),
        (b"Connection: Upgrade\r\nUpgrade: x\r\n", True),
        (b"CONNECTION: x, CLOSE\r\n", False),
    ],
)
def test_connection_options_are_read_in_any_case(fields: bytes, kept: bool) -> None:
    assert parse_request(req(fields=HOST + fields)).keep_alive is kept


def test_expect_is_heard_when_there_is_a_body() -> None:
    fields = HOST + b"Expect: 100-Continue\r\n"
    assert parse_request(req(fields=fields + b"Content-Length: 1\r\n")).expects_continue
    assert not parse_request(req(b"POST / HTTP/1.0", fields + b"Content-Length: 1\r\n")).expects_continue


def test_a_head_of_64_mib_is_never_buffered() -> None:
    from tests.fakes import House

    house = House()
    client = house.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
    for _ in range(1024):
        client.send(b"x" * 65536)
        held = len(client.wire.protocol._buffer)
        assert held < 200_000
    assert client.statuses == [431]


def test_each_framing_of_a_request() -> None:
    assert isinstance(request_framing(parse_request(req(fields=HOST + b"Content-Length: 1\r\n"))), LengthBody)
    assert isinstance(request_framing(parse_request(req(fields=HOST + b"Transfer-Encoding: Chunked\r\n"))), ChunkedBody)


# Replies.


def rep(line: bytes = b"HTTP/1.1 200 OK", fields: bytes = b"") -> bytes:
    return line + b"\r\n" + fields + b"\r\n"


@pytest.mark.parametrize("line", [b"HTTP/1.1 200 OK", b"HTTP/1.1 200 ", b"HTTP/1.1 200 \xe9 fine\t!"])
def test_a_plain_reply(line: bytes) -> None:
    reply = parse_reply(rep(line, b"Content-Length: 5\r\n"), "GET")
    assert (reply.status, reply.length, reply.keep_alive, reply.bodiless) == (200, 5, True, False)


@pytest.mark.parametrize(
    "line",
    [
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 O\x01K",
        b"HTTP/1.1 200 O\x7fK",
        b"HTTP/1.1 200 O\x00K",
        b"HTTP/1.1 099 Low",
        b"HTTP/1.1 600 High",
        b"HTTP/1.1 20 Short",
        b"HTTP/1.1 2000 Long",
        b"HTTP/1.1 +20 Sign",
        b"HTTP/1.1  200 OK",
        b"HTTP/2.0 200 OK",
        b"HTTP/1.2 200 OK",
        b"http/1.1 200 OK",
        b"ICY 200 OK",
        b"RTSP/1.0 200 OK",
        b"",
        b"200 OK",
    ],
)
def test_a_status_line_that_is_not_ours_is_a_bad_reply(line: bytes) -> None:
    with pytest.raises(BadReply):
        parse_reply(rep(line), "GET")


@pytest.mark.parametrize(
    "fields",
    [
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"Transfer-Encoding:\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        b"Content-Length: 3\r\nContent-Length: 3\r\n",
        b"Content-Length: 3\r\nContent-Length: 4\r\n",
        b"Content-Length: 3, 3\r\n",
        b"Content-Length: -3\r\n",
        b"Content-Length:\r\n",
        b"Content-Length: 9999999999999999999999\r\n",
        b"X : y\r\n",
        b"X: y\r\n z\r\n",
        b"X: a\nb: c\r\n",
        b"X: \x00\r\n",
    ],
)
def test_a_reply_whose_fields_break_a_rule_is_bad(fields: bytes) -> None:
    for method in ("GET", "HEAD"):
        with pytest.raises(BadReply):
            parse_reply(rep(fields=fields), method)


def test_transfer_codings_of_http_1_0_are_bad() -> None:
    with pytest.raises(BadReply):
        parse_reply(rep(b"HTTP/1.0 200 OK", b"Transfer-Encoding: chunked\r\n"), "GET")


@pytest.mark.parametrize(
    ("method", "status", "bodiless"),
    [("HEAD", 200, True), ("GET", 204, True), ("GET", 304, True), ("GET", 103, True), ("GET", 200, False)],
)
def test_which_replies_have_no_body(method: str, status: int, bodiless: bool) -> None:
    reply = parse_reply(rep(b"HTTP/1.1 %d X" % status, b"Content-Length: 5\r\n"), method)
    assert reply.bodiless is bodiless
    assert reply_framing(reply).done is bodiless


@pytest.mark.parametrize(
    ("fields", "kind", "kept"),
    [
        (b"Content-Length: 1\r\n", LengthBody, True),
        (b"Transfer-Encoding: chunked\r\n", ChunkedBody, True),
        (b"", UntilClose, False),
        (b"Connection: close\r\nContent-Length: 1\r\n", LengthBody, False),
    ],
)
def test_each_framing_of_a_reply(fields: bytes, kind: type, kept: bool) -> None:
    reply = parse_reply(rep(fields=fields), "GET")
    assert isinstance(reply_framing(reply), kind)
    assert reply.keep_alive is kept


def test_an_old_upstream_is_kept_only_if_it_says_so() -> None:
    fields = b"Content-Length: 1\r\n"
    assert not parse_reply(rep(b"HTTP/1.0 200 OK", fields), "GET").keep_alive
    assert parse_reply(rep(b"HTTP/1.0 200 OK", fields + b"Connection: keep-alive\r\n"), "GET").keep_alive


@pytest.mark.parametrize("status", [100, 103, 204])
def test_a_reply_that_has_no_body_has_no_transfer_coding(status: int) -> None:
    with pytest.raises(BadReply, match=str(status)):
        parse_reply(rep(b"HTTP/1.1 %d X" % status, b"Transfer-Encoding: chunked\r\n"), "GET")
    assert parse_reply(rep(b"HTTP/1.1 304 X", b"Transfer-Encoding: chunked\r\n"), "GET").bodiless


def test_an_upgrade_is_read_as_any_reply() -> None:
    assert parse_reply(rep(b"HTTP/1.1 101 X", b"Connection: upgrade\r\nUpgrade: x\r\n"), "GET").status == 101


SAMPLE = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-X: y\r\n\r\n"


@given(st.integers(0, len(SAMPLE) - 5), st.binary(min_size=1, max_size=3))
def test_whatever_is_put_into_a_head_is_read_or_refused(at: int, junk: bytes) -> None:
    head = SAMPLE[:at] + junk + SAMPLE[at:]
    if head.find(b"\r\n\r\n") != len(head) - 4:
        return
    try:
        request = parse_request(head)
    except ClientError:
        return
    assert request.noted.hosts == 1
    assert request.length is None or request.length >= 0
    assert b"\n" not in request.block.replace(b"\r\n", b"")
    assert not any(char in request.block for char in b"\0")


@given(st.binary(max_size=80))
def test_no_bytes_raise_anything_but_a_refusal(junk: bytes) -> None:
    reads: list[tuple[Any, type[Exception], Any]] = [
        (parse_request, ClientError, ()),
        (parse_reply, BadReply, ("GET",)),
    ]
    for read, refusal, more in reads:
        for head in (
            junk + b"\r\n\r\n",
            b"HTTP/1.1 200 " + junk + b"\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + junk + b"\r\n\r\n",
        ):
            try:
                read(head, *more)
            except refusal:
                continue


# Heads that repeat.


def known(fields: bytes = HOST, line: bytes = b"GET /a HTTP/1.1") -> KnownRequest:
    return KnownRequest(parse_request(req(line, fields)))


def shown(request: Request) -> dict[str, object]:
    kept = ("method", "target", "minor", "keep_alive", "length", "block", "passed", "host_value", "length_value")
    return {name: getattr(request, name) for name in kept} | {"noted": vars_of(request.noted)}


def vars_of(noted: object) -> dict[str, object]:
    return {name: getattr(noted, name) for name in ("hosts", "connection", "transfer", "expect")}


@given(st.binary(max_size=30), st.sampled_from([HOST, HOST + b"Connection: keep-alive\r\nTE: x\r\nX: y\r\n"]))
@example(b"", HOST)
@example(b"b c", HOST)
@example(b"#b", HOST)
@example(b"b HTTP/1.1\r\nX: y\r\n\r\nGET /", HOST)
def test_a_head_that_repeats_is_read_as_any_other_or_left_to_the_parser(rest: bytes, fields: bytes) -> None:
    head = req(b"GET /" + rest + b" HTTP/1.1", fields)
    again = known(fields).again(head, 8192)
    if again is not None:
        assert shown(again) == shown(parse_request(head))


def test_a_head_that_differs_in_its_target_alone_is_known() -> None:
    again = known().again(req(b"GET /b?c HTTP/1.1"), 8192)
    assert again is not None
    assert again.target == b"/b?c"


@pytest.mark.parametrize(
    "head",
    [
        req(b"POST /a HTTP/1.1"),
        req(b"GET /a HTTP/1.0"),
        req(b"GET http://b/a HTTP/1.1"),
        req(b"GET * HTTP/1.1"),
        req(b"GET /a#b HTTP/1.1"),
        req(b"GET  /a HTTP/1.1"),
        req(b"GET /a HTTP/1.1", HOST + b"Content-Length: 1\r\n"),
        req(b"GET /a HTTP/1.1", b"X: y\r\n" + HOST),
        req(b"GET /a HTTP/1.1", b"X: y\r\n HTTP/1.1\r\n" + HOST),
        b"GET /a HTTP/1.1",
        b"GET ",
    ],
)
def test_any_other_difference_is_left_to_the_parser(head: bytes) -> None:
    assert known().again(head, 8192) is None


def test_a_target_over_the_limit_is_left_to_the_parser() -> None:
    assert known().again(req(b"GET /" + b"a" * 100 + b" HTTP/1.1"), 50) is None


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        (b"GET http://other/a HTTP/1.1", HOST),  # its target decides on the Host field
        (b"OPTIONS * HTTP/1.1", HOST),
        (b"GET /a HTTP/1.0", HOST),
        (b"GET /a HTTP/1.1", HOST + b"Connection: close\r\n"),
        (b"POST /a HTTP/1.1", HOST + b"Content-Length: 0\r\n"),
        (b"POST /a HTTP/1.1", HOST + b"Content-Length: 3\r\n"),
        (b"POST /a HTTP/1.1", HOST + b"Transfer-Encoding: chunked\r\n"),
    ],
)
def test_what_may_not_come_again_in_the_same_way_is_not_kept(line: bytes, fields: bytes) -> None:
    assert not KnownRequest.repeats(parse_request(req(line, fields)))


def test_a_reply_with_the_same_head_and_a_whole_body_is_known() -> None:
    head = rep(fields=b"Content-Length: 3\r\nX: y\r\n")
    first = parse_reply(head, "GET")
    again = KnownReply(head, first).again(head + b"abc")
    assert again is not None
    assert again.stream == b"abc"
    assert (again.status, again.length, again.block, again.keep_alive) == (200, 3, first.block, True)


@pytest.mark.parametrize("data", [b"ab", b"abcd", b""])
def test_a_reply_whose_body_is_not_whole_is_left_to_the_parser(data: bytes) -> None:
    head = rep(fields=b"Content-Length: 3\r\n")
    assert KnownReply(head, parse_reply(head, "GET")).again(head + data) is None


@pytest.mark.parametrize(
    ("line", "fields", "method"),
    [
        (b"HTTP/1.1 200 OK", b"Content-Length: 3\r\n", "HEAD"),
        (b"HTTP/1.1 304 X", b"Content-Length: 3\r\n", "GET"),
        (b"HTTP/1.1 200 OK", b"", "GET"),
        (b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked\r\n", "GET"),
        (b"HTTP/1.1 200 OK", b"Content-Length: 3\r\nConnection: close\r\n", "GET"),
        (b"HTTP/1.0 200 OK", b"Content-Length: 3\r\nConnection: keep-alive\r\n", "GET"),
    ],
)
def test_a_reply_whose_end_is_told_in_another_way_is_not_kept(line: bytes, fields: bytes, method: str) -> None:
    assert not KnownReply.repeats(parse_reply(rep(line, fields), method))


def test_a_connection_holds_on_to_no_long_head() -> None:
    for size, known in ((8000, True), (9000, False)):
        assert KnownRequest.repeats(parse_request(req(fields=HOST + b"A: " + b"x" * size + b"\r\n"))) is known
