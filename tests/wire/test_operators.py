"""Operators, over a real admin listener: the calls, forged ones among them, and the real `asyncproxy` program."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.wire.conftest import Peers
from tests.wire.peers import Client, Reply, free_port, until
from tests.wire.proxies import ROOT, START, WORRIES, Proxy, twistd
from tests.wire.test_draining import ended, refuses

HERE = "tests.wire.modules_under_test"
ASYNCPROXY = Path(sys.executable).with_name("asyncproxy")
JSON = "Content-Type: application/json"


def configuration(peers: Peers) -> str:
    routes = "".join(
        f'[[route]]\npath = "/{name.lower()}"\nmodule = "{HERE}:{name}"\n'
        for name in ("Sleeper", "ParkGone", "Notes", "AsksForTicket")
    )
    return f'[[route]]\npath = "/late"\nmodule = "{HERE}:Sleeper"\ntimeout = "40s"\n{routes}'


def asyncproxy(*arguments: str, admin: int | str, status: int = 0, **environ: str) -> str:
    """What the program prints: on standard output if it is to end with 0, else on standard error."""
    url = f"http://127.0.0.1:{admin}" if isinstance(admin, int) else admin
    done = subprocess.run(
        [ASYNCPROXY, *arguments], capture_output=True, text=True, timeout=30, check=False,
        env={**os.environ, "ASYNCPROXY_ADMIN": url, **environ},
    )  # fmt: skip
    assert done.returncode == status, done
    assert "Traceback" not in done.stderr, done
    return done.stderr if status else done.stdout


def order(proxy: Proxy, path: str, body: bytes, *fields: str, host: str | None = None) -> Reply:
    """POST `body`, with the listener's own Host unless another is given."""
    with Client(proxy.admin) as client:
        lines = [f"POST {path} HTTP/1.1", f"Host: {host or f'127.0.0.1:{proxy.admin}'}", f"Content-Length: {len(body)}"]
        return client.ask("\r\n".join([*lines, *fields, "", ""]).encode() + body)


@contextlib.contextmanager
def held(proxy: Proxy, path: str = "/sleeper?for=60") -> Iterator[tuple[Client, str]]:
    """A client whose request is parked, and the request's id."""
    with proxy.client() as client:
        client.send(f"GET {path} HTTP/1.1\r\nHost: proxy.test\r\n\r\n".encode())
        proxy.staged(PARKED=1)
        yield client, proxy.status()["parked"][0]["id"]


# Orders.


def test_a_parked_request_is_cancelled(proxy: Proxy) -> None:
    with held(proxy, "/parkgone?timeout=50") as (client, identity):
        reply = order(proxy, f"/requests/{identity}/cancel", b'{"status": 429}', JSON, "Operator: alice")
        assert (reply.status, reply.json()) == (200, {"request": identity, "status": 429})
        assert (client.reply().status, client.get("/notes?key=").status) == (429, 200)
    assert re.search(rf"Operator alice at 127\.0\.0\.1:\d+: cancel '{identity}' \(.*\): answered 429\n", proxy.log)


def test_a_route_s_deadline_is_extended(proxy: Proxy) -> None:
    with held(proxy, "/late?for=60") as (_, identity):
        assert proxy.status()["parked"][0]["deadline_s"] <= 40
        left = order(proxy, f"/requests/{identity}/extend", b'{"by": "5m"}', JSON).json()["deadline_s"]
        assert 330 < left <= 340
        assert proxy.status()["parked"][0]["deadline_s"] <= left


def test_a_ticket_is_resumed_while_others_wait(proxy: Proxy) -> None:
    with held(proxy, "/asksforticket?name=t-1") as (client, identity):
        reply = order(proxy, "/tickets/t-1", b'{"ok": true}', JSON)
        assert (reply.status, reply.json()["request"]) == (200, identity)
        assert client.reply().json() == {"ok": True}
        assert order(proxy, "/tickets/t-1", b"1", JSON).status == 409


