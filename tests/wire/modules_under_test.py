"""Modules that the tests of this folder put into a proxy by their dotted path, as a stranger would write them."""

from __future__ import annotations

import concurrent.futures
import contextvars
import hashlib
import json
import os
import socket
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar

from twisted.internet.defer import Deferred, succeed

from asyncproxy import (
    ClientGone,
    Module,
    Park,
    ParkTimeout,
    Request,
    Response,
    UpstreamError,
    Woken,
    gather,
    on_reactor,
    readable,
    sleep,
    ticket,
    writable,
)

NOTES: dict[str, list[str]] = defaultdict(list)


def argument(request: Request, name: str, default: str = "") -> str:
    return request.args.get(name, [default])[0]


def note(request: Request, *words: str) -> None:
    """Remember `words` for the test that asked with this ``?key=``."""
    NOTES[argument(request, "key")].extend(words)


def stand(request: Request) -> None:
    """Block at the test's gate until it opens."""
    with socket.create_connection(("127.0.0.1", int(argument(request, "gate"))), 20) as gate:
        gate.recv(1)


class Notes(Module):
    """What has been noted under ``?key=``; needs no worker."""

    blocking = False

    def handle(self, request: Request) -> Response:
        return Response.json(NOTES[argument(request, "key")])


class Whole(Module):
    """A body, whole, and how it was kept."""

    def handle(self, request: Request) -> Response:
        data, again = request.data, request.content.read()
        try:
            kept = "file" if request.content.fileno() >= 0 else ""
        except OSError:
            kept = "memory"
        digest = hashlib.sha256(data).hexdigest()
        return Response.json({"sha": digest, "size": len(data), "same": data == again, "kept": kept})


class ReadAll(Module):
    async def handle(self, request: Request) -> Response:
        body = await request.read()
        return Response.json({"size": len(body), "sha": hashlib.sha256(body).hexdigest()})


class ReadPieces(Module):
    """Notes each piece as it comes."""

    async def handle(self, request: Request) -> Response:
        pieces = []
        async for piece in request.body:
            note(request, piece.decode())
            pieces.append(piece)
        return Response(200, body=b"|".join(pieces))


class About(Module):
    """Everything that a request tells."""

    def handle(self, request: Request) -> Response:
        about: dict[str, Any] = {
            "id": request.id, "method": request.method, "target": request.target.decode("latin-1"),
            "path": request.path, "query": request.query, "args": request.args, "host": request.host,
            "scheme": request.scheme, "client": list(request.client), "cookies": request.cookies,
            "x": request.headers.getall("X"), "has": "x" in request.headers, "route": request.route.path,
            "thread": threading.current_thread().name,
        }  # fmt: skip
        return Response.json(about)


class OnThePollingThread(Module):
    blocking = False

    def handle(self, request: Request) -> Response:
        return Response.text(threading.current_thread().name)


class Settings(Module):
    region: str = "eu"
    limit: int
    names: list[str] = []

    def handle(self, request: Request) -> Response:
        return Response.json([self.region, self.limit, self.names])


class Who(Module):
    """Says who asks, by what, and for which host."""

    def handle(self, request: Request) -> Response:
        return Response.json([*request.client, request.scheme, request.host])


class Sleeper(Module):
    """Sleeps ``?for=`` seconds, parked."""

    async def handle(self, request: Request) -> Response:
        await sleep(float(argument(request, "for")))
        return Response.text("slept")


class AsksForTicket(Module):
    """Waits for ticket ``?name=``, and answers what it is given."""

    async def handle(self, request: Request) -> Response:
        return Response.json(await ticket(argument(request, "name"), timeout=60))


class AsksForBoundTicket(Module):
    """The same, bound to ``?bind=``."""

    async def handle(self, request: Request) -> Response:
        return Response.json(await ticket(argument(request, "name"), timeout=60, bind=argument(request, "bind")))


class AsksByLink(Module):
    """Waits for whoever opens its link, which ``?link`` tells."""

    link = ""

    async def handle(self, request: Request) -> Response:
        if "link" in request.query:
            return Response.text(self.link)
        wait = ticket(timeout=60)
        self.link = request.ticket_url(wait, "1m", ask="Is it you?", choices={"Yes": "yes", "No": "no"})
        return Response.json(await wait)


class Blocker(Module):
    """Stands at the gate, on its worker."""

    def handle(self, request: Request) -> Response:
        note(request, "began")
        stand(request)
        note(request, "ended")
        return Response.text("went through")


