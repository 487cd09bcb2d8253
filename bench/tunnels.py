"""`python -m bench.tunnels`: 5,000 tunnels that idle, and 64 MiB through one, with asyncproxy and with nginx.

Each tunnel carries a byte there and back before it idles and another one after. Printed are what a proxy holds for
each, its CPU time and how often its threads are woken while nothing happens, beside the same without any tunnel; and
its CPU time for what goes through one. The exit status is 1 if anything is wrong or a bar is missed.
"""

import argparse
import asyncio
import gc
import os
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import uvloop

from bench import proxies
from bench.load import MIB
from bench.proxies import Place
from bench.tickets import cores
from examples.demo import children
from examples.demo.children import Child
from examples.demo.upstream import allow_many_files

UPGRADE = b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: bench/1\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: bench/1\r\n\r\n"
PIECE = b"z" * (256 * 1024)
WARM = 200
OPENING = 100
"""Tunnels that are opened at a time."""
BAR_KIB = 10.0
BAR_IDLE = 1.0
"""Percent of a core, beyond what the proxy takes without tunnels."""
BAR_WAKES = 0.5
"""Wake-ups of the polling thread a second."""
SETTLE = 7.0
"""Seconds after which the time-outs of connecting are over, of tunnels that were just opened."""


class Server(asyncio.Protocol):
    """Switches, then sends everything back; at ``/down`` it sends 64 MiB, at ``/up`` it takes as much and says so."""

    def __init__(self) -> None:
        self._head = b""
        self._path = b""
        self._taken = 0
        self._can_write = asyncio.Event()
        self._can_write.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A connection of the proxy's."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """The request's head, then whatever the tunnel brings."""
        if not self._path:
            self._head += data
            if b"\r\n\r\n" in self._head:
                self._path = self._head.split(b" ", 2)[1]
                self._transport.write(SWITCHED)
                if self._path == b"/down":
                    self._pouring = asyncio.ensure_future(pour(self._transport, self._can_write))
        elif self._path == b"/up":
            self._taken += len(data)
            if self._taken == 64 * MIB:
                self._transport.write(b"!")
        else:
            self._transport.write(data)

    def pause_writing(self) -> None:
        """The proxy is slow."""
        self._can_write.clear()

    def resume_writing(self) -> None:
        """It keeps up again."""
        self._can_write.set()


async def pour(transport: asyncio.Transport, can_write: asyncio.Event) -> None:
    """Write 64 MiB, as fast as they are taken."""
    for _ in range(64 * MIB // len(PIECE)):
        await can_write.wait()
        transport.write(PIECE)


class Client(asyncio.Protocol):
    """One end of a tunnel; `opened` once it is one, and `came` when so many bytes have come that are waited for."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.came: asyncio.Future[None] = loop.create_future()
        self.can_write = asyncio.Event()
        self.can_write.set()
        self._head = b""
        self._missing = 0
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected to the proxy."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """The 101, then what is waited for."""
        if not self.opened.done():
            self._head += data
            head, gap, data = self._head.partition(b"\r\n\r\n")
            if not gap:
                return
            if head.startswith(b"HTTP/1.1 101 "):
                self.opened.set_result(None)
            else:
                self.opened.set_exception(RuntimeError(head.split(b"\r\n")[0].decode()))
        self._missing -= len(data)
        if self._missing == 0 and not self.came.done():
            self.came.set_result(None)

    def expect(self, count: int) -> "asyncio.Future[None]":
        """What is done when `count` bytes more have come."""
        self._missing = count
        self.came = asyncio.get_running_loop().create_future()
        return self.came

    def connection_lost(self, exc: Exception | None) -> None:
        """The proxy closed it, or we did."""
        self.lost = True
        for future in (self.opened, self.came):
            if not future.done():
                future.set_exception(exc or ConnectionError("the proxy closed the tunnel"))
                future.exception()

    def pause_writing(self) -> None:
        """The proxy is slow."""
        self.can_write.clear()

    def resume_writing(self) -> None:
        """It keeps up again."""
        self.can_write.set()

    async def ping(self) -> None:
        """A byte there and back."""
        came = self.expect(1)
        self.transport.write(b"x")
        await asyncio.wait_for(came, 30)


async def tunnel(port: int, path: bytes = b"/echo") -> Client:
    """An open one."""
    _, client = await asyncio.get_running_loop().create_connection(Client, "127.0.0.1", port)
    client.transport.write(UPGRADE % path)
    await asyncio.wait_for(client.opened, 30)
    return client


async def opened(port: int, count: int) -> list[Client]:
    """So many, each of which has carried a byte."""
    found: list[Client] = []
    while len(found) < count:
        some = await asyncio.gather(*(tunnel(port) for _ in range(min(OPENING, count - len(found)))))
        await asyncio.gather(*(one.ping() for one in some))
        found += some
    return found


def close(clients: list[Client]) -> None:
    """End them."""
    for client in clients:
        client.transport.close()


def wakes(child: Child) -> tuple[int, int]:
    """How often the first threads of `child`'s processes have slept so far, and so were woken; and its other threads.

    (Voluntary context switches. The first thread is the polling thread; of the others the watchdog looks 20 times a
    second, tunnels or not.)
    """
    found = [0, 0]
    for pid in child.pids():
        for task in Path(f"/proc/{pid}/task").iterdir():
            for line in (task / "status").read_text().splitlines():
                if line.startswith("voluntary_ctxt_switches:"):
                    found[task.name != str(pid)] += int(line.split()[1])
    return found[0], found[1]


@dataclass
class Idle:
    """What a proxy does while nothing happens, a second."""

    cpu: float
    """Percent of a core."""
    wakes: float
    """Of the polling thread."""
    others: float
    """Of all other threads."""


async def idling(child: Child, seconds: float) -> Idle:
    """Look at `child` for so long."""
    cpu, (first, others), began = child.cpu_seconds(), wakes(child), time.monotonic()
    await asyncio.sleep(seconds)
    passed, (first_now, others_now) = time.monotonic() - began, wakes(child)
    used = 100 * (child.cpu_seconds() - cpu) / passed
    return Idle(used, (first_now - first) / passed, (others_now - others) / passed)


@dataclass
class Found:
    """What was measured of one proxy; memory in KiB, CPU times of one GiB in ms."""

    open: int
    kib: float
    without: Idle
    idle: Idle
    left: int
    down: float
    up: float

    def missed(self, count: int) -> list[str]:
        """What is wrong, and the bars that are not reached."""
        checks = {
            f"{self.open} of {count} tunnels were open": self.open != count,
            f"{self.left} of {count} tunnels carried a byte after they had idled": self.left != count,
            f"memory is over {BAR_KIB:g} KiB": not self.kib <= BAR_KIB,
            f"idle CPU is over {BAR_IDLE:g} %": not self.idle.cpu - self.without.cpu <= BAR_IDLE,
            f"wake-ups are over {BAR_WAKES:g} a second": not self.idle.wakes <= BAR_WAKES,
        }
        return [words for words, wrong in checks.items() if wrong]


async def measure(child: Child, count: int, seconds: float, times: int) -> Found:
    """All of it, of a proxy that was just started."""
    close(await opened(child.port, WARM))
    await asyncio.sleep(SETTLE)
    without = await idling(child, seconds)
    before = child.kib("VmRSS")
    clients = await opened(child.port, count)
    await asyncio.sleep(SETTLE)
    grown = child.kib("VmRSS") - before
    idle = await idling(child, seconds)
    held = sum(not client.lost for client in clients)
    done = await asyncio.gather(*(client.ping() for client in clients), return_exceptions=True)
    left = sum(one is None for one in done)
    close(clients)
    await asyncio.sleep(2)
    down, up = await carried(child, times, take), await carried(child, times, give)
    return Found(held, grown / count, without, idle, left, down, up)


async def carried(child: Child, times: int, carry: Callable[[int], Coroutine[None, None, None]]) -> float:
    """CPU time of a GiB, ms."""
    await carry(child.port)
    cpu = child.cpu_seconds()
    for _ in range(times):
        await carry(child.port)
    return (child.cpu_seconds() - cpu) * 1000 / (times * 64 / 1024)


async def take(port: int) -> None:
    """64 MiB from the server."""
    _, client = await asyncio.get_running_loop().create_connection(Client, "127.0.0.1", port)
    came = client.expect(64 * MIB)
    client.transport.write(UPGRADE % b"/down")
    await asyncio.wait_for(came, 60)
    client.transport.close()


async def give(port: int) -> None:
    """64 MiB to the server."""
    client = await tunnel(port, b"/up")
    came = client.expect(1)
    await pour(client.transport, client.can_write)
    await asyncio.wait_for(came, 60)
    client.transport.close()


async def run(name: str, folder: Path, count: int, seconds: float, times: int, cpus: set[int]) -> Found:
    """Start the upstream here and proxy `name` before it, and measure."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Server, "127.0.0.1", 0, backlog=4096)
    port: int = server.sockets[0].getsockname()[1]
    place = Place(folder, children.free_port(), port)
    child = await asyncio.to_thread(proxies.start, name, place, cpus or None)
    try:
        return await measure(child, count, seconds, times)
    finally:
        server.close()
        await asyncio.to_thread(child.stop)


