"""Requests whose body ends where two readers might differ, or whose chunks break a rule (RFC 9112 sections 6 and 7)."""

from __future__ import annotations

from collections.abc import Iterator

from tests.wire.corpus import (
    BAD_EXTENSIONS,
    BAD_SIZES,
    BROKEN_FIELDS,
    LINE_ENDS,
    NOT_CHUNKED,
    NOT_DIGITS,
    NOT_TRAILERS,
    Bad,
    shown,
)

HOST = b"Host: a.test\r\n"
LENGTH = b"Content-Length: 3\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
Made = Iterator[tuple[str, Bad]]


def head(line: bytes = b"GET /bad HTTP/1.1", fields: bytes = HOST) -> bytes:
    return line + b"\r\n" + fields + b"\r\n"


def posted(fields: bytes, body: bytes = b"abc", version: bytes = b"1.1") -> bytes:
    return head(b"POST /bad HTTP/" + version, HOST + fields) + body


# Framing.


def length_that_is_no_number() -> Made:
    for value in (b"", b" ", b"\t", *NOT_DIGITS):
        yield shown(value), Bad(posted(b"Content-Length: " + value + b"\r\n"))
    for value in (b"", b"-1", b"+1", b"0x0", b"0,0", b"00 0"):
        yield f"{shown(value)} of a GET", Bad(head(fields=HOST + b"Content-Length: " + value + b"\r\n"))


def several_lengths() -> Made:
    for first, second in (
        (b"3", b"3"),
        (b"3", b"4"),
        (b"0", b"0"),
        (b"0", b"3"),
        (b"3", b""),
        (b"", b"3"),
        (b"3", b"+3"),
    ):
        for name, other in (("together", b""), ("apart", b"A: b\r\n")):
            for spelling in (b"Content-Length", b"content-length", b"CONTENT-LENGTH"):
                fields = b"Content-Length: " + first + b"\r\n" + other + spelling + b": " + second + b"\r\n"
                yield f"{shown(first)} and {shown(second)} {name}, {spelling.decode()}", Bad(posted(fields))
    yield "three", Bad(posted(LENGTH * 3))


def coding_that_is_not_one_chunked() -> Made:
    for value in (b"", b" ", *NOT_CHUNKED):
        yield shown(value), Bad(posted(b"Transfer-Encoding: " + value + b"\r\n", b"0\r\n\r\n"))


def several_codings() -> Made:
    for first, second in (
        *((b"chunked", b"chunked"), (b"gzip", b"chunked"), (b"chunked", b"identity"), (b"identity", b"chunked")),
        *((b"chunked", b""), (b"", b"chunked"), (b"chunked", b"x"), (b"x", b"chunked")),
    ):
        fields = b"Transfer-Encoding: " + first + b"\r\ntransfer-ENCODING: " + second + b"\r\n"
        yield f"{shown(first)} and {shown(second)}", Bad(posted(fields, b"0\r\n\r\n"))


def length_and_coding() -> Made:
    for length in (b"0", b"3", b"5", b"+5", b""):
        for coding in (b"chunked", b"Chunked", b"identity", b"gzip, chunked", b""):
            told = b"Content-Length: " + length + b"\r\n"
            coded = b"Transfer-Encoding: " + coding + b"\r\n"
            yield f"length {shown(length)}, then {shown(coding)}", Bad(posted(told + coded, b"0\r\n\r\n"))
            yield f"coding {shown(coding)}, then {shown(length)}", Bad(posted(coded + told, b"0\r\n\r\n"))
    yield "named in Connection", Bad(posted(b"Connection: Content-Length\r\n" + LENGTH + CHUNKED, b"0\r\n\r\n"))
    yield (
        "the coding named in Connection",
        Bad(posted(b"Connection: Transfer-Encoding\r\n" + LENGTH + CHUNKED, b"0\r\n\r\n")),
    )


