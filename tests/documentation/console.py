"""Commands of a page, run as a reader would: in the page's folder, in order, servers in terminals of their own.

A command runs until it ends, or until it listens on a port of the page: then it is a server, and runs on. What would
change the machine is not run: `KNOWN` says how each of those is checked instead.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from importlib.metadata import metadata
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PATIENCE = 40.0
"""Seconds that a command may take to end or to listen."""


class Command(NamedTuple):
    """A line that is typed, and what the page says it prints."""

    line: str
    printed: str


def commands(text: str, *, prompts: bool) -> list[Command]:
    """The commands of a block: behind ``$`` with what they print, or without prompts a line each."""
    if not prompts:
        lines = text.replace("\\\n", " ").splitlines()
        return [Command(line, "") for line in lines if line.strip() and not line.startswith("#")]
    assert text.startswith("$ "), 'a console block begins with "$ "'
    found = []
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        line, _, printed = re.sub(r"\\\n(> )?\s*", " ", part).partition("\n")
        found.append(Command(line, printed))
    return found


class Terminals:
    """Runs a page's commands in `folder`; `ports` are those that its servers listen on."""

    def __init__(self, folder: Path, ports: Iterable[int], admin: str = "8081") -> None:
        self.folder = folder
        self.environment = {**environment(), "ASYNCPROXY_ADMIN": f"http://127.0.0.1:{admin}"}
        """With what stands for the port at which the program asyncproxy looks."""
        self.ports = set(ports)
        self.servers: list[tuple[str, set[int], subprocess.Popen[bytes]]] = []
        """What was typed, where it listens, and the process."""
        self.aside: list[subprocess.Popen[bytes]] = []
        """What was started with ``&``."""

    def run(self, command: Command) -> str | None:
        """What `command` prints, or None for what only was checked. Raises AssertionError for one that fails."""
        line, printed = command
        words = shlex.split(line, comments=True)
        program = Path(words[0]).name
        known = KNOWN.get("venv" if words[1:3] == ["-m", "venv"] else program)
        if known is not None:
            instead = known(words[1:])
            if instead is None:
                return None
            line, words = shlex.join(instead), instead
        if program == "curl":
            words.insert(1, "--silent")
            if not printed:
                words.insert(1, "--fail-with-body")  # a page whose answer is an error shows it
        if words[-1] == "&":
            self.aside.append(
                subprocess.Popen(words[:-1], cwd=self.folder, env=self.environment, stdout=subprocess.DEVNULL)
            )
            return None
        self._stop_former(line)
        return self._start(line, words)

    def _stop_former(self, line: str) -> None:
        """Who starts the same server again has pressed Ctrl-C before, and given up what it still answers."""
        for server in [one for one in self.servers if one[0] == line]:
            self._end_asides()
            self.servers.remove(server)
            end(server[2], signal.SIGINT)

    def _end_asides(self) -> None:
        while self.aside:
            end(self.aside.pop(), signal.SIGTERM)

    def _start(self, line: str, words: list[str]) -> str:
        out = self.folder / f".output-{time.monotonic_ns()}"
        before = {port for port in self.ports if listens(port)}
        with out.open("wb") as file:
            process = subprocess.Popen(words, cwd=self.folder, env=self.environment, stdout=file, stderr=file)
        until = time.monotonic() + PATIENCE
        while (status := process.poll()) is None and time.monotonic() < until:
            if opened := {port for port in self.ports - before if listens(port)}:
                self.servers.append((line, opened, process))
                return out.read_text()
            time.sleep(0.02)
        if status is None:
            end(process, signal.SIGKILL)
        printed = out.read_text()
        assert status == 0, f"{line}: ends with {status}: {printed}"
        return printed

    def close(self) -> None:
        """End all servers, as one does with Ctrl-C."""
        self._end_asides()
        while self.servers:
            end(self.servers.pop()[2], signal.SIGINT)


def end(process: subprocess.Popen[bytes], how: signal.Signals) -> None:
    process.send_signal(how)
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def environment() -> dict[str, str]:
    """A reader's: with the virtual environment active, and nothing of the run of tests that this is."""
    ours = ("PYTEST", "COV_", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}", "PYTHONDONTWRITEBYTECODE": "1"}


def _pip(words: list[str]) -> list[str] | None:
    assert words[0] == "install", f"pip {words[0]}"
    for word in words[1:]:
        if word == ".":
            continue
        asked = Requirement(word)
        known = set(metadata("asyncproxy").get_all("Provides-Extra") or ())
        assert asked.name in ("asyncproxy", "pytest", "pytest-twisted"), f"pip install {word}"
        assert asked.name != "asyncproxy" or asked.extras <= known, f"{word}: extras are {known}"
    return None


def _make(words: list[str]) -> list[str] | None:
    """`make demo` with fewer requests, whose output differs in its numbers alone."""
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(words) <= targets, f"make {words}: targets are {targets}"
    return ["python", "-m", "examples.demo.show", "--held", "20", "--workers", "5"] if words == ["demo"] else None


def _systemctl(words: list[str]) -> list[str] | None:
    verbs = ("daemon-reload", "enable", "start", "reload", "restart", "stop", "status", "kill")
    assert words[0] in verbs, f"systemctl {words[0]}"
    known = {"--now", "--signal=SIGUSR1", "--kill-whom=main", "asyncproxy"}
    assert set(words[1:]) <= known, f"systemctl {words}"
    return None


def _journalctl(words: list[str]) -> list[str] | None:
    assert words[:2] == ["-u", "asyncproxy"], f"journalctl {words}"
    return None


def _useradd(words: list[str]) -> list[str] | None:
    assert words == ["--system", "--shell", "/usr/sbin/nologin", "asyncproxy"], f"useradd {words}"
    return None


KNOWN: dict[str, Callable[[list[str]], list[str] | None]] = {
    "pip": _pip,
    "make": _make,
    "systemctl": _systemctl,
    "journalctl": _journalctl,
    "useradd": _useradd,
    "venv": lambda words: None,
}
"""Commands that are not run, each with its check, which may give one to be run in its place."""
