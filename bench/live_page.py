"""`python -m bench.live_page`: what the live page costs while 9,000 requests are parked, and how soon it is seen.

A proxy with five workers holds 9,000 requests that wait for tickets. wrk sends small GETs through `reverse`, in rounds
with nobody at the page and with an onlooker who reads its events, in turns; then Chromium opens the page three times.
Printed are requests a second, the proxy's CPU time for each, and how long the first paint takes. The exit status is 1
if a bar is missed.
"""

import argparse
import contextlib
import http.client
import os
import shutil
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from bench import load
from bench.tickets import cores
from examples.demo import children
from examples.demo.children import Child
from examples.demo.upstream import allow_many_files

CONFIG = """\
[server]
listen = ["tcp:{port}:interface=127.0.0.1"]
workers = 5
max_parked = 20000
drain = "0s"

[admin]
listen = "tcp:{admin}:interface=127.0.0.1"

[[route]]
module = "reverse"
upstream = "http://127.0.0.1:{upstream}"

[[route]]
path = "/wait"
module = "bench.modules:Approval"
"""
BAR_RATE = 10.0
"""Percent of the requests a second that an open page may take."""
BAR_PAINT = 1000.0
"""Milliseconds until the page's first paint."""
SETTLED = 4.0
"""Seconds after which an onlooker has been told all that is parked."""
PAINTED = "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"


def held(port: int, count: int) -> list[socket.socket]:
    """Clients that wait, each for a ticket of its own."""
    waiting = []
    for number in range(count):
        client = socket.create_connection(("127.0.0.1", port), 10)
        client.sendall(b"GET /wait?id=page-%d HTTP/1.1\r\nHost: bench\r\n\r\n" % number)
        waiting.append(client)
    return waiting


@contextlib.contextmanager
def onlooker(admin: int) -> Iterator[list[int]]:
    """Somebody who reads the page's events, as a browser elsewhere does; how many bytes have come."""
    connection = http.client.HTTPConnection("127.0.0.1", admin, timeout=30)
    connection.request("GET", "/status/events")
    reply, come = connection.getresponse(), [0]
    sock = connection.sock

    def read() -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            while data := reply.read1(65536):
                come[0] += len(data)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield come
    finally:
        sock.shutdown(socket.SHUT_RDWR)
        reader.join(10)
        connection.close()


def small(proxy: Child, port: int, seconds: float) -> tuple[float, float, float]:
    """Requests a second, the proxy's CPU time for each in microseconds, and their p99 in milliseconds."""
    cpu = proxy.cpu_seconds()
    seen = load.wrk(port, seconds)
    if seen.errors:
        raise RuntimeError(f"{seen.errors} small GETs failed")
    return seen.requests / seen.seconds, (proxy.cpu_seconds() - cpu) / seen.requests * 1e6, seen.p99


def compare(proxy: Child, port: int, admin: int, rounds: int, seconds: float) -> tuple[float, float]:
    """Medians of the requests a second, with nobody at the page and with somebody."""
    alone, seen = [], []
    for turn in range(rounds):
        alone.append(small(proxy, port, seconds))
        with onlooker(admin) as come:
            time.sleep(SETTLED)
            if come[0] < 1000:
                raise RuntimeError(f"the onlooker was told {come[0]} bytes")
            seen.append(small(proxy, port, seconds))
        for words, (rate, cpu, p99) in (("nobody looks", alone[-1]), ("page open   ", seen[-1])):
            print(f"round {turn + 1}, {words}: {rate:,.0f} requests/s, {cpu:.1f} us each, p99 {p99:.1f} ms", flush=True)
    return statistics.median(rate for rate, *_ in alone), statistics.median(rate for rate, *_ in seen)


def paints(admin: int, times: int) -> list[float]:
    """Milliseconds until the first paint, each time in a tab that knows nothing of the page."""
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"):
        options.add_argument(argument)
    browser = Chrome(options=options, service=Service(str(shutil.which("chromedriver"))))
    found = []
    try:
        for _ in range(times):
            browser.get("about:blank")
            browser.get(f"http://127.0.0.1:{admin}/status")
            until = time.monotonic() + 30
            while not (painted := browser.execute_script(PAINTED)):
                if time.monotonic() > until:
                    raise RuntimeError("the page was not painted within 30 s")
                time.sleep(0.05)
            found.append(float(painted))
    finally:
        browser.quit()
    return found


def run(folder: Path, count: int, rounds: int, seconds: float) -> list[str]:
    """All of it; the bars that are missed."""
    proxy_cpus, load_cpus = cores()
    if load_cpus:
        os.sched_setaffinity(0, load_cpus)
    with contextlib.ExitStack() as ends:
        upstream = children.start_upstream("bench.upstream", log=folder / "upstream.log")
        ends.callback(upstream.stop)
        port, admin, config = children.free_port(), children.free_port(), folder / "proxy.toml"
        config.write_text(CONFIG.format(port=port, admin=admin, upstream=upstream.port))
        argv = children.asyncproxy(config)
        proxy = children.start_listening(argv, port, admin, log=folder / "proxy.log", cpus=proxy_cpus or None)
        ends.callback(proxy.stop)
        for client in held(port, count):
            ends.callback(client.close)
        small(proxy, port, 1)
        alone, seen = compare(proxy, port, admin, rounds, seconds)
        lost = 100 * (1 - seen / alone)
        print(f"{count:,} parked: with the page open {lost:.1f} % fewer requests a second")
        idle = paints(admin, 3) if shutil.which("chromedriver") else []
        print(f"first paint {', '.join(f'{ms:.0f} ms' for ms in idle) or 'not measured: there is no chromedriver'}")
    return [
        *([f"an open page takes {lost:.1f} % of the rate"] if lost > BAR_RATE else []),
        *([f"first paint takes {max(idle):.0f} ms"] if idle and max(idle) > BAR_PAINT else []),
    ]


def main() -> None:
    """Run it once and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m bench.live_page", description=__doc__)
    parser.add_argument("--count", type=int, default=9000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each load lasts")
    chosen = parser.parse_args()
    allow_many_files()
    with tempfile.TemporaryDirectory(prefix="asyncproxy-bench-") as folder:
        missed = run(Path(folder), chosen.count, chosen.rounds, chosen.seconds)
    for words in missed:
        print(f"MISSED: {words}")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
