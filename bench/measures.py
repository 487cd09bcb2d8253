"""What is measured: each a function of one running proxy, and the lines it fills in the table."""

import asyncio
import os
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import uvloop

from bench import load
from bench.load import MIB
from examples.demo.children import Child
from examples.demo.crowd import Crowd, evenly, percentile

Numbers = dict[str, float]
OURS = ("asyncproxy", "asyncproxy-module")


@dataclass(frozen=True)
class Scale:
    """How long and how much; ``quick`` proves that the tools work, no more."""

    seconds: float = 4.0
    rounds: int = 3
    large_times: int = 16
    slow_read_seconds: float = 20.0
    shortest: float = 10.0
    longest: float = 20.0
    hang_ups: int = 20

    def quick(self) -> "Scale":
        """A cut of it."""
        return replace(
            self,
            seconds=1.0,
            rounds=1,
            large_times=3,
            slow_read_seconds=3.0,
            shortest=2.0,
            longest=4.0,
            hang_ups=6,
        )


@dataclass(frozen=True)
class Bar:
    """What asyncproxy must reach, and better what it aims at; against another's number, or as it stands."""

    most: float | None
    aim: float | None = None
    of: str = ""
    who: tuple[str, ...] = ("asyncproxy",)


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    key: str
    what: str
    unit: str
    bars: tuple[Bar, ...] = ()


@dataclass(frozen=True)
class Measure:
    """One kind of load: how a trial of it is run, and the lines that come of it."""

    name: str
    title: str
    trial: Callable[["Subject", Scale], Numbers]
    lines: tuple[Line, ...]
    proxies: tuple[str, ...] = ("asyncproxy", "asyncproxy-module", "nginx", "apache", "twisted")
    never: tuple[str, ...] = ()
    repeated: bool = True


@dataclass(frozen=True)
class Subject:
    """The proxy under measurement, freshly started, and the upstream behind it."""

    child: Child
    upstream: Child

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.child.port


def warm(subject: Subject) -> None:
    """A few requests, so that nothing is done or loaded for the first time while we look."""
    for _ in range(30):
        load.ask(subject.port, "/small")


def load_seconds(subject: Subject) -> float:
    """CPU time of the load so far: of the upstream, and of every wrk that has ended."""
    ours = os.times()
    return subject.upstream.cpu_seconds() + ours.children_user + ours.children_system


def small(subject: Subject, scale: Scale, *, close: bool = False, varied: bool = False) -> Numbers:
    """Small GETs on 64 connections; the CPU time is that of all the proxy's processes."""
    if load.is_kept(subject.port, close=close) == close:
        raise RuntimeError("client connections are " + ("kept though they should close" if close else "not kept"))
    load.wrk(subject.port, 1, close=close, varied=varied)
    busy, cpu = load_seconds(subject), subject.child.cpu_seconds()
    seen = load.wrk(subject.port, scale.seconds, close=close, varied=varied)
    cpu, busy = subject.child.cpu_seconds() - cpu, load_seconds(subject) - busy
    found = {"cpu": cpu / seen.requests * 1e6, "rate": seen.requests / seen.seconds}
    found |= {"p50": seen.p50, "p99": seen.p99, "errors": float(seen.errors)}
    return found | {"load": 100 * busy / seen.seconds}


def unlike(subject: Subject, scale: Scale) -> Numbers:
    """Small GETs of which no head is like another, nor any reply's: what is known of earlier ones does not help."""
    return small(subject, scale, varied=True)


def connecting(subject: Subject, scale: Scale) -> Numbers:
    """The same, with a new client connection for each request."""
    return small(subject, scale, close=True)


def transfer(subject: Subject, scale: Scale, carry: Callable[[int, int, int], None]) -> Numbers:
    """64 MiB, several times: CPU time per GiB, and the most memory beyond what it had before."""
    warm(subject)
    carry(subject.port, MIB, 1)
    resident = subject.child.kib("VmRSS")
    subject.child.forget_peak()
    cpu = subject.child.cpu_seconds()
    carry(subject.port, 64 * MIB, scale.large_times)
    cpu = subject.child.cpu_seconds() - cpu
    growth = subject.child.kib("VmHWM") - resident
    return {"cpu": cpu * 1000 / (scale.large_times * 64 / 1024), "growth": growth / 1024}


