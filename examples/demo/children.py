"""The child processes of the demo and the benchmark: started, looked at through /proc, and surely ended.

A child is ended by its process id and only by whoever started it. Should the starter die without a chance to
do so, the kernel ends its children (Linux), and the upstream ends by itself when its standard input closes.
"""

import contextlib
import ctypes
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PR_SET_PDEATHSIG = 1


_unused = iter(random.SystemRandom().sample(range(15000, 32000), 17000))


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, below those that the kernel gives to outgoing connections.

    None is given twice in one process: whoever was given it may not listen yet.
    """
    for port in _unused:
        with contextlib.suppress(RuntimeError):
            must_be_free(port)
            return port
    raise RuntimeError("every port from 15000 to 31999 was given away or is in use")


def must_be_free(port: int) -> None:
    """Say so when somebody listens there already: we would take their server for ours."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as wrong:
            raise RuntimeError(f"port {port} of 127.0.0.1: {wrong.strerror}") from None


def most_files() -> int:
    """How many files a process may have open when it asks for all it can get."""
    return min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 1 << 20)


def _preparation(cpus: Iterable[int] | None) -> Callable[[], None]:
    """What a child does before it becomes the program: ends with us, opens many files, keeps to its cores."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    files = most_files()

    def prepare() -> None:
        if prctl is not None:
            prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
        if cpus is not None:
            os.sched_setaffinity(0, cpus)

    return prepare


def environment() -> dict[str, str]:
    """Ours, with this repository importable."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUNBUFFERED": "1"}


def twistd() -> list[str]:
    """The command of the environment that runs us."""
    beside = Path(sys.executable).with_name("twistd")
    return [str(beside) if beside.exists() else shutil.which("twistd") or "twistd"]


def asyncproxy(config: Path) -> list[str]:
    """The command that runs the proxy in the foreground."""
    return [*twistd(), "-n", "--pidfile=", "asyncproxy", "--config", str(config)]


@dataclass
class Child:
    """A process that we started, and all that it started in turn."""

    process: subprocess.Popen[bytes]
    log: Path | None = None
    port: int = 0
    known: dict[int, str] = field(default_factory=dict)

    @property
    def pid(self) -> int:
        """The process that we started itself."""
        return self.process.pid

    def pids(self) -> list[int]:
        """It and its descendants, those that live now."""
        found = [self.pid]
        for pid in found:
            found.extend(children_of(pid))
        self.known |= {pid: born(pid) for pid in found}
        return found

    def cpu_seconds(self) -> float:
        """User and system time of all of it so far, with that of descendants that ended."""
        return sum(cpu_ticks(pid) for pid in self.pids()) / os.sysconf("SC_CLK_TCK")

    def kib(self, what: str) -> int:
        """``VmRSS`` (resident now) or ``VmHWM`` (the most it ever was) of all of it, in KiB."""
        return sum(status_number(pid, what) for pid in self.pids())

    def threads(self) -> int:
        """How many threads all of it has."""
        return sum(status_number(pid, "Threads") for pid in self.pids())

    def forget_peak(self) -> None:
        """Let ``VmHWM`` count from now on, where the system allows it."""
        for pid in self.pids():
            with contextlib.suppress(OSError):
                Path(f"/proc/{pid}/clear_refs").write_text("5")

    def said(self, most: int = 2000) -> str:
        """The end of what it wrote."""
        return self.log.read_text(errors="replace")[-most:].strip() if self.log else ""

    def stop(self, *, signum: int = signal.SIGTERM, patience: float = 5.0) -> None:
        """Ask it to end, wait, and end what is left of it."""
        self.pids()
        self.process.send_signal(signum)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(patience)
        for pid, birth in self.known.items():
            if birth and born(pid) == birth:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


def start(
    argv: Sequence[str], *, log: Path | None = None, cpus: Iterable[int] | None = None, leashed: bool = False
) -> Child:
    """Start a program in a session of its own: a Ctrl-C reaches us, and we end it in good order.

    A leashed one has our end of a pipe as its standard input, and tells its port in the first line it prints.
    """
    output = open(log, "wb") if log else None  # noqa: SIM115 - closed below, on every way
    try:
        process = subprocess.Popen(
            argv,
            cwd=log.parent if log else None,
            env=environment(),
            stdin=subprocess.PIPE if leashed else subprocess.DEVNULL,
            stdout=subprocess.PIPE if leashed else output,
            stderr=output,
            start_new_session=True,
            preexec_fn=_preparation(cpus),
        )
    finally:
        if output:
            output.close()
    return Child(process, log)


def start_upstream(module: str, *, port: int = 0, log: Path | None = None) -> Child:
    """One of our upstream servers, which never outlives us; returns when it listens."""
    child = start([sys.executable, "-m", module, "--leash", "--port", str(port)], log=log, leashed=True)
    assert child.process.stdout is not None
    words = child.process.stdout.readline().split()
    if not words:
        child.stop()
        raise RuntimeError(child.said() or "the upstream did not start")
    child.port = int(words[-1])
    return child


def wait_until_listening(child: Child, port: int, seconds: float = 20.0) -> None:
    """Return when the port takes connections; say what the child wrote when it does not."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and child.process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"nothing listens on port {port}: {child.said()}")


def start_listening(
    argv: Sequence[str], *ports: int, log: Path | None = None, cpus: Iterable[int] | None = None
) -> Child:
    """Start a server that is to listen on `ports`; returns when it does, and leaves none behind that does not."""
    child = start(argv, log=log, cpus=cpus)
    child.port = ports[0]
    with contextlib.ExitStack() as unless_it_listens:
        unless_it_listens.callback(child.stop)
        for port in ports:
            wait_until_listening(child, port)
        unless_it_listens.pop_all()
    return child


def children_of(pid: int) -> list[int]:
    """The processes that one started."""
    found: list[int] = []
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found.extend(int(child) for child in listed.read_text().split())
    return found


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def born(pid: int) -> str:
    """When it started: tells a process from a later one with the same id. Empty when it is gone."""
    fields = _stat(pid)
    return fields[19] if fields and fields[0] != "Z" else ""


def cpu_ticks(pid: int) -> int:
    """Clock ticks used, in user and system mode, with those of its children that were waited for."""
    return sum(int(ticks) for ticks in _stat(pid)[11:15])


def status(pid: int) -> Mapping[str, str]:
    """What /proc/PID/status says; empty when it is gone, or there is no /proc here."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def status_number(pid: int, what: str) -> int:
    """One number of it, in its own unit."""
    return int(status(pid).get(what, "0").split()[0])
