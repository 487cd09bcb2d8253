"""The upstream side: connections that are kept, shared, retried, bounded, and never poisoned."""

from __future__ import annotations

import threading

import pytest

from tests.wire.conftest import Peers
from tests.wire.peers import Call, Client, Upstream, hello, request, until
from tests.wire.proxies import Proxy


def configuration(peers: Peers) -> str:
    def route(name: str) -> str:
        return f'[[route]]\npath = "/{name}"\nmodule = "reverse"\nupstream = "{name}"\n'

    return f"""
[upstream.one]
servers = ["{peers.one.url}"]
[upstream.narrow]
servers = ["{peers.one.url}"]
max_connections = 2
[upstream.unkept]
servers = ["{peers.one.url}"]
keep_alive = "0s"
[upstream.brief]
servers = ["{peers.one.url}"]
keep_alive = "100ms"
[upstream.turns]
servers = ["{peers.one.url}", "{peers.two.url}"]
[upstream.skips]
servers = ["{peers.refused}", "{peers.two.url}"]
[upstream.unix]
servers = ["{peers.unix.url}"]
""" + "".join(map(route, ("one", "narrow", "unkept", "brief", "turns", "skips", "unix")))


@pytest.fixture(autouse=True)
def _fresh_connections(peers: Peers, proxy: Proxy) -> None:
    for upstream in peers.every:
        upstream.close_idle()


def test_two_requests_one_after_the_other_share_a_connection(proxy: Proxy, upstream: Upstream) -> None:
    for path in ("/one/a", "/one/b"):
        with proxy.client() as client:
            assert client.get(path).text == f"GET {path}"
    assert upstream.call(0).connection is upstream.call(1).connection
    assert len(upstream.connections) == 1


def test_two_requests_at_once_have_a_connection_each(proxy: Proxy, upstream: Upstream) -> None:
    both = threading.Barrier(2, timeout=10)

    def meet(call: Call) -> None:
        both.wait()
        hello(call)

    upstream.script = meet
    with proxy.client() as one, proxy.client() as two:
        one.send(request("GET", "/one/1"))
        two.send(request("GET", "/one/2"))
        assert (one.reply().text, two.reply().text) == ("GET /one/1", "GET /one/2")
    assert len(upstream.connections) == 2


