"""A crowd: thousands of clients, one long request each, cheap enough not to disturb what is measured."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, cast


class Visit(NamedTuple):
    """One request to make: when (seconds after the start), how long the upstream takes, a name of its own."""

    at: float
    takes: float
    name: str

    @property
    def target(self) -> str:
        """What is asked for."""
        return f"/slow?s={self.takes:.3f}&id={self.name}"


class Visitor(asyncio.Protocol):
    """The connection of one visit: asks, waits, checks the answer."""

    __slots__ = ("crowd", "received", "since", "transport", "visit")

    def __init__(self, crowd: "Crowd", visit: Visit, since: float) -> None:
        self.crowd, self.visit, self.since = crowd, visit, since
        self.received = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        self.transport = cast(asyncio.Transport, transport)
        host = f"Host: 127.0.0.1:{self.crowd.port}"
        self.transport.write(f"GET {self.visit.target} HTTP/1.1\r\n{host}\r\n\r\n".encode())
        self.crowd.held += 1
        self.crowd.most_held = max(self.crowd.most_held, self.crowd.held)

    def data_received(self, data: bytes) -> None:
        """A part of the answer: enough when its own name ends it, as the body does."""
        self.received += data
        head, gap, body = self.received.partition(b"\r\n\r\n")
        if gap and (body.endswith(b"\n") or not head.startswith(b"HTTP/1.1 200 ")):
            self.crowd.judge(self, head, body)
            cast(asyncio.Transport, self.transport).close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed by us after the answer, or too early."""
        self.crowd.held -= 1
        self.crowd.left(self, f"hung up on: {exc or 'no reply'}")


@dataclass
class Crowd:
    """Many visits at one proxy, and what came of them."""

    port: int
    visits: list[Visit]
    host: str = "127.0.0.1"
    held: int = 0
    most_held: int = 0
    added: list[float] = field(default_factory=list)
    wrong: dict[str, int] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)

    @property
    def answered(self) -> int:
        """How many were answered rightly."""
        return len(self.added)

    @property
    def errors(self) -> int:
        """How many were not."""
        return sum(self.wrong.values())

    @property
    def all_in(self) -> float:
        """When the last one has come, in seconds after the start."""
        return max(visit.at for visit in self.visits)

    async def gather(self, *, patience: float = 30.0) -> None:
        """Let all come; those not answered ``patience`` seconds beyond their time are errors."""
        loop = asyncio.get_running_loop()
        self.waiting = {visit.name for visit in self.visits}
        self.over = asyncio.Event()
        self.calls: set[asyncio.Task[None]] = set()
        start = loop.time()
        for visit in self.visits:
            loop.call_at(start + visit.at, self.come, visit)
        longest = max(visit.at + visit.takes for visit in self.visits)
        try:
            await asyncio.wait_for(self.over.wait(), longest + patience)
        except TimeoutError:
            self.fail(f"not answered within {patience:.0f} s of its time", len(self.waiting))

    def come(self, visit: Visit) -> None:
        """It is this one's time."""
        call = asyncio.ensure_future(self.connect(visit))
        self.calls.add(call)
        call.add_done_callback(self.calls.discard)

    async def connect(self, visit: Visit) -> None:
        """The time runs from here: a proxy that is slow to accept is slow."""
        visitor = Visitor(self, visit, time.monotonic())
        try:
            await asyncio.get_running_loop().create_connection(lambda: visitor, self.host, self.port)
        except OSError as wrong:
            self.left(visitor, f"no connection: {wrong}")

    def judge(self, visitor: Visitor, head: bytes, body: bytes) -> None:
        """Whether it is the answer to this very request; how long it took beyond the upstream's own time."""
        took = time.monotonic() - visitor.since
        own = upstream_seconds(head)
        if not head.startswith(b"HTTP/1.1 200 ") or own is None:
            self.left(visitor, "answered " + head.split(b"\r\n", 1)[0].decode("latin-1"))
        elif visitor.visit.name.encode() not in body.split():
            self.left(visitor, "answered with another's body")
        else:
            self.added.append(took - own)
            self.left(visitor, None)

    def left(self, visitor: Visitor, why: str | None) -> None:
        """One is done with, counted once."""
        if visitor.visit.name not in self.waiting:
            return
        self.waiting.discard(visitor.visit.name)
        if why is not None:
            self.fail(why)
        if not self.waiting:
            self.over.set()

    def fail(self, why: str, times: int = 1) -> None:
        """Count an error by its words."""
        self.wrong[why] = self.wrong.get(why, 0) + times


def upstream_seconds(head: bytes) -> float | None:
    """How long the upstream says that it took itself."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"x-upstream-seconds":
            return float(value)
    return None


def percentile(values: list[float], share: float) -> float:
    """The value that ``share`` of them do not exceed; not a number when there are none."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def evenly(count: int, within: float, takes: Callable[[int, float], float]) -> list[Visit]:
    """So many visits, evenly spread over ``within`` seconds; ``takes`` tells each its upstream's time."""
    moments = [within * number / count for number in range(count)]
    return [Visit(at, takes(number, at), f"visit-{number}") for number, at in enumerate(moments)]