class AsyncBlocker(Module):
    """Stands at the gate, on its worker, between two parks."""

    async def handle(self, request: Request) -> Response:
        try:
            await sleep(0)
            note(request, "began")
            stand(request)
            note(request, "through")
            await sleep(30)
        finally:
            note(request, "finally")
        return Response.text("")


class BlocksForASecond(Module):
    def handle(self, request: Request) -> Response:
        note(request, "began")
        time.sleep(1)
        return Response.text("late")


class HoldsEverybody(Module):
    """What no module should do."""

    blocking = False

    def handle(self, request: Request) -> Response:
        time.sleep(0.5)
        return Response.text("late")


async def _later(seconds: float, value: str) -> str:
    await sleep(seconds)
    return value


class Gatherer(Module):
    """Waits, coroutines and a future at once; all of them together take as long as the longest."""

    async def handle(self, request: Request) -> Response:
        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            values = await gather(
                sleep(0.15), _later(0.15, "a"), _later(0.1, "b"), pool.submit(lambda: "c"), on_reactor(lambda: "d")
            )
        return Response.json({"values": values, "seconds": time.monotonic() - began, "empty": await gather()})


class GatherFails(Module):
    """The first failure ends it; what else waits is called off."""

    async def handle(self, request: Request) -> Response:
        async def fails() -> None:
            await sleep(0.01)
            raise LookupError("this one")

        async def waits() -> None:
            try:
                await sleep(30)
            finally:
                note(request, "finally")

        try:
            await gather(waits(), fails(), sleep(30))
        except LookupError as error:
            return Response.text(f"failed: {error}")
        return Response.text("no failure")


class ReactorCaller(Module):
    async def handle(self, request: Request) -> Response:
        def call(add: int, *, to: int) -> Deferred[tuple[int, str]]:
            return succeed((add + to, threading.current_thread().name))

        async def coroutine() -> str:
            return "from a coroutine"

        def fails() -> None:
            raise LookupError("on the polling thread")

        value, there = await on_reactor(call, 2, to=3)
        plain = await on_reactor(lambda: "plain")
        coroutine_value = await on_reactor(coroutine)
        try:
            await on_reactor(fails)
        except LookupError as error:
            failure = str(error)
        here = threading.current_thread().name
        return Response.json([value, there, plain, coroutine_value, failure, here])


class FutureWaiter(Module):
    async def handle(self, request: Request) -> Response:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            value = await pool.submit(lambda: "a value")
            try:
                await pool.submit(lambda: {}["missing"])
            except KeyError as error:
                return Response.json([value, str(error)])
        return Response.text("no failure")


FUTURE: dict[str, concurrent.futures.Future[str]] = {}


class FutureHolder(Module):
    """Waits for a future that nobody completes."""

    async def handle(self, request: Request) -> Response:
        future: concurrent.futures.Future[str] = concurrent.futures.Future()
        try:
            await future  # type: ignore[misc]
        finally:
            note(request, "finally", f"cancelled: {future.cancelled()}")
        return Response.text("")


class Classic(Module):
    """The mail, literally: push request and context, be called again on I/O."""

    remote: tuple[str, int]

    def handle(self, request: Request) -> Park:
        remote = socket.create_connection(self.remote)
        remote.sendall(b"are you there?")
        return Park(readable(remote), resume=self.answered, context=remote, timeout=30)

    def answered(self, request: Request, woken: Woken) -> Response:
        with woken.context:
            return Response(200, [("x-reason", woken.reason)], body=woken.context.recv(65536))


class ParkTwice(Module):
    """Parks again when it is woken, on other things."""

    def handle(self, request: Request) -> Park:
        return Park(sleep(0.01), resume=self.again, context=["first"])

    def again(self, request: Request, woken: Woken) -> Park:
        async def coroutine() -> str:
            await sleep(0.01)
            return "third"

        return Park(coroutine(), resume=self.done, context=[*woken.context, "second"])

    def done(self, request: Request, woken: Woken) -> Response:
        return Response.json([*woken.context, woken.value])


