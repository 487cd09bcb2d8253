"""Modules in a stock twisted.web Site, in memory: Twisted's own server on one side, a house of fakes on the other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.interfaces import IPushProducer, ITransport
from twisted.logger import capturedLogs, formatEvent
from twisted.web.resource import Resource
from twisted.web.server import Site
from zope.interface import implementer

from asyncproxy import ClientGone, Module, Request, Response, sleep
from asyncproxy.configuration import Settings
from asyncproxy.configuration.settings import Server
from asyncproxy.modules.reverse import Reverse
from asyncproxy.service import Proxy
from asyncproxy.testing import Lab, PollingRound
from asyncproxy.testing.wire import Wire
from tests.fakes import SERVER, House

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@implementer(IPushProducer, ITransport)
class Connection(Wire):
    """A client's connection to a Site, from both ends."""

    @property
    def disconnecting(self) -> bool:
        return self.closing

    @property
    def answers(self) -> list[bytes]:
        """Heads and bodies, in order; no body may look like a head."""
        return re.split(rb"(?=HTTP/1\.[01] \d\d\d )", bytes(self.out))[1:]

    @property
    def head(self) -> bytes:
        return self.answers[-1].partition(b"\r\n\r\n")[0]

    @property
    def status(self) -> int:
        return int(self.head.split()[1])

    @property
    def body(self) -> bytes:
        return self.answers[-1].partition(b"\r\n\r\n")[2]


class InSite:
    """`module` in a Site, alone or at `below` the root; its rooms are a house of fakes."""

    def __init__(self, module: Module, below: bytes = b"") -> None:
        self.house = House(module)
        root: Any = module
        if below:
            root = Resource()
            root.putChild(below, module)
        self.site = Site(root, reactor=self.house.reactor)
        self.connections: list[Connection] = []

    def connect(self) -> Connection:
        connection = Connection(self.house.polling, self.site.buildProtocol(None), ("127.0.0.1", 4000))
        self.connections.append(connection)
        return connection

    def close(self) -> None:
        """Every client leaves, and nothing stays."""
        for connection in self.connections:
            connection.hang_up()
        self.house.settle()
        self.house.assert_nothing_left()

    def send(self, data: bytes = GET) -> Connection:
        """A client connects and sends `data`; settled."""
        connection = self.connect()
        connection.arrive(data)
        self.house.settle()
        return connection

    def get(self, path: str = "/") -> Connection:
        return self.send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode())


@pytest.fixture
def in_site() -> Iterator[Callable[..., InSite]]:
    sites: list[InSite] = []

    def make(module: Module, below: bytes = b"") -> InSite:
        sites.append(InSite(module, below))
        return sites[-1]

    yield make
    for site in sites:
        site.close()


class About(Module):
    """What a plain module is told."""

    def handle(self, request: Request) -> Response:
        told = (request.method, request.path, request.query, request.host, request.client, request.scheme, request.data)
        assert request.content.read() == request.data
        return Response.text(repr(told), headers=[("x-route", request.route.path), ("x-id", request.id)])


