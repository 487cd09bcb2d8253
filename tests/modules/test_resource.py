"""The stock module `resource`, in a lab: what a twisted.web Resource is told, and what becomes of its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from klein import Klein
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPullProducer, IPushProducer
from twisted.logger import capturedLogs, formatEvent
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from asyncproxy.modules.resource import below
from asyncproxy.settings import SettingsError
from asyncproxy.testing import Lab

HERE = __name__


def in_route(path: str = "/", more: dict[str, Any] | None = None, limits: Any = None, **settings: Any) -> Lab:
    route = {"path": path, "module": "resource", "settings": settings, **(more or {})}
    return Lab({"route": [route], "limits": limits or {}})


class Answers(Resource):
    """A leaf that does what its test says."""

    isLeaf = True

    def __init__(self, render: Callable[[Any], Any]) -> None:
        super().__init__()
        self.render = render  # type: ignore[method-assign]


_made: list[Any] = []


def made() -> Any:
    """What the test has put there; named by the labs' configurations."""
    return _made[-1]


@pytest.fixture
def mount() -> Iterator[Callable[..., Lab]]:
    """A lab of a Resource, or of a function that renders."""
    labs: list[Lab] = []

    def one(what: Any, path: str = "/", **more: Any) -> Lab:
        _made.append(Answers(what) if not isinstance(what, Resource) else what)
        labs.append(in_route(path, resource=f"{HERE}:made", **more))
        return labs[-1]

    yield one
    _made.clear()
    for lab in labs:
        assert lab.stop() == []


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Lab]:
    (tmp_path / "page.txt").write_text("0123456789")
    (tmp_path / "big").write_bytes(bytes(300_000))
    (tmp_path / "below").mkdir()
    (tmp_path / "a b").write_text("spaced")
    lab = in_route("/files", resource="twisted.web.static:File", args=[str(tmp_path)])
    yield lab
    assert lab.stop() == []


class Later:
    """Renders nothing; the test answers when it likes."""

    def __call__(self, request: Any) -> int:
        self.request = request
        self.ended: list[Any] = []
        request.notifyFinish().addBoth(self.ended.append)
        return NOT_DONE_YET


# Files.


def test_a_file_is_served_below_the_routes_path(files: Lab) -> None:
    reply = files.get("/files/page.txt")
    assert (reply.status, reply.body, reply.headers["content-type"]) == (200, b"0123456789", "text/plain")
    assert reply.headers["content-length"] == "10"
    assert "via" not in reply.headers
    assert files.get("/files/a%20b").body == b"spaced"
    assert files.get("/files/nothing").status == 404


def test_a_range_of_a_file_is_served(files: Lab) -> None:
    reply = files.get("/files/page.txt", headers={"range": "bytes=2-4"})
    assert (reply.status, reply.body, reply.headers["content-range"]) == (206, b"234", "bytes 2-4/10")
    several = files.get("/files/page.txt", headers={"range": "bytes=0-1,8-9"})
    assert several.status == 206
    assert several.headers["content-type"].startswith("multipart/byteranges")
    assert files.get("/files/page.txt", headers={"range": "bytes=20-"}).status == 416


@pytest.mark.parametrize("ranges", ["0-,0-,0-", "0-5,3-8", "-5,-6", ",".join(["0-0"] * 1000)])
def test_ranges_that_ask_for_a_file_again_and_again_get_it_once(files: Lab, ranges: str) -> None:
    reply = files.get("/files/page.txt", headers={"range": f"bytes={ranges}"})
    assert (reply.status, reply.body) == (200, b"0123456789")


def test_a_file_that_has_not_changed_is_not_sent_again(files: Lab) -> None:
    changed = files.get("/files/page.txt").headers["last-modified"]
    reply = files.get("/files/page.txt", headers={"if-modified-since": changed})
    assert (reply.status, reply.body) == (304, b"")
    assert "content-length" not in reply.headers


