"""What people see of a proxy when they ask for it, script or not; see `modules.live.page`."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from asyncproxy import Module, Request, Response, __version__, sleep
from asyncproxy.modules import live
from asyncproxy.modules.live.files import FILES
from asyncproxy.modules.live.page import page, sized
from asyncproxy.testing import Lab

HOSTILE = "<script>alert(1)</script>\"'&"
VOID = {"meta", "!doctype", "link", "input", "wbr"}
PACKAGE = Path(str(live.__file__)).parent
STATUS = {"route": [{"path": "/status", "module": "status"}]}


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

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def view(**given: Any) -> dict[str, Any]:
    return {
        "version": "1.2",
        "now": 100.0,
        "uptime_s": 3.0,
        "workers": {"total": 3, "busy": 1, "queued": 1234},
        "running": [None, run(), None],
        "served": 7,
        "stages": {"PARKED": 3, "WORKING": 0, "TUNNELLING": 2},
        "tunnelled": {"open": 2, "total": 9, "received": 1023, "sent": 5 << 30},
        "parked": [],
        "parked_total": 0,
        "upstreams": {},
        "upstreams_total": 0,
        "sample": (99.0, 1234.5, 0.0021, 0.5, 0, 0, 0, 3, 0, 0),
        "stalled": [],
        "stalled_total": 0,
        "held": {"holds": 0, "longest_s": 0.0, "latest": None},
        **given,
    }


def run(**given: Any) -> dict[str, Any]:
    return {
        "id": "a-9", "request": "GET /slow", "module": "slow", "at": "slow.py:9", "source": "db.ask()", "for_s": 1.5,
        **given,
    }  # fmt: skip


def row(**given: Any) -> dict[str, Any]:
    return {
        "key": 1, "id": "a-1", "client": "127.0.0.1:5", "method": "GET", "path": "/x", "route": "/", "module": "orders",
        "at": "file.py:31", "source": "await sleep(5)", "waiting_for": "sleep 5 s", "ticket": None, "bind": None,
        "began": 97.0, "since": 98.0, "until": None, "stepped": 98.0, "column": 3,
        "spent": [0.0, 0.25, 0.75, 0.0, 0.0, 0.0], **given,
    }  # fmt: skip


def html(**given: Any) -> str:
    return page(view(**given), operate=True)


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
    assert re.search(r"test_live_page\.py:\d+ await sleep\(600\) sleep 600 s no limit GET /held/a", seen.text)


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (10 * 1024, "10 KiB"),
        (1 << 20, "1.0 MiB"),
        ((1 << 20) - 1, "1023 KiB"),
        (1 << 60, "1048576 TiB"),
    ],
)
def test_sizes_are_told_as_people_say_them(size: int, words: str) -> None:
    assert sized(size) == words


def test_figures_are_told_with_what_they_mean() -> None:
    text = Seen(html()).text
    assert "Requests a second 1,234 7 served Latency 2.1 ms median, 99% 500 ms" in text
    assert "Parked 3 hold no thread Working 0 a module runs Tunnelling 2 1023 B in, 5.0 GiB out" in text
    assert "None has been asked yet." in text
    assert "Latency - median, none of late" in Seen(html(sample=None)).text


def test_each_worker_is_shown_with_what_it_runs() -> None:
    text = html()
    assert "free slow GET /slow slow.py:9 db.ask() 1.5 s free 1,234 turns wait for a worker" in Seen(text).text
    assert '<li value="2" class="busy">' in text
    assert '<li value="2" class="long">' in html(stalled=[{"id": "a-9"}])
    many = Seen(html(workers={"total": 40, "busy": 1, "queued": 0}, running=[run(id=None, request=None, module=None)]))
    assert "a call from outside any request slow.py:9 db.ask() 1.5 s 39 of 40 are free" in many.text


def test_a_parked_request_is_told_with_where_it_waits_and_where_its_time_went() -> None:
    text = html(parked=[row(), row(until=159.96, at="", source="")], parked_total=2)
    seen = Seen(text).text
    ledger = "queued 250 ms, working 750 ms, parked 2.0 s"
    assert f"2.0 s file.py:31 await sleep(5) sleep 5 s no limit GET /x 127.0.0.1:5 a-1 orders / {ledger}" in seen
    assert "2.0 s sleep 5 s in 59 s GET /x" in seen
    assert '<rect class="parked" x="33.33" width="66.67" height="8"/>' in text


def test_what_held_the_polling_thread_is_told() -> None:
    held = {"holds": 2, "longest_s": 3.0, "latest": {"at": "fast.py:4", "for_s": 0.26}}
    text = Seen(html(held=held)).text
    assert "was held 2 times, for 3.0 s at most; the latest at fast.py:4 , for 0.3 s." in text


def test_what_is_too_much_for_a_page_is_said() -> None:
    assert "20,000, of which these are the 1 eldest" in Seen(html(parked=[row()], parked_total=20_000)).text
    assert "eldest" not in html(parked=[row()], parked_total=1).partition('id="rows"')[0]
    assert "and 3 more, in status.json" in html(upstreams={"h": servers()}, upstreams_total=4)


def servers() -> dict[str, int]:
    return dict.fromkeys(("open", "idle", "opening", "waiting"), 0)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0.0 s"),
        (9.9, "9.9 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (61.9, "1 min 1 s"),
        (3600, "1 h"),
        (3661, "1 h 1 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_times_are_told_as_people_say_them(seconds: float, words: str) -> None:
    assert f"up for {words} as it was" in Seen(html(uptime_s=seconds)).text


def test_nothing_that_others_have_a_hand_in_is_taken_for_html() -> None:
    hostile = ("id", "client", "method", "path", "module", "route", "waiting_for", "at", "source")
    given = view(
        parked=[row(**dict.fromkeys(hostile, HOSTILE), ticket=HOSTILE, bind=HOSTILE)],
        parked_total=1,
        upstreams={HOSTILE: servers()},
        version=HOSTILE,
        running=[run(**dict.fromkeys(("id", "request", "module", "at", "source"), HOSTILE))],
        held={"holds": 1, "longest_s": 3.0, "latest": {"at": HOSTILE, "for_s": 0.25}},
    )
    tame = {"parked": [row()], "upstreams": {"h": servers()}, "version": "1", "running": [run()]}
    seen = Seen(page(given, operate=True))
    plain = Seen(page({**given, **tame}, operate=True))
    assert seen.elements == plain.elements
    assert "".join(seen.texts).count(HOSTILE) == 16


def test_a_script_in_a_path_does_not_run() -> None:
    lab = Lab({"route": [{"module": Sleeps}, *STATUS["route"]]}, allow_parked=True)
    lab.get("/%3Cscript%3Ealert(1)%3C/script%3E")
    answer = lab.get("/status")
    assert "/&lt;script&gt;alert(1)&lt;/script&gt;" in answer.text
    assert answer.text.count("<script") == 1


def test_the_policy_allows_the_page_s_own_files_and_nothing_else() -> None:
    answer = Lab(STATUS).get("/status")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';")
    assert "unsafe" not in policy
    assert "require-trusted-types-for 'script'; trusted-types 'none'" in policy
    assert answer.headers["cache-control"] == "no-store"
    assert not re.search(r"\son\w+=|\sstyle=|<style|javascript:", answer.text)


def test_nothing_is_loaded_from_elsewhere() -> None:
    seen = Seen(html(parked=[row()], parked_total=5))
    links = [value for _, attributes in seen.elements for name, value in attributes.items() if name in ("href", "src")]
    assert set(links) == {"/status.json", "/metrics", "/status/page.css", "/status/page.js"}
    for file in PACKAGE.glob("*.*s*"):
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|url\(|@import", file.read_text()), file.name


def test_every_file_of_the_package_is_served_and_kept_until_it_is_another() -> None:
    lab = Lab(STATUS)
    there = {f"/status/{file.name}" for file in PACKAGE.iterdir() if file.suffix in (".js", ".css")}
    assert there == set(FILES)
    for path in sorted(FILES):
        answer = lab.get(path)
        assert answer.status == 200
        assert answer.headers["x-content-type-options"] == "nosniff"
        again = lab.get(path, headers={"If-None-Match": f'"other", {answer.headers["etag"]}'})
        assert (again.status, again.body) == (304, b"")
        assert lab.get(path, headers={"If-None-Match": '"other"'}).body == answer.body
    assert lab.get("/status/page.js").headers["content-type"] == "text/javascript; charset=utf-8"
    assert lab.get("/status/page.css").headers["content-type"] == "text/css; charset=utf-8"


def test_scripts_make_no_html_of_text() -> None:
    for file in PACKAGE.glob("*.js"):
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", file.read_text())


def test_what_can_be_done_is_offered_on_the_admin_listener_alone() -> None:
    assert "data-operate" in html()
    assert "data-operate" not in Lab(STATUS).get("/status").text
