"""`python -m bench.tickets`: 9,000 requests parked on tickets, and one resume a millisecond by another process.

A real proxy with five workers. Each client must be answered with the value that was posted for its own ticket; printed
are the time from resume to answer, the proxy's CPU time while all are parked, and what it holds for each. The exit
status is 1 if anything is wrong or a bar is missed.
"""

import argparse
import asyncio
import gc
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from bench.resumer import Resumes
from examples.demo import children
from examples.demo.children import Child
from examples.demo.crowd import Crowd, Visitor, evenly, percentile
from examples.demo.upstream import allow_many_files

CONFIG = """\
[server]
listen = ["tcp:{port}:interface=127.0.0.1"]
workers = 5
max_parked = 20000
drain = "1s"

[admin]
listen = "tcp:{admin}:interface=127.0.0.1"

[[route]]
module = "bench.modules:Approval"
"""
ARRIVALS = 800.0
"""Clients that come in a second."""
WARM = 50
BAR_P99 = 50.0
"""Milliseconds from resume to answer."""
BAR_IDLE = 1.0
"""Percent of a core while all are parked."""
BAR_KIB = 10.0
"""Memory of a parked request."""


@dataclass
class Waiting(Crowd):
    """Clients that wait for a ticket of their own name each; when each was answered, by its name."""

    answered_at: dict[str, float] = field(default_factory=dict)

    def judge(self, visitor: Visitor, head: bytes, body: bytes) -> None:
        """Whether it is the value that was posted for this very ticket."""
        name = visitor.visit.name
        if not head.startswith(b"HTTP/1.1 200 "):
            self.left(visitor, "answered " + head.split(b"\r\n", 1)[0].decode("latin-1"))
        elif json.loads(body) != value_for(name):
            self.left(visitor, "answered with another's value")
        else:
            self.answered_at[name] = time.monotonic()
            self.left(visitor, None)


def value_for(name: str) -> dict[str, str]:
    """What is posted for a ticket."""
    return {"approved": name, "by": name[::-1]}


@dataclass
class Found:
    """What was measured; memory in KiB, CPU in percent of a core, times in milliseconds."""

    held: int
    threads: int
    memory: float
    idle: float
    busy: float
    """CPU time of one resume and its answer, us."""
    resumes: Resumes
    latencies: list[float]
    crowd: Waiting

    @property
    def missed(self) -> list[str]:
        """What is wrong, and the bars that are not reached."""
        count = len(self.crowd.visits)
        checks = {
            f"{self.held} of {count} were held at once": self.held != count,
            f"{self.crowd.errors} answers are wrong": self.crowd.errors > 0 or len(self.latencies) != count,
            f"resumes were answered {self.resumes.statuses}": self.resumes.statuses != {"200": count},
            f"p99 is over {BAR_P99:g} ms": not percentile(self.latencies, 0.99) <= BAR_P99,
            f"idle CPU is over {BAR_IDLE:g} %": not self.idle <= BAR_IDLE,
            f"memory is over {BAR_KIB:g} KiB": not self.memory <= BAR_KIB,
        }
        return [words for words, wrong in checks.items() if wrong]


async def wait_and_resume(proxy: Child, admin: int, count: int, rate: float, idle: float, cpus: set[int]) -> Found:
    """Let the crowd in, look at the proxy while all wait, have each resumed."""
    await visit(proxy, admin, WARM, rate, cpus)
    before = proxy.kib("VmRSS")
    takes = count / ARRIVALS + idle + count / rate
    crowd = Waiting(proxy.port, evenly(count, count / ARRIVALS, lambda _number, _at: takes))
    visiting = asyncio.ensure_future(crowd.gather())
    await asyncio.sleep(crowd.all_in + 0.5)
    held, grown, threads = crowd.held, proxy.kib("VmRSS") - before, proxy.threads()
    cpu, began = proxy.cpu_seconds(), time.monotonic()
    await asyncio.sleep(idle)
    cpu, passed = proxy.cpu_seconds() - cpu, time.monotonic() - began
    names = [one.name for one in crowd.visits]
    random.Random(1).shuffle(names)
    busy = proxy.cpu_seconds()
    resumes = await asyncio.to_thread(resume, admin, names, rate, cpus)
    await visiting
    busy = (proxy.cpu_seconds() - busy) / count * 1e6
    late = [(at - resumes.due[name]) * 1000 for name, at in crowd.answered_at.items()]
    memory = grown / held if held else float("nan")
    return Found(held, threads, memory, 100 * cpu / passed, busy, resumes, late, crowd)


