"""The contract of module authors, on real workers and sockets: what may be awaited, answered, raised."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading

import pytest

from tests.wire import modules_under_test
from tests.wire.conftest import Peers
from tests.wire.peers import Call, Gate, Upstream, Wire, request
from tests.wire.proxies import MODULES, Proxy, routes


def configuration(peers: Peers) -> str:
    names = [
        name
        for name, value in vars(modules_under_test).items()
        if isinstance(value, type) and value.__module__ == MODULES and name not in ("Settings", "Classic", "Notes")
    ]
    return f"""
[limits]
spool = "64KiB"
[upstream.one]
servers = ["{peers.one.url}"]
[[route]]
path = "/Settings"
module = "{MODULES}:Settings"
settings = {{ limit = 3, names = ["a", "b"] }}
[[route]]
path = "/Classic"
module = "{MODULES}:Classic"
settings = {{ remote = ["127.0.0.1", {peers.raw.getsockname()[1]}] }}
{routes(*names)}
"""


# What a module is told.


def test_a_module_is_told_everything_about_a_request(proxy: Proxy) -> None:
    with proxy.client() as client:
        about = client.get("/About/a%20b?x=1&x=2&y=&z=%26", "X: one", "x: two", "Cookie: a=b; c=d").json()
        port = client.sock.getsockname()[1]
    assert (about["method"], about["target"]) == ("GET", "/About/a%20b?x=1&x=2&y=&z=%26")
    assert (about["path"], about["query"]) == ("/About/a b", "x=1&x=2&y=&z=%26")
    assert about["args"] == {"x": ["1", "2"], "y": [""], "z": ["&"]}
    assert (about["host"], about["scheme"], about["client"]) == ("proxy.test", "http", ["127.0.0.1", port])
    assert (about["x"], about["has"], about["cookies"]) == (["one", "two"], True, {"a": "b", "c": "d"})
    assert about["route"] == "/About"
    assert about["thread"].startswith("asyncproxy-worker-")


def test_every_request_has_an_id_of_its_own(proxy: Proxy) -> None:
    with proxy.client() as client:
        assert len({client.get("/About").json()["id"] for _ in range(10)}) == 10


def test_settings_come_from_the_configuration_and_from_defaults(proxy: Proxy) -> None:
    with proxy.client() as client:
        assert client.get("/Settings").json() == ["eu", 3, ["a", "b"]]


def test_a_module_that_does_not_block_runs_on_the_polling_thread(proxy: Proxy) -> None:
    with proxy.client() as client:
        assert client.get("/OnThePollingThread").text == "MainThread"


# Bodies.


@pytest.mark.parametrize(("size", "kept"), [(0, "memory"), (1000, "memory"), (65536, "memory"), (5_000_000, "file")])
@pytest.mark.parametrize("chunked", [True, False])
def test_a_plain_module_has_the_whole_body(proxy: Proxy, size: int, kept: str, chunked: bool) -> None:
    body = os.urandom(size)
    with proxy.client() as client:
        post = client.post_chunked if chunked else client.post
        reply = post("/Whole", body)
    sha = hashlib.sha256(body).hexdigest()
    assert reply.json() == {"sha": sha, "size": size, "same": True, "kept": kept}


def test_no_worker_is_held_while_a_whole_body_arrives(proxy: Proxy) -> None:
    clients = [proxy.client() for _ in range(10)]
    for client in clients:
        client.send(request("POST", "/Whole", "Content-Length: 60000") + bytes(59_999))
    proxy.staged(RECEIVING=10)
    assert proxy.status()["workers"]["busy"] == 0
    for client in clients:
        client.send(b"x")
    assert [client.reply().json()["size"] for client in clients] == [60_000] * 10
    for client in clients:
        client.close()


def test_an_async_module_may_read_the_whole_body(proxy: Proxy) -> None:
    body = os.urandom(1_000_000)
    with proxy.client() as client:
        answer = client.post("/ReadAll", body).json()
        assert client.post("/ReadAll", b"").json()["size"] == 0
    assert answer == {"size": 1_000_000, "sha": hashlib.sha256(body).hexdigest()}


def test_an_async_module_may_read_the_body_piece_by_piece(proxy: Proxy) -> None:
    with proxy.client() as client:
        client.send(request("POST", "/ReadPieces?key=pieces", "Transfer-Encoding: chunked"))
        for count, piece in enumerate(("one", "two", "three"), 1):
            client.send(f"{len(piece):x}\r\n{piece}\r\n".encode())
            proxy.noted("pieces", *("one", "two", "three")[:count])
        client.send(b"0\r\n\r\n")
        assert client.reply().body == b"one|two|three"


def test_a_body_that_a_module_leaves_alone_does_not_hurt(proxy: Proxy) -> None:
    with proxy.client() as client:
        assert client.post("/Sleeper?for=0", b"x" * 1000).status == 200
        assert client.post("/Sleeper?for=0", b"x" * 1_000_000).status == 200


# Waits.


def test_a_sleep_parks_and_holds_no_worker(proxy: Proxy) -> None:
    clients = [proxy.client() for _ in range(20)]
    for client in clients:
        client.send(request("GET", "/Sleeper?for=0.5"))
    proxy.staged(PARKED=20)
    assert proxy.status()["workers"]["busy"] == 0
    assert [client.reply().text for client in clients] == ["slept"] * 20
    for client in clients:
        client.close()


def test_gather_waits_for_waits_coroutines_and_futures_at_once(proxy: Proxy) -> None:
    with proxy.client() as client:
        answer = client.get("/Gatherer").json()
    assert answer["values"] == [None, "a", "b", "c", "d"]
    assert answer["empty"] == []
    assert 0.14 < answer["seconds"] < 0.35


def test_gather_ends_with_the_first_failure_and_calls_the_others_off(proxy: Proxy) -> None:
    with proxy.client() as client:
        assert client.get("/GatherFails?key=gather").text == "failed: this one"
    proxy.noted("gather", "finally")


def test_on_reactor_runs_on_the_polling_thread(proxy: Proxy) -> None:
    with proxy.client() as client:
        value, there, plain, coroutine, failure, here = client.get("/ReactorCaller").json()
    assert (value, plain, coroutine, failure) == (5, "plain", "from a coroutine", "on the polling thread")
    assert there == "MainThread"
    assert here.startswith("asyncproxy-worker-")


def test_a_future_may_be_awaited(proxy: Proxy) -> None:
    with proxy.client() as client:
        assert client.get("/FutureWaiter").json() == ["a value", "'missing'"]


def test_the_mail_of_2009_works_literally(proxy: Proxy, peers: Peers) -> None:
    with proxy.client() as client:
        client.send(request("GET", "/Classic"))
        remote = Wire(peers.raw.accept()[0])
        assert remote.exactly(14) == b"are you there?"
        proxy.staged(PARKED=1)
        (row,) = proxy.status()["parked"]
        assert row["waiting_for"].startswith("readable fd ")
        assert proxy.status()["workers"]["busy"] == 0
        remote.sock.sendall(b"yes, I am")
        reply = client.reply()
    assert (reply.body, reply.get("x-reason")) == (b"yes, I am", "ready")
    assert remote.ended()
    remote.close()


def test_a_park_may_be_followed_by_another(proxy: Proxy) -> None:
    with proxy.client() as client:
        assert client.get("/ParkTwice").json() == ["first", "second", "third"]


def test_a_park_that_takes_too_long_calls_gone_and_is_a_504(proxy: Proxy) -> None:
    with proxy.client() as client:
        reply = client.get("/ParkGone?key=gone&timeout=0.1")
        assert reply.status == 504
        assert reply.text.startswith("504 Gateway Timeout: nothing was ready within 0.1 s\n"), "and not for what"
    proxy.noted("gone", "gone: timeout ParkTimeout", "asyncproxy-worker")


def test_gone_may_answer_after_a_time_out(proxy: Proxy) -> None:
    with proxy.client() as client:
        reply = client.get("/ParkGone?key=answers&timeout=0.1&answers=yes")
        assert (reply.status, reply.text) == (408, "gave up")


def test_a_context_is_closed_when_nothing_else_is_said(proxy: Proxy) -> None:
    with proxy.client() as client:
        assert client.get("/ParkCloses?key=closes&timeout=0.1").status == 504
    proxy.noted("closes", "closed")


def test_a_park_whose_wait_fails_is_resumed_and_told(proxy: Proxy) -> None:
    with proxy.client() as client:
        assert client.get("/ParkFails").json() == ["failed", "what it waited for failed"]


def test_readable_wakes_when_something_comes(proxy: Proxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, proxy.client() as client:
        server.settimeout(10)
        client.send(request("GET", f"/Reader?port={server.getsockname()[1]}"))
        with server.accept()[0] as remote:
            proxy.staged(PARKED=1)
            remote.sendall(b"here")
            assert client.reply().body == b"here"


def test_readable_wakes_when_the_peer_closes(proxy: Proxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, proxy.client() as client:
        server.settimeout(10)
        client.send(request("GET", f"/Reader?port={server.getsockname()[1]}"))
        with server.accept()[0]:
            proxy.staged(PARKED=1)
        assert client.reply().body == b""


def test_a_park_timeout_may_be_caught(proxy: Proxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, proxy.client() as client:
        assert client.get(f"/Reader?key=late&timeout=0.1&port={server.getsockname()[1]}").text == "too late"
    proxy.noted("late", "finally")


def test_a_park_timeout_that_is_not_caught_is_a_504(proxy: Proxy) -> None:
    with proxy.client() as client:
        reply = client.get("/UncaughtTimeout")
        assert reply.status == 504
        assert "within 0.05 s" in reply.text


def test_contextvars_travel_across_awaits_and_do_not_leak(proxy: Proxy) -> None:
    clients = [proxy.client() for _ in range(10)]
    for number, client in enumerate(clients):
        client.send(request("GET", f"/Contextual?as={number}"))
    for number, client in enumerate(clients):
        assert client.reply().json() == ["unset", *[str(number)] * 4]
        client.close()


def test_a_bare_deferred_in_a_blocking_module_is_a_type_error_that_names_the_mend(proxy: Proxy) -> None:
    with proxy.client() as client:
        text = client.get("/AwaitsDeferred").text
    assert "Deferred" in text
    assert "on_reactor" in text


def test_a_bare_deferred_in_a_module_that_does_not_block_is_awaited(proxy: Proxy) -> None:
    with proxy.client() as client:
        assert client.get("/AwaitsDeferredOnThePollingThread").json() == ["later", "at once", "MainThread"]


# Calls out.


def test_fetch_speaks_json(proxy: Proxy, peers: Peers) -> None:
    def answer(call: Call) -> None:
        question = json.loads(call.body)["question"]
        call.answer(json.dumps({"answer": question * 7}).encode(), "201 Created", "X-Answered: yes")

    peers.two.script = answer
    with proxy.client() as client:
        reply = client.get(f"/Fetcher?url={peers.two.url}/ask").json()
    assert reply == [201, {"answer": 42}, '{"answer": 42}', "yes"]
    call = peers.two.call()
    assert (call.method, call.target, call.get("x-asked")) == ("POST", "/ask", "yes")


def test_a_fetch_that_is_refused_says_so(proxy: Proxy, peers: Peers) -> None:
    with proxy.client() as client:
        reply = client.get(f"/Fetcher?url={peers.refused}")
        assert (reply.status, reply.text) == (500, "refused")


def test_a_fetch_that_takes_too_long_is_a_504(proxy: Proxy, peers: Peers) -> None:
    peers.two.script = lambda call: call.watch()
    with proxy.client() as client:
        reply = client.get(f"/FetchHolder?key=fetch&timeout=0.2&url={peers.two.url}")
        assert reply.status == 504
        assert "timeout:total" in reply.text
    proxy.noted("fetch", "finally")
    assert peers.two.call().gone(1)


def test_a_forward_goes_to_the_routes_upstream(proxy: Proxy, upstream: Upstream) -> None:
    upstream.script = lambda call: call.answer(call.body, "202 Accepted")
    with proxy.client() as client:
        reply = client.post("/Forwarder?x=y", b"a body")
        assert (reply.status, reply.body) == (202, b"a body")
    assert upstream.targets() == ["POST /Forwarder?x=y"]


def test_a_forward_may_go_to_a_url(proxy: Proxy, peers: Peers) -> None:
    with proxy.client() as client:
        for _ in range(2):
            assert client.get(f"/Forwarder?to={peers.two.url}").status == 200
    assert len(peers.two.calls) == 2
    assert peers.one.calls == []
    assert peers.two.call(0).connection is peers.two.call(1).connection, "and its connection is kept"


def test_a_forward_that_is_refused_raises_at_the_await(proxy: Proxy, peers: Peers) -> None:
    with proxy.client() as client:
        assert client.get(f"/Forwarder?key=refused&to={peers.refused}").status == 502
    proxy.noted("refused", "refused")


@pytest.mark.parametrize("to", ["nobody", "http://", "ftp://127.0.0.1", "https://127.0.0.1:1"])
def test_a_forward_to_nowhere_is_a_502(proxy: Proxy, to: str) -> None:
    with proxy.client() as client:
        assert client.get(f"/Forwarder?to={to}").status == 502


def test_a_forward_may_change_target_and_headers(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        assert client.post("/ForwardElse", b"abc", "X-Mine: dropped").text == "POST /else?where"
    call = upstream.call()
    assert (call.get("host"), call.get("x-only"), call.get("x-mine")) == ("else.test", "this", None)
    assert (call.get("x-dropped"), call.get("connection")) == (None, None)
    assert (call.body, call.get("content-length")) == (b"abc", "3")
    assert call.get("x-forwarded-for") == "127.0.0.1"


def test_a_forward_with_headers_of_its_own_has_a_host_all_the_same(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        assert client.get("/ForwardBare").status == 200
    assert upstream.call().get("host") == "proxy.test"


@pytest.mark.parametrize("path", ["a%0d%0aX-Evil:%20yes", "a%20HTTP/1.1%0d%0a%0d%0aGET%20/evil", "a%20b", "%C3%A9"])
def test_a_target_cannot_split_the_request(proxy: Proxy, upstream: Upstream, path: str) -> None:
    with proxy.client() as client:
        assert client.get("/ForwardPath/fine").text == "GET /ForwardPath/fine"
        assert client.get(f"/ForwardPath/{path}").status in (400, 500)
        assert client.get("/ForwardPath/fine").status == 200
    assert upstream.targets() == ["GET /ForwardPath/fine"] * 2


def test_a_forward_may_have_a_time_out_of_its_own(proxy: Proxy, upstream: Upstream) -> None:
    upstream.script = lambda call: call.watch()
    with proxy.client() as client:
        reply = client.get("/ForwardBriefly")
        assert reply.status == 504
        assert "timeout:total" in reply.text
    assert upstream.call().gone(1)


def test_two_forwards_of_one_request_may_run_at_once(proxy: Proxy, upstream: Upstream) -> None:
    both = threading.Barrier(2, timeout=10)

    def meet(call: Call) -> None:
        both.wait()
        call.answer(call.target.encode())

    upstream.script = meet
    with proxy.client() as client:
        assert client.get("/ForwardTwice").body == b"/one /two"


# Answers.


def with_inner(call: Call) -> None:
    call.answer(b"a body", "200 OK", "X-Inner: secret", "X-Kept: 1", "x-user: theirs")


def test_a_replys_headers_may_be_changed(proxy: Proxy, upstream: Upstream) -> None:
    upstream.script = with_inner
    with proxy.client() as client:
        reply = client.get("/ChangedHeaders")
        assert client.get("/ChangedHeaders").body == b"a body"
    assert (reply.all("x-user"), reply.get("x-inner"), reply.get("x-kept")) == (["me", "too"], None, "1")
    assert (reply.body, reply.framing) == (b"a body", "length")


def test_a_replys_status_may_be_changed(proxy: Proxy, upstream: Upstream) -> None:
    upstream.script = with_inner
    with proxy.client() as client:
        reply = client.get("/ChangedStatus")
        assert (reply.status, reply.body) == (418, b"a body")


@pytest.mark.parametrize("chunked", [True, False])
def test_a_replys_body_may_be_read_and_replaced(proxy: Proxy, upstream: Upstream, chunked: bool) -> None:
    def script(call: Call) -> None:
        if chunked:
            call.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: x\r\n\r\n")
            call.send(b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")
        else:
            call.answer(b"abc", "200 OK", "ETag: x")

    upstream.script = script
    with proxy.client() as client:
        for _ in range(2):
            reply = client.get("/ReplacedBody")
            assert (reply.body, reply.get("content-length"), reply.get("etag")) == (b"ABC!", "4", "x")
    assert upstream.call(0).connection is upstream.call(1).connection


def test_a_body_that_is_replaced_unread_lets_its_upstream_go(proxy: Proxy, upstream: Upstream) -> None:
    def script(call: Call) -> None:
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhalf")
        call.watch()

    upstream.script = script
    with proxy.client() as client:
        reply = client.get("/DroppedBody")
        assert (reply.body, reply.framing) == (b"ours", "length")
        assert upstream.call().gone(1)
        assert client.get("/AnswersElse").text == "it said 200"
        assert upstream.call(1).gone(1)


@pytest.mark.parametrize("name", ["Generator", "AsyncGenerator"])
def test_a_body_may_be_made_piece_by_piece(proxy: Proxy, name: str) -> None:
    with proxy.client() as client:
        reply = client.get(f"/{name}?count=20&key={name}-all")
        assert (reply.framing, reply.text) == ("chunked", "".join(f"{number}," for number in range(20)))
        assert client.get(f"/{name}?count=0").body == b""
        old = client.ask(f"GET /{name}?count=3 HTTP/1.0\r\n\r\n".encode())
        assert (old.framing, old.text) == ("close", "0,1,2,")
    proxy.noted(f"{name}-all", "finally on asyncproxy-worker")


def test_each_piece_is_sent_before_the_next_is_made(proxy: Proxy, gate: Gate) -> None:
    with proxy.client() as client:
        client.send(request("GET", f"/Generator?count=3&gate={gate.port}"))
        for number in range(3):
            gate.arrived()
            assert client.head().status == 200 if number == 0 else client.until(f"{number - 1},\r\n".encode())
            gate.open()
        assert client.until(b"0\r\n\r\n").endswith(b"2,\r\n0\r\n\r\n")


@pytest.mark.parametrize("name", ["Generator", "AsyncGenerator"])
def test_a_client_that_leaves_ends_the_generator_of_its_body(proxy: Proxy, name: str) -> None:
    pause = "&pause=0.01" if name == "AsyncGenerator" else ""
    with proxy.client() as client:
        client.send(request("GET", f"/{name}?count=100000000&key={name}-left{pause}"))
        client.until(b"1,\r\n")
    proxy.noted(f"{name}-left", "finally on asyncproxy-worker")


def test_a_head_request_pulls_no_body(proxy: Proxy) -> None:
    with proxy.client() as client:
        client.send(request("HEAD", "/Generator?count=3") + request("GET", "/Generator?count=3"))
        assert client.reply("HEAD").status == 200
        assert client.reply().text == "0,1,2,"


def test_a_body_that_breaks_in_the_middle_never_ends_well(proxy: Proxy) -> None:
    with proxy.client() as client:
        client.send(request("GET", "/BrokenGenerator"))
        everything = client.rest()
        assert not everything.endswith(b"0\r\n\r\n")
    assert "in the middle" in proxy.log


# Failures.


@pytest.mark.parametrize("name", ["Raises", "RaisesLater"])
def test_a_module_that_raises_is_a_500_that_tells_the_client_nothing(proxy: Proxy, name: str) -> None:
    with proxy.client() as client:
        reply = client.get(f"/{name}")
        assert reply.status == 500
        assert reply.text == f"500 Internal Server Error\nrequest {reply.get('x-request-id')}\n"
        assert client.get("/Sleeper?for=0").status == 200, "its connection goes on"


def test_a_module_that_raises_is_logged_once_with_file_and_line(proxy: Proxy) -> None:
    before = proxy.log.count("a secret of the module")
    with proxy.client() as client:
        client.get("/Raises?once")
    lines = [line for line in proxy.log.splitlines() if "a secret of the module" in line]
    assert len(lines) == before + 1
    assert "/Raises?once" in lines[-1]
    assert "modules_under_test.py:" in lines[-1]
    assert "Raises.handle" in lines[-1]


def test_a_module_cannot_end_the_process(proxy: Proxy) -> None:
    with proxy.client() as client:
        for _ in range(10):  # twice as many as there are workers
            assert client.get("/ExitsTheInterpreter").status == 500
        assert client.get("/Sleeper?for=0").status == 200


@pytest.mark.parametrize("answer", ["null", "42", "[]", "{}", '"text"'])
def test_what_is_no_answer_is_a_500(proxy: Proxy, answer: str) -> None:
    with proxy.client() as client:
        reply = client.get(f"/WrongType?json={answer}")
        assert reply.status == 500
        assert reply.text == f"500 Internal Server Error\nrequest {reply.get('x-request-id')}\n"


def test_a_body_that_is_no_body_is_a_500(proxy: Proxy) -> None:
    with proxy.client() as client:
        assert client.get("/WrongBody").status == 500
        assert client.get("/Sleeper?for=0").status == 200


def test_a_header_value_cannot_split_the_response(proxy: Proxy) -> None:
    with proxy.client() as client:
        assert client.get("/InjectsHeaders?value=fine").get("x-name") == "fine"
        reply = client.get("/InjectsHeaders?value=a%0d%0aX-Evil:%20yes")
        assert (reply.status, reply.get("x-evil")) == (500, None)


def test_an_upstream_that_breaks_while_a_module_reads_is_a_502(proxy: Proxy, upstream: Upstream) -> None:
    def script(call: Call) -> None:
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        call.close()

    upstream.script = script
    with proxy.client() as client:
        assert client.get("/ReplacedBody").status == 502
