"""`python -m bench.seen`: what access log, metrics and request ids cost a small GET, against all of them off.

Two proxies, with and without, are loaded in turns of a second, for what else the machine does then counts for both; and
there are new ones in each round, for no two processes lie in memory alike. The bar is for the median of the rounds'
ratios of CPU time: 1.25. If it is not met, the exit status is 1.
"""

import argparse
import contextlib
import os
import random
import statistics
import sys
import tempfile
from pathlib import Path

from bench import load, proxies
from bench.__main__ import cores
from bench.proxies import Place
from examples.demo import children
from examples.demo.children import Child
from examples.demo.upstream import allow_many_files

BAR = 1.25
KINDS = ("unseen", "seen")


def burst(proxy: Child) -> tuple[float, int]:
    """A second of small GETs: the proxy's CPU time, in seconds, and how many there were."""
    cpu = proxy.cpu_seconds()
    seen = load.wrk(proxy.port, 1)
    if seen.errors:
        raise RuntimeError(f"{seen.errors} small GETs failed")
    return proxy.cpu_seconds() - cpu, seen.requests


def compare(running: dict[str, Child], bursts: int) -> dict[str, float]:
    """Microseconds a request of each."""
    for proxy in running.values():
        burst(proxy)
    spent = dict.fromkeys(running, (0.0, 0))
    for _ in range(bursts):
        for kind in random.sample(list(running), len(running)):
            cpu, count = burst(running[kind])
            spent[kind] = spent[kind][0] + cpu, spent[kind][1] + count
    return {kind: cpu / count * 1e6 for kind, (cpu, count) in spent.items()}


def play(folder: str, upstream: Child, cpus: set[int] | None, bursts: int) -> dict[str, float]:
    """A round: start both, compare them, end them."""
    running: dict[str, Child] = {}
    with contextlib.ExitStack() as started:
        for kind in KINDS:
            place = Place(Path(tempfile.mkdtemp(dir=folder)), children.free_port(), upstream.port)
            running[kind] = proxies.start(kind, place, cpus)
            started.callback(running[kind].stop)
        return compare(running, bursts)


def main() -> None:
    """Play the rounds and print what came of them."""
    parser = argparse.ArgumentParser(prog="python -m bench.seen", description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--bursts", type=int, default=3, help="of each proxy in a round; one before it does not count")
    chosen = parser.parse_args()
    allow_many_files()
    proxy_cpus, load_cpus = cores()
    if load_cpus is not None:
        os.sched_setaffinity(0, load_cpus)
    ratios = []
    with tempfile.TemporaryDirectory(prefix="asyncproxy-bench-") as folder, contextlib.ExitStack() as started:
        upstream = children.start_upstream("bench.upstream", log=Path(folder, "upstream.log"))
        started.callback(upstream.stop)
        for turn in range(chosen.rounds):
            off, on = play(folder, upstream, proxy_cpus, chosen.bursts).values()
            ratios.append(on / off)
            print(f"round {turn + 1}: all off {off:.1f} us, all on {on:.1f} us a request: {on / off:.2f}", flush=True)
    middle = statistics.median(ratios)
    verdict = "met" if middle <= BAR else "NOT MET"
    print(f"median {middle:.3f}, from {min(ratios):.2f} to {max(ratios):.2f}; at most {BAR}: {verdict}")
    sys.exit(0 if middle <= BAR else 1)


if __name__ == "__main__":
    main()
