"""`python -m bench.reload`: 200 SIGHUPs under 2,000 requests a second, with 100 held.

Each changes a group of servers and a module's settings. Nobody may fail, of those that come or of those that are held;
else the exit status is 1.
"""

import argparse
import asyncio
import signal
import sys
import time

import uvloop

from bench.alone import Alone, alone
from bench.load import Probe
from examples.demo.crowd import Crowd, evenly, percentile

PAUSE = 0.05
"""Seconds from one SIGHUP to the next, at least."""
PATIENCE = 10.0
"""Seconds that a reload may take."""


async def tell(proxy: Alone, count: int) -> list[float]:
    """Change the file and tell the proxy, `count` times; seconds that each took until its log said so."""
    took: list[float] = []
    for number in range(1, count + 1):
        proxy.configure(number)
        told = time.monotonic()
        proxy.child.process.send_signal(signal.SIGHUP)
        while proxy.said("Reloaded:") < number:
            if time.monotonic() - told > PATIENCE:
                return took
            await asyncio.sleep(0.002)
        took.append(time.monotonic() - told)
        await asyncio.sleep(max(0.0, told + PAUSE - time.monotonic()))
    return took


async def run(proxy: Alone, probe: Probe, crowd: Crowd, count: int, seconds: float) -> tuple[int, list[float]]:
    """The crowd is held and the probe under way while the proxy is told; how many were held, and what each took."""
    visiting = asyncio.ensure_future(crowd.gather())
    await asyncio.sleep(crowd.all_in + 0.5)
    held = crowd.held
    probing = asyncio.ensure_future(probe.run(seconds))
    await asyncio.sleep(0.5)
    took = await tell(proxy, count)
    if probing.done():
        print("      the load was over before the last reload")
        took.clear()
    await probing
    await visiting
    return held, took


def main() -> None:
    """Run it once and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m bench.reload", description=__doc__)
    parser.add_argument("--reloads", type=int, default=200)
    parser.add_argument("--held", type=int, default=100)
    parser.add_argument("--rate", type=float, default=2000.0, help="requests a second")
    chosen = parser.parse_args()
    seconds = chosen.reloads * PAUSE * 1.5 + 2
    with alone() as proxy:
        probe = Probe(proxy.port, rate=chosen.rate, lines=64)
        crowd = Crowd(proxy.port, evenly(chosen.held, 0.5, lambda _number, _at: seconds))
        held, took = uvloop.run(run(proxy, probe, crowd, chosen.reloads, seconds))
        tracebacks = proxy.said("Traceback")
    for why, times in crowd.wrong.items():
        print(f"      {times} x {why}")
    late = [took * 1000 for took in probe.latencies]
    reloads = [one * 1000 for one in took]
    print(f"reloads {len(took)}, p50 {percentile(reloads, 0.5):.1f} ms, longest {max(reloads, default=0):.1f} ms")
    print(f"requests {len(late)} in {seconds:g} s, failed {probe.errors}")
    print(
        f"latency p50 {percentile(late, 0.5):.2f} ms, p99 {percentile(late, 0.99):.1f} ms, longest {max(late):.1f} ms"
    )
    print(f"held {held}, answered {crowd.answered}, failed {crowd.errors}; tracebacks in the log {tracebacks}")
    wrong = probe.errors or crowd.errors or tracebacks or len(took) != chosen.reloads
    sys.exit(1 if wrong or held != chosen.held else 0)


if __name__ == "__main__":
    main()