FORGED: dict[str, tuple[tuple[str, ...], str | None, int]] = {
    "a page of another origin": ((JSON, "Origin: http://evil.example"), None, 403),
    "a page of another port": ((JSON, "Origin: http://127.0.0.1:1"), None, 403),
    "a sandboxed page": ((JSON, "Origin: null"), None, 403),
    "a browser says cross-site": ((JSON, "Sec-Fetch-Site: cross-site"), None, 403),
    "a browser says same-site": ((JSON, "Sec-Fetch-Site: same-site"), None, 403),
    "text/plain": (("Content-Type: text/plain",), None, 415),
    "a form": (("Content-Type: application/x-www-form-urlencoded",), None, 415),
    "a form with a file": (("Content-Type: multipart/form-data; boundary=x",), None, 415),
    "no type": ((), None, 415),
    "a name that points here": ((JSON, "Origin: http://evil.example:{port}"), "evil.example:{port}", 421),
    "a name that looks like ours": ((JSON,), "127.0.0.1.evil.example:{port}", 421),
    "another port's name": ((JSON,), "127.0.0.1:1", 421),
}


@pytest.mark.parametrize("kind", FORGED)
def test_a_forged_order_does_nothing(kind: str, proxy: Proxy) -> None:
    fields, host, status = FORGED[kind]
    fields = tuple(field.format(port=proxy.admin) for field in fields)
    host = host.format(port=proxy.admin) if host else None
    with held(proxy, "/asksforticket?name=forged") as (client, identity):
        orders = {f"/requests/{identity}/cancel": b"{}", "/tickets/forged": b"1", "/drain": b"{}"}
        for path, body in {**orders, f"/requests/{identity}/extend": b'{"by": "1d"}'}.items():
            reply = order(proxy, path, body, *fields, host=host)
            assert (reply.status, list(reply.json())) == (status, ["error"]), path
        (row,) = proxy.status()["parked"]
        assert (row["id"], row["deadline_s"] <= 60) == (identity, True)
        assert order(proxy, "/tickets/forged", b'"real"', JSON).status == 200
        assert client.reply().json() == "real"


def test_localhost_is_our_own_name_too(proxy: Proxy) -> None:
    fields = (JSON, f"Origin: http://localhost:{proxy.admin}", "Sec-Fetch-Site: same-origin")
    reply = order(proxy, "/requests/none/cancel", b"{}", *fields, host=f"localhost:{proxy.admin}")
    assert reply.status == 404


# The program.


def test_the_program_lists_resumes_extends_and_cancels(proxy: Proxy) -> None:
    with held(proxy, "/asksforticket?name=a%20b") as (client, identity):
        head, row = asyncproxy("ps", admin=proxy.admin).splitlines()
        assert re.split(r"  +", head) == ["ID", "AGE", "LEFT", "WAITING FOR", "AT", "REQUEST", "MODULE", "CLIENT"]
        assert re.split(r"  +", row)[0] == identity
        assert "ticket 'a b'" in row
        assert asyncproxy("ps", "--filter", "a b", "-q", admin=proxy.admin) == f"{identity}\n"
        assert asyncproxy("ps", "--filter", "nothing of that", "-q", admin=proxy.admin) == ""
        assert re.match(rf"{identity}: \d+m\d+s left\n", asyncproxy("extend", identity, "5m", admin=proxy.admin))
        said = asyncproxy("resume", "a b", "approved=true", "by=alice", admin=proxy.admin)
        assert said == f"a b: settled, request {identity} goes on\n"
        assert client.reply().json() == {"approved": True, "by": "alice"}
    assert "settled already" in asyncproxy("resume", "a b", admin=proxy.admin, status=1)
    with held(proxy) as (client, identity):
        assert json.loads(asyncproxy("--json", "ps", admin=proxy.admin)) == [{**proxy.status()["parked"][0], **ANY}]
        said = asyncproxy("cancel", identity, "--status", "504", admin=proxy.admin)
        assert said == f"{identity}: answered 504\n"
        assert client.reply().status == 504
    assert "no request has this id" in asyncproxy("cancel", identity, admin=proxy.admin, status=1)