def down(subject: Subject, scale: Scale) -> Numbers:
    """Large replies."""
    return transfer(subject, scale, load.download)


def up(subject: Subject, scale: Scale) -> Numbers:
    """Large requests."""
    return transfer(subject, scale, load.upload)


def slow_reader(subject: Subject, scale: Scale) -> Numbers:
    """2 GiB to a client that reads 10 MiB/s: the most memory beyond what it had before."""
    warm(subject)
    resident = subject.child.kib("VmRSS")
    subject.child.forget_peak()
    read = load.read_slowly(subject.port, 2048 * MIB, 10 * MIB, scale.slow_read_seconds)
    return {"growth": (subject.child.kib("VmHWM") - resident) / 1024, "read": read / MIB}


def held(count: int, within: float) -> Callable[[Subject, Scale], Numbers]:
    """So many slow requests at once, arriving within so many seconds.

    Each request tells its upstream's time, between the scale's shortest and longest, never so short that it
    ends before the last has come: all are held at the same moment. The answers are spread as the arrivals.
    """

    def takes(number: int, at: float, scale: Scale) -> float:
        shortest = max(scale.shortest, within + 1.0 - at)
        longest = max(scale.longest, shortest + within)
        return shortest + (longest - shortest) * (number * 0.618034 % 1.0)

    def trial(subject: Subject, scale: Scale) -> Numbers:
        warm(subject)
        crowd = Crowd(subject.port, evenly(count, within, lambda number, at: takes(number, at, scale)))
        before = subject.child.kib("VmRSS")
        peak = uvloop.run(gather(crowd, subject))
        late = [seconds * 1000 for seconds in crowd.added]
        for why, times in crowd.wrong.items():
            print(f"      {times} x {why}")
        found = {"errors": float(crowd.errors), "p50": percentile(late, 0.5), "p99": percentile(late, 0.99)}
        grown = peak["resident"] - before
        per = grown / peak["held"] if peak["held"] else float("nan")
        return found | {"threads": peak["threads"], "memory": per, "held": float(crowd.most_held)}

    return trial


async def gather(crowd: Crowd, subject: Subject) -> Numbers:
    """Let the crowd in, and look at the proxy half a second after the last has come."""
    visiting = asyncio.ensure_future(crowd.gather())
    await asyncio.sleep(crowd.all_in + 0.5)
    child = subject.child
    peak = {
        "resident": float(child.kib("VmRSS")),
        "threads": float(child.threads()),
        "held": float(crowd.held),
    }
    await visiting
    return peak


def while_busy(path: str) -> Callable[[Subject, Scale], Numbers]:
    """A steady probe through ``reverse`` while all five workers are held for five seconds by ``path``."""

    def trial(subject: Subject, scale: Scale) -> Numbers:
        warm(subject)
        ended: list[float] = []
        began = time.monotonic()
        busy = [threading.Thread(target=occupy, args=(subject.port, path, ended)) for _ in range(5)]
        for thread in busy:
            thread.start()
        time.sleep(0.3)
        probe = load.Probe(subject.port)
        uvloop.run(probe.run(4.0))
        for thread in busy:
            thread.join()
        if len(ended) != 5 or min(ended) - began < 4.9:
            raise RuntimeError(f"only {len(ended)} of 5 workers were held, or not for 5 s")
        late = [seconds * 1000 for seconds in probe.latencies]
        found = {
            "p50": percentile(late, 0.5),
            "p99": percentile(late, 0.99),
            "most": max(late, default=float("nan")),
        }
        return found | {"errors": float(probe.errors)}

    return trial


def occupy(port: int, path: str, ended: list[float]) -> None:
    """Hold one worker, and note when it was free again."""
    load.ask(port, path)
    ended.append(time.monotonic())


def leaving(subject: Subject, scale: Scale) -> Numbers:
    """Clients that hang up on a request held by the upstream, every second one with a reset."""
    warm(subject)
    times = []
    for number in range(scale.hang_ups):
        name = f"{subject.port}-{number}"
        seen = load.hang_up(subject.port, subject.upstream.port, name, reset=bool(number % 2), patience=2.0)
        if seen is None:
            return {"median": float("inf"), "most": float("inf")}
        times.append(seen * 1000)
    return {"median": statistics.median(times), "most": max(times)}


