"""Clients that people use, through a real proxy to a real origin: what each gets is what it would get without us."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.wire.clients import SESSIONS, Program, Session
from tests.wire.conftest import Peers
from tests.wire.origin import EVENTS, LARGE, Origin, content, pieces, prose
from tests.wire.peers import Upstream
from tests.wire.proxies import MODULES, Proxy

METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]
SIZES = [0, 1, 1000, LARGE]


def configuration(peers: Peers) -> str:
    return f"""
[[route]]
module = "reverse"
upstream = "{peers.one.url}"
[[route]]
path = "/about"
module = "{MODULES}:About"
"""


def by(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name", names)


def who_can(what: str) -> pytest.MarkDecorator:
    """For each client that can do `what`."""
    return by(*(name for name, kind in SESSIONS.items() if what not in kind.cannot))


each = who_can("anything")
PROGRAMS = [name for name, kind in SESSIONS.items() if issubclass(kind, Program)]


@pytest.fixture
def origin(upstream: Upstream) -> Origin:
    upstream.script = origin = Origin()
    return origin


@pytest.fixture(scope="module")
def sessions(module_proxy: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Session]]:
    """One of each client, made at first use."""
    made: dict[str, Session] = {}

    def session(name: str) -> Session:
        if name not in made:
            made[name] = SESSIONS[name](f"http://127.0.0.1:{module_proxy.port}", tmp_path_factory.mktemp(name))
        return made[name]

    yield session
    for one in made.values():
        one.close()


@pytest.fixture
def session(sessions: Callable[[str], Session], name: str, origin: Origin) -> Session:
    return sessions(name)


@each
@pytest.mark.parametrize("size", SIZES)
def test_a_body_with_a_length_comes_whole(session: Session, size: int) -> None:
    answer = session.ask("GET", f"/bytes/{size}")
    assert (answer.status, answer.body == content(size)) == (200, True)
    assert answer.fields["content-length"] == str(size)
    assert answer.fields["etag"] == f'"{size}"'


@each
@pytest.mark.parametrize("size", SIZES)
def test_a_body_in_chunks_comes_whole(session: Session, size: int) -> None:
    answer = session.ask("GET", f"/chunked/{size}")
    assert (answer.status, answer.body == content(size)) == (200, True)


@each
def test_head_tells_the_length_and_the_next_answer_is_whole(session: Session) -> None:
    answer = session.ask("HEAD", f"/bytes/{LARGE}")
    assert (answer.status, answer.fields["content-length"], answer.body) == (200, str(LARGE), b"")
    assert session.ask("GET", "/bytes/1000").body == content(1000)


@each
@pytest.mark.parametrize("size", SIZES)
def test_an_upload_with_a_length_arrives_whole(session: Session, size: int) -> None:
    answer = session.ask("POST", "/echo", {"Content-Type": "application/x-mine"}, content(size))
    assert (answer.status, answer.body == content(size)) == (200, True)
    assert (answer.fields["x-framing"], answer.fields["content-type"]) == ("length", "application/x-mine")


@who_can("chunked upload")
@pytest.mark.parametrize("size", [1000, LARGE])
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_an_upload_in_chunks_arrives_whole(session: Session, method: str, size: int) -> None:
    answer = session.ask(method, "/echo", {"Content-Type": "text/plain"}, pieces(content(size)))
    assert (answer.status, answer.body == content(size)) == (200, True)
    assert (answer.fields["x-framing"], answer.fields["x-method"]) == ("chunked", method)


@each
def test_every_method_arrives_as_it_was_asked(session: Session) -> None:
    for method in METHODS:
        body = None if method in ("GET", "OPTIONS") else b"some"
        assert session.ask(method, "/echo", {}, body).fields["x-method"] == method


@each
@pytest.mark.parametrize("status", ["301", "302", "303", "307", "308"])
def test_a_redirect_is_followed(session: Session, status: str) -> None:
    assert session.ask("GET", f"/redirect/{status}/bytes/1000").body == content(1000)


@who_can("uploads by redirect")
@pytest.mark.parametrize(("status", "method"), [("303", "GET"), ("307", "POST"), ("308", "POST")])
def test_an_upload_goes_where_a_redirect_leads(session: Session, status: str, method: str) -> None:
    answer = session.ask("POST", f"/redirect/{status}/echo", {}, content(100000))
    assert (answer.status, answer.fields["x-method"]) == (200, method)
    assert answer.body == (content(100000) if method == "POST" else b"")


@who_can("cookies")
def test_cookies_are_set_and_sent(session: Session) -> None:
    assert session.ask("GET", "/cookies/set").json() == {"flavour": "oat", "size": "large"}
    assert session.ask("GET", "/cookies/shown").json() == {"flavour": "oat", "size": "large"}


@who_can("ranges")
def test_ranges_are_served(session: Session) -> None:
    answer = session.ask("GET", f"/bytes/{LARGE}", {"Range": "bytes=1000-1999999"})
    assert (answer.status, answer.body == content(LARGE)[1000:2000000]) == (206, True)
    assert answer.fields["content-range"] == f"bytes 1000-1999999/{LARGE}"
    assert session.ask("GET", "/bytes/1000", {"Range": "bytes=999-"}).body == content(1000)[999:]
    answer = session.ask("GET", "/bytes/1000", {"Range": "bytes=1000-"})
    assert (answer.status, answer.fields["content-range"]) == (416, "bytes */1000")


@each
@pytest.mark.parametrize("size", [1000, LARGE])
def test_a_coding_reaches_the_client_that_asked_for_it(session: Session, size: int) -> None:
    answer = session.ask("GET", f"/gzip/{size}")
    assert (answer.status, answer.fields["content-encoding"]) == (200, "gzip")
    assert answer.body == prose(size)


@each
@pytest.mark.parametrize("status", [400, 403, 404, 410, 418, 500, 503])
def test_an_error_is_told_with_its_words(session: Session, status: int) -> None:
    answer = session.ask("GET", f"/status/{status}")
    assert (answer.status, answer.fields["x-status"], answer.body) == (status, str(status), b"it is %d" % status)


@each
def test_answers_without_a_body_end_and_the_next_is_whole(session: Session) -> None:
    assert (session.ask("GET", "/status/204").status, session.ask("GET", "/bytes/1").body) == (204, content(1))


@who_can("conditions")
def test_what_has_not_changed_is_not_sent(session: Session) -> None:
    answer = session.ask("GET", "/bytes/1000", {"If-None-Match": '"1000"'})
    assert (answer.status, answer.body) == (304, b"")
    assert session.ask("GET", "/bytes/1000", {"If-None-Match": '"else"'}).body == content(1000)


@each
def test_each_event_of_a_stream_arrives_before_the_next_is_sent(session: Session, origin: Origin) -> None:
    events = []
    for line in session.lines("/events"):
        if line.startswith(b"data: "):
            events.append(line.strip())
            origin.seen()
    assert events == [b"data: event %d" % number for number in range(EVENTS)]


@who_can("Expect")
@pytest.mark.parametrize("size", [1000, LARGE])
def test_a_body_is_sent_after_100_where_the_client_waits_for_it(session: Session, size: int) -> None:
    answer = session.ask("POST", "/echo", {"Expect": "100-continue"}, content(size))
    assert (answer.status, answer.body == content(size)) == (200, True)


@who_can("Expect")
def test_a_refusal_instead_of_100_reaches_the_client(session: Session, origin: Origin) -> None:
    answer = session.ask("POST", "/refused", {"Expect": "100-continue"}, content(LARGE))
    assert (answer.status, answer.body) == (413, b"not that")
    assert origin.expected == ["100-continue"]
    assert session.ask("POST", "/echo", {"Expect": "100-continue"}, content(1000)).body == content(1000)


@by(*(name for name in SESSIONS if name not in PROGRAMS))
def test_one_connection_serves_for_all_of_it(session: Session) -> None:
    begun = session.ask("GET", "/about").json()["client"]
    session.ask("GET", f"/bytes/{LARGE}")
    session.ask("POST", "/echo", {}, content(LARGE))
    if "chunked upload" not in session.cannot:
        session.ask("POST", "/echo", {}, pieces(content(1000)))
    if "one connection with HEAD" not in session.cannot:
        session.ask("HEAD", f"/bytes/{LARGE}")
    session.ask("GET", "/chunked/1000")
    session.ask("GET", "/gzip/1000")
    session.ask("GET", "/redirect/302/bytes/1000")
    session.ask("GET", "/status/503")
    session.ask("GET", "/status/204")
    assert session.ask("GET", "/about").json()["client"] == begun


@by(*PROGRAMS)
def test_a_download_goes_on_where_it_was_cut(session: Program, tmp_path: Path) -> None:
    (file := tmp_path / "file").write_bytes(content(LARGE)[:1000000])
    session.go_on(f"/bytes/{LARGE}", file)
    assert file.read_bytes() == content(LARGE)


@by(*PROGRAMS)
def test_one_run_of_a_program_fetches_all_over_one_connection(session: Program) -> None:
    output = session.several("/about", "/bytes/1000", f"/chunked/{LARGE}", "/about")
    first, last = output.split(content(1000) + content(LARGE))
    assert json.loads(first)["client"] == json.loads(last)["client"]