def coding_on_http_1_0() -> Made:
    for more in (b"", b"Connection: keep-alive\r\n", LENGTH, b"Connection: close\r\n"):
        for method in (b"GET", b"POST"):
            fields = HOST + more + CHUNKED
            yield f"{method.decode()}, {shown(more)}", Bad(head(method + b" /bad HTTP/1.0", fields) + b"0\r\n\r\n")


def body_behind_trace() -> Made:
    yield "of a length", Bad(head(b"TRACE /bad HTTP/1.1", HOST + LENGTH) + b"abc")
    yield "in chunks", Bad(head(b"TRACE /bad HTTP/1.1", HOST + CHUNKED) + b"0\r\n\r\n")


# Chunks.


def chunked(body: bytes) -> Bad:
    return Bad(posted(CHUNKED, body), begun=True)


def chunk_size() -> Made:
    for size in BAD_SIZES:
        yield shown(size), chunked(size + b"\r\na\r\n0\r\n\r\n")
        yield f"{shown(size)} of a second chunk", chunked(b"1\r\na\r\n" + size + b"\r\na\r\n0\r\n\r\n")


def chunk_extension() -> Made:
    for extension in BAD_EXTENSIONS:
        yield shown(extension), chunked(b"1" + extension + b"\r\na\r\n0\r\n\r\n")
        yield f"{shown(extension)} of the last chunk", chunked(b"1\r\na\r\n0" + extension + b"\r\n\r\n")
    yield (
        "too many",
        chunked(b"1;" + b"x" * 200 + b"\r\n" + (b"a\r\n1;" + b"x" * 200 + b"\r\n") * 90 + b"a\r\n0\r\n\r\n"),
    )


def chunk_end() -> Made:
    for name, end in {
        **LINE_ENDS,
        "nothing": b"",
        "a byte too many": b"a\r\n",
        "two": b"\r\n\r\n",
        "NUL": b"\x00\r\n",
    }.items():
        yield f"{name} behind the data", chunked(b"3\r\nabc" + end + b"0\r\n\r\n")
    for name, end in LINE_ENDS.items():
        yield f"{name} behind a size", chunked(b"3" + end + b"abc\r\n0\r\n\r\n")
        yield f"{name} in an extension", chunked(b"3;a" + end + b"b\r\nabc\r\n0\r\n\r\n")
        yield f"{name} behind the last size", chunked(b"3\r\nabc\r\n0" + end + b"\r\n")
        yield f"{name} behind a trailer", chunked(b"0\r\nA: b" + end + b"\r\n")
    yield "data that is too short", chunked(b"9\r\nabc\r\n0\r\n\r\n")
    for name, end in {"LF": b"\n", "CR LF CR CR": b"\r\r", "space": b" \r\n", "a size": b"1\r\na\r\n0\r\n\r\n"}.items():
        yield f"{name} for the last line", chunked(b"0\r\n" + end)


def trailer_that_is_no_field() -> Made:
    for line in BROKEN_FIELDS:
        yield shown(line), chunked(b"1\r\na\r\n0\r\n" + line + b"\r\n\r\n")
        yield f"{shown(line)} behind a right one", chunked(b"1\r\na\r\n0\r\nX: y\r\n" + line + b"\r\n\r\n")


def trailer_that_decides() -> Made:
    for line in NOT_TRAILERS:
        yield shown(line), chunked(b"1\r\na\r\n0\r\nX: y\r\n" + line + b"\r\n\r\n")


def trailers_beyond_limits() -> Made:
    yield "a long one", chunked(b"0\r\nA: " + b"x" * 9000 + b"\r\n\r\n")
    yield "many", chunked(b"0\r\n" + b"A: b\r\n" * 2000 + b"\r\n")


RULES = (
    *(length_that_is_no_number, several_lengths, coding_that_is_not_one_chunked, several_codings, length_and_coding),
    *(coding_on_http_1_0, body_behind_trace, chunk_size, chunk_extension, chunk_end, trailer_that_is_no_field),
    *(trailer_that_decides, trailers_beyond_limits),
)