class ParkGone(Module):
    """Parks on a socket that never gets readable; ``gone`` is called."""

    def handle(self, request: Request) -> Park:
        left, right = socket.socketpair()
        timeout = float(argument(request, "timeout"))
        return Park(readable(left), resume=self.answered, context=(left, right), timeout=timeout, gone=self.gone)

    def answered(self, request: Request, woken: Woken) -> Response:
        raise AssertionError("it never gets readable")

    def gone(self, request: Request, woken: Woken) -> Response | None:
        for end in woken.context:
            end.close()
        note(request, f"gone: {woken.reason} {type(woken.value).__name__}", threading.current_thread().name[:17])
        return Response.text("gave up", 408) if argument(request, "answers") else None


class ParkCloses(Module):
    """Parks without ``gone``: its context is closed."""

    def handle(self, request: Request) -> Park:
        class Context:
            def close(self) -> None:
                note(request, "closed")

        return Park(sleep(30), resume=self.answered, context=Context(), timeout=float(argument(request, "timeout")))

    def answered(self, request: Request, woken: Woken) -> Response:
        return Response.text("")


class ParkFails(Module):
    def handle(self, request: Request) -> Park:
        def fails() -> None:
            raise LookupError("what it waited for failed")

        return Park(on_reactor(fails), resume=self.answered)

    def answered(self, request: Request, woken: Woken) -> Response:
        return Response.json([woken.reason, str(woken.value)])


class Reader(Module):
    """Reads what comes over a connection to ``?port=``."""

    async def handle(self, request: Request) -> Response:
        with socket.create_connection(("127.0.0.1", int(argument(request, "port")))) as remote:
            try:
                await writable(remote)
                await readable(remote, timeout=float(argument(request, "timeout", "20")))
                return Response(200, body=remote.recv(65536))
            except ParkTimeout:
                return Response.text("too late")
            finally:
                note(request, "finally")


class UncaughtTimeout(Module):
    async def handle(self, request: Request) -> Response:
        left, right = socket.socketpair()
        with left, right:
            await readable(left, timeout=0.05)
        return Response.text("")


class Fetcher(Module):
    async def handle(self, request: Request) -> Response:
        url = argument(request, "url")
        try:
            fetched = await request.fetch(url, "POST", headers={"x-asked": "yes"}, json={"question": 6}, timeout=5)
        except UpstreamError as error:
            return Response.text(error.why, 500)
        answer = fetched.json()
        return Response.json([fetched.status, answer, fetched.text(), fetched.headers["X-Answered"]])


class FetchHolder(Module):
    """Fetches, waits as long as it takes, and notes its end."""

    async def handle(self, request: Request) -> Response:
        try:
            fetched = await request.fetch(argument(request, "url"), timeout=float(argument(request, "timeout", "20")))
        finally:
            note(request, "finally")
        return Response.text(fetched.text())


class Forwarder(Module):
    """Forwards as its arguments say."""

    async def handle(self, request: Request) -> Response:
        try:
            return await request.forward(argument(request, "to") or None)
        except UpstreamError as error:
            note(request, error.why)
            raise


class Collects(Module):
    """Has the body collected, then forwards it."""

    def handle(self, request: Request) -> Any:
        return request.forward()


class ForwardHolder(Module):
    """Forwards and notes what becomes of it."""

    async def handle(self, request: Request) -> Response:
        try:
            return await request.forward()
        except ClientGone:
            note(request, "ClientGone")
            raise
        finally:
            note(request, f"finally on {threading.current_thread().name[:17]}")


class ForwardElse(Module):
    async def handle(self, request: Request) -> Response:
        headers = {"host": "else.test", "x-only": "this", "connection": "x-dropped", "x-dropped": "1"}
        return await request.forward(target="/else?where", headers=headers)


class ForwardBare(Module):
    async def handle(self, request: Request) -> Response:
        return await request.forward(headers={"x-only": "this"})


class ForwardPath(Module):
    """Forgets that a path is percent-decoded."""

    async def handle(self, request: Request) -> Response:
        return await request.forward(target=request.path)


class ForwardBriefly(Module):
    async def handle(self, request: Request) -> Response:
        return await request.forward(timeout=0.1)


class ChangedHeaders(Module):
    async def handle(self, request: Request) -> Response:
        reply = await request.forward()
        reply.headers["X-User"] = "me"
        reply.headers.add("X-User", "too")
        del reply.headers["X-Inner"]
        return reply


class ChangedStatus(Module):
    async def handle(self, request: Request) -> Response:
        reply = await request.forward()
        reply.status = 418
        return reply


class ReplacedBody(Module):
    """Reads the reply and answers with what it made of it."""

    async def handle(self, request: Request) -> Response:
        reply = await request.forward()
        body = await reply.read()
        reply.body = body.upper() + b"!"
        return reply


