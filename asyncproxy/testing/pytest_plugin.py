"""A pytest plugin, found by its entry point: the fixture `lab`, which makes labs and closes them.

The rule: it imports nothing but pytest until a test asks for the fixture, for every pytest run of an environment that
has asyncproxy loads it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from asyncproxy.testing.lab import Lab

_LABS = pytest.StashKey[list[Any]]()


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Iterator[Callable[..., Lab]]:
    """Makes labs: ``lab(Orders)`` or ``lab(config, seed=7)``, with what `asyncproxy.testing.Lab` takes.

    They are stopped when the test is over. A test that passes, but leaves a request parked, fails; unless its lab was
    made with ``allow_parked=True``.
    """
    from asyncproxy.testing.lab import Lab

    made: list[Lab] = request.node.stash.setdefault(_LABS, [])

    def make(what: Any, **more: Any) -> Lab:
        one = Lab(what, **more)
        made.append(one)
        return one

    yield make
    for one in made:
        one.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Behind a test that passes: what its labs left behind fails it."""
    result = yield
    reports = [one.report() for one in item.stash.get(_LABS, []) if one.stop()]
    if reports:
        pytest.fail("\n".join(reports), pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Generator[None, Any, Any]:
    """In the report of a test that fails: its labs as they were then, each with its seed and its requests."""
    report = yield
    if report.when == "call" and report.failed:
        labs = item.stash.get(_LABS, [])
        if labs:
            report.sections.append(("asyncproxy lab", "\n".join(one.diagnosis() for one in labs)))
    return report
