"""A head that is known is taken exactly as it would be if it were read: every one that a connection may bring."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from asyncproxy.exchange.errors import ClientError
from asyncproxy.exchange.messages import Request
from asyncproxy.exchange.responses import Reply
from asyncproxy.polling.http1 import KnownReply, KnownRequest, parse_reply, parse_request
from tests.fakes import House

SEEN = ("block", "passed", "host_value", "length_value", "keep_alive", "minor", "length")
NOTED = ("hosts", "connection", "transfer", "expect")
LINE_LIMIT = 40

FIELDS = st.sampled_from(
    [
        b"Host: a",
        b"Host: b",
        b"host: a",
        b"Host:a",
        b"Accept: b",
        b"Connection: close",
        b"Connection: keep-alive",
        b"Connection: x-y, accept",
        b"X-Y: z",
        b"Content-Length: 0",
        b"Content-Length: 2",
        b"Transfer-Encoding: chunked",
        b"Expect: 100-continue",
        b"Upgrade: h2c",
        b"X-Request-ID: forged",
    ]
)
METHODS = st.sampled_from([b"GET", b"HEAD", b"POST", b"OPTIONS", b"GETX", b"CONNECT", b""])
TARGETS = st.one_of(
    st.sampled_from(
        [b"/", b"/a", b"//b", b"http://b/c", b"*", b"/?q", b"/a#b", b"/a b", b"/" + b"x" * 60, b"a:1", b""]
    ),
    st.binary(max_size=6).map(lambda data: b"/" + data),
    st.just(b"/ HTTP/1.1\r\nHost: a\r\n\r\nGET /"),
)
HEADS = st.builds(
    lambda method, target, minor, fields: (
        b"%b %b HTTP/1.%d\r\n%b\r\n" % (method, target, minor, b"".join(field + b"\r\n" for field in fields))
    ),
    METHODS,
    TARGETS,
    st.sampled_from([1, 1, 1, 0]),
    st.lists(FIELDS, max_size=3).map(lambda fields: [b"Host: a", *fields]),
)
STATUS_LINES = st.sampled_from([b"200 OK", b"200 ok", b"204 No", b"304 Not", b"100 Go", b"404 No"])
REPLY_FIELDS = st.sampled_from(
    [b"Content-Length: 2", b"Content-Length: 0", b"Content-Length: 02", b"Connection: close", b"X: y", b"Keep-Alive: 5"]
)
REPLIES = st.builds(
    lambda line, minor, fields, body: (
        b"HTTP/1.%d %b\r\n%b\r\n%b" % (minor, line, b"".join(field + b"\r\n" for field in fields), body)
    ),
    STATUS_LINES,
    st.sampled_from([1, 1, 1, 0]),
    st.lists(REPLY_FIELDS, max_size=2),
    st.sampled_from([b"", b"ok", b"no", b"o", b"ok!", b"\r\n", b"okHTTP/1.1 200 OK\r\n\r\n"]),
)


@st.composite
def altered(draw: Any, whole: Any) -> tuple[bytes, bytes]:
    """Two that `whole` draws, of which the second may be the first but for a few bytes."""
    first, second = draw(whole), draw(whole)
    if draw(st.booleans()):
        at, gone = draw(st.integers(0, len(first))), draw(st.integers(0, 2))
        second = first[:at] + draw(st.binary(max_size=3)) + first[at + gone :]
    return first, second


def is_one_head(data: bytes) -> bool:
    """Whether `data` is what a connection takes for one head."""
    return data.find(b"\r\n\r\n") + 4 == len(data) > 4


def seen(message: Request | Reply) -> dict[str, Any]:
    """What counts of a head that was read."""
    return {name: getattr(message, name) for name in SEEN} | {name: getattr(message.noted, name) for name in NOTED}


def read(head: bytes) -> Request | None:
    """`head` as it is read; None if it is refused."""
    try:
        return parse_request(head, LINE_LIMIT)
    except ClientError:
        return None


@given(altered(HEADS))
@example((b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"GET HTTP/1.1\r\nHost: a\r\n\r\n"))
def test_a_request_that_is_known_is_the_one_that_would_be_read(heads: tuple[bytes, bytes]) -> None:
    first, second = heads
    request = read(first) if is_one_head(first) else None
    if request is None or not KnownRequest.repeats(request):
        return
    again = KnownRequest(request).again(second, LINE_LIMIT)
    if again is not None and is_one_head(second):
        by_reading = read(second)
        assert by_reading is not None
        assert seen(again) == seen(by_reading)
        assert (again.method, again.target) == (by_reading.method, by_reading.target)
    assert KnownRequest(request).again(first, LINE_LIMIT) is not None


@given(TARGETS)
def test_a_known_head_takes_a_target_only_if_it_would_be_read(target: bytes) -> None:
    known = KnownRequest(parse_request(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
    head = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target
    again = known.again(head, LINE_LIMIT)
    if again is not None and is_one_head(head):
        by_reading = read(head)
        assert by_reading is not None
        assert again.target == by_reading.target == target


@given(altered(REPLIES))
def test_a_reply_that_is_known_is_the_one_that_would_be_read(replies: tuple[bytes, bytes]) -> None:
    first, second = replies
    end = first.find(b"\r\n\r\n") + 4
    try:
        reply = parse_reply(first[:end], "GET")
    except ValueError:
        return
    if not KnownReply.repeats(reply):
        return
    again = KnownReply(first[:end], reply).again(second)
    if again is not None:
        end = second.find(b"\r\n\r\n") + 4
        by_reading = parse_reply(second[:end], "GET")
        assert seen(again) == seen(by_reading)
        assert again.status == by_reading.status
        assert again.stream == second[end:]
        assert len(again.stream) == by_reading.length


ID = re.compile(rb"(?i)(\r\nx-request-id: [^\r]*-)\d+")


def without_number(wire: bytes) -> bytes:
    """`wire` with the ids of its requests all alike."""
    return ID.sub(rb"\g<1>n", wire)


def without_prefix(house: House, *wires: bytes) -> list[bytes]:
    """`wires` without what `house` begins its requests' ids with, which is as long in each."""
    return [wire.replace(house.flow.prefix.encode(), b"") for wire in wires]