class Passes(Module):
    """Forwards to a URL, and notes how that ends."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[str] = []

    async def handle(self, request: Request) -> Response:
        try:
            reply = await request.forward(SERVER)
        except BaseException as error:
            self.ends.append(type(error).__name__)
            raise
        finally:
            self.ends.append("finally")
        return reply


class Reads(Module):
    async def handle(self, request: Request) -> Response:
        if request.path == "/whole":
            first, second = await request.read(), await request.read()
            assert first == second
            return Response(body=first)
        return Response(body=b"".join([piece async for piece in request.body]))


class Makes(Module):
    """Makes pieces, as many as are asked for."""

    made = 0
    closed = False

    def handle(self, request: Request) -> Response:
        return Response(body=self.pieces(int(request.args["n"][0])))

    def pieces(self, count: int) -> Iterator[bytes]:
        try:
            for _ in range(count):
                self.made += 1
                yield b"x"
        finally:
            self.closed = True


class Sleeps(Module):
    ended: Any = None

    async def handle(self, _request: Request) -> Response:
        try:
            await sleep(600)
        except ClientGone as error:
            self.ended = error
            raise
        return Response.text("slept")


# What a module is told.


def test_a_plain_module_answers_on_a_worker_with_the_body_whole(in_site: Callable[..., InSite]) -> None:
    connection = in_site(About()).send(b"POST /a%20b?c=d HTTP/1.1\r\nHost: host:80\r\nContent-Length: 4\r\n\r\nbody")
    assert connection.status == 200
    assert connection.body.decode() == repr(
        ("POST", "/a b", "c=d", "host:80", ("127.0.0.1", 4000), "http", b"body")
    )  # fmt: skip


def test_a_module_below_the_root_knows_where_it_stands(in_site: Callable[..., InSite]) -> None:
    site = in_site(About(), b"at")
    assert b"X-Route: /at\r\n" in site.get("/at/a/b").head
    assert site.get("/other").status == 404


def test_a_request_has_an_id_that_its_client_is_told(in_site: Callable[..., InSite]) -> None:
    site = in_site(About())
    head = site.get().head
    prefix = site.house.flow.prefix.encode()
    assert b"X-Id: %b-1" % prefix in head
    assert (b"X-Request-Id: %b-1" % prefix in head) == (site.house.flow.ids is not None)


@pytest.mark.parametrize("size", [0, 10, 300_000])
@pytest.mark.parametrize("path", ["/whole", "/pieces"])
def test_an_async_module_reads_the_body_that_twisted_has_collected(
    path: str, size: int, in_site: Callable[..., InSite]
) -> None:
    body = os.urandom(size)
    head = b"POST %b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" % path.encode()
    framed = b"%x\r\n%b\r\n" % (size, body) if size else b""
    assert in_site(Reads()).send(head + framed + b"0\r\n\r\n").body == body


# Answers.


def test_a_response_goes_out_as_it_is(in_site: Callable[..., InSite]) -> None:
    class Bare(Module):
        def handle(self, _request: Request) -> Response:
            return Response(418, [("x-a", "b"), ("x-a", "c"), ("connection", "x-gone"), ("x-gone", "d")], b"tea")

    connection = in_site(Bare()).get()
    assert connection.head.startswith(b"HTTP/1.1 418 I'm a Teapot\r\n")
    assert connection.head.count(b"X-A: ") == 2
    assert b"X-Gone" not in connection.head
    assert b"Content-Type" not in connection.head
    assert b"Content-Length: 3" in connection.head
    assert connection.body == b"tea"


@pytest.mark.parametrize("status", [204, 205, 304])
def test_a_status_without_a_body_has_none(status: int, in_site: Callable[..., InSite]) -> None:
    class Bodiless(Module):
        def handle(self, _request: Request) -> Response:
            return Response(status, body=b"none")

    connection = in_site(Bodiless()).send(GET + GET)
    assert len(connection.answers) == 2
    assert connection.body == b""
    assert (b"Content-Length: 0" in connection.head) == (status == 205)


@pytest.mark.parametrize("pieces", [(b"ab",), (b"a", b"b")])
def test_a_205_of_an_upstream_s_has_no_body_and_tells_no_length(
    pieces: tuple[bytes, ...], in_site: Callable[..., InSite]
) -> None:
    site = in_site(Passes())
    connection = site.send(GET)
    site.house.upstream().answer(b"HTTP/1.1 205 Reset\r\nContent-Length: 2\r\n\r\n" + pieces[0])
    site.house.settle()
    for piece in pieces[1:]:
        site.house.upstream().answer(piece)
        site.house.settle()
    assert b"Content-Length: 0" in connection.head
    assert connection.body == b""


def test_head_is_answered_without_the_body(in_site: Callable[..., InSite]) -> None:
    connection = in_site(About()).send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" + GET)
    first, second = connection.answers
    assert first.endswith(b"\r\n\r\n")
    assert b"Content-Length: " in first
    assert second.endswith(b"b'')")


def test_pieces_go_out_in_chunks_as_they_are_made(in_site: Callable[..., InSite]) -> None:
    connection = in_site(Makes()).get("/?n=3")
    assert b"Transfer-Encoding: chunked" in connection.head
    assert connection.body == b"1\r\nx\r\n" * 3 + b"0\r\n\r\n"


def test_a_client_of_http_1_0_has_its_body_until_the_close(in_site: Callable[..., InSite]) -> None:
    connection = in_site(Makes()).send(b"GET /?n=3 HTTP/1.0\r\n\r\n")
    assert connection.body == b"xxx"
    assert connection.closing


def test_no_more_is_made_than_a_slow_client_takes(in_site: Callable[..., InSite]) -> None:
    site = in_site(makes := Makes())
    connection = site.connect()
    connection.arrive(b"GET /?n=100 HTTP/1.1\r\nHost: a\r\n\r\n")
    while not makes.made:
        assert site.house.polling.step() or site.house.workers.step()
    connection.slow()
    site.house.settle()
    assert makes.made < 10
    connection.fast()
    site.house.settle()
    assert makes.made == 100
    assert connection.body.endswith(b"0\r\n\r\n")


# Parks.


def test_a_forward_to_a_url_is_relayed_as_it_comes(in_site: Callable[..., InSite]) -> None:
    site = in_site(passes := Passes())
    connection = site.send(b"POST /a HTTP/1.1\r\nHost: a\r\nX-A: b\r\nContent-Length: 4\r\n\r\nbody")
    upstream = site.house.upstream()
    assert upstream.received.startswith(b"POST /a HTTP/1.1\r\n")
    assert b"\r\nX-A: b" in upstream.received
    assert b"\r\nX-Forwarded-For: 127.0.0.1\r\n" in upstream.received
    assert upstream.received.endswith(b"\r\n\r\nbody")
    upstream.answer(b"HTTP/1.1 201 Created\r\nServer: theirs\r\nContent-Length: 4\r\n\r\nda")
    site.house.settle()
    assert (connection.status, connection.body) == (201, b"da")
    assert b"Server: theirs" in connection.head
    upstream.answer(b"ta")
    site.house.settle()
    assert connection.body == b"data"
    assert passes.ends == ["finally"]
    assert not site.house.flow.exchanges


def test_a_body_that_twisted_keeps_in_a_file_is_forwarded(in_site: Callable[..., InSite]) -> None:
    site = in_site(Passes())
    body = os.urandom(300_000)
    site.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" + body)
    assert site.house.upstream().received.endswith(body)


def test_an_upstream_that_is_slow_to_be_read_is_held_back(in_site: Callable[..., InSite]) -> None:
    site = in_site(Passes())
    connection = site.send()
    upstream = site.house.upstream()
    upstream.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun")
    site.house.settle()
    connection.slow()
    assert upstream.wire is not None
    assert not upstream.wire.reading
    connection.fast()
    assert upstream.wire.reading


def test_a_reply_that_is_cut_cuts_the_connection(in_site: Callable[..., InSite]) -> None:
    site = in_site(Passes())
    connection = site.send()
    site.house.upstream().answer(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun")
    site.house.settle()
    site.house.upstream().hang_up()
    site.house.settle()
    assert connection.body == b"begun"
    assert connection.aborted


def test_a_parked_request_holds_no_worker_and_is_shown(in_site: Callable[..., InSite]) -> None:
    site = in_site(Sleeps())
    connection = site.send()
    (row,) = site.house.snapshot()["parked"]
    assert row["waiting_for"] == "sleep 600 s"
    assert row["module"].endswith(":Sleeps")
    assert site.house.workers.statistics()["busy"] == 0
    site.house.advance(600)
    assert connection.body == b"slept"


def test_a_client_that_leaves_is_told_to_a_parked_module(in_site: Callable[..., InSite]) -> None:
    site = in_site(sleeps := Sleeps())
    site.send().hang_up()
    site.house.settle()
    assert isinstance(sleeps.ended, ClientGone)
    assert not site.house.flow.exchanges


def test_a_client_that_leaves_has_its_forward_called_off(in_site: Callable[..., InSite]) -> None:
    site = in_site(passes := Passes())
    connection = site.send()
    connection.hang_up()
    site.house.settle()
    assert passes.ends == ["ClientGone", "finally"]
    assert site.house.upstream().closed


def test_a_client_that_leaves_in_its_response_ends_it(in_site: Callable[..., InSite]) -> None:
    site = in_site(makes := Makes())
    connection = site.connect()
    connection.arrive(b"GET /?n=1000000 HTTP/1.1\r\nHost: a\r\n\r\n")
    while makes.made < 3:
        assert site.house.polling.step() or site.house.workers.step()
    connection.hang_up()
    site.house.settle()
    assert makes.closed
    assert makes.made < 10
    assert not site.house.flow.exchanges


def test_an_async_body_may_park_between_pieces(in_site: Callable[..., InSite]) -> None:
    class Ticks(Module):
        async def handle(self, _request: Request) -> Response:
            return Response(body=self.ticks())

        async def ticks(self) -> AsyncIterator[str]:
            for _ in range(2):
                await sleep(5)
                yield "tick"

    site = in_site(Ticks())
    connection = site.send()
    assert connection.body == b""
    site.house.advance(5)
    assert connection.body == b"4\r\ntick\r\n"
    site.house.advance(5)
    assert connection.body == b"4\r\ntick\r\n4\r\ntick\r\n0\r\n\r\n"


def test_a_stock_module_takes_off_the_path_where_it_stands(in_site: Callable[..., InSite]) -> None:
    for path, target in (("/at/a?b", b"/a?b"), ("/at", b"/"), ("/at/", b"/")):
        site = in_site(Reverse(strip_prefix=True), b"at")
        site.house.upstreams.known[None] = site.house.upstreams.known[SERVER]
        site.get(path)
        assert site.house.upstream().received.split()[1] == target


# Refusals and failures.


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /%zz HTTP/1.1\r\nHost: a", 400),
        (b"GET /a/../../b HTTP/1.1\r\nHost: a", 400),
        (b"GET / HTTP/1.1", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b", 400),
        (b"BREW / HTTP/1.1\r\nHost: a", 501),
    ],
)
def test_what_our_doors_refuse_is_refused_in_a_site_too(
    head: bytes, status: int, in_site: Callable[..., InSite]
) -> None:
    site = in_site(About())
    connection = site.send(head + b"\r\n\r\n")
    assert connection.status == status
    assert not site.house.flow.exchanges


def test_a_module_that_raises_is_a_500_without_a_traceback(in_site: Callable[..., InSite]) -> None:
    class Raises(Module):
        def handle(self, _request: Request) -> Response:
            raise KeyError("secret")

    with capturedLogs() as logged:
        connection = in_site(Raises()).get()
    assert connection.status == 500
    assert re.fullmatch(rb"500 Internal Server Error\nrequest [0-9a-f]{8}-\d+\n", connection.body)
    assert sum("KeyError: 'secret' at " in (formatEvent(line) or "") for line in logged) == 1


def test_when_too_many_wait_a_client_is_told_to_come_again(in_site: Callable[..., InSite]) -> None:
    site = in_site(About())
    site.house.flow.max_queued = -site.house.workers.total  # no room, not even with a free worker
    connection = site.send()
    assert connection.status == 503
    assert b"Retry-After: 1" in connection.head


def test_requests_of_a_proxy_that_has_stopped_are_refused(in_site: Callable[..., InSite]) -> None:
    site = in_site(About())
    site.house.draining = True
    assert site.get().status == 503


# start.


class Starts(Module):
    def __init__(self, fails: bool = False) -> None:
        super().__init__()
        self.started = 0
        self._fails = fails

    async def start(self) -> None:
        self.started += 1
        await sleep(1)
        if self._fails:
            raise OSError("no database")
        self.answer = "started"

    def handle(self, _request: Request) -> Response:
        return Response.text(self.answer)


def test_a_module_has_started_before_its_first_request_is_handled(in_site: Callable[..., InSite]) -> None:
    site = in_site(starts := Starts())
    first, second, leaver = site.send(), site.send(), site.send()
    leaver.hang_up()
    assert not first.answers
    site.house.advance(1)
    assert (first.body, second.body, starts.started) == (b"started", b"started", 1)
    assert site.get().body == b"started"
    assert starts.started == 1
    assert site.house.flow.served == 3


def test_a_module_that_cannot_start_answers_500_and_is_logged_once(in_site: Callable[..., InSite]) -> None:
    site = in_site(Starts(fails=True))
    with capturedLogs() as logged:
        first = site.send()
        site.house.advance(1)
        assert (first.status, site.get().status) == (500, 500)
    assert sum("OSError: no database" in (formatEvent(line) or "") for line in logged) == 1


@pytest_twisted.ensureDeferred
async def test_a_module_starts_again_with_its_proxy(reactor: Any) -> None:
    proxy, starts = Proxy(Settings(server=Server(listen=()), route=()), reactor), NotesItsStart()
    starts.proxy = proxy
    for number in (1, 2):
        await proxy.start()
        connection = Connection(polling := PollingRound(), Site(starts, reactor=reactor).buildProtocol(None))
        connection.arrive(GET)
        assert connection.body == b"%d" % number
        connection.hang_up()
        while polling.step():
            pass
        await proxy.stop()


class NotesItsStart(Module):
    blocking = False
    starts = 0

    def start(self) -> None:
        self.starts += 1

    def handle(self, _request: Request) -> Response:
        return Response.text(str(self.starts))


def test_paths_that_clients_make_up_make_no_labels(in_site: Callable[..., InSite]) -> None:
    class Users(Resource):
        def getChild(self, _name: bytes, _request: Any) -> Resource:
            return module

    site = in_site(module := About())
    site.site.resource = Users()
    for number in range(3):
        assert site.get(f"/user-{number}").status == 200
    assert list(site.house.books.tally.rows) == [f"{__name__}:About"]


# A Site in a proxy in a Site.


def tree() -> Resource:
    root = Resource()
    root.putChild(b"about", _inner)
    return root


_inner = About()


def test_a_module_may_stand_in_a_tree_that_a_route_mounts() -> None:
    settings = {"resource": f"{__name__}:tree"}
    lab = Lab({"route": [{"path": "/at", "module": "resource", "settings": settings}]})
    _inner.proxy = lab.house
    reply = lab.post("/at/about/x", data=b"body")
    assert (reply.status, reply.headers["x-route"]) == (200, "/at/about")
    assert "b'body'" in reply.text
    assert lab.stop() == []


def test_a_modules_file_needs_neither_the_service_nor_a_reactor() -> None:
    looked_for = "('twisted.internet.reactor', 'asyncproxy.service', 'asyncproxy.polling')"
    code = f"import sys; from asyncproxy import Module; sys.exit(any(name in sys.modules for name in {looked_for}))"
    assert subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode == 0


def test_a_client_in_a_site_takes_informational_heads_and_says_whether_it_is_behind(in_site):
    site = in_site(Passes())
    client = site.get()
    behind = site.house.exchange().client
    assert not behind.behind
    behind.inform(102)
    client.slow()
    assert behind.behind
    client.fast()
    site.house.upstream().answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    site.house.settle()
    assert client.answers[0] == b"HTTP/1.1 102 Processing\r\n\r\n"
    assert (client.status, client.body) == (200, b"ok")


def test_what_an_upstream_says_on_the_way_reaches_a_client_in_a_site_but_a_100_that_twisted_has_said(in_site):
    site = in_site(Passes())
    client = site.get()
    site.house.upstream().answer(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    site.house.upstream().answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    site.house.settle()
    assert client.answers[0] == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nVia: 1.1 asyncproxy\r\n\r\n"
    assert (client.status, client.body) == (200, b"ok")