def test_head_tells_a_files_length_and_sends_nothing(files: Lab) -> None:
    reply = files.request("HEAD", "/files/page.txt")
    assert (reply.status, reply.headers["content-length"], reply.body) == (200, "10", b"")
    assert reply.client.get("/files/page.txt").statuses == [200, 200], "the connection is good for another request"


def test_a_folder_is_led_to_its_slash_below_the_route(files: Lab) -> None:
    assert files.get("/files/below").headers["location"] == "/files/below/"
    assert files.get("/files").headers["location"] == "/files/"
    assert b"page.txt" in files.get("/files/").body


def test_a_path_that_only_begins_as_the_routes_is_not_found(files: Lab) -> None:
    assert files.get("/filesystem").status == 404


def test_a_file_goes_out_as_fast_as_its_client_reads(files: Lab) -> None:
    client = files.connect()
    client.send(b"GET /files/big HTTP/1.1\r\nHost: a\r\n\r\n")
    while not client.received:
        assert files.step()
    client.slow()
    files.settle()
    assert len(client.received) < 200_000
    client.fast()
    files.settle()
    assert len(client.received) > 300_000


# Paths.


@pytest.mark.parametrize(
    ("route", "target", "prepath", "postpath"),
    [
        ("/", b"/", [], [b""]),
        ("/", b"/a/b", [], [b"a", b"b"]),
        ("/a", b"/a", [b"a"], []),
        ("/a/", b"/a/", [b"a"], [b""]),
        ("/a", b"/a/b%20c?d=/e", [b"a"], [b"b c"]),
        ("/a", b"/a/b%2Fc", [b"a"], [b"b/c"]),
        ("/a/b", b"/a%2Fb/c", [b"a", b"b"], [b"c"]),
        ("/a", b"/x/../a//b", [b"a"], [b"b"]),
        ("/a", b"/x/..%2fa/b", [b"a"], [b"b"]),
        ("/a", b"http://host/a/b", [b"a"], [b"b"]),
        ("/a", b"/a/%ff", [b"a"], [b"\xff"]),
        ("/\u00e9", b"/%C3%A9/b", ["\u00e9".encode()], [b"b"]),
    ],
)
def test_a_path_is_split_where_the_route_ends(
    route: str, target: bytes, prepath: list[bytes], postpath: list[bytes]
) -> None:
    assert below(route, target) == (prepath, postpath)


def test_a_child_is_found_as_in_a_site(mount: Callable[..., Lab]) -> None:
    root, child = Resource(), Resource()
    root.putChild(b"child", child)
    child.putChild(b"leaf", Answers(lambda request: b" ".join([*request.prepath, b":", *request.postpath])))
    lab = mount(root, "/at/")
    assert lab.get("/at/child/leaf/x/y").body == b"at child leaf : x y"
    assert lab.get("/at/other").status == 404


# What a resource is told.


def test_a_resource_is_told_all_of_a_request(mount: Callable[..., Lab]) -> None:
    seen: dict[str, Any] = {}

    def render(request: Any) -> bytes:
        seen.update(
            method=request.method, uri=request.uri, path=request.path, args=request.args, version=request.clientproto,
            x=request.getHeader(b"x-a"), cookie=request.getCookie(b"crumb"), host=request.getRequestHostname(),
            secure=request.isSecure(), peer=request.getClientAddress(), here=request.getHost(), id=request.asked.id,
        )  # fmt: skip
        return b""

    lab = mount(render)
    reply = lab.get("/a%20b?c=1&c=2&d=", headers={"X-A": "one", "Cookie": "crumb=cake"})
    assert reply.status == 200
    assert (seen["method"], seen["uri"], seen["path"]) == (b"GET", b"/a%20b?c=1&c=2&d=", b"/a%20b")
    assert seen["args"] == {b"c": [b"1", b"2"], b"d": [b""]}
    assert (seen["x"], seen["cookie"], seen["host"]) == (b"one", b"cake", b"lab.test")
    assert (seen["version"], seen["secure"], seen["id"]) == (b"HTTP/1.1", False, "lab-1")
    assert (seen["peer"].host, seen["peer"].port) == ("127.0.0.1", 4000)
    assert (seen["here"].host, seen["here"].port) == ("127.0.0.1", 8080)


