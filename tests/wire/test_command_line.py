"""`twistd asyncproxy`: starting, refusing to start, checking, ending."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.wire.conftest import Peers
from tests.wire.peers import Client, free_port, request, until
from tests.wire.proxies import ROOT, START, WORRIES, ended, twistd

HERE = "tests.wire.modules_under_test"
ILL = "tests.wire.ill_modules"


def configuration(port: int, rest: str, server: str = "") -> str:
    return f'[server]\nlisten = ["tcp:{port}:interface=127.0.0.1"]\n{server}\n{rest}\n'


ROUTE = '[[route]]\nmodule = "reverse"\nupstream = "http://127.0.0.1:9"\n'


@contextlib.contextmanager
def running(*arguments: str, port: int, cwd: Path, reactor: str) -> Iterator[subprocess.Popen[str]]:
    """A proxy that answers on `port`."""
    process = twistd(*arguments, cwd=cwd, reactor=reactor)

    def listens() -> bool:
        assert process.poll() is None, process.communicate()[0]
        with contextlib.suppress(ConnectionError), Client(port) as client:
            return client.ask(b"nonsense\r\n\r\n").status == 400  # answered: the reactor runs, its signals are set
        return False

    try:
        until(listens, "it listens", START)
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def sigterm(process: subprocess.Popen[str], expected: int = 0) -> str:
    """End `process` by SIGTERM: with the exit status that is expected, and without a worry. Its output."""
    process.send_signal(signal.SIGTERM)
    status, output = ended(process)
    assert status == expected, output
    assert not any(worry in output for worry in WORRIES), output
    return output


# --check.


def test_check_says_what_each_route_does_and_exits_with_0(tmp_path: Path) -> None:
    config = tmp_path / "proxy.toml"
    route = f'[[route]]\npath = "/sleep"\nmodule = "{HERE}:Sleeper"\ntimeout = "3s"\n'
    config.write_text(configuration(8080, ROUTE + route))
    status, output = ended(twistd("--config", str(config), "--check"))
    assert status == 0
    assert "/sleep" in output
    assert "Sleeper" in output
    assert "http://127.0.0.1:9" in output
    assert "Traceback" not in output


WRONG = {
    "an unknown key": (ROUTE, "wrokers = 5", "wrokers"),
    "an unknown key of a route": (ROUTE + 'setings = { a = "b" }\n', "", "setings"),
    "an unknown module": ('[[route]]\nmodule = "revers"\n', "", "revers"),
    "a module that does not import": ('[[route]]\nmodule = "no.such.file:Module"\n', "", "no.such.file"),
    "an unknown setting": (
        f'[[route]]\nmodule = "{HERE}:Settings"\nsettings = {{ limit = 1, reigon = "x" }}\n',
        "",
        "reigon",
    ),
    "a setting that is missing": (f'[[route]]\nmodule = "{HERE}:Settings"\n', "", "limit"),
    "an upstream that is not there": ('[[route]]\nmodule = "reverse"\nupstream = "nobody"\n', "", "nobody"),
    "no TOML": ("[[route\n", "", "TOML"),
}


@pytest.mark.parametrize(("rest", "server", "named"), WRONG.values(), ids=WRONG)
def test_check_names_what_is_wrong_and_exits_with_1(tmp_path: Path, rest: str, server: str, named: str) -> None:
    config = tmp_path / "proxy.toml"
    config.write_text(configuration(8080, rest, server))
    status, output = ended(twistd("--config", str(config), "--check"))
    assert status == 1
    assert named in output
    assert "Traceback" not in output


def test_check_of_a_file_that_is_not_there_exits_with_1(tmp_path: Path) -> None:
    status, output = ended(twistd("--config", str(tmp_path / "nothing.toml"), "--check"))
    assert status == 1
    assert "nothing.toml" in output
    assert "Traceback" not in output


# Refusing to start.


def test_an_unknown_key_keeps_it_from_starting(tmp_path: Path) -> None:
    config = tmp_path / "proxy.toml"
    config.write_text(configuration(free_port(), ROUTE, "wrokers = 5"))
    status, output = ended(twistd("--config", str(config)))
    assert status != 0
    assert "wrokers" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("reactor", ["uvloop", "epoll"])
@pytest.mark.parametrize("taken", ["listen", "admin"])
def test_a_port_that_is_taken_ends_it_with_a_clear_word(tmp_path: Path, taken: str, reactor: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        ports = {"listen": free_port(), "admin": free_port(), taken: other.getsockname()[1]}
        config = tmp_path / "proxy.toml"
        admin = f'[admin]\nlisten = "tcp:{ports["admin"]}:interface=127.0.0.1"\n'
        config.write_text(configuration(ports["listen"], admin + ROUTE))
        status, output = ended(twistd("--config", str(config), reactor=reactor))
    assert status == 1
    assert "cannot start" in output
    assert str(ports[taken]) in output
    assert "ddress already in use" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("reactor", ["uvloop", "epoll"])
def test_a_module_that_cannot_start_ends_it_with_a_clear_word(tmp_path: Path, reactor: str) -> None:
    config = tmp_path / "proxy.toml"
    config.write_text(configuration(free_port(), f'[[route]]\npath = "/bad"\nmodule = "{ILL}:StartsBadly"\n'))
    status, output = ended(twistd("--config", str(config), reactor=reactor))
    assert status == 1
    words = f'cannot start: route "/bad", module "{ILL}:StartsBadly": start() failed: RuntimeError: no database at '
    assert words in output
    assert "ill_modules.py:" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("reactor", ["uvloop", "epoll"])
def test_sigterm_ends_it_while_a_module_starts(tmp_path: Path, reactor: str) -> None:
    config = tmp_path / "proxy.toml"
    config.write_text(configuration(free_port(), f'[[route]]\nmodule = "{ILL}:StartsSlowly"\n'))
    process = twistd("--config", str(config), reactor=reactor)
    try:
        assert process.stdout is not None
        while "module begins" not in (line := process.stdout.readline()):
            assert line, "it ended before it started"
        assert "called off" in sigterm(process)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--config", "a.toml", "--listen", "tcp:8080"),
        ("--listen", "tcp:8080:interface=127.0.0.1", "--upstream", "127.0.0.1:9000"),
        ("--listen", "nonsense", "--upstream", "http://127.0.0.1:9000"),
        ("--listen", "tcp:8080:interface=127.0.0.1", "--upstream", "http://127.0.0.1:9000", "--workers", "none"),
    ],
)
def test_options_that_make_no_sense_are_refused(arguments: tuple[str, ...]) -> None:
    status, output = ended(twistd(*arguments))
    assert status != 0
    assert "Traceback" not in output
    assert "--" in output


# Running.


@pytest.mark.parametrize("reactor", ["uvloop", "epoll"])
def test_one_route_needs_no_file(tmp_path: Path, peers: Peers, reactor: str) -> None:
    port, admin = free_port(), free_port()
    arguments = ("--listen", f"tcp:{port}:interface=127.0.0.1", "--upstream", peers.one.url, "--workers", "3")
    more = ("--admin", f"tcp:{admin}:interface=127.0.0.1")
    with running(*arguments, *more, port=port, cwd=tmp_path, reactor=reactor) as process:
        with Client(port) as client:
            assert client.get("/hello").text == "GET /hello"
        with Client(admin) as client:
            assert client.get("/status.json").json()["workers"]["total"] == 3
        sigterm(process)
    peers.one.reset()


@pytest.mark.parametrize("reactor", ["uvloop", "epoll"])
def test_a_module_in_the_working_directory_is_found_by_its_dotted_path(tmp_path: Path, reactor: str) -> None:
    (tmp_path / "mine.py").write_text(
        "from asyncproxy import Module, Response\n\n\nclass Mine(Module):\n    def handle(self, request):\n"
        "        return Response.text('mine')\n"
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    port = free_port()
    (elsewhere / "proxy.toml").write_text(configuration(port, '[[route]]\nmodule = "mine:Mine"\n'))
    arguments = ("--config", str(elsewhere / "proxy.toml"))
    with running(*arguments, port=port, cwd=tmp_path, reactor=reactor) as process:
        with Client(port) as client:
            assert client.get("/").text == "mine"
        sigterm(process)


@pytest.mark.parametrize("reactor", ["uvloop", "epoll"])
def test_it_listens_on_a_unix_socket_and_several_ports(tmp_path: Path, reactor: str) -> None:
    port, second, path = free_port(), free_port(), tmp_path / "socket"
    config = tmp_path / "proxy.toml"
    listen = f'["tcp:{port}:interface=127.0.0.1", "tcp:{second}:interface=127.0.0.1", "unix:{path}"]'
    config.write_text(f'[server]\nlisten = {listen}\n[[route]]\nmodule = "{HERE}:About"\n')
    with running("--config", str(config), port=port, cwd=ROOT, reactor=reactor) as process:
        for one in (port, second):
            with Client(one) as client:
                assert client.get("/x").status == 200
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            until(path.exists, "the socket is there")
            sock.connect(str(path))
            sock.sendall(request("GET", "/x", "Connection: close"))
            assert sock.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
        sigterm(process)


# Ending.


@pytest.mark.parametrize("reactor", ["uvloop", "epoll"])
def test_sigterm_waits_for_a_worker_that_sleeps_and_ends_with_0(tmp_path: Path, reactor: str) -> None:
    port = free_port()
    config = tmp_path / "proxy.toml"
    routes = f'[[route]]\nmodule = "{HERE}:BlocksForASecond"\n[[route]]\npath = "/notes"\nmodule = "{HERE}:Notes"\n'
    config.write_text(configuration(port, routes, 'drain = "8s"'))
    with (
        running("--config", str(config), port=port, cwd=ROOT, reactor=reactor) as process,
        Client(port) as client,
        Client(port) as other,
    ):
        client.send(request("GET", "/?key=a"))
        until(lambda: other.get("/notes?key=a").json() == ["began"], "the worker sleeps")
        began = time.monotonic()
        sigterm(process)
        assert time.monotonic() - began < 8


@pytest.mark.parametrize("reactor", ["uvloop", "epoll"])
def test_sigterm_ends_what_is_parked_and_lets_it_clean_up(tmp_path: Path, peers: Peers, reactor: str) -> None:
    port = free_port()
    config = tmp_path / "proxy.toml"
    routes = f'[[route]]\nmodule = "{HERE}:ForwardHolder"\nupstream = "{peers.one.url}"\n'
    config.write_text(configuration(port, routes, 'drain = "0s"'))
    peers.one.script = lambda call: call.watch()
    with running("--config", str(config), port=port, cwd=ROOT, reactor=reactor) as process:
        with Client(port) as client:
            client.send(request("GET", "/"))
            call = peers.one.call()
            sigterm(process, 1)
            assert client.rest() == b"" or b" 503 " in client.received
        assert call.gone(2)
    peers.one.reset()


def test_a_stop_that_blocks_for_ever_does_not_keep_the_process(tmp_path: Path) -> None:
    port = free_port()
    config = tmp_path / "proxy.toml"
    config.write_text(configuration(port, f'[[route]]\nmodule = "{ILL}:StopsNever"\n'))
    with running("--config", str(config), port=port, cwd=ROOT, reactor="uvloop") as process:
        output = sigterm(process)
    assert "stop() failed: ParkTimeout: it was not through within 0.5 s" in output
    assert "Gave up a module that blocks" in output


@pytest.mark.parametrize("reactor", ["uvloop", "epoll"])
def test_ctrl_c_ends_it(tmp_path: Path, reactor: str) -> None:
    port = free_port()
    arguments = ("--listen", f"tcp:{port}:interface=127.0.0.1", "--upstream", "http://127.0.0.1:9")
    with running(*arguments, port=port, cwd=tmp_path, reactor=reactor) as process:
        process.send_signal(signal.SIGINT)
        status, output = ended(process)
        assert status == 0, output
        assert not any(worry in output for worry in WORRIES), output
