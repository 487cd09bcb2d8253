"""One input played through the real flow on transports in memory, and judged by parsers that share no code with it.

The first byte of an input says how the rest comes; the rest is what a client, or an upstream, sends. `play` raises
`Finding` for what must never be: something that is no HTTP/1.1, a request that a careful receiver does not see, a
second one after a refusal, an answer of 500, an exception, anything left over.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from twisted.logger import ILogObserver, globalLogPublisher

from asyncproxy.configuration import load
from asyncproxy.service import bind
from asyncproxy.testing import Clock, FakeClient
from asyncproxy.testing.house import House
from tests import receiver, strict

SERVER_SIDE, HANGS_UP, CUTS, METHODS = 0x01, 0x02, 0x0C, 0x30
"""What the bits of the first byte say."""
ASKED = (b"GET", b"HEAD", b"POST", b"UPGRADE")
"""How the request is made that an upstream answers; the last is a GET that offers another protocol."""
OK = b"HTTP/1.1 299 Fine\r\nContent-Length: 0\r\n\r\n"
"""Of a status that the proxy never gives by itself."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


_SETTINGS = load({"server": {"listen": "tcp:0"}, "route": [{"module": "reverse", "upstream": "http://127.0.0.1:9000"}]})
_BINDINGS = [bind(_SETTINGS.route[0])]


def _house() -> House:
    return House(_SETTINGS, _BINDINGS, clock=Clock(), wheel=Clock())


class Finding(AssertionError):
    """What must never be."""


def require(holds: bool, what: str) -> None:
    if not holds:
        raise Finding(what)


class _Errors(list[dict[str, Any]]):
    """What is logged as an error while an input is played."""

    def __call__(self, event: dict[str, Any]) -> None:
        if event.get("log_level") is not None and event["log_level"].name in ("error", "critical"):
            self.append(event)


def play(data: bytes) -> None:
    """Play `data`. Raises `Finding`, or whatever the proxy raises."""
    if len(data) < 2:
        return
    errors = _Errors()
    observer = cast(ILogObserver, errors)
    globalLogPublisher.addObserver(observer)
    try:
        _play_server(data[0], data[1:]) if data[0] & SERVER_SIDE else _play_client(data[0], data[1:])
    except strict.Malformed as why:
        raise Finding(f"what was sent is no HTTP/1.1: {why}") from None
    finally:
        globalLogPublisher.removeObserver(observer)
    require(not errors, f"it was logged as an error: {errors}")


