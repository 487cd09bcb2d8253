"""What people see of a proxy; see `modules.status_page`."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from asyncproxy.modules.status_page import page

from asyncproxy import Module, Request, Response, __version__, sleep
from asyncproxy.testing import Lab

HOSTILE = "<script>alert(1)</script>\"'&"
VOID = {"meta", "!doctype"}


class Sleeps(Module):
    async def handle(self, request: Request) -> Response:
        await sleep(600)
        return Response()


class Seen(HTMLParser):
    """A page as a browser takes it: its elements, and its text without them. Refuses what is not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def overview(**given: Any) -> dict[str, Any]:
    return {
        "version": "1.2",
        "uptime_s": 3.0,
        "workers": {"total": 5, "busy": 2, "queued": 1234},
        "served": 7,
        "stages": {"PARKED": 3, "WORKING": 0},
        "parked": [],
        "parked_total": 0,
        "upstreams": {},
        "stalled": [],
        "stalled_total": 0,
        "held": {"holds": 0, "longest_s": 0.0, "latest": None},
        **given,
    }


def row(**given: Any) -> dict[str, Any]:
    return {
        "id": "a-1",
        "client": "127.0.0.1:5",
        "method": "GET",
        "path": "/x",
        "module": "orders",
        "waiting_for": "sleep 5 s",
        "at": "file.py:31",
        "since_s": 2.04,
        "deadline_s": None,
        **given,
    }


def test_the_page_shows_the_proxy_as_it_is() -> None:
    lab = Lab(
        {
            "upstream": {"far": {"servers": "http://h:9000", "first_byte_timeout": "off"}},
            "route": [
                {"path": "/held/", "module": Sleeps},
                {"path": "/far", "module": "reverse", "upstream": "far"},
                {"path": "/status", "module": "status"},
            ],
        },
        allow_parked=True,
    )
    lab.get("/held/a?query")
    lab.get("/far")
    lab.advance(125)
    answer = lab.get("/status")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    seen = Seen(answer.text)
    assert f"asyncproxy {__version__}, up for 2 min 5 s" in seen.text
    assert "http://h:9000 1 0 0 0" in seen.text
    assert "sleep 600 s test_status_page.py:" in seen.text
    assert "GET /held/a" in seen.text


def test_figures_are_told_with_what_they_mean() -> None:
    text = Seen(page(overview())).text
    assert "Busy workers 2 of 5 Queued turns 1,234 Parked requests 0 Served requests 7" in text
    assert "Parked 3 hold no thread Working 0 a module runs" in text
    assert text.endswith("Upstream servers None has been asked yet. Parked requests None.")


def test_a_parked_request_is_told_with_where_it_waits() -> None:
    text = Seen(page(overview(parked=[row(), row(deadline_s=59.96, at="")], parked_total=2))).text
    assert "sleep 5 s file.py:31 2.0 s no limit GET /x orders 127.0.0.1:5 a-1" in text
    assert "sleep 5 s 2.0 s 60.0 s GET /x" in text


def test_what_keeps_a_worker_or_the_polling_thread_is_told() -> None:
    stalled = [
        {"id": "a-1", "module": "slow", "at": "slow.py:9", "for_s": 75.5},
        {"id": None, "module": None, "at": "own.py:3", "for_s": 2.0},
    ]
    text = Seen(page(overview(stalled=stalled))).text
    assert "slow.py:9 1 min 15 s slow a-1 own.py:3 2.0 s a call from outside any request Upstream" in text
    held = {"holds": 2, "longest_s": 3.0, "latest": {"at": "fast.py:4", "for_s": 0.26}}
    text = Seen(page(overview(held=held))).text
    assert "was held 2 times, for 3.0 s at most; the latest at fast.py:4 , for 0.3 s." in text


def test_what_is_too_much_for_a_page_is_said() -> None:
    assert "The 1 eldest of 20,000" in Seen(page(overview(parked=[row()], parked_total=20_000))).text
    assert "eldest" not in page(overview(parked=[row()], parked_total=1))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0.0 s"),
        (59.9, "59.9 s"),
        (60, "1 min"),
        (61.9, "1 min 1 s"),
        (3600, "1 h"),
        (3661, "1 h 1 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_times_are_told_as_people_say_them(seconds: float, words: str) -> None:
    assert f"up for {words} status.json" in Seen(page(overview(uptime_s=seconds))).text


def test_nothing_that_others_have_a_hand_in_is_taken_for_html() -> None:
    hostile = dict.fromkeys(("id", "client", "method", "path", "module", "waiting_for", "at"), HOSTILE)
    given = overview(
        parked=[row(**hostile)],
        parked_total=1,
        upstreams={HOSTILE: dict.fromkeys(("open", "idle", "opening", "waiting"), 0)},
        version=HOSTILE,
        stalled=[{"id": HOSTILE, "module": HOSTILE, "at": HOSTILE, "for_s": 1.0}],
        held={"holds": 1, "longest_s": 3.0, "latest": {"at": HOSTILE, "for_s": 0.25}},
    )
    seen = Seen(page(given))
    tame = {"h": given["upstreams"][HOSTILE]}
    plain = Seen(page({**given, "parked": [row()], "upstreams": tame, "version": "1"}))
    assert seen.elements == plain.elements
    assert "".join(seen.texts).count(HOSTILE) == 13


def test_a_script_in_a_path_does_not_run() -> None:
    lab = Lab({"route": [{"module": Sleeps}, {"path": "/status", "module": "status"}]}, allow_parked=True)
    lab.get("/%3Cscript%3Ealert(1)%3C/script%3E")
    answer = lab.get("/status")
    assert "/&lt;script&gt;alert(1)&lt;/script&gt;" in answer.text
    assert "<script" not in answer.text


def test_the_policy_allows_the_page_s_own_style_and_nothing_else() -> None:
    answer = Lab("[[route]]\nmodule = 'status'\n").get("/status")
    (style,) = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert answer.headers["content-security-policy"] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert answer.headers["cache-control"] == "no-store"
    assert " style=" not in answer.text


def test_nothing_is_loaded_from_elsewhere() -> None:
    seen = Seen(page(overview(parked=[row()], parked_total=5)))
    links = [value for _, attributes in seen.elements for name, value in attributes.items() if name in ("href", "src")]
    assert set(links) == {"/status.json", "/metrics"}
    assert "url(" not in page(overview())
