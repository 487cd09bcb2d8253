"""Requests that are unusual and right, with what their origin must see."""

from __future__ import annotations

from collections.abc import Iterator

from asyncproxy.polling.http1 import METHODS
from tests.wire.corpus import CHUNKINGS, SMUGGLED, TCHARS, RightRequest, made, shown, slug

HOST = b"Host: a.test\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
Made = Iterator[tuple[str, RightRequest]]
PLAIN = bytes(byte for byte in range(0x21, 0x7F) if byte not in b"#%?/.;\\")
"""Visible bytes that mean nothing of their own in a path."""


def head(target: bytes, fields: bytes = HOST, method: bytes = b"GET", version: bytes = b"1.1") -> bytes:
    return method + b" " + target + b" HTTP/" + version + b"\r\n" + fields + b"\r\n"


def method() -> Made:
    for name in sorted(METHODS):
        if name not in (b"CONNECT", b"TRACE", b"HEAD", b"OPTIONS"):
            target = slug(f"method {name!r}")
            yield name.decode(), RightRequest(head(target, method=name), target, name)


def byte_in_the_target() -> Made:
    for byte in PLAIN:
        path = b"/byte" + bytes([byte]) + b"%02x" % byte
        yield f"{shown(bytes([byte]))} in the path", RightRequest(head(path), path)
        query = b"/byte%02x?" % byte + bytes([byte]) + b"=" + bytes([byte])
        yield f"{shown(bytes([byte]))} in the query", RightRequest(head(query), query)


def form_of_the_target() -> Made:
    for target in (
        *(
            b"/",
            b"//",
            b"/?",
            b"/?a=b?c=d",
            b"/a//b",
            b"/a/",
            b"/%41%42",
            b"/%e2%82%ac",
            b"/%2F",
            b"/a;b=c;d",
            b"/a/./b",
        ),
        *(
            b"/a/../b",
            b"/.a",
            b"/a..b",
            b"/...",
            b"/~a",
            b"/a?b/../c",
            b"/?%zz",
            b"/a?http://b/",
            b"/http://b/",
            b"/a:80",
        ),
        *(b"/%ff", b"/a%20b", b"/a+b", b"/@a", b"/*", b"/a?" + b"x" * 4000, b"/" + b"y" * 4000, b"/a=b&c=d,e'f(g)!*$"),
    ):
        marked = target + (b"&form" if b"?" in target else b"?form")
        yield shown(target), RightRequest(head(marked), marked)


def absolute_form() -> Made:
    for target, seen, authority in (
        (b"http://b.test/abs1", b"/abs1", b"b.test"),
        (b"http://b.test:81/abs2?c", b"/abs2?c", b"b.test:81"),
        (b"HTTP://b.test/abs3", b"/abs3", b"b.test"),
        (b"https://b.test/abs4", b"/abs4", b"b.test"),
        (b"http://b.test?abs5", b"/?abs5", b"b.test"),
        (b"http://[::1]:80/abs6", b"/abs6", b"[::1]:80"),
        (b"http://b.test/abs7/http://c.test/", b"/abs7/http://c.test/", b"b.test"),
        (b"http://b.test//abs8", b"//abs8", b"b.test"),
        (b"http://1.2.3.4/abs9", b"/abs9", b"1.2.3.4"),
        (b"http://b.test:/abs10", b"/abs10", b"b.test:"),
        (b"http://B.Test./abs11", b"/abs11", b"B.Test."),
        (b"http://b.test/abs12?u=http://c.test/?d", b"/abs12?u=http://c.test/?d", b"b.test"),
    ):
        fields = HOST + b"X-A: b\r\n"
        yield shown(target), RightRequest(head(target, fields), seen, host=authority, fields=[(b"X-A", b"b")])
        yield (
            f"{shown(target)} on 1.0",
            RightRequest(head(target + b"-old", b"", version=b"1.0"), seen + b"-old", host=authority),
        )


def host() -> Made:
    for value in (
        *(
            b"a",
            b"a.test:80",
            b"a.test:",
            b"a.test.",
            b"1.2.3.4:8080",
            b"[::1]",
            b"[2001:db8::1]:80",
            b"[::ffff:1.2.3.4]",
        ),
        *(
            b"A.TEST",
            b"xn--bcher-kva.test",
            b"a_b.test",
            b"a-b",
            b"%41.test",
            b"a.test:00080",
            b"a.test:65535",
            b"a,b",
            b"a;b=c",
        ),
    ):
        target = slug(f"host {value!r}")
        yield shown(value), RightRequest(head(target, b"Host: " + value + b"\r\n"), target, host=value)
    for name in (b"host", b"HOST", b"hOsT"):
        for space in (b"", b"\t", b" \t "):
            target = slug(f"host {name!r} {space!r}")
            sent = head(target, name + b":" + space + b"c.test" + space + b"\r\n")
            yield f"{name.decode()} with {shown(space)}", RightRequest(sent, target, host=b"c.test")


