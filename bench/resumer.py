"""A process of its own that resumes tickets at a steady rate, through a proxy's admin listener.

Reads from its standard input an object of values by the ticket's name, posts one after the other, and prints when each
was due and how many answers had which status. What is late counts from when it was due, so no stall hides another.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import uvloop

PATIENCE = 10.0
"""Seconds for the last answers."""


@dataclass
class Resumes:
    """When each ticket's resume was due, on the clock that all processes share, and what the answers were."""

    due: dict[str, float] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)


class Line(asyncio.Protocol):
    """One kept-alive connection to the admin listener: one resume after the other."""

    def __init__(self, resumer: "Resumer") -> None:
        self.resumer = resumer
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready."""
        self.transport = cast(asyncio.Transport, transport)
        self.resumer.idle.append(self)

    def data_received(self, data: bytes) -> None:
        """A part of the answer, which tells its length."""
        self.received += data
        head, gap, body = self.received.partition(b"\r\n\r\n")
        if gap and len(body) >= length(head):
            self.received = b""
            self.resumer.answered(self, head[9:12].decode())

    def connection_lost(self, exc: Exception | None) -> None:
        """Not before the end."""
        self.resumer.lost(self)


@dataclass
class Resumer:
    """Posts `values`, by ticket, at `rate` a second, on as many connections as it takes up to `lines`."""

    port: int
    rate: float
    values: dict[str, Any]
    lines: int = 16
    idle: deque[Line] = field(default_factory=deque)
    waiting: deque[bytes] = field(default_factory=deque)
    resumes: Resumes = field(default_factory=Resumes)

    async def run(self) -> Resumes:
        """All of them."""
        loop = asyncio.get_running_loop()
        self.over = asyncio.Event()
        made = [await loop.create_connection(lambda: Line(self), "127.0.0.1", self.port) for _ in range(self.lines)]
        posts = {name: self.post(name, value) for name, value in self.values.items()}
        start = time.monotonic() + 0.1
        for number, (name, post) in enumerate(posts.items()):
            due = self.resumes.due[name] = start + number / self.rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            self.waiting.append(post)
            self.send()
        await asyncio.wait_for(self.over.wait(), PATIENCE)
        for transport, _ in made:
            transport.close()
        return self.resumes

    def post(self, name: str, value: Any) -> bytes:
        """A resume as it is sent."""
        body = json.dumps(value).encode()
        head = f"POST /tickets/{name} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def send(self) -> None:
        """Whatever is due, on the connections that are free."""
        while self.waiting and self.idle:
            self.idle.popleft().transport.write(self.waiting.popleft())

    def answered(self, line: Line, status: str) -> None:
        """One answer is whole."""
        self.count(status)
        self.idle.append(line)
        self.send()

    def lost(self, line: Line) -> None:
        """One connection is gone; what it had sent has no answer."""
        if line in self.idle:
            self.idle.remove(line)
        else:
            self.count("lost")

    def count(self, status: str) -> None:
        """One is done with."""
        statuses = self.resumes.statuses
        statuses[status] = statuses.get(status, 0) + 1
        if sum(statuses.values()) >= len(self.values):
            self.over.set()


def length(head: bytes) -> int:
    """How long the head says the body is."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise RuntimeError(f"an answer does not tell its length: {head!r}")


def main() -> None:
    """Read the values, post them, print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m bench.resumer", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="of the admin listener")
    parser.add_argument("--rate", type=float, default=1000.0, help="resumes a second")
    parser.add_argument("--cpus", help="cores to keep to, with commas between")
    chosen = parser.parse_args()
    if chosen.cpus:
        os.sched_setaffinity(0, {int(core) for core in chosen.cpus.split(",")})
    print(json.dumps(asdict(uvloop.run(Resumer(chosen.port, chosen.rate, json.load(sys.stdin)).run()))))


if __name__ == "__main__":
    main()