class _Any:
    def __eq__(self, _other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


ANY: dict[str, Any] = {"since_s": _Any(), "deadline_s": _Any()}


def test_a_value_that_comes_first_is_remembered(proxy: Proxy) -> None:
    said = asyncproxy("resume", "early", '{"a": 1}', admin=proxy.admin)
    assert said == "early: remembered for 60 s, for nobody waits for it yet\n"
    with proxy.client() as client:
        assert client.get("/asksforticket?name=early").json() == {"a": 1}


def test_on_a_terminal_the_table_is_as_wide_as_that(proxy: Proxy) -> None:
    with held(proxy, f"/asksforticket?name={'n' * 100}"):
        ours, its = pty.openpty()
        environ = {**os.environ, "ASYNCPROXY_ADMIN": f"http://127.0.0.1:{proxy.admin}", "COLUMNS": "80"}
        with subprocess.Popen([ASYNCPROXY, "ps"], stdin=its, stdout=its, stderr=its, env=environ) as process:
            os.close(its)
            assert process.wait(30) == 0
        lines = os.read(ours, 65536).decode().splitlines()
        os.close(ours)
    assert len(lines) == 2
    assert all(len(line) <= 80 for line in lines)
    assert "…" in lines[1]
    assert re.search(r"ticket 'n+… +…\S*\.py:\d+ +GET /asksfo\w*…?$", lines[1]), lines


def test_where_no_proxy_is_the_program_says_how_to_find_it(proxy: Proxy) -> None:
    assert "ASYNCPROXY_ADMIN" in asyncproxy("ps", admin=free_port(), status=3)
    assert "Connection refused" in asyncproxy("drain", admin=free_port(), status=3)
    assert "No such file" in asyncproxy("ps", admin="unix:/nothing/of/that/name", status=3)
    assert "404" in asyncproxy("ps", admin=proxy.port, status=3)
    assert "usage: " in asyncproxy("ps", "--no-such-option", admin=proxy.admin, status=2)


# The end, and other listeners.


@pytest.fixture
def alone(peers: Peers, tmp_path: Path, reactor_name: str) -> Iterator[Proxy]:
    proxy = Proxy(tmp_path, reactor_name, configuration(peers), drain="20s")
    yield proxy
    if proxy.process.poll() is None:
        proxy.process.kill()
        proxy.process.wait()


def test_a_drain_is_answered_and_the_process_ends_when_all_are_through(alone: Proxy) -> None:
    with held(alone, "/asksforticket?name=last") as (client, _):
        assert asyncproxy("drain", admin=alone.admin).startswith("draining")
        until(lambda: refuses(alone.port), "the port is closed")
        assert asyncproxy("drain", "--json", admin=alone.admin) == '{"draining": true}\n'  # no second SIGTERM
        asyncproxy("resume", "last", '"bye"', admin=alone.admin)
        assert client.reply().json() == "bye"
    log = ended(alone, 0)
    assert "Drained: nobody was cut" in log
    assert log.count("drain: begun") == 2


def test_an_idle_proxy_that_is_drained_still_answers(alone: Proxy) -> None:
    assert order(alone, "/drain", b"", JSON).status == 202
    ended(alone, 0)


def test_a_token_and_a_unix_socket(tmp_path: Path, reactor_name: str) -> None:
    port, socket = free_port(), tmp_path / "admin"
    config = tmp_path / "proxy.toml"
    config.write_text(
        f'[server]\nlisten = "tcp:{port}:interface=127.0.0.1"\n'
        f'[admin]\nlisten = "unix:{socket}"\ntoken = "secret"\n[[route]]\nmodule = "{HERE}:Notes"\n'
    )
    process = twistd("--config", str(config), cwd=ROOT, reactor=reactor_name)
    try:
        until(lambda: socket.exists() and not refuses(port), "it listens", START)
        assert "ASYNCPROXY_TOKEN" in asyncproxy("ps", admin=f"unix:{socket}", status=1)
        assert asyncproxy("ps", "-q", admin=f"unix:{socket}", ASYNCPROXY_TOKEN="secret") == ""
        said = asyncproxy("--token", "secret", "resume", "t", admin=f"unix:{socket}")
        assert said.startswith("t: remembered")
        asyncproxy("drain", admin=f"unix:{socket}", ASYNCPROXY_TOKEN="secret")
        output, _ = process.communicate(timeout=START)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert process.returncode == 0, output
    assert not any(worry in output for worry in WORRIES), output
    assert "secret" not in output
