"""`python -m bench.drain`: SIGTERM with 400 requests held for three seconds, and ten seconds to drain.

All must be answered, new connections refused, and the exit status 0; else the bench's own is 1.
"""

import argparse
import asyncio
import signal
import socket
import subprocess
import sys
import time

import uvloop

from bench.alone import Alone, alone
from examples.demo.crowd import Crowd, evenly, percentile

WITHIN = 0.5
"""Seconds in which they all come."""


async def hold(proxy: Alone, crowd: Crowd) -> tuple[int, float]:
    """Let the crowd in, then end the proxy; how many were held then, and seconds until connections were refused."""
    visiting = asyncio.ensure_future(crowd.gather())
    await asyncio.sleep(WITHIN + 0.5)
    held = crowd.held
    proxy.child.process.send_signal(signal.SIGTERM)
    refused_after = await asyncio.to_thread(until_refused, proxy.port)
    await visiting
    return held, refused_after


def until_refused(port: int) -> float:
    """Seconds until a new connection is refused; infinite if none is within five."""
    began = time.monotonic()
    while (passed := time.monotonic() - began) < 5:
        if refused(port):
            return passed
        time.sleep(0.005)
    return float("inf")


def refused(port: int) -> bool:
    """Whether a new connection is."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except ConnectionError:
        return True
    return False


def main() -> None:
    """Run it once and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m bench.drain", description=__doc__)
    parser.add_argument("--held", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=3.0)
    chosen = parser.parse_args()
    with alone() as proxy:
        crowd = Crowd(proxy.port, evenly(chosen.held, WITHIN, lambda _number, _at: chosen.seconds))
        held, refused_after = uvloop.run(hold(proxy, crowd))
        try:
            status: int | None = proxy.child.process.wait(15)
        except subprocess.TimeoutExpired:
            status = None
    for why, times in crowd.wrong.items():
        print(f"      {times} x {why}")
    late = [seconds * 1000 for seconds in crowd.added]
    print(f"held at SIGTERM {held}, answered {crowd.answered}, failed {crowd.errors}")
    print(f"added latency p50 {percentile(late, 0.5):.1f} ms, p99 {percentile(late, 0.99):.1f} ms")
    print(f"new connections refused after {refused_after * 1000:.0f} ms; exit status {status}")
    right = held == crowd.answered == chosen.held and crowd.errors == 0 and status == 0 and refused_after < 5
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
