"""Errors as their clients like to read them."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asyncproxy.exchange.error_pages import KINDS, ErrorPages, check_page, preferred

BROWSER = b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "txt"),
        (b"", "txt"),
        (b"*/*", "txt"),
        (BROWSER, "html"),
        (b"text/html", "html"),
        (b"TEXT/HTML", "html"),
        (b"application/json", "json"),
        (b"application/json, text/plain, */*", "json"),
        (b"text/plain, application/json", "txt"),
        (b"text/*", "txt"),
        (b"text/*, text/html", "html"),
        (b"text/plain;q=0, text/*", "html"),
        (b"text/plain;q=0, text/html;q=0, */*", "json"),
        (b"application/json;q=0.5, text/html;q=0.4", "json"),
        (b"application/json;q=0.4, text/html;q=0.5", "html"),
        (b"text/html ; level=1 ; q=0.5, application/json;q=0.6", "json"),
        (b"text/html;level=1;q=0.5, application/json;q=0.4", "html"),
        (b"application/*;q=0.9, text/plain;q=0.8", "json"),
        (b"*/*;q=0.1, application/json", "json"),
        (b"image/png", "txt"),
        (b"application/problem+json", "txt"),
        (b"text/html;q=0", "txt"),
        (b"application/json;q=2, text/html;q=0.1", "html"),
        (b"application/json;q=x", "txt"),
        (b"application/json;q=0.1234", "txt"),
        (b"application/json;q=1.000", "json"),
        (b",,;,=,;q=1", "txt"),
        (b"\xff, application/json", "json"),
    ],
)
def test_a_client_gets_what_it_takes_best(accept: bytes | None, kind: str) -> None:
    assert preferred(b"" if accept is None else b"\r\nHost: a\r\nAccept: " + accept + b"\r\nX: y") == kind


def test_several_fields_are_one_list_and_others_are_none() -> None:
    assert preferred(b"\r\naccept: text/plain;q=0.1\r\nACCEPT:application/json") == "json"
    assert preferred(b"\r\nX-Accept: text/html\r\nAccept-Language: text/html") == "txt"


def test_of_a_list_without_end_the_beginning_counts() -> None:
    assert preferred(b"\r\nAccept: " + b"image/png," * 5000 + b"text/html") == "txt"


def head_and_body(status: int, words: str, accept: bytes = b"", pages: ErrorPages | None = None) -> tuple[bytes, bytes]:
    return (pages or ErrorPages()).reply(status, words, "a-1", b"\r\nAccept: " + accept)


def test_the_three_say_the_same() -> None:
    assert head_and_body(502, "the upstream refused") == (
        b"\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 50\r\nCache-Control: no-store",
        b"502 Bad Gateway: the upstream refused\nrequest a-1\n",
    )
    fields, body = head_and_body(502, "the upstream refused", b"application/json")
    assert b"\r\nContent-Type: application/json\r\n" in fields
    assert json.loads(body) == {
        "error": {"status": 502, "title": "Bad Gateway", "detail": "the upstream refused", "request": "a-1"}
    }
    fields, body = head_and_body(502, "the upstream refused", b"text/html")
    assert b"\r\nContent-Type: text/html; charset=utf-8\r\n" in fields
    assert b"<title>502 Bad Gateway</title>" in body
    assert b"<p>the upstream refused</p>" in body
    assert b"<code>a-1</code>" in body
    assert b"\r\nContent-Length: %d\r\n" % len(body) in fields


def test_nobody_stores_an_error_and_503_says_when_to_come_again() -> None:
    for status in (400, 404, 500, 503):
        fields, _ = head_and_body(status, "")
        assert fields.count(b"\r\nCache-Control: no-store") == 1
        assert (b"\r\nRetry-After: 1" in fields) is (status == 503)


def test_what_is_filled_in_is_escaped() -> None:
    hostile = "<script>alert('1')</script>\" \\ \n {id} \ud800 \u2028"
    _, page = head_and_body(400, hostile, b"text/html")
    assert b"<script" not in page
    assert b"&lt;script&gt;alert(&#x27;1&#x27;)&lt;/script&gt;&quot;" in page
    assert b"{id}" in page  # what is filled in is not filled in again
    pages = ErrorPages({"4xx.json": '{"said": "{words}", "code": {status}}'})
    _, body = head_and_body(400, hostile, b"application/json", pages)
    assert json.loads(body)["said"] == hostile
    assert head_and_body(400, hostile)[1].decode()


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.scripts = 0
        self.outside: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag in ("script", "img", "iframe", "object", "link")
        self.outside += [value or "" for name, value in attrs if name in ("src", "href")]


@given(st.text())
@example("</p><script>")
@example("\0")
def test_whatever_the_words_the_page_has_nothing_but_its_own_tags_and_loads_nothing(words: str) -> None:
    tags = Tags(ErrorPages().body("html", 400, words, "a-1").decode())
    assert (tags.scripts, tags.outside) == (0, [])
    assert json.loads(ErrorPages().body("json", 400, words, "a-1"))["error"]["detail"] == words


def test_pages_of_an_operator_s_own_stand_in_the_closest_first() -> None:
    pages = ErrorPages({
        "502.html": "<h1>{reason}</h1>",
        "5xx.html": "<h2>{status} {reason}: {words} ({id})</h2> body { color: red } {unknown} { id }",
        "5xx.txt": "sorry, {id}",
    })  # fmt: skip
    assert head_and_body(502, "x", b"text/html", pages)[1] == b"<h1>Bad Gateway</h1>"
    assert head_and_body(504, "<x>", b"text/html", pages)[1] == (
        b"<h2>504 Gateway Timeout: &lt;x&gt; (a-1)</h2> body { color: red } {unknown} { id }"
    )
    assert head_and_body(503, "", b"", pages) == (
        b"\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 10\r\nCache-Control: no-store"
        b"\r\nRetry-After: 1",
        b"sorry, a-1",
    )
    assert head_and_body(404, "x", b"text/html", pages)[1].startswith(b"<!DOCTYPE html>")
    assert json.loads(head_and_body(502, "x", b"application/json", pages)[1])["error"]["detail"] == "x"
    assert repr(pages) == "<ErrorPages 502.html, 5xx.html, 5xx.txt>"
    assert repr(ErrorPages()) == "<ErrorPages of our own>"
    assert ErrorPages({"502.html": "a"}) == ErrorPages({"502.html": "a"}) != ErrorPages({"502.html": "b"})


def test_a_page_of_json_has_to_be_json() -> None:
    check_page("5xx.json", '{"code": {status}, "words": "{words}"}')
    check_page("5xx.html", "{")
    with pytest.raises(ValueError, match=r"5xx\.json is no JSON when its placeholders are filled in"):
        check_page("5xx.json", '{"code": {words}}')


def test_every_kind_has_an_unknown_status_too() -> None:
    for kind in KINDS:
        assert b"599" in ErrorPages().body(kind, 599, "", "")
