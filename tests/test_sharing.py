"""How tests are shared out to several workers."""

from __future__ import annotations

import itertools

import pytest

from tests.sharing import part
from tests.wire.peers import free_port, ports


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
def test_no_port_is_given_by_two_workers(workers: int) -> None:
    given = [set(ports(f"gw{number}", workers)) for number in range(workers)]
    assert set.union(*given) == set(range(15000, 32000))
    assert not any(one & other for one, other in itertools.combinations(given, 2))


def test_no_port_is_given_twice() -> None:
    given = [free_port() for _ in range(50)]
    assert len(set(given)) == len(given)


@pytest.mark.parametrize(
    ("nodeid", "together"),
    [
        ("tests/wire/test_pool.py::test_it[epoll-GET]", "tests/wire/test_pool.py epoll"),
        ("tests/wire/test_pool.py::test_it[uvloop-a name, epoll by name]", "tests/wire/test_pool.py uvloop"),
        ("tests/wire/test_site.py::test_it[close-select]", "tests/wire/test_site.py select"),
        ("tests/wire/test_peers.py::TestAll::test_epoll", "tests/wire/test_peers.py"),
        ("tests/flows/test_it.py::test_it[epoll]", "tests/flows/test_it.py"),
    ],
)
def test_a_file_stays_together_and_on_the_wire_each_reactor_of_it(nodeid: str, together: str) -> None:
    assert part(nodeid) == together
