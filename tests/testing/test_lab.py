"""A lab as module authors use it."""

from __future__ import annotations

import concurrent.futures
import contextvars
import os
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from asyncproxy import (
    ClientGone,
    Module,
    Park,
    ParkTimeout,
    Request,
    Response,
    UpstreamError,
    gather,
    on_reactor,
    readable,
    sleep,
)
from asyncproxy.configuration import ConfigurationError
from asyncproxy.testing import Lab, LeftBehind


class Hello(Module):
    greeting: str = "hello"

    def handle(self, request: Request) -> Response:
        return Response.text(f"{self.greeting} {request.path}")


class Sleeper(Module):
    seconds: float = 600

    async def handle(self, request: Request) -> Response:
        await sleep(self.seconds)
        return Response.text(f"slept {request.path}")


class Forwards(Module):
    async def handle(self, request: Request) -> Response:
        return await request.forward()


TOML = """
[upstream.orders]
servers = ["http://127.0.0.1:9000", "http://127.0.0.1:9001"]

[[route]]
path = "/orders/"
module = "reverse"
upstream = "orders"
settings = { strip_prefix = true }

[[route]]
path = "/"
module = "tests.testing.test_lab:Hello"
settings = { greeting = "good day" }
"""


# What a lab is made of.


@pytest.mark.parametrize("module", [Hello, Hello(greeting="hello")], ids=["class", "instance"])
def test_a_lab_takes_a_module(module: Any) -> None:
    request = Lab(module).get("/x")
    assert (request.status, request.text) == (200, "hello /x")
    assert request.headers["content-type"].startswith("text/plain")
    assert request.done
    assert request.answered
    assert not request.cut


def test_a_lab_takes_a_configuration_as_a_dict_that_need_not_say_where_to_listen() -> None:
    lab = Lab({"route": [{"path": "/a", "module": "tests.testing.test_lab:Hello"}]})
    assert lab.get("/a").status == 200
    assert lab.get("/b").status == 404


def test_a_route_of_a_dict_takes_a_class_or_an_instance() -> None:
    hello = Hello(greeting="hi")
    lab = Lab({"route": [{"path": "/a", "module": Hello, "settings": {"greeting": "hej"}}, {"module": hello}]})
    assert lab.get("/a").text == "hej /a"
    assert lab.get("/b").text == "hi /b"
    assert lab.modules[1] is hello


def test_a_lab_takes_toml_text() -> None:
    lab = Lab(TOML)
    assert lab.get("/x").text == "good day /x"
    request = lab.get("/orders/7")
    assert [one.path for one in lab.upstream("orders").requests] == ["/7"]
    lab.upstream("orders").answer()
    assert request.status == 200


@pytest.mark.parametrize("kind", [str, Path])
def test_a_lab_takes_a_file_and_finds_modules_beside_it(tmp_path: Path, kind: Any) -> None:
    name = f"beside_{kind.__name__.lower()}"
    (tmp_path / f"{name}.py").write_text(
        "from asyncproxy import Module, Response\n"
        "class Beside(Module):\n"
        "    def handle(self, request):\n"
        "        return Response.text('beside')\n"
    )
    config = tmp_path / "proxy.toml"
    config.write_text(f'[server]\nlisten = "tcp:8080"\n[[route]]\nmodule = "{name}:Beside"\n')
    before = list(sys.path)
    assert Lab(kind(config)).get("/").text == "beside"
    assert sys.path == before


def test_a_configuration_that_the_proxy_would_refuse_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="unknown key"):
        Lab({"route": [{"module": Hello, "pth": "/"}]})
    with pytest.raises(ConfigurationError, match="not TOML"):
        Lab("[route\n")
    with pytest.raises(ConfigurationError, match="no such file"):
        Lab("nowhere.toml")
    with pytest.raises(ValueError, match="greeting"):
        Lab(Hello, settings={"greeting": 3})
    with pytest.raises(ConfigurationError, match=r"route\[0\].*no module has this name"):
        Lab({"route": [{"module": "revrse"}]})


def test_what_no_lab_can_be_made_of_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="give a Module"):
        Lab(7)
    with pytest.raises(TypeError, match="write them into the configuration"):
        Lab({"route": []}, timeout="3s")
    with pytest.raises(TypeError, match="is made already"):
        Lab(Hello(), settings={"greeting": "hi"})


