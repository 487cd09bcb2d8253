"""The command line, against an admin listener that answers by a script."""

from __future__ import annotations

import argparse
import io
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from asyncproxy.console import asking, command, main, parking
from asyncproxy.console.asking import Admin, NotReached, Refused


def row(number: int, **more: Any) -> dict[str, Any]:
    return {
        "id": f"a-{number}", "client": "127.0.0.1:4000", "method": "GET", "path": "/o", "module": "orders",
        "waiting_for": "sleep 5 s", "at": "o.py:1", "since_s": 61.5, "deadline_s": None, **more,
    }  # fmt: skip


class Asked(list[tuple[Any, ...]]):
    """What an admin listener was asked; `answers` are what it says, by path, and exceptions are raised."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.made: tuple[str, str | None] | None = None

    def answer(self, path: str) -> Any:
        found = self.answers[path]
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    asked = Asked()

    class Scripted(Admin):
        def __init__(self, url: str, token: str | None = None) -> None:
            super().__init__(url, token)
            asked.made = (url, token)

        def get(self, path: str) -> Any:
            asked.append(("GET", path))
            return asked.answer(path)

        def post(self, path: str, value: Any, fields: Any = None) -> Any:
            asked.append(("POST", path, value, fields or {}))
            return asked.answer(path)

    monkeypatch.setattr(command, "Admin", Scripted)
    monkeypatch.delenv("ASYNCPROXY_ADMIN", raising=False)
    monkeypatch.delenv("ASYNCPROXY_TOKEN", raising=False)
    return asked


def test_ps_asks_for_page_after_page(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(parking, "PAGE", 2)
    asked.answers = {
        "/status.json?limit=2": {"parked": [row(1), row(2)]},
        "/status.json?limit=2&after=a-2": {"parked": [row(3)]},
    }
    assert main(["ps", "-q"]) == 0
    assert capsys.readouterr().out == "a-1\na-2\na-3\n"


def test_ps_has_tunnels_behind_what_is_parked(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(parking, "PAGE", 2)
    asked.answers = {
        "/status.json?limit=2": {"parked": [row(3)], "tunnels": [row(1), row(2)]},
        "/status.json?limit=2&after=a-2": {"parked": [row(3)], "tunnels": [row(4)]},
    }
    assert main(["ps", "-q"]) == 0
    assert capsys.readouterr().out == "a-3\na-1\na-2\na-4\n"


def test_ps_shows_columns_and_what_matches(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    asked.answers = {"/status.json?limit=1000": {"parked": [row(1), row(2, path="/X\x1b", deadline_s=5)]}}
    assert main(["ps"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "ID   AGE   LEFT  WAITING FOR  AT      REQUEST     MODULE  CLIENT",
        "a-1  1m1s  -     sleep 5 s    o.py:1  GET /o      orders  127.0.0.1:4000",
        "a-2  1m1s  5s    sleep 5 s    o.py:1  GET /X\\x1b  orders  127.0.0.1:4000",
    ]
    assert main(["ps", "--filter", "/x", "--json"]) == 0
    assert [one["id"] for one in json.loads(capsys.readouterr().out)] == ["a-2"]


def test_resume_sends_the_value_and_what_the_ticket_is_bound_to(
    asked: Asked, capsys: pytest.CaptureFixture[str]
) -> None:
    asked.answers = {"/tickets/a%2Fb%20c?bind=d%E2%82%AC1": {"state": "settled", "request": "a-1"}}
    assert main(["resume", "a/b c", "ok=true", "--bind", "d\N{EURO SIGN}1", "by=al"]) == 0
    assert asked == [("POST", "/tickets/a%2Fb%20c?bind=d%E2%82%AC1", {"ok": True, "by": "al"}, {})]
    assert capsys.readouterr().out == "a/b c: settled, request a-1 goes on\n"
    asked.answers = {"/tickets/n": {"state": "remembered", "for_s": 60.0}}
    assert main(["resume", "n", "-5"]) == 0
    assert asked[-1][2] == -5
    assert capsys.readouterr().out == "n: remembered for 60 s, for nobody waits for it yet\n"


def test_cancel_goes_on_with_the_others(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    asked.answers = {
        "/requests/a/cancel": Refused("no request has this id\x1b"),
        "/requests/b/cancel": {"request": "b", "status": 504},
        "/requests/c/cancel": {"request": "c", "status": None},
    }
    assert main(["cancel", "a", "b", "--status", "504", "c"]) == 1
    out, err = capsys.readouterr()
    assert out == "b: answered 504\nc: cut, for its response had begun\n"
    assert err == "asyncproxy: a: no request has this id\\x1b\n"
    assert asked[-1][2] == {"status": 504}


def test_extend_and_drain_say_what_is_so_now(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    asked.answers = {"/requests/a/extend": {"request": "a", "deadline_s": 330.5}, "/drain": {"draining": True}}
    assert main(["extend", "a", "5m"]) == 0
    assert asked == [("POST", "/requests/a/extend", {"by": "5m"}, {})]
    assert main(["drain", "--json"]) == 0
    assert capsys.readouterr().out == 'a: 5m30s left\n{"draining": true}\n'


def test_where_the_proxy_is_is_said_before_or_behind_the_subcommand_or_in_the_environment(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked.answers = {"/status.json?limit=1000": {"parked": []}}
    main(["ps"])
    assert asked.made == ("http://127.0.0.1:8081", None)
    monkeypatch.setenv("ASYNCPROXY_ADMIN", "unix:/run/admin")
    monkeypatch.setenv("ASYNCPROXY_TOKEN", "secret")
    main(["ps"])
    assert asked.made == ("unix:/run/admin", "secret")
    main(["--admin", "http://a:1", "ps", "--token", "other"])
    assert asked.made == ("http://a:1", "other")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "required: COMMAND"),
        ("pss", "invalid choice"),
        ("ps x", "unrecognized arguments: x"),
        ("resume", "required: NAME"),
        ("resume n yes", "is not JSON"),
        ("resume \udcff 1", "is no name of a ticket"),
        ("resume n a=1 --bidn d", "unrecognized arguments: --bidn d"),
        ("cancel a --status 200", "write a number from 400 to 599"),
        ("extend a 5", '"5" has no unit'),
        ("extend a", "required: TIME"),
        ("--admin localhost:8081 ps", "is not an admin listener"),
        ("--admin http://me:secret@a ps", "needs no user"),
        ("--admin http://a\x7fb:1 ps", "control characters"),
        ("ps --token secret\N{EURO SIGN}", "the token has something else in it"),
        ("resume n --bind \udcff", "is no name"),
        ("cancel a --status 400 \udcff", "is no name"),
        ("resume n " + "x" * 100_000, "is not JSON"),
        ("advise --watch 99999999999d", "a day is the longest"),
    ],
)
def test_a_line_that_says_nothing_of_use_ends_with_2(
    line: str, why: str, asked: Asked, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(line.split())
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert why in said
    assert "secret" not in said
    assert len(said) < 2000
    assert not asked


def test_a_ticket_has_a_name(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["resume", "", "1"])
    assert ended.value.code == 2
    assert "'' is no name of a ticket" in capsys.readouterr().err
    assert not asked


def test_who_refuses_and_who_is_not_there_have_statuses_of_their_own(
    asked: Asked, capsys: pytest.CaptureFixture[str]
) -> None:
    asked.answers = {"/drain": Refused("no"), "/status.json?limit=1000": NotReached("nobody")}
    assert (main(["drain"]), main(["ps"])) == (1, 3)
    assert capsys.readouterr().err == "asyncproxy: no\nasyncproxy: nobody\n"


def test_nothing_is_cancelled_when_one_of_the_ids_cannot_be(asked: Asked) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["cancel", "a", ""])
    assert (ended.value.code, asked) == (2, [])


class Listener(ThreadingHTTPServer):
    """Something that speaks HTTP, and always says `said`."""

    def __init__(self, said: bytes) -> None:
        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(said)

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        super().__init__(("127.0.0.1", 0), Answers)


@pytest.mark.parametrize("said", [b"[]", b"{}", b"null", b'"ok"', b"<html>"])
@pytest.mark.parametrize("line", ["ps", "resume n", "cancel a", "extend a 5m", "advise"])
def test_who_answers_as_no_proxy_does_is_not_the_proxy(
    line: str, said: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    with Listener(said) as listener:
        Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        assert main([*line.split(), "--admin", f"http://127.0.0.1:{listener.server_port}"]) == 3
        listener.shutdown()
    assert "is it the admin listener" in capsys.readouterr().err


def test_a_host_that_cannot_be_looked_up_is_not_reached(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ps", "--admin", f"http://{'a' * 80}.example:1"]) == 3
    assert "no answer from" in capsys.readouterr().err


def test_a_terminal_that_knows_few_characters_gets_the_others_written_out(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, "ascii"))
    asked.answers = {"/status.json?limit=1000": {"parked": [row(1, path="/\N{EURO SIGN}")]}}
    assert main(["ps"]) == 0
    assert b"/\\u20ac" in written.getvalue()


def test_a_user_without_a_name_is_somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr(asking.getpass, "getuser", nameless)
    assert asking._operator().startswith("somebody@")


def test_each_subcommand_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    for subcommand in command.SUBCOMMANDS:
        with pytest.raises(SystemExit) as ended:
            main([subcommand.name, "--help"])
        assert ended.value.code == 0
        assert subcommand.summary[1:30] in " ".join(capsys.readouterr().out.split())


def test_the_documentation_has_each_subcommand_and_its_options() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operating.md").read_text("utf-8")
    for subcommand in command.SUBCOMMANDS:
        assert f"| `{subcommand.name}" in page, subcommand.name
        parser = argparse.ArgumentParser(add_help=False)
        subcommand.arguments(parser)
        for option in re.findall(r"--\w+", parser.format_help()):
            assert option in page, f"{subcommand.name} {option}"
