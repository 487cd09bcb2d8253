"""What ``--check`` says of tickets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import asyncproxy
from asyncproxy import RAISE, Duration, Module, Request, Response, ticket
from asyncproxy.configuration import describe, load
from asyncproxy.service import bind_all
from asyncproxy.service.policies import ticket_policies

NO = False
YES = {"approved": True}
WORDS: dict[str, Any] = {"name": "words"}


async def asks(name: str) -> None:
    await ticket(name, 60, YES)


async def asks_by_another(name: str) -> None:
    await asks(name)
    await asks_by_another(name)


class Base(Module):
    async def inherited(self) -> None:
        await ticket("inherited", default=RAISE)


class Approval(Base):
    patience: Duration = 600.0

    async def handle(self, request: Request) -> Response:
        await ticket(f"approve-{request.path}", timeout=self.patience, default="deny")
        await asyncproxy.ticket()
        await ticket("shop", 30, True)
        await ticket("other", timeout=int(request.query), default=NO)
        self.ticket("none of ours")
        return Response()

    def ticket(self, name: str) -> None:
        """Another one's."""


class Evades(Module):
    async def handle(self, request: Request) -> Response:
        await asks_by_another("far")
        await ticket("dict", 60, {"by": "nobody", "all": [{"ok": True}]})
        await ticket("never", default=True)
        await ticket(*request.args["name"])
        await ticket(**WORDS)
        return Response()


class Waits(Module):
    async def handle(self, _request: Request) -> Response:
        return Response()


def rows(*routes: dict[str, object]) -> list[tuple[str, ...]]:
    settings = load({"server": {"listen": "tcp:1"}, "route": list(routes)})
    return ticket_policies(bind_all(settings.route, "settings"))


def route(kind: type, path: str = "/", **more: object) -> dict[str, object]:
    return {"path": path, "module": f"{__name__}:{kind.__name__}", **more}


def test_every_ticket_of_a_module_is_listed_with_its_patience_and_what_comes_after() -> None:
    head, *found = rows(route(Approval, settings={"patience": "5m"}))
    assert head == ("PATH", "TICKET", "AT", "WAITS", "THEN")
    assert sorted((name, waits, then) for _, name, _, waits, then in found) == [
        ("'inherited'", "without limit", "ParkTimeout (504)"),
        ("'other'", "int(request.query)", "goes on with NO"),
        ("'shop'", "30s", "goes on with True: silence allows"),
        ("(unguessable)", "without limit", "ParkTimeout (504)"),
        ("f'approve-{request.path}'", "5m", "goes on with 'deny'"),
    ]


def test_a_silent_yes_is_found_where_it_hides_and_what_cannot_be_known_is_not_claimed() -> None:
    found = [(name, waits, then) for _, name, _, waits, then in rows(route(Evades, timeout="30s"))[1:]]
    assert sorted(found) == [
        ("'dict'", "1m", "goes on with {'by': 'nobody', 'all': [{'ok': True}]}: silence allows"),
        (
            "'never'",
            "30s (the route's)",
            "ParkTimeout (504): without a timeout of its own, True is never given",
        ),
        ("(unknown)", "(unknown)", "(unknown)"),
        ("(unknown)", "(unknown)", "(unknown)"),
        ("name", "1m", "goes on with YES: silence allows"),
    ]


def test_where_a_ticket_is_awaited_is_told_by_file_and_line() -> None:
    source = Path(__file__).read_text().splitlines()
    for _, name, where, _, _ in rows(route(Approval))[1:]:
        file, _, line = where.partition(":")
        assert file == "test_policies.py"
        assert "ticket(" in source[int(line) - 1]
        assert name == "(unguessable)" or name.strip("f'")[:7] in source[int(line) - 1]


def test_a_ticket_without_a_time_out_has_the_routes() -> None:
    waits = {name: waits for _, name, _, waits, _ in rows(route(Approval, timeout="20m"))[1:]}
    assert waits["(unguessable)"] == "20m (the route's)"


def test_modules_without_tickets_have_no_rows() -> None:
    assert rows(route(Waits), {"path": "/t/", "module": "tickets"}) == []


def test_a_description_shows_the_tickets_and_keeps_the_keys_to_itself() -> None:
    settings = load(
        {"server": {"listen": "tcp:1"}, "tickets": {"keys": "a secret of ours"}, "route": [route(Approval)]}
    )
    text = describe(settings, ticket_policies(bind_all(settings.route, "settings")))
    assert "tickets seen in the modules\n  PATH  TICKET" in text
    assert "tickets.keys  1, not shown" in text
    assert "a secret" not in text + repr(settings)
