"""The loads: wrk for the many small requests, our own clients for large, slow, steady and vanishing ones."""

import asyncio
import http.client
import socket
import struct
import subprocess
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, cast

from bench.proxies import program

MIB = 1 << 20
PIECE = 256 * 1024


class Counted(NamedTuple):
    """What wrk saw; the times are in milliseconds."""

    requests: int
    seconds: float
    p50: float
    p99: float
    errors: int


def wrk(port: int, seconds: float, *, close: bool = False, varied: bool = False, connections: int = 64) -> Counted:
    """Small GETs as fast as they are answered; with ``close`` each on a connection of its own.

    With ``varied`` no head is like another: each has a field of its own, and its reply too.
    """
    script = str(Path(__file__).with_name("varied.lua" if varied else "wrk.lua"))
    argv = [str(program("wrk")), "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", script]
    argv += ["-H", "Connection: close"] if close else []
    argv.append(f"http://127.0.0.1:{port}/small")
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=seconds + 30)
    line = next(line for line in done.stdout.splitlines() if line.startswith("NUMBERS "))
    requests, micros, p50, p99, errors = (int(word) for word in line.split()[1:])
    return Counted(requests, micros / 1e6, p50 / 1e3, p99 / 1e3, errors)


def is_kept(port: int, *, close: bool) -> bool:
    """Whether the proxy keeps a client's connection after a reply, and answers on it again.

    Asked of the proxy on one socket, before the load: where it hangs up, wrk can do nothing but connect anew.
    (The system's own count of connections has everybody's in it.)
    """
    wish = "Connection: close\r\n" if close else ""
    request = f"GET /small HTTP/1.1\r\nHost: 127.0.0.1\r\n{wish}\r\n".encode()
    with socket.create_connection(("127.0.0.1", port), 5) as client:
        return all(is_answered(client, request, first=not turn) for turn in range(2))


def is_answered(client: socket.socket, request: bytes, *, first: bool) -> bool:
    """Whether a whole small reply comes before the other side hangs up; the first one must."""
    received = b""
    try:
        client.sendall(request)
        while not received.endswith(b"x\n") and (part := client.recv(4096)):
            received += part
    except ConnectionError:
        received = b""
    if first and not received.endswith(b"x\n"):
        raise RuntimeError(f"a small GET was answered {received[:100]!r}")
    return received.endswith(b"x\n")


def swallow(reply: http.client.HTTPResponse, buffer: bytearray) -> int:
    """Read a reply's body to its end; how long it was."""
    total = 0
    while got := reply.readinto(buffer):
        total += got
    return total


def download(port: int, size: int, times: int) -> None:
    """The same large reply again and again, on one connection."""
    line, buffer = http.client.HTTPConnection("127.0.0.1", port, timeout=120), bytearray(PIECE)
    for _ in range(times):
        line.request("GET", f"/large?bytes={size}")
        got = swallow(line.getresponse(), buffer)
        if got != size:
            raise RuntimeError(f"a reply of {size} bytes had {got}")
    line.close()


def upload(port: int, size: int, times: int) -> None:
    """The same large request again and again, on one connection."""
    line, body = http.client.HTTPConnection("127.0.0.1", port, timeout=120), bytes(size)
    for _ in range(times):
        line.request("POST", "/sink", body=body, headers={"Content-Type": "application/octet-stream"})
        said = line.getresponse().read()
        if said.strip() != str(size).encode():
            raise RuntimeError(f"an upload of {size} bytes was answered {said[:100]!r}")
    line.close()


def read_slowly(port: int, size: int, rate: int, seconds: float) -> int:
    """Read a large reply at ``rate`` bytes a second for so long, then hang up; how much was read."""
    line, piece = http.client.HTTPConnection("127.0.0.1", port, timeout=60), bytearray(PIECE)
    line.request("GET", f"/large?bytes={size}")
    reply = line.getresponse()
    start, total = time.monotonic(), 0
    while time.monotonic() - start < seconds and (got := reply.readinto(piece)):
        total += got
        time.sleep(max(0.0, start + total / rate - time.monotonic()))
    reply.close()
    line.close()
    return total


def ask(port: int, target: str) -> bytes:
    """One GET on a connection of its own."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    line.request("GET", target)
    reply = line.getresponse()
    said = reply.read()
    line.close()
    if reply.status != 200:
        raise RuntimeError(f"{target} was answered {reply.status} {said[:200]!r}")
    return said


def hang_up(port: int, upstream_port: int, name: str, *, reset: bool, patience: float) -> float | None:
    """Ask for what never comes, hang up, and tell how long until the upstream saw its connection closed."""
    client = socket.create_connection(("127.0.0.1", port), 5)
    client.sendall(f"GET /hold?id={name} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    time.sleep(0.1)
    if reset:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    left_at = time.monotonic()
    client.close()
    while time.monotonic() - left_at < patience:
        time.sleep(0.02)
        if seen := float(ask(upstream_port, f"/closed?id={name}")):
            return seen - left_at
    return None


class Line(asyncio.Protocol):
    """One kept-alive connection of the probe."""

    def __init__(self, probe: "Probe") -> None:
        self.probe = probe
        self.received = b""
        self.due: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready."""
        self.transport = cast(asyncio.Transport, transport)
        self.probe.idle.append(self)

    def ask(self, due: float) -> None:
        """Send what should have been sent at ``due``."""
        self.due = due
        self.transport.write(b"GET /small HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")

    def data_received(self, data: bytes) -> None:
        """The small reply ends with its only line end in the body."""
        self.received += data
        head, gap, body = self.received.partition(b"\r\n\r\n")
        if gap and len(body) == 200 and self.due is not None:
            self.received = b""
            self.probe.answered(self, self.due, head.startswith(b"HTTP/1.1 200 "))

    def connection_lost(self, exc: Exception | None) -> None:
        """Not before the end."""
        self.probe.lost += 1


@dataclass
class Probe:
    """Small GETs at a steady rate; late ones count from when they were due, so no stall hides another."""

    port: int
    rate: float = 300.0
    lines: int = 32
    idle: deque[Line] = field(default_factory=deque)
    due: deque[float] = field(default_factory=deque)
    latencies: list[float] = field(default_factory=list)
    wrong: int = 0
    lost: int = 0

    async def run(self, seconds: float) -> None:
        """Probe for so long, then wait a little for the last; what is still out then was never answered."""
        loop = asyncio.get_running_loop()
        made = [await loop.create_connection(lambda: Line(self), "127.0.0.1", self.port) for _ in range(self.lines)]
        start = time.monotonic()
        for number in range(int(seconds * self.rate)):
            due = start + number / self.rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            self.due.append(due)
            self.send()
        await self.settle(int(seconds * self.rate))
        self.errors = self.wrong + self.lost + int(seconds * self.rate) - len(self.latencies)
        for transport, _ in made:
            transport.close()

    async def settle(self, count: int) -> None:
        """Wait for the last ones."""
        for _ in range(200):
            if len(self.latencies) < count:
                await asyncio.sleep(0.05)

    def send(self) -> None:
        """Whatever is due, on the connections that are free."""
        while self.due and self.idle:
            self.idle.popleft().ask(self.due.popleft())

    def answered(self, line: Line, due: float, right: bool) -> None:
        """One reply is whole."""
        self.latencies.append(time.monotonic() - due)
        self.wrong += not right
        self.idle.append(line)
        self.send()
