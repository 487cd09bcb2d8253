"""The examples' configurations and modules, in a lab; `tests/wire/test_examples.py` runs them in earnest."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from twisted.logger import capturedLogs, formatEvent

from asyncproxy.configuration import load
from asyncproxy.testing import Lab
from examples.demo.relay import Relay
from examples.llm_gateway.gateway import Gateway
from examples.llm_gateway.model import Model
from examples.webhook.payments import signature

EXAMPLES = Path(__file__).parents[1] / "examples"
DEMO = EXAMPLES / "demo" / "proxy.toml"
COMMENT = ": keep-alive\n\n"


@pytest.fixture
def example() -> Iterator[Callable[[str], Lab]]:
    """A lab of an example by its folder; nothing may be left behind."""
    labs: list[Lab] = []

    def lab_of(folder: str) -> Lab:
        labs.append(Lab(EXAMPLES / folder / "proxy.toml"))
        return labs[-1]

    yield lab_of
    for lab in labs:
        assert lab.stop() == []


def test_the_demo_s_module_greets() -> None:
    lab = Lab(DEMO)
    request = lab.get("/hello-from-a-module?name=Ada")
    assert lab.parked()[0]["at"].startswith("hello.py:")
    lab.advance(0.2)
    assert request.text.startswith("good day Ada, it is ")


def test_the_demo_passes_everything_else_on() -> None:
    lab = Lab(DEMO)
    request = lab.get("/x")
    lab.upstream("demo").answer(body=b"reply")
    assert request.body == b"reply"


def test_the_show_s_module_is_parked_until_the_reply_comes() -> None:
    lab = Lab(Relay)
    request = lab.get("/")
    assert lab.snapshot()["stages"]["PARKED"] == 1
    lab.upstream().answer(body=b"reply")
    assert request.body == b"reply"
    assert lab.workers.done == 2


def test_each_example_has_a_readme_that_names_its_configurations() -> None:
    folders = [folder for folder in EXAMPLES.iterdir() if (folder / "README.md").exists()]
    assert {folder.name for folder in folders} >= {"approval", "llm_gateway", "long_poll", "webhook"}
    for folder in folders:
        said = (folder / "README.md").read_text()
        for file in folder.glob("*.toml"):
            assert file.name in said, file
            if file.name != "pyproject.toml" and folder.name != "thirdparty":
                assert load(file).route


# A human approves.

SHOP = "http://127.0.0.1:9000"
DEAR = {"item": "a boat", "price": 5000}


def order(lab: Lab, what: dict[str, Any]) -> tuple[Any, str]:
    """An order, and the path of the link that asks for it."""
    with capturedLogs() as events:
        request = lab.post("/orders", json=what)
        lab.settle()
    found = re.search(r"May we buy .* (http\S+)", "\n".join(map(str, map(formatEvent, events))))
    return request, urlsplit(found[1]).path if found else ""


def test_a_cheap_order_needs_nobody(example: Callable[[str], Lab]) -> None:
    lab = example("approval")
    request, link = order(lab, {"item": "a pen", "price": 2})
    assert not link
    lab.upstream(SHOP).answer(json={"bought": "a pen"})
    assert request.json() == {"bought": "a pen"}


def test_an_expensive_order_waits_for_a_click(example: Callable[[str], Lab]) -> None:
    lab = example("approval")
    request, link = order(lab, DEAR)
    (row,) = lab.parked()
    assert row["at"].startswith("purchases.py:")
    lab.advance(40)
    assert (request.status, request.body) == (200, b"\n\n")
    assert "May we buy a boat for 5000.00?" in lab.get(link).text
    assert lab.post(link, data={"choice": "0"}).status == 200
    lab.upstream(SHOP).answer(json={"bought": "a boat"})
    assert request.json() == {"bought": "a boat"}


@pytest.mark.parametrize("answer", ["1", None], ids=["no", "silence"])
def test_what_nobody_approves_of_is_not_bought(example: Callable[[str], Lab], answer: str | None) -> None:
    lab = example("approval")
    request, link = order(lab, DEAR)
    lab.advance(20)
    if answer is None:
        lab.advance(600)
    else:
        lab.post(link, data={"choice": answer})
    assert request.json()["error"]["status"] == 403
    assert request.json()["error"]["detail"] == "a boat was not approved"


def test_what_is_no_order_is_told_at_once(example: Callable[[str], Lab]) -> None:
    assert order(example("approval"), {"item": "a pen"})[0].status == 400


# A language model.


def prompt(lab: Lab, words: str, user: str = "ada") -> Any:
    return lab.post("/v1/chat", json={"prompt": words}, headers={"x-user": user, "content-type": "application/json"})


def test_a_model_s_words_are_streamed_behind_comments(example: Callable[[str], Lab]) -> None:
    lab = example("llm_gateway")
    request = prompt(lab, "say yes")
    lab.advance(40)
    assert request.text == COMMENT * 2
    asked = lab.upstream("model")
    assert asked.requests[0].headers["authorization"] == "Bearer secret"
    asked.answer(headers={"content-type": "text/event-stream"}, body=[b"data: 1\n\n", b"data: 2\n\n"])
    assert request.text == COMMENT * 2 + "data: 1\n\ndata: 2\n\n"
    assert not lab.module.lines


def test_the_prompts_of_a_user_wait_in_line_and_others_do_not(example: Callable[[str], Lab]) -> None:
    lab = example("llm_gateway")
    mine = [prompt(lab, str(number)) for number in range(3)]
    other = prompt(lab, "other", "bob")
    asked = lab.upstream("model")
    assert len(asked.requests) == 2
    lab.disconnect(mine[1])
    stream = {"content-type": "text/event-stream"}
    for _ in range(3):
        asked.answer(headers=stream, body=b"data: x\n\n")
    assert [request.text for request in (mine[0], other, mine[2])] == ["data: x\n\n"] * 3
    assert len(asked.requests) == 3
    assert not lab.module.lines


def test_beyond_what_may_wait_a_prompt_is_refused(example: Callable[[str], Lab]) -> None:
    lab = example("llm_gateway")
    requests = [prompt(lab, str(number)) for number in range(12)]
    assert requests[-1].status == 429
    assert prompt(lab, "x", "").status == 401
    for request in requests[:-1]:
        lab.disconnect(request)
    assert not lab.module.lines


def test_a_long_prompt_hears_comments_in_line_too(example: Callable[[str], Lab]) -> None:
    lab = example("llm_gateway")
    requests = [prompt(lab, letter * 200_000) for letter in "ab"]
    lab.advance(16)
    assert [request.text for request in requests] == [COMMENT] * 2
    for number in range(2):
        asked = lab.upstream("model")
        assert len(asked.requests[number].body) > 200_000
        asked.answer(headers={"content-type": "text/event-stream"}, body=b"data: x\n\n")
    assert [request.text for request in requests] == [COMMENT + "data: x\n\n"] * 2


def test_a_prompt_is_served_where_nobody_may_wait() -> None:
    lab = Lab(Gateway, upstream="http://model", settings={"key": "secret", "waiting": 0})
    first, second = prompt(lab, "1"), prompt(lab, "2")
    assert second.status == 429
    lab.upstream().answer(json={"said": "yes"})
    assert first.json() == {"said": "yes"}
    assert lab.stop() == []


def test_a_model_s_refusal_is_told_and_the_next_prompt_has_its_turn(example: Callable[[str], Lab]) -> None:
    lab = example("llm_gateway")
    first, second = prompt(lab, "1"), prompt(lab, "2")
    lab.advance(20)
    lab.upstream("model").answer(429, json={"error": "slow down"})
    error = json.loads(first.text.removeprefix(COMMENT + "event: error\ndata: "))["error"]
    assert (error["status"], error["detail"]) == (429, '{"error": "slow down"}')
    lab.upstream("model").answer(401, json={"error": "wrong key"})
    assert "wrong key" in second.text
    assert not lab.module.lines


def test_a_client_that_leaves_in_the_middle_has_the_model_cancelled(example: Callable[[str], Lab]) -> None:
    lab = example("llm_gateway")
    request = prompt(lab, "go on for ever")
    (answer,) = lab.upstream("model").requests
    answer.begin(headers={"content-type": "text/event-stream"})
    answer.send(b"data: 1\n\n")
    assert request.text == "data: 1\n\n"
    lab.disconnect(request)
    assert answer.cancelled
    assert not lab.module.lines


def test_the_model_speaks_word_by_word() -> None:
    lab = Lab(Model)
    request = lab.post("/", json={"prompt": "good day"}, headers={"authorization": "Bearer secret"})
    lab.advance(1.1)
    assert request.text == 'data: {"word":"good"}\n\n'
    lab.advance(1)
    assert request.text.endswith("data: [DONE]\n\n")
    assert lab.post("/", json={"prompt": ""}).status == 401


# Channels.


def test_who_waits_hears_the_next_message_and_what_to_ask_for_then(example: Callable[[str], Lab]) -> None:
    lab = example("long_poll")
    waiting = [lab.get("/channels/a") for _ in range(3)]
    elsewhere = lab.get("/channels/b")
    lab.disconnect(waiting[2])
    said = lab.post("/channels/a", json={"words": "good day"})
    assert (said.status, said.json()) == (201, {"number": 0, "heard": 2})
    for request in waiting[:2]:
        assert request.json() == {"messages": [{"words": "good day"}], "next": 1}
    assert elsewhere.status is None
    lab.disconnect(elsewhere)


def test_what_was_said_between_two_polls_is_not_missed(example: Callable[[str], Lab]) -> None:
    lab = example("long_poll")
    for number in range(3):
        lab.post("/channels/a", json=number)
    assert lab.get("/channels/a?since=1").json() == {"messages": [1, 2], "next": 3}
    waiting = lab.get("/channels/a?since=3")
    lab.advance(100)
    assert waiting.body == b"\n" * 6
    lab.post("/channels/a", json=3)
    assert waiting.json() == {"messages": [3], "next": 4}


def test_who_asks_for_more_than_there_was_since_a_restart_misses_nothing(example: Callable[[str], Lab]) -> None:
    lab = example("long_poll")
    waiting = lab.get("/channels/a?since=57")
    lab.post("/channels/a", json="first")
    assert waiting.json() == {"messages": ["first"], "next": 1}
    assert lab.get("/channels/a?since=57").json() == {"messages": ["first"], "next": 1}
    unread = lab.get(f"/channels/a?since={'9' * 5000}")
    lab.post("/channels/a", json="second")
    assert unread.json() == {"messages": ["second"], "next": 2}


def test_a_poll_ends_when_nothing_is_said(example: Callable[[str], Lab]) -> None:
    lab = example("long_poll")
    waiting = lab.get("/channels/a")
    lab.advance(300)
    assert waiting.json() == {"messages": [], "next": 0}
    assert not lab.module.channels, "whoever asks may make up paths without end"
    assert lab.post("/channels/a", data=b"no json").status == 400


def test_no_message_is_lost_in_any_order_of_things() -> None:
    for seed in range(40):
        lab = Lab(EXAMPLES / "long_poll" / "proxy.toml", seed=seed)
        waiting = [lab.get("/channels/a?since=0") for _ in range(4)]
        published = [lab.post("/channels/a", json=number) for number in range(2)]
        lab.settle()
        assert [request.status for request in published] == [201, 201]
        for request in waiting:
            assert request.json()["messages"] in ([0], [1], [0, 1], [1, 0]), seed
        lab.stop()


# A webhook.

BANK = "http://127.0.0.1:9000"


def called_back(lab: Lab, job: str, paid: bool, secret: str = "shared with the bank") -> Any:
    body = json.dumps({"job": job, "paid": paid}).encode()
    headers = {"x-signature": signature(secret, body), "content-type": "application/json"}
    return lab.post("/webhook", data=body, headers=headers)


def paying(lab: Lab) -> tuple[Any, str]:
    request = lab.post("/payments", json={"amount": 12.5})
    (asked,) = lab.upstream(BANK).requests
    job = json.loads(asked.body)
    assert (job["amount"], job["callback"]) == (12.5, "http://127.0.0.1:8080/webhook")
    return request, job["job"]


def test_a_webhook_answers_the_request_that_waits(example: Callable[[str], Lab]) -> None:
    lab = example("webhook")
    request, job = paying(lab)
    lab.upstream(BANK).answer(202, json={})
    lab.advance(30)
    assert called_back(lab, job, True, "a guess").status == 403
    assert called_back(lab, job, True).status == 204
    assert request.json() == {"job": job, "paid": True}
    again = called_back(lab, job, False)
    assert (again.status, again.text) == (200, "settled: it changes nothing\n")


def test_a_webhook_that_is_faster_than_its_bank_s_answer_is_remembered(example: Callable[[str], Lab]) -> None:
    lab = example("webhook")
    request, job = paying(lab)
    assert called_back(lab, job, False).status == 204
    lab.upstream(BANK).answer(202, json={})
    assert request.json() == {"job": job, "paid": False}


def test_a_bank_that_says_nothing_is_a_504_and_its_late_word_changes_nothing(example: Callable[[str], Lab]) -> None:
    lab = example("webhook")
    request, job = paying(lab)
    lab.upstream(BANK).answer(202, json={})
    lab.advance(600)
    assert request.json()["error"]["status"] == 504
    assert called_back(lab, job, True).text == "lapsed: it changes nothing\n"


def test_a_bank_that_does_not_take_the_job_is_a_502(example: Callable[[str], Lab]) -> None:
    lab = example("webhook")
    request, _ = paying(lab)
    lab.upstream(BANK).answer(500)
    assert request.status == 502
    assert lab.post("/payments", json={"amount": None}).status == 400
