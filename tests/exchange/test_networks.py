from __future__ import annotations

import pytest

from asyncproxy.exchange.networks import Networks, network


@pytest.mark.parametrize(
    ("texts", "address", "inside"),
    [
        (["10.0.0.0/8"], "10.255.0.1", True),
        (["10.0.0.0/8"], "11.0.0.1", False),
        (["192.0.2.7"], "192.0.2.7", True),
        (["192.0.2.7"], "192.0.2.8", False),
        (["::1"], "::1", True),
        (["::1", "10.0.0.0/8"], "10.0.0.1", True),
        (["2001:db8::/32"], "2001:db8:1::2", True),
        (["10.0.0.0/8"], "::ffff:10.0.0.1", True),
        (["::/0"], "10.0.0.1", False),
        (["0.0.0.0/0"], "2001:db8::1", False),
        (["fe80::/10"], "fe80::1%eth0", True),
        (["unix"], "unix", True),
        (["10.0.0.0/8"], "unix", False),
        (["unix"], "10.0.0.1", False),
        (["unix", "10.0.0.0/8"], "", False),
        (["unix", "0.0.0.0/0"], "unknown", False),
        ([], "127.0.0.1", False),
        ([], "unix", False),
    ],
)
def test_an_address_is_in_a_network_that_is_listed(texts: list[str], address: str, inside: bool) -> None:
    assert (address in Networks(texts)) is inside


def test_what_is_no_address_is_nowhere() -> None:
    assert None not in Networks(["0.0.0.0/0"])
    assert 1 not in Networks(["0.0.0.0/0"])


@pytest.mark.parametrize("text", ["", "10.0.0", "10.0.0.0/33", "localhost", "10.0.0.0/8/8", "010.0.0.1", None, 10])
def test_what_is_no_network_is_refused_with_an_example(text: object) -> None:
    with pytest.raises(ValueError, match=r"write for example \"10\.0\.0\.0/8\""):
        network(text)


def test_an_address_with_the_length_of_a_network_could_mean_either() -> None:
    with pytest.raises(ValueError, match=r'write "10\.0\.0\.0/8" for all of it, or "10\.1\.2\.3" for it alone'):
        network("10.1.2.3/8")


def test_it_shows_what_is_listed() -> None:
    assert repr(Networks(["::1", "unix"])) == "<Networks ::1, unix>"
    assert repr(Networks()) == "<Networks none>"
    assert not Networks()
