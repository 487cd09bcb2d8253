"""Modules in a stock twisted.web Site, in a program of a stranger's, on every reactor."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.wire.conftest import Peers
from tests.wire.peers import PATIENCE, Call, Client, free_port, request, until
from tests.wire.proxies import ROOT, START, ended, environment


class Program:
    """`site_program` on a reactor."""

    def __init__(self, reactor: str, url: str) -> None:
        self.port = free_port()
        command = [sys.executable, "-m", "tests.wire.site_program", reactor, str(self.port), url]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        until(self._listens, "the Site listens", START)

    def _listens(self) -> bool:
        assert self.process.poll() is None, ended(self.process)
        try:
            with self.client() as client:
                return client.get("/stock").text == "stock"
        except ConnectionError:
            return False

    def client(self, receive_buffer: int | None = None) -> Client:
        return Client(self.port, receive_buffer)

    def json(self, path: str) -> Any:
        with self.client() as client:
            return client.get(path).json()

    def stop(self) -> str:
        """End it as an operator does; its output."""
        self.process.send_signal(signal.SIGTERM)
        status, output = ended(self.process)
        assert status in (0, -signal.SIGTERM), output
        return output


@pytest.fixture(scope="module", params=["select", "epoll", "asyncio", "uvloop"])
def site(request: pytest.FixtureRequest, peers: Peers) -> Iterator[Program]:
    program = Program(request.param, peers.one.url)
    yield program
    output = program.stop()
    assert "Traceback" not in output
    assert "Unhandled" not in output


@pytest.fixture(autouse=True)
def calm(peers: Peers) -> Iterator[None]:
    yield
    peers.one.reset()
    peers.one.calls.clear()


def test_modules_stand_among_other_resources_and_know_where(site: Program) -> None:
    with site.client() as client:
        for _ in range(2):
            about = client.get("/About/a%20b?c=d", "X: one").json()
            assert (about["path"], about["query"], about["route"], about["x"]) == (
                "/About/a b", "c=d", "/About", ["one"],
            )  # fmt: skip
            assert about["client"] == ["127.0.0.1", client.sock.getsockname()[1]]
            assert about["thread"].startswith("asyncproxy-worker-")
            assert client.get("/stock").text == "stock"


def test_a_forward_is_relayed_as_it_comes(site: Program, peers: Peers) -> None:
    proceed = threading.Event()

    def slowly(call: Call) -> None:
        call.send(b"HTTP/1.1 203 X\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n3\r\none\r\n")
        assert proceed.wait(PATIENCE)
        call.send(b"3\r\ntwo\r\n0\r\n\r\n")

    peers.one.script = slowly
    with site.client() as client:
        client.send(request("GET", "/Passes/x"))
        head = client.head()
        assert (head.status, head.get("x-a")) == (203, "b")
        assert client.until(b"one\r\n").endswith(b"one\r\n")
        assert peers.one.call().target == "/Passes/x"
        proceed.set()
        assert client.until(b"0\r\n\r\n").startswith(b"3\r\ntwo")


def test_an_upload_is_forwarded_and_read(site: Program, peers: Peers) -> None:
    body = os.urandom(1_000_000)
    with site.client() as client:
        assert client.post("/Passes", body).status == 200
        assert peers.one.call().body == body
        sha = hashlib.sha256(body).hexdigest()
        assert client.post("/ReadAll", body).json() == {"size": len(body), "sha": sha}
        assert client.post("/Whole", body).json() == {"size": len(body), "sha": sha, "same": True, "kept": "file"}


def test_a_fetch_is_made_from_a_site(site: Program) -> None:
    with site.client() as client:
        assert client.get("/Fetches").text == "fetched GET /fetched"


def test_many_requests_are_parked_and_five_workers_are_enough(site: Program) -> None:
    clients = [site.client() for _ in range(50)]
    for client in clients:
        client.send(request("GET", "/Sleeper?for=0.3"))
    assert [client.reply().text for client in clients] == ["slept"] * 50
    for client in clients:
        client.close()


def test_a_streamed_response_waits_for_a_slow_client(site: Program) -> None:
    client = site.client(receive_buffer=65536)
    client.send(request("GET", "/Endless?key=site-endless"))
    assert client.head().status == 200

    def stands() -> int:
        counts = {site.json("/MadeSoFar") for _ in range(30)}
        return int(counts.pop()) if len(counts) == 1 else 0

    stood = until(stands, "it waits")
    client.exactly(10_000_000)
    until(lambda: site.json("/MadeSoFar") > stood, "it goes on")
    client.close()
    until(lambda: site.json("/Notes?key=site-endless") == ["finally"], "the generator is closed")


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_a_client_that_leaves_is_told_and_its_forward_called_off(site: Program, peers: Peers, leave: str) -> None:
    peers.one.script = Call.watch
    client = site.client()
    client.send(request("GET", f"/Passes?key=site-{leave}"))
    call = peers.one.call()
    getattr(client, leave)()
    assert call.gone()
    until(lambda: site.json(f"/Notes?key=site-{leave}") == ["ClientGone"], "the module hears of it")


def test_a_reply_that_is_cut_is_cut_for_the_client(site: Program, peers: Peers) -> None:
    def cut(call: Call) -> None:
        call.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        call.close()

    peers.one.script = cut
    with site.client() as client:
        client.send(request("GET", "/Passes"))
        with pytest.raises((EOFError, ConnectionError)):
            client.reply()


@pytest.mark.parametrize("reactor", ["select", "epoll", "asyncio", "uvloop"])
def test_the_rooms_are_made_at_first_use_and_gone_at_the_end(peers: Peers, reactor: str) -> None:
    program = Program(reactor, peers.one.url)
    parked = program.client()
    with program.client() as client:
        assert client.get("/Hooked").text == "hooked"
        assert client.get("/Hooked").text == "hooked"
    parked.send(request("GET", "/Sleeper?for=600"))
    output = program.stop()
    parked.close()
    lines = output.splitlines()
    assert lines[0] == "before: 1 threads"
    assert lines[1].startswith("started on asyncproxy-worker-")
    assert lines[2:] == ["stopped", "after: 1 threads"]