# Waiting.


def test_a_parked_request_is_answered_when_its_time_has_come() -> None:
    lab = Lab(Sleeper)
    request = lab.get("/x")
    assert request.status is None
    assert request.body == b""
    assert not request.done
    assert len(request.headers) == 0
    (row,) = lab.parked()
    assert (row["path"], row["waiting_for"]) == ("/x", "sleep 600 s")
    assert row["at"].startswith("test_lab.py:")
    lab.advance(599)
    assert request.status is None
    assert lab.parked()[0]["since_s"] == 599
    lab.advance(1)
    assert request.text == "slept /x"
    assert lab.parked() == []


def test_a_route_s_timeout_is_met_to_the_instant() -> None:
    lab = Lab(Sleeper, timeout="30s")
    request = lab.get("/")
    lab.advance(29.9)
    assert request.status is None
    lab.advance(0.1)
    assert request.status == 504
    assert isinstance(request.error, ParkTimeout)


@pytest.mark.parametrize("seconds", [-1, float("nan")])
def test_time_goes_forward_only(seconds: float) -> None:
    lab = Lab(Sleeper)
    lab.get("/")
    for clock in (lab, lab.clock):
        with pytest.raises(ValueError, match="time goes forward only"):
            clock.advance(seconds)
    assert lab.parked()[0]["since_s"] == 0


def test_a_sleep_of_no_seconds_needs_no_time() -> None:
    assert Lab(Sleeper, settings={"seconds": 0}).get("/").status == 200


def test_what_goes_on_for_ever_without_time_passing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Restless(Module):
        async def handle(self, _request: Request) -> Response:
            while True:
                await sleep(0)

    monkeypatch.setattr("asyncproxy.testing.lab.STEPS", 50)
    with pytest.raises(AssertionError, match="does not settle"):
        Lab(Restless).get("/")


def test_a_client_that_leaves_is_heard_of_at_the_await() -> None:
    class Careful(Module):
        def __init__(self) -> None:
            super().__init__()
            self.heard: list[str] = []

        async def handle(self, _request: Request) -> Response:
            try:
                await sleep(10)
            except ClientGone:
                self.heard.append("gone")
                raise
            finally:
                self.heard.append("finally")
            return Response()

    lab = Lab(Careful)
    request = lab.get("/")
    lab.disconnect(request)
    assert lab.module.heard == ["gone", "finally"]
    assert request.done
    assert not request.cut
    assert lab.parked() == []
    assert lab.stop() == []


def test_a_descriptor_is_ready_when_the_test_says_so() -> None:
    ours, theirs = socket.socketpair()

    class Reads(Module):
        def handle(self, _request: Request) -> Park:
            return Park(readable(ours), resume=self.answered, context=ours, timeout=30)

        def answered(self, _request: Request, woken: Any) -> Response:
            return Response(200, body=woken.context.recv(100))

    with ours, theirs:
        lab = Lab(Reads)
        request = lab.get("/")
        with pytest.raises(AssertionError, match=f"readable fd {ours.fileno()}"):
            lab.ready(theirs)
        theirs.sendall(b"data")
        lab.ready(ours)
        assert request.body == b"data"
        late = lab.get("/")
        lab.advance(30)
        assert late.status == 504


def test_futures_and_deferreds_are_resolved_by_the_test() -> None:
    future: concurrent.futures.Future[str] = concurrent.futures.Future()
    deferred: Deferred[str] = Deferred()

    class Waits(Module):
        async def handle(self, _request: Request) -> Response:
            values = await gather(future, on_reactor(lambda: deferred), sleep(1))
            return Response.json(values)

    lab = Lab(Waits)
    request = lab.get("/")
    future.set_result("future")
    deferred.callback("deferred")
    assert request.status is None
    lab.advance(1)
    assert request.json() == ["future", "deferred", None]


def test_a_module_finds_the_lab_s_reactor() -> None:
    class Delays(Module):
        async def handle(self, _request: Request) -> Response:
            return Response.text(await on_reactor(deferLater, self.proxy.reactor, 5, lambda: "later"))

    lab = Lab(Delays)
    request = lab.get("/")
    lab.advance(5)
    assert request.text == "later"