@pytest.mark.parametrize("spool", ["1KiB", "1MiB"], ids=["file", "memory"])
@pytest.mark.parametrize("pieces", [[b"ab", b"cd" * 5000], None], ids=["chunked", "length"])
def test_a_body_is_there_whole(mount: Callable[..., Lab], spool: str, pieces: Any) -> None:
    def render(request: Any) -> bytes:
        return b"%b: %b" % (request.getHeader(b"content-length"), request.content.read())

    lab = mount(render, limits={"spool": spool})
    body = b"ab" + b"cd" * 5000
    assert lab.post("/", data=pieces or body).body == b"10002: " + body


def test_a_body_beyond_the_limit_is_refused(mount: Callable[..., Lab]) -> None:
    lab = mount(lambda _: b"never", limits={"body": "1KiB"})
    assert lab.post("/", data=bytes(2000)).status == 413
    assert lab.post("/", data=[bytes(2000)]).status == 413


def test_forms_are_read(mount: Callable[..., Lab]) -> None:
    lab = mount(lambda request: request.args[b"a"][0])
    assert lab.post("/", data={"a": "b c"}).body == b"b c"


def test_a_form_that_cannot_be_read_is_the_clients_fault(mount: Callable[..., Lab]) -> None:
    lab = mount(lambda request: b"never")
    assert lab.post("/", data=b"nothing", headers={"Content-Type": "multipart/form-data"}).status == 400


# Answers.


def test_an_answer_that_is_given_later_is_whole(mount: Callable[..., Lab]) -> None:
    later = Later()
    lab = mount(later)
    reply = lab.get("/")
    assert lab.parked()[0]["waiting_for"] == "resource Answers"
    later.request.setHeader(b"x-a", b"b")
    later.request.write(b"one, ")
    later.request.write(b"two")
    later.request.finish()
    assert (reply.status, reply.body, reply.headers["x-a"]) == (200, b"one, two", "b")
    assert reply.headers["content-length"] == "8", "nobody had heard of the head, so its length could still be told"
    assert later.ended == [None]


def test_each_piece_goes_out_as_it_is_written(mount: Callable[..., Lab]) -> None:
    later = Later()
    lab = mount(later)
    reply = lab.get("/")
    for number in (b"1", b"2", b"3"):
        later.request.write(number)
        assert reply.body.endswith(number)
    assert not reply.done
    assert lab.snapshot()["stages"]["RESPONDING"] == 1
    later.request.finish()
    assert reply.done
    assert not reply.cut


def test_head_of_an_answer_without_end_is_sent_at_once(mount: Callable[..., Lab]) -> None:
    later = Later()
    lab = mount(later)
    reply = lab.request("HEAD", "/")
    later.request.write(b"x")
    assert reply.status == 200
    assert "transfer-encoding" not in reply.headers
    later.request.write(b"y")
    later.request.finish()
    assert reply.client.get("/").statuses == [200]
    assert reply.client.received.endswith(b"\r\n\r\n")
    later.request.finish()


def test_no_content_is_told_without_a_length(mount: Callable[..., Lab]) -> None:
    def render(request: Any) -> bytes:
        request.setResponseCode(204)
        return b""

    reply = mount(render).get("/")
    assert reply.status == 204
    assert "content-length" not in reply.headers
    assert reply.done


def test_framing_and_connection_are_not_the_resources_to_say(mount: Callable[..., Lab]) -> None:
    def render(request: Any) -> bytes:
        request.setHeader(b"connection", b"close, x-a")
        request.setHeader(b"transfer-encoding", b"gzip")
        request.setHeader(b"x-a", b"b")
        return b"body"

    reply = mount(render).get("/")
    assert reply.body == b"body"
    assert not {"connection", "transfer-encoding", "x-a"} & {name.lower() for name, _ in reply.headers}


