"""Resources of twisted.web, a Klein app and WSGI applications that the tests of this folder mount in routes."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from typing import Any

from klein import Klein
from twisted.internet.interfaces import IPullProducer, IPushProducer
from twisted.internet.task import LoopingCall, deferLater
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

NOTES: list[str] = []
PIECE = bytes(65536)
WRITTEN = [0]
"""Pieces that whoever writes without end has written."""


class Leaf(Resource):
    isLeaf = True


class Noted(Leaf):
    """What has been noted since it was last asked."""

    def render_GET(self, _request: Any) -> bytes:  # noqa: N802
        notes, NOTES[:] = list(NOTES), []
        return json.dumps(notes).encode()


class Written(Leaf):
    def render_GET(self, _request: Any) -> bytes:  # noqa: N802
        return b"%d" % WRITTEN[0]


class Holds(Leaf):
    """Answers never, and notes how that ends."""

    def render_GET(self, request: Any) -> int:  # noqa: N802
        request.notifyFinish().addErrback(lambda why: NOTES.append(f"left: {why.type.__name__}"))
        return NOT_DONE_YET


class Uploads(Leaf):
    def render_POST(self, request: Any) -> bytes:  # noqa: N802
        data = request.content.read()
        kept = "memory" if type(request.content).__name__ == "BytesIO" else "file"
        return json.dumps({"size": len(data), "sha": hashlib.sha256(data).hexdigest(), "kept": kept}).encode()


class Visits(Leaf):
    def render_GET(self, request: Any) -> bytes:  # noqa: N802
        session = request.getSession()
        session.visits = getattr(session, "visits", 0) + 1
        return b"%d" % session.visits


@implementer(IPushProducer)
class Pushing:
    """Writes a piece whenever the loop comes round, unless it is told to wait."""

    def __init__(self, request: Any) -> None:
        self.request = request
        self.loop = LoopingCall(self.push)
        request.registerProducer(self, True)
        self.resumeProducing()

    def push(self) -> None:
        self.request.write(PIECE)
        WRITTEN[0] += 1

    def resumeProducing(self) -> None:
        self.loop.start(0)

    def pauseProducing(self) -> None:
        self.loop.stop()

    def stopProducing(self) -> None:
        if self.loop.running:
            self.loop.stop()
        NOTES.append("stopped")


@implementer(IPullProducer)
class Pulled:
    """Writes a piece whenever it is asked."""

    def __init__(self, request: Any) -> None:
        self.request = request
        request.registerProducer(self, False)

    def resumeProducing(self) -> None:
        self.request.write(PIECE)
        WRITTEN[0] += 1

    def stopProducing(self) -> None:
        NOTES.append("stopped")


class Endless(Leaf):
    def render_GET(self, request: Any) -> int:  # noqa: N802
        request.notifyFinish().addErrback(lambda why: NOTES.append(f"left: {why.type.__name__}"))
        (Pushing if request.args[b"kind"] == [b"push"] else Pulled)(request)
        return NOT_DONE_YET


class Fails(Leaf):
    def render_GET(self, _request: Any) -> bytes:  # noqa: N802
        raise LookupError("no such price")


def tree() -> Resource:
    root = Resource()
    for name, leaf in {
        b"noted": Noted(), b"holds": Holds(), b"uploads": Uploads(), b"visits": Visits(), b"endless": Endless(),
        b"fails": Fails(), b"written": Written(),
    }.items():  # fmt: skip
        root.putChild(name, leaf)
    return root


klein = Klein()


@klein.route("/hello/<name>")
async def hello(request: Any, name: str) -> str:
    from twisted.internet import reactor

    await deferLater(reactor, 0.01)
    request.setHeader("x-thread", threading.current_thread().name)
    return f"hello {name}"


def wsgi(environ: dict[str, Any], start_response: Any) -> Any:
    """Says what it was told, or writes without end."""
    if environ["PATH_INFO"] == "/endless":
        start_response("200 OK", [("Content-Type", "application/octet-stream")])
        return pieces()
    if environ["PATH_INFO"] == "/blocks":
        threading.Event().wait()
    names = ("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "CONTENT_LENGTH", "REMOTE_ADDR", "HTTP_X_A")
    told = {name: environ.get(name) for name in names}
    body = environ["wsgi.input"].read()
    told.update(body=len(body), thread=threading.current_thread().name)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(told).encode()]


def pieces() -> Iterator[bytes]:
    try:
        while True:
            WRITTEN[0] += 1
            yield PIECE
    finally:
        NOTES.append("closed")