def test_a_connection_after_a_body_is_shared_too(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        assert client.post("/one", b"x" * 200_000).status == 200
        assert client.ask(request("POST", "/one", "Transfer-Encoding: chunked") + b"1\r\nx\r\n0\r\n\r\n").status == 200
        assert client.get("/one").status == 200
    assert len({call.connection.number for call in upstream.calls}) == 1


def test_an_upstream_that_says_close_is_not_asked_again_over_that_connection(proxy: Proxy, upstream: Upstream) -> None:
    upstream.script = lambda call: call.answer(b"", "200 OK", "Connection: close")
    with proxy.client() as client:
        assert [client.get("/one").status for _ in range(2)] == [200, 200]
        assert client.post("/one", b"x").status == 200
    assert len({call.connection.number for call in upstream.calls}) == 3


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_kept_connection_that_was_closed_meanwhile_is_replaced(proxy: Proxy, upstream: Upstream, method: str) -> None:
    with proxy.client() as client:
        assert client.get("/one").status == 200
        upstream.close_idle()
        assert client.ask(request(method, "/one/again")).text == f"{method} /one/again"
    assert len(upstream.calls) == 2


def drop_second(call: Call) -> None:
    """Close a kept-alive connection on receiving its second request, without a byte."""
    if call.number:
        call.close()
    else:
        hello(call)


@pytest.mark.parametrize(
    "again",
    [request("GET", "/one/x"), request("HEAD", "/one/x"), request("PUT", "/one/x", "Content-Length: 3") + b"abc"],
    ids=["GET", "HEAD", "PUT with a body"],
)
def test_a_kept_connection_that_closes_upon_the_request_is_retried_once(
    proxy: Proxy, upstream: Upstream, again: bytes
) -> None:
    upstream.script = drop_second
    with proxy.client() as client:
        assert client.get("/one/first").status == 200
        assert client.ask(again).status == 200
    second, third = upstream.calls[1:]
    assert second.line == third.line
    assert third.connection is not second.connection
    if third.method == "PUT":
        assert third.body == b"abc"


def test_a_retried_request_that_is_dropped_again_is_a_502(proxy: Proxy, upstream: Upstream) -> None:
    def drop(call: Call) -> None:
        if call.target == "/one/first":
            hello(call)
        else:
            call.close()

    upstream.script = drop
    with proxy.client() as client:
        assert client.get("/one/first").status == 200
        assert client.get("/one/x").status == 502
    assert len(upstream.calls) == 3


def test_a_new_connection_that_closes_upon_the_request_is_not_retried(proxy: Proxy, upstream: Upstream) -> None:
    upstream.script = lambda call: call.close()
    with proxy.client() as client:
        assert client.get("/one").status == 502
    assert len(upstream.calls) == 1


@pytest.mark.parametrize("body", [b"", b"abc"])
def test_a_post_is_never_sent_twice(proxy: Proxy, upstream: Upstream, body: bytes) -> None:
    upstream.script = drop_second
    with proxy.client() as client:
        assert client.get("/one/first").status == 200
        reply = client.post("/one/order", body)
        assert reply.status == 502
        assert "reset" in reply.text
    assert upstream.targets() == ["GET /one/first", "POST /one/order"]


def test_a_get_is_not_retried_once_some_of_its_reply_has_come(proxy: Proxy, upstream: Upstream) -> None:
    def half(call: Call) -> None:
        if call.number:
            call.send(b"HTTP/1.1 200 OK\r\nContent-")
            call.close()
        else:
            hello(call)

    upstream.script = half
    with proxy.client() as client:
        assert client.get("/one").status == 200
        assert client.get("/one").status == 502
    assert len(upstream.calls) == 2


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nwrong"], ids=["waits", "relays"])
def test_a_client_that_leaves_never_leaves_its_reply_to_the_next_one(
    proxy: Proxy, upstream: Upstream, sent: bytes
) -> None:
    def script(call: Call) -> None:
        if call.target == "/one/left":
            call.send(sent)
            call.watch()
        else:
            hello(call)

    upstream.script = script
    for _ in range(5):
        upstream.calls.clear()
        client = proxy.client()
        client.send(request("GET", "/one/left"))
        call = upstream.call()
        if sent:
            client.until(b"wrong")
        client.close()
        with proxy.client() as other:
            assert other.get("/one/right").text == "GET /one/right"
        assert call.gone(1), "the upstream's connection is closed within a second"
        assert upstream.call(1).connection is not call.connection


def test_a_client_that_leaves_in_its_upload_never_poisons_the_pool(proxy: Proxy, upstream: Upstream) -> None:
    for _ in range(5):
        upstream.calls.clear()
        client = proxy.client()
        client.send(request("POST", "/one/left", "Content-Length: 100") + b"half")
        call = upstream.call()
        client.close()
        with proxy.client() as other:
            assert other.get("/one/right").text == "GET /one/right"
        assert call.gone(1)
        assert b"GET /one/right" not in call.connection.received.rpartition(b"POST")[2]


def fill_the_line(proxy: Proxy, upstream: Upstream) -> tuple[list[Client], threading.Semaphore]:
    """Four clients in their order where two have a connection; the upstream answers one for each release."""
    proceed = threading.Semaphore(0)

    def held(call: Call) -> None:
        assert proceed.acquire(timeout=10)
        hello(call)

    upstream.script = held
    clients = [proxy.client() for _ in range(4)]
    for number, client in enumerate(clients):
        client.send(request("GET", f"/narrow/{number}"))
        proxy.staged(PARKED=number + 1)
    return clients, proceed


def test_more_requests_than_connections_wait_in_line_in_order(proxy: Proxy, upstream: Upstream) -> None:
    clients, proceed = fill_the_line(proxy, upstream)
    upstream.call(1)
    assert sorted(upstream.targets()) == ["GET /narrow/0", "GET /narrow/1"]
    assert len(upstream.connections) == 2
    proceed.release()
    upstream.call(2)
    assert upstream.targets()[2] == "GET /narrow/2"
    proceed.release(3)
    assert [client.reply().text for client in clients] == [f"GET /narrow/{number}" for number in range(4)]
    assert len(upstream.connections) == 2
    for client in clients:
        client.close()


def test_a_full_line_is_a_503_with_retry_after(proxy: Proxy, upstream: Upstream) -> None:
    clients, proceed = fill_the_line(proxy, upstream)
    with proxy.client() as late:
        reply = late.get("/narrow/late")
        assert (reply.status, reply.get("retry-after")) == (503, "1")
    proceed.release(4)
    for client in clients:
        assert client.reply().status == 200
        client.close()


def test_who_leaves_the_line_leaves_his_place(proxy: Proxy, upstream: Upstream) -> None:
    clients, proceed = fill_the_line(proxy, upstream)
    clients[2].close()
    proxy.staged(PARKED=3)
    proceed.release(3)
    for number in (0, 1, 3):
        assert clients[number].reply().text == f"GET /narrow/{number}"
        clients[number].close()
    assert "GET /narrow/2" not in upstream.targets()


def test_servers_of_a_group_are_used_in_turn(proxy: Proxy, peers: Peers) -> None:
    peers.one.script = lambda call: call.answer(b"one")
    peers.two.script = lambda call: call.answer(b"two")
    with proxy.client() as client:
        answers = [client.get("/turns").text for _ in range(6)]
    assert answers in (["one", "two"] * 3, ["two", "one"] * 3)


def test_a_server_that_refuses_is_skipped(proxy: Proxy, peers: Peers) -> None:
    with proxy.client() as client:
        assert [client.get("/skips").status for _ in range(4)] == [200] * 4
        assert client.post("/skips", b"with a body").status == 200
    assert peers.two.call(4).body == b"with a body"


def test_a_unix_socket_is_an_upstream(proxy: Proxy, peers: Peers) -> None:
    with proxy.client() as client:
        assert [client.get("/unix/a").text for _ in range(3)] == ["GET /unix/a"] * 3
        assert client.post("/unix/b", b"x" * 100_000).status == 200
    assert len({call.connection.number for call in peers.unix.calls}) == 1
    assert len(peers.unix.call(3).body) == 100_000


def test_an_upstream_whose_keep_alive_is_nought_keeps_no_connection(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        assert client.get("/unkept").status == 200
    assert upstream.call().gone(2)


def test_an_idle_connection_is_closed_when_its_time_is_up(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        assert client.get("/brief").status == 200
        assert client.get("/brief").status == 200
    assert upstream.call(0).connection is upstream.call(1).connection
    assert upstream.call().gone(2)


def test_an_idle_connection_that_speaks_unasked_is_closed(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        assert client.get("/one").status == 200
        upstream.wait(lambda: not upstream.call().connection.serving, "its script ends")
        upstream.call().send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        assert upstream.call().gone(2)
        assert client.get("/one").text == "GET /one"


def test_a_hundred_clients_at_once_each_get_their_own_reply(proxy: Proxy, upstream: Upstream) -> None:
    wrong: list[str] = []

    def ask(name: int) -> None:
        with Client(proxy.port) as client:
            for number in range(10):
                path = f"/one/{name}/{number}"
                if client.get(path).text != f"GET {path}":
                    wrong.append(path)

    threads = [threading.Thread(target=ask, args=(name,)) for name in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not wrong
    until(lambda: len(upstream.calls) == 500, "every request was seen once")
