"""What a client reads when something goes wrong: in its own form, with its id, and nothing of what is behind us."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from asyncproxy import Module, ParkTimeout, Request, Response, UpstreamError, ticket
from asyncproxy.testing import Lab
from tests.fakes import House

SECRET = "http://secret.internal:9000"


class Forwards(Module):
    to: str = ""

    async def handle(self, request: Request) -> Response:
        return await request.forward(self.to or None)


class Fetches(Module):
    async def handle(self, request: Request) -> Response:
        return Response.text((await request.fetch(f"{SECRET}/price")).text())


class Awaits(Module):
    async def handle(self, _request: Request) -> Response:
        await ticket(timeout=5, bind="secret")
        return Response()


class Claims(Module):
    async def handle(self, _request: Request) -> Response:
        await ticket("secret-7", timeout=5)
        return Response()


class Raises(Module):
    async def handle(self, _request: Request) -> Response:
        raise UpstreamError("bad", "the shop is closed", SECRET, f"no {SECRET}")


def ask(house: House, *lines: bytes, method: bytes = b"GET") -> Any:
    client = house.connect()
    client.send(method + b" / HTTP/1.1\r\nHost: a\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n")
    house.settle()
    return client


def refused(*lines: bytes, method: bytes = b"GET", **server: Any) -> Any:
    house = House(server=server)
    house.network.mode = "refuse"
    return ask(house, *lines, method=method)


def test_an_error_has_the_form_that_the_client_asks_for_and_its_request_s_id() -> None:
    for accept, begins in (
        (b"*/*", b"502 Bad Gateway: "),
        (b"application/json", b'{"error"'),
        (b"text/html", b"<!DOCTYPE"),
    ):
        client = refused(b"Accept: " + accept)
        given = client.house.flow.prefix.encode() + b"-1"
        assert client.status == 502
        assert b"\r\nX-Request-ID: " + given + b"\r\n" in client.received
        assert client.body.startswith(begins)
        assert given in client.body
        assert client.house.records[0].id.encode() == given


def test_the_id_is_in_the_body_though_no_field_tells_it() -> None:
    client = refused(request_id_header="off")
    assert client.body.endswith(b"\nrequest %b-1\n" % client.house.flow.prefix.encode())


def test_head_has_the_fields_and_no_body() -> None:
    client = refused(b"Accept: application/json", method=b"HEAD")
    assert client.body == b""
    assert b"\r\nContent-Type: application/json\r\n" in client.received
    assert b"\r\nContent-Length: 0" not in client.received


def test_what_cannot_be_read_is_told_in_text() -> None:
    house = House()
    client = house.connect()
    client.send(b"GET / HTTP/1.1\r\nAccept: text/html\r\nHost: a b\r\n\r\n")
    house.settle()
    assert client.status == 400
    assert b"\r\nContent-Type: text/plain; charset=utf-8\r\n" in client.received
    assert client.body.endswith(b"\nrequest %b-1\n" % house.flow.prefix.encode())


def test_a_refusal_before_a_module_hears_of_it_has_its_form_too() -> None:
    house = House(route={"methods": ["GET"]})
    client = ask(house, b"Accept: application/json", b"Content-Length: 0", method=b"POST")
    assert (client.status, json.loads(client.body)["error"]["detail"]) == (405, "this path takes GET, HEAD")
    assert b"\r\nAllow: GET, HEAD\r\n" in client.received


def test_an_error_of_a_route_that_tells_its_time_has_its_form_too() -> None:
    house = House(Raises(), route={"server_timing": True})
    client = ask(house, b"Accept: application/json")
    assert json.loads(client.body)["error"]["detail"] == "the shop is closed (bad)"


@pytest.mark.parametrize(
    ("lab", "fails", "status"),
    [
        (Lab(Forwards, settings={"to": SECRET}), lambda lab: lab.upstream(SECRET).fail("refused"), 502),
        (Lab(Forwards, settings={"to": SECRET}), lambda lab: lab.upstream(SECRET).fail("unresolved"), 502),
        (Lab(Forwards, settings={"to": SECRET}), lambda lab: lab.upstream(SECRET).fail("bad"), 502),
        (Lab(Forwards, settings={"to": SECRET + "/a?b"}), lambda lab: None, 502),
        (Lab(Fetches), lambda lab: lab.upstream(SECRET).fail("refused"), 502),
        (Lab(Fetches), lambda lab: lab.upstream(SECRET).fail(UpstreamError("bad", "no", SECRET, SECRET)), 502),
        (Lab(Awaits), lambda lab: lab.advance(6), 504),
        (Lab(Raises), lambda lab: None, 502),
    ],
)
def test_no_client_reads_what_is_behind_us(lab: Lab, fails: Any, status: int) -> None:
    requests = [lab.get("/", headers={"Accept": kind}) for kind in ("text/plain", "application/json", "text/html")]
    for _ in requests:
        fails(lab)
    for request in requests:
        assert request.status == status
        assert "secret" not in request.text
        assert "9000" not in request.text
    lab.stop()


def test_a_module_and_the_log_hear_what_a_client_does_not() -> None:
    class Tells(Module):
        async def handle(self, _request: Request) -> Response:
            try:
                await ticket("secret-7", timeout=5)
            except ParkTimeout as error:
                return Response.text(str(error))
            return Response()

    lab = Lab(Tells)
    request = lab.get("/")
    lab.advance(6)
    assert request.text == "nothing came within 5 s: ticket 'secret-7'"


def test_an_operator_s_pages_are_shown(tmp_path: Path) -> None:
    (tmp_path / "5xx.html").write_text("<h1>{status}</h1>{words} {id}", "utf-8")
    (tmp_path / "README.md").write_text("no page", "utf-8")
    client = refused(b"Accept: text/html", error_pages=str(tmp_path))
    assert client.body.startswith(b"<h1>502</h1>the upstream refused the connection (refused) ")


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        (None, 'server.error_pages: there is no directory "{}"; looked in .*: make it, or mend its name'),
        ({}, 'server.error_pages: "{}" has no pages; call them for example 502.html'),
        ({"readme.txt": b""}, 'server.error_pages: "{}" has no pages'),
        ({"50x.html": b""}, 'server.error_pages: "50x.html" is no page for an error; call it for example 502.html'),
        ({"200.html": b""}, 'server.error_pages: "200.html" is no page'),
        ({"502.html": b"\xff"}, 'server.error_pages: ".*502.html" is not UTF-8 at byte 0'),
        ({"502.html": b"x" * ((1 << 20) + 1)}, 'server.error_pages: ".*502.html" is longer than 1048576 characters'),
        ({"502.json": b"{"}, "server.error_pages: 502.json is no JSON when"),
    ],
)
def test_what_is_wrong_with_them_is_said_at_start(tmp_path: Path, files: dict[str, bytes] | None, problem: str) -> None:
    where = tmp_path / "pages"
    if files is not None:
        where.mkdir()
        for name, data in files.items():
            (where / name).write_bytes(data)
    with pytest.raises(ValueError, match=problem.format(where)):
        House(server={"error_pages": str(where)})


@pytest.mark.parametrize("value", [1, "", True])
def test_a_directory_is_named_by_text(value: Any) -> None:
    with pytest.raises(ValueError, match=r"server\.error_pages: .* is no directory; write for example"):
        House(server={"error_pages": value})


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "page").write_text("", "utf-8")
    with pytest.raises(ValueError, match="cannot be read: Not a directory; it has to be a directory of pages"):
        House(server={"error_pages": str(tmp_path / "page")})


def test_who_comes_second_for_a_ticket_does_not_read_its_name() -> None:
    lab = Lab(Claims, allow_parked=True)
    lab.get("/")
    second = lab.get("/")
    assert (second.status, "secret" in second.text) == (409, False)
    lab.stop()
