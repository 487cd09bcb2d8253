"""Requests that break one rule each (RFC 9112 sections 2 to 5, RFC 9110 sections 5 and 7); with `bad_framing`."""

from __future__ import annotations

from tests.wire.corpus import (
    BROKEN_FIELDS,
    CONTROLS,
    DELIMITERS,
    LINE_ENDS,
    Bad,
    made,
    placed,
    shown,
)
from tests.wire.corpus.bad_framing import CHUNKED, HOST, LENGTH, RULES, Made, head, posted

# The request line.


def separator() -> Made:
    kinds = [b"  ", b"\t", b" \t", b"\t ", b"\x0b", b"\x0c", b"\x00", b"\xa0", b"", b"\r", b"   ", b"%20", b"+"]
    for kind in kinds:
        yield f"{shown(kind)} before the target", Bad(head(b"GET" + kind + b"/bad HTTP/1.1"))
        yield f"{shown(kind)} before the version", Bad(head(b"GET /bad" + kind + b"HTTP/1.1"))


def white_space_around_the_line() -> Made:
    for kind in (b" ", b"\t", b"\x0b", b"\x00", b"\x0c", b"\xef\xbb\xbf", b"\xa0"):
        yield f"{shown(kind)} before", Bad(head(kind + b"GET /bad HTTP/1.1"))
        yield f"{shown(kind)} behind", Bad(head(b"GET /bad HTTP/1.1" + kind))


def method_that_is_no_token() -> Made:
    for byte in DELIMITERS + b":" + b"\x00\x01\x1b\x7f\x80\xff":
        for place, text in placed(byte, ["first", "inside"]):
            yield place, Bad(head(text + b" /bad HTTP/1.1"))


def method_that_is_unknown() -> Made:
    for method in (
        b"BREW",
        b"get",
        b"Get",
        b"GETT",
        b"G",
        b"gET",
        b"FOO!",
        b"X" * 60,
        b"GET-",
        b"_GET",
        b"PRI",
        b"HTTP",
    ):
        yield shown(method), Bad(head(method + b" /bad HTTP/1.1"), (501,))
    for target in (b"a.test:443", b"a.test", b"http://a.test/"):
        yield f"CONNECT {shown(target)}", Bad(head(b"CONNECT " + target + b" HTTP/1.1"), (501,))
    yield "CONNECT of a path", Bad(head(b"CONNECT /bad HTTP/1.1"))


def byte_in_the_target() -> Made:
    for byte in (*range(0x21), 0x7F, *b"#", 0x80, 0xA0, 0xE9, 0xFF):
        one = bytes([byte])
        yield f"{shown(one)} in the path", Bad(head(b"GET /b" + one + b"ad HTTP/1.1"))
        yield f"{shown(one)} in the query", Bad(head(b"GET /bad?a=" + one + b"b HTTP/1.1"))
    for text in (b"\xc3\xa9", b"\xe2\x80\xae", b"\xc0\xaf", b"\xf0\x9f\x92\xa9"):
        yield shown(text), Bad(head(b"GET /" + text + b" HTTP/1.1"))
    yield "a fragment behind an absolute form", Bad(head(b"GET http://a.test/bad#x HTTP/1.1"))


def form_of_the_target() -> Made:
    for target in (
        *(
            b"bad",
            b"bad/b",
            b"?x",
            b"*",
            b"**",
            b"*a",
            b"a.test:80",
            b"http:/a.test",
            b"http//a.test/",
            b"ftp://a.test/",
        ),
        *(b"http://", b"http:///bad", b"http://:80/", b"http://u@a.test/", b"http://u:p@a.test/", b"http://a:x/"),
        *(
            b"http://a:99999/",
            b"http://[::1/",
            b"http://[::g]/",
            b"http://[]/",
            b"http://a\\b/",
            b"http://a<b/",
            b"://a/",
        ),
        *(
            b"https:a",
            b"file:///etc/passwd",
            b"http://a%zz/",
            b"http://a:80:80/",
            b"ws://a/",
            b"gopher://a/",
            b"@a",
            b"\\bad",
        ),
        *(
            b"/bad%",
            b"/bad%z",
            b"/bad%zz",
            b"/bad%0",
            b"/bad%00",
            b"/../bad",
            b"/a/../../bad",
            b"/a//../bad",
            b"/a/..;x/bad",
        ),
        *(b"/%2e%2e/bad", b"/a/%2e%2e/%2e%2e/bad", b"/%", b"/.%2e/.."),
    ):
        yield shown(target), Bad(head(b"GET " + target + b" HTTP/1.1"))