def test_a_session_lasts_over_requests_until_it_expires(mount: Callable[..., Lab]) -> None:
    class Visits:
        count = 0

    def render(request: Any) -> bytes:
        visits = request.getSession().sessionNamespaces.setdefault("visits", Visits())
        visits.count += 1
        return b"%d" % visits.count

    lab = mount(render, "/at/")
    first = lab.get("/at/")
    cookie = first.headers["set-cookie"].partition(";")[0]
    assert cookie.startswith("TWISTED_SESSION_at=")
    assert lab.get("/at/", headers={"cookie": cookie}).body == b"2"
    lab.advance(899)
    assert lab.get("/at/", headers={"cookie": cookie}).body == b"3"
    lab.advance(901)
    assert lab.get("/at/", headers={"cookie": cookie}).body == b"1"
    lab.stop()
    assert lab.clock.getDelayedCalls() == []


# Producers.


@implementer(IPushProducer)
class Pushes:
    def __init__(self) -> None:
        self.heard: list[str] = []

    def pauseProducing(self) -> None:
        self.heard.append("pause")

    def resumeProducing(self) -> None:
        self.heard.append("resume")

    def stopProducing(self) -> None:
        self.heard.append("stop")


def test_a_producer_that_pushes_waits_for_a_slow_client(mount: Callable[..., Lab]) -> None:
    later, pushes = Later(), Pushes()
    lab = mount(later)
    reply = lab.get("/")
    later.request.registerProducer(pushes, True)
    later.request.write(b"one")
    lab.settle()
    reply.client.slow()
    assert pushes.heard == ["pause"]
    reply.client.fast()
    assert pushes.heard == ["pause", "resume"]
    later.request.unregisterProducer()
    later.request.finish()
    assert reply.body == b"one"
    assert pushes.heard == ["pause", "resume"]


def test_a_producer_that_comes_while_the_client_is_slow_waits(mount: Callable[..., Lab]) -> None:
    later, pushes = Later(), Pushes()
    lab = mount(later)
    reply = lab.get("/")
    later.request.write(b"one")
    lab.settle()
    reply.client.slow()
    later.request.registerProducer(pushes, True)
    assert pushes.heard == ["pause"]
    reply.client.leave()


@implementer(IPullProducer)
class Pulled:
    """Writes numbers when it is asked."""

    def __init__(self, request: Any, most: int) -> None:
        self.request = request
        self.most = most
        self.count = 0
        self.stopped = False
        request.registerProducer(self, False)

    def resumeProducing(self) -> None:
        self.count += 1
        self.request.write(b"%d " % self.count)
        if self.count == self.most:
            self.request.unregisterProducer()
            self.request.finish()

    def stopProducing(self) -> None:
        self.stopped = True


def test_a_producer_that_is_pulled_is_asked_once_a_round(mount: Callable[..., Lab]) -> None:
    later = Later()
    lab = mount(later)
    reply = lab.get("/")
    pulled = Pulled(later.request, 5)
    lab.step()
    assert pulled.count == 1
    assert reply.body == b"1 2 3 4 5 "


def test_a_producer_that_is_pulled_is_not_asked_while_the_client_is_slow(mount: Callable[..., Lab]) -> None:
    later = Later()
    lab = mount(later)
    reply = lab.get("/")
    later.request.write(b"x")
    lab.settle()
    reply.client.slow()
    pulled = Pulled(later.request, 1000)
    lab.settle()
    assert pulled.count == 0
    reply.client.fast()
    lab.settle()
    assert pulled.count == 1000


def test_a_producer_that_raises_cuts_the_answer(mount: Callable[..., Lab]) -> None:
    later = Later()
    lab = mount(later)
    reply = lab.get("/")
    pulled = Pulled(later.request, 10)
    pulled.request = None
    assert reply.status == 500
    assert pulled.stopped
    assert later.ended


# Clients that leave, and time that runs out.


