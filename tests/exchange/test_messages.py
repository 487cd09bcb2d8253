from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncproxy.exchange.forwarding import make_block
from asyncproxy.exchange.headers import Headers
from asyncproxy.exchange.messages import Body, Request
from asyncproxy.exchange.responses import Fetched, Reply, Response
from asyncproxy.exchange.waits import BodyPiece


def request(target: bytes = b"/", **fields: str) -> Request:
    block = make_block([(name.encode(), value.encode("latin-1")) for name, value in fields.items()])
    made = Request("GET", target)
    made.sift(block)
    return made


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/", "/", ""),
        (b"/a/b?c=d", "/a/b", "c=d"),
        (b"/a%20b?x=%20", "/a b", "x=%20"),
        (b"/%C3%A9", "/\xe9", ""),
        (b"/%ff", "/\ufffd", ""),
        (b"/a?b?c", "/a", "b?c"),
        (b"/?", "/", ""),
        (b"http://host/a/b?c", "/a/b", "c"),
        (b"http://host", "/", ""),
        (b"/a://b", "/a://b", ""),
        (b"*", "*", ""),
    ],
)
def test_the_path_is_decoded_and_the_query_kept(target: bytes, path: str, query: str) -> None:
    asked = request(target)
    assert (asked.path, asked.path, asked.query) == (path, path, query)
    assert asked.target == target


@pytest.mark.parametrize(
    ("target", "args"),
    [
        (b"/", {}),
        (b"/?a=1&b=&a=2", {"a": ["1", "2"], "b": [""]}),
        (b"/?a+b=%26%3D&c", {"a b": ["&="], "c": [""]}),
    ],
)
def test_arguments_are_lists_of_values_in_order(target: bytes, args: dict[str, list[str]]) -> None:
    asked = request(target)
    assert asked.args == args
    assert asked.args is asked.args


@given(st.binary())
def test_any_target_has_a_path_and_arguments(target: bytes) -> None:
    asked = request(target)
    assert isinstance(asked.path, str)
    assert isinstance(asked.args, dict)
    assert repr(asked)


@pytest.mark.parametrize(
    ("cookie", "cookies"),
    [
        ("", {}),
        ("a=1", {"a": "1"}),
        ("a=1; b=2;c=3", {"a": "1", "b": "2", "c": "3"}),
        ('a="x y"', {"a": "x y"}),
        ("bad[]=1; a=1", {"a": "1"}),
        (";;=;", {}),
        ("a=1; a=2", {"a": "2"}),
        ("a", {}),
        ("a=", {"a": ""}),
        ("a==b=", {"a": "=b="}),
        ("path=/; expires=1", {"path": "/", "expires": "1"}),
        (r'a="\"x\" \\ \101\054"', {"a": '"x" \\ A,'}),
        ('a="', {"a": '"'}),
        ('a=""', {"a": ""}),
        ("a=\xe4 b", {"a": "\xe4 b"}),
        ('a="' + "\\" * 60_000 + '"', {"a": "\\" * 30_000}),
    ],
)
def test_cookies_that_can_be_read_are(cookie: str, cookies: dict[str, str]) -> None:
    asked = request(Cookie=cookie)
    assert asked.cookies == cookies
    assert asked.cookies is asked.cookies


@given(st.text(st.characters(codec="latin-1", exclude_categories=["Cc"])))
def test_no_cookie_raises(cookie: str) -> None:
    assert isinstance(request(Cookie=cookie).cookies, dict)


def test_host_version_id_and_headers() -> None:
    asked = request(Host="a:80", X="y")
    assert asked.host == "a:80"
    assert asked.http_version == "1.1"
    assert asked.id == "request-0"
    assert asked.headers["x"] == "y"
    assert asked.headers is asked.headers
    with pytest.raises(TypeError):
        asked.headers["x"] = "z"
    assert request().host == ""


def test_the_body_of_a_request_without_one_is_empty() -> None:
    asked = request()
    assert asked.data == b""
    assert asked.content.read() == b""


def test_a_body_that_is_still_arriving_says_how_to_get_it() -> None:
    asked = request()
    asked.length = None
    with pytest.raises(RuntimeError, match=r"await request\.read"):
        asked.content  # noqa: B018
    assert isinstance(asked.read(), BodyPiece)
    assert asked.read().whole
    assert isinstance(asked.body, Body)
    assert aiter(asked.body)
    assert asked.body.read().describe() == "the whole body"


