"""Somebody who reads a page and does all that its blocks say, in order, in a folder of their own.

The rule: no block goes unread. Each language has its way, in `Reader.read`; a block of another one fails, as does one
whose text does nothing. Ports of the pages are taken for free ones.
"""

from __future__ import annotations

import configparser
import importlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from asyncproxy.configuration import load
from asyncproxy.exchange.error_pages import PLACEHOLDERS
from asyncproxy.service.binding import bind_all
from tests.documentation.blocks import Block
from tests.documentation.console import ROOT, Command, Terminals, commands
from tests.wire.peers import free_port, until

PORTS = (8080, 8081, 8090, 9000, 9001)
"""What the pages' examples listen on."""
PLACES = ("/etc/asyncproxy/", "/var/log/asyncproxy/")
PROGRAMS = "/opt/asyncproxy/bin/"
"""The virtual environment of the page about deploying."""


class Reader:
    """Reads one page in `folder`, which is the current one meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ports = {str(port): str(free_port()) for port in PORTS}
        self.taken = {
            **ports,
            **{place: f"{folder}{place}" for place in PLACES},
            PROGRAMS: f"{Path(sys.executable).parent}/",
        }
        """What of a page's text is something else here."""
        self.terminals = Terminals(folder, map(int, ports.values()), admin=ports["8081"])
        self.page = ModuleType("page_of_the_documentation")
        """What the page's Python has defined so far."""
        self.printed: str | None = None
        """What the latest command has printed."""
        self.command: Command | None = None
        self.configuration: Mapping[str, Any] = {}
        """The page's latest whole configuration."""
        self._modules = set(sys.modules)
        for place in PLACES:
            (folder / place.lstrip("/")).mkdir(parents=True)
        sys.modules[self.page.__name__] = self.page
        sys.path.insert(0, str(folder))

    def read_in_the_repository(self) -> None:
        """The README is read where the source is."""
        (self.folder / "examples").symlink_to(ROOT / "examples")
        (self.folder / ".venv").symlink_to(sys.prefix)

    def close(self) -> None:
        """End what the page has started, and forget what it has imported."""
        self.terminals.close()
        sys.path.remove(str(self.folder))
        for name in set(sys.modules) - self._modules:
            file = getattr(sys.modules[name], "__file__", None)
            if name == self.page.__name__ or (file and file.startswith(str(self.folder))):
                del sys.modules[name]

    def read(self, block: Block) -> None:
        """Do what `block` says. Raises whatever is wrong with it."""
        ways = {
            "python": self.python,
            "toml": self.toml,
            "console": self.console,
            "sh": self.console,
            "json": self.json,
            "ini": self.ini,
            "yaml": self.yaml,
            "text": self.text,
            "html": self.html,
        }
        assert block.language in ways, f"no way to check {block.language or 'a block without a language'}"
        text = re.sub(
            r"\b\d{4}\b|/etc/asyncproxy/|/var/log/asyncproxy/|/opt/asyncproxy/bin/", self._instead, block.text
        )
        text = re.sub(r'"tcp:(\d+)"', r'"tcp:\1:interface=127.0.0.1"', text)  # nothing of a test listens to others
        ways[block.language](block._replace(text=text))

    def _instead(self, found: re.Match[str]) -> str:
        return self.taken.get(found[0], found[0])

    # Python.

    def python(self, block: Block) -> None:
        """A file is written and imported, tests are left to pytest; all else is run in the page's namespace."""
        name = block.file
        if name is None:
            padding = "\n" * (block.line - 1)
            exec(compile(padding + block.text, block.page, "exec", dont_inherit=True), vars(self.page))
            return
        self.write(name, block)
        compile(block.text, name, "exec")
        if name.endswith(".py") and not Path(name).name.startswith("test_"):
            self._imported(name, block)

    def _imported(self, name: str, block: Block) -> None:
        module = name.removesuffix(".py").replace("/", ".")
        if module.startswith("twisted."):  # where the package is, there is no folder of ours
            exec(block.text, {})
            return
        importlib.invalidate_caches()
        sys.modules.pop(module, None)
        importlib.import_module(module)

    # Configurations.

    def toml(self, block: Block) -> None:
        """A configuration, or a part of one, whose modules are there; or another tool's file, which is read."""
        source = tomllib.loads(block.text)
        if block.file is not None:
            self.write(block.file, block)
        if "project" in source:
            return
        whole = self._completed(source)
        bind_all(load(whole).route, block.place)
        if "route" in source and "server" in source:
            self.configuration = source

    def _completed(self, source: dict[str, Any]) -> dict[str, Any]:
        """`source` with what a page leaves out where it shows a part: it has said that before."""
        route = source.get("route") or [{"module": "status"}]
        if isinstance(route, dict):  # [route.settings] alone
            route = [{**self._route_before(), **route}]
        upstreams = {**self.configuration.get("upstream", {}), **source.get("upstream", {})}
        return {
            **source,
            "server": {"listen": "tcp:0", **source.get("server", {})},
            "upstream": upstreams,
            "route": route,
        }

    def _route_before(self) -> dict[str, Any]:
        """The class that the page's Python defined last."""
        from asyncproxy import Module

        kinds = [one for one in vars(self.page).values() if isinstance(one, type) and issubclass(one, Module)]
        return {"module": f"{self.page.__name__}:{kinds[-1].__name__}"}

    # Commands and what they print.

    def console(self, block: Block) -> None:
        """Each command does what the page says."""
        for command in commands(block.text, prompts=block.language == "console"):
            self.command = command
            self.printed = self.terminals.run(command)
            if command.printed.strip():
                self._compare(command.printed)

    def html(self, block: Block) -> None:
        """A page for errors: what it has filled in is what there is."""
        assert set(re.findall(r"{(\w+)}", block.text)) <= set(PLACEHOLDERS)

    def text(self, block: Block) -> None:
        """What the latest command prints; or logrotate's file, of which the commands are checked."""
        if block.file is None:
            self._compare(block.text)
            return
        assert block.file.startswith("/etc/logrotate.d/"), f"no way to check {block.file}"
        self.write(block.file, block)
        script = re.findall(r"postrotate\n(.*?)endscript", block.text, re.DOTALL)
        for command in commands("\n".join(map(str.strip, script)), prompts=False):
            assert self.terminals.run(command) is None
        if shutil.which("logrotate"):
            self._rotated(block)

    def _compare(self, expected: str) -> None:
        """``...`` is anything; a number of the page may be another here."""
        assert self.printed is not None, "no command before it was run that could print this"
        if self.command is not None and "asyncproxy ps" in self.command.line:  # people are slower than tests
            until(lambda: self._prints(expected) or not self._again(), lambda: f"it prints {self.printed}")
        assert self._prints(expected), f"it prints\n{self.printed}\nand not\n{expected}"

    def _prints(self, expected: str) -> bool:
        pattern = r"\s+".join("".join(map(_pattern, _PARTS.findall(word))) for word in expected.split())
        return re.search(pattern, self.printed or "", re.DOTALL) is not None

    def json(self, block: Block) -> None:
        """What the latest command prints, in shape; it is run again for a while, since people are slower than tests."""
        assert self.command is not None, "no command before it that could print this"
        shown = json.loads(block.text)
        until(lambda: fits(shown, json.loads(self._again() or "null")), lambda: f"it prints {self.printed}")

    def _again(self) -> str | None:
        assert self.command is not None
        self.printed = self.terminals.run(self.command)
        return self.printed

    # Files of others.

    def ini(self, block: Block) -> None:
        """A systemd unit, whose commands are there."""
        assert block.file is not None, "say in a comment on the first line which file it is"
        unit = configparser.ConfigParser(strict=False, interpolation=None)
        unit.optionxform = str  # type: ignore[assignment,method-assign]
        unit.read_string(block.text)
        assert {"Unit", "Service", "Install"} <= set(unit), unit.sections()
        service = unit["Service"]
        assert "twistd -n " in service["ExecStart"], "systemd wants it in the foreground"
        drain = load(self.configuration).server.drain
        assert int(service["TimeoutStopSec"]) > drain, "systemd would kill what still drains"
        self.write(block.file, block)
        if shutil.which("systemd-analyze"):
            self._verified(self.folder / block.file.lstrip("/"))
        self.terminals.run(Command(service["ExecStart"], ""))
        main = str(self.terminals.servers[-1][2].pid)
        for line in re.findall(r"^ExecReload=(.*)", block.text, re.MULTILINE):
            self.terminals.run(Command(line.replace("$MAINPID", main), ""))

    def _verified(self, file: Path) -> None:
        """By systemd's own checker."""
        done = subprocess.run(
            ["systemd-analyze", "verify", file], capture_output=True, text=True, timeout=30, check=False
        )
        complaints = [line for line in done.stderr.splitlines() if file.name in line]
        assert not complaints, complaints
        assert done.returncode == 0, done.stderr

    def _rotated(self, block: Block) -> None:
        """logrotate reads it, and would rotate."""
        file = self.folder / (block.file or "").lstrip("/")
        file.chmod(0o644)
        command = ["logrotate", "--debug", "--state", self.folder / "logrotate.state", file]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
        assert "error" not in done.stderr.lower(), done.stderr

    def yaml(self, block: Block) -> None:
        """It is read, and what it scrapes is the admin listener of the page's configuration."""
        for job in yaml.safe_load(block.text)["scrape_configs"]:
            for target in job["static_configs"][0]["targets"]:
                host, port = target.split(":")
                assert f"tcp:{port}:interface={host}" == self.configuration["admin"]["listen"]

    def write(self, name: str, block: Block) -> None:
        """A file of the page, below its folder."""
        file = self.folder / name.removeprefix(str(self.folder)).lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block.text)


_PARTS = re.compile(r"\.\.\.|[0-9][0-9.,]*|[KMG]iB|.")


def _pattern(part: str) -> str:
    """What a part of a page's output stands for: anything, a number, a unit, or itself."""
    if part == "...":
        return ".*?"
    if part[1:] == "iB":
        return "[KMG]iB"
    return "[0-9][0-9.,]*" if part[0].isdecimal() else re.escape(part)


def fits(shown: Any, real: Any) -> bool:
    """Whether a JSON value of a page is like a real one: the real one has its keys, with values of the same types."""
    if isinstance(shown, dict) and isinstance(real, dict):
        return all(key in real and fits(value, real[key]) for key, value in shown.items())
    if isinstance(shown, list) and isinstance(real, list):
        return not shown or (bool(real) and fits(shown[0], real[0]))
    numbers = (int, float)
    return type(shown) is type(real) or (type(shown) in numbers and type(real) in numbers)
