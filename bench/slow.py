"""`python -m bench.slow`: 400 connections of slowhttptest (Debian) against a proxy, each kind for 30 seconds.

Slow heads, slow bodies, slow readers, and requests with a thousand ranges, these both through `reverse` and for a file
that `resource` serves. Each second somebody else asks for a small page on a new connection: every one of these must be
answered with 200 within a second, else the exit status is 1. Nothing is set in the proxy: its limits are the defaults.
"""

import argparse
import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.proxies import program
from examples.demo import children
from examples.demo.children import Child
from examples.demo.upstream import allow_many_files

CONFIG = """\
[server]
listen = ["tcp:{port}:interface=127.0.0.1"]
access_log = "{folder}/access.log"
access_log_format = "json"
drain = "1s"

[admin]
listen = "tcp:{admin}:interface=127.0.0.1"

[[route]]
module = "reverse"
upstream = "http://127.0.0.1:{upstream_port}"

[[route]]
path = "/files/"
module = "resource"
settings = {{ resource = "twisted.web.static:File", args = ["{folder}/served"] }}
"""
WITHIN = 1.0
"""Seconds in which a probe must be answered."""
FILE_SIZE = 1 << 20
KINDS: dict[str, tuple[str, Sequence[str]]] = {
    "slow heads": ("/small", ("-H", "-i", "2")),
    "slow bodies": ("/sink", ("-B", "-i", "2", "-s", "100000", "-x", "10")),
    "slow readers": ("/large?bytes=1048576", ("-X", "-w", "512", "-y", "1024", "-n", "1", "-z", "32", "-k", "5")),
    "ranges, reverse": ("/large?bytes=1048576", ("-R", "-a", "5", "-b", "1000", "-t", "GET")),
    "ranges, resource": ("/files/file", ("-R", "-a", "5", "-b", "1000", "-t", "GET")),
}
"""What is asked for, and slowhttptest's options, by kind."""


@dataclass
class Probe:
    """Asks for a small page once a second, on a thread, until told to stop."""

    port: int
    took: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Ask again and again."""
        while not self._over.is_set():
            began = time.monotonic()
            why = self.ask()
            self.took.append(time.monotonic() - began)
            if why or self.took[-1] > WITHIN:
                self.failures.append(why or f"answered after {self.took[-1]:.2f} s")
            self._over.wait(max(0.0, began + 1 - time.monotonic()))

    def ask(self) -> str:
        """Ask once; why it went wrong, if it did."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WITHIN)
        try:
            client.request("GET", "/small")
            reply = client.getresponse()
            reply.read()
        except (OSError, http.client.HTTPException) as why:
            return f"{type(why).__name__}: {why}"
        finally:
            client.close()
        return "" if reply.status == 200 else f"answered {reply.status}"

    def stop(self) -> None:
        """Ask no more."""
        self._over.set()


@dataclass
class Attacked:
    """What came of one kind."""

    kind: str
    probe: Probe
    connections: int
    """The most that were open at a time."""
    cpu: float
    """Percent of a core that the proxy took."""
    grown: int
    """KiB of memory that it took more, at most."""

    def row(self) -> str:
        """A row of the table."""
        took = self.probe.took
        numbers = f"{len(took):6} {len(self.probe.failures):6} {max(took) * 1000:10.0f} ms"
        return f"{self.kind:17} {self.connections:5} {numbers} {self.cpu:5.0f} % {self.grown / 1024:6.0f} MiB"


HEAD = f"{'attack':17} {'open':>5} {'probes':>6} {'failed':>6} {'slowest':>13} {'CPU':>7} {'grown':>10}"


def attack(kind: str, proxy: Child, admin: int, count: int, seconds: float) -> Attacked:
    """Attack in one way for so many seconds, again when an attack ends before that."""
    path, options = KINDS[kind]
    probe = Probe(proxy.port)
    thread = threading.Thread(target=probe.run)
    before, began, cpu, most = proxy.kib("VmRSS"), time.monotonic(), proxy.cpu_seconds(), 0
    proxy.forget_peak()
    thread.start()
    try:
        while (left := began + seconds - time.monotonic()) > 1:
            command = [
                str(program("slowhttptest")), *options, "-c", str(count), "-r", str(count), "-l", str(round(left)),
                "-u", f"http://127.0.0.1:{proxy.port}{path}", "-v", "0",
            ]  # fmt: skip
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as attacker:
                most = max(most, watch(attacker, admin, began + seconds))
    finally:
        probe.stop()
        thread.join()
    cpu = (proxy.cpu_seconds() - cpu) / (time.monotonic() - began) * 100
    return Attacked(kind, probe, most, cpu, max(0, proxy.kib("VmHWM") - before))


def watch(attacker: subprocess.Popen[bytes], admin: int, until: float) -> int:
    """Wait for its end, and end it when its time is up; the most connections that the proxy had meanwhile."""
    most = 0
    while attacker.poll() is None:
        if time.monotonic() > until:
            attacker.terminate()
            attacker.wait(10)
        most = max(most, connections(admin))
        time.sleep(0.25)
    return most


def connections(admin: int) -> int:
    """How many clients the proxy has, as it says."""
    client = http.client.HTTPConnection("127.0.0.1", admin, timeout=5)
    try:
        client.request("GET", "/status.json?limit=0")
        return int(json.loads(client.getresponse().read())["clients"]["connections"])
    finally:
        client.close()


def run(kinds: Sequence[str], count: int, seconds: float) -> bool:
    """Start all of it, attack, and print; whether every probe was answered."""
    allow_many_files()
    print(HEAD)
    with tempfile.TemporaryDirectory(prefix="asyncproxy-bench-") as name:
        folder = Path(name)
        Path(folder, "served").mkdir()
        Path(folder, "served", "file").write_bytes(bytes(FILE_SIZE))
        upstream = children.start_upstream("bench.upstream", log=folder / "upstream.log")
        port, admin, config = children.free_port(), children.free_port(), folder / "proxy.toml"
        config.write_text(CONFIG.format(port=port, admin=admin, upstream_port=upstream.port, folder=folder))
        proxy = children.start_listening(children.asyncproxy(config), port, admin, log=folder / "proxy.log")
        try:
            results = []
            for kind in kinds:
                results.append(attack(kind, proxy, admin, count, seconds))
                print(results[-1].row(), flush=True)
                for why in results[-1].probe.failures[:5]:
                    print(f"    {why}")
        finally:
            proxy.stop()
            upstream.stop()
    return all(result.probe.took and not result.probe.failures for result in results)


def main() -> None:
    """Attack in every way."""
    parser = argparse.ArgumentParser(prog="python -m bench.slow", description=__doc__)
    parser.add_argument("--connections", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--kind", action="append", choices=list(KINDS), help="only this one; may be given again")
    chosen = parser.parse_args()
    if program("slowhttptest") is None:
        sys.exit("there is no slowhttptest: apt-get install slowhttptest")
    sys.exit(0 if run(chosen.kind or list(KINDS), chosen.connections, chosen.seconds) else 1)


if __name__ == "__main__":
    main()