def pieces(data: bytes, way: int) -> Iterator[bytes]:
    """`data` whole, in two, at line ends, or byte by byte."""
    if way == 1:
        yield data[: len(data) // 2]
        yield data[len(data) // 2 :]
    elif way == 2:
        yield from data.splitlines(keepends=True)
    elif way == 3 and len(data) < 600:
        for byte in data:
            yield bytes([byte])
    else:
        yield data


class _Origin:
    """Answers what has come whole over each connection of `house`, and keeps it."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.requests: list[strict.Request] = []
        self._answered: dict[int, int] = {}
        self._continued: set[tuple[int, int]] = set()

    def step(self) -> None:
        self.house.settle()
        for number, server in enumerate(self.house.network.asked):
            if server.closed or not server.received:
                continue
            found, rest = strict.read_requests(server.received)
            for request in found[self._answered.get(number, 0) :]:
                self._answered[number] = self._answered.get(number, 0) + 1
                self.requests.append(request)
                server.answer(OK)
                self.house.settle()
            expects = b"\r\n\r\n" in rest and b"100-continue" in rest.partition(b"\r\n\r\n")[0].lower()
            if expects and (number, len(found)) not in self._continued:
                self._continued.add((number, len(found)))
                server.answer(CONTINUE)
                self.house.settle()


def _play_client(how: int, data: bytes) -> None:
    house = _house()
    origin, client = _Origin(house), house.connect()
    for piece in filter(None, pieces(data, (how & CUTS) >> 2)):
        client.send(piece)
        origin.step()
    for _ in range(8):
        origin.step()
    seen = receiver.read_requests(data)
    _judge_onward(origin.requests, seen)
    _judge_answers(client.received, len(origin.requests), seen)
    _leave(house, client)
    for server in house.network.asked:
        _judge_onward(strict.read_requests(server.received)[0], seen)


def _leave(house: House, client: FakeClient) -> None:
    """The client leaves, and with it all that was kept for it."""
    client.leave()
    house.settle()
    left = {
        "exchanges": house.flow.exchanges,
        "clean-ups": house.flow.clean_ups,
        "parks": house.lot.parked,
        "timers": house.clock.getDelayedCalls(),
        "connections": house.door.connections,
    }
    require(not any(left.values()), f"left behind: {[name for name, what in left.items() if what]}")


def _judge_onward(requests: list[strict.Request], seen: receiver.Read) -> None:
    """Each request that went on is one that was sent, in order, unchanged in what it means."""
    left = iter(seen.messages)
    for request in requests:
        for sent in left:
            assert isinstance(sent, strict.Request)
            if (request.method, request.target) == (sent.method, receiver.onward_target(sent.target)):
                break
        else:
            raise Finding(f"{request.first!r} went on, and a careful receiver does not see it ({seen.end}: {seen.why})")
        require(request.body == sent.body, f"{request.first!r}: the body is {request.body!r}, not {sent.body!r}")
        strange = [field for field in request.trailers if field not in sent.trailers]
        require(not strange, f"{request.first!r}: trailers {strange} that nobody sent")
        there, wanted = receiver.end_to_end(request), receiver.end_to_end(sent)
        require(there == wanted, f"{request.first!r}: the fields are {there}, not {wanted}")
        hosts = sent.all("host")
        if hosts and sent.target[:1] in b"/*":
            require(request.all("host") == hosts, f"Host is {request.all('host')}, not {hosts}")


def _judge_answers(received: bytes, forwarded: int, seen: receiver.Read) -> None:
    """The client got an answer to each request that went on, and at most one refusal, behind which there is nothing."""
    # An answer of ours to HEAD has no body; it is a refusal, and so the last: it counts as one that is not whole.
    replies, _ = strict.read_replies(received, ["GET"] * (len(seen.messages) + 2), closed=False)
    statuses = [reply.status for reply in replies if reply.status >= 200]
    require(500 not in statuses, "it was answered with a 500")
    require(len(statuses) <= len(seen.messages) + 1, f"{len(statuses)} answers to {len(seen.messages)} requests")
    require(statuses.count(299) == forwarded, f"{statuses} to {forwarded} requests that went on")
    closing = [reply for reply in replies if reply.all("connection") == [b"close"]]
    require(not closing or closing == replies[-1:], "an answer behind one that ends the connection")


def _play_server(how: int, data: bytes) -> None:
    house = _house()
    asked = ASKED[(how & METHODS) >> 4]
    method = b"GET" if asked == b"UPGRADE" else asked
    client = house.connect()
    client.send(_request(asked))
    house.settle()
    server = house.network.asked[0]
    for piece in filter(None, pieces(data, (how & CUTS) >> 2)):
        if server.closed or b"GET /b" in server.received:
            break  # what comes now would be the answer to the next request
        server.answer(piece)
        house.settle()
    ends = bool(how & HANGS_UP)
    if ends:
        server.hang_up()
    house.settle()
    for other in house.network.asked:
        requests = strict.read_requests(other.received)[0]
        if requests and requests[-1].target == b"/b" and not other.closed:
            other.answer(OK)
            house.settle()
    sent = receiver.read_reply(data, method, closed=ends)
    if _has_switched(client.received):
        require(asked == b"UPGRADE" and sent.why == receiver.UPGRADE, "it switches, which nobody asked for")
        require(data.endswith(_tunnelled(client.received)), "bytes in the tunnel that nobody sent")
        server.hang_up()  # its own end of the tunnel, which outlives the other
    else:
        _judge_reply(client.received, method, sent, closed=client.closed)
    _leave(house, client)


def _request(asked: bytes) -> bytes:
    """A request for an upstream to answer, and another behind it; nothing behind one that may switch."""
    if asked == b"UPGRADE":
        return b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket, x/1\r\n\r\n"
    body = b"Content-Length: 3\r\n\r\nabc" if asked == b"POST" else b"\r\n"
    return asked + b" /a HTTP/1.1\r\nHost: a\r\n" + body + b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n"


def _has_switched(received: bytes) -> bool:
    while received.startswith(b"HTTP/1.1 1"):
        if received.startswith(b"HTTP/1.1 101"):
            return True
        received = received.partition(b"\r\n\r\n")[2]
    return False


def _tunnelled(received: bytes) -> bytes:
    return received[received.index(b"HTTP/1.1 101") :].partition(b"\r\n\r\n")[2]


def _judge_reply(received: bytes, method: bytes, sent: receiver.Read, *, closed: bool) -> None:
    """The client got what its upstream has sent, a 502, or nothing whole; and nothing of it for its next request."""
    replies, rest = strict.read_replies(received, [method.decode(), "GET"], closed=closed)
    final = [reply for reply in replies if reply.status >= 200]
    if not final:
        return
    first = final[0]
    whole = sent.end == "whole"
    if first.status != 502 or (whole and sent.messages[-1].status == 502):  # type: ignore[attr-defined]
        require(whole, f"{first.first!r} was passed on, and a careful receiver sees {sent.end}: {sent.why}")
        wanted = sent.messages[-1]
        assert isinstance(wanted, strict.Reply)
        require(first.status == wanted.status, f"{first.status}, not {wanted.status}")
        require(first.body == wanted.body, f"the body is {first.body!r}, not {wanted.body!r}")
        there, fields = receiver.end_to_end(first), receiver.end_to_end(wanted)
        require(there == fields, f"the fields are {there}, not {fields}")
    require(
        all(reply.status == 299 for reply in final[1:]),
        f"the next request was answered by one of {[one.first for one in final]}",
    )
    require(rest == b"" or closed, f"bytes behind the answers: {rest!r}")