def name_of_a_field() -> Made:
    for byte in TCHARS:
        name, target = b"X" + bytes([byte]) + b"Y", slug(f"name {byte}")
        sent = head(target, HOST + name + b": v\r\n")
        yield shown(name), RightRequest(sent, target, fields=[(name, b"v")])
    for name in (
        b"A",
        b"1",
        b"!",
        b"X-" + b"n" * 500,
        b"Connections",
        b"Hosts",
        b"tea",
        b"X_Under_Score",
        b"Content-Lengths",
    ):
        target = slug(f"name {name!r}")
        yield shown(name), RightRequest(head(target, HOST + name + b":v\r\n"), target, fields=[(name, b"v")])


def value_of_a_field() -> Made:
    for value in (
        *(
            b"",
            b"a",
            b"a b",
            b"a\tb",
            b"a  \t b",
            b"\xe9",
            b"\x80\xff",
            b"\xc3\xa9",
            b":",
            b"a: b",
            b'"a, b"',
            b"(c)",
            b"x" * 8000,
        ),
        *(b"a;b=c, d", b"HTTP/1.1 200 OK", b"GET / HTTP/1.1", b"%0d%0aA: b", b"\\r\\n", b"{}", b"0", b"chunked"),
    ):
        for space, after in ((b"", b""), (b" ", b""), (b"\t  ", b" \t")):
            target = slug(f"value {value!r} {space!r}")
            sent = head(target, HOST + b"X-V:" + space + value + after + b"\r\nX-W: w\r\n")
            seen = [(b"X-V", value), (b"X-W", b"w")]
            yield f"{shown(value)} behind {shown(space)}", RightRequest(sent, target, fields=seen)


def fields_in_order() -> Made:
    many = [(b"X-%d" % (number % 7), b"%d" % number) for number in range(60)]
    sent = b"".join(b"%b: %b\r\n" % pair for pair in many)
    yield "sixty", RightRequest(head(b"/sixty", HOST + sent), b"/sixty", fields=many)
    yield "before Host", RightRequest(head(b"/before", b"X-A: b\r\n" + HOST), b"/before", fields=[(b"X-A", b"b")])
    twice = [(b"X-A", b"1"), (b"x-a", b"2"), (b"X-A", b"1")]
    sent = b"X-A: 1\r\nx-a: 2\r\nX-A: 1\r\n"
    yield "of one name", RightRequest(head(b"/twice", HOST + sent), b"/twice", fields=twice)


def field_that_ends_here() -> Made:
    for name in (
        *(b"Keep-Alive", b"Proxy-Connection", b"Proxy-Authorization", b"Proxy-Foo", b"HTTP2-Settings", b"keep_alive"),
        *(
            b"Transfer_Encoding",
            b"Content_Length",
            b"CONTENT_LENGTH",
            b"proxy_authorization",
            b"Http2_Settings",
            b"KEEP-ALIVE",
        ),
    ):
        target = slug(f"ends {name!r}")
        sent = head(target, HOST + b"X-A: b\r\n" + name + b": chunked\r\nX-C: d\r\n")
        seen = [(b"X-A", b"b"), (b"X-C", b"d")]
        yield name.decode(), RightRequest(sent, target, fields=seen, absent=(name.lower(),))