def show(name: str, found: Found) -> None:
    """Print it."""
    idle, without = found.idle, found.without
    print(f"{name}: {found.open} tunnels, {found.kib:.1f} KiB each")
    for words, one in (("idle", idle), ("without tunnels", without)):
        woken = f"{one.wakes:.1f} wake-ups/s of the polling thread, {one.others:.1f} of others"
        print(f"  {words}: {one.cpu:.2f} % of a core, {woken}")
    print(f"  through one: {found.down:.0f} ms of CPU a GiB down, {found.up:.0f} ms up")


def main() -> None:
    """Run it once and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m bench.tunnels", description=__doc__)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--idle", type=float, default=10.0, help="seconds during which nothing happens")
    parser.add_argument("--times", type=int, default=8, help="how often 64 MiB go each way")
    parser.add_argument("proxies", nargs="*", default=["asyncproxy", "nginx"])
    chosen = parser.parse_args()
    allow_many_files()
    gc.freeze()
    gc.disable()
    proxy_cpus, load_cpus = cores()
    if load_cpus:
        os.sched_setaffinity(0, load_cpus)
    missed = []
    for name in chosen.proxies:
        if proxies.missing_packages([name]):
            print(f"{name} is not installed")
            continue
        with tempfile.TemporaryDirectory(prefix="asyncproxy-bench-") as folder:
            found = uvloop.run(run(name, Path(folder), chosen.count, chosen.idle, chosen.times, proxy_cpus))
        show(name, found)
        missed += found.missed(chosen.count) if name == "asyncproxy" else []
    for words in missed:
        print(f"MISSED: {words}")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
