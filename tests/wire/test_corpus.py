"""The whole corpus over real sockets, through one proxy, to an origin that forgives nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests import strict
from tests.wire.corpus import SMUGGLED, bad_replies, bad_requests, right_replies, right_requests
from tests.wire.corpus.judging import (
    judge_bad_reply,
    judge_bad_request,
    judge_right_reply,
    judge_right_request,
)
from tests.wire.proxies import Proxy
from tests.wire.strict_origin import StrictOrigin, at_once, exchange, hello

CLOSE = b"GET /last HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def origin() -> Iterator[StrictOrigin]:
    origin = StrictOrigin()
    yield origin
    origin.stop()


@pytest.fixture(scope="module")
def port(origin: StrictOrigin, make_proxy: Callable[..., Proxy]) -> int:
    rest = f'[upstream.one]\nservers = ["{origin.url}"]\n[[route]]\nmodule = "reverse"\nupstream = "one"\n'
    return make_proxy(rest).port


@pytest.fixture(autouse=True)
def clean(origin: StrictOrigin) -> Iterator[None]:
    origin.forget()
    yield
    assert origin.malformed == []
    assert not [request for request in origin.requests if b"smuggled" in request.target]


def pieces_of(data: bytes, name: str) -> list[bytes]:
    """`data` whole; or of every fifth case cut at each line's end, of others in the middle."""
    way = sum(name.encode()) % 5
    if way == 0 and len(data) < 2000:
        return [line + b"\n" for line in data.split(b"\n")[:-1]] + [data.rpartition(b"\n")[2]]
    return [data[: len(data) // 2], data[len(data) // 2 :]] if way == 1 else [data]


def test_the_corpus_is_as_large_as_it_is_meant_to_be() -> None:
    sizes = [len(module.CASES) for module in (bad_requests, bad_replies, right_requests, right_replies)]
    assert [size >= least for size, least in zip(sizes, (300, 100, 100, 50), strict=True)] == [True] * 4


def test_every_bad_request_is_refused_once_and_its_connection_ends(port: int, origin: StrictOrigin) -> None:
    def judge(name: str) -> None:
        case = bad_requests.CASES[name]
        judge_bad_request(case, exchange(port, pieces_of(case.sent + SMUGGLED, name)))

    assert at_once(bad_requests.CASES, judge) == {}
    assert origin.requests == []


def test_a_bad_request_behind_a_good_one_is_refused_all_the_same(port: int, origin: StrictOrigin) -> None:
    def judge(name: str) -> None:
        case = bad_requests.CASES[name]
        good = b"GET /good HTTP/1.1\r\nHost: a.test\r\n\r\n"
        received = exchange(port, [good * 3 + case.sent + SMUGGLED])
        replies, rest = strict.read_replies(received, ["GET"] * 4, closed=True)
        assert (rest, [reply.status for reply in replies[:-1]]) == (b"", [200] * 3)
        judge_bad_request(case, replies[-1].raw)

    names = [name for number, name in enumerate(bad_requests.CASES) if number % 4 == 0]
    assert at_once(names, judge) == {}
    assert set(origin.by_target()) == {b"/good"}


def test_every_unusual_request_reaches_the_origin_as_it_is_meant(port: int, origin: StrictOrigin) -> None:
    def judge(name: str) -> None:
        case = right_requests.CASES[name]
        stays = b" HTTP/1.0\r\n" not in case.sent or b"keep-alive" in case.sent
        received = exchange(port, [*pieces_of(case.sent, name), CLOSE] if stays else pieces_of(case.sent, name))
        replies, rest = strict.read_replies(received, ["GET"] * 2, closed=True)
        assert (rest, {reply.status for reply in replies}) == (b"", {200})

    assert at_once(right_requests.CASES, judge) == {}
    seen = origin.by_target()

    def judge_seen(name: str) -> None:
        case = right_requests.CASES[name]
        (request,) = [request for request in seen[case.target] if request.method == case.method]
        judge_right_request(case, request)

    assert at_once(right_requests.CASES, judge_seen) == {}


def asked(number: int, method: bytes) -> bytes:
    """A request for reply `number`, and another behind it, which must get its own."""
    return b"%b /reply/%d HTTP/1.1\r\nHost: a.test\r\n\r\n" % (method, number)


def test_every_bad_reply_is_a_502_or_cuts_what_has_begun(port: int, origin: StrictOrigin) -> None:
    cases = list(bad_replies.CASES.values())

    def answer(request: strict.Request) -> tuple[bytes, bool]:
        if request.target == b"/last":
            return hello(request)
        case = cases[int(request.target.rpartition(b"/")[2])]
        return case.sent, case.closes

    origin.answer = answer
    numbers = {name: number for number, name in enumerate(bad_replies.CASES)}

    def judge(name: str) -> None:
        case = bad_replies.CASES[name]
        received = exchange(port, [asked(numbers[name], case.method) + CLOSE])
        last = received.rpartition(b"HTTP/1.1 200 OK\r\n")
        whole = last[2].endswith(b"\r\n\r\nok") and last[0].startswith(b"HTTP/1.1 ") and b" 502 " in last[0]
        judge_bad_reply(case, last[0] if whole else received, closed=True)
        assert whole or case.begun, received[-300:]

    assert at_once(bad_replies.CASES, judge) == {}


def test_every_unusual_reply_reaches_the_client_as_it_is_meant(port: int, origin: StrictOrigin) -> None:
    cases = list(right_replies.CASES.values())

    def answer(request: strict.Request) -> tuple[bytes, bool]:
        if request.target == b"/last":
            return b"HTTP/1.1 299 Last\r\nContent-Length: 0\r\n\r\n", False
        case = cases[int(request.target.rpartition(b"/")[2])]
        return case.sent, case.closes

    origin.answer = answer
    numbers = {name: number for number, name in enumerate(right_replies.CASES)}

    def judge(name: str) -> None:
        case = right_replies.CASES[name]
        received = exchange(port, [asked(numbers[name], case.method) + CLOSE])
        replies, rest = strict.read_replies(received, [case.method.decode(), "GET"], closed=True)
        assert (rest, replies[-1].status) == (b"", 299), received[-300:]
        judge_right_reply(case, b"".join(reply.raw for reply in replies[:-1]), closed=False)

    assert at_once(right_replies.CASES, judge) == {}