class DroppedBody(Module):
    """Replaces the body of a reply without having read it."""

    async def handle(self, request: Request) -> Response:
        reply = await request.forward()
        reply.body = "ours"
        return reply


class AnswersElse(Module):
    """Forwards and then answers something of its own."""

    async def handle(self, request: Request) -> Response:
        reply = await request.forward()
        return Response.text(f"it said {reply.status}")


class ForwardTwice(Module):
    """Two forwards of one request, and the bodies of both."""

    async def handle(self, request: Request) -> Response:
        one, two = await gather(request.forward(target="/one"), request.forward(target="/two"))
        return Response(200, body=await one.read() + b" " + await two.read())


class Generator(Module):
    """Pieces until ``?count=`` is reached; each is noted when it is made."""

    def handle(self, request: Request) -> Response:
        def pieces() -> Iterator[bytes | str]:
            try:
                for number in range(int(argument(request, "count"))):
                    if argument(request, "gate"):
                        stand(request)
                    yield f"{number}," if number % 2 else f"{number},".encode()
            finally:
                note(request, f"finally on {threading.current_thread().name[:17]}")

        return Response(200, body=pieces())


class AsyncGenerator(Module):
    """The same, with a park between the pieces."""

    async def handle(self, request: Request) -> Response:
        async def pieces() -> AsyncIterator[str]:
            try:
                for number in range(int(argument(request, "count"))):
                    await sleep(float(argument(request, "pause", "0")))
                    yield f"{number},"
            finally:
                note(request, f"finally on {threading.current_thread().name[:17]}")

        return Response(200, body=pieces())


class Endless(Module):
    """64 KiB after 64 KiB, for as long as somebody takes them."""

    made: ClassVar[int] = 0

    def handle(self, request: Request) -> Response:
        def pieces() -> Iterator[bytes]:
            try:
                while True:
                    Endless.made += 1
                    yield bytes(65536)
            finally:
                note(request, "finally")

        Endless.made = 0
        return Response(200, body=pieces())


class MadeSoFar(Module):
    blocking = False

    def handle(self, request: Request) -> Response:
        return Response.json(Endless.made)


class BrokenGenerator(Module):
    def handle(self, request: Request) -> Response:
        def pieces() -> Iterator[bytes]:
            yield b"half"
            raise LookupError("in the middle")

        return Response(200, body=pieces())


class Raises(Module):
    def handle(self, request: Request) -> Response:
        raise RuntimeError("a secret of the module")


class RaisesLater(Module):
    async def handle(self, request: Request) -> Response:
        await sleep(0)
        raise RuntimeError("a secret of the module")


class ExitsTheInterpreter(Module):
    def handle(self, request: Request) -> Response:
        raise SystemExit(3)


class WrongType(Module):
    def handle(self, request: Request) -> Any:
        return json.loads(argument(request, "json"))


class WrongBody(Module):
    def handle(self, request: Request) -> Any:
        return Response(200, body=42)  # type: ignore[arg-type]


class InjectsHeaders(Module):
    def handle(self, request: Request) -> Response:
        return Response(200, [("x-name", argument(request, "value"))])


TRACE: contextvars.ContextVar[str] = contextvars.ContextVar("TRACE", default="unset")


class Contextual(Module):
    async def handle(self, request: Request) -> Response:
        before = TRACE.get()
        TRACE.set(argument(request, "as"))
        seen = []
        for _ in range(3):
            await sleep(0.01)
            seen.append(TRACE.get())

        async def inner() -> str:
            await sleep(0)
            return TRACE.get()

        seen += await gather(inner())
        return Response.json([before, *seen])


class AwaitsDeferred(Module):
    async def handle(self, request: Request) -> Response:
        try:
            await Deferred()
        except TypeError as error:
            return Response.text(str(error))
        return Response.text("no error")


class AwaitsDeferredOnThePollingThread(Module):
    blocking = False

    async def handle(self, request: Request) -> Response:
        from twisted.internet import reactor
        from twisted.internet.task import deferLater

        value = await deferLater(reactor, 0.01, lambda: "later")  # type: ignore[arg-type]
        return Response.json([value, await succeed("at once"), threading.current_thread().name])


class Process(Module):
    def handle(self, request: Request) -> Response:
        return Response.json({"pid": os.getpid()})