def version() -> Made:
    for spoken in (b"HTTP/0.9", b"HTTP/1.2", b"HTTP/1.9", b"HTTP/2.0", b"HTTP/3.0", b"HTTP/2", b"HTTP/3", b"HTTP/11.1"):
        yield shown(spoken), Bad(head(b"GET /bad " + spoken), (505,))
    for strange in (b"HTTP/1.10", b"HTTP/01.1", b"HTTP/1", b"HTTP/1.01", b"HTTP/0.1", b"HTTP/9.9", b"HTTP/1.11"):
        yield shown(strange), Bad(head(b"GET /bad " + strange), (400, 505))
    for wrong in (
        *(
            b"http/1.1",
            b"Http/1.1",
            b"HTP/1.1",
            b"HTTP 1.1",
            b"HTTP/1,1",
            b"HTTP/1.1x",
            b"HTTP/-1.1",
            b"HTTP/ 1.1",
            b"HTTP/",
        ),
        *(
            b"HTTP/x.y",
            b"RTSP/1.0",
            b"ICY",
            b"HTTP/1.",
            b"HTTP/.1",
            b"HTTP",
            b"1.1",
            b"HTTP/1.1.1",
            b"XHTTP/1.1",
            b"HTTPS/1.1",
        ),
        *(b"HTTP\\1.1", b"HTTP/1.1;a", b"HTTP/\xef\xbc\x91.1", b"HTTP/+1.1", b"HTTP/0x1.1", b"HTTP//1.1", b"SIP/2.0"),
    ):
        yield shown(wrong), Bad(head(b"GET /bad " + wrong))


def simple_request() -> Made:
    for line in (
        b"GET /bad\r\n",
        b"GET\r\n",
        b"GET \r\n",
        b"/bad\r\n",
        b"GET /bad \r\n",
        b"GET /bad\n",
        b"\x00\r\n",
        b"a: b\r\n",
    ):
        yield shown(line), Bad(line)
    for line in (
        b"GET /bad",
        b"GET",
        b"",
        b"/bad HTTP/1.1",
        b"GET HTTP/1.1",
        b"HTTP/1.1 200 OK",
        b"GET /bad HTTP/1.1 x",
    ):
        yield f"{shown(line)} with fields", Bad(head(line) if line else b"\r\n" + HOST + b"\r\n")