def test_making_a_forward_or_fetch_starts_nothing() -> None:
    forward = request().forward("g", target="/x", headers={"a": "b"}, timeout=3)
    assert (forward.upstream, forward.target, forward.headers, forward.timeout) == ("g", b"/x", [(b"a", b"b")], 3)
    assert forward.describe() == "forward to g"
    assert request().forward().describe() == "forward to None"
    assert request().forward(target=b"/y").target == b"/y"
    fetch = request().fetch("http://a/", "PUT", headers={"a": "b"}, json=[1], timeout=2)
    assert fetch.describe() == "fetch PUT http://a/"
    assert fetch.headers == Headers({"a": "b"})
    assert request().fetch("http://a/").headers is None


def test_header_injection_by_forward_is_refused() -> None:
    with pytest.raises(ValueError, match="control"):
        request().forward(headers={"a": "b\r\nc: d"})


@pytest.mark.parametrize(
    "target", ["/a b", "/a\r\nHost: evil", "/\x00", "", b"/a\r\n", b"/a b HTTP/1.0\r\nX: y\r\n\r\n"]
)
def test_a_target_that_would_break_the_request_line_is_refused(target: str | bytes) -> None:
    with pytest.raises(ValueError, match="target"):
        request().forward(target=target)


def test_the_kinds_of_response() -> None:
    assert Response.text("x").headers["content-type"] == "text/plain; charset=utf-8"
    assert Response.html("<p>", 404).status == 404
    assert Response.json({"a": 1}).body == b'{"a": 1}'
    assert Response.redirect("/x", 307).headers["location"] == "/x"
    assert Response.text("x", headers={"Content-Type": "text/csv"}).headers.getall("content-type") == ["text/csv"]
    assert repr(Response(204)) == "<Response 204>"
    with pytest.raises(TypeError):
        Response.json(object())


@pytest.mark.parametrize("status", [0, 100, 101, 199, 600, -1])
def test_a_status_that_is_not_final_is_refused(status: int) -> None:
    with pytest.raises(ValueError, match="status"):
        Response(status)


def test_a_replys_fields_are_its_own_once_looked_at() -> None:
    reply = Reply(200)
    reply.sift(b"\r\nA: b\r\nContent-Length: 5")
    assert reply.own_headers is None
    reply.headers["a"] = "c"
    assert reply.headers["A"] == "c"
    assert isinstance(reply.body, Body)
    reply.body = b"mine"
    assert reply.body == b"mine"
    assert repr(reply) == "<Reply 200>"
    assert isinstance(reply.read(), BodyPiece)


@pytest.mark.parametrize(
    ("length", "block", "bodiless", "ends"),
    [
        (None, b"", False, True),
        (5, b"\r\nContent-Length: 5", False, False),
        (None, b"\r\nTransfer-Encoding: chunked", False, False),
        (None, b"", True, False),
    ],
)
def test_a_reply_ends_with_its_connection_when_nothing_else_tells(
    length: int | None, block: bytes, bodiless: bool, ends: bool
) -> None:
    reply = Reply(200)
    reply.sift(block)
    reply.length, reply.bodiless = length, bodiless
    assert reply.ends_by_close is ends


def test_what_was_fetched_is_whole() -> None:
    fetched = Fetched(200, Headers(), '{"a": "\xe9"}'.encode())
    assert fetched.json() == {"a": "\xe9"}
    assert fetched.text() == '{"a": "\xe9"}'
    assert Fetched(200, Headers(), b"\xff").text() == "\ufffd"
    assert repr(fetched) == "<Fetched 200, 11 bytes>"
    with pytest.raises(ValueError, match="Expecting"):
        Fetched(200, Headers(), b"").json()


def test_a_target_that_would_fill_a_log_is_cut_short_in_it():
    short, long = Request("GET", b"/short?x"), Request("GET", b"/" + b"x" * 7999)
    assert short.line == f"GET /short?x ({short.id})"
    assert len(long.line) < 600
    assert long.line.endswith(f"x... of 8000 bytes ({long.id})")
    assert repr(long).startswith(f"<Request {long.line} from ")
