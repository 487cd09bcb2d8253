from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncproxy.exchange.ledger import Seconds
from asyncproxy.exchange.record import (
    BLOCK_KEPT,
    FIELD_KEPT,
    Record,
    Refused,
    Told,
    combined,
    combined_lines,
    json_lines,
    kept,
)
from tests.records import NOTHING_SPENT
from tests.records import told as made

BLOCK = b"\r\nHost: a\r\nReferer: http://from/\r\nuser-agent: \tcurl/8 \r\nX: y"


def one(target: bytes = b"/x?y=1", **given: Any) -> Told:
    of_exchange: dict[str, Any] = {
        "id": "abc-7",
        "upstream": "http://h:9000",
        "attempts": 1,
        "block": BLOCK,
        "parks": 1,
    }
    seconds = Seconds(0.25, 0.0, 0.0, 0.0, 1.0, 0.0)
    own = {"time": 1_700_000_000.25, "size": 12, "duration": 1.25, "seconds": seconds}
    return made(target, **{**of_exchange, **own, **given})


def as_json(told: Told) -> bytes:
    line = json_lines([told])
    assert line.endswith(b"}\n")
    return line[:-1]


def test_a_combined_line_is_apache_s() -> None:
    assert combined(one()) == (
        '127.0.0.1 - - [14/Nov/2023:22:13:20 +0000] "GET /x?y=1 HTTP/1.1" 200 12 "http://from/" "curl/8"'
    )


def test_what_a_combined_line_does_not_know_is_a_dash() -> None:
    assert combined(one(size=0, block=b"\r\nReferer: ", minor=0)).endswith('"GET /x?y=1 HTTP/1.0" 200 - "-" "-"')


def test_a_client_that_left_has_a_number_that_readers_of_combined_lines_know() -> None:
    assert '" 499 - "' in combined(one(status=0, size=0))
    assert json.loads(as_json(one(status=0)))["status"] == 0


def test_a_json_line_has_all_of_it() -> None:
    assert json.loads(as_json(one(flag="UT", detail="timeout:idle"))) == {
        "time": "2023-11-14T22:13:20.250Z",
        "client": "127.0.0.1",
        "method": "GET",
        "target": "/x?y=1",
        "http": "1.1",
        "status": 200,
        "bytes": 12,
        "duration_s": 1.25,
        "route": "/",
        "module": "reverse",
        "upstream": "http://h:9000",
        "attempts": 1,
        "ledger_s": {"receiving": 0.25, "queued": 0, "working": 0, "parked": 0, "upstream": 1.0, "sending": 0},
        "parks": 1,
        "id": "abc-7",
        "flag": "UT",
        "detail": "timeout:idle",
        "referer": "http://from/",
        "user_agent": "curl/8",
    }


def test_a_method_that_another_server_let_through_forges_no_field() -> None:
    told = one()
    told[0].request.method = 'GE"T\n'
    assert r'"GE\x22T\x0A /x?y=1 HTTP/1.1"' in combined(told)
    assert b"\n" not in as_json(told)


def test_a_request_that_asked_no_upstream_says_so() -> None:
    assert json.loads(as_json(one(upstream=None)))["upstream"] is None


def test_the_first_of_repeated_fields_counts() -> None:
    block = b"\r\nUser-Agent: one\r\nUser-Agent: two"
    assert json.loads(as_json(one(block=block)))["user_agent"] == "one"


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b'a"b\\c', r"a\x22b\x5Cc"),
        (b"a\nb\x1b[2J\x7f", r"a\x0Ab\x1B[2J\x7F"),
        ("ü".encode(), r"\xC3\xBC"),
        (b"\xff", r"\xFF"),
    ],
)
def test_a_combined_line_is_escaped_as_nginx_does(raw: bytes, said: str) -> None:
    line = combined(one(target=b"/" + raw, block=b"\r\nUser-Agent: " + raw))
    assert f'"GET /{said} HTTP/1.1"' in line
    assert line.endswith(f'"{said}"')


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("ü".encode(), "ü"),
        (b"\xff", r"\xff"),
        (b"\x1b[2J", r"\x1b[2J"),
        (b"\xc2\x9b", r"\xc2\x9b"),
        ("ü\n".encode(), r"\xc3\xbc\x0a"),
    ],
)
def test_a_json_line_is_text_that_prints(raw: bytes, said: str) -> None:
    assert json.loads(as_json(one(target=raw)))["target"] == said


@given(st.binary(), st.binary(), st.text())
def test_no_request_makes_two_lines_or_more_fields(target: bytes, agent: bytes, client: str) -> None:
    told = one(target=target, block=b"\r\nUser-Agent: " + agent, client=client.encode("utf-8", "replace").decode())
    line = combined(told)
    assert line.isascii()
    assert line.isprintable()
    assert line.count('"') == 6
    assert b"\n" not in as_json(told)
    json.loads(as_json(told))


def test_each_record_is_a_line() -> None:
    records = [one(id="a"), one(id="b")]
    assert [json.loads(line)["id"] for line in json_lines(records).splitlines()] == ["a", "b"]
    assert combined_lines(records) == 2 * (combined(one()).encode() + b"\n")


def test_the_first_of_each_field_counts_in_a_long_head_too() -> None:
    long = b"\r\nX: " + b"x" * BLOCK_KEPT
    block = b"\r\nReferer: one\r\nReferer: two\r\nUser-Agent: me\r\nUser-Agent: you" + long
    line = json.loads(as_json(one(block=block)))
    assert (line["referer"], line["user_agent"]) == ("one", "me")


def test_a_line_has_a_bounded_part_of_a_long_head() -> None:
    assert kept(BLOCK) is BLOCK
    long = b"\r\nX: " + b"x" * BLOCK_KEPT + BLOCK + b"\r\nReferer: " + b"y" * 60_000
    assert json.loads(as_json(one(block=long)))["user_agent"] == "curl/8"
    assert combined(one(block=long)).endswith('"curl/8"')
    assert len(kept(b"\r\nReferer: " + b"y" * 60_000 + BLOCK)) < 2 * FIELD_KEPT
    assert len(as_json(one(block=b"\r\nReferer: " + b"y" * 60_000))) < 2 * FIELD_KEPT
    assert len(kept(b"\r\nUser-Agent: x" * 5_000)) < 100


def test_what_was_refused_has_a_line_without_a_route() -> None:
    refused = Refused(one()[0].request, "DPE", "limits.head")
    line = json.loads(as_json((refused, 431, 7, 1_700_000_000.25, 0.0, NOTHING_SPENT, 0)))
    assert [line[key] for key in ("route", "module", "upstream", "attempts", "flag")] == ["", "", None, 0, "DPE"]
    assert (line["status"], line["detail"], line["target"]) == (431, "limits.head", "/x?y=1")
    assert repr(refused) == "<Refused <Request GET /x?y=1 (abc-7) from 127.0.0.1> for DPE limits.head>"


def test_a_record_is_read_by_the_names_that_its_line_has() -> None:
    told = one(flag="UT", detail="timeout:idle")
    record, line = Record.of(told), json.loads(as_json(told))
    names = ("client", "method", "route", "module", "upstream", "attempts", "parks", "id", "flag", "detail", "status")
    assert {name: getattr(record, name) for name in names} == {name: line[name] for name in names}
    assert (record.time, record.size, record.duration) == (1_700_000_000.25, 12, 1.25)
    assert record.spent == tuple(line["ledger_s"].values())
    assert (record.target, record.minor, record.block) == (b"/x?y=1", 1, BLOCK)