def other_protocol() -> Made:
    for name, data, status in (
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n", 400),
        ("SMTP", b"EHLO a.test\r\n", 400),
        ("PROXY", b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n", 400),
        ("PROXY 2", b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + b"\x01" * 12, 400),
        ("SOCKS", b"\x05\x01\x00", 400),
        ("memcached", b"get a\r\n", 400),
        ("redis", b"*1\r\n$4\r\nPING\r\n", 400),
    ):
        yield name, Bad(data, (status,))


# Lines.


def end_of_a_line() -> Made:
    for name, end in LINE_ENDS.items():
        yield f"{name} behind the request line", Bad(b"GET /bad HTTP/1.1" + end + HOST + b"\r\n")
        yield f"{name} behind a field", Bad(b"GET /bad HTTP/1.1\r\nA: b" + end + HOST + b"\r\n")
        yield f"{name} behind the last field", Bad(b"GET /bad HTTP/1.1\r\nHost: a.test" + end + b"\r\n")
        yield f"{name} for the empty line", Bad(b"GET /bad HTTP/1.1\r\n" + HOST + end)
        yield f"{name} before the request line", Bad(end + head())
        yield f"{name} behind every line", Bad(head().replace(b"\r\n", end))


def folded_field() -> Made:
    for space in (b" ", b"\t", b"   ", b" \t"):
        for name, before in (
            ("the request line", b""),
            ("Host", HOST),
            ("a length", HOST + LENGTH),
            ("a coding", HOST + CHUNKED),
            ("a field", HOST + b"A: b\r\n"),
        ):
            yield (
                f"{shown(space)} behind {name}",
                Bad(head(b"POST /bad HTTP/1.1", before + space + b"c: d\r\n") + b"abc"),
            )
    yield "a folded coding", Bad(posted(b"Transfer-Encoding:\r\n chunked\r\n"))
    yield "a folded length", Bad(posted(b"Content-Length:\r\n 3\r\n"))
    yield "a folded Host", Bad(head(fields=b"Host:\r\n a.test\r\n"))
    yield "an empty fold", Bad(head(fields=HOST + b"A: b\r\n \r\n"))


# Fields.


def name_that_is_no_token() -> Made:
    for byte in DELIMITERS + b"\x00\x01\x0b\x1b\x7f\x80\xe9\xff":
        for place, text in placed(byte, ["first", "inside", "last"]):
            yield place, Bad(head(fields=HOST + text + b": c\r\n"))


def space_before_the_colon() -> Made:
    for space in (b" ", b"\t", b"  ", b"\x0b", b"\xa0"):
        for name, value in (
            (b"A", b"b"),
            (b"Host", b"a.test"),
            (b"Content-Length", b"3"),
            (b"Transfer-Encoding", b"chunked"),
        ):
            fields = (b"" if name == b"Host" else HOST) + name + space + b": " + value + b"\r\n"
            yield f"{shown(space)} in {name.decode()}", Bad(head(b"POST /bad HTTP/1.1", fields) + b"abc")


def space_in_a_name() -> Made:
    for name in (b"Content Length", b"Transfer Encoding", b"Content- Length", b"Transfer\tEncoding", b"Ho st", b"A B"):
        yield shown(name), Bad(posted(name + b": 3\r\n"))
        yield f"{shown(name)} behind a length", Bad(posted(LENGTH + name + b": 3\r\n"))


def line_that_is_no_field() -> Made:
    for line in BROKEN_FIELDS:
        yield shown(line), Bad(head(fields=HOST + line + b"\r\n"))
        yield f"{shown(line)} first", Bad(head(fields=line + b"\r\n" + HOST))


def control_in_a_value() -> Made:
    for byte in CONTROLS:
        for place, text in placed(byte, ["first", "inside", "last"]):
            yield place, Bad(head(fields=HOST + b"A: " + text + b"\r\n"))


def control_in_a_framing_field() -> Made:
    for byte in (0x00, 0x01, 0x0B, 0x0C, 0x1F, 0x7F):
        one = bytes([byte])
        for name, value in ((b"Content-Length", b"3"), (b"Transfer-Encoding", b"chunked"), (b"Connection", b"close")):
            for place, text in (("before", one + value), ("behind", value + one)):
                yield f"{shown(one)} {place} {name.decode()}", Bad(posted(name + b": " + text + b"\r\n"))
        yield f"{shown(one)} in Host", Bad(head(fields=b"Host: a" + one + b".test\r\n"))


# Where it goes.


def host() -> Made:
    yield "none", Bad(head(fields=b"A: b\r\n"))
    yield "none, and no field", Bad(head(fields=b""))
    yield "none beside an absolute form", Bad(head(b"GET http://a.test/bad HTTP/1.1", b"A: b\r\n"))
    for first, second in ((b"a.test", b"a.test"), (b"a.test", b"b.test"), (b"a.test", b""), (b"", b"a.test")):
        for number in (b"0", b"1"):
            fields = b"Host: " + first + b"\r\nA: b\r\nhOST: " + second + b"\r\n"
            line = b"GET /bad HTTP/1." + number
            yield f"{shown(first)} and {shown(second)} on 1.{number.decode()}", Bad(head(line, fields))
    yield "two beside an absolute form", Bad(head(b"GET http://a.test/bad HTTP/1.1", HOST * 2))


def host_that_is_no_authority() -> Made:
    for value in (
        *(
            b"",
            b" ",
            b"\t",
            b"a b",
            b"a\tb",
            b"a/b",
            b"a/",
            b"a?b",
            b"a#b",
            b"@a",
            b"u@a",
            b"u:p@a",
            b"a:b",
            b"a:-1",
            b"a:+80",
        ),
        *(
            b"a:99999",
            b"a:65536",
            b"a:80:80",
            b"[::1",
            b"::1]",
            b"::1",
            b"[::1]x",
            b"[]",
            b"[::g]",
            b"[1.2.3.4]",
            b"[:::]",
        ),
        *(b"a\\b", b"a<b", b"a>b", b'a"b', b"a^b", b"a`b", b"a{b", b"a}b", b"a|b", b"a%", b"a%2", b"a%gg", b"http://a"),
        *(b"\xe9", b"a\xff", b":80", b":", b"a:0x50", b"[v1.a]", b"[::1]:99999", b"a, b", b"a b:80", b"a[b]"),
    ):
        yield shown(value), Bad(head(fields=b"Host: " + value + b"\r\n"))
    for value in (b"a b", b"u@a", b"a/b", b""):
        yield f"{shown(value)} on 1.0", Bad(head(b"GET /bad HTTP/1.0", b"Host: " + value + b"\r\n"))
        yield (
            f"{shown(value)} beside an absolute form",
            Bad(head(b"GET http://a.test/bad HTTP/1.1", b"Host: " + value + b"\r\n")),
        )


# Limits of the head.


def head_beyond_limits() -> Made:
    yield "a long target", Bad(head(b"GET /" + b"x" * 9000 + b" HTTP/1.1"), (414,))
    yield "a long target without end", Bad(b"GET /" + b"x" * 9000, (414, 400))
    yield "a long field", Bad(head(fields=HOST + b"A: " + b"x" * 70_000 + b"\r\n"), (431,))
    yield "many fields", Bad(head(fields=HOST + b"A: b\r\n" * 12_000), (431,))


CASES = made(
    *(separator, white_space_around_the_line, method_that_is_no_token, method_that_is_unknown, byte_in_the_target),
    *(form_of_the_target, version, simple_request, other_protocol, end_of_a_line, folded_field, name_that_is_no_token),
    *(space_before_the_colon, space_in_a_name, line_that_is_no_field, control_in_a_value, control_in_a_framing_field),
    *(host, host_that_is_no_authority, head_beyond_limits),
    *RULES,
)
