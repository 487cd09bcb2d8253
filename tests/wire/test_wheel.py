"""The wheel, as a stranger installs it: in an environment that has its dependencies and nothing else of ours."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from asyncproxy.discovery import STOCK
from tests.wire.conftest import Peers
from tests.wire.environments import Environment, build
from tests.wire.peers import Client, free_port, until
from tests.wire.proxies import ROOT, START, WORRIES, Proxy

REVERSE = '[[route]]\nmodule = "reverse"\nupstream = "{}"\n'


@pytest.fixture(scope="module")
def environment(asyncproxy_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = Environment(tmp_path_factory.mktemp("environment"), "asyncproxy")
    environment.install(asyncproxy_wheel)
    return environment


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def test_the_wheel_has_every_file_of_ours_and_makes_no_package_of_twisteds_folders(asyncproxy_wheel: Path) -> None:
    names = set(contents(asyncproxy_wheel))
    files = [file for file in (ROOT / "asyncproxy").rglob("*") if file.is_file() and file.suffix != ".pyc"]
    ours = {str(file.relative_to(ROOT)) for file in files}
    assert {name for name in names if name.startswith("asyncproxy/")} == ours
    assert {name for name in names if name.startswith("twisted/")} == {"twisted/plugins/asyncproxy_dropin.py"}
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"asyncproxy", "twisted"}


def test_the_sdist_builds_the_same_wheel(asyncproxy_wheel: Path, asyncproxy_sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(asyncproxy_sdist) as opened:
        opened.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    (wheel,) = build(source, tmp_path / "dist", "wheel")
    assert contents(wheel) == contents(asyncproxy_wheel)


def test_twistd_lists_the_command_of_an_installed_wheel(environment: Environment) -> None:
    where = Path(environment.run("python", "-c", "import asyncproxy; print(asyncproxy.__file__)").strip())
    assert where == environment.packages / "asyncproxy" / "__init__.py"
    assert "asyncproxy" in environment.run("twistd", "--help")
    assert "asyncproxy 0." in environment.run("twistd", "asyncproxy", "--version")


def test_the_stock_modules_are_found(environment: Environment, tmp_path: Path) -> None:
    config = tmp_path / "proxy.toml"
    needed = {"resource": 'settings = { resource = "twisted.web.static:Data", args = ["hello", "text/plain"] }'}
    routes = "".join(f'[[route]]\npath = "/{name}"\nmodule = "{name}"\n{needed.get(name, "")}\n' for name in STOCK)
    config.write_text(f'[server]\nlisten = "tcp:8080"\n{routes}')
    output = environment.run("twistd", "asyncproxy", "--config", str(config), "--check")
    assert all(f"/{name}" in output for name in STOCK)


@pytest.mark.parametrize("reactor", ["uvloop", "epoll"])
def test_an_installed_wheel_serves(environment: Environment, peers: Peers, tmp_path: Path, reactor: str) -> None:
    rest = REVERSE.format(peers.one.url)
    proxy = Proxy(tmp_path, reactor, rest, cwd=tmp_path, program=environment.bin / "twistd")
    with proxy.client() as client:
        assert client.get("/hello").text == "GET /hello"
    proxy.stop()
    peers.one.reset()


# As a daemon.


@contextlib.contextmanager
def daemon(environment: Environment, reactor: str, config: Path) -> Iterator[int]:
    """The process id of a proxy in the background, whose files stand beside `config`; it is ended in any case."""
    pidfile, log = config.with_name("proxy.pid"), config.with_name("proxy.log")
    chosen = () if reactor == "uvloop" else (f"--reactor={reactor}",)
    files = (f"--pidfile={pidfile}", f"--logfile={log}")
    # Not by a pipe: the daemon would hold its other end.
    launched = subprocess.run(
        (str(environment.bin / "twistd"), *files, *chosen, "asyncproxy", "--config", str(config)),
        cwd=config.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=START,
    )  # fmt: skip
    assert launched.returncode == 0, log.read_text() if log.exists() else "it ends without a log"
    pid = int(until(lambda: pidfile.exists() and pidfile.read_text(), "the pidfile is written", START))
    try:
        yield pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def runs(pid: int) -> bool:
    """Whether the process is there, and not only its entry in the table of processes."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("reactor", ["uvloop", "epoll"])
def test_a_daemon_serves_logs_and_stops_on_sigterm(
    environment: Environment, peers: Peers, tmp_path: Path, reactor: str
) -> None:
    port = free_port()
    config, log, pidfile = tmp_path / "proxy.toml", tmp_path / "proxy.log", tmp_path / "proxy.pid"
    listen = f'[server]\nlisten = "tcp:{port}:interface=127.0.0.1"\ndrain = "0s"\n'
    config.write_text(listen + REVERSE.format(peers.one.url))

    def served() -> bool:
        with contextlib.suppress(ConnectionRefusedError), Client(port) as client:
            return client.get("/hello").text == "GET /hello"
        return False

    with daemon(environment, reactor, config) as pid:
        until(served, lambda: f"it serves: {log.read_text()}", START)
        assert f"listens on 127.0.0.1:{port}" in log.read_text()
        os.kill(pid, signal.SIGTERM)
        until(lambda: not runs(pid), lambda: f"it ends: {log.read_text()}", START)
    assert not pidfile.exists()
    assert "Server Shut Down" in log.read_text()
    assert not any(worry in log.read_text() for worry in WORRIES), log.read_text()
    peers.one.reset()


# Removed again.


def test_an_uninstalled_wheel_leaves_twisted_whole(asyncproxy_wheel: Path, tmp_path: Path) -> None:
    environment = Environment(tmp_path / "environment", "asyncproxy")
    before = files(environment.packages)
    commands = environment.run("twistd", "--help")
    environment.install(asyncproxy_wheel)
    assert "asyncproxy" in environment.run("twistd", "--help")
    environment.run("twistd", "asyncproxy", "--version")
    environment.pip("uninstall", "--yes", "asyncproxy")
    assert environment.run("twistd", "--help") == commands
    assert files(environment.packages) == before
    left = [str(path) for path in environment.packages.rglob("*") if "asyncproxy" in path.name]
    assert left == []
    assert b"asyncproxy" not in (environment.packages / "twisted" / "plugins" / "dropin.cache").read_bytes()


def files(packages: Path) -> dict[str, bytes]:
    """All but what Python and Twisted note for themselves."""
    noted = ("__pycache__", "dropin.cache")
    found = (path for path in packages.rglob("*") if path.is_file() and not set(noted) & set(path.parts))
    return {str(path.relative_to(packages)): path.read_bytes() for path in found}
