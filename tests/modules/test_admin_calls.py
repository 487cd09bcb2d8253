"""The writing calls of the admin listener, in a lab."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.logger import globalLogPublisher

from asyncproxy import Cancelled, Module, Request, Response, sleep, ticket
from asyncproxy.modules.admin_calls import LONGEST_BODY
from asyncproxy.testing import ClientRequest, Lab

OWN = {"Host": "127.0.0.1:8081"}
FORGED: dict[str, tuple[dict[str, str], int]] = {
    "another origin": ({"Origin": "http://evil.example"}, 403),
    "a sandboxed page": ({"Origin": "null"}, 403),
    "another site": ({"Sec-Fetch-Site": "cross-site"}, 403),
    "another port of this host": ({"Origin": "http://127.0.0.1:3000", "Sec-Fetch-Site": "same-site"}, 403),
    "a name that points here": ({"Host": "evil.example:8081", "Origin": "http://evil.example:8081"}, 421),
    "text": ({"Content-Type": "text/plain"}, 415),
    "a form": ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
    "no type": ({"Content-Type": ""}, 415),
}
"""What pages of other sites can have a browser send."""


class Waits(Module):
    heard: list[str] = []

    async def handle(self, _request: Request) -> Response:
        try:
            await sleep(600)
        except Cancelled as why:
            self.heard.append(f"{why.status} {why.by}")
            raise
        return Response.text("slept")


@pytest.fixture
def audit() -> Iterator[list[str]]:
    """Lines of the log that tell of operators."""
    lines: list[str] = []

    def observe(event: Any) -> None:
        text = (event.get("log_format") or "").format(**event)
        if text.startswith("Operator "):
            lines.append(text)

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


def make(**admin: Any) -> Lab:
    admin = {"operate": True, **admin}
    routes = [{"path": "/", "module": "status", "settings": admin}, {"path": "/held", "module": Waits, "timeout": "5m"}]
    return Lab({"route": routes}, allow_parked=True)


def hold(lab: Lab) -> tuple[ClientRequest, str]:
    """A request that waits, and its id."""
    return lab.get("/held"), lab.parked()[-1]["id"]


def order(lab: Lab, path: str, json: Any = None, headers: dict[str, str] | None = None, **body: Any) -> ClientRequest:
    fields = {**OWN, "Content-Type": "application/json", **(headers or {})}
    return lab.post(path, headers=fields, **(body or {"json": json}))


def test_an_operator_cancels_a_request_with_a_status(audit: list[str]) -> None:
    lab = make()
    held, identity = hold(lab)
    answer = order(lab, f"/requests/{identity}/cancel", {"status": 418}, {"Operator": "alice"})
    assert (answer.status, answer.json()) == (200, {"request": identity, "status": 418})
    assert (held.status, held.text) == (
        418,
        f"418 I'm a Teapot: an operator cancelled the request\nrequest {identity}\n",
    )
    address, port = answer.client.wire.peer
    assert lab.modules[1].heard.pop() == f"418 alice at {address}:{port}"
    title = f"Waits: GET /held ({identity})"
    assert [line.replace(f"{__name__}:", "") for line in audit] == [
        f"Operator alice at {address}:{port}: cancel '{identity}' ({title}): answered 418"
    ]
    assert [record.flag for record in lab.records if record.target == b"/held"] == ["OC"]


def test_what_is_refused_is_a_short_line_of_the_log(audit: list[str]) -> None:
    lab = make()
    for path, key in (("/drain", "k" * 60000), ("/drain", "\n\x1b[31m\x9b"), ("/tickets/x", "")):
        fields = {"Operator": "o" * 5000, "Content-Type": "application/json" if key else "c" * 5000}
        assert order(lab, path, {key: 1}, fields).status in (400, 415)
    assert len(audit) == 3
    assert all(len(line) < 1000 and line.isprintable() for line in audit)


# Tickets.


class Asks(Module):
    async def handle(self, request: Request) -> Response:
        return Response.json(
            await ticket(request.args["name"][0], timeout=60, bind=request.args.get("bind", [None])[0])
        )


def asking(**admin: Any) -> Lab:
    routes = [{"path": "/", "module": "status", "settings": {"operate": True}}, {"path": "/asks", "module": Asks}]
    return Lab({"route": routes, **admin}, allow_parked=True)


def test_a_ticket_is_resumed_with_the_body(audit: list[str]) -> None:
    lab = asking()
    held = lab.get("/asks?name=a/b")
    assert lab.get("/tickets/a%2Fb").json()["state"] == "parked"
    answer = order(lab, "/tickets/a%2Fb", {"ok": [1, None]}, {"Operator": "al"})
    assert (answer.status, held.json()) == (200, {"ok": [1, None]})
    assert answer.json() == {"ticket": "a/b", "state": "settled", "generation": 1, "request": "lab-1"}
    assert audit[-1].endswith(": resume 'a/b': settled, lab-1 goes on")
    again = order(lab, "/tickets/a%2Fb", 2)
    assert (again.status, again.json()["ticket"], again.json()["state"]) == (409, "a/b", "settled")
    assert again.json()["how"].startswith("resumed by al at 127.0.0.1:")
    assert "settled already" in again.json()["error"]
    assert "resume 'a/b': refused, ticket 'a/b' was settled already" in audit[-1]
    assert len(audit) == 2


def test_a_value_that_comes_first_is_remembered(audit: list[str]) -> None:
    lab = asking()
    answer = order(lab, "/tickets/t", data=b"null")
    assert answer.status == 202
    assert answer.json() == {"ticket": "t", "state": "remembered", "generation": 0, "for_s": 60.0}
    assert audit[-1].endswith(": resume 't': remembered, for 60 s")
    assert lab.get("/asks?name=t").json() is None
    assert lab.get("/tickets/none").json() == {"ticket": "none", "state": "unknown"}


@pytest.mark.parametrize(
    ("query", "value", "headers"),
    [
        ("", {"ok": 1}, {"Ticket-Bind": "d1"}),
        ("?bind=d1", [1], {}),
        ("", {"bind": "d1"}, {}),
        ("?bind=d2", {"bind": "d3"}, {"Ticket-Bind": "d1"}),
    ],
)
def test_a_bound_ticket_wants_its_digest(query: str, value: Any, headers: dict[str, str]) -> None:
    lab = asking()
    held = lab.get("/asks?name=t&bind=d1")
    assert order(lab, "/tickets/t", {"bind": "other"}).status == 409
    assert order(lab, "/tickets/t", [2]).json()["state"] == "parked"
    assert order(lab, f"/tickets/t{query}", value, headers).status == 200
    assert held.json() == value


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [("t", b"", 400), ("t", b"{", 400), ("%7F", b"1", 400), ("x" * 300, b"1", 400), ("t", b'"' + b"x" * 70000, 413)],
)
def test_what_no_ticket_can_have_is_refused(name: str, body: bytes, status: int, audit: list[str]) -> None:
    lab = asking()
    assert order(lab, f"/tickets/{name}", data=body).status == status
    assert f"refused, {status}" in audit[0]
    assert lab.get("/tickets/t").json()["state"] == "unknown"


def test_the_longest_value_is_the_configuration_s() -> None:
    assert order(asking(tickets={"value": "1MiB"}), "/tickets/t", "x" * 200_000).status == 202
    answer = order(asking(tickets={"value": "1KiB"}), "/tickets/t", "x" * 2000)
    assert (answer.status, answer.json()["state"]) == (413, "unknown")


def test_more_than_can_be_remembered_is_503() -> None:
    lab = asking(tickets={"max_remembered": 1})
    assert [order(lab, f"/tickets/{name}", 1).status for name in "ab"] == [202, 503]


def test_a_ticket_is_told_of_a_cancelled_request_and_extended() -> None:
    lab = asking()
    held = lab.get("/asks?name=t")
    (row,) = lab.parked()
    assert order(lab, f"/requests/{row['id']}/extend", {"by": "1m"}).json()["deadline_s"] == 120
    lab.advance(119)
    order(lab, f"/requests/{row['id']}/cancel", {"status": 403})
    assert held.status == 403
    late = order(lab, "/tickets/t", 1)
    assert (late.status, late.json()["state"]) == (410, "lapsed")
    assert late.json()["how"] == f"{row['id']} waited for it, but an operator cancelled the request"


def test_tickets_are_resumed_and_looked_at_and_nothing_else() -> None:
    answer = asking().delete("/tickets/t")
    assert (answer.status, answer.headers["allow"]) == (405, "POST, GET, HEAD")


def test_without_a_body_it_is_503() -> None:
    lab = make()
    held, identity = hold(lab)
    assert order(lab, f"/requests/{identity}/cancel", data=b"").json()["status"] == 503
    assert (held.status, held.headers["retry-after"]) == (503, "1")


def test_an_operator_gives_a_request_more_time(audit: list[str]) -> None:
    lab = make()
    held, identity = hold(lab)
    lab.advance(100)
    answer = order(lab, f"/requests/{identity}/extend", {"by": "5m"})
    assert (answer.status, answer.json()) == (200, {"request": identity, "deadline_s": 500})
    assert audit[0].endswith("300 s more, 500.0 s are left")
    lab.advance(499)
    assert held.status is None or held.text == "slept"


def test_the_drain_is_begun_once_it_is_answered(audit: list[str]) -> None:
    lab = make()
    answer = order(lab, "/drain", {})
    assert (answer.status, answer.json(), lab.house.told_to_drain) == (202, {"draining": True}, True)
    assert audit[0].endswith(": drain: begun")


@pytest.mark.parametrize("kind", FORGED)
@pytest.mark.parametrize("call", ["cancel", "extend", "drain", "resume"])
def test_what_a_page_of_another_site_sends_does_nothing(kind: str, call: str, audit: list[str]) -> None:
    headers, status = FORGED[kind]
    lab = make()
    held, identity = hold(lab)
    before = lab.parked()
    path = {"drain": "/drain", "resume": "/tickets/t"}.get(call, f"/requests/{identity}/{call}")
    answer = order(lab, path, {"by": "5m"} if call == "extend" else {}, headers)
    assert (answer.status, list(answer.json())) == (status, ["error"])
    assert (lab.parked(), held.status, lab.house.told_to_drain) == (before, None, False)
    assert lab.house.tickets.look("t").result["state"] == "unknown"
    assert len(audit) == 1
    assert f"refused, {status}: " in audit[0]


def test_a_preflight_is_not_granted() -> None:
    answer = make().request("OPTIONS", "/drain", headers={**OWN, "Origin": "http://evil.example"})
    assert answer.status == 405
    assert not any(name.lower().startswith("access-control") for name, _ in answer.headers)


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/requests/none/cancel", b"{}", 404, "no request has this id"),
        ("/requests/ID/cancel", b'{"status": 200}', 400, "write a number from 400 to 599"),
        ("/requests/ID/cancel", b'{"status": true}', 400, "write a number from 400 to 599"),
        ("/requests/ID/cancel", b'{"staus": 500}', 400, "'staus' is no key of this call"),
        ("/requests/ID/cancel", b"[]", 400, "no object"),
        ("/requests/ID/cancel", b"{", 400, "not JSON"),
        ("/requests/ID/cancel", b"[" * 60000, 400, "not JSON"),
        ("/requests/ID/cancel", b"NaN", 400, "not JSON"),
        ("/requests/ID/cancel", b'"\xff"', 400, "not JSON"),
        ("/requests/ID/cancel", b" " * (LONGEST_BODY + 1), 413, "longer than 65536 bytes"),
        ("/requests/ID/extend", b"", 400, "not JSON"),
        ("/requests/ID/extend", b"{}", 400, "by: None is not a duration"),
        ("/requests/ID/extend", b'{"by": 5}', 400, 'by: 5 has no unit; write "5s"'),
        ("/requests/ID/extend", b'{"by": "0s"}', 400, "more than nothing"),
        ("/requests/ID/extend", b'{"by": "31d"}', 400, "at most 30 days"),
        ("/drain", b'{"now": true}', 400, "send {}"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(path: str, body: bytes, status: int, words: str) -> None:
    lab = make()
    held, identity = hold(lab)
    answer = order(lab, path.replace("ID", identity), data=body)
    assert answer.status == status
    assert words in answer.json()["error"]
    assert held.status is None


def test_a_body_in_chunks_has_the_same_limit() -> None:
    lab = make()
    answer = order(lab, "/drain", data=iter([b" " * 40000, b" " * 40000]))
    assert (answer.status, lab.house.told_to_drain) == (413, False)


def test_calls_are_posts_and_other_paths_are_none() -> None:
    lab = make()
    assert (lab.get("/drain").status, lab.get("/drain").headers["allow"]) == (405, "POST")
    for path in (
        "/drain/",
        "//drain",
        "/requests//cancel",
        "/requests/x/%63ancel/",
        "/requests/%ff/cancel",
        "/drain/x",
    ):
        assert order(lab, path, {}).status in (404, 405), path
    assert not lab.house.told_to_drain


def test_an_id_may_have_any_character() -> None:
    server = {"listen": "tcp:0", "trust_request_id": True}
    routes = [{"path": "/", "module": "status", "settings": {"operate": True}}, {"path": "/held", "module": Waits}]
    lab = Lab({"server": server, "route": routes}, allow_parked=True)
    held = lab.get("/held", headers={"X-Request-ID": "a/b+c:@~="})
    assert order(lab, "/requests/a%2Fb+c:@~=/cancel", {}).status == 200
    assert held.status == 503


def test_a_route_that_shows_the_status_takes_no_orders() -> None:
    lab = make(operate=False)
    assert order(lab, "/drain", {}).status == 405
    assert not lab.house.told_to_drain


# With a token.


@pytest.mark.parametrize("said", [{}, {"Authorization": "Bearer other"}, {"Cookie": "asyncproxy_8081=1.x"}])
def test_a_token_is_wanted_of_who_writes(said: dict[str, str], audit: list[str]) -> None:
    lab = make(token="secret")
    answer = order(lab, "/drain", {}, said)
    assert (answer.status, lab.house.told_to_drain) == (401, False)
    assert audit[0].endswith(": drain: refused, 401")
    assert order(lab, "/drain", {}, {"Authorization": "Bearer secret"}).status == 202


def log_in(lab: Lab, token: str, **headers: str) -> ClientRequest:
    return lab.post(
        "/login", headers={**OWN, **{k.replace("_", "-"): v for k, v in headers.items()}}, data={"token": token}
    )


def test_people_log_in_by_a_form() -> None:
    lab = make(token="secret")
    form = lab.get("/status", headers=OWN)
    assert (form.status, form.headers["www-authenticate"]) == (401, "Bearer")
    assert '<form method="post" action="/login">' in form.text
    wrong = log_in(lab, "secre")
    assert (wrong.status, "set-cookie" in wrong.headers) == (401, False)
    assert "That is not the token." in wrong.text
    entered = log_in(lab, " secret ", Origin="http://127.0.0.1:8081", Sec_Fetch_Site="same-origin")
    assert (entered.status, entered.headers["location"]) == (303, "/status")
    cookie = entered.headers["set-cookie"]
    assert cookie.endswith("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict")
    assert "secret" not in cookie
    fields = {"Cookie": cookie.partition(";")[0]}
    assert lab.get("/status", headers={**OWN, **fields}).status == 200
    assert order(lab, "/drain", {}, {**fields, "Origin": "http://evil.example"}).status == 403
    assert not lab.house.told_to_drain
    assert order(lab, "/drain", {}, fields).status == 202


def test_a_cookie_counts_where_it_was_given_and_for_half_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = make(token="secret")
    cookie = log_in(lab, "secret").headers["set-cookie"].partition(";")[0]
    ends, _, mac = cookie.partition("=")[2].partition(".")

    def status(cookie: str, where: Lab = lab) -> int | None:
        return where.get("/status", headers={**OWN, "Cookie": cookie}).status

    assert status(cookie) == 200
    assert status(cookie, make(token="secret")) == 401
    assert status(f"asyncproxy_8081={int(ends) + 1}.{mac}") == 401
    assert status(f"asyncproxy_8081={ends}.") == status(f"asyncproxy_8081={'9' * 5000}.{mac}") == 401
    monkeypatch.setattr(lab.module._sessions, "_now", lambda: int(ends))
    assert status(cookie) == 401


@pytest.mark.parametrize("kind", ["another origin", "a sandboxed page", "another site"])
def test_nobody_is_logged_in_by_another_site(kind: str) -> None:
    assert log_in(make(token="secret"), "secret", **FORGED[kind][0]).status == 403


def test_a_login_is_a_form_and_where_there_is_no_token_there_is_none() -> None:
    lab = make(token="secret")
    assert lab.post("/login", headers={**OWN, "Content-Type": "text/plain"}, data=b"token=secret").status == 415
    assert log_in(make(), "secret").status == 405
