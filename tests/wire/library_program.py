"""A Twisted program with proxies inside, as `test_library` runs it: argument 1 is the reactor; prints JSON."""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
from typing import Any

if sys.argv[1] == "uvloop":
    from asyncproxy.service import install_uvloop_reactor

    install_uvloop_reactor()
elif sys.argv[1] == "asyncio" and __name__ == "__main__":
    from twisted.internet import asyncioreactor

    asyncioreactor.install()

from twisted.internet import task
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol

from asyncproxy import Module, Proxy, Request, Response, sleep


class Counting(Module):
    """Blocks, on a worker."""

    def handle(self, request: Request) -> Response:
        return Response.text(threading.current_thread().name)


class Waiting(Module):
    """Parks."""

    async def handle(self, request: Request) -> Response:
        await sleep(1000)
        return Response()


class Client(Protocol):
    """Sends a request, and keeps what comes."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.received = b""
        self.ended: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        self.transport.write(f"GET {self.path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, _reason: Any) -> None:
        self.ended.callback(self.received)


def settings(*routes: dict[str, Any]) -> dict[str, Any]:
    server = {"listen": "tcp:0:interface=127.0.0.1", "workers": 2}
    return {"server": server, "admin": {"listen": "tcp:0:interface=127.0.0.1"}, "route": list(routes)}


async def connected(reactor: Any, proxy: Proxy, path: str) -> Client:
    client = Client(path)
    address = proxy.addresses[0]
    await connectProtocol(TCP4ClientEndpoint(reactor, address.host, address.port), client)
    return client


async def play(reactor: Any) -> list[str]:
    """Two proxies, one of which forwards to the other; one request is answered, one still waits at their stop."""
    routes = {"module": "library_program:Counting"}, {"path": "/w", "module": "library_program:Waiting"}
    first = Proxy(settings(*routes), reactor)
    await first.start()
    second = Proxy(settings({"module": "reverse", "upstream": f"http://127.0.0.1:{first.addresses[0].port}"}), reactor)
    await second.start()
    answered = await connected(reactor, second, "/c")
    waiting = await connected(reactor, second, "/w")
    answer = await answered.ended
    while not first.snapshot()["parked_total"]:
        await task.deferLater(reactor, 0.01)
    await second.stop()
    await first.stop()
    await waiting.ended
    return [answer.decode().partition("\r\n")[0], answer.decode().rpartition("\r\n")[2]]


def held(reactor: Any) -> dict[str, Any]:
    """What a process holds that does not go by itself."""
    gc.collect()
    timers = [one for one in gc.get_objects() if type(one).__name__ == "TimerHandle" and not one.cancelled()]
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "calls": len(reactor.getDelayedCalls()),
        "timers": len(timers),
        "readers": len(reactor.getReaders()),
        "hooks": repr(sys.getswitchinterval()) + repr(gc.get_threshold()),
    }


async def main(reactor: Any) -> None:
    answers = await play(reactor)  # what is made at first use is made
    await task.deferLater(reactor, 0.05)
    before = held(reactor)
    for _ in range(3):
        await play(reactor)
    await task.deferLater(reactor, 0.05)
    print(json.dumps({"answers": answers, "before": before, "after": held(reactor)}))


if __name__ == "__main__":
    task.react(lambda reactor: ensureDeferred(main(reactor)))