def test_contextvars_travel_from_turn_to_turn() -> None:
    user: contextvars.ContextVar[str] = contextvars.ContextVar("user")

    class Context(Module):
        async def handle(self, request: Request) -> Response:
            user.set(request.path)
            await sleep(1)
            return Response.text(user.get())

    lab = Lab(Context)
    first, second = lab.get("/a"), lab.get("/b")
    lab.advance(1)
    assert (first.text, second.text) == ("/a", "/b")


# Requests and responses.


def test_bodies_are_sent_as_bytes_text_forms_json_or_pieces() -> None:
    class Echo(Module):
        def handle(self, request: Request) -> Response:
            said = [request.method, request.headers.get("content-type"), request.data.decode()]
            return Response.json(said)

    lab = Lab(Echo)
    assert lab.post("/", data=b"bytes").json() == ["POST", None, "bytes"]
    assert lab.put("/", data="text").json() == ["PUT", None, "text"]
    assert lab.post("/", data={"a": "1 2"}).json() == ["POST", "application/x-www-form-urlencoded", "a=1+2"]
    assert lab.post("/", json={"a": 1}).json() == ["POST", "application/json", '{"a": 1}']
    assert lab.request("PATCH", "/", data=[b"in ", b"pieces"]).json() == ["PATCH", None, "in pieces"]
    assert lab.delete("/").json() == ["DELETE", None, ""]
    assert lab.request("HEAD", "/").body == b""


def test_a_request_says_what_it_is_told_to() -> None:
    class Tells(Module):
        def handle(self, request: Request) -> Response:
            return Response.json([request.path, request.args, request.host, request.headers.get("x-a")])

    lab = Lab(Tells)
    assert lab.get("/a b/ö?x=1&x=2", headers={"X-A": "1"}).json() == ["/a b/ö", {"x": ["1", "2"]}, "lab.test", "1"]
    assert lab.get("http://other.test/p").json()[2] == "other.test"
    assert lab.get("/", headers=[("Host", "mine.test")]).json()[2] == "mine.test"
    assert lab.get(b"/%zz").status == 400


def test_a_body_may_be_sent_as_the_test_goes_on() -> None:
    class Counts(Module):
        async def handle(self, request: Request) -> Response:
            return Response.json([piece.decode() async for piece in request.body])

    lab = Lab(Counts)
    for request in (lab.upload("POST", "/"), lab.upload("POST", "/", length=4)):
        request.send(b"ab")
        request.send(b"cd")
        request.end()
        assert request.json() == ["ab", "cd"]


def test_a_response_may_come_in_pieces_and_wait_for_a_slow_client() -> None:
    class Streams(Module):
        def __init__(self) -> None:
            super().__init__()
            self.made = 0

        async def handle(self, _request: Request) -> Response:
            return Response(body=self.pieces())

        async def pieces(self) -> AsyncIterator[bytes]:
            for _ in range(3):
                self.made += 1
                yield b"piece "
                await sleep(1)

    lab = Lab(Streams)
    request = lab.get("/")
    assert request.answered
    assert not request.done
    assert request.body == b"piece "
    request.slow()
    lab.advance(10)
    assert lab.module.made == 2
    request.fast()
    lab.advance(10)
    assert request.text == "piece piece piece "
    assert request.done


def test_a_response_that_breaks_is_cut() -> None:
    class Breaks(Module):
        def handle(self, _request: Request) -> Response:
            return Response(body=self.pieces())

        def pieces(self) -> Iterator[bytes]:
            yield b"half"
            raise OSError("no more")

    request = Lab(Breaks).get("/")
    assert (request.status, request.body) == (200, b"half")
    assert request.cut
    assert request.done
    assert isinstance(request.error, OSError)
    assert "cut" in repr(request)


def test_what_a_module_raised_is_at_hand() -> None:
    class Wrong(Module):
        def handle(self, _request: Request) -> Response:
            raise ZeroDivisionError("by zero")

    request = Lab(Wrong).get("/")
    assert request.status == 500
    assert isinstance(request.error, ZeroDivisionError)
    assert repr(request) == "<GET /: 500, 40 bytes, ZeroDivisionError: by zero>"


def test_the_repr_of_a_request_is_a_diagnosis() -> None:
    lab = Lab(Sleeper)
    request = lab.get("/x")
    lab.advance(2)
    assert repr(request).startswith("<GET /x: parked 2 s, waits for sleep 600 s at test_lab.py:")
    lab.disconnect(request)
    assert repr(request) == "<GET /x: its client has left>"
    assert repr(lab) == "<Lab at 2 s: 1 served, nothing held>"