def test_a_resource_hears_that_its_client_has_left_before_it_answered(mount: Callable[..., Lab]) -> None:
    later = Later()
    lab = mount(later)
    lab.disconnect(lab.get("/"))
    assert later.ended[0].getErrorMessage().startswith("Connection was closed")
    assert lab.parked() == []
    later.request.write(b"nobody reads it")


def test_a_resource_hears_that_its_client_has_left_in_its_answer(mount: Callable[..., Lab]) -> None:
    later, pushes = Later(), Pushes()
    lab = mount(later)
    reply = lab.get("/")
    later.request.registerProducer(pushes, True)
    later.request.write(b"one")
    assert reply.body == b"one"
    lab.disconnect(reply)
    assert pushes.heard == ["stop"]
    assert later.ended[0].getErrorMessage().startswith("Connection was closed")


def test_time_runs_out_for_a_resource(mount: Callable[..., Lab]) -> None:
    later = Later()
    lab = mount(later, more={"timeout": "5s"})
    reply = lab.get("/")
    lab.advance(5)
    assert reply.status == 504
    assert later.ended


# Failures.


def test_a_resource_that_raises_is_a_500_that_is_logged_once_with_its_line(mount: Callable[..., Lab]) -> None:
    def render(_request: Any) -> bytes:
        raise KeyError("secret")

    lab = mount(render)
    with capturedLogs() as logged:
        reply = lab.get("/")
        assert (reply.status, reply.text) == (500, "500 Internal Server Error\nrequest lab-1\n")
    (line,) = map(formatEvent, logged)
    assert line.startswith("resource: GET / (lab-1): KeyError: 'secret' at ")
    assert f"{Path(__file__).name}:" in line


def test_a_resource_that_fails_in_its_answer_has_its_client_cut(mount: Callable[..., Lab]) -> None:
    later = Later()
    lab = mount(later)
    reply = lab.get("/")
    later.request.write(b"one")
    assert reply.status == 200
    later.request.loseConnection()
    assert reply.cut
    assert "closed the connection before its answer was whole" in str(reply.error)
    assert later.ended


def test_an_answer_shorter_than_its_length_is_refused_or_cut(mount: Callable[..., Lab]) -> None:
    def short(request: Any) -> int:
        request.setHeader(b"content-length", b"10")
        request.write(b"123456789")
        if request.path == b"/whole":
            request.finish()
        else:
            self.append(request)
        return NOT_DONE_YET

    self: list[Any] = []
    lab = mount(short)
    refused = lab.get("/whole")
    assert refused.status == 500
    assert "1 bytes less than its Content-Length" in str(refused.error)
    cut = lab.get("/streamed")
    assert cut.status == 200
    self.pop().finish()
    assert cut.cut


def test_nothing_beyond_the_told_length_goes_out(mount: Callable[..., Lab]) -> None:
    later = Later()
    lab = mount(later)
    reply = lab.get("/")
    later.request.setHeader(b"content-length", b"3")
    later.request.write(b"abc")
    assert reply.body == b"abc"
    later.request.write(b"HTTP/1.1 200 OK\r\n\r\n")
    lab.settle()
    assert reply.client.received.endswith(b"\r\n\r\nabc")
    assert reply.client.closed


@pytest.mark.parametrize(
    ("code", "name", "value"),
    [(200, b"content-length", b"ten"), (101, b"x-a", b"b"), (600, b"x-a", b"b"), (200, b"x-a", b"\0")],
)
def test_a_head_that_cannot_be_sent_is_a_500(mount: Callable[..., Lab], code: int, name: bytes, value: bytes) -> None:
    def render(request: Any) -> int:
        request.setResponseCode(code)
        request.setHeader(name, value)
        request.write(b"body")
        return NOT_DONE_YET

    assert mount(render).get("/").status == 500


# Klein.

app = Klein()
_waits: list[Deferred[bytes]] = []
_cancelled: list[Deferred[bytes]] = []


@app.route("/name/<name>")
def named(_request: Any, name: str) -> str:
    return f"I am {name}"


