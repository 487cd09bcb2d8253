"""Replies that are unusual and right, with what the client must see."""

from __future__ import annotations

from collections.abc import Iterator

from tests.wire.corpus import CHUNKINGS, TCHARS, RightReply, made, shown

Made = Iterator[tuple[str, RightReply]]
LENGTH = b"Content-Length: 3\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def reply(line: bytes = b"HTTP/1.1 200 OK", fields: bytes = LENGTH, body: bytes = b"abc") -> bytes:
    return line + b"\r\n" + fields + b"\r\n" + body


def status() -> Made:
    for number in (
        200,
        201,
        202,
        203,
        206,
        207,
        226,
        299,
        300,
        301,
        302,
        303,
        307,
        308,
        399,
        400,
        401,
        402,
        403,
        404,
        409,
    ):
        yield str(number), RightReply(reply(b"HTTP/1.1 %d X" % number), number, body=b"abc")
    for number in (410, 412, 416, 418, 421, 422, 425, 428, 429, 431, 451, 499, 500, 501, 503, 504, 505, 511, 599):
        yield str(number), RightReply(reply(b"HTTP/1.1 %d X" % number), number, body=b"abc")


def reason() -> Made:
    for text in (
        b"",
        b" ",
        b"OK",
        b"a b c",
        b"\tx",
        b"\xe9t\xe9",
        b"x" * 2000,
        b"200 OK",
        b"HTTP/1.1",
        b": a",
        b"\xc3\xa9",
    ):
        yield shown(text), RightReply(reply(b"HTTP/1.1 200 " + text), body=b"abc")


def name_of_a_field() -> Made:
    for byte in TCHARS:
        name = b"X" + bytes([byte]) + b"Y"
        yield shown(name), RightReply(reply(fields=LENGTH + name + b": v\r\n"), fields=[(name, b"v")], body=b"abc")


def value_of_a_field() -> Made:
    for value in (
        b"",
        b"a b",
        b"a\tb",
        b"\xe9\xff",
        b'"a"',
        b"x" * 8000,
        b"HTTP/1.1 200 OK",
        b"a, b;c=d",
        b":",
        b"chunked",
    ):
        for space, after in ((b"", b""), (b" ", b""), (b"\t  ", b" \t")):
            fields = b"X-V:" + space + value + after + b"\r\n" + LENGTH + b"X-W: w\r\n"
            seen = [(b"X-V", value), (b"X-W", b"w")]
            yield f"{shown(value)} behind {shown(space)}", RightReply(reply(fields=fields), fields=seen, body=b"abc")


def fields_in_order() -> Made:
    cookies = [(b"Set-Cookie", b"a=%d" % number) for number in range(20)]
    sent = b"".join(b"%b: %b\r\n" % pair for pair in cookies)
    yield "cookies", RightReply(reply(fields=sent + LENGTH), fields=cookies, body=b"abc")


def field_that_ends_here() -> Made:
    for name in (b"Keep-Alive", b"Proxy-Connection", b"Proxy-Authenticate", b"Content_Length", b"transfer_encoding"):
        fields = LENGTH + b"X-A: b\r\n" + name + b": 7\r\nX-C: d\r\n"
        seen = [(b"X-A", b"b"), (b"X-C", b"d")]
        yield name.decode(), RightReply(reply(fields=fields), fields=seen, absent=(name.lower(),), body=b"abc")
    for options in (b"x-a", b"X-A, keep-alive", b",x-a,"):
        fields = LENGTH + b"Connection: " + options + b"\r\nX-A: b\r\nX-C: d\r\n"
        yield shown(options), RightReply(reply(fields=fields), fields=[(b"X-C", b"d")], absent=(b"x-a",), body=b"abc")


def length() -> Made:
    for value, body in (
        (b"0", b""),
        (b"003", b"abc"),
        (b"3 ", b"abc"),
        (b"\t3", b"abc"),
        (b"00", b""),
        (b"010", b"0123456789"),
    ):
        yield shown(value), RightReply(reply(fields=b"content-LENGTH:" + value + b"\r\n", body=body), body=body)
    body = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    yield "a reply as data", RightReply(reply(fields=b"Content-Length: %d\r\n" % len(body), body=body), body=body)


def chunks() -> Made:
    for name, (wire, body) in CHUNKINGS.items():
        yield name, RightReply(reply(fields=CHUNKED, body=wire), body=body)
    for value in (b"Chunked", b"CHUNKED", b"\tchunked "):
        sent = reply(fields=b"transfer-ENCODING:" + value + b"\r\n", body=b"3\r\nabc\r\n0\r\n\r\n")
        yield shown(value), RightReply(sent, body=b"abc")


def trailers() -> Made:
    for lines, seen in (
        (b"X-Sum: 1\r\nServer-Timing: a\r\n", [(b"X-Sum", b"1"), (b"Server-Timing", b"a")]),
        (b'Expires: 0\r\nETag:\t"a" \r\nContent-Type: text/html\r\n', [(b"ETag", b'"a"')]),
    ):
        sent = reply(fields=CHUNKED, body=b"3\r\nabc\r\n0\r\n" + lines + b"\r\n")
        yield shown(lines), RightReply(sent, body=b"abc", trailers=seen)


def until_close() -> Made:
    for line in (b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK"):
        for body in (b"", b"abc", b"0\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"):
            yield (
                f"{line.decode()[:8]}, {shown(body)}",
                RightReply(reply(line, b"X-A: b\r\n", body), body=body, closes=True),
            )
    sent = reply(b"HTTP/1.0 200 OK", LENGTH + b"Connection: keep-alive\r\n")
    yield "1.0 kept alive", RightReply(sent, body=b"abc")
    yield "told to close", RightReply(reply(fields=LENGTH + b"Connection: close\r\n"), body=b"abc", closes=True)


def without_a_body() -> Made:
    for line in (b"204 No Content", b"304 Not Modified", b"204 ", b"304 "):
        for fields in (b"", b"X-A: b\r\n", b"Content-Length: 0\r\n"):
            sent = b"HTTP/1.1 " + line + b"\r\n" + fields + b"\r\n"
            yield f"{shown(line)}, {shown(fields)}", RightReply(sent, int(line[:3]))
    yield "304 of a length", RightReply(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", 304)
    for fields in (b"", LENGTH, CHUNKED, b"Content-Length: 0\r\n"):
        sent = b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n"
        yield f"to HEAD, {shown(fields)}", RightReply(sent, method=b"HEAD")


def informational_before() -> Made:
    for lines in (
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\n" * 3,
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
        b"HTTP/1.1 199 \r\n\r\n",
    ):
        yield shown(lines), RightReply(lines + reply(), body=b"abc")


CASES = made(
    *(
        status,
        reason,
        name_of_a_field,
        value_of_a_field,
        fields_in_order,
        field_that_ends_here,
        length,
        chunks,
        until_close,
    ),
    *(without_a_body, informational_before),
)
