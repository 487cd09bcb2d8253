"""What an early head says, which bodies may follow it, and how an error is told in its body."""

from __future__ import annotations

import json

import pytest

from asyncproxy.exchange.early_head import EARLY_HEADS, asking_plainly, late_fields
from asyncproxy.exchange.errors import error_object

SSE, JSON = EARLY_HEADS["sse"], EARLY_HEADS["json"]


def block(**fields: str) -> bytes:
    return b"".join(f"\r\n{name.replace('_', '-')}: {value}".encode() for name, value in fields.items())


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (SSE, "text/event-stream"),
        (SSE, "Text/Event-Stream; charset=utf-8"),
        (JSON, "application/json"),
        (JSON, "application/json;charset=utf-8"),
        (JSON, "application/vnd.api+json"),
    ],
)
def test_a_body_of_the_kind_that_was_told_may_follow(head, kind):
    assert head.misfit(200, block(Content_Type=kind)) == ""
    assert head.misfit(200, block(content_type=kind, Content_Encoding="identity")) == ""


@pytest.mark.parametrize(
    ("head", "status", "fields", "why"),
    [
        (SSE, 204, {}, "the answer is 204 No Content"),
        (SSE, 299, {}, "the answer is 299"),
        (SSE, 200, {}, "the answer is of no content type, not text/event-stream"),
        (SSE, 200, {"Content_Type": "text/html; x=y"}, "the answer is text/html, not text/event-stream"),
        (
            JSON,
            200,
            {"Content_Type": "application/x-ndjson"},
            "the answer is application/x-ndjson, not application/json",
        ),
        (JSON, 404, {"Content_Type": "application/json"}, "the answer is 404 Not Found"),
        (
            JSON,
            200,
            {"Content_Type": "application/json", "Content_Encoding": "GZIP"},
            "the answer is encoded with gzip, and it is too late to tell",
        ),
    ],
)
def test_any_other_answer_may_not_and_the_reason_is_told(head, status, fields, why):
    assert head.misfit(status, block(**fields)) == why


def test_an_event_of_an_error_is_one_line_of_data_whatever_the_detail_says():
    event = SSE.error(504, "not in\ntime: é", "a-1")
    before, after = b"event: error\ndata: ", b"\n\n"
    assert event.startswith(before)
    assert event.endswith(after)
    data = event.removeprefix(before).removesuffix(after)
    assert b"\n" not in data
    assert json.loads(data) == {
        "error": {"status": 504, "title": "Gateway Timeout", "detail": "not in\ntime: é", "request": "a-1"}
    }


def test_an_error_after_white_space_is_a_json_text():
    assert json.loads(JSON.tick * 3 + JSON.error(503, "", "a-2")) == json.loads(error_object(503, "", "a-2"))


def test_fields_that_came_too_late_are_named_but_those_that_say_nothing_new():
    told = block(Content_Type="application/json", Set_Cookie="a=b", ETag="x", Content_Length="3", Via="1.1 b", etag="y")
    assert late_fields(told) == ["etag", "set-cookie"]
    assert late_fields(b"") == []


def test_a_request_asks_for_no_coding_and_is_else_the_same():
    before = b"\r\nHost: a\r\nAccept-Encoding: gzip, br\r\naccept: x\r\naccept-encoding: zstd"
    after = b"\r\nHost: a\r\nAccept-Encoding: identity\r\naccept: x\r\nAccept-Encoding: identity"
    assert asking_plainly("GET", before) == after
    assert asking_plainly("GET", b"\r\nHost: a") == b"\r\nHost: a"