@app.route("/later")
async def answered_later(_request: Any) -> bytes:
    _waits.append(Deferred())
    try:
        return await _waits[-1]
    except CancelledError:
        _cancelled.append(_waits.pop())
        raise


def test_a_klein_app_is_mounted_by_its_resource() -> None:
    lab = in_route("/app", resource=f"{HERE}:app.resource")
    assert lab.get("/app/name/%C3%A9va").text == "I am \u00e9va"
    reply = lab.get("/app/later")
    assert reply.status is None
    _waits.pop().callback(b"at last")
    assert reply.body == b"at last"
    assert lab.get("/app/nothing").status == 404
    assert lab.stop() == []


def test_what_fails_behind_a_deferred_is_logged_with_its_line() -> None:
    lab = in_route(resource=f"{HERE}:app.resource")
    reply = lab.get("/later")
    with capturedLogs() as logged:
        _waits.pop().errback(ValueError("no price"))
        assert (reply.status, reply.text) == (500, "500 Internal Server Error\nrequest lab-1\n")
    (line,) = map(formatEvent, logged)
    assert "ValueError: no price at " in line
    assert f"{Path(__file__).name}:" in line
    lab.stop()


def test_a_route_of_klein_is_cancelled_when_its_client_leaves() -> None:
    lab = in_route(resource=f"{HERE}:app.resource")
    reply = lab.get("/later")
    waited = _waits[-1]
    lab.disconnect(reply)
    assert _cancelled == [waited]
    lab.stop()


# Names and arguments.

ready = Answers(lambda _: b"ready")
number = 7


def with_reactor(reactor: Any, *, word: str = "") -> Resource:
    return Answers(lambda _: f"{word} {reactor.seconds():g}".encode())


def no_resource() -> int:
    return 7


def test_a_resource_that_is_there_is_taken_as_it_is() -> None:
    assert in_route(resource=f"{HERE}:ready").get("/").body == b"ready"


def test_whoever_has_a_parameter_reactor_is_given_the_proxys() -> None:
    lab = in_route(resource=f"{HERE}:with_reactor", kwargs={"word": "at"})
    assert lab.get("/").body == b"at 1000"


@pytest.mark.parametrize(
    ("settings", "setting", "words"),
    [
        ({}, "resource", 'write either resource = "twisted.web.static:File" or wsgi = "package.file:application"'),
        ({"resource": "a:b", "wsgi": "c:d"}, "resource", "write either"),
        ({"resource": "twisted.web.static.File"}, "resource", 'is no dotted name; write "package.file:Name"'),
        ({"resource": "twisted.web.nothing:File"}, "resource", "twisted.web.nothing does not import"),
        ({"resource": "twisted.web.static:Fiel"}, "resource", "twisted.web.static has no Fiel"),
        ({"resource": f"{HERE}:number"}, "resource", "is 7: name a Resource, its class, or a function"),
        ({"resource": f"{HERE}:ready", "args": [1]}, "resource", "is a resource already: leave args and kwargs out"),
        ({"resource": "twisted.web.static:File"}, "args", "missing a required argument: 'path'"),
        ({"resource": "twisted.web.static:File", "kwargs": {"pth": "/"}}, "args", "cannot be called with these"),
        ({"wsgi": f"{HERE}:number"}, "wsgi", "is no WSGI application"),
        ({"wsgi": f"{HERE}:named", "threads": 0}, "threads", "expected 1 or more, not 0"),
    ],
)
def test_what_cannot_be_mounted_is_told_at_start(settings: dict[str, Any], setting: str, words: str) -> None:
    from asyncproxy.modules.resource import Mounted

    with pytest.raises(SettingsError) as caught:
        Mounted(**settings)
    ((place, told),) = caught.value.problems
    assert place == setting
    assert words in told


def test_what_is_made_and_is_no_resource_is_told_at_start() -> None:
    with pytest.raises(Exception, match=r"TypeError: .*no_resource made 7, which is no twisted.web Resource"):
        in_route(resource=f"{HERE}:no_resource")