def named_in_connection() -> Made:
    for options in (
        b"x-a",
        b"close, X-A",
        b"X-A,close",
        b"keep-alive,\tx-A ",
        b",,x-a,",
        b"x-b, x-a",
        b'x-a, "q"',
        b"x-a\r\nConnection: close",
    ):
        target = slug(f"named {options!r}")
        sent = head(target, HOST + b"Connection: " + options + b"\r\nX-A: 1\r\nX-C: d\r\nx-a: 2\r\n")
        yield shown(options), RightRequest(sent, target, fields=[(b"X-C", b"d")], absent=(b"x-a",))
    for name in (b"Cookie", b"Authorization", b"Via", b"Accept"):
        target = slug(f"named {name!r}")
        sent = head(target, HOST + b"Connection: " + name + b"\r\n" + name + b": secret\r\n")
        yield name.decode(), RightRequest(sent, target, absent=(name.lower(),) if name != b"Via" else ())
    yield "Host", RightRequest(head(b"/named-host", HOST + b"Connection: Host\r\n"), b"/named-host")
    sent = head(b"/named-length", HOST + b"Connection: content-length\r\nContent-Length: 3\r\n", b"POST") + b"abc"
    yield "Content-Length", RightRequest(sent, b"/named-length", b"POST", body=b"abc")
    sent = (
        head(b"/named-coding", HOST + b"Connection: transfer-encoding\r\n" + CHUNKED, b"POST")
        + b"3\r\nabc\r\n0\r\n\r\n"
    )
    yield "Transfer-Encoding", RightRequest(sent, b"/named-coding", b"POST", body=b"abc")


def length() -> Made:
    for value, body in (
        *(
            (b"0", b""),
            (b"3", b"abc"),
            (b"003", b"abc"),
            (b"3 ", b"abc"),
            (b"\t3", b"abc"),
            (b"00", b""),
            (b"010", b"0123456789"),
        ),
        *((b"6", b"\r\n\r\n\r\n"), (b"%d" % len(SMUGGLED), SMUGGLED), (b"4", b"\x00\xff\r\n")),
    ):
        for method in (b"POST", b"GET", b"DELETE"):
            target = slug(f"length {value!r} {body!r} {method!r}")
            sent = head(target, HOST + b"content-LENGTH: " + value + b"\r\nX-A: b\r\n", method) + body
            yield (
                f"{shown(value)} of {method.decode()}",
                RightRequest(sent, target, method, body=body, fields=[(b"X-A", b"b")]),
            )


def coding() -> Made:
    for value in (b"chunked", b"Chunked", b"CHUNKED", b"cHuNkEd", b" chunked ", b"\tchunked\t"):
        for method in (b"POST", b"GET"):
            target = slug(f"coding {value!r} {method!r}")
            sent = head(target, HOST + b"transfer-encoding:" + value + b"\r\n", method) + b"3\r\nabc\r\n0\r\n\r\n"
            yield f"{shown(value)} of {method.decode()}", RightRequest(sent, target, method, body=b"abc")


def chunks() -> Made:
    for name, (wire, body) in CHUNKINGS.items():
        target = slug(f"chunks {name}")
        yield name, RightRequest(head(target, HOST + CHUNKED, b"POST") + wire, target, b"POST", body=body)


def trailers() -> Made:
    for lines, seen in (
        (b"X-Sum: 1\r\n", [(b"X-Sum", b"1")]),
        (b"X-Sum:1\r\nX-Sum: \t2 \r\nX-Empty:\r\n", [(b"X-Sum", b"1"), (b"X-Sum", b"2"), (b"X-Empty", b"")]),
        (b"Expires: 0\r\nX-A: b\r\nRange: bytes=0-\r\nIf-Match: x\r\n", [(b"X-A", b"b")]),
    ):
        target = slug(f"trailers {lines!r}")
        sent = head(target, HOST + CHUNKED, b"POST") + b"3\r\nabc\r\n0\r\n" + lines + b"\r\n"
        yield shown(lines), RightRequest(sent, target, b"POST", body=b"abc", trailers=seen)


def empty_lines_before() -> Made:
    for count in (1, 2, 10, 100):
        target = b"/empty%d" % count
        yield str(count), RightRequest(b"\r\n" * count + head(target), target)


def http_1_0() -> Made:
    yield "without Host", RightRequest(head(b"/old1", b"", version=b"1.0"), b"/old1", host=b"")
    yield "with Host", RightRequest(head(b"/old2", version=b"1.0"), b"/old2")
    sent = head(b"/old3", HOST + b"Connection: keep-alive\r\n", version=b"1.0")
    yield "kept alive", RightRequest(sent, b"/old3", absent=(b"keep-alive",))
    sent = head(b"/old4", HOST + b"Content-Length: 3\r\n", b"POST", b"1.0") + b"abc"
    yield "with a body", RightRequest(sent, b"/old4", b"POST", body=b"abc")


CASES = made(
    *(
        method,
        byte_in_the_target,
        form_of_the_target,
        absolute_form,
        host,
        name_of_a_field,
        value_of_a_field,
        fields_in_order,
    ),
    *(field_that_ends_here, named_in_connection, length, coding, chunks, trailers, empty_lines_before, http_1_0),
)
