"""The examples as their READMEs run them: their own configurations, real processes, other ports."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.wire.peers import Client, free_port, request, until
from tests.wire.proxies import ROOT, START, WORRIES, command, environment

EXAMPLES = ROOT / "examples"
COMMENT = b": keep-alive\n\n"


class Running:
    """The programs of one example; `every` takes the place of the keep-alive's 15 seconds."""

    def __init__(self, folder: str, directory: Path, reactor: str, every: str) -> None:
        self.ports = {port: free_port() for port in (8080, 8081, 9000)}
        self.directory = directory
        self.logs: list[Path] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        for file in EXAMPLES.joinpath(folder).glob("*.toml"):
            text = re.sub(r"\b(8080|8081|9000)\b", lambda found: str(self.ports[int(found[1])]), file.read_text())
            config = directory / file.name
            config.write_text(text.replace('keep_alive_every = "15s"', f'keep_alive_every = "{every}"'))
            self.logs.append(config.with_suffix(".log"))
            with self.logs[-1].open("wb") as log:
                arguments = command("--config", str(config), reactor=reactor)
                process = subprocess.Popen(arguments, cwd=ROOT, env=environment(), stdout=log, stderr=log)
            self.processes.append(process)

    def started(self) -> Running:
        """Itself, once all of it listens."""
        configured = "".join(path.read_text() for path in self.directory.glob("*.toml"))
        for port in re.findall(r'"tcp:(\d+):', configured):
            until(lambda port=int(port): listens(port), lambda: f"all listen: {self.log}", START)
        return self

    @property
    def log(self) -> str:
        return "".join(path.read_text(errors="replace") for path in self.logs)

    def client(self) -> Client:
        return Client(self.ports[8080])

    def post(self, path: str, value: Any, *fields: str) -> Any:
        with self.client() as client:
            return client.post(path, json.dumps(value).encode(), *fields)

    def stop(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise AssertionError(f"it does not end: {self.log}") from None
        assert [process.returncode for process in self.processes] == [0] * len(self.processes), self.log
        assert not [line for line in self.log.splitlines() if any(worry in line for worry in WORRIES)], self.log


def listens(port: int) -> bool:
    with contextlib.suppress(ConnectionError), Client(port):
        return True
    return False


@pytest.fixture
def run(tmp_path: Path, reactor_name: str) -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def start(folder: str, every: str = "100ms") -> Running:
        running.append(Running(folder, tmp_path, reactor_name, every))
        return running[-1].started()

    yield start
    for one in running:
        one.stop()


def asked(running: Running) -> str:
    """The path of the link in the log."""
    found = until(
        lambda: re.search(r"May we buy a boat for 5000.00\? http://127.0.0.1:\d+(\S+)", running.log), "a link"
    )
    return str(found[1])


def test_a_boat_is_bought_once_somebody_has_clicked(run: Callable[..., Running]) -> None:
    example = run("approval")
    assert example.post("/orders", {"item": "a pen", "price": 2}).json() == {"bought": "a pen"}
    with example.client() as client, example.client() as human:
        body = json.dumps({"item": "a boat", "price": 5000}).encode()
        client.send(request("POST", "/orders", f"Content-Length: {len(body)}") + body)
        assert client.head().status == 200
        client.until(b"\r\n\n\r\n")
        link = asked(example)
        assert b"<button" in human.get(link).body
        form = "Content-Type: application/x-www-form-urlencoded"
        assert human.post(link, b"choice=0", form).status == 200
        assert json.loads(client.chunked()[0]) == {"bought": "a boat"}
        assert human.post(link, b"choice=1", form).status == 409


def test_a_model_s_words_are_streamed_and_who_leaves_is_cancelled(run: Callable[..., Running]) -> None:
    example = run("llm_gateway")
    with example.client() as client:
        body = b'{"prompt": "say this word by word"}'
        client.send(request("POST", "/v1/chat", "X-User: ada", f"Content-Length: {len(body)}") + body)
        assert client.head().get("content-type") == "text/event-stream"
        stream, _ = client.chunked()
    assert stream.startswith(COMMENT)
    words = re.findall(rb'data: \{"word":"(\w+)"\}\n\n', stream)
    assert words == [b"say", b"this", b"word", b"by", b"word"]
    assert stream.endswith(b"data: [DONE]\n\n")
    with example.client() as first, example.client() as second:
        body = b'{"prompt": "%b"}' % (b"on " * 500)
        first.send(request("POST", "/v1/chat", "X-User: ada", f"Content-Length: {len(body)}") + body)
        first.until(b'{"word":"on"}')
        body = b'{"prompt": "me"}'
        second.send(request("POST", "/v1/chat", "X-User: ada", f"Content-Length: {len(body)}") + body)
        second.until(COMMENT)
        first.close()
        second.until(b'{"word":"me"}')
    until(lambda: "cancelled: on on" in example.log, "the model is told")


def test_a_poll_hears_what_is_published(run: Callable[..., Running]) -> None:
    example = run("long_poll")
    with example.client() as client:
        client.send(request("GET", "/channels/news"))
        assert client.head().status == 200
        client.until(b"\r\n\n\r\n")
        said = example.post("/channels/news", {"words": "good day"})
        assert (said.status, said.json()) == (201, {"number": 0, "heard": 1})
        assert json.loads(client.chunked()[0]) == {"messages": [{"words": "good day"}], "next": 1}
    with example.client() as client:
        assert client.get("/channels/news?since=0").json()["next"] == 1


def test_payments_are_answered_by_their_webhooks(run: Callable[..., Running]) -> None:
    example = run("webhook", "15s")
    answers: list[Any] = []

    def pay(amount: float) -> None:
        answers.append((amount, example.post("/payments", {"amount": amount})))

    threads = [threading.Thread(target=pay, args=(amount,)) for amount in (12.5, 5000, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert {amount: reply.json()["paid"] for amount, reply in answers} == {12.5: True, 5000: False, 7: True}
    assert example.post("/webhook", {"job": "x", "paid": True}, "X-Signature: guessed").status == 403
