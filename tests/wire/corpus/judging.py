"""Whether what came of a case is what must come of it; over real sockets, and over connections in memory."""

from __future__ import annotations

from collections.abc import Iterable

from tests import strict
from tests.wire.corpus import Bad, BadReply, Fields, RightReply, RightRequest


def judge_bad_request(case: Bad, received: bytes) -> None:
    """`received` is all that the client got, until its connection was ended."""
    replies, rest = strict.read_replies(received, ["GET"], closed=True)
    assert len(replies) == 1, f"{len(replies)} replies, then {rest!r}: {received[:300]!r}"
    assert rest == b""
    assert replies[0].status in case.statuses, f"{replies[0].first!r}, not {case.statuses}"
    assert replies[0].all("connection") == [b"close"]


def judge_onward(received: bytes, *, whole: int) -> list[strict.Request]:
    """`received` is all that a server got over one connection: so many whole requests, each of them right."""
    requests, rest = strict.read_requests(received)
    assert len(requests) == whole, f"{len(requests)} requests went on, not {whole}: {received[:300]!r}"
    if whole:
        assert rest == b"", f"then {rest[:200]!r}"
    assert not any(b"smuggled" in request.target for request in requests), received[:300]
    return requests


def judge_right_request(case: RightRequest, request: strict.Request) -> None:
    """`request` is what the server got."""
    assert (request.method, request.target) == (case.method, case.target)
    if case.host:
        assert request.one("host") == case.host, request.fields
    assert (request.body, request.trailers) == (case.body, case.trailers)
    assert holds(request.fields, case.fields), f"{request.fields} without {case.fields}"
    names = {name.lower() for name, _ in request.fields}
    assert not names & set(case.absent), f"{request.fields} with {case.absent}"


def judge_bad_reply(case: BadReply, received: bytes, *, closed: bool) -> None:
    """`received` is all that the client got; `closed` says whether its connection was ended."""
    replies, rest = strict.read_replies(received, [case.method.decode()], closed=False)
    final = [reply for reply in replies if reply.status >= 200]
    if final:
        assert [reply.status for reply in final] == [502], f"{final[0].first!r}"
        assert rest == b""
    else:
        assert case.begun, f"no answer but {received[:200]!r}"
        assert closed, f"it is not cut: {received[:200]!r}"
        assert rest[:13] == b"HTTP/1.1 200 "[: len(rest)], received[:200]


def judge_right_reply(case: RightReply, received: bytes, *, closed: bool) -> None:
    """The same, of a reply that must come through."""
    replies, rest = strict.read_replies(received, [case.method.decode()], closed=closed)
    final = [reply for reply in replies if reply.status >= 200]
    assert len(final) == 1, f"{len(final)} replies, then {rest!r}: {received[:200]!r}"
    assert rest == b""
    (reply,) = final
    assert (reply.status, reply.body, reply.trailers) == (case.status, case.body, case.trailers), received[:300]
    assert holds(reply.fields, case.fields), f"{reply.fields} without {case.fields}"
    names = {name.lower() for name, _ in reply.fields}
    assert not names & set(case.absent), f"{reply.fields} with {case.absent}"


def holds(fields: Fields, wanted: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether `wanted` are among `fields`, in their order."""
    left = iter(fields)
    return all(pair in left for pair in wanted)
