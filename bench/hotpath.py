"""Python time of one small GET through the flow, without sockets: what the kernel adds is the same for every design.

python -m bench.hotpath [module]        # "reverse", or a dotted path
python -m bench.hotpath --seen          # with ids, tally and lines of JSON; writing them comes on top
python -m bench.hotpath --profile
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time
import timeit
from collections.abc import Sequence
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock

from asyncproxy.boundaries import Surroundings
from asyncproxy.configuration import load
from asyncproxy.exchange.identity import RequestIds
from asyncproxy.exchange.record import Told, json_lines
from asyncproxy.polling.books import Books
from asyncproxy.polling.deadlines import Deadlines
from asyncproxy.polling.flow import Flow
from asyncproxy.polling.listening import Door
from asyncproxy.polling.parking import ParkingLot
from asyncproxy.polling.pool import Means, Upstreams
from asyncproxy.polling.resolving import Resolver
from asyncproxy.polling.tally import Tally
from asyncproxy.polling.waiting import KINDS
from asyncproxy.service import bind, finder

REQUEST = b"GET /abc HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n"
REPLY = (
    b"HTTP/1.1 200 OK\r\nServer: x\r\nDate: Sun, 22 Nov 2026 21:49:17 GMT\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 200\r\n\r\n" + b"x" * 200
)


class Wire:
    """A transport that keeps nothing; what is written to it goes to `on_write`."""

    def __init__(self, on_write: Any) -> None:
        self.write = on_write

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", 4000)

    def registerProducer(self, _producer: Any, _streaming: bool) -> None: ...


class Network:
    """Connects at once to an upstream that answers at once."""

    def connectTCP(self, _host: str, _port: int, factory: Any, timeout: float = 30) -> None:
        protocol = factory.buildProtocol(None)
        protocol.makeConnection(Wire(lambda _data: self.asked.append(protocol)))

    def __init__(self) -> None:
        self.asked: list[Any] = []


class Inline:
    """Workers that run a turn at once, here."""

    waiting = 0

    def do(self, turn: Any) -> None:
        turn.run()
        self.ended.append(turn)

    def __init__(self) -> None:
        self.ended: list[Any] = []


class Forgotten:
    """An access log that makes its lines and keeps none."""

    def put(self, told: Sequence[Told]) -> None:
        json_lines(told)

    def statistics(self) -> dict[str, int]:
        return {}


def make(module: str, seen: bool = False) -> Any:
    """A function that takes one GET through."""
    settings = load(
        {
            "server": {"listen": "tcp:0"},
            "limits": {"requests_per_connection": "off"},
            "route": [{"module": module, "upstream": "http://127.0.0.1:9000"}],
        }
    )
    clock, network, workers = Clock(), Network(), Inline()
    clock.seconds = time.monotonic  # type: ignore[method-assign]  # as in life: a C function
    deadlines = Deadlines(clock)
    upstreams = Upstreams(settings.upstream, None, Means(network, deadlines, Resolver(None, clock)))
    around = Surroundings(None, upstreams, None)  # type: ignore[arg-type]
    more: dict[str, Any] = {"ids": RequestIds(), "books": Books(Tally(), clock, Forgotten())} if seen else {}
    flow = Flow(workers, ParkingLot(clock, KINDS), deadlines, around, **more)  # type: ignore[arg-type]
    bound = bind(settings.route[0])
    door = Door(flow, settings.limits, finder([bound]), only=bound)
    client = door.buildProtocol(None)
    written: list[bytes] = []
    client.makeConnection(Wire(written.append))

    def go() -> None:
        client.dataReceived(REQUEST)
        while workers.ended or network.asked:
            if workers.ended:
                workers.ended.pop().ran()
            else:
                network.asked.pop().dataReceived(REPLY)
        assert written
        written.clear()

    return go


def main() -> None:
    """Print microseconds per request, the best of seven."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("module", nargs="?", default="reverse")
    options.add_argument("--seen", action="store_true")
    options.add_argument("--profile", action="store_true")
    arguments = options.parse_args()
    go = make(arguments.module, arguments.seen)
    if arguments.profile:
        profile = cProfile.Profile()
        profile.runcall(lambda: [go() for _ in range(50_000)])
        pstats.Stats(profile).sort_stats("tottime").print_stats(45)
        return
    count = 20_000
    print(f"{arguments.module}: {min(timeit.repeat(go, number=count, repeat=7)) / count * 1e6:.2f} us a request")


if __name__ == "__main__":
    main()