def small_lines(*bars: Bar) -> tuple[Line, ...]:
    """The lines of the two small loads."""
    return (
        Line("cpu", "CPU a request", "us", bars),
        Line("rate", "requests a second", ""),
        Line("p50", "latency p50", "ms"),
        Line("p99", "latency p99", "ms"),
        Line("errors", "errors", "", (Bar(0, who=OURS),)),
        Line("load", "load and upstream, of their core", "%"),
    )


GROWTH = Line("growth", "memory growth", "MiB", (Bar(16),))
LARGE = (Line("cpu", "CPU a GiB", "ms", (Bar(1.1, of="nginx"),)), GROWTH)


def held_lines(p99: float, *memory: Bar) -> tuple[Line, ...]:
    """The lines of one held crowd."""
    return (
        Line("held", "held at once", ""),
        Line("errors", "errors", "", (Bar(0, who=OURS),)),
        Line("threads", "threads", "", (Bar(10, who=OURS),)),
        Line("p50", "added latency p50", "ms"),
        Line("p99", "added latency p99", "ms", (Bar(p99, who=OURS),)),
        Line("memory", "memory per held request", "KiB", memory),
    )


BUSY_LINES = (
    Line("p50", "latency p50", "ms"),
    Line("most", "longest", "ms"),
    Line("errors", "errors", "", (Bar(0),)),
)
SMALL_BARS = (
    Bar(2.0, 1.6, "nginx"),
    Bar(0.5, None, "apache"),
    Bar(3.0, 2.3, "nginx", ("asyncproxy-module",)),
)
FEW = ("asyncproxy", "asyncproxy-module", "nginx")
HERE = ("asyncproxy",)
NOT_HERE = ("nginx", "apache", "twisted", "asyncproxy-module")

MEASURES = (
    Measure("small", "Small GET, 64 kept-alive connections, 200 bytes", small, small_lines(*SMALL_BARS)),
    Measure("unlike", "The same, no head like another", unlike, small_lines()),
    Measure(
        "seen",
        "Small GET: JSON access log, metrics and request ids on, against all of them off",
        small,
        small_lines(Bar(1.25, None, "unseen", ("seen",))),
        ("unseen", "seen"),
    ),
    Measure("connect", "A new connection for each request", connecting, small_lines(Bar(2.5, 2.0, "nginx"))),
    Measure("down", "64 MiB down", down, LARGE),
    Measure("up", "64 MiB up", up, LARGE),
    Measure(
        "slow-reader",
        "2 GiB to a client that reads 10 MiB/s",
        slow_reader,
        (GROWTH, Line("read", "read before the cut", "MiB")),
        repeated=False,
    ),
    Measure("held-400", "400 held, within 0.5 s", held(400, 0.5), held_lines(50), repeated=False),
    Measure(
        "held-4000",
        "4,000 held, within 5 s",
        held(4000, 5),
        held_lines(100, Bar(10, 6, who=OURS)),
        FEW,
        ("apache",),
        repeated=False,
    ),
    Measure(
        "held-9000",
        "9,000 held, within 12 s",
        held(9000, 12),
        held_lines(150),
        FEW,
        ("apache",),
        repeated=False,
    ),
    Measure(
        "sleeping",
        "reverse while 5 workers sleep 5 s",
        while_busy("/sleep"),
        (Line("p99", "latency p99", "ms", (Bar(50),)), *BUSY_LINES),
        HERE,
        NOT_HERE,
        repeated=False,
    ),
    Measure(
        "spinning",
        "reverse while 5 workers spin in Python 5 s",
        while_busy("/spin"),
        (Line("p99", "latency p99", "ms", (Bar(None, 30),)), *BUSY_LINES),
        HERE,
        NOT_HERE,
        repeated=False,
    ),
    Measure(
        "hang-up",
        "Client hangs up while parked on a forward: until the upstream sees it",
        leaving,
        (
            Line("most", "longest", "ms", (Bar(100, who=OURS),)),
            Line("median", "median", "ms"),
        ),
        repeated=False,
    ),
)