def test_a_connection_may_be_played_byte_by_byte() -> None:
    lab = Lab(Hello)
    client = lab.connect()
    client.send(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n")
    lab.settle()
    assert client.statuses == [200, 200]


# By hand, and the end.


def test_a_lab_that_does_not_settle_by_itself_is_stepped() -> None:
    lab = Lab(Hello, settle=False)
    request = lab.get("/")
    assert repr(request) == "<GET /: not stepped yet>"
    assert lab.step()
    assert lab.workers.waiting == 1
    assert request.status is None
    lab.workers.take()
    assert lab.snapshot()["workers"] == {"total": 5, "busy": 1, "queued": 0}
    lab.workers.give()
    assert request.status == 200


def test_stop_tells_what_was_left_behind() -> None:
    lab = Lab(Sleeper)
    lab.get("/x")
    lab.upstream("orders").answer()
    parked, answer = lab.stop()
    assert parked.startswith("<GET /x: parked 0 s, waits for sleep 600 s")
    assert answer == "an answer of upstream orders, for which nobody asked"
    assert lab.stop() is lab.left_behind
    with pytest.raises(RuntimeError, match="stopped"):
        lab.get("/")


def test_a_module_that_will_not_end_is_told_apart() -> None:
    class Stubborn(Module):
        async def handle(self, _request: Request) -> Response:
            while True:
                try:
                    await sleep(10)
                except ClientGone:
                    continue

    lab = Lab(Stubborn, allow_parked=True)
    lab.get("/")
    (line,) = lab.stop()
    assert "does not end, though its client has left" in line


def test_a_with_block_warns_of_what_is_left_behind() -> None:
    with pytest.warns(LeftBehind, match=r"left behind:\n  <GET /x: parked"), Lab(Sleeper) as lab:
        lab.get("/x")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Lab(Sleeper, allow_parked=True) as lab:
            lab.get("/x")


def test_an_error_inside_a_with_block_is_given_the_diagnosis() -> None:
    with pytest.raises(KeyError) as caught, Lab(Sleeper, seed=3) as lab:  # noqa: PT012 - what is inside is the point
        lab.get("/x")
        lab.settle()
        raise KeyError("mine")
    (note,) = caught.value.__notes__
    assert "seed=3" in note
    assert "GET /x" in note


def test_a_lab_makes_no_thread_descriptor_or_reactor() -> None:
    program = """
import os, sys, threading
from asyncproxy.testing import Lab
from tests.testing.test_lab import Forwards, Sleeper
before = os.listdir("/proc/self/fd")
lab = Lab(Sleeper)
requests = [lab.get("/") for _ in range(50)]
lab.advance(600)
assert all(request.status == 200 for request in requests)
lab = Lab(Forwards)
request = lab.get("/")
lab.upstream().answer(body=b"x")
assert request.body == b"x"
assert os.listdir("/proc/self/fd") == before, before
assert threading.active_count() == 1
assert "twisted.internet.reactor" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env={**os.environ, "PYTHONPATH": "."},
    )
    assert done.returncode == 0, done.stderr
    assert threading.active_count() >= 1


@pytest.mark.parametrize("seed", [None, 1])
def test_thousands_may_be_parked(seed: int | None) -> None:
    lab = Lab({"server": {"max_queued": 3000}, "route": [{"module": Sleeper}]}, seed=seed)
    requests = [lab.get(f"/{number}") for number in range(3000)]
    assert len(lab.parked()) == 3000
    lab.advance(600)
    assert [request.text for request in requests] == [f"slept /{number}" for number in range(3000)]


def test_limits_of_the_configuration_hold() -> None:
    lab = Lab({"server": {"max_parked": 2}, "route": [{"module": Sleeper}]}, allow_parked=True)
    statuses = [lab.get("/").status for _ in range(3)]
    assert statuses == [None, None, 503]


def test_upstream_errors_reach_the_module() -> None:
    class Tries(Module):
        async def handle(self, request: Request) -> Response:
            try:
                return await request.forward()
            except UpstreamError as error:
                return Response.text(error.why, 200)

    lab = Lab(Tries)
    for why in ("refused", "reset", "timeout:connect", "bad", "full"):
        request = lab.get("/")
        lab.upstream().fail(why)
        assert request.text == why