async def visit(proxy: Child, admin: int, count: int, rate: float, cpus: set[int]) -> None:
    """A few, so that nothing is done for the first time while we look; their names are others."""
    visits = [one._replace(name=f"warm-{number}") for number, one in enumerate(evenly(count, 0.2, lambda *_: 2.0))]
    crowd = Waiting(proxy.port, visits)
    visiting = asyncio.ensure_future(crowd.gather())
    await asyncio.sleep(0.7)
    await asyncio.to_thread(resume, admin, [one.name for one in visits], rate, cpus)
    await visiting


def resume(admin: int, names: list[str], rate: float, cpus: set[int]) -> Resumes:
    """Another process posts a value for each."""
    values = {name: value_for(name) for name in names}
    argv = [sys.executable, "-m", "bench.resumer", "--port", str(admin), "--rate", str(rate)]
    argv += ["--cpus", ",".join(map(str, sorted(cpus)))] if cpus else []
    done = subprocess.run(
        argv, input=json.dumps(values), capture_output=True, text=True, env=children.environment(), check=False
    )
    if done.returncode:
        raise RuntimeError(f"the process that resumes ended with {done.returncode}: {done.stderr[-2000:]}")
    told = json.loads(done.stdout)
    return Resumes(told["due"], told["statuses"])


def cores() -> tuple[set[int], set[int]]:
    """One for the proxy, the others for the load; all for both where there is only one."""
    usable = sorted(os.sched_getaffinity(0))
    return ({usable[0]}, set(usable[1:])) if len(usable) > 1 else (set(), set())


def show(found: Found) -> None:
    """Print it."""
    for why, times in found.crowd.wrong.items():
        print(f"      {times} x {why}")
    print(f"parked {found.held}, answered with their own value {len(found.latencies)}, wrong {found.crowd.errors}")
    p50, p99 = percentile(found.latencies, 0.5), percentile(found.latencies, 0.99)
    print(f"resume to answer p50 {p50:.2f} ms, p99 {p99:.1f} ms, longest {max(found.latencies, default=0):.1f} ms")
    print(f"CPU for a resume and its answer {found.busy:.0f} us")
    print(f"idle CPU while parked {found.idle:.2f} % of a core; {found.threads} threads")
    print(f"memory per parked ticket {found.memory:.1f} KiB")
    for words in found.missed:
        print(f"MISSED: {words}")


def main() -> None:
    """Run it once and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m bench.tickets", description=__doc__)
    parser.add_argument("--count", type=int, default=9000)
    parser.add_argument("--rate", type=float, default=1000.0, help="resumes a second")
    parser.add_argument("--idle", type=float, default=10.0, help="seconds during which nothing happens")
    chosen = parser.parse_args()
    allow_many_files()
    gc.freeze()
    gc.disable()
    proxy_cpus, load_cpus = cores()
    if load_cpus:
        os.sched_setaffinity(0, load_cpus)
    with tempfile.TemporaryDirectory(prefix="asyncproxy-bench-") as folder:
        port, admin, config = children.free_port(), children.free_port(), Path(folder, "proxy.toml")
        config.write_text(CONFIG.format(port=port, admin=admin))
        argv, log = children.asyncproxy(config), Path(folder, "proxy.log")
        proxy = children.start_listening(argv, port, admin, log=log, cpus=proxy_cpus or None)
        try:
            found = uvloop.run(wait_and_resume(proxy, admin, chosen.count, chosen.rate, chosen.idle, load_cpus))
        finally:
            proxy.stop()
    show(found)
    sys.exit(1 if found.missed else 0)


if __name__ == "__main__":
    main()