def exchanged(house: House, client: Any, head: bytes, reply: bytes) -> tuple[bytes, bytes]:
    """What goes to the upstream for `head`, and what comes to the client if it sends `reply`."""
    before = {id(one): len(one.received) for one in house.network.asked}
    told = len(client.received)
    client.send(head)
    house.settle()
    asked = b"".join(one.received[before.get(id(one), 0) :] for one in house.network.asked)
    if asked:
        house.upstream().answer(reply)
        house.settle()
    return without_number(asked), without_number(client.received[told:])


REQUESTS = st.one_of(HEADS, st.just(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"))
INTERIM = b"HTTP/1.1 100 Go\r\n\r\n"
ANSWERS = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 No\r\n\r\n",
        b"HTTP/1.1 304 Not\r\nContent-Length: 2\r\n\r\n",
        INTERIM + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
    ]
)


def is_one_message(head: bytes) -> bool:
    """Whether `head` is a request without a body, and no more than that."""
    fields = head.lower()
    return is_one_head(head) and not any(
        word in fields for word in (b"content-length: 2", b"transfer-encoding", b"connection: close", b"http/1.0")
    )


@settings(deadline=None)  # two houses for each request take their time on a busy machine
@given(st.lists(st.tuples(REQUESTS.filter(is_one_message), ANSWERS), min_size=1, max_size=6))
def test_requests_that_share_connections_fare_as_if_each_had_its_own(pairs: list[tuple[bytes, bytes]]) -> None:
    shared = House()
    client = shared.connect()
    for head, reply in pairs:
        if client.closed or client.wire.half_closed:
            break
        alone = House()
        alone.flow.numbers = shared.flow.numbers
        if head[:5] == b"HEAD ":
            reply = reply.removeprefix(INTERIM).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        fresh = exchanged(alone, alone.connect(), head, reply)
        asked, told = exchanged(shared, client, head, reply)
        assert without_prefix(shared, asked, told) == without_prefix(alone, *fresh)
        alone.shut_down()
        alone.settle()
    shared.shut_down()
    shared.settle()
