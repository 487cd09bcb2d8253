"""Replies that break one rule each. What strays behind a right reply is among them: it must never be the next one."""

from __future__ import annotations

from collections.abc import Iterator

from tests.wire.corpus import (
    BAD_EXTENSIONS,
    BAD_SIZES,
    BROKEN_FIELDS,
    CONTROLS,
    DELIMITERS,
    LINE_ENDS,
    NOT_CHUNKED,
    NOT_DIGITS,
    NOT_TRAILERS,
    BadReply,
    made,
    placed,
    shown,
)

Made = Iterator[tuple[str, BadReply]]
LENGTH = b"Content-Length: 3\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def reply(line: bytes = b"HTTP/1.1 200 OK", fields: bytes = LENGTH, body: bytes = b"abc") -> bytes:
    return line + b"\r\n" + fields + b"\r\n" + body


def version() -> Made:
    for wrong in (
        *(
            b"HTTP/0.9",
            b"HTTP/1.2",
            b"HTTP/2.0",
            b"HTTP/2",
            b"HTTP/3",
            b"HTTP/11.1",
            b"HTTP/1",
            b"http/1.1",
            b"HTTP1.1",
        ),
        *(
            b"HTTP 1.1",
            b" HTTP/1.1",
            b"\tHTTP/1.1",
            b"HTTP/1.1.1",
            b"HTTP/ 1.1",
            b"HTP/1.1",
            b"ICY",
            b"RTSP/1.0",
            b"",
            b"HTTP/1.10",
        ),
    ):
        yield shown(wrong), BadReply(reply(wrong + b" 200 OK"))


def separator() -> Made:
    for kind in (b"  ", b"\t", b"", b"\x00", b"\xa0", b" \t"):
        yield f"{shown(kind)} before the status", BadReply(reply(b"HTTP/1.1" + kind + b"200 OK"))
    for kind in (b"\t", b"", b"\x00", b"-", b"\xa0"):
        yield f"{shown(kind)} behind the status", BadReply(reply(b"HTTP/1.1 200" + kind + b"OK"))
    yield "nothing behind the status", BadReply(reply(b"HTTP/1.1 200"))


def status() -> Made:
    for digits in (
        *(
            b"",
            b"2",
            b"20",
            b"2000",
            b"000",
            b"099",
            b"600",
            b"999",
            b"abc",
            b"2x0",
            b"-20",
            b"+20",
            b"2.0",
            b"0x2",
            b"1e2",
        ),
        *(b"\xd9\xa2\xd9\xa0\xd9\xa0", b"20O", b" 200"),
    ):
        yield shown(digits), BadReply(reply(b"HTTP/1.1 " + digits + b" OK"))


def control_in_the_reason() -> Made:
    for byte in CONTROLS:
        yield shown(bytes([byte])), BadReply(reply(b"HTTP/1.1 200 O" + bytes([byte]) + b"K"))


def end_of_a_line() -> Made:
    for name, end in LINE_ENDS.items():
        yield f"{name} behind the status line", BadReply(b"HTTP/1.1 200 OK" + end + LENGTH + b"\r\nabc")
        yield f"{name} behind a field", BadReply(b"HTTP/1.1 200 OK\r\nA: b" + end + LENGTH + b"\r\nabc")
        yield f"{name} behind the last field", BadReply(b"HTTP/1.1 200 OK\r\nContent-Length: 3" + end + b"\r\nabc")
        yield f"{name} behind every line", BadReply(reply().replace(b"\r\n", end))
        yield f"{name} before the status line", BadReply(end + reply())
    yield "an empty line before the status line", BadReply(b"\r\n" + reply())


