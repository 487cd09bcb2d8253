"""A real proxy for a test: a `twistd` process of our own, ended by its process id."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.wire.peers import Client, free_port, until

ROOT = Path(__file__).resolve().parents[2]
TWISTD = Path(sys.executable).with_name("twistd")
MODULES = "tests.wire.modules_under_test"
START = 30.0
WORRIES = ("Traceback", "Unhandled", "never awaited", "ResourceWarning", "A call delivered", "LifecycleError")
"""What never stands in the log of a proxy that is well."""


def twistd(*arguments: str, cwd: Path = ROOT, reactor: str = "uvloop") -> subprocess.Popen[str]:
    """Start twistd in the foreground; its output is a pipe."""
    return subprocess.Popen(
        command(*arguments, reactor=reactor), cwd=cwd, env=environment(), text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip


def command(*arguments: str, reactor: str, program: Path = TWISTD) -> Sequence[str]:
    chosen = () if reactor == "uvloop" else (f"--reactor={reactor}",)
    return (str(program), "-n", "--pidfile=", *chosen, "asyncproxy", *arguments)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONWARNINGS": "default::RuntimeWarning,default::ResourceWarning"}


def ended(process: subprocess.Popen[str], patience: float = START) -> tuple[int, str]:
    """The exit status and the output of `process`, which ends by itself."""
    try:
        output, _ = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        raise AssertionError(f"it does not end: {output}") from None
    return process.returncode, output


def routes(*names: str) -> str:
    """A route to each of these of `modules_under_test`, at its name, and to its notes; "one" is their upstream."""
    paths = {name: name for name in names} | {"Notes": "notes"}
    return "".join(
        f'[[route]]\npath = "/{path}"\nmodule = "{MODULES}:{name}"\nupstream = "one"\n' for name, path in paths.items()
    )


class Proxy:
    """A running proxy. `server` is added to its [server] table, `rest` are the other tables."""

    def __init__(
        self,
        directory: Path,
        reactor: str,
        rest: str,
        server: str = "",
        cwd: Path = ROOT,
        program: Path = TWISTD,
        drain: str = "0s",
    ) -> None:
        self.port, self.admin = free_port(), free_port()
        self.directory = directory
        self.reactor = reactor
        config = directory / "proxy.toml"
        config.write_text(
            f'[server]\nlisten = ["tcp:{self.port}:interface=127.0.0.1"]\ndrain = "{drain}"\n{server}\n'
            f'[admin]\nlisten = "tcp:{self.admin}:interface=127.0.0.1"\n\n{rest}'
        )
        self._log = directory / "twistd.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                command("--config", str(config), reactor=reactor, program=program),
                cwd=cwd, env=environment(), stdout=log, stderr=log,
            )  # fmt: skip
        try:
            until(self._listens, "the proxy listens", START)
        except AssertionError:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the proxy did not start: {self.log}") from None

    def _listens(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the proxy ended: {self.log}")
        with contextlib.suppress(ConnectionError), Client(self.admin) as client:
            return client.get("/healthz").status in (200, 401)
        return False

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def client(self, receive_buffer: int | None = None) -> Client:
        """A new connection."""
        return Client(self.port, receive_buffer)

    def status(self, query: str = "") -> Any:
        """``/status.json``."""
        with Client(self.admin) as client:
            reply = client.get(f"/status.json{query}")
        assert reply.status == 200, reply
        return reply.json()

    def stages(self) -> dict[str, int]:
        """How many exchanges are in each stage; the one that asks is the admin's, and not among them."""
        return dict(self.status()["stages"])

    def staged(self, **stages: int) -> None:
        """Wait until exactly these stages hold so many exchanges, and the others none."""

        def there() -> bool:
            return {stage: count for stage, count in self.stages().items() if count} == stages

        until(there, lambda: f"the stages are {stages}, not {self.stages()}")

    def idle(self) -> None:
        """Wait until nothing is going on."""
        self.staged()
        until(lambda: self.status()["workers"]["busy"] == self.status()["workers"]["queued"] == 0, "workers are idle")
        assert self.status()["parked_total"] == 0

    def proc(self, field: str) -> int:
        """A number of ``/proc/PID/status``."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1])
        raise AssertionError(f"no {field}")

    def notes(self, key: str) -> list[str]:
        """What module code under test has noted under `key`; see `modules_under_test.note`."""
        with self.client() as client:
            return list(client.get(f"/notes?key={key}").json())

    def noted(self, key: str, *words: str) -> None:
        """Wait until module code has noted exactly `words`."""
        until(lambda: self.notes(key) == list(words), lambda: f"{key}: {words}, not {self.notes(key)}")

    def stop(self) -> None:
        """End it as an operator does; it must end well, and have had no worry."""
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"it does not end on SIGTERM: {self.log}") from None
        assert status == 0, f"exit status {status}: {self.log}"
        worries = [line for line in self.log.splitlines() if any(worry in line for worry in WORRIES)]
        assert not worries, self.log
