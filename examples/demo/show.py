"""``make demo``: hundreds of long requests held by five workers, shown while it happens and counted.

Exit status 1 when any request was not answered rightly, 2 when the show could not be given at all.
"""

import argparse
import asyncio
import contextlib
import json
import math
import resource
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from examples.demo import children
from examples.demo.children import Child
from examples.demo.crowd import Crowd, evenly, percentile
from examples.demo.upstream import allow_many_files

CONFIG = """\
[server]
listen = ["tcp:{port}:interface=127.0.0.1"]
workers = {workers}
max_parked = {most}

[admin]
listen = "tcp:{admin}:interface=127.0.0.1"

[upstream.demo]
servers = ["http://127.0.0.1:{upstream}"]

[[route]]
path = "/"
module = "examples.demo.relay:Relay"
upstream = "demo"
timeout = "10m"
"""


@dataclass
class Seen:
    """What the proxy itself was seen to be, while the crowd was there."""

    before: int = 0
    resident: int = 0
    threads: int = 0
    held: int = 0
    busy: int = 0
    parked: int = 0
    most_parked: int = 0
    unanswered: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Stage:
    """The show as it runs: the proxy, its admin port, the crowd, what is seen."""

    proxy: Child
    admin: int
    crowd: Crowd
    seen: Seen


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m examples.demo.show", description=__doc__)
    parser.add_argument("--held", type=int, default=400, help="how many requests at once")
    parser.add_argument("--workers", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="how long the upstream takes for each")
    return parser.parse_args()


async def status(port: int) -> dict[str, Any]:
    """The proxy's own /status.json, without the list of what is parked."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = f"GET /status.json?limit=1 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
    writer.write(request.encode())
    head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
    writer.close()
    if b"chunked" in head.lower():
        body = body[body.index(b"{") : body.rindex(b"}") + 1]
    told: dict[str, Any] = json.loads(body)
    return told


async def look(stage: Stage) -> None:
    """Take down what is to be seen now."""
    seen, proxy = stage.seen, stage.proxy
    resident, held = proxy.kib("VmRSS"), stage.crowd.held
    if held >= seen.held:
        seen.held, seen.resident = held, max(resident, seen.resident)
    seen.threads = max(seen.threads, proxy.threads())
    try:
        told = await asyncio.wait_for(status(stage.admin), 5)
    except (OSError, ValueError, TimeoutError) as wrong:
        seen.unanswered.append(repr(wrong))
        return
    seen.busy, seen.parked = told["workers"]["busy"], told["parked_total"]
    seen.most_parked = max(seen.most_parked, seen.parked)


def bar(stage: Stage, width: int = 30) -> str:
    """The line of this moment: answered in full, held in grey."""
    crowd, seen = stage.crowd, stage.seen
    count = len(crowd.visits)
    full, grey = (round(width * number / count) for number in (crowd.answered, crowd.answered + crowd.held))
    drawn = ("#" * full + "-" * (grey - full)).ljust(width)[:width]
    told = f"held {crowd.held:>5}  answered {crowd.answered:>5}/{count}  errors {crowd.errors}"
    return f"[{drawn}] {told}  |  workers busy {seen.busy}  parked {seen.parked}"


async def watch(stage: Stage) -> None:
    """Draw it anew five times a second on a terminal; a line a second elsewhere."""
    live = sys.stdout.isatty()
    while True:
        await look(stage)
        print(f"\r{bar(stage)}\x1b[K" if live else bar(stage), end="" if live else "\n", flush=True)
        await asyncio.sleep(0.2 if live else 1.0)


async def perform(stage: Stage) -> None:
    """Let the crowd in, and watch; one look is taken when all are in."""
    watching = asyncio.ensure_future(watch(stage))
    loop = asyncio.get_running_loop()
    looks: list[asyncio.Task[None]] = []
    full = loop.call_later(stage.crowd.all_in + 0.3, lambda: looks.append(loop.create_task(look(stage))))
    try:
        await stage.crowd.gather()
    finally:
        full.cancel()
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(watching, *looks)
        await look(stage)
        print(f"\r{bar(stage)}\x1b[K" if sys.stdout.isatty() else bar(stage), flush=True)


async def warm(port: int) -> None:
    """A first few, so that what is done once is done before we look."""
    crowd = Crowd(port, evenly(20, 0.1, lambda number, at: 0.05))
    await crowd.gather(patience=10)
    if crowd.errors:
        raise RuntimeError(f"the first requests went wrong: {crowd.wrong}")


def arrival(held: int, seconds: float) -> float:
    """Within how long they come: a second, longer for thousands, but before the first is answered."""
    return min(max(1.0, held / 1000), 0.8 * seconds)


def thread_cost(count: int) -> float:
    """The resident KiB of a bare waiting thread, measured here in a process of its own."""
    argv = [sys.executable, "-m", "examples.demo.threads", str(min(count, 400))]
    done = subprocess.run(argv, env=children.environment(), capture_output=True, text=True, timeout=60, check=False)
    return float(done.stdout or "nan")


def stack_kib() -> int:
    """The address space that a new thread's stack takes here."""
    limit = resource.getrlimit(resource.RLIMIT_STACK)[0]
    return 8192 if limit == resource.RLIM_INFINITY else limit // 1024


