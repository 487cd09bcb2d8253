"""Signed links, apart from who opens them."""

from __future__ import annotations

import secrets

import pytest

from asyncproxy import ticket
from asyncproxy.links import URL_LIMIT, BadLink, Links

KEY, OTHER = "k" * 16, "o" * 16


class Wall:
    """Seconds since 1970, by hand."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def links(*keys: str, wall: Wall | None = None) -> Links:
    made = Links(keys, wall or Wall())
    made.place = "/t/"
    return made


def token(path: str) -> str:
    return path.removeprefix("/t/")


def test_a_link_says_what_it_was_made_with() -> None:
    ours = links()
    path = ours.make("approve-7", "1h", "Refund 40 €?", {"Yes, all of it": 40, "No": None}, "digest")
    link = ours.read(token(path))
    assert path.startswith("/t/")
    assert (link.ticket, link.expires, link.ask, link.bind) == ("approve-7", 1_003_600.0, "Refund 40 €?", "digest")
    assert link.choices == (("Yes, all of it", 40), ("No", None))


def test_a_link_of_a_ticket_has_its_name_and_its_digest() -> None:
    wait = ticket(bind="digest")
    link = links(KEY).read(token(links(KEY).make(wait, 60)))
    assert (link.ticket, link.bind) == (wait.name, "digest")
    assert link.choices == (("Approve", True), ("Decline", False))


def test_no_two_links_are_alike() -> None:
    ours = links()
    assert ours.make("a", 60) != ours.make("a", 60)


def test_a_link_works_until_it_expires() -> None:
    wall = Wall()
    ours = links(wall=wall)
    text = token(ours.make("a", 60))
    wall.now += 59.9
    assert ours.read(text).ticket == "a"
    wall.now += 0.1
    with pytest.raises(BadLink, match="expired") as caught:
        ours.read(text)
    assert caught.value.status == 410


def test_whatever_is_changed_in_a_link_makes_it_none() -> None:
    ours = links()
    text = token(ours.make("approve", 60))
    for at in range(len(text)):
        other = "A" if text[at] != "A" else "B"
        changed = text[:at] + other + text[at + 1 :]
        if at == len(text) - 1:  # the last character of a signature has bits that say nothing
            continue
        with pytest.raises(BadLink) as caught:
            ours.read(changed)
        assert caught.value.status == 404
    for cut in ("", text[:-1], text + "x", text.partition(".")[0], ".", "é"):
        with pytest.raises(BadLink):
            ours.read(cut)


def test_links_of_another_key_are_not_believed_and_those_of_a_former_one_are() -> None:
    former = token(links(OTHER).make("a", 60))
    with pytest.raises(BadLink):
        links(KEY).read(former)
    assert links(KEY, OTHER).read(former).ticket == "a"
    now = token(links(KEY, OTHER).make("b", 60))
    assert links(KEY).read(now).ticket == "b"
    with pytest.raises(BadLink):
        links(OTHER).read(now)


def test_without_a_key_each_process_has_its_own() -> None:
    with pytest.raises(BadLink, match="before a restart"):
        links().read(token(links().make("a", 60)))


def test_a_text_that_is_signed_and_no_link_is_none() -> None:
    ours = links(KEY)
    for value in ({}, [], ["a"], ["a", "b", "c"], 7, None):
        with pytest.raises(BadLink):
            ours.read(str(ours._signer.dumps(value)))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("", 60), "no name of a ticket"),
        (("a", 0), "write seconds"),
        (("a", -1), "write seconds"),
        (("a", float("nan")), "write seconds"),
        (("a", float("inf")), "write seconds"),
        (("a", "1"), "unit"),
        (("a", 60, "", {}), "give a button"),
        (("a", 60, secrets.token_hex(URL_LIMIT)), "ask less"),
        (("a", 60, 7), "are texts"),
        (("a", 60, "", {40: "forty"}), "are texts"),
        (("a", 60, "", None, 7), "are texts"),
    ],
)
def test_what_cannot_be_a_link_is_said(arguments: tuple[object, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        links().make(*arguments)  # type: ignore[arg-type]


def test_a_value_that_json_cannot_hold_is_none_of_a_link() -> None:
    for value in (float("nan"), {"deep": [float("inf")]}, object()):
        with pytest.raises(TypeError):
            links().make("a", 60, "", {"Yes": value})


def test_a_link_that_no_route_opens_is_not_made() -> None:
    with pytest.raises(RuntimeError, match='module = "tickets"'):
        Links((), Wall()).make("a", 60)


def test_what_signs_is_not_shown() -> None:
    assert KEY not in repr(links(KEY))