def no_reply() -> Made:
    for name, data in (
        ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n"),
        ("HTML", b"<html>hello</html>\r\n"),
        ("TLS", b"\x15\x03\x01\x00\x02\x02\x50"),
        ("SMTP", b"220 a.test ESMTP\r\n"),
        ("a request", b"GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("NUL", b"\x00" * 20),
        ("HTTP/2", b"\x00\x00\x12\x04\x00\x00\x00\x00\x00"),
    ):
        yield name, BadReply(data)
    for name, data in (
        ("nothing", b""),
        ("half a status line", b"HTTP/1.1 20"),
        ("half a head", b"HTTP/1.1 200 OK\r\nContent-Le"),
        ("a head without its end", b"HTTP/1.1 200 OK\r\n" + LENGTH),
    ):
        yield f"{name}, then the end", BadReply(data, closes=True)


def name_that_is_no_token() -> Made:
    for byte in DELIMITERS + b"\x00\x7f\x80":
        for place, text in placed(byte, ["first", "inside", "last"]):
            yield place, BadReply(reply(fields=LENGTH + text + b": c\r\n"))


def line_that_is_no_field() -> Made:
    for line in (*BROKEN_FIELDS, b"Content-Length : 3", b"Transfer-Encoding\t: chunked", b"Content Length: 3"):
        yield shown(line), BadReply(reply(fields=LENGTH + line + b"\r\n"))
        yield f"{shown(line)} first", BadReply(reply(fields=line + b"\r\n" + LENGTH))


def control_in_a_value() -> Made:
    for byte in CONTROLS:
        yield shown(bytes([byte])), BadReply(reply(fields=LENGTH + b"A: b" + bytes([byte]) + b"c\r\n"))


def length_that_is_no_number() -> Made:
    for value in (b"", b" ", *NOT_DIGITS):
        yield shown(value), BadReply(reply(fields=b"Content-Length: " + value + b"\r\n"))
    for value in (b"+3", b"3, 3", b""):
        yield (
            f"{shown(value)} to HEAD",
            BadReply(reply(fields=b"Content-Length: " + value + b"\r\n", body=b""), method=b"HEAD"),
        )
        yield (
            f"{shown(value)} of a 304",
            BadReply(reply(b"HTTP/1.1 304 Not Modified", b"Content-Length: " + value + b"\r\n", b"")),
        )


def several_lengths() -> Made:
    for first, second in ((b"3", b"3"), (b"3", b"4"), (b"0", b"3"), (b"3", b""), (b"", b"3")):
        fields = b"Content-Length: " + first + b"\r\nA: b\r\ncontent-length: " + second + b"\r\n"
        yield f"{shown(first)} and {shown(second)}", BadReply(reply(fields=fields))


def coding_that_is_not_one_chunked() -> Made:
    for value in (b"", *NOT_CHUNKED):
        yield shown(value), BadReply(reply(fields=b"Transfer-Encoding: " + value + b"\r\n", body=b"0\r\n\r\n"))
    yield "two", BadReply(reply(fields=CHUNKED * 2, body=b"0\r\n\r\n"))
    yield "chunked on 1.0", BadReply(reply(b"HTTP/1.0 200 OK", CHUNKED, b"0\r\n\r\n"))
    yield "chunked of a 204", BadReply(reply(b"HTTP/1.1 204 No Content", CHUNKED, b"0\r\n\r\n"))
    yield "chunked of a 103", BadReply(reply(b"HTTP/1.1 103 Early Hints", CHUNKED, b"") + reply())


def length_and_coding() -> Made:
    for length in (b"0", b"3", b"+3"):
        for coding in (b"chunked", b"Chunked", b"identity"):
            told, coded = b"Content-Length: " + length + b"\r\n", b"Transfer-Encoding: " + coding + b"\r\n"
            yield f"{shown(length)}, then {shown(coding)}", BadReply(reply(fields=told + coded, body=b"0\r\n\r\n"))
            yield f"{shown(coding)}, then {shown(length)}", BadReply(reply(fields=coded + told, body=b"0\r\n\r\n"))
    yield "to HEAD", BadReply(reply(fields=LENGTH + CHUNKED, body=b""), method=b"HEAD")


def informational() -> Made:
    yield (
        "101 that nobody asked for",
        BadReply(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
    )
    yield "101 without a word", BadReply(b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + reply())
    yield "without end", BadReply(b"HTTP/1.1 100 Continue\r\n\r\n" * 40 + reply())
    yield "a malformed one", BadReply(b"HTTP/1.1 103 Early Hints\r\nA : b\r\n\r\n" + reply())
    yield "then a malformed one", BadReply(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nA : b\r\n\r\n")
    yield "then nothing", BadReply(b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n", closes=True)


def head_beyond_limits() -> Made:
    yield "a long field", BadReply(reply(fields=LENGTH + b"A: " + b"x" * 70_000 + b"\r\n"))
    yield "many fields", BadReply(reply(fields=LENGTH + b"A: b\r\n" * 20_000))
    yield "a long reason", BadReply(reply(b"HTTP/1.1 200 " + b"x" * 70_000))
    yield "no end", BadReply(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20_000)


# Broken behind a right head.


def chunked(body: bytes, *, closes: bool = False) -> BadReply:
    return BadReply(reply(fields=CHUNKED, body=body), begun=True, closes=closes)


def chunk_size() -> Made:
    for size in BAD_SIZES:
        yield shown(size), chunked(size + b"\r\na\r\n0\r\n\r\n")
        yield f"{shown(size)} of a second chunk", chunked(b"1\r\na\r\n" + size + b"\r\na\r\n0\r\n\r\n")


def chunk_extension() -> Made:
    for extension in BAD_EXTENSIONS:
        yield shown(extension), chunked(b"1" + extension + b"\r\na\r\n0\r\n\r\n")


def chunk_end() -> Made:
    for name, end in LINE_ENDS.items():
        yield f"{name} behind the data", chunked(b"3\r\nabc" + end + b"0\r\n\r\n")
        yield f"{name} behind a size", chunked(b"3" + end + b"abc\r\n0\r\n\r\n")
        yield f"{name} behind the last size", chunked(b"3\r\nabc\r\n0" + end + b"\r\n")
    yield "data that is too long", chunked(b"3\r\nabcd\r\n0\r\n\r\n")
    yield "data that is too short", chunked(b"9\r\nabc\r\n0\r\n\r\n")


def trailers() -> Made:
    for line in (*BROKEN_FIELDS, *NOT_TRAILERS):
        yield shown(line), chunked(b"1\r\na\r\n0\r\nX: y\r\n" + line + b"\r\n\r\n")
    yield "too long", chunked(b"0\r\nA: " + b"x" * 9000 + b"\r\n\r\n")


def body_that_is_cut() -> Made:
    for body in (
        b"",
        b"3",
        b"3\r\n",
        b"3\r\nab",
        b"3\r\nabc\r\n",
        b"3\r\nabc\r\n0",
        b"3\r\nabc\r\n0\r\n",
        b"3\r\nabc\r\n0\r\nA: b\r\n",
    ):
        yield f"chunks {shown(body)}", chunked(body, closes=True)
    for length in (4, 1000, 10**12):
        told = b"Content-Length: %d\r\n" % length
        yield f"{length} bytes", BadReply(reply(fields=told), closes=True, begun=True)


CASES = made(
    *(version, separator, status, control_in_the_reason, end_of_a_line, no_reply, name_that_is_no_token),
    *(
        line_that_is_no_field,
        control_in_a_value,
        length_that_is_no_number,
        several_lengths,
        coding_that_is_not_one_chunked,
    ),
    *(length_and_coding, informational, head_beyond_limits, chunk_size, chunk_extension, chunk_end, trailers),
    body_that_is_cut,
)