def milliseconds(late: list[float], share: float) -> str:
    """A percentile of the answered ones."""
    return f"{percentile(late, share):.1f} ms" if late else "none"


def size(kib: float) -> str:
    """KiB, MiB or GiB, as is readable."""
    if math.isnan(kib):
        return "unknown"
    for unit in ("KiB", "MiB"):
        if abs(kib) < 1024:
            return f"{kib:.1f} {unit}"
        kib /= 1024
    return f"{kib:.1f} GiB"


def table(stage: Stage, workers: int) -> str:
    """What it came to, and what a thread a request would have needed."""
    crowd, seen, late = stage.crowd, stage.seen, [1000 * seconds for seconds in stage.crowd.added]
    count, each = len(crowd.visits), thread_cost(len(crowd.visits))
    grown = seen.resident - seen.before
    rows = [
        ("", "asyncproxy", "a thread a request"),
        ("held at once", f"{crowd.most_held:,}", f"{count:,}"),
        ("workers", str(workers), f"{count:,}"),
        ("threads in the process", str(seen.threads), f"{count:,} and more"),
        ("completed", f"{crowd.answered:,}", ""),
        ("errors", f"{crowd.errors:,}", ""),
        ("added latency p50", milliseconds(late, 0.5), ""),
        ("added latency p99", milliseconds(late, 0.99), ""),
        ("memory per held request", size(grown / max(1, seen.held)), f"{size(each)} for the bare thread"),
        ("memory for all of them", size(grown), f"{size(each * count)} for the bare threads"),
        (
            "stacks set aside",
            size(seen.threads * stack_kib()),
            f"{size(count * stack_kib())} of address space",
        ),
        ("parked, as it says itself", f"{seen.most_parked:,}", ""),
    ]
    return "\n".join(f"  {what:<26}{ours:>14}    {theirs}".rstrip() for what, ours, theirs in rows)


NOTES = """
  Memory is what the process grew by (resident), with both connections of each request. A bare thread is one
  that only waits, measured here just now: the least it can be, without connections, without the frames of a
  request, and without the kernel's own stack for it. Stacks set aside are the system's default for a thread:
  address space, of which only what is touched becomes memory."""


def told(stage: Stage, workers: int) -> int:
    """Print the end of it; the exit status."""
    print(f"\n{table(stage, workers)}\n{NOTES}")
    for why, times in stage.crowd.wrong.items():
        print(f"  WRONG: {times} x {why}")
    if stage.seen.unanswered:
        print(f"  /status.json did not answer {len(stage.seen.unanswered)} times: {stage.seen.unanswered[0]}")
    return 0 if stage.crowd.answered == len(stage.crowd.visits) and not stage.crowd.errors else 1


def start_proxy(folder: Path, workers: int, held: int, upstream: int) -> tuple[Child, int]:
    """asyncproxy on free ports, and its admin port."""
    port, admin = children.free_port(), children.free_port()
    filled = CONFIG.format(port=port, admin=admin, workers=workers, upstream=upstream, most=held + 1000)
    config = folder / "proxy.toml"
    config.write_text(filled)
    proxy = children.start_listening(children.asyncproxy(config), port, admin, log=folder / "proxy.log")
    return proxy, admin


def give(chosen: argparse.Namespace, folder: Path, upstream: int) -> int:
    """The show itself; the proxy ends with it."""
    proxy, admin = start_proxy(folder, chosen.workers, chosen.held, upstream)
    try:
        uvloop.run(warm(proxy.port))
        within = arrival(chosen.held, chosen.seconds)
        crowd = Crowd(proxy.port, evenly(chosen.held, within, lambda number, at: chosen.seconds))
        stage = Stage(proxy, admin, crowd, Seen(before=proxy.kib("VmRSS")))
        print(f"{chosen.held} requests of {chosen.seconds:g} s, within {within:g} s; {chosen.workers} workers\n")
        uvloop.run(perform(stage))
        return told(stage, chosen.workers)
    finally:
        proxy.stop(patience=2)


def main() -> int:
    """Look whether it can be done here, then do it."""
    chosen = options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if chosen.held < 1 or 2 * chosen.held + 200 > children.most_files():
        print(f"--held: this system lets a process have {children.most_files()} files, two a held request")
        return 2
    allow_many_files()
    with tempfile.TemporaryDirectory(prefix="asyncproxy-demo-") as folder:
        upstream = children.start_upstream("examples.demo.upstream", log=Path(folder, "upstream.log"))
        try:
            return give(chosen, Path(folder), upstream.port)
        finally:
            upstream.stop()


if __name__ == "__main__":
    began = time.monotonic()
    try:
        sys.exit(main())
    except RuntimeError as wrong:
        print(f"the show could not be given: {wrong}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"\nstopped after {time.monotonic() - began:.0f} s")
        sys.exit(130)
