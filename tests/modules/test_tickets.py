"""The stock module `tickets`: the page behind a signed link, in a lab."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from asyncproxy import Module, ParkTimeout, Request, Response, ticket
from asyncproxy.testing import ClientRequest, Lab


class Asks(Module):
    """Waits for an answer to ``ask``; its link is kept in `url`."""

    blocking = False
    ask = 'Refund <b>40 €</b> to "Ann"?'
    url = ""

    async def handle(self, request: Request) -> Response:
        wait = ticket(request.args.get("name", [None])[0], timeout=600, bind=request.args.get("bind", [None])[0])
        choices = {"<Yes>": {"amount": 40}, "No": None} if request.args.get("choices") else None
        self.url = request.ticket_url(wait, "1h", ask=self.ask, choices=choices)
        try:
            return Response.json({"answer": await wait})
        except ParkTimeout:
            return Response.json("nobody")


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab({"route": [{"path": "/ask", "module": Asks}, {"path": "/t/", "module": "tickets"}]}) as lab:
        yield lab


def path(lab: Lab) -> str:
    return urlsplit(lab.module.url).path


def click(lab: Lab, choice: object = 0, link: str = "") -> ClientRequest:
    return lab.post(link or path(lab), data={"choice": str(choice)})


def title(page: ClientRequest) -> str:
    found = re.search("<h1>(.*)</h1>", page.text, re.DOTALL)
    assert found, page.text
    return found[1]


def test_a_click_answers_the_request_that_waits(lab: Lab) -> None:
    asked = lab.get("/ask")
    page = lab.get(path(lab))
    assert (page.status, page.text.count("<button"), asked.status) == (200, 2, None)
    assert title(click(lab)) == "Thank you: Approve"
    assert asked.json() == {"answer": True}


def test_the_other_button_answers_otherwise(lab: Lab) -> None:
    asked = lab.get("/ask")
    click(lab, 1)
    assert asked.json() == {"answer": False}


def test_a_link_has_the_buttons_that_it_was_made_with(lab: Lab) -> None:
    asked = lab.get("/ask?choices=own")
    assert "&lt;Yes&gt;</button>" in lab.get(path(lab)).text
    click(lab, 0)
    assert asked.json() == {"answer": {"amount": 40}}


def test_what_is_asked_is_text_and_not_markup(lab: Lab) -> None:
    lab.get("/ask")
    page = lab.get(path(lab))
    assert title(page) == "Refund &lt;b&gt;40 €&lt;/b&gt; to &quot;Ann&quot;?"
    click(lab)


def test_opening_a_link_changes_nothing_however_often(lab: Lab) -> None:
    asked = lab.get("/ask")
    for method in ("GET", "HEAD", "GET"):
        assert lab.request(method, path(lab)).status == 200
    assert lab.request("PUT", path(lab)).status == 405
    assert asked.status is None
    click(lab)


def test_a_link_works_once_and_then_says_so(lab: Lab) -> None:
    lab.get("/ask")
    click(lab)
    again = click(lab, 1)
    assert (again.status, title(again)) == (409, "This was answered already.")
    assert "<button" not in lab.get(path(lab)).text


def test_a_link_that_was_used_does_not_answer_who_waits_for_the_same_name_later(lab: Lab) -> None:
    lab.get("/ask?name=approve")
    used = path(lab)
    click(lab)
    later = lab.get("/ask?name=approve")
    again = click(lab, 0, used)
    assert (again.status, title(again), later.status) == (409, "This link, or another one, was used already.", None)
    click(lab)
    assert later.json() == {"answer": True}


def test_a_link_of_a_question_that_was_changed_answers_no_other(lab: Lab) -> None:
    first = lab.get("/ask?name=approve&bind=one")
    old = path(lab)
    lab.advance(601)
    assert first.json() == "nobody"
    second = lab.get("/ask?name=approve&bind=two")
    assert click(lab, 0, old).status == 409
    assert second.status is None
    click(lab)
    assert second.json() == {"answer": True}


def test_an_answer_that_comes_too_late_is_told_so(lab: Lab) -> None:
    lab.get("/ask")
    lab.advance(601)
    assert title(lab.get(path(lab))) == "Nobody waits for this answer any more."
    late = click(lab)
    assert (late.status, title(late)) == (410, "Nobody waits for this answer any more.")


def test_who_answers_so_late_that_nobody_knows_of_the_question_is_not_thanked(lab: Lab) -> None:
    lab.get("/ask")
    lab.advance(600 + 601)  # lapsed, and that is forgotten
    late = click(lab)
    assert (late.status, title(late)) == (202, "Nobody waits for this right now: Approve")


def test_a_link_that_has_expired_is_410_and_one_that_is_not_ours_404(lab: Lab) -> None:
    lab.get("/ask")
    assert click(lab, 0, path(lab)[:-2]).status == 404
    assert lab.get("/t/").status == 404
    lab.advance(3601)
    assert (lab.get(path(lab)).status, click(lab).status) == (410, 410)


@pytest.mark.parametrize("data", [{}, {"choice": "2"}, {"choice": "-1"}, {"choice": "²"}, "x" * 9000, b"\xff"])
def test_what_is_no_button_is_400_and_the_link_still_works(lab: Lab, data: Any) -> None:
    asked = lab.get("/ask")
    assert lab.post(path(lab), data=data).status == 400
    click(lab)
    assert asked.json() == {"answer": True}


def test_an_answer_that_comes_before_the_question_is_waited_for_is_kept(lab: Lab) -> None:
    link = urlsplit(lab.ticket_url("early", 60)).path
    page = click(lab, 0, link)
    assert (page.status, title(page)) == (202, "Nobody waits for this right now: Approve")
    assert "kept for 1m, and counts if it is asked for by then" in page.text
    assert lab.get("/ask?name=early").json() == {"answer": True}


def test_the_page_is_for_whoever_has_the_link_alone(lab: Lab) -> None:
    lab.get("/ask")
    headers = lab.get(path(lab)).headers
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert "noindex" in headers["x-robots-tag"]
    assert "default-src 'none'" in headers["content-security-policy"]
    click(lab)
